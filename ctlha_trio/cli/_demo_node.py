"""``python -m ctlha_trio.cli._demo_node``: ``ctlha node`` that dies with the demo, however that ends."""

import os
import signal
import sys
from threading import Thread

from ctlha_trio.cli._main import main


def _die_with_demo() -> None:
    # The demo alone holds the other end, and writes nothing.
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    Thread(target=_die_with_demo, daemon=True).start()
    main(["node", *sys.argv[1:]], prog_name="ctlha")
