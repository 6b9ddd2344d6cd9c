"""The arbiter of a simulated pair: one record, calls that are applied at one moment and answered at a later one."""

from collections.abc import Callable
from random import Random

import attrs

from ctlha_trio.pair import Record, SwapOutcome, actions as act, events as ev

Call = act.Swap | act.ReadRecord

REFUSED_CHANCE = 0.5
"""Of a swap while the arbiter is down; the others leave their callers in doubt."""
TIMEOUT_CHANCE = 0.1
"""Of a swap whose answer is lost although the arbiter works."""


@attrs.define(eq=False)
class SimulatedArbiter:
    """Up, it answers; down, it refuses a swap or leaves its caller in doubt, and may apply such a swap later."""

    record: Record
    random: Random
    applied: Callable[[Record], None]
    """Told of every record that became the truth."""
    revision: int = 1
    up: bool = True
    late: list[act.Swap] = attrs.Factory(list)
    """Swaps whose caller was told UNKNOWN, or is gone, and that may still be applied."""

    def execute(self, call: Call) -> ev.Event:
        """Apply a call now; its caller hears the answer later."""
        if isinstance(call, act.ReadRecord):
            return ev.RecordRead(self.record, self.revision) if self.up else ev.ReadFailed()
        proposal = call.record.proposal
        if not self.up:
            if self.random.random() < REFUSED_CHANCE:
                return ev.Swapped(proposal, SwapOutcome.REFUSED)
            self.late.append(call)
            return ev.Swapped(proposal, SwapOutcome.UNKNOWN)
        won = self._swap(call)
        if self.random.random() < TIMEOUT_CHANCE:
            return ev.Swapped(proposal, SwapOutcome.UNKNOWN)
        return ev.Swapped(proposal, SwapOutcome.WON, self.revision) if won else ev.Swapped(proposal, SwapOutcome.LOST)

    def toggle(self) -> None:
        """Go down, or come back."""
        self.up = not self.up

    def apply_late(self) -> None:
        """One of the swaps that nobody waits for takes effect, if it still can."""
        if self.late:
            self._swap(self.late.pop(self.random.randrange(len(self.late))))

    def _swap(self, call: act.Swap) -> bool:
        if call.expected_revision != self.revision:
            return False
        self.record, self.revision = call.record, self.revision + 1
        self.applied(call.record)
        return True
