"""What is in an arbiter's way, in the program's log: told when it changes, then rarely, not with every call."""

import logging
import time
from collections.abc import Callable
from typing import Final

import attrs

from ctlha_trio._repeats import Repeats

_LOG: Final = logging.getLogger(__name__)


@attrs.define(eq=False)
class CallProblems:
    """Of reads and swaps apart: a disk that is full lets the one through and not the other."""

    _now_s: Callable[[], float] = time.monotonic
    """Of a clock that any thread may ask."""
    _repeats: Repeats = attrs.field(factory=Repeats, init=False)
    """By call."""

    def note(self, call: str, problem: str) -> None:
        """How a call of that name has ended; empty if well. Not a checkpoint; from any thread."""
        if problem:
            line = self._repeats.came(self._now_s(), problem, kind=call)
            if line is not None:
                _LOG.warning("the arbiter: %s", line)
        elif self._repeats.ended(call):
            _LOG.info("the arbiter answers again")
