"""The driver of the pair core: feeds it everything that happens and carries out what it orders."""

import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, assert_never

import attrs
import trio

from ctlha_trio._errors import StoreError
from ctlha_trio.dma import Dma, TransferCounters
from ctlha_trio.ha._client_requests import Answer, ClientRequests
from ctlha_trio.ha._component_failover import ComponentFailover
from ctlha_trio.ha._condemnation import Condemnation
from ctlha_trio.ha._config import NodeConfig
from ctlha_trio.ha._data_faults import DataFaults
from ctlha_trio.ha._disk_watch import DiskWatch
from ctlha_trio.ha._disk_work import ArbiterWork, DiskWork, OfMetadata, first_difference
from ctlha_trio.ha._inbox import Inbox
from ctlha_trio.ha._local_reads import LocalReads
from ctlha_trio.ha._notices import Notices
from ctlha_trio.ha._outbox import Outbox, number_of
from ctlha_trio.ha._peer_proposals import PeerProposals
from ctlha_trio.ha._peer_reads import PeerReads, say_ready
from ctlha_trio.ha._readiness import Readiness
from ctlha_trio.ha._record_work import OfRecords, RecordWork
from ctlha_trio.ha._resync_progress import ResyncProgress
from ctlha_trio.ha._role_requests import RoleRequests
from ctlha_trio.ha._shared_settings import SharedSettings
from ctlha_trio.ha._timers import Timers
from ctlha_trio.ha._transitions import Transitions, tries_again
from ctlha_trio.ha._verification_status import VerificationRequests
from ctlha_trio.link import Channel, Link, finish_by
from ctlha_trio.pair import (
    ComponentsReady,
    DataFaultTold,
    Grant,
    Kept,
    Operation,
    OperationKind,
    PairState,
    Phase,
    Pushed,
    Record,
    ResyncLeft,
    Setting,
    Spoken,
    accepts,
    actions,
    events,
    messages,
    step_pair,
)
from ctlha_trio.seams import Buffer, Seams
from ctlha_trio.store import BlockStore

CLEAN_END_LIMIT_S: Final = 1.0
"""For two writes and flushes; without them the next start has extents to recover, and nothing else is lost."""

_LOG: Final = logging.getLogger(__name__)


@attrs.define(eq=False, repr=False)
class PairDriver:
    """Made for one incarnation. Nothing here decides anything about the pair; the core does."""

    state: PairState
    _first: tuple[actions.Action, ...]
    _config: NodeConfig
    _seams: Seams
    _store: BlockStore
    _link: Link
    _channel: Channel
    _dma: Dma
    _nursery: trio.Nursery
    transfers: TransferCounters = attrs.field(factory=TransferCounters, init=False)
    """The pair's own."""
    _outbox: Outbox = attrs.field(init=False)
    _inbox: Inbox = attrs.field(init=False)
    _disk: DiskWork = attrs.field(init=False)
    _peer_reads: PeerReads = attrs.field(init=False)
    _reads: LocalReads = attrs.field(init=False)
    _peer_proposals: PeerProposals = attrs.field(init=False)
    _disk_watch: DiskWatch = attrs.field(init=False)
    _records: RecordWork = attrs.field(init=False)
    _arbiter: ArbiterWork = attrs.field(init=False)
    _timers: Timers = attrs.field(init=False)
    _pending: deque[events.Event] = attrs.field(factory=deque, init=False)
    _stepping: bool = attrs.field(default=False, init=False)
    _requests: ClientRequests = attrs.field(init=False)
    _placed: dict[int, Buffer] = attrs.field(factory=dict, init=False)
    """Data of a message that the core is being told of, by its number."""
    _announced: int = attrs.field(default=0, init=False)
    on_session: Callable[[int], None] = attrs.field(default=lambda _: None, init=False)
    """Told of each session that begins, with the peer's incarnation."""
    record_followers: list[Callable[[Record | None, Record], None]] = attrs.field(factory=list, init=False)
    """Told of each record that this node begins to act on, with the one before."""
    notices: Notices = attrs.field(init=False)
    roles: RoleRequests = attrs.field(init=False)
    readiness: Readiness = attrs.field(init=False)
    settings: SharedSettings = attrs.field(init=False)
    data_faults: DataFaults = attrs.field(init=False)
    resync: ResyncProgress = attrs.field(init=False)
    verifications: VerificationRequests = attrs.field(init=False)
    condemnation: Condemnation = attrs.field(init=False)
    _store_is_dead: bool = attrs.field(default=False, init=False)
    transitions: Transitions = attrs.field(factory=Transitions, init=False)
    changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    """Unparked at every transition."""
    _farewell_said: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self.notices = Notices(lambda: self.state, lambda: self.condemnation.tried)
        on_tried = self.notices.note_mark_tried
        self.condemnation = Condemnation(self._seams, self._store, self._config.volume_path, on_tried)
        self._requests = ClientRequests(self.feed, self._takes)
        through = self._link, self._channel, self._dma
        self._outbox = Outbox(*through, self.transfers)
        self._inbox = Inbox(*through, self, self._nursery, self.state.size_bytes, self.transfers)
        self._disk = DiskWork(self._store, self._seams.clock, self.feed, self._nursery, self._store_failed)
        self._peer_reads = PeerReads(self._disk, self._outbox, self.feed, self._under_way)
        self._records = RecordWork(self._store, self._disk, self._outbox, self._requests, self.feed)
        self._peer_proposals = PeerProposals(self._requests, self._records, self._outbox, self.feed, lambda: self.state)
        self._disk_watch = DiskWatch(self._seams.clock, lambda: self._store.oldest_call_s, self._store.wait_for_calls)
        self._reads = LocalReads.make(
            self._seams.clock, self._store, self._nursery, lambda: self.state, self._outbox.say, self._store_failed
        )
        self._arbiter = ArbiterWork(self._seams.arbiter, self._seams.clock, self._nursery, self.feed)
        self.readiness = Readiness(self._outbox.say, ComponentFailover(self.state.me))
        self.settings = SharedSettings(self._config.settings, self.state.peer, self._outbox.say)
        self.data_faults = DataFaults(self._disk.medium, self._outbox, lambda: self.state, self._store.damaged_ranges)
        self.resync = ResyncProgress(
            self._seams.clock, self._link, self._outbox.say, lambda: self.state, self._store.dirty_bytes_from
        )
        self.roles = RoleRequests(lambda: self.state, self.feed, self._link, self._seams.entropy, self.readiness)
        self.verifications = VerificationRequests(self.feed, lambda: self.state, self._seams.clock)
        self._timers = Timers(self._seams.clock, lambda timer: self.feed(events.TimerFired(timer)))

    def start(self) -> None:
        """Start the tasks and carry out the core's first orders."""
        for run in (
            self._inbox.run,
            self._outbox.run_messages,
            self._outbox.run_pushes,
            self._disk.run,
            self._arbiter.run,
            self._timers.run,
            self._reads.permits.run,
            self.resync.run,
            partial(self._disk_watch.run, self._link, self.changed.unpark_all),
        ):
            self._nursery.start_soon(run)
        for action in self._first:
            self._carry_out(action)

    @property
    def accepts(self) -> bool:
        """Whether an operation that came now would be executed, now or after a change of phase."""
        return accepts(self.state) and not self._requests.has_ended

    async def commit(self) -> None:
        """The store's commit loop. A store that dies is told to the core by whoever waits for it."""
        try:
            await self._store.run()
        except StoreError as error:
            self._store_failed(error)

    async def leave(self, reason: str) -> bool:
        """Leave the pair; return once the peer was told and the store has ended: whether it ended cleanly."""
        self.feed(events.StopAsked(reason))
        await self._farewell_said.wait()
        clock = self._seams.clock
        with suppress(trio.TooSlowError):
            await finish_by(clock, clock.now() + CLEAN_END_LIMIT_S, self._disk.end)
            return not self._store_is_dead
        return False

    def end(self) -> None:
        """The node's tasks have ended, by whatever: answer everybody who still waits for something."""
        if self.state.phase is not Phase.STOPPED:
            self.state = attrs.evolve(self.state, phase=Phase.LEFT, why="the node has ended")
        self._requests.end()
        self.roles.end("the node has ended, and whether it came about is not known")
        self.changed.unpark_all()

    async def submit(self, operation: Operation, data: bytes) -> Answer:
        """As ``ClientRequests.submit``."""
        return await self._requests.submit(operation, data)

    def _takes(self, operation: Operation, data: bytes) -> bool:
        """Whether it could be executed if this node serves: records have bounds that only all of them show."""
        puts = operation.kind is OperationKind.PUT_RECORD and self.accepts
        return not puts or self._records.has_room(operation.key, data)

    @property
    def persist_took_s(self) -> float | None:
        """How long the latest change of metadata took to be durable; None before the first."""
        return self._disk.persist_took_s

    @property
    def arbiter_took_s(self) -> float | None:
        """How long the latest call that was answered took; None before the first."""
        return self._arbiter.took_s

    def feed(self, event: events.Event) -> None:
        """Give the core an event and carry out its orders, then those of events that came meanwhile."""
        if self._requests.has_ended:
            return
        self._pending.append(event)
        if self._stepping:
            return
        self._stepping = True
        try:
            while self._pending:
                before = self.state.record
                ordered = self._step(self._pending.popleft())
                if self.state.record is not None and self.state.record is not before:
                    for follow in self.record_followers:
                        follow(before, self.state.record)
                self._announce()
                for action in ordered:
                    self._carry_out(action)
                self._peer_proposals.forget_ended()
        finally:
            self._stepping = False

    def _step(self, event: events.Event) -> tuple[actions.Action, ...]:
        before = self.state
        self.state, ordered = step_pair(before, event)
        self.notices.stepped(before, event, self.state)
        self.resync.stepped(before, self.state)
        self.data_faults.stepped(before, self.state)
        return ordered

    # What the inbox tells.

    def session_began(self, session: int, peer_incarnation: int) -> None:
        """Name the ring and tell the core."""
        self._outbox.begin(session)
        self._reads.permits.void()
        self._grant()
        self.readiness.session_began()
        self.settings.session_began(self._link.session)
        self.data_faults.session_began()
        self.feed(events.SessionUp(peer_incarnation))
        self.on_session(peer_incarnation)

    def session_ended(self, loss: events.Loss) -> None:
        """Forget what belonged to the session and tell the core."""
        self._outbox.begin(0)
        self._reads.permits.void()
        self._peer_reads.session_ended()
        self.readiness.session_ended()
        self.settings.session_ended()
        self.data_faults.session_ended()
        self.feed(events.SessionLost(loss))

    def heard(self, spoken: Spoken, data: Buffer) -> None:
        """Tell the core of a message; its data, if any, waits for the core's order."""
        self._outbox.heard(spoken)
        match spoken:
            case Grant() | Kept():
                pass
            case ComponentsReady():
                self.readiness.take(spoken)
            case ResyncLeft():
                self.resync.heard(spoken)
            case Setting():
                self.settings.take(spoken)
            case DataFaultTold():
                self.data_faults.take(spoken)
            case messages.Permit():
                self._reads.permits.take(spoken)
            case Pushed(message=messages.Propose() as proposal):
                self._peer_proposals.heard(proposal, bytes(data))
            case Pushed(message=messages.Assigned() | messages.HandoverReady() as told):
                self.feed(events.Received(told))
            case Pushed(message=message):
                self._placed[number_of(message)] = data
                self.feed(events.Received(message))
                self._placed.pop(number_of(message), None)
            case _:
                if isinstance(spoken, messages.Compared) and spoken.equal:
                    self._peer_reads.found_equal(spoken.sequence)
                self.feed(events.Received(spoken))

    def _announce(self) -> None:
        """A new epoch goes into every frame, and its ring has another key."""
        if self.state.epoch != self._announced:
            self._announced = self.state.epoch
            self._link.announce(epoch=self.state.epoch, revision=self.state.revision)
            self._grant()

    def _grant(self) -> None:
        if self._announced and self._outbox.session:
            grant = self._inbox.grant(self._announced)
            if grant is not None:
                self._outbox.say(grant)

    # What the core orders.

    def _carry_out(self, action: actions.Action) -> None:  # noqa: PLR0912, PLR0915 (one case for each kind of action)
        if isinstance(action, OfRecords):
            self._records.carry_out(action, self._placed)
            return
        if isinstance(action, OfMetadata):
            self._disk.carry_out(action)
            return
        match action:
            case actions.Send():
                self._outbox.say(action.message)
            case actions.PushWrite() | actions.PushProposal() | actions.PushAssigned() | actions.PushReady():
                self._outbox.push(*self._requests.pushed(action))
            case actions.PushCopy():
                self._peer_reads.push_copy(action)
            case actions.StoreWrite():
                self._disk.write(action.sequence, action.operation.offset, self._requests.of(action).content)
            case actions.StoreMirrored():
                self._disk.write(action.sequence, action.offset, self._placed[action.sequence])
            case actions.StoreRepair():
                self._disk.repair(action.sequence, action.offset, self._placed[action.sequence])
            case actions.StoreZeroes():
                self._disk.write(action.sequence, action.offset, bytes(action.size))
            case actions.FetchRead():
                self._reads.fetch(action, partial(self._fetched, action), partial(self._read_damaged, action))
            case actions.SendCompare():
                self._peer_reads.send_compare(action)
            case actions.CompareRange():
                self._peer_reads.compare(action)
            case actions.PushRange():
                self._peer_reads.push_range(action)
            case actions.SendReady():
                say_ready(self._store, self._outbox, action)
            case actions.ReadRecord() | actions.Swap():
                self._arbiter.call(action)
            case actions.SetTimer():
                self._timers.set(action.timer, action.delay_s)
            case actions.CancelTimer():
                self._timers.cancel(action.timer)
            case actions.Answer():
                self._requests.answer(action)
            case actions.Moved():
                self._note_transition(action)
            case actions.HandoverEnded():
                self.roles.handover_ended(action)
            case actions.ForceEnded():
                self.roles.force_ended(action)
            case actions.ReportMediumError():
                self.data_faults.lost(action.offset, action.size)
            case actions.VerificationEnded():
                self.verifications.end(action.problem)
            case actions.Goodbye():
                self._nursery.start_soon(self._say_farewell, action.reason)
            case actions.DropSession():
                self.resync.session_dropped(blames_peer=action.blames_peer)
                self._inbox.drop_session(action.reason, blames_peer=action.blames_peer)
            case actions.CondemnCopy():
                self.condemnation.begin(action.metadata, self._nursery)
            case _:
                assert_never(action)

    def _note_transition(self, action: actions.Moved) -> None:
        line = self.transitions.note(self._seams.clock.now(), action, again=tries_again(self.state))
        self.changed.unpark_all()
        self._reads.permits.wake()
        if line is not None:
            _LOG.info("%s", line)

    def _fetched(self, action: actions.FetchRead, data: bytes) -> None:
        self._disk.medium.note_read(*action.operation.where)
        request = self._requests.of(action)
        if action.operation.kind is OperationKind.COMPARE_AND_WRITE:
            self.feed(events.StoredCompared(action.fetch, first_difference(data, request.expected)))
            return
        request.data = data
        self.feed(events.Fetched(action.fetch))

    def _read_damaged(self, action: actions.FetchRead, offset: int, size: int) -> None:
        self.feed(events.ReadDamaged(action.fetch, offset, size))

    def _under_way(self) -> frozenset[int]:
        return frozenset(flight.sequence for flight in self.state.flights)

    @property
    def disk_hangs(self) -> bool:
        """Whether a disk call has been running for so long that it may never end."""
        return self._disk_watch.hangs

    async def _say_farewell(self, reason: str) -> None:
        await self._link.goodbye(reason)
        self._farewell_said.set()

    def _store_failed(self, error: StoreError) -> None:
        if not self._store_is_dead:
            self._store_is_dead = True
            _LOG.error("the store failed: %s", error)
            self.feed(events.StoreFailed())
