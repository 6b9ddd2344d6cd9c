"""``ctlha`` whose flushes fail from the first SIGUSR1 on."""

import errno
import os
import signal

from ctlha_trio.cli import main


def fail(fd: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def begin_to_fail(number: int, frame: object) -> None:
    os.fdatasync = fail


signal.signal(signal.SIGUSR1, begin_to_fail)
main(prog_name="ctlha")
