"""What must be true of a simulated pair at each instant: the invariants that whole nodes can be held to.

I1 in an epoch the primary acknowledges, and the other member what the primary has said to be complete; I2 what is
acknowledged, or said to be complete, is durable on every member; I3 reads return what was written last; I4 who is no
member neither serves nor takes the role; I5 what is not marked is equal on source and target of a resync; I6 epoch and
revision never go back; I7 after a return both copies are equal; I8 who was demoted acknowledges nothing; I10
``protected`` means that either node may die; I14 what is under way is waited for.
"""

import math
from collections.abc import Callable
from typing import Final

import attrs
import trio

from ctlha_trio.ha import Reason
from ctlha_trio.pair import (
    FLIGHTS_LIMIT,
    MEMBERS,
    READING,
    WRITING,
    Operation,
    OperationKind,
    Outcome,
    PairState,
    Phase,
    Record,
    actions,
    messages,
)
from ctlha_trio.store import BLOCK_BYTES
from ctlha_trio.testing._drivers.history import Moment, VolumeHistory, put_by
from ctlha_trio.testing._drivers.pair import DriverPair
from ctlha_trio.testing._drivers.programs import Programs
from ctlha_trio.testing._history.block_content import number_of
from ctlha_trio.testing._history.linearizability_records import ANSWERED
from ctlha_trio.testing._pairs.action_watch import Ordered
from ctlha_trio.testing._pairs.pair_faults import NAMES, other
from ctlha_trio.testing._power.medium import SECTOR_BYTES

_ANSWERING = frozenset({Phase.MIRRORING, Phase.ALONE, Phase.ADMITTING, Phase.HANDING_OVER})
_SERVES_ALONE = frozenset({Phase.ALONE, Phase.ADMITTING})
_COUNTS = frozenset({Phase.SECURING, *_ANSWERING, Phase.FOLLOWING})
"""Phases of a node whose record names it."""

NOTICED_S: Final = 10.0
"""A disk call counts as hung after five seconds, of a clock that may be slow; all else is noticed sooner."""


@attrs.define(eq=False)
class DriverChecks:
    """Looks at every action of every node. Each check names its invariant in what it reports."""

    pair: DriverPair
    history: VolumeHistory
    problem: Callable[[str], None]
    _acknowledged_by: dict[int, str] = attrs.field(factory=dict, init=False)
    """By epoch: the node that acknowledged what no other had said to be complete."""
    _proposed_as: dict[tuple[int, str, int], tuple[Operation, bytes]] = attrs.field(factory=dict, init=False)
    """By epoch, node and number: what it proposed."""
    _said: set[tuple[int, str, Operation, Outcome]] = attrs.field(factory=set, init=False)
    """Epoch, node that proposed and operation: what the primary said that became of it."""
    _said_wrongly_s: dict[str, float] = attrs.field(factory=dict, init=False)
    """Since when a node has said ``protected`` without being so, or of a program what is not so."""
    _alone_since_s: dict[str, float] = attrs.field(factory=dict, init=False)
    """Of each node that serves as the only member."""
    _hung: dict[str, list[object]] = attrs.field(factory=dict, init=False)
    """Of each node, the calls of its disk that hung when it last began to claim."""
    _counted: dict[str, Moment] = attrs.field(factory=dict, init=False)
    """By node whose copy does not count: up to when it did."""
    _excused: set[int] = attrs.field(factory=set, init=False)
    """Numbers of operations that may have met damage which is none any more."""
    _reached: dict[str, tuple[int, int]] = attrs.field(factory=lambda: dict.fromkeys(NAMES, (0, 0)), init=False)
    """Epoch and revision that were durable on each node."""

    def ordered(self, ordered: Ordered) -> None:
        """A node is about to carry out an action."""
        state = ordered.state
        if self.pair.disks[state.me].is_cut:
            return
        if len(state.flights) > FLIGHTS_LIMIT:
            for what, count in (
                ("of its clients and its own", sum(not flight.taken for flight in state.flights)),
                ("that the peer proposed", sum(bool(flight.taken) for flight in state.flights)),
                ("that write", sum(flight.is_write and flight.begun for flight in state.flights)),
            ):
                if count > FLIGHTS_LIMIT:
                    self.problem(f"I14: {count} operations {what} under way at {state.me}")
        match ordered.action:
            case actions.Answer() as answer:
                self._answered(ordered, answer)
            case actions.PushProposal() as push:
                assert ordered.operation is not None, "a proposal has its operation"
                self._proposed_as[push.epoch, state.me, push.number] = ordered.operation, ordered.data
            case actions.Send(message=messages.Completed() | messages.Unexecuted() as told):
                self._proposal_ended(state, told)
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
            self.history.answered(operation, answer.outcome, ordered.data, answer.miscompare_at)
        except AssertionError as error:
            self.problem(f"I3: {state.me} answered {operation.number} {answer.outcome.name}: {error}")
        # What a secondary tells of a change was true when its primary said it: a block may have been healed since.
        of_primary = state.phase is Phase.FOLLOWING and operation.kind in WRITING
        lost = answer.outcome is Outcome.MEDIUM_ERROR
        if lost and not of_primary:
            self._lost(state, operation)
        if answer.outcome not in ANSWERED and not (lost and of_primary):
            return
        said = f"{state.me} answered {operation.kind.name} {operation.number} in epoch {state.epoch}"
        if state.phase is Phase.FOLLOWING:
            self._follower_answered(said, state, operation, answer.outcome)
        elif state.phase not in _ANSWERING:
            self.problem(f"I8: {said} while {state.phase.name}")
        if state.record is None or state.me not in state.record.members:
            self.problem(f"I4: {said} and is no member")
        if state.phase in MEMBERS and (operation.kind in READING or answer.outcome is Outcome.MISCOMPARE):
            self._read_as_member(said, state, self.history.calls[operation.number].called_s)
        if answer.outcome is not Outcome.DONE:
            return
        if operation.kind in WRITING:
            # What the secondary answers was exactly so when the primary said it; the next write may have begun since.
            exactly = state.phase is not Phase.FOLLOWING and state.record == self.pair.record
            self._acknowledged(said, state, operation, ordered.data, exactly=exactly)

    def _follower_answered(self, said: str, state: PairState, operation: Operation, outcome: Outcome) -> None:
        """A secondary tells in its session, and of what changes something what the primary of its epoch has said."""
        if not state.session or state.session != state.partner:
            self.problem(f"I8: {said} while it follows nobody")
        if operation.kind in WRITING and (state.epoch, state.me, operation, outcome) not in self._said:
            self.problem(f"I1: {said}, and its primary has not said so")

    def _proposal_ended(self, state: PairState, told: messages.Completed | messages.Unexecuted) -> None:
        """A primary says what became of a proposal."""
        operation, data = self._proposed_as[told.epoch, state.peer, told.number]
        outcome = told.outcome if isinstance(told, messages.Unexecuted) else Outcome.DONE
        self._said.add((told.epoch, state.peer, operation, outcome))
        if outcome is Outcome.MEDIUM_ERROR:
            self._lost(state, operation)
        if outcome is Outcome.DONE:
            said = f"{state.me} said that {operation.kind.name} {operation.number} of {state.peer} is complete"
            self._check_durable(said, state, operation, data, exactly=state.record == self.pair.record)

    def _lost(self, state: PairState, operation: Operation) -> None:
        """An operation that nobody can carry out: no copy that counts for this node has every block of it."""
        members = () if state.record is None else state.record.members
        end = operation.offset + operation.size
        blocks = range(operation.offset // BLOCK_BYTES * BLOCK_BYTES, end, BLOCK_BYTES)
        lost = any(not any(self.pair.damage.holds(member, block) for member in members) for block in blocks)
        if not lost and operation.number not in self._excused:
            self.problem(f"I3: {state.me} says that blocks of {operation.number} are lost, but a member has each")

    def excuse_medium_errors(self) -> None:
        """A block has become whole in a way that no node knows of: who asked before may be told that it is lost."""
        self._excused |= {number for number, call in self.history.calls.items() if call.outcome is None}

    def _read_as_member(self, said: str, state: PairState, called_s: float) -> None:
        """A permit is over before the node that granted it serves alone; a grant asked for since proves as much."""
        peer = self.pair.nodes.get(state.peer)
        served_before = self._alone_since_s.get(state.peer, math.inf) < called_s
        if peer is not None and served_before and peer.pair.epoch > state.epoch:
            self.problem(f"I3: {said} while {state.peer} served without it in {peer.pair.epoch}")

    def _acknowledged(self, said: str, state: PairState, operation: Operation, data: bytes, *, exactly: bool) -> None:
        follows = state.phase is Phase.FOLLOWING
        if not follows and self._acknowledged_by.setdefault(state.epoch, state.me) != state.me:
            self.problem(f"I1: {said}, and so did the other node")
        self._check_durable(said, state, operation, data, exactly=exactly)

    def _check_durable(self, said: str, state: PairState, operation: Operation, data: bytes, *, exactly: bool) -> None:
        # A member whose disk has died since has kept it; one whose disk was dead before cannot have agreed.
        holds = self._carries if operation.kind is OperationKind.PUT_RECORD else self._holds
        for member in self.pair.newest.members:
            if not holds(member, operation, data, exactly=exactly):
                self.problem(f"I2: {said}, and it is not durable on {member}")
        metadata = self.pair.durable_metadata(state.me)
        if metadata.epoch != state.epoch:
            self.problem(f"I2: {said}, but its disk is still in {metadata.epoch}")

    def _carries(self, member: str, operation: Operation, data: bytes, *, exactly: bool) -> bool:
        """As ``_holds``, of a record."""
        if exactly:
            return self.pair.durable_records(member).get(operation.key, b"") == data
        return not self._problem_of_records(member)

    def _problem_of_records(self, member: str) -> str:
        records = self.pair.durable_records(member)
        try:
            for place in self.history.put:
                self.history.check_record(place, records)
        except AssertionError as error:
            return str(error)
        return ""

    def _holds(self, member: str, operation: Operation, data: bytes, *, exactly: bool) -> bool:
        """Whether a copy has what was written, or, if not ``exactly``, perhaps something later."""
        offset = operation.offset
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
        if moved.phase in _SERVES_ALONE:
            self._alone_since_s.setdefault(state.me, trio.current_time())
        else:
            self._alone_since_s.pop(state.me, None)
        if moved.phase is Phase.CLAIMING:
            self._hung[state.me] = [*self.pair.machines[state.me].disk.hung]
        for name in NAMES:
            self.check_progress(name)
        if moved.phase in _COUNTS and (state.record is None or state.me not in state.record.members):
            self.problem(f"I4: {state.me} is {moved.phase.name} and no member")
        if moved.phase is Phase.MIRRORING and not any(flight.sequence for flight in state.flights):
            self._check_equal(f"I7: at the return of {state.peer}")
        self.check_members()

    def recorded(self, before: Record, record: Record) -> None:
        """The arbiter has taken a record. Of a copy that a person chooses nothing is missing of while it counted."""
        for name in before.members:
            if name not in record.members:
                self._counted[name] = self.history.moment()
        if record.lineage != before.lineage and record.primary not in before.members:
            self._forsake(record.primary)

    def _forsake(self, chosen: str) -> None:
        records = self.pair.durable_records(chosen)
        held = {place: put_by(records, place) for place in self.history.put}
        try:
            for sector in self.history.written:
                held[sector] = number_of(self.pair.durable_range(chosen, sector * SECTOR_BYTES, SECTOR_BYTES))
            for place, value in held.items():
                self._counted[chosen].check(place, value)
        except AssertionError as error:
            self.problem(f"I2: the copy of {chosen}, which was forced, lacks what it had: {error}")
        try:
            self.history.forsake(held)
        except AssertionError as error:
            self.problem(f"I3: {error}")

    def _proposed(self, state: PairState, swap: actions.Swap) -> None:
        if swap.record.members == (state.me,) and self.pair.machines[state.me].struck:
            self.problem(f"I12: {state.me} claims, although its disk has failed: nobody would serve")
        hung = self.pair.machines[state.me].disk.hung
        if swap.record.members == (state.me,) and any(call in hung for call in self._hung.get(state.me, ())):
            self.problem(f"I12: {state.me} claims, although its disk hangs: nobody would serve")

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
            problem = self._problem_of_records(member)
            if problem:
                self.problem(f"I10: the records of {member}, a member: {problem}")
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

    def check_programs(self, programs: Programs) -> None:
        """I10: a node says whether its component and its handler have failed, no later than all else is noticed."""
        for name in NAMES:
            node = self.pair.nodes.get(name)
            said = () if node is None else node.status().reasons
            for reason, failed in (
                (Reason.COMPONENT_FAILED, programs.failed),
                (Reason.COMPONENT_ERROR, programs.erred),
                (Reason.COMPONENT_RAISED, programs.had_bug),
                (Reason.HANDLER_FAILED, programs.raised),
            ):
                key = f"{name} {reason.value}"
                if node is None or self.pair.is_paused(name) or (reason.value in said) is (failed.get(name) is node):
                    self._said_wrongly_s.pop(key, None)
                elif trio.current_time() - self._said_wrongly_s.setdefault(key, trio.current_time()) > NOTICED_S:
                    self.problem(f"I10: {name} {'says' if reason.value in said else 'does not say'} {reason.value}")

    def _could_go_on(self, name: str) -> bool:
        """Whether the peer of that node could take over from it."""
        peer = other(name)
        gone = peer not in self.pair.nodes or self.pair.is_paused(peer) or self.pair.is_copy_dead(peer)
        return not (gone or self.pair.machines[peer].disk.hung)

    def check_history(self) -> None:
        """I3 for all answers together."""
        try:
            self.history.check_whole()
        except AssertionError as error:
            self.problem(f"I3: {error}")

    def _living_members(self) -> list[str]:
        stand = self.pair.stand()
        return [name for name in NAMES if name in self.pair.newest.members and name not in stand.dead]

    def _check_equal(self, when: str) -> None:
        if len(self._living_members()) < len(NAMES):
            return
        if self.pair.durable_records(NAMES[0]) != self.pair.durable_records(NAMES[1]):
            self.problem(f"{when} the records differ")
        for sector in self.history.written:
            contents = {self.pair.durable_range(name, sector * SECTOR_BYTES, SECTOR_BYTES) for name in NAMES}
            if len(contents) > 1:
                self.problem(f"{when} sector {sector} differs")

    def check_copies_equal(self) -> None:
        """I7 for a pair at rest: every byte of both volumes."""
        if self.pair.durable_records(NAMES[0]) != self.pair.durable_records(NAMES[1]):
            self.problem("I7: the records differ at rest")
        one, other = (self.pair.durable_copy(name) for name in NAMES)
        if one != other:
            differ = next(place for place in range(len(one)) if one[place] != other[place])
            self.problem(f"I7: the copies differ at rest, first in sector {differ // SECTOR_BYTES}")
