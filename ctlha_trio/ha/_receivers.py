"""Tasks that wait for a message: each message goes to one of them, and none is lost to a cancellation."""

from collections import deque

import attrs
import outcome
import trio


@attrs.define(eq=False)
class Receivers:
    """First come, first served."""

    tasks: deque[trio.lowlevel.Task] = attrs.field(factory=deque, init=False)
    """That wait."""

    async def wait(self) -> bytes:
        """The next message that nobody before waits for. Cancelled: it goes to somebody else."""
        task = trio.lowlevel.current_task()
        self.tasks.append(task)

        def abort(_: object) -> trio.lowlevel.Abort:
            self.tasks.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        message = await trio.lowlevel.wait_task_rescheduled(abort)
        assert isinstance(message, bytes)
        return message

    def give(self, message: bytes) -> None:
        """To the task that has waited for longest; from here on its cancellation comes too late."""
        trio.lowlevel.reschedule(self.tasks.popleft(), outcome.Value(message))

    def fail(self, error: Exception) -> None:
        """Nobody will get a message any more."""
        while self.tasks:
            trio.lowlevel.reschedule(self.tasks.popleft(), outcome.Error(error))
