"""What a person asked the core for: one at a time, ended by an action of the core."""

from collections.abc import Callable

import attrs
import trio

from ctlha_trio._errors import FailedError
from ctlha_trio.pair import events


@attrs.define(eq=False)
class PersonRequest:
    """Waits for the end of one kind of request."""

    what: str
    _feed: Callable[[events.Event], None]
    _ended: trio.Event | None = attrs.field(default=None, init=False)
    _problem: FailedError | None = attrs.field(default=None, init=False)

    async def ask(self, event: events.Event) -> None:
        """Tell the core, and return once it is done. ``FailedError`` as it was ended if that did not come about.

        Cancelled: it goes on, and another is refused until it has ended.
        """
        if self._ended is not None:
            raise FailedError(f"a {self.what} is under way")
        ended = self._ended = trio.Event()
        self._feed(event)
        await ended.wait()
        if self._problem is not None:
            raise self._problem

    def end(self, problem: FailedError | None) -> None:
        """It is over, well if there is no problem."""
        if self._ended is not None:
            self._problem = problem
            self._ended.set()
            self._ended = None
