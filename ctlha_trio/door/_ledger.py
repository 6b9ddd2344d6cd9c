"""What is remembered of a client's numbers, so that nothing old is ever executed after something newer."""

from typing import Final

import attrs

from ctlha_trio.pair import WRITING, OperationKind, Outcome

KEPT_OUTCOMES: Final = 1024
"""Operations whose outcome is kept for a client that asks again: sixteen times what it may have in flight. Beside
them, as many that were refused and may be given again."""
_KNOWN: Final = frozenset({Outcome.DONE, Outcome.MISCOMPARE, Outcome.FAILED, Outcome.SUPERSEDED})
"""Outcomes after which nothing more can come of an operation."""


@attrs.frozen
class Known:
    """How an operation ended, as far as it is known."""

    outcome: Outcome
    miscompare_at: int | None = None


UNKNOWN: Final = Known(Outcome.UNKNOWN)
SUPERSEDED: Final = Known(Outcome.SUPERSEDED)


@attrs.define(eq=False)
class NumberLedger:
    """The numbers of one client, over all its connections."""

    highest: int | None = None
    """The highest number that left a mark; none if nothing did."""
    _known: dict[int, Known] = attrs.field(factory=dict, init=False)
    """In the order in which they ended."""
    _refused: dict[int, None] = attrs.field(factory=dict, init=False)
    """Not executed when they came last, in the order of that."""
    executing: set[int] = attrs.field(factory=set, init=False)
    """Under way, whichever connection they came through."""

    def begin(self, number: int) -> None:
        """It is being executed from now on."""
        self._refused.pop(number, None)
        self.executing.add(number)

    def refuse(self, number: int) -> None:
        """It was answered ``NOT_PRIMARY``, which leaves no mark: it may be tried again."""
        self._refused[number] = None
        if len(self._refused) > KEPT_OUTCOMES:
            del self._refused[next(iter(self._refused))]

    def settle(self, number: int, kind: OperationKind, known: Known) -> None:
        """Note how an operation ended that was begun."""
        self.executing.discard(number)
        if known.outcome is Outcome.NOT_PRIMARY:
            self.refuse(number)
            return
        if self.highest is None or number > self.highest:
            self.highest = number
        if kind in WRITING and known.outcome in _KNOWN:
            self._known[number] = known
            if len(self._known) > KEPT_OUTCOMES:
                del self._known[next(iter(self._known))]

    def may_repeat(self, number: int) -> bool:
        """Whether it came and was not executed, so that it may come again although it is not above all others."""
        return number in self._refused

    def replay(self, number: int, kind: OperationKind) -> Known | None:
        """The answer to a number that must not be executed, or not again; none if it is new.

        A read's data is not kept.
        """
        if self._is_superseded(number):
            return SUPERSEDED
        if not self._is_below_highest(number):
            return None
        return self.outcome(number) if kind in WRITING else UNKNOWN

    def outcome(self, number: int) -> Known:
        """How the operation of that number ended: UNKNOWN also for one that is under way, or that never came here."""
        return SUPERSEDED if self._is_superseded(number) else self._known.get(number, UNKNOWN)

    def _is_superseded(self, number: int) -> bool:
        """Whether it was refused, and something newer has begun since."""
        if number not in self._refused:
            return False
        return self._is_below_highest(number) or any(each > number for each in self.executing)

    def _is_below_highest(self, number: int) -> bool:
        return self.highest is not None and number <= self.highest
