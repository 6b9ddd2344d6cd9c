"""What is remembered of a client's numbers, so that nothing old is ever executed after something newer."""

from typing import Final

import attrs

from ctlha_trio.pair import WRITING, OperationKind, Outcome

KEPT_OUTCOMES: Final = 1024
"""Operations whose outcome is kept for a client that asks again: sixteen times what it may have in flight."""
_KNOWN: Final = frozenset({Outcome.DONE, Outcome.MISCOMPARE, Outcome.FAILED})
"""Outcomes after which nothing more can come of an operation."""


@attrs.frozen
class Known:
    """How an operation ended, as far as it is known."""

    outcome: Outcome
    miscompare_at: int | None = None


UNKNOWN: Final = Known(Outcome.UNKNOWN)


@attrs.define(eq=False)
class NumberLedger:
    """The numbers of one client, over all its connections."""

    highest: int | None = None
    """The highest number that left a mark; none if nothing did."""
    _known: dict[int, Known] = attrs.field(factory=dict, init=False)
    """In the order in which they ended."""

    def settle(self, number: int, kind: OperationKind, known: Known) -> None:
        """Note how an executed operation ended. ``NOT_PRIMARY`` leaves no mark: it may be tried again."""
        if known.outcome is Outcome.NOT_PRIMARY:
            return
        if self.highest is None or number > self.highest:
            self.highest = number
        if kind in WRITING and known.outcome in _KNOWN:
            self._known[number] = known
            if len(self._known) > KEPT_OUTCOMES:
                del self._known[next(iter(self._known))]

    def replay(self, number: int, kind: OperationKind) -> Known | None:
        """The answer to a number that must not be executed again; none if it is new. A read's data is not kept."""
        if self.highest is None or number > self.highest:
            return None
        return self.outcome(number) if kind in WRITING else UNKNOWN

    def outcome(self, number: int) -> Known:
        """How the operation of that number ended: UNKNOWN also for one that is under way, or that never came here."""
        return self._known.get(number, UNKNOWN)
