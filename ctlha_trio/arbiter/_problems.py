"""What is in an arbiter's way, in the program's log: told when it changes, not with every call."""

import logging
from typing import Final

import attrs

_LOG: Final = logging.getLogger(__name__)


@attrs.define(eq=False)
class CallProblems:
    """Of reads and swaps apart: a disk that is full lets the one through and not the other."""

    _told: dict[str, str] = attrs.field(factory=dict, init=False)
    """By call, the last problem."""

    def note(self, call: str, problem: str) -> None:
        """How a call of that name has ended; empty if well. Not a checkpoint; from any thread."""
        before = self._told.get(call, "")
        self._told[call] = problem
        if problem and problem != before:
            _LOG.warning("the arbiter: %s", problem)
        elif before and not problem:
            _LOG.info("the arbiter answers again")
