"""``ctlha`` whose disk never ends a flush."""

import os
import sys
import threading

from ctlha_trio.cli import main


def hang(fd: object) -> None:
    sys.stderr.write("hanging_node: a flush hangs\n")
    sys.stderr.flush()
    threading.Event().wait()


os.fdatasync = hang
main(prog_name="ctlha")
