"""Tasks that wait for a message: each message goes to one of them, and none is lost to a cancellation."""

from collections import deque
from collections.abc import Awaitable, Callable

import attrs
import outcome
import trio


@attrs.define(eq=False)
class Receivers:
    """First come, first served."""

    tasks: deque[trio.lowlevel.Task] = attrs.field(factory=deque, init=False)
    """That wait."""
    _leader: trio.lowlevel.Task | None = attrs.field(default=None, init=False)
    """The one that runs ``lead``, which need not be woken. It stays here when it is served."""
    _message: bytes | None = attrs.field(default=None, init=False)
    _error: Exception | None = attrs.field(default=None, init=False)
    """What the leader gets."""

    async def wait(self, lead: Callable[[], Awaitable[None]] | None) -> bytes:
        """The next message that nobody before waits for. Cancelled: it goes to somebody else. Always a checkpoint.

        ``lead`` receives once, for everybody, unless somebody else does. It is for who waits behind nobody, and learns
        of ``fail`` when something has come, a heartbeat at the latest.
        """
        task = trio.lowlevel.current_task()
        self.tasks.append(task)
        if lead is not None and self._leader is None and len(self.tasks) == 1:
            self._leader = task
            try:
                await lead()
            except BaseException:  # cancelled, or interrupted
                if task in self.tasks:
                    self.tasks.remove(task)
                raise
            finally:
                self._leader = None
                message, self._message = self._message, None
                error, self._error = self._error, None
            if error is not None:
                raise error
            if message is not None:
                return message

        def abort(_: object) -> trio.lowlevel.Abort:
            self.tasks.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        received = await trio.lowlevel.wait_task_rescheduled(abort)
        assert isinstance(received, bytes)
        return received

    def give(self, message: bytes) -> None:
        """To the task that has waited for longest; from here on its cancellation comes too late."""
        task = self.tasks.popleft()
        if task is self._leader:
            self._message = message
        else:
            trio.lowlevel.reschedule(task, outcome.Value(message))

    def fail(self, error: Exception) -> None:
        """Nobody will get a message any more."""
        while self.tasks:
            task = self.tasks.popleft()
            if task is self._leader:
                self._error = error
            else:
                trio.lowlevel.reschedule(task, outcome.Error(error))
