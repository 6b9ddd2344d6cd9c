"""``ctlha`` whose disk ends no flush from SIGUSR1, or with ``--at-once`` from its start, until SIGUSR2."""

import os
import signal
import sys
import threading
from typing import Any

from ctlha_trio.cli import main

AT_ONCE = "--at-once"

fdatasync = os.fdatasync
answering = threading.Event()


def flush(fd: Any) -> None:
    if not answering.is_set():
        sys.stderr.write("hanging_node: a flush hangs\n")
        sys.stderr.flush()
        answering.wait()
    fdatasync(fd)


if AT_ONCE in sys.argv:
    sys.argv.remove(AT_ONCE)
else:
    answering.set()
os.fdatasync = flush
signal.signal(signal.SIGUSR1, lambda number, frame: answering.clear())
signal.signal(signal.SIGUSR2, lambda number, frame: answering.set())
main(prog_name="ctlha")
