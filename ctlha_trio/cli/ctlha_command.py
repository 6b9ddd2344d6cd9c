"""The program ``ctlha``: an interrupt ends it quietly also while the command line is being loaded.

Installed, it stands beside the package: as a part of that, importing it would load the package, and Trio, before any of
its lines runs.
"""

import os
import signal
import sys
from types import FrameType

EXIT_INTERRUPTED = 128 + signal.SIGINT
"""As shells say it. ``ctlha_trio.cli`` has the same, and is not loaded yet."""


def main() -> None:
    """Load the command line and run it; 130 for an interrupt. One that is ignored, as in the background, stays so."""
    found = signal.getsignal(signal.SIGINT)
    if found is signal.default_int_handler:
        # Raised in the middle of an import, it would be a traceback, or be lost in a callback. Nothing is begun yet.
        signal.signal(signal.SIGINT, _end_at_once)
    from ctlha_trio.cli import main as run_command_line

    try:
        signal.signal(signal.SIGINT, found)
        run_command_line()
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


def _end_at_once(_number: int, _frame: FrameType | None) -> None:
    os._exit(EXIT_INTERRUPTED)
