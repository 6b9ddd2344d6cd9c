"""What is in an arbiter's way, in the program's log: told when it changes, then rarely, not with every call."""

import logging
import time
from collections.abc import Callable
from typing import Final

import attrs

from ctlha_trio._repeats import Repeats

SETTLED_S: Final = 10.0
"""For which a problem that was told before another one has to be the only one until it is told again: of those that
alternate faster each is told once, and of slower ones a line each time."""

_LOG: Final = logging.getLogger(__name__)


@attrs.define(eq=False)
class _Ongoing:
    """What the calls of one name have met since one last ended well: members of a cluster may fail by turns."""

    _repeats: Repeats = attrs.field(factory=Repeats, init=False)
    _told: str = attrs.field(default="", init=False)
    """In the last line."""
    _met: str = attrs.field(default="", init=False)
    """By the last call, and by each one since then."""
    _met_since_s: float = attrs.field(default=0.0, init=False)

    def came(self, now_s: float, problem: str) -> str | None:
        """The line to be written."""
        if problem != self._met:
            self._met, self._met_since_s = problem, now_s
        elif problem != self._told and now_s >= self._met_since_s + SETTLED_S:
            self._repeats.ended(problem)
        line = self._repeats.came(now_s, problem, kind=problem)
        if line is not None:
            self._told = problem
        return line


@attrs.define(eq=False)
class CallProblems:
    """Of reads and swaps apart: a disk that is full lets the one through and not the other."""

    _now_s: Callable[[], float] = time.monotonic
    """Of a clock that any thread may ask."""
    _ongoing: dict[str, _Ongoing] = attrs.field(factory=dict, init=False)
    """By call."""

    def note(self, call: str, problem: str) -> None:
        """How a call of that name has ended; empty if well. Not a checkpoint; from any thread."""
        if problem:
            line = self._ongoing.setdefault(call, _Ongoing()).came(self._now_s(), problem)
            if line is not None:
                _LOG.warning("the arbiter: %s", line)
        elif self._ongoing.pop(call, None) is not None:
            _LOG.info("the arbiter answers again")
