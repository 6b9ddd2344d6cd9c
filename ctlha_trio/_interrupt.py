"""``python -m ctlha_trio`` that is interrupted while the package is loaded, which takes longer than many a command.

Imported before anything else of the package, and without effect in every other program: there whoever runs it says what
an interrupt is to do. The program ``ctlha`` does the same from outside the package.
"""

import os
import signal
import sys
from types import FrameType


def _end_at_once(_number: int, _frame: FrameType | None) -> None:
    os._exit(128 + signal.SIGINT)


def guard_loading() -> None:
    """End at once, and without a traceback, if this is the program and interrupts are not ignored."""
    # Until Python has found the module that it is to run, it says so in the place of the program's name.
    following = sys.orig_argv[sys.orig_argv.index("-m") + 1 :] if sys.argv[:1] == ["-m"] else []
    if following[:1] == ["ctlha_trio"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end_at_once)


def end_guard() -> None:
    """All is loaded: an interrupt is what it was."""
    if signal.getsignal(signal.SIGINT) is _end_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)


guard_loading()
