"""A thread that cannot be had is an error of the operating system, as it is everywhere else."""

import threading
from collections.abc import Callable
from typing import TypeVar

import trio

from ctlha_trio._errors import NoThreadError

T = TypeVar("T")


def is_lack_of_threads(error: RuntimeError) -> bool:
    """Whether it is what the interpreter raises then. Those that tell of bugs, or of the end of a run, have a class."""
    return type(error) is RuntimeError


async def run_in_thread(
    function: Callable[[], T], *, abandon_on_cancel: bool = False, limiter: trio.CapacityLimiter | None = None
) -> T:
    """As ``trio.to_thread.run_sync``. ``NoThreadError`` if no thread can be had."""
    begun = False

    def begin() -> T:
        nonlocal begun
        begun = True
        return function()

    try:
        return await trio.to_thread.run_sync(begin, abandon_on_cancel=abandon_on_cancel, limiter=limiter)
    except RuntimeError as error:
        if begun or not is_lack_of_threads(error):
            raise
        raise NoThreadError from error


def start_thread(function: Callable[[], object], *, name: str) -> threading.Thread:
    """Call ``function`` in a thread that keeps no process alive. ``NoThreadError`` if none can be had."""
    thread = threading.Thread(target=function, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        if not is_lack_of_threads(error):
            raise
        raise NoThreadError from error
    return thread
