"""The driver of the pair core: feeds it everything that happens and carries out what it orders."""

import logging
from collections import deque
from contextlib import suppress
from itertools import islice
from typing import Final, assert_never

import attrs
import trio

from ctlha_trio._errors import StoreError
from ctlha_trio.dma import Dma
from ctlha_trio.ha._disk_watch import DISK_LOOK_S, DISK_STALL_S, DiskWatch
from ctlha_trio.ha._disk_work import ArbiterWork, DiskWork, digest_of, first_difference
from ctlha_trio.ha._inbox import Inbox
from ctlha_trio.ha._outbox import SEAL, Outbox, number_of
from ctlha_trio.ha._person_request import PersonRequest
from ctlha_trio.ha._record_work import RecordWork
from ctlha_trio.ha._requests import Answer, Requests
from ctlha_trio.ha._timers import Timers
from ctlha_trio.link import Channel, Link, finish_by
from ctlha_trio.pair import (
    RANGES_LIMIT,
    Grant,
    Metadata,
    Operation,
    OperationKind,
    PairState,
    Plan,
    Pushed,
    Spoken,
    accepts,
    actions,
    events,
    messages,
    plan_force,
    step_pair,
)
from ctlha_trio.seams import Seams
from ctlha_trio.store import BlockStore, condemn_copy

TRANSITIONS_KEPT: Final = 64
"""Changes of phase kept for ``status``: a failover and a return have about ten."""
LINEAGE_BYTES: Final = 16
"""No two lines have ever the same id."""
CLEAN_END_LIMIT_S: Final = 1.0
"""For two writes and flushes; without them the next start has extents to recover, and nothing else is lost."""

_LOG: Final = logging.getLogger(__name__)


@attrs.frozen
class Transition:
    """One change of phase or epoch."""

    at_s: float
    """On the node's clock."""
    what: str
    epoch: int


@attrs.define(eq=False)
class PairDriver:
    """Made for one incarnation. Nothing here decides anything about the pair; the core does."""

    state: PairState
    _first: tuple[actions.Action, ...]
    _volume_path: str
    _seams: Seams
    _store: BlockStore
    _link: Link
    _channel: Channel
    _dma: Dma
    _nursery: trio.Nursery
    _outbox: Outbox = attrs.field(init=False)
    _inbox: Inbox = attrs.field(init=False)
    _disk: DiskWork = attrs.field(init=False)
    _disk_watch: DiskWatch = attrs.field(init=False)
    _records: RecordWork = attrs.field(init=False)
    _arbiter: ArbiterWork = attrs.field(init=False)
    _timers: Timers = attrs.field(init=False)
    _pending: deque[events.Event] = attrs.field(factory=deque, init=False)
    _stepping: bool = attrs.field(default=False, init=False)
    _requests: Requests = attrs.field(init=False)
    _placed: dict[int, bytes] = attrs.field(factory=dict, init=False)
    """Data of a message that the core is being told of, by its number."""
    _compared: dict[int, bytes] = attrs.field(factory=dict, init=False)
    """The range under comparison, by sequence, until the target has answered."""
    _announced: int = attrs.field(default=0, init=False)
    _handover: PersonRequest = attrs.field(init=False)
    _force: PersonRequest = attrs.field(init=False)
    _store_is_dead: bool = attrs.field(default=False, init=False)
    transitions: deque[Transition] = attrs.field(factory=lambda: deque(maxlen=TRANSITIONS_KEPT), init=False)
    changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    """Unparked at every transition."""
    _farewell_said: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._requests = Requests(self.feed, self._takes)
        self._outbox = Outbox(self._link, self._channel, self._dma)
        self._inbox = Inbox(self._link, self._channel, self._dma, self, self.state.size_bytes)
        self._disk = DiskWork(self._store, self.feed, self._nursery, self._store_failed)
        self._records = RecordWork(self._store, self._disk, self._outbox, self._requests, self.feed)
        self._disk_watch = DiskWatch(self._seams.clock, lambda: self._store.oldest_call_s)
        self._arbiter = ArbiterWork(self._seams.arbiter, self._seams.clock, self._nursery, self.feed)
        self._handover = PersonRequest("handover", self.feed)
        self._force = PersonRequest("forced change", self.feed)
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
            self._watch_disk,
        ):
            self._nursery.start_soon(run)
        for action in self._first:
            self._carry_out(action)

    @property
    def accepts(self) -> bool:
        """Whether an operation that came now would be executed, now or after a change of phase."""
        return accepts(self.state)

    async def commit(self) -> None:
        """The store's commit loop. A store that dies is told to the core by whoever waits for it."""
        try:
            await self._store.run()
        except StoreError as error:
            self._store_failed(error)

    async def leave(self, reason: str) -> None:
        """Leave the pair; return once the peer was told and the store has ended cleanly, each as far as it could be."""
        self.feed(events.StopAsked(reason))
        await self._farewell_said.wait()
        clock = self._seams.clock
        with suppress(trio.TooSlowError):
            await finish_by(clock, clock.now() + CLEAN_END_LIMIT_S, self._disk.end)

    async def submit(self, operation: Operation, data: bytes) -> Answer:
        """Execute one operation. Waits while ``FLIGHTS_LIMIT`` are under way. Cancelled: it is executed even so."""
        return await self._requests.execute(operation, data)

    def _takes(self, operation: Operation, data: bytes) -> bool:
        """Whether it could be executed if this node serves: records have bounds that only all of them show."""
        puts = operation.kind is OperationKind.PUT_RECORD
        return not (puts and self.accepts) or self._records.has_room(operation.key, data)

    async def hand_over(self) -> None:
        """Make the peer primary. ``FailedError`` with the reason if that did not come about."""
        await self._handover.ask(events.HandoverAsked())

    def plan_force(self, abandon: str) -> Plan:
        """What ``force`` would change. ``InvalidError`` or ``FailedError`` with the reason why it cannot be."""
        return plan_force(self.state, abandon, self._seams.entropy(LINEAGE_BYTES).hex())

    async def force(self, plan: Plan) -> None:
        """Make this node the only one that counts. ``FailedError`` with the reason if that did not come about."""
        await self._force.ask(events.ForceAsked(self.state.peer, plan.after.lineage, plan.revision))

    def feed(self, event: events.Event) -> None:
        """Give the core an event and carry out its orders, then those of events that came meanwhile."""
        self._pending.append(event)
        if self._stepping:
            return
        self._stepping = True
        try:
            while self._pending:
                self.state, ordered = step_pair(self.state, self._pending.popleft())
                self._announce()
                for action in ordered:
                    self._carry_out(action)
        finally:
            self._stepping = False

    # What the inbox tells.

    def session_began(self, session: int, peer_incarnation: int) -> None:
        """Name the ring and tell the core."""
        self._outbox.begin(session)
        self._grant()
        self.feed(events.SessionUp(peer_incarnation))

    def session_ended(self, loss: events.Loss) -> None:
        """Forget what belonged to the session and tell the core."""
        self._outbox.begin(0)
        self._compared.clear()
        self.feed(events.SessionLost(loss))

    def heard(self, spoken: Spoken, data: bytes) -> None:
        """Tell the core of a message; its data, if any, waits for the core's order."""
        match spoken:
            case Grant():
                self._outbox.granted(spoken)
            case Pushed():
                message = spoken.message
                self._placed[number_of(message)] = data
                self.feed(events.Received(message))
                self._placed.pop(number_of(message), None)
            case _:
                if isinstance(spoken, messages.Applied):
                    self._outbox.placed_no_more(spoken.sequence)
                elif isinstance(spoken, messages.Sealed):
                    self._outbox.placed_no_more(SEAL)
                elif isinstance(spoken, messages.Compared) and spoken.equal:
                    self._compared.pop(spoken.sequence, None)
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
        match action:
            case actions.Send():
                self._outbox.say(action.message)
            case actions.PushWrite() | actions.PushCopy():
                self._push(action)
            case actions.StoreWrite():
                self._disk.write(action.sequence, action.operation.offset, self._requests[action.ticket].content)
            case actions.StoreMirrored():
                self._disk.write(action.sequence, action.offset, self._placed[action.sequence])
            case actions.StoreZeroes():
                self._disk.write(action.sequence, action.offset, bytes(action.size))
            case actions.StoreMirroredRecord():
                self._records.carry_out(action, self._placed[action.sequence])
            case actions.ReplaceRecords():
                self._records.carry_out(action, self._placed[SEAL])
            case actions.StoreRecord() | actions.CompareRecords() | actions.PushSeal() | actions.SendPrepare():
                self._records.carry_out(action, b"")
            case actions.CompareStored():
                self._compare_stored(action)
            case actions.FetchRead() if action.operation.kind is OperationKind.READ_RECORDS:
                self._records.fetch(action)
            case actions.FetchRead():
                self._fetch(action)
            case actions.SendCompare():
                self._send_compare(action)
            case actions.CompareRange():
                self._compare(action)
            case actions.Persist():
                self._disk.persist(action.metadata)
            case actions.Track():
                self._disk.track(action.base_epoch, action.ranges)
            case actions.MarkDirty():
                self._disk.mark_dirty(action.ranges)
            case actions.StopTracking():
                self._disk.stop_tracking()
            case actions.FindDirty():
                self._disk.find_dirty(action.search, action.offset)
            case actions.ClearDirty():
                self._store.clear(action.offset, action.size)
            case actions.SendReady():
                self._say_ready(action.epoch, action.base_epoch)
            case actions.ReadRecord() | actions.Swap():
                self._arbiter.call(action)
            case actions.SetTimer():
                self._timers.set(action.timer, action.delay_s)
            case actions.CancelTimer():
                self._timers.cancel(action.timer)
            case actions.Answer():
                self._requests.end(action)
            case actions.Moved():
                self.transitions.append(Transition(self._seams.clock.now(), _describe(action), action.epoch))
                self.changed.unpark_all()
                _LOG.info("%s, epoch %d", _describe(action), action.epoch)
            case actions.HandoverEnded():
                self._handover.end(action.problem)
            case actions.ForceEnded():
                self._force.end(action.problem)
            case actions.Goodbye():
                self._nursery.start_soon(self._say_farewell, action.reason)
            case actions.CondemnCopy():
                self._nursery.start_soon(self._condemn, action.metadata)
            case _:
                assert_never(action)

    def _push(self, action: actions.PushWrite | actions.PushCopy) -> None:
        match action:
            case actions.PushWrite():
                self._outbox.push(*self._requests.pushed(action))
            case actions.PushCopy():
                data = self._compared.pop(action.sequence)
                copy = messages.CopyData(action.epoch, action.sequence, action.offset, action.size)
                self._outbox.push(copy, data)

    def _compare_stored(self, action: actions.CompareStored) -> None:
        operation = action.operation
        expected = self._requests[action.ticket].expected

        def done(data: bytes) -> None:
            self.feed(events.StoredCompared(action.sequence, first_difference(data, expected)))

        self._disk.read(operation.offset, operation.size, done)

    def _say_ready(self, epoch: int, base_epoch: int) -> None:
        ranges = list(islice(self._store.dirty_ranges(), RANGES_LIMIT))
        if len(ranges) == RANGES_LIMIT:
            ranges, base_epoch = [], 0
        for offset, size in ranges:
            self._outbox.say(messages.OwnRange(epoch, offset, size))
        self._outbox.say(messages.ResyncReady(epoch, base_epoch))

    def _fetch(self, action: actions.FetchRead) -> None:
        request = self._requests[action.ticket]

        def done(data: bytes) -> None:
            if request.ended.is_set():
                return  # read before a loss of the session, and again since
            request.data = data
            self.feed(events.Fetched(action.sequence))

        self._disk.read(action.operation.offset, action.operation.size, done)

    def _send_compare(self, action: actions.SendCompare) -> None:
        session = self._outbox.session

        def done(data: bytes) -> None:
            if session == self._outbox.session:
                # A target that began anew within the session never answers what it was asked before.
                live = {flight.sequence for flight in self.state.flights}
                self._compared = {sequence: kept for sequence, kept in self._compared.items() if sequence in live}
                self._compared[action.sequence] = data
                self._outbox.say(
                    messages.Compare(action.epoch, action.sequence, action.offset, action.size, digest_of(data))
                )

        self._disk.read(action.offset, action.size, done)

    def _compare(self, action: actions.CompareRange) -> None:
        def done(data: bytes) -> None:
            equal = digest_of(data) == action.digest
            self.feed(events.RangeCompared(action.session, action.sequence, equal))

        self._disk.read(action.offset, action.size, done)

    @property
    def resync_bytes_left(self) -> int:
        """What the source has still to compare, and to copy where it differs; 0 when no resync is under way here."""
        resync = self.state.resync
        return 0 if resync is None else self._store.dirty_bytes_from(resync.cursor)

    @property
    def disk_hangs(self) -> bool:
        """Whether a disk call has been running for so long that it may never end."""
        return self._disk_watch.hangs

    async def _watch_disk(self) -> None:
        """A disk that hangs is a disk that failed: with a live session and no goodbye the peer would wait for it."""
        await self._disk_watch.run()
        self._store_failed(StoreError(f"a disk call has been running for {DISK_STALL_S:.0f} s"))

    async def _condemn(self, metadata: Metadata) -> None:
        """Mark the copy as dead, however long it takes: a call that still hangs keeps the file from opening."""
        self._store.close()
        clock = self._seams.clock
        while not await condemn_copy(self._seams.disk, self._volume_path, metadata):
            await clock.sleep_until(clock.now() + DISK_LOOK_S)
        _LOG.error("the copy on the failed disk is marked as dead")

    async def _say_farewell(self, reason: str) -> None:
        await self._link.goodbye(reason)
        self._farewell_said.set()

    def _store_failed(self, error: StoreError) -> None:
        if not self._store_is_dead:
            self._store_is_dead = True
            _LOG.error("the store failed: %s", error)
            self.feed(events.StoreFailed())


def _describe(action: actions.Moved) -> str:
    return f"{action.phase.name.lower().replace('_', '-')}: {action.why}"
