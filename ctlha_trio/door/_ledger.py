"""What is remembered of a client's numbers, so that nothing old is ever executed after something newer."""

from typing import Final

import attrs

from ctlha_trio.pair import OperationKind, Outcome

KEPT_OUTCOMES: Final = 1024
"""Writes whose outcome is kept for a client that asks again: sixteen times what it may have in flight."""


@attrs.define(eq=False)
class NumberLedger:
    """The numbers of one client, over all its connections."""

    highest: int | None = None
    """The highest number that left a mark; none if nothing did."""
    _done_writes: dict[int, None] = attrs.field(factory=dict, init=False)
    """In the order in which they ended."""

    def settle(self, number: int, kind: OperationKind, outcome: Outcome) -> None:
        """Note how an executed operation ended. ``NOT_PRIMARY`` leaves no mark: it may be tried again."""
        if outcome is Outcome.NOT_PRIMARY:
            return
        if self.highest is None or number > self.highest:
            self.highest = number
        if kind is OperationKind.WRITE and outcome is Outcome.DONE:
            self._done_writes[number] = None
            if len(self._done_writes) > KEPT_OUTCOMES:
                del self._done_writes[next(iter(self._done_writes))]

    def replay(self, number: int, kind: OperationKind) -> Outcome | None:
        """The answer to a number that must not be executed again; none if it is new.

        Only a write known to be done is done. A read's data is not kept, and what failed may have changed something.
        """
        if self.highest is None or number > self.highest:
            return None
        if kind is OperationKind.WRITE and number in self._done_writes:
            return Outcome.DONE
        return Outcome.UNKNOWN
