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
    _repeats: dict[str, Repeats] = attrs.field(factory=dict, init=False)
    """By call; in each, what problems it has met: several members of a cluster may fail by turns."""

    def note(self, call: str, problem: str) -> None:
        """How a call of that name has ended; empty if well. Not a checkpoint; from any thread."""
        if problem:
            line = self._repeats.setdefault(call, Repeats()).came(self._now_s(), problem, kind=problem)
            if line is not None:
                _LOG.warning("the arbiter: %s", line)
        elif self._repeats.pop(call, None) is not None:
            _LOG.info("the arbiter answers again")
