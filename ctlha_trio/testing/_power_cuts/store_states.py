"""Every state in which a power cut may leave a store, at every moment of a journal, and whether it recovers from it."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from hashlib import blake2b
from typing import Final

import attrs
import trio

from ctlha_trio._errors import CtlHaError, DamagedBlockError
from ctlha_trio.pair import CarriedRecord
from ctlha_trio.seams import TrioClock
from ctlha_trio.store import BLOCK_BYTES, BlockStore
from ctlha_trio.testing._power.disk import Change, PowerDisk
from ctlha_trio.testing._power.medium import SECTOR_BYTES, Loss, PendingWrite, PowerMedium, lay_out
from ctlha_trio.testing._power.states import STATES_MAX, enumerate_states
from ctlha_trio.testing._power_cuts.journal import Began, Ended, Entry, Journal, Persisted, PutRecord, StoreCall
from ctlha_trio.testing._power_cuts.promises import Found, Promises, promises_of

PATH: Final = "volume"
KNOWN_MAX: Final = 1 << 11
"""Recoveries that are remembered; each holds a volume. States come again at the next moments or not at all."""
DATA_UNIT_BYTES: Final = 1024
"""What a client writes at once."""
LAST_CALLS: Final = 1 << 60
"""Their numbers begin here, behind those of all others."""
PROBLEMS_MAX: Final = 3
"""After which an enumeration ends: one mistake breaks most of what follows."""


@attrs.frozen
class Counts:
    """What was enumerated."""

    moments: int = 0
    """Between two changes of the disk, at which the power is cut: before and after each write and each flush."""
    flushes: int = 0
    states: int = 0
    """That were recovered from and checked, each with what the store owes at that moment."""
    contents: int = 0
    """Different ones among them, of one moment and the next."""
    left_out: int = 0
    """States that the bound leaves out."""
    in_recovery: int = 0
    """States after a second cut, during the recovery from the first."""
    after_kill: int = 0
    """States after a cut during the life of a process that found what a killed one had not flushed."""

    def __add__(self, other: "Counts") -> "Counts":
        """Of both."""
        pairs = zip(attrs.astuple(self), attrs.astuple(other), strict=True)
        return Counts(*(mine + others for mine, others in pairs))


@attrs.frozen
class StoreStates:
    """The result for one journal."""

    counts: Counts = Counts()
    problems: tuple[str, ...] = ()


@attrs.frozen
class _Recovered:
    found: Found | None
    changes: tuple[Change, ...]
    """Of the disk, by the recovery."""
    failure: str = ""

    def broken(self, promises: Promises) -> list[str]:
        """What is not as it was promised."""
        return [self.failure] if self.found is None else list(promises.broken(self.found))

    def task(self, promises: Promises) -> object:
        """What the recovery had to do: where it wrote, and what would be lost without it."""
        found = self.found
        assert found is not None
        places = tuple(write.offset for change in self.changes for write in change.written)
        holds_more = found.volume != promises.volume
        marked = found.base_epoch, found.tracking, found.dirty
        damaged = found.damaged, promises.told
        return found.metadata, marked, places, holds_more, promises.extents, damaged


@attrs.define(eq=False)
class StoreEnumeration:
    """Over the journal of one life of one node."""

    journal: Journal
    size_bytes: int
    unit_bytes: int
    """Of the dirty bitmap."""
    states_max: int = STATES_MAX
    counts: Counts = attrs.field(factory=Counts, init=False)
    problems: list[str] = attrs.field(factory=list, init=False)
    _known: dict[bytes, _Recovered] = attrs.field(factory=dict, init=False)
    _cut_again: set[object] = attrs.field(factory=set, init=False)
    """What the recoveries that were cut too had to do."""
    _killed: set[object] = attrs.field(factory=set, init=False)
    """What killed processes left."""

    async def run(self) -> StoreStates:
        """Look at every moment from where the part under test begins. A checkpoint."""
        medium = lay_out({PATH: self.journal.base})
        promises = promises_of(await recover_store(PowerDisk({PATH: self.journal.base}), self.size_bytes))
        looked: Promises | None = None
        for index, entry in enumerate(self.journal.entries):
            if not isinstance(entry, Change):
                promises = promises.after(entry, self.unit_bytes // SECTOR_BYTES)
                continue
            if index >= self.journal.armed_at and promises is not looked:
                await self._look(medium, promises, f"before change {index}, {_shown(entry)}")
            medium.write(entry.written)
            medium.flush(medium.pending[: len(entry.flushed)])
            if index >= self.journal.armed_at:
                self.counts += Counts(moments=1, flushes=bool(entry.flushed))
                await self._look(medium, promises, f"after change {index}, {_shown(entry)}")
                await self._kill(medium, promises, f"killed after change {index}, {_shown(entry)}")
                looked = promises
        await self._look(medium, promises, "at the end")
        return StoreStates(self.counts, tuple(self.problems))

    async def _kill(self, medium: PowerMedium, promises: Promises, where: str) -> None:
        """The process is killed, another one goes on with what it left in the cache, and the power fails then."""
        task = tuple(write.offset for write in medium.pending), promises.metadata, promises.extents
        if not medium.pending or task in self._killed or self.problems:
            return
        self._killed.add(task)
        durable, pending = bytes(medium.durable(PATH)), tuple(medium.pending)
        before = self.counts.states
        for puts_first in (False, True):
            owing = promises.outlived()
            after = lay_out({PATH: durable})
            after.write(pending)
            for entry in await live_on(durable, pending, self.size_bytes, puts_first=puts_first):
                if isinstance(entry, Change):
                    after.write(entry.written)
                    after.flush(after.pending[: len(entry.flushed)])
                    await self._look(after, owing, f"{where}, then {_shown(entry)}")
                else:
                    owing = owing.after(entry, self.unit_bytes // SECTOR_BYTES)
        self.counts += Counts(states=before - self.counts.states, after_kill=self.counts.states - before)

    async def _look(self, medium: PowerMedium, promises: Promises, where: str) -> None:
        listed = enumerate_states(bytes(medium.durable(PATH)), medium.pending, states_max=self.states_max)
        self.counts += Counts(left_out=listed.total - len(listed.losses))
        for loss in listed.losses:
            if len(self.problems) >= PROBLEMS_MAX:
                return
            content = medium.after(loss)[PATH]
            recovered = await self._recover(content)
            self.counts += Counts(states=1)
            broken = recovered.broken(promises) or await self._cut_recovery(content, recovered, promises)
            if broken:
                self.problems.append(f"{where}, {loss.name}: {'; '.join(broken[:3])}")

    async def _recover(self, content: bytes) -> _Recovered:
        key = blake2b(content, digest_size=16).digest()
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self.counts += Counts(contents=1)
            known = self._known[key] = await _try_to_recover(content, self.size_bytes)
        return known

    async def _cut_recovery(self, content: bytes, recovered: _Recovered, promises: Promises) -> list[str]:
        """What is wrong if the recovery is cut too, at any moment: once for those that have the same to do."""
        task = recovered.task(promises)
        if task in self._cut_again:
            return []
        self._cut_again.add(task)
        medium = lay_out({PATH: content})
        for change in recovered.changes:
            medium.write(change.written)
            medium.flush(medium.pending[: len(change.flushed)])
            listed = enumerate_states(bytes(medium.durable(PATH)), medium.pending, states_max=self.states_max)
            for loss in listed.losses:
                again = await self._recover(medium.after(loss)[PATH])
                self.counts += Counts(in_recovery=1)
                broken = again.broken(promises)
                if broken:
                    return [f"cut again in the recovery, {loss.name}", *broken]
        return []


async def recover_store(disk: PowerDisk, size_bytes: int) -> Found:
    """Open a store, let it recover, read all of it. A checkpoint. Errors are those of the store."""
    store = await BlockStore.open(disk, PATH, size_bytes=size_bytes, clock=TrioClock())
    try:
        await store.recover()
        dirty = (range(at // SECTOR_BYTES, -(-(at + size) // SECTOR_BYTES)) for at, size in store.dirty_ranges())
        volume, damaged = await _read_volume(store)
        return Found(
            metadata=store.metadata,
            records=store.records,
            volume=volume,
            damaged=damaged,
            base_epoch=store.base_epoch,
            tracking=store.is_tracking,
            dirty=frozenset().union(*dirty),
        )
    finally:
        store.close()


async def _read_volume(store: BlockStore) -> tuple[bytes, frozenset[int]]:
    """All of it, with zeros for the blocks that are damaged, and which these are."""
    try:
        return await store.read(0, store.size_bytes), frozenset()
    except DamagedBlockError as error:
        damaged = frozenset(offset // BLOCK_BYTES for offset in error.offsets)
    places = range(0, store.size_bytes, BLOCK_BYTES)
    found = await store.read_all([(at, min(BLOCK_BYTES, store.size_bytes - at)) for at in places])
    return b"".join(bytes(BLOCK_BYTES) if isinstance(each, DamagedBlockError) else each for each in found), damaged


async def live_on(
    durable: bytes, pending: Sequence[PendingWrite], size_bytes: int, *, puts_first: bool
) -> Sequence[Entry]:
    """What a process does that finds all this, flushed or not: it recovers, then persists metadata and puts a record.

    The record before the metadata if it ``puts_first``. A checkpoint.
    """
    disk = PowerDisk({PATH: durable})
    file = await disk.open(PATH)
    await file.pwrite([(write.offset, write.data) for write in pending])
    file.close()
    journal = Journal(durable)
    disk.on_change = journal.note
    store = await BlockStore.open(disk, PATH, size_bytes=size_bytes, clock=TrioClock())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run)
        metadata = attrs.evolve(store.metadata, epoch=store.metadata.epoch + 1)
        record = CarriedRecord("of another life", metadata.epoch, 1, b"value")
        calls: list[tuple[StoreCall, Callable[[], Awaitable[None]]]] = [
            (Persisted(metadata), partial(store.persist, metadata)),
            (PutRecord(record), partial(store.put_record, record)),
        ]
        for number, (call, carry_out) in enumerate(reversed(calls) if puts_first else calls, LAST_CALLS):
            journal.note(Began(number, call))
            await carry_out()
            journal.note(Ended(number))
        nursery.cancel_scope.cancel(reason="it has done all")
    store.close()
    return journal.entries


async def _try_to_recover(content: bytes, size_bytes: int) -> _Recovered:
    disk = PowerDisk({PATH: content})
    changes: list[Change] = []
    disk.on_change = changes.append
    try:
        return _Recovered(await recover_store(disk, size_bytes), tuple(changes))
    except CtlHaError as error:
        # A power cut is no damage: whatever it leaves, a store opens and reads.
        return _Recovered(None, (), f"the store does not recover: {error!r}")


@attrs.define(eq=False)
class DistinctLosses:
    """What a power cut may have made of a disk, each once that is the same to a node; remembered for the next cut.

    A node sees its disk through the store, and looks at data only to compare ranges. So states are the same to it that
    recover the same metadata and marks, and of each of the clients' writes all, nothing, or some sectors.
    """

    size_bytes: int
    states_max: int
    _known: dict[bytes, tuple[Loss, ...]] = attrs.field(factory=dict, init=False)

    async def of(self, disk: PowerDisk) -> Sequence[Loss]:
        """Of a disk that was cut: nothing kept first, everything kept second if that is not the same. A checkpoint."""
        key = blake2b(disk.durable_content(PATH), digest_size=16)
        for write in disk.pending:
            key.update(write.offset.to_bytes(8, "little") + write.data)
        known = self._known.get(key.digest())
        if known is None:
            known = self._known[key.digest()] = await self._find(disk)
        return known

    async def _find(self, disk: PowerDisk) -> tuple[Loss, ...]:
        listed = enumerate_states(disk.durable_content(PATH), disk.pending, states_max=self.states_max)
        ends: list[bytes] = []
        distinct: dict[object, Loss] = {}
        for loss in listed.losses:
            found = await recover_store(disk.after_cut(loss), self.size_bytes)
            if len(ends) < len(("nothing kept", "everything kept")):
                ends.append(found.volume)
            kept = tuple(
                tuple(end[at : at + DATA_UNIT_BYTES] == found.volume[at : at + DATA_UNIT_BYTES] for end in ends)
                for at in range(0, self.size_bytes, DATA_UNIT_BYTES)
            )
            records = tuple(found.records.values())
            marked = found.base_epoch, found.tracking, found.dirty
            distinct.setdefault((found.metadata, records, marked, found.damaged, kept), loss)
        return tuple(distinct.values())


def _shown(change: Change) -> str:
    if not change.written:
        return f"a flush of {len(change.flushed)} writes"
    return ", ".join(f"{len(write.data)} bytes at {write.offset}" for write in change.written)
