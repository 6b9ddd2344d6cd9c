"""The one place where an event loop is started, and where errors become exit codes."""

import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn, TypeVarTuple

import click
import trio

from ctlha_trio._errors import ConfigError, CtlHaError, UnknownOutcomeError

EXIT_FAILED: Final = 1
EXIT_MISUSED: Final = 2
EXIT_UNKNOWN: Final = 3
"""A change was asked for, and nobody knows whether it was done."""
EXIT_UNLOGGED: Final = 4
"""It was done, and the log of decisions lacks the line that says so."""
EXIT_UNWRITTEN: Final = 5
"""As 0, but standard output could not be written."""
EXIT_LOOP_DEAD: Final = 70
"""EX_SOFTWARE of sysexits.h: a fault inside the program."""
EXIT_SIGNALLED: Final = 128
"""And the signal's number, as shells say it."""
EXIT_INTERRUPTED: Final = EXIT_SIGNALLED + signal.SIGINT

Arguments = TypeVarTuple("Arguments")


class MonotonicClock(trio.abc.Clock):
    """CLOCK_MONOTONIC as it is, so that times of two processes on this machine can be compared.

    Trio's own clock begins at a random number in each process.
    """

    def start_clock(self) -> None:
        """It runs already."""

    def current_time(self) -> float:
        """Seconds."""
        return time.monotonic()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Seconds from now to the deadline."""
        return deadline - time.monotonic()


def run_command(command: Callable[[*Arguments], Awaitable[int]], *arguments: *Arguments) -> NoReturn:
    """Run a command to its end and leave with the exit code that it returns, or that its error stands for."""
    try:
        code = trio.run(command, *arguments, clock=MonotonicClock())
    except (Exception, KeyboardInterrupt, BaseExceptionGroup) as error:
        code = report(error)
    sys.exit(code)


def ending_signals(*others: signal.Signals) -> list[signal.Signals]:
    """SIGTERM, and those of the others that are not ignored, as an interrupt is in the background."""
    return [signal.SIGTERM, *(each for each in others if signal.getsignal(each) is not signal.SIG_IGN)]


def report(error: BaseException) -> int:
    """Say in one line each what went wrong, on stderr; the exit code. Raises what is no error of the user's world."""
    leaves = leaves_of(error)
    if not all(isinstance(leaf, CtlHaError | KeyboardInterrupt) for leaf in leaves):
        raise error
    known = [leaf for leaf in leaves if isinstance(leaf, CtlHaError)]
    for line in dict.fromkeys(map(line_of, known)):
        click.echo(line, err=True)
    if not known:
        return EXIT_INTERRUPTED
    if any(isinstance(leaf, ConfigError) for leaf in known):
        return EXIT_MISUSED
    return EXIT_UNKNOWN if any(isinstance(leaf, UnknownOutcomeError) for leaf in known) else EXIT_FAILED


def line_of(error: CtlHaError) -> str:
    """In one line, in which blanks stay as they are: they may be of a path in a command to be copied."""
    return " ".join(line.strip() for line in str(error).splitlines())


def leaves_of(error: BaseException) -> list[BaseException]:
    """The errors in a group, however deep; or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves_of(inner)]
    return [error]
