"""What must be true of a simulated pair at each instant: the invariants that whole nodes can be held to.

I1 one node is primary in an epoch; I2 what is acknowledged is durable on every member; I3 reads return what
was written last; I4 who is no member neither serves nor takes the role; I6 epoch and revision never go back; I7 after a
return both copies are equal; I8 who was demoted acknowledges nothing; I10 ``protected`` means that either node may die.
"""

from collections.abc import Callable
from typing import Final

import attrs
import trio

from ctlha_trio.pair import FLIGHTS_LIMIT, MEMBERS, OperationKind, Outcome, PairState, Phase, actions
from ctlha_trio.testing._drivers.history import VolumeHistory
from ctlha_trio.testing._drivers.pair import DriverPair
from ctlha_trio.testing._pairs.action_watch import Ordered
from ctlha_trio.testing._pairs.pair_faults import NAMES
from ctlha_trio.testing._power.medium import SECTOR_BYTES

_ANSWERING = frozenset({Phase.MIRRORING, Phase.ALONE, Phase.ADMITTING, Phase.HANDING_OVER, Phase.FOLLOWING})
_SERVES_ALONE = frozenset({Phase.ALONE, Phase.ADMITTING})
_COUNTS = _ANSWERING | {Phase.SECURING}
"""Phases of a node whose record names it."""

NOTICED_S: Final = 10.0
"""A hung disk counts as failed after five seconds, of a clock that may be slow; all else is noticed sooner."""


@attrs.define(eq=False)
class DriverChecks:
    """Looks at every action of every node. Each check names its invariant in what it reports."""

    pair: DriverPair
    history: VolumeHistory
    problem: Callable[[str], None]
    _acknowledged_by: dict[int, str] = attrs.field(factory=dict, init=False)
    _said_wrongly_s: dict[str, float] = attrs.field(factory=dict, init=False)
    """Since when a node has said ``protected`` without being so."""
    _reached: dict[str, tuple[int, int]] = attrs.field(factory=lambda: dict.fromkeys(NAMES, (0, 0)), init=False)
    """Epoch and revision that were durable on each node."""

    def ordered(self, ordered: Ordered) -> None:
        """A node is about to carry out an action."""
        state = ordered.state
        if self.pair.disks[state.me].is_cut:
            return
        if len(state.flights) > FLIGHTS_LIMIT:
            self.problem(f"I14: {len(state.flights)} operations under way at {state.me}")
        match ordered.action:
            case actions.Answer() as answer:
                self._answered(ordered, answer)
            case actions.Moved() as moved:
                self._moved(state, moved)
            case actions.Swap() as swap:
                self._proposed(state, swap)
            case _:
                pass

    def _answered(self, ordered: Ordered, answer: actions.Answer) -> None:
        operation, state = ordered.operation, ordered.state
        assert operation is not None, "an answer has its operation"
        try:
            self.history.answered(operation, answer.outcome, ordered.data)
        except AssertionError as error:
            self.problem(f"I3: {state.me} answered {operation.number} {answer.outcome.name}: {error}")
        if answer.outcome is not Outcome.DONE:
            return
        said = f"{state.me} answered {operation.kind.name} {operation.number} in epoch {state.epoch}"
        if state.phase not in _ANSWERING:
            self.problem(f"I8: {said} while {state.phase.name}")
        if state.record is None or state.me not in state.record.members:
            self.problem(f"I4: {said} and is no member")
        if operation.kind is OperationKind.READ and state.phase in MEMBERS:
            self._read_as_member(said, state)
        if operation.kind is OperationKind.WRITE:
            self._acknowledged(said, state, operation.offset, ordered.data)

    def _read_as_member(self, said: str, state: PairState) -> None:
        """A permit is over before the node that granted it serves alone."""
        peer = self.pair.nodes.get(state.peer)
        if peer is not None and peer.pair.phase in _SERVES_ALONE and peer.pair.epoch > state.epoch:
            self.problem(f"I3: {said} while {state.peer} served without it in {peer.pair.epoch}")

    def _acknowledged(self, said: str, state: PairState, offset: int, data: bytes) -> None:
        follows = state.phase is Phase.FOLLOWING
        if not follows and self._acknowledged_by.setdefault(state.epoch, state.me) != state.me:
            self.problem(f"I1: {said}, and so did the other node")
        # A member whose disk has died since has kept it; one whose disk was dead before cannot have agreed.
        for member in self.pair.record.members:
            # What the secondary hears of the end of its write may come after the next one has been begun.
            if not self._holds(member, offset, data, exactly=not follows and state.record == self.pair.record):
                self.problem(f"I2: {said}, and it is not durable on {member}")
        metadata = self.pair.durable_metadata(state.me)
        if metadata.epoch != state.epoch:
            self.problem(f"I2: {said}, but its disk is still in {metadata.epoch}")

    def _holds(self, member: str, offset: int, data: bytes, *, exactly: bool) -> bool:
        """Whether a copy has what was written, or, if its node has gone on without the other, something later."""
        if exactly:
            return self.pair.durable_range(member, offset, len(data)) == data
        first = offset // SECTOR_BYTES
        return all(self._may_hold(member, sector) for sector in range(first, first + len(data) // SECTOR_BYTES))

    def _may_hold(self, member: str, sector: int) -> bool:
        content = self.pair.durable_range(member, sector * SECTOR_BYTES, SECTOR_BYTES)
        try:
            self.history.check_sector(sector, content)
        except AssertionError:
            return False
        return True

    def _moved(self, state: PairState, moved: actions.Moved) -> None:
        for name in NAMES:
            self.check_progress(name)
        if moved.phase in _COUNTS and (state.record is None or state.me not in state.record.members):
            self.problem(f"I4: {state.me} is {moved.phase.name} and no member")
        if moved.phase is Phase.MIRRORING and not any(flight.sequence for flight in state.flights):
            self._check_equal(f"I7: at the return of {state.peer}")
        self.check_members()

    def _proposed(self, state: PairState, swap: actions.Swap) -> None:
        if swap.record.members == (state.me,) and self.pair.machines[state.me].struck:
            self.problem(f"I12: {state.me} claims, although its disk has failed: nobody would serve")

    def check_progress(self, name: str) -> None:
        """I6."""
        metadata = self.pair.durable_metadata(name)
        reached = metadata.epoch, metadata.revision
        if any(now < before for now, before in zip(reached, self._reached[name], strict=True)):
            self.problem(f"I6: the disk of {name} went back from {self._reached[name]} to {reached}")
        self._reached[name] = reached

    def check_members(self) -> None:
        """I2 and I10: whoever the arbiter names can go on alone, at this instant."""
        for member in self._living_members():
            for sector in self.history.written:
                content = self.pair.durable_range(member, sector * SECTOR_BYTES, SECTOR_BYTES)
                try:
                    self.history.check_sector(sector, content)
                except AssertionError as error:
                    self.problem(f"I10: the copy of {member}, a member: {error}")
                    return

    def check_verdicts(self) -> None:
        """I10: who says ``protected`` is wrong for no longer than it takes to notice the loss of the other node."""
        for name in NAMES:
            node = self.pair.nodes.get(name)
            if (
                node is None
                or self.pair.is_paused(name)
                or node.status().verdict != "protected"
                or self._could_go_on(name)
            ):
                self._said_wrongly_s.pop(name, None)
            elif trio.current_time() - self._said_wrongly_s.setdefault(name, trio.current_time()) > NOTICED_S:
                self.problem(f"I10: {name} has said protected for {NOTICED_S:g} s while nobody could take over from it")

    def _could_go_on(self, name: str) -> bool:
        """Whether the peer of that node could take over from it."""
        peer = NAMES[1 - NAMES.index(name)]
        return peer in self.pair.nodes and not self.pair.is_paused(peer) and not self.pair.is_copy_dead(peer)

    def check_history(self) -> None:
        """I3 for all answers together."""
        try:
            self.history.check_whole()
        except AssertionError as error:
            self.problem(f"I3: {error}")

    def _living_members(self) -> list[str]:
        stand = self.pair.stand()
        return [name for name in NAMES if name in stand.members and name not in stand.dead]

    def _check_equal(self, when: str) -> None:
        if len(self._living_members()) < len(NAMES):
            return
        for sector in self.history.written:
            contents = {self.pair.durable_range(name, sector * SECTOR_BYTES, SECTOR_BYTES) for name in NAMES}
            if len(contents) > 1:
                self.problem(f"{when} sector {sector} differs")

    def check_copies_equal(self) -> None:
        """I7 for a pair at rest: every byte of both volumes."""
        one, other = (self.pair.durable_copy(name) for name in NAMES)
        if one != other:
            differ = next(place for place in range(len(one)) if one[place] != other[place])
            self.problem(f"I7: the copies differ at rest, first in sector {differ // SECTOR_BYTES}")
