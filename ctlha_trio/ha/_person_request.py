"""What a person asked the core for: one at a time, ended by an action of the core."""

from collections.abc import Callable

import attrs
import trio

from ctlha_trio._errors import FailedError
from ctlha_trio.pair import events


@attrs.define(eq=False)
class _Asked:
    """One request."""

    ended: trio.Event = attrs.field(factory=trio.Event, init=False)
    problem: FailedError | None = attrs.field(default=None, init=False)


@attrs.define(eq=False)
class PersonRequest:
    """Waits for the end of one kind of request."""

    what: str
    _feed: Callable[[events.Event], None]
    _asked: _Asked | None = attrs.field(default=None, init=False)
    """Under way. How it ends is its own: the next one may have ended before whoever asked for it comes to look."""

    async def ask(self, event: events.Event) -> None:
        """Tell the core, and return once it is done. ``FailedError`` as it was ended if that did not come about.

        Cancelled: it goes on, and another is refused until it has ended.
        """
        if self._asked is not None:
            raise FailedError(f"a {self.what} is under way")
        asked = self._asked = _Asked()
        self._feed(event)
        await asked.ended.wait()
        if asked.problem is not None:
            raise asked.problem

    def end(self, problem: FailedError | None) -> None:
        """It is over, well if there is no problem."""
        if self._asked is not None:
            self._asked.problem = problem
            self._asked.ended.set()
            self._asked = None
