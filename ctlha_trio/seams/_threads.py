"""A bounded number of blocking calls at once, each in a thread."""

from collections.abc import Callable
from typing import TypeVar, cast

import attrs
import outcome
import trio

from ctlha_trio.seams._acquire import acquire

T = TypeVar("T")


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
        """What ``function`` returns or raises. Always a checkpoint. Cancelled once it runs: only after it has ended."""
        await trio.lowlevel.checkpoint_if_cancelled()
        await acquire(self._free)
        try:
            return await _run_in_thread(function)
        finally:
            self._free.release()

    @trio.lowlevel.enable_ki_protection
    def start(self, function: Callable[[], T], on_end: Callable[[outcome.Outcome[T]], None]) -> bool:
        """Begin without a task that waits; False, and nothing was begun, if as many as may be are under way.

        ``on_end`` is called by the loop, in the turn in which it is woken; what it raises ends the run. The caller
        sees to it that the run does not end before. ``RuntimeError`` if no thread can be had: nothing was begun.
        """
        try:
            self._free.acquire_nowait()
        except trio.WouldBlock:
            return False
        token = trio.lowlevel.current_trio_token()

        def end(ended: outcome.Outcome[T]) -> None:
            self._free.release()
            on_end(ended)

        try:
            trio.lowlevel.start_thread_soon(function, lambda ended: token.run_sync_soon(end, ended))
        except BaseException:
            self._free.release()
            raise
        return True


@trio.lowlevel.enable_ki_protection
async def _run_in_thread(function: Callable[[], T]) -> T:
    task, token = trio.lowlevel.current_task(), trio.lowlevel.current_trio_token()

    def deliver(ended: outcome.Outcome[T]) -> None:
        token.run_sync_soon(trio.lowlevel.reschedule, task, ended)

    trio.lowlevel.start_thread_soon(function, deliver)
    return cast("T", await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED))
