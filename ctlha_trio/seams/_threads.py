"""A bounded number of blocking calls at once, each in a thread."""

from collections.abc import Callable
from typing import Final, TypeVar, cast

import attrs
import outcome
import trio

from ctlha_trio.seams._acquire import acquire
from ctlha_trio.seams._clock import TrioClock

T = TypeVar("T")

AGAIN_S: Final = 0.05
"""Until a thread that could not be had is asked for once more."""
_CLOCK: Final = TrioClock()
"""Of the threads themselves, which no clock of a simulation drives."""


@attrs.define(eq=False)
class Threads:
    """What ``trio.to_thread.run_sync`` with a limiter does, for calls of the operating system, at half its cost.

    Such a call needs no name for its thread, no context and no way back into Trio, and no turn of the loop before it
    begins.
    """

    _free: trio.Semaphore

    @classmethod
    def at_most(cls, count: int) -> "Threads":
        """So many calls at once; others wait, in their order."""
        return cls(trio.Semaphore(count))

    async def run(self, function: Callable[[], T]) -> T:
        """What ``function`` returns or raises. Always a checkpoint. Cancelled once it runs: only after it has ended.

        While no thread can be had it waits, as for one that is slow: that is over when others end, and whoever gave up
        then would end a node for what its peer may lack in the same moment.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        await acquire(self._free)
        try:
            return await _run_in_one(function)
        finally:
            self._free.release()

    @trio.lowlevel.enable_ki_protection
    def start(self, function: Callable[[], T], on_end: Callable[[outcome.Outcome[T]], None]) -> bool:
        """Begin without a task that waits; False, and nothing was begun, if as many as may be or can be are under way.

        ``on_end`` is called by the loop, in the turn in which it is woken; what it raises ends the run. The caller
        sees to it that the run does not end before.
        """
        try:
            self._free.acquire_nowait()
        except trio.WouldBlock:
            return False
        token = trio.lowlevel.current_trio_token()

        def end(ended: outcome.Outcome[T]) -> None:
            self._free.release()
            on_end(ended)

        begun = False
        try:
            begun = _begin(function, lambda ended: token.run_sync_soon(end, ended))
        finally:
            if not begun:
                self._free.release()
        return begun


@trio.lowlevel.enable_ki_protection
async def _run_in_one(function: Callable[[], T]) -> T:
    task, token = trio.lowlevel.current_task(), trio.lowlevel.current_trio_token()

    def deliver(ended: outcome.Outcome[T]) -> None:
        token.run_sync_soon(trio.lowlevel.reschedule, task, ended)

    while not _begin(function, deliver):
        await _CLOCK.sleep_until(_CLOCK.now() + AGAIN_S)
    return cast("T", await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED))


def _begin(function: Callable[[], T], deliver: Callable[[outcome.Outcome[T]], object]) -> bool:
    """Whether a thread could be had. If none could, nothing was begun."""
    try:
        trio.lowlevel.start_thread_soon(function, deliver)
    except RuntimeError:
        return False
    return True
