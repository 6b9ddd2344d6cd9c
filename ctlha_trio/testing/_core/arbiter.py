"""The arbiter of a simulated pair: one record, calls that are applied at one moment and answered at a later one."""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Final

import attrs

from ctlha_trio.pair import PairState, Record, SwapOutcome, actions as act, events as ev

Call = act.Swap | act.ReadRecord

REFUSED_CHANCE: Final = 0.5
"""Of a swap while the arbiter is down; the others leave their callers in doubt."""
TIMEOUT_CHANCE: Final = 0.2
"""Of a swap whose answer is lost although the arbiter works."""
DELAYED_CHANCE: Final = 0.6
"""Of such a swap: not even applied yet when its caller gives up."""
RECORDS_KEPT: Final = 16


@attrs.frozen
class Kept:
    """A record with its revision."""

    record: Record
    revision: int


@attrs.define(eq=False)
class ArbiterCall:
    """A call that was made; ``answer`` once the arbiter has executed it."""

    call: Call
    answer: ev.Event | None = None


@attrs.define(eq=False)
class SimulatedArbiter:
    """Up, it answers; down, it refuses a swap or leaves its caller in doubt, and may apply such a swap later."""

    record: Record
    random: Random
    applied: Callable[[Record, Record], None]
    """Told of every record that became the truth, behind the one that it follows."""
    revision: int = 1
    up: bool = True
    slow: bool = False
    refuses: bool = False
    """It takes no swap, and says so; reads are answered."""
    calls: int = 0
    late: list[act.Swap] = attrs.Factory(list)
    """Swaps whose caller was told UNKNOWN, or is gone, and that may still be applied."""
    past: deque[Kept] = attrs.field(factory=lambda: deque(maxlen=RECORDS_KEPT))
    """What backups hold, oldest first."""
    newest: Kept | None = None
    """While an old copy, or what is not this pair's record, is in the place of the truth: the truth."""

    @property
    def truth(self) -> Record:
        """The newest record of this pair, whatever the arbiter answers."""
        return self.record if self.newest is None else self.newest.record

    @property
    def may_change_late(self) -> bool:
        """Whether a swap that nobody waits for can still take effect: one that expects what is there."""
        return any(each.expected_revision == self.revision for each in self.late)

    @property
    def is_restored(self) -> bool:
        """Whether it answers with what once was the truth."""
        return any(each.record == self.record for each in self.past)

    def known_to(self, state: PairState) -> bool:
        """Whether a node that asks would hear nothing new."""
        if not self.up:
            return not state.arbiter_answers
        if state.untaken and not (self.refuses and state.arbiter_refuses):
            # It asks for a proof. Where its phase asks for none, which is rare, the poll is waited for in vain.
            return False
        known = state.record is not None and state.record.proposal == self.record.proposal
        return known and self.newest is None and state.arbiter_answers and state.revision == self.revision

    def execute(self, call: Call) -> ev.Event:
        """Apply a call now; its caller hears the answer later."""
        self.calls += 1
        if isinstance(call, act.ReadRecord):
            takes = not self.refuses if call.proves else None
            return ev.RecordRead(self.record, self.revision, takes) if self.up else ev.ReadFailed()
        proposal = call.record.proposal
        if not self.up:
            if self.random.random() < REFUSED_CHANCE:
                return ev.Swapped(proposal, SwapOutcome.REFUSED)
            self.late.append(call)
            return ev.Swapped(proposal, SwapOutcome.UNKNOWN)
        if self.refuses:
            return ev.Swapped(proposal, SwapOutcome.REFUSED)
        if self.random.random() < TIMEOUT_CHANCE:
            if self.random.random() < DELAYED_CHANCE:
                self.late.append(call)
            else:
                self._swap(call)
            return ev.Swapped(proposal, SwapOutcome.UNKNOWN)
        if self._swap(call):
            return ev.Swapped(proposal, SwapOutcome.WON, self.revision)
        return ev.Swapped(proposal, SwapOutcome.LOST)

    def apply_late(self) -> Record | None:
        """One of the swaps that nobody waits for arrives. Its record, if it could still take effect."""
        if not self.late:
            return None
        late = self.late.pop(self.random.randrange(len(self.late)))
        return late.record if self._swap(late) else None

    def impose(self, record: Record) -> None:
        """Another hand swaps."""
        self._swap(act.Swap(self.revision, record))

    def displace(self, record: Record, revision: int) -> None:
        """Answer with what is not the truth. Whoever brings that about takes so long that no call of before lasts."""
        self.newest = Kept(self.record, self.revision)
        self.record, self.revision = record, revision
        self.late.clear()

    def give_back(self) -> None:
        """The newest record returns."""
        if self.newest is not None:
            self.record, self.revision, self.newest = self.newest.record, self.newest.revision, None

    def _swap(self, call: act.Swap) -> bool:
        if call.expected_revision != self.revision:
            return False
        before = Kept(self.record, self.revision)
        self.record, self.revision = call.record, self.revision + 1
        if self.newest is None:
            self.past.append(before)
            self.applied(before.record, call.record)
        return True
