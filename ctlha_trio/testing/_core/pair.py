"""Two cores of production, all that they need, and all that can be done to them; ``_core.world`` says when."""

from collections import Counter
from functools import partial
from random import Random
from typing import Final, assert_never

import attrs

from ctlha_trio.pair import (
    OperationKind,
    Phase,
    Record,
    actions as act,
    boot,
    events as ev,
    messages as msg,
    step_pair,
)
from ctlha_trio.testing._core.arbiter import ArbiterCall, SimulatedArbiter
from ctlha_trio.testing._core.clients import SimulatedClients
from ctlha_trio.testing._core.clock import RunningTimer, SimulatedClock
from ctlha_trio.testing._core.damage import meet_damage
from ctlha_trio.testing._core.disk_calls import NotStoring, Storing
from ctlha_trio.testing._core.false_record import FALSIFIED, tell_of
from ctlha_trio.testing._core.invariants import OVERWRITTEN, Invariants
from ctlha_trio.testing._core.link import Blocks, LinkEnd, SimulatedLink, digest_of
from ctlha_trio.testing._core.log import EventHistory
from ctlha_trio.testing._core.node import (
    CLEAN_CHANCE,
    NODES,
    SimulatedNode,
)
from ctlha_trio.testing._core.pushes import denied, push, say_records, stored_by
from ctlha_trio.testing._core.reached import Reached
from ctlha_trio.testing._core.reads import SimulatedReads
from ctlha_trio.testing._core.returns import read_for_peer, say_ready
from ctlha_trio.testing._core.room import SimulatedRoom
from ctlha_trio.testing._core.totals import Coverage, Totals, changes_of
from ctlha_trio.testing._core.volume import VOLUME_BYTES, blocks_of
from ctlha_trio.testing._core.words import IN_SECTORS, answered_reads, told_answer
from ctlha_trio.testing._pairs.first_metadata import first_metadata

STALE_EXCUSES: Final = "copy-went-back", "copy-incomplete"
"""Reasons to end of a process on a disk that was put back."""
SHORTEST_S: Final = 0.001
"""Of a timer."""
MARK_CHANCE: Final = 0.5
"""That a disk which failed still takes the mark that it did."""
LINGER_CHANCE: Final = 0.5
"""That a goodbye is said behind what is ordered after it: the driver takes its time for it."""


@attrs.define(eq=False)
class SimulatedPair:
    """Everything that it demands is an ``AssertionError``."""

    random: Random
    history: EventHistory
    clock: SimulatedClock = attrs.field(init=False)
    arbiter: SimulatedArbiter = attrs.field(init=False)
    link: SimulatedLink = attrs.field(init=False)
    nodes: dict[str, SimulatedNode] = attrs.field(init=False)
    clients: SimulatedClients = attrs.field(init=False)
    invariants: Invariants = attrs.field(init=False)
    reads: SimulatedReads = attrs.field(init=False)
    room: SimulatedRoom = attrs.field(init=False)
    incarnations: int = 0
    happened: Counter[str] = attrs.Factory(Counter)
    """By the names of ``Totals``."""
    faults_done: Counter[str] = attrs.Factory(Counter)
    """Faults that acted, by name."""
    excuses: frozenset[str] = frozenset()
    """Reasons to end that the surroundings give every node."""
    _reached: Reached = attrs.field(factory=Reached, init=False)

    def __attrs_post_init__(self) -> None:
        """Make an arbiter and two nodes that hold the same zeros."""
        record = Record(cluster="c", resource="r", epoch=1, lineage="l", primary="a", members=NODES, proposal="init")
        self.clock = SimulatedClock(self.random)
        self.link = SimulatedLink((LinkEnd(self.random), LinkEnd(self.random)), self.random)
        self.nodes = {
            name: SimulatedNode(name, peer, self.random, first_metadata(record, name, "x"), end)
            for name, peer, end in zip(NODES, reversed(NODES), self.link.ends, strict=True)
        }
        self.room = SimulatedRoom(self.random)
        self.clients = SimulatedClients(self.random, lambda: self.clock.now_s, self.room.refused)
        self.arbiter = SimulatedArbiter(record, self.random, self._recorded)
        self.invariants = Invariants(self.arbiter, self.nodes, self.clients)
        self.reads = SimulatedReads(
            self.random, self.clock, self.link, self.clients, self.invariants, self.feed, self.note
        )

    @property
    def totals(self) -> Totals:
        """Of this pair so far."""
        return Totals(
            seeds=1,
            events=self.history.events,
            simulated_s=self.clock.now_s,
            operations=self.clients.tickets,
            done=self.clients.done,
            acknowledged_writes=self.clients.acknowledged,
            arbiter_calls=self.arbiter.calls,
            medium_errors=self.clients.medium_errors,
            faults=self.faults_done.total(),
            **self.happened,
        )

    @property
    def coverage(self) -> Coverage:
        """Of this pair so far."""
        return self._reached.coverage(+self.faults_done)

    # What happens to processes.

    def start(self, node: SimulatedNode) -> None:
        """Start a process on what the disk holds."""
        assert not node.link.inbox, "a process is born with news of the one before"
        self.incarnations += 1
        self.note(node.name, f"starts as incarnation {self.incarnations}")
        node.excused = {*self.excuses, *(STALE_EXCUSES if node.stale else ()), *node.misled}
        node.failing = False
        self.reads.start(node)
        node.state, first = boot(
            me=node.name,
            peer=node.peer,
            incarnation=self.incarnations,
            size_bytes=VOLUME_BYTES,
            metadata=node.metadata,
            marked_from=node.recover(),
        )
        for action in first:
            self._carry_out(node, action)

    def take_down(self, node: SimulatedNode, how: str) -> None:
        """Kill a process. Its link goes first: what is said of that must not wait for the next one."""
        self.happened["crashes"] += 1
        self._note_end(node, how)
        self.link.cut()
        self.arbiter.late.extend(self.invariants.crash(node))
        self.clients.crashed(node)

    def _note_end(self, node: SimulatedNode, how: str) -> None:
        asked = self.clients.waiting_for(node)
        self.note(node.name, f"{how}; never answered: {', '.join(map(str, asked))}" if asked else how)

    def take_down_ended(self, node: SimulatedNode) -> None:
        """As a person does with a node that ended, and had a reason."""
        node.check_end()
        left = node.state is not None and node.state.phase is Phase.LEFT
        if left and self.random.random() < CLEAN_CHANCE and not (node.failing or node.disk_hangs):
            self._note_end(node, "ends cleanly")
            self.link.cut()
            self.arbiter.late.extend(node.end_cleanly())
            self.clients.crashed(node)
        else:
            self.take_down(
                node, f"is switched off; it had {'left' if left else 'stopped'}: {node.state.why if node.state else ''}"
            )

    def excuse_all(self, *reasons: str) -> None:
        """From now on either node may end, for one of these reasons."""
        self.excuses = frozenset(reasons)
        for node in self.nodes.values():
            node.excused.update(reasons)

    def pause(self, node: SimulatedNode) -> None:
        """Stop a process as a debugger does."""
        node.paused = True
        self.happened["pauses"] += 1
        self.note(node.name, "is paused")

    def resume(self, node: SimulatedNode) -> None:
        """Let it go on."""
        node.paused = False
        self.note(node.name, "goes on")

    def connect(self) -> None:
        """Let the nodes find each other, if they can. One that takes no part any more only tells what it knows."""
        first, second = self.nodes.values()
        if not self.link.passable or first.paused or second.paused:
            return
        for node, to in ((first, second), (second, first)):
            if node.state is not None and to.state is not None and not to.ended:
                self.feed(to, ev.PeerKnows(node.state.knows))
        if first.state and second.state and first.reachable and second.reachable:
            self.link.connect((first.state.incarnation, second.state.incarnation))

    def partition(self) -> None:
        """Cut the nodes off each other; each end of the connection is told, or finds out."""
        self.count_partition("-", "the nodes are partitioned")
        self.link.partition()

    def clog(self, node: SimulatedNode) -> None:
        """Let a node hear nothing, and tell no end."""
        self.count_partition(node.name, "hears nothing")
        self.happened["partitions_one_way"] += 1
        node.link.clogged = True

    def count_partition(self, node: str, what: str) -> None:
        """Somebody hears the other one no more."""
        self.happened["partitions"] += 1
        self.note(node, what)

    def hang_disk(self, node: SimulatedNode) -> None:
        """Nothing that is under way at the disk ends for now, and the process does without a session."""
        self.note(node.name, "the disk hangs")
        node.disk_hangs = True
        self.link.part(node.link)

    def fail_disk(self, node: SimulatedNode, why: str) -> None:
        """Nothing that is under way at the disk ends, and the process is told."""
        self.happened["disk_failures"] += 1
        self.note(node.name, why)
        node.excused.add("store-failed")
        node.disk_hangs = False
        node.lose_disk_calls()
        self.feed(node, ev.StoreFailed())

    # What a process hears.

    def deliver(self, node: SimulatedNode) -> None:
        """What came over the link."""
        parcel = node.link.receive()
        if denied(self.link, node, parcel):
            return
        match parcel.event:
            case ev.SessionUp():
                self.reads.change_session(node)
            case ev.SessionLost():
                node.held.clear()
                self.reads.change_session(node)
            case ev.Received(message=msg.Permit() as permit):
                self.reads.take_permit(node, permit)
                return
            case ev.Received(message=msg.Compared(equal=True, sequence=sequence)):
                node.held.pop(sequence, None)
            case _:
                pass
        self.feed(node, parcel.event, parcel.data)

    def go_on_with_arbiter_call(self, node: SimulatedNode) -> None:
        """Execute the oldest call of a node, or let the node hear the answer."""
        oldest = node.calls[0]
        if oldest.answer is None:
            oldest.answer = self.arbiter.execute(oldest.call)
            said = f"{IN_SECTORS.order(oldest.call, {})} and says {told_answer(oldest.answer)}"
            self.note(node.name, f"the arbiter is asked: {said}")
        else:
            node.calls.popleft()
            tell_of(node, oldest.answer)
            self.feed(node, oldest.answer)

    def fire_timer(self, node: SimulatedNode, timer: ev.Timer) -> None:
        """A timer ran out on the node's clock. Of permits it is right: they are over when the timer has run out."""
        del node.timers[timer]
        if timer is ev.Timer.PERMIT_OUT:
            self.reads.wait_out(node)
        self.feed(node, ev.TimerFired(timer))

    def submit(self, node: SimulatedNode, kinds: tuple[OperationKind, ...]) -> None:
        """A client asks the node."""
        self.feed(node, self.clients.ask(node, kinds))

    def end_disk_call(self, node: SimulatedNode) -> None:
        """Some call at the disk ends."""
        ended = node.pick_disk_call()
        if isinstance(ended.call, act.Persist):
            self.invariants.persisted(node, ended.call)
        if (damage := meet_damage(self, node, ended)) is not None:
            self.feed(node, damage)
            return
        node.apply(ended)
        match ended.call:
            case act.Persist() as call:
                self.feed(node, ev.Persisted(call.metadata))
            case act.FindDirty() as call:
                if node.link.session == self.link.live:
                    self.invariants.searched(node, call)
                self.feed(node, ev.DirtyFound(call.search, node.found_by(call)))
            case act.Track() | act.MarkDirty() | act.StopTracking() | act.ReplaceRecords():
                pass
            case act.CompareRecords() as call:
                equal = digest_of(node.records) == call.digest
                self.feed(node, ev.RecordsCompared(call.attempt, call.proposal, equal))
            case _ if isinstance(ended.call, Storing):
                self.feed(node, ev.Stored(ended.call.sequence))
            case act.FetchRead() as call:
                self.reads.end(node, call, ended)
            case _:
                read_for_peer(self.link, node, ended, partial(self.feed, node))

    def feed(self, node: SimulatedNode, event: ev.Event, data: Blocks | None = None) -> None:
        """Let the core take an event, and carry out what it orders."""
        before = node.state
        assert before is not None
        if isinstance(event, ev.Received) and isinstance(event.message, msg.Propose):
            self.clients.keep(node.name, event.message, data or {})
        node.state, ordered = step_pair(before, event)
        read = answered_reads(ordered, node.name, self.clients)
        self.history.stepped(self.clock.now_s, node.name, before, node.state, event, ordered, data, read)
        self.invariants.stepped(node, before, node.state, event, ordered)
        self.room.stepped(node.name, node.state, event, ordered)
        self._reached.stepped(before, node.state, event, ordered)
        if node.state.phase is not before.phase:
            node.check_end()
        copied, leaves = isinstance(event, ev.Received) and isinstance(event.message, msg.CopyData), False
        for action in ordered:
            if isinstance(action, act.Answer):
                self.invariants.answered(node, before, action)
            elif isinstance(action, act.Goodbye) and self.random.random() < LINGER_CHANCE:
                leaves = True
            else:
                self._carry_out(node, action, data, copied=copied)
        if leaves:
            self.link.part(node.link)
        if self.clients.proposals:
            self.clients.keep_only(node.name, {flight.taken for flight in node.state.flights})
        self.invariants.find_out(node)
        for answer in self.room.answers(node.name, ordered):
            self.feed(node, answer)

    def note(self, node: str, what: str) -> None:
        """Enter something in the event history."""
        self.history.noted(self.clock.now_s, node, what)

    # The driver.

    def _carry_out(  # noqa: PLR0912 (one case for each kind of action)
        self, node: SimulatedNode, action: act.Action, placed: Blocks | None = None, *, copied: bool = False
    ) -> None:
        if isinstance(action, NotStoring):
            node.begin_disk_call(action, placed if isinstance(action, act.ReplaceRecords) else None)
            return
        if isinstance(action, Storing):
            if copied and node.metadata.copy not in OVERWRITTEN:
                raise AssertionError(f"{node.name} is overwritten before it has persisted that it will be")
            node.begin_disk_call(action, stored_by(self.clients, node, action, placed))
            return
        match action:
            case act.Send():
                self.link.send(node.link, action.message)
            case act.PushWrite() | act.PushProposal() | act.PushAssigned() | act.PushReady() | act.PushCopy():
                push(self.link, self.clients, node, action)
            case act.PushSeal() | act.SendPrepare():
                say_records(self.link, node, action)
            case act.ClearDirty():
                node.marks.clear(blocks_of(action.offset, action.size))
            case act.SendReady():
                say_ready(self.link, node, action)
            case act.ReadRecord() | act.Swap():
                node.calls.append(ArbiterCall(action))
            case act.SetTimer():
                rate = 1 / max(action.delay_s, SHORTEST_S)
                fire = partial(self.fire_timer, node, action.timer)
                node.timers[action.timer] = RunningTimer(action.delay_s, rate, fire)
                if action.timer is ev.Timer.PERMIT_OUT:
                    self.reads.grant(node, action.delay_s)
            case act.CancelTimer():
                node.timers.pop(action.timer, None)
            case act.Goodbye():
                self.link.part(node.link)
            case act.CondemnCopy():
                # The store is closed first, so nothing that it was asked before comes after the mark.
                node.lose_disk_calls()
                if self.random.random() < MARK_CHANCE:
                    node.condemn(action.metadata)
            case act.DropSession(blames_peer=False):
                self.link.renew(node.link)
            case act.DropSession():
                raise AssertionError(f"{node.name} is told what the protocol does not know: {action.reason}")
            case act.HandoverEnded():
                node.request_ended("handover")
            case act.ForceEnded():
                node.request_ended("force")
            case act.VerificationEnded(problem=problem):
                node.request_ended("verification")
                self.happened["verifications"] += self.invariants.verified(node, problem)
            case act.Moved() | act.ReportMediumError() | act.CheckRoom():
                pass
            case act.Answer():
                raise AssertionError("an answer before any event")
            case _:
                assert_never(action)

    def _recorded(self, before: Record, record: Record) -> None:
        self.invariants.left(before, record)
        if record.lineage != before.lineage and record.primary not in before.members:
            chosen = self.nodes[record.primary]
            self.invariants.chosen(chosen)
            self.clients.forsake(chosen, self.nodes[chosen.peer])
        self.invariants.recorded(before, record)
        if record.proposal == FALSIFIED:
            return
        self.happened.update(changes_of(before, record))
