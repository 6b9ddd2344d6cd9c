"""What must be true of the pair, by the numbers of the protocol's invariants, and the moments at which each is checked.

=== ======================================================================== ==========================================
I1  In an epoch only the primary of its record acknowledges, and the other    every operation that is answered as done
    member in its session what that primary has said to be complete.
I2  An acknowledged write is on every member of the arbiter's record.         every such write, every new record,
                                                                              every word that a proposal is complete
I3  A read returns the last acknowledged value, or a concurrent one.          every read that is answered (the history)
    Under a permit, nothing is acknowledged without the reader.               every read under a permit
I4  Who is no member serves nothing and is not promoted.                      every operation done, every new record
I5  What is not marked, and not being written, is equal on source and target. every search for what is left to copy
I6  Neither epoch nor revision goes back, in the state or on the disk.        every step, every persist
I7  After a resync both copies are equal.                                     the record that admits, every heal
I8  Nothing is acknowledged after the role was lost.                          every operation that is answered as done
I10 ``protected`` means that one crash loses nothing.                         every crash
I11 The arbiter is not called for a write, a read or a flush.                 every step that belongs to one
I12 A healthy core serves in bounded time, and ends what it was asked for.    every heal, ``trials``
    A planned change of the members or of the roles costs no session.         every push that is denied
I14 A queue holds what somebody waits for, and that once.                     every step
I15 Where both copies are bad, the nodes halt and say why.                    ``trials``, every node that ends
    A refusal of the arbiter is over when it proves that, and not before.     every step
=== ======================================================================== ==========================================

I9 (no DMA after the death of a key) and I13 (reservations) concern parts that the core does not have.
"""

import math
from collections.abc import Set
from typing import Final

import attrs

from ctlha_trio.ha import judge
from ctlha_trio.pair import (
    WRITING,
    Copy,
    Operation,
    Outcome,
    PairState,
    Phase,
    Record,
    SwapOutcome,
    actions as act,
    events as ev,
    messages as msg,
)
from ctlha_trio.testing._core.arbiter import SimulatedArbiter
from ctlha_trio.testing._core.clients import SimulatedClients, blocks_read, places_of
from ctlha_trio.testing._core.false_record import FALSIFIED
from ctlha_trio.testing._core.node import SimulatedNode
from ctlha_trio.testing._core.volume import RECORDS, SECTORS, VOLUME_BYTES, blocks_of, blocks_with
from ctlha_trio.testing._history.block_history import BlockHistory
from ctlha_trio.testing._history.linearizability_records import ANSWERED

ACKNOWLEDGING: Final = frozenset({Phase.ALONE, Phase.ADMITTING, Phase.MIRRORING, Phase.HANDING_OVER})
"""Phases in which what was started is completed."""
_SERVES_ALONE: Final = frozenset({Phase.ALONE, Phase.ADMITTING})
OVERWRITTEN: Final = frozenset({Copy.RESYNCING, Copy.REWRITING})
"""What is durable on a node while its copy is neither old nor new."""
CALLS_MAX: Final = 2
"""Of one process at the arbiter: a read and a swap."""

_TAKEN: Final = frozenset({SwapOutcome.WON, SwapOutcome.LOST})
_OF_OPERATIONS: Final = frozenset(
    {ev.Submitted, ev.Stored, ev.Fetched, ev.StoredCompared, ev.RangeCompared}
    | {msg.MirrorWrite, msg.MirrorZeroes, msg.MirrorRecord, msg.Applied, msg.Compare, msg.Compared}
    | {msg.SettledAsked, msg.Settled, msg.PermitRequest}
    | {msg.Propose, msg.Assigned, msg.Completed, msg.Unexecuted}
)
"""Events, and messages heard, that belong to operations."""


@attrs.frozen(eq=False)
class Moment:
    """In what clients were told."""

    history: BlockHistory
    time: float | None
    """None for as long as it goes on."""
    void: Set[int] = frozenset()
    """Tickets whose refusals behind it count no more."""


@attrs.define(eq=False)
class Invariants:
    """``AssertionError``, with the invariant's number, from the check that finds it broken."""

    arbiter: SimulatedArbiter
    nodes: dict[str, SimulatedNode]
    clients: SimulatedClients
    records: dict[int, Record] = attrs.field(init=False)
    """Every record of the pair, by epoch."""
    shown: dict[str, int] = attrs.field(factory=dict, init=False)
    """By node: the revision of the record that a person saw who forced it last."""
    _said: set[tuple[int, str, int, Outcome]] = attrs.field(factory=set, init=False)
    """Epoch, node that proposed and number: what the primary said that became of it."""
    _counted: dict[str, Moment] = attrs.field(factory=dict, init=False)
    """By node whose copy does not count: the latest moment up to which it holds everything."""
    _sealing: dict[str, Moment] = attrs.field(factory=dict, init=False)
    """By node: when its source, at which everything was held, last asked it to seal its copy."""

    def __attrs_post_init__(self) -> None:
        """The pair begins with the arbiter's first record."""
        self.records = {self.arbiter.record.epoch: self.arbiter.record}

    def stepped(
        self, node: SimulatedNode, before: PairState, after: PairState, event: ev.Event, ordered: tuple[act.Action, ...]
    ) -> None:
        """A core took an event and gave orders, which have not been carried out."""
        if after.record is not before.record:
            self._check_never_back(node, before, after)
        of_operations = type(event.message if isinstance(event, ev.Received) else event) in _OF_OPERATIONS
        for action in ordered:
            match action:
                case act.Send(message=msg.Completed() | msg.Unexecuted() as told):
                    self._proposal_ended(node, told)
                case act.HandoverEnded() if before.phase is Phase.HANDING_OVER and not action.unknown:
                    self._handover_ended(before, done=not action.problem)
                case act.Swap() | act.ReadRecord() if of_operations:
                    raise AssertionError(f"I11: {event} leads to {action}")
                case _:
                    pass
        _check_refusal(node, before, after, event)
        if after.forcing and not before.forcing and before.session:
            raise AssertionError(f"{node.name} is forced although it hears {node.peer}")
        if len(node.calls) > CALLS_MAX:
            raise AssertionError(f"I14: {node.name} has {len(node.calls)} calls at the arbiter: {list(node.calls)}")
        if after.flights is not before.flights or isinstance(event, ev.Submitted):
            self._check_flights(node, after, ordered)
        if after.phase is Phase.ADMITTING and any(isinstance(action, act.PushSeal) for action in ordered):
            self._sealing[node.peer] = self._now(node.name)

    def _handover_ended(self, before: PairState, *, done: bool) -> None:
        """Who asked is told of what the arbiter has taken, and of nothing else, that it is done."""
        if before.swap is None:
            taken = before.record is not None and before.record.primary == before.peer
        else:
            taken = before.swap.record in self.records.values()
        said = "done" if done else "not done"
        _demand(taken is done, f"I12: {before.me} says that a handover is {said}, and the arbiter took it: {taken}")

    def _proposal_ended(self, primary: SimulatedNode, told: msg.Completed | msg.Unexecuted) -> None:
        """A primary says what became of a proposal: one that is complete is on both disks as it was proposed."""
        outcome = told.outcome if isinstance(told, msg.Unexecuted) else Outcome.DONE
        self._said.add((told.epoch, primary.peer, told.number, outcome))
        origin = self.nodes[primary.peer].state
        if origin is None or origin.epoch != told.epoch:
            return
        for flight in origin.flights:
            operation = self.clients.asked.get((primary.peer, flight.ticket))
            if flight.proposal != told.number or operation is None:
                continue
            if outcome is Outcome.MEDIUM_ERROR:
                self._check_damage(primary, flight.ticket, operation)
            proposed = self.clients.written(flight.ticket, operation)
            for member in self.living_members() if outcome is Outcome.DONE else ():
                held = {place: member.held_at(place) for place in proposed}
                _demand(held == proposed, f"I2: {operation} is called complete, and {member.name} holds {held}")

    def _check_flights(self, node: SimulatedNode, after: PairState, ordered: tuple[act.Action, ...]) -> None:
        """A node neither forgets who asked it nor goes on with what nobody waits for."""
        answered = {action.ticket for action in ordered if isinstance(action, act.Answer)}
        waiting = {ticket for name, ticket in self.clients.asked if name == node.name} - answered
        held = [flight.ticket for flight in after.flights if flight.ticket and not flight.answered]
        if sorted(held) != sorted(waiting):
            raise AssertionError(f"I14: {node.name} has {held} under way, and {sorted(waiting)} are waited for")

    def _check_never_back(self, node: SimulatedNode, before: PairState, after: PairState) -> None:
        if after.epoch < before.epoch or after.revision < before.revision:
            raise AssertionError(
                f"I6: {node.name} went back from epoch {before.epoch} r{before.revision} "
                f"to {after.epoch} r{after.revision}"
            )
        durable = node.metadata
        if after.phase is not Phase.STOPPED and (after.epoch < durable.epoch or after.revision < durable.revision):
            raise AssertionError(
                f"I6: {node.name} acts on epoch {after.epoch} r{after.revision}, "
                f"but has persisted {durable.epoch} r{durable.revision}"
            )

    def persisted(self, node: SimulatedNode, call: act.Persist) -> None:
        """A node's metadata is about to become this."""
        old, new = node.metadata, call.metadata
        back = new.epoch < old.epoch or new.revision < old.revision
        _demand(not back, f"I6: {node.name} persists {new.epoch} r{new.revision} over {old.epoch} r{old.revision}")
        whole_again = old.copy in OVERWRITTEN and new.copy is Copy.MEMBER
        _demand(not whole_again, f"I4: {node.name} takes a copy for whole that is half overwritten")
        if new.copy is Copy.SEALED and node.name in self._sealing:
            self._counted[node.name] = self._sealing[node.name]
        begun = any(record.lineage == new.lineage for record in self.records.values())
        _demand(begun, f"{node.name} persists a line that nobody began: {new.lineage}")

    def answered(self, node: SimulatedNode, before: PairState, answer: act.Answer) -> None:
        """A client was told, by a node that was in that state before the step."""
        operation = self.clients.answered(node, answer)
        state = node.state
        if state is None:
            return
        epoch, follows = state.epoch, follows_on(before, state)
        if follows and answer.outcome in {*ANSWERED, Outcome.MEDIUM_ERROR} and operation.kind in WRITING:
            self._check_said(node, before, answer)
        elif answer.outcome is Outcome.MEDIUM_ERROR:
            self._check_damage(node, answer.ticket, operation)
        if answer.outcome not in ANSWERED:
            return
        if not follows and not {before.phase, state.phase} & ACKNOWLEDGING:
            raise AssertionError(f"I8: {node.name} acknowledged as {state.phase.name}")
        told = state.phase in {Phase.ALONE, Phase.ADMITTING} and state.is_behind
        _demand(not told, f"I8: {node.name} acknowledged alone, although its peer has told of a later record")
        record, changes = self.records.get(epoch), operation.kind in WRITING
        # Who has just been given the role reads as secondary until it has recorded that.
        wrong = record is None or (changes and follows is (record.primary == node.name))
        if record is None or wrong or node.name not in record.members:
            raise AssertionError(f"I1, I4: {node.name} acknowledged in epoch {epoch}, of which the record is {record}")
        if changes and answer.outcome is Outcome.DONE:
            if node.metadata.epoch != epoch:
                raise AssertionError(
                    f"I6: {node.name} acknowledged in epoch {epoch}, but has persisted {node.metadata.epoch}"
                )
            abandoned = node.name in self.clients.abandoned
            for member in [node] if abandoned else self.living_members():
                for place in places_of(operation):
                    self._check_place(member, place)

    def _check_said(self, node: SimulatedNode, before: PairState, answer: act.Answer) -> None:
        """What a secondary tells of a change, the primary has said in this epoch, and it was true then."""
        number = next((flight.proposal for flight in before.flights if flight.ticket == answer.ticket), 0)
        said = (before.epoch, node.name, number, answer.outcome) in self._said
        _demand(said, f"I1, I4: {node.name} answers {answer}, and its primary did not")

    def _check_damage(self, node: SimulatedNode, ticket: int, operation: Operation) -> None:
        """An operation that ended with a medium error needed a block of which no copy that counts here is whole."""
        record = node.state.record if node.state is not None else None
        members = [self.nodes[name] for name in record.members] if record is not None else []
        needed = blocks_read(operation)
        whole = [block for block in needed if any(_is_whole(member, block) for member in members)]
        if len(whole) == len(needed) and ticket not in self.clients.excused:
            raise AssertionError(f"I3: {node.name} says that one of blocks {whole} is lost, but all of them are there")

    def left(self, before: Record, record: Record) -> None:
        """The arbiter is about to hold a record: who counted until now may be chosen by a person later."""
        forsaken = record.lineage != before.lineage and record.primary not in before.members
        for name in before.members if before.proposal != FALSIFIED else ():
            # What a disk lacks that was put back meanwhile, nobody can know.
            if name not in record.members and not self.nodes[name].stale:
                now = self._now(name)
                self._counted[name] = attrs.evolve(now, time=None) if forsaken else now

    def put_back(self, node: SimulatedNode) -> None:
        """Its disk is an older one: what that lacks, nobody can know."""
        self._counted.pop(node.name, None)
        self._sealing.pop(node.name, None)

    def chosen(self, node: SimulatedNode) -> None:
        """A person chose the copy of a node that does not count: it holds what was acknowledged while it did."""
        counted = self._counted.get(node.name)
        for place in range(-RECORDS, SECTORS) if counted is not None else ():
            # What was never to be written there at that time came later, when it did not count.
            # What the other one refused since, it refused for its own copy; this one may have executed it late.
            if counted is not None and counted.history.knows(place, node.held_at(place)):
                self._check_place(node, place, moment=attrs.evolve(counted, void=self.clients.refused[node.peer]))

    def find_out(self, node: SimulatedNode) -> None:
        """A node that was abandoned may have come to know the record of who was forced."""
        record = node.state.record if node.state is not None else None
        if record is not None and record.lineage == self.arbiter.truth.lineage:
            self.clients.found_out(node.name)

    def _now(self, node: str) -> Moment:
        history = self.clients.history_of(node)
        return Moment(history, math.nextafter(history.now, math.inf))

    def read(self, node: SimulatedNode) -> None:
        """A node has read under a live permit: until now, nothing was acknowledged without it."""
        mine, peers = node.state, self.nodes[node.peer].state
        if mine is not None and peers is not None and peers.phase in _SERVES_ALONE and peers.epoch > mine.epoch:
            raise AssertionError(f"I3: {node.name} reads in epoch {mine.epoch}, and {node.peer} serves without it")

    def recorded(self, before: Record, record: Record) -> None:
        """The arbiter applied a swap: every member holds every acknowledged write and knows its copy as whole."""
        self.records[record.epoch] = record
        if record.proposal == FALSIFIED:
            self.check_members()
            return
        if record.lineage != before.lineage and self.arbiter.revision - 1 != self.shown.get(record.primary):
            raise AssertionError(f"{record.primary} is forced on a record that nobody was shown: {before}")
        if record.primary not in before.members and record.lineage == before.lineage:
            raise AssertionError(f"I4: {record.primary}, no member, is made primary of the same line")
        self.check_members()
        _demand(record.fence == "none" or len(record.members) == 1, f"a member passes for fenced: {record}")
        failed = any(node.metadata.copy is Copy.FAILED for node in self.nodes.values())
        if len(before.members) < len(record.members) and not failed:
            # The target's disk may have failed behind its word that it is whole; it is admitted, and known as dead.
            copies = [(node.sectors, node.records) for node in self.nodes.values()]
            _demand(copies[0] == copies[1], f"I7: a resync has ended and the copies differ: {copies}")

    def searched(self, node: SimulatedNode, call: act.FindDirty) -> None:
        """The source of a resync looks for what is left to copy, in the session that both nodes are in."""
        state, target = node.state, self.nodes[node.peer]
        if state is None or state.resync is None or state.resync.search != call.search:
            return
        if target.state is None or target.link.session != node.link.session or target.metadata.copy not in OVERWRITTEN:
            return
        written = {block for where in state.may_differ for block in blocks_of(*where)}
        differing = blocks_with(sector for sector in range(SECTORS) if node.sectors[sector] != target.sectors[sector])
        for block in differing - node.marks.dirty - written:
            raise AssertionError(f"I5: block {block} differs and is not marked: {node.sectors}, {target.sectors}")

    def verified(self, node: SimulatedNode, problem: str) -> bool:
        """A comparison of the copies is over. Whether it is complete: then it compared everything and found no lie."""
        verification = node.state.verification if node.state else None
        if verification is None or problem:
            return False
        compared = verification.cursor == VOLUME_BYTES and not verification.left
        _demand(compared and not verification.differing_bytes, f"I7: a verification ended so: {verification}")
        return True

    def check_members(self) -> None:
        """Every node that the arbiter names holds every acknowledged write."""
        for node in self.living_members():
            if node.metadata.copy in OVERWRITTEN:
                raise AssertionError(f"I4: member {node.name} has not persisted that its copy is whole")
            for place in range(-RECORDS, SECTORS):
                self._check_place(node, place)

    def holds_everything(self, node: SimulatedNode) -> bool:
        """Whether that copy could be the only one that is left."""
        try:
            for place in range(-RECORDS, SECTORS):
                self._check_place(node, place)
        except AssertionError:
            return False
        return True

    def crash(self, node: SimulatedNode) -> list[act.Swap]:
        """Crash the node. If one of the two had just said ``protected``, the other copy holds everything."""
        truth = self.arbiter.truth
        protected = any(
            each.state is not None and each.state.epoch == truth.epoch and judge(each.state)[0] == "protected"
            for each in self.nodes.values()
        )
        swaps = node.crash()
        survivor = self.nodes[node.peer]
        if protected and survivor.metadata.copy is not Copy.FAILED:
            _demand(survivor.name in truth.members, f"I10: {survivor.name} is no member although all was protected")
            for place in range(-RECORDS, SECTORS):
                self._check_place(survivor, place, "I10")
        return swaps

    def living_members(self) -> list[SimulatedNode]:
        """Members of which anything may be demanded: not one whose disk died, or that only a false record names."""
        truth = self.arbiter.truth
        none = OVERWRITTEN | {Copy.FAILED} if truth.proposal == FALSIFIED else {Copy.FAILED}
        living = [self.nodes[name] for name in truth.members if self.nodes[name].metadata.copy not in none]
        _demand(bool(living), "I2: the arbiter names only nodes whose copies are dead")
        return living

    def _check_place(
        self, node: SimulatedNode, place: int, number: str = "I2", *, moment: Moment | None = None
    ) -> None:
        moment = moment or Moment(self.clients.history_of(node.name), None)
        try:
            moment.history.check(place, node.held_at(place), moment.time, void=moment.void)
        except AssertionError as error:
            raise AssertionError(f"{number}: {node.name}: {error}") from error


def follows_on(before: PairState, after: PairState) -> bool:
    """Whether a node was and is the secondary, of the same epoch, in a session with the primary of that epoch."""
    stays = before.phase is after.phase is Phase.FOLLOWING and before.epoch == after.epoch
    return stays and after.session == after.partner != 0


def _check_refusal(node: SimulatedNode, before: PairState, after: PairState, event: ev.Event) -> None:
    """That the arbiter takes no change ends by what it takes or proves, and not by what the node does next."""
    match event:
        case ev.Swapped() if before.swap is not None and before.swap.record.proposal == event.proposal:
            fits = before.phase in {Phase.STOPPED, Phase.LEFT} or bool(after.untaken) is (event.outcome not in _TAKEN)
        case ev.RecordRead(takes_changes=True):
            fits = not after.untaken
        case ev.RecordRead(takes_changes=False):
            fits = bool(after.untaken) or before.swap is not None
        case ev.RecordRead():
            # It may show that a change was taken.
            fits = True
        case _:
            fits = bool(after.untaken) or not before.untaken
    _demand(fits, f"I15: {node.name} does not know whether its arbiter takes changes, behind {event}")


def _is_whole(node: SimulatedNode, block: int) -> bool:
    lives = node.metadata.copy is not Copy.FAILED and not node.failing and not node.stale
    return lives and block not in node.damaged


def _demand(true: bool, otherwise: str) -> None:
    if not true:
        raise AssertionError(otherwise)
