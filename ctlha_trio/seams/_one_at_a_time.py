"""One task per direction of a stream."""

from contextlib import AbstractContextManager
from types import TracebackType

import attrs
import trio


@attrs.define(eq=False)
class OneAtATime(AbstractContextManager[None]):
    """Refuses a second task, as trio's own streams do: two senders would mix their bytes."""

    verb: str
    is_held: bool = attrs.field(default=False, init=False)
    """A task is at it."""

    def check(self) -> None:
        """Refuse what is done at once while another task is at it."""
        if self.is_held:
            raise trio.BusyResourceError(f"another task is already {self.verb}")

    def __enter__(self) -> None:
        self.check()
        self.is_held = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_held = False
