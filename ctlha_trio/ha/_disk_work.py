"""What the core orders of the disk and the arbiter, each answered by an event."""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Final, assert_never

import attrs
import trio

from ctlha_trio._errors import ArbiterError, DamagedBlockError, StoreError
from ctlha_trio._repeats import Repeats
from ctlha_trio.ha._medium import MediumLog
from ctlha_trio.link import finish_by
from ctlha_trio.pair import SEARCH_RANGES, CarriedRecord, Metadata, Range, Records, SwapOutcome, actions, events
from ctlha_trio.seams import Arbiter, Buffer, Clock, Versioned
from ctlha_trio.store import BlockStore, first_run

OfMetadata = (
    actions.Persist | actions.Track | actions.MarkDirty | actions.StopTracking | actions.FindDirty | actions.ClearDirty
)

ARBITER_LIMIT_S: Final = 3.0
"""For one call. SQLite gives up on a lock after half a second; three etcd members elect a leader within 2.5 s."""
HANGING_MAX: Final = 4
"""Calls that may hang at the same time; each may hold a thread."""

READ_TOGETHER_BYTES: Final = 1 << 20
"""By one call to the disk: as much as the largest read takes, so that nobody waits longer for what it is used for."""

_LOG: Final = logging.getLogger(__name__)


def first_difference(found: bytes, expected: bytes) -> int | None:
    """Where two contents of the same size differ first; None if they do not."""
    if found == expected:
        return None
    return next(place for place, (one, other) in enumerate(zip(found, expected, strict=True)) if one != other)


@attrs.frozen
class _Read:
    """A range of the volume, and who is told."""

    offset: int
    size: int
    done: Callable[[bytes], None]
    damaged: Callable[[int, int], None]


@attrs.define(eq=False)
class DiskWork:
    """Writes and reads in tasks of their own, metadata and marks in the order in which they were ordered."""

    _store: BlockStore
    _clock: Clock
    _feed: Callable[[events.Event], None]
    _nursery: trio.Nursery
    _failed: Callable[[StoreError], None]
    persist_took_s: float | None = attrs.field(default=None, init=False)
    """Of the latest metadata that became durable."""
    medium: MediumLog = attrs.field(factory=MediumLog, init=False)
    records_under_way: dict[int, CarriedRecord] = attrs.field(factory=dict, init=False)
    """By sequence."""
    _gathered: list[_Read] = attrs.field(factory=list, init=False)
    """Reads that the next call to the disk takes along."""
    _orders: deque[Callable[[], Awaitable[None]]] = attrs.field(factory=deque, init=False)
    _ordered: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    def write(self, sequence: int, offset: int, data: Buffer) -> None:
        """Then ``Stored`` or ``Damaged``. Nobody may change ``data`` until then."""

        def ended(damage: DamagedBlockError | None) -> None:
            if damage is None:
                self.medium.note_write(offset, len(data))
                self._feed(events.Stored(sequence))
            else:
                self._feed(events.Damaged(sequence, *self._told(damage)))

        async def work() -> None:
            try:
                await self._store.write(offset, data)
            except DamagedBlockError as error:
                ended(error)
            except StoreError as error:
                self._failed(error)
            else:
                ended(None)

        try:
            # A task for each write costs more than all that the store does for a small one.
            if not self._store.write_nowait(offset, data, ended, self._nursery):
                self._nursery.start_soon(work)
        except StoreError as error:
            self._failed(error)

    def repair(self, sequence: int, offset: int, data: Buffer) -> None:
        """Then ``Stored``."""

        async def work() -> None:
            try:
                await self._store.repair(offset, data)
            except StoreError as error:
                self._failed(error)
            else:
                self.medium.note_repair(offset, len(data))
                _LOG.warning("repaired from the other copy: %d bytes at %d", len(data), offset)
                self._feed(events.Stored(sequence))

        self._nursery.start_soon(work)

    def put_record(self, sequence: int, record: CarriedRecord) -> None:
        """Then ``Stored``.

        Whoever gave the sequence has made sure of room. ``RecordsFullError`` is raised in the nursery and ends the
        node, for that was a bug, and the copy is as good as before.
        """
        self.records_under_way[sequence] = record

        async def work() -> None:
            try:
                await self._store.put_record(record)
            except StoreError as error:
                self._failed(error)
            else:
                del self.records_under_way[sequence]
                self._feed(events.Stored(sequence))

        self._nursery.start_soon(work)

    def replace_records(self, records: Records) -> None:
        """Make these the only ones."""
        self._order(partial(self._store.replace_records, records))

    def read(self, offset: int, size: int, done: Callable[[bytes], None], damaged: Callable[[int, int], None]) -> None:
        """Then ``done`` with the data, or ``damaged`` with the offset and size of the first damaged blocks.

        Whatever is asked for in one turn of the loop goes by one call to the disk, as far as it is small.
        """
        if sum(each.size for each in self._gathered) + size > READ_TOGETHER_BYTES:
            self._gathered = []
        if not self._gathered:
            self._nursery.start_soon(self._read_together, self._gathered)
        self._gathered.append(_Read(offset, size, done, damaged))

    async def _read_together(self, reads: list[_Read]) -> None:
        if self._gathered is reads:
            self._gathered = []
        try:
            found = await self._store.read_all([(each.offset, each.size) for each in reads])
        except StoreError as error:
            self._failed(error)
            return
        for each, data in zip(reads, found, strict=True):
            if isinstance(data, DamagedBlockError):
                each.damaged(*self._told(data))
            else:
                self.medium.note_read(each.offset, each.size)
                each.done(data)

    def _told(self, error: DamagedBlockError) -> Range:
        return first_run(error.offsets, self._store.size_bytes)

    def carry_out(self, action: OfMetadata) -> None:
        """What is ordered of the metadata and the marks."""
        match action:
            case actions.Persist():
                self.persist(action.metadata)
            case actions.Track():
                self.track(action.base_epoch, action.ranges)
            case actions.MarkDirty():
                self.mark_dirty(action.ranges)
            case actions.StopTracking():
                self.stop_tracking()
            case actions.FindDirty():
                self.find_dirty(action.search, action.offset)
            case actions.ClearDirty():
                self._store.clear(action.offset, action.size)
            case _:
                assert_never(action)

    def persist(self, metadata: Metadata) -> None:
        """Then ``Persisted``, once the disk has answered whatever else it was asked.

        A node goes on alone by this, and a disk of which some call hangs is about to fail.
        """

        async def work() -> None:
            began_s = self._clock.now()
            await self._store.persist(metadata)
            await self._store.wait_for_calls()
            self.persist_took_s = self._clock.now() - began_s
            self._feed(events.Persisted(metadata))

        self._order(work)

    def track(self, base_epoch: int, ranges: Collection[Range]) -> None:
        """Mark every write called from now on, and these ranges."""

        async def work() -> None:
            await self._store.start_tracking(base_epoch)
            await self._store.mark_dirty(ranges)

        self._order(work)

    def mark_dirty(self, ranges: Collection[Range]) -> None:
        """Mark these ranges."""
        self._order(partial(self._store.mark_dirty, ranges))

    def stop_tracking(self) -> None:
        """Forget all marks."""
        self._order(self._store.stop_tracking)

    def find_dirty(self, search: int, offset: int) -> None:
        """Then ``DirtyFound``."""

        async def work() -> None:
            found = await self._store.find_dirty(offset, SEARCH_RANGES)
            self._feed(events.DirtyFound(search, found))

        self._order(work)

    async def end(self) -> None:
        """Return once all that is ordered was carried out and the store has ended cleanly, or is dead."""
        ended = trio.Event()

        async def work() -> None:
            try:
                await self._store.close_extents()
            finally:
                ended.set()

        self._order(work)
        await ended.wait()

    def _order(self, work: Callable[[], Awaitable[None]]) -> None:
        self._orders.append(work)
        self._ordered.unpark_all()

    async def run(self) -> None:
        """Carry out what is ordered, in order, until cancelled."""
        while True:
            while not self._orders:
                await self._ordered.park()
            try:
                await self._orders.popleft()()
            except StoreError as error:
                self._failed(error)


@attrs.define(eq=False)
class _Call:
    ordered: actions.ReadRecord | actions.Swap
    answer: events.Event | None = None
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    ended: trio.Event = attrs.field(factory=trio.Event, init=False)


@attrs.define(eq=False)
class ArbiterWork:
    """One call after the other, so that answers come in the order in which the arbiter gave them.

    A call that takes longer than ``ARBITER_LIMIT_S`` is given up: a read, or the proof beside it, has failed then, a
    swap is unknown. It is cancelled, which a call in a thread does not heed; its late answer counts for nothing.
    """

    _arbiter: Arbiter
    _clock: Clock
    _nursery: trio.Nursery
    _feed: Callable[[events.Event], None]
    took_s: float | None = attrs.field(default=None, init=False)
    """Of the latest call that was answered in time."""
    _calls: deque[actions.ReadRecord | actions.Swap] = attrs.field(factory=deque, init=False)
    _ordered: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    _given_up: int = attrs.field(default=0, init=False)
    """Calls that were given up and still run."""
    _doubts: Repeats = attrs.field(factory=Repeats, init=False)

    def call(self, call: actions.ReadRecord | actions.Swap) -> None:
        """Queue a call. The core has at most one of each under way."""
        self._calls.append(call)
        self._ordered.unpark_all()

    async def run(self) -> None:
        """Call until cancelled."""
        while True:
            while not self._calls:
                await self._ordered.park()
            ordered = self._calls.popleft()
            answer = await self._ask_in_time(ordered)
            if isinstance(ordered, actions.Swap) and _is_in_doubt(answer):
                self._tell_doubt(ordered)
            self._feed(answer)

    def _tell_doubt(self, swap: actions.Swap) -> None:
        text = f"whether the arbiter took the swap to epoch {swap.record.epoch} is not known"
        line = self._doubts.came(self._clock.now(), text)
        if line is not None:
            _LOG.warning("%s", line)

    async def _ask_in_time(self, ordered: actions.ReadRecord | actions.Swap) -> events.Event:
        if self._given_up >= HANGING_MAX:
            await self._clock.sleep_until(self._clock.now() + ARBITER_LIMIT_S)
        if self._given_up >= HANGING_MAX:
            return _unanswered(ordered, SwapOutcome.REFUSED)
        call, began_s = _Call(ordered), self._clock.now()
        self._nursery.start_soon(self._ask, call)
        try:
            await finish_by(self._clock, began_s + ARBITER_LIMIT_S, call.ended.wait)
            self.took_s = self._clock.now() - began_s
        except trio.TooSlowError:
            self._given_up += 1
            call.scope.cancel(reason="the arbiter takes too long")
            self._nursery.start_soon(self._await_end, call)
        return call.answer or _unanswered(ordered, SwapOutcome.UNKNOWN)

    async def _ask(self, call: _Call) -> None:
        with call.scope:
            if isinstance(call.ordered, actions.Swap):
                swap = call.ordered
                answer = await self._arbiter.cas(swap.expected_revision, swap.record)
                call.answer = events.Swapped(swap.record.proposal, answer.outcome, answer.revision)
            else:
                try:
                    found = await self._arbiter.read()
                except ArbiterError:
                    call.answer = events.ReadFailed()
                else:
                    await self._answer(call, call.ordered, found)
        call.ended.set()

    async def _answer(self, call: _Call, ordered: actions.ReadRecord, found: Versioned) -> None:
        """The record counts though the proof that follows it may hang. Proofs that hang leave reads a place."""
        if not ordered.proves:
            call.answer = events.RecordRead(found.record, found.revision)
            return
        call.answer = events.RecordRead(found.record, found.revision, takes_changes=False)
        if self._given_up < HANGING_MAX - 1 and await self._arbiter.probe():
            call.answer = events.RecordRead(found.record, found.revision, takes_changes=True)

    async def _await_end(self, call: _Call) -> None:
        await call.ended.wait()
        self._given_up -= 1


def _is_in_doubt(answer: events.Event) -> bool:
    return isinstance(answer, events.Swapped) and answer.outcome is SwapOutcome.UNKNOWN


def _unanswered(ordered: actions.ReadRecord | actions.Swap, outcome: SwapOutcome) -> events.Event:
    """What is known of a call that gave no answer, or (REFUSED) was not even made."""
    if isinstance(ordered, actions.Swap):
        return events.Swapped(ordered.record.proposal, outcome)
    return events.ReadFailed()
