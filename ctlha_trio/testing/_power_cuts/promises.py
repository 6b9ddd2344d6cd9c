"""What a store owes after a power cut, by what it was asked and what it had answered. A model of one store, no I/O."""

from collections.abc import Iterator
from itertools import accumulate
from typing import Final

import attrs

from ctlha_trio.pair import Metadata, Records, with_record
from ctlha_trio.store import BLOCK_BYTES, GROUP_BYTES
from ctlha_trio.testing._power.medium import SECTOR_BYTES
from ctlha_trio.testing._power_cuts.journal import (
    Began,
    Cleared,
    ClosedExtents,
    Ended,
    MarkedDirty,
    OfRecords,
    Persisted,
    PutRecord,
    ReplacedRecords,
    StartedTracking,
    StoppedTracking,
    StoreCall,
    Told,
    Wrote,
)

ORDERED: Final = (StartedTracking, StoppedTracking, MarkedDirty)


@attrs.frozen(kw_only=True)
class Found:
    """What a store says of itself once it has recovered."""

    metadata: Metadata
    records: Records = attrs.field(hash=False)
    volume: bytes
    base_epoch: int | None
    tracking: bool
    dirty: frozenset[int]
    """Sectors, here and below."""
    damaged: frozenset[int] = frozenset()
    """Blocks, here and below: what is in their place in ``volume`` means nothing."""


@attrs.frozen
class Marks:
    """What is promised of the dirty bitmap."""

    base_epoch: int | None
    tracking: bool
    owed: frozenset[int]
    """Dirty for certain. More may be."""

    def mark(self, sectors: range, epoch: int) -> "Marks":
        """These too, counted from ``epoch`` if nothing was yet."""
        base = epoch if self.base_epoch is None else self.base_epoch
        return Marks(base, self.tracking, self.owed.union(sectors))

    def start(self, base_epoch: int) -> "Marks":
        """Every write from now on; what counted from another base is forgotten."""
        return Marks(base_epoch, True, self.owed if base_epoch == self.base_epoch else frozenset())


@attrs.frozen
class Promises:
    """Of one store at one moment."""

    metadata: Metadata
    records: tuple[Records, ...]
    """By the puts that were answered: one, or more of which nobody knows what a killed process has left."""
    volume: bytes
    """By the writes that were answered."""
    latest: dict[int, int]
    """By sector: the number of the newest write of it that was answered."""
    marks: Marks
    extents: frozenset[int]
    """Groups that were written to since the last clean end."""
    under_way: dict[int, StoreCall]
    """Calls that were not answered, in their order. One that nobody waits for any more may stay for ever."""
    tracked: frozenset[int]
    """Writes among them that are called while every write is to be marked."""
    damaged: frozenset[int] = frozenset()
    """Not written since they decayed: they may be damaged still."""
    told: frozenset[int] = frozenset()
    """Those of them that the store told of: it must never take them for whole."""
    bygone: frozenset[int] = frozenset()
    """Calls among them of a process that was killed: what a later one persists says nothing of them."""

    def after(self, entry: Began | Ended, unit_sectors: int) -> "Promises":
        """A moment later. A mark is taken away from whole units only."""
        if isinstance(entry, Ended):
            return self._refused(entry.number) if entry.refused else self._ended(entry.number)
        if isinstance(entry.call, Told):
            return attrs.evolve(self, told=self.told | entry.call.blocks)
        if isinstance(entry.call, Cleared):
            return attrs.evolve(self, marks=self._cleared(entry.call, unit_sectors))
        if isinstance(entry.call, Wrote) and (entry.call.offset % SECTOR_BYTES or len(entry.call.data) % SECTOR_BYTES):
            raise AssertionError("this model knows writes of whole sectors only")
        after = attrs.evolve(self, under_way=self.under_way | {entry.number: entry.call})
        is_tracked = isinstance(entry.call, Wrote) and entry.call.dirties and [*self._possible_marks()][-1].tracking
        return attrs.evolve(after, tracked=self.tracked | {entry.number}) if is_tracked else after

    def _refused(self, number: int) -> "Promises":
        return attrs.evolve(self, under_way={each: call for each, call in self.under_way.items() if each != number})

    def _ended(self, number: int) -> "Promises":
        under_way = dict(self.under_way)
        call = under_way.pop(number)
        after = attrs.evolve(self, under_way=under_way)
        match call:
            case Wrote():
                return after._written(number, call)
            case Persisted():
                return attrs.evolve(after, metadata=call.metadata)
            case ClosedExtents():
                return attrs.evolve(after, extents=frozenset())
            case PutRecord() | ReplacedRecords():
                return attrs.evolve(after, records=tuple(_changed(each, call) for each in self.records))
            case _:
                return attrs.evolve(after, marks=_ordered(self.marks, call, self.metadata.epoch))

    def _written(self, number: int, write: Wrote) -> "Promises":
        volume, latest = bytearray(self.volume), dict(self.latest)
        for sector, content in _sectors(write):
            # Answers of one batch reach their callers in any order, the writes were laid over each other in theirs.
            if latest.get(sector, 0) < number:
                latest[sector] = number
                volume[sector * SECTOR_BYTES : sector * SECTOR_BYTES + len(content)] = content
        marks = self.marks
        if number in self.tracked:
            marks = attrs.evolve(marks, owed=marks.owed.union(_range(write.offset, len(write.data))))
        end = write.offset + len(write.data)
        groups = self.extents.union(range(write.offset // GROUP_BYTES, -(-end // GROUP_BYTES)))
        healed = range(-(-write.offset // BLOCK_BYTES), end // BLOCK_BYTES)
        damaged, told = self.damaged.difference(healed), self.told.difference(healed)
        after = attrs.evolve(self, volume=bytes(volume), latest=latest, marks=marks, extents=groups)
        return attrs.evolve(after, damaged=damaged, told=told)

    def _cleared(self, call: Cleared, unit_sectors: int) -> Marks:
        first = -(-call.offset // SECTOR_BYTES // unit_sectors) * unit_sectors
        whole = range(first, (call.offset + call.size) // SECTOR_BYTES // unit_sectors * unit_sectors)
        return attrs.evolve(self.marks, owed=self.marks.owed.difference(whole))

    def outlived(self) -> "Promises":
        """The same, once the process was killed and another one has what it left."""
        left: dict[int, StoreCall] = {n: call for n, call in self.under_way.items() if not isinstance(call, OfRecords)}
        return attrs.evolve(self, records=tuple(self._possible_records()), under_way=left, bygone=frozenset(left))

    def broken(self, found: Found) -> Iterator[str]:
        """Every promise that is not kept, in words."""
        owing = self
        if found.metadata != self.metadata:
            # Metadata speaks of everything that was called before it, answered or not.
            for number, call in self.under_way.items():
                if isinstance(call, Persisted) and call.metadata == found.metadata:
                    owing = self._through(number)
                    break
        if owing.metadata != found.metadata:
            yield f"metadata is neither the last that was persisted nor one under way: {found.metadata}"
        yield from owing._broken_volume(found)
        yield from owing._broken_blocks(found)
        if found.records not in owing._possible_records():
            yield f"the records are none that were answered, or are being put: {found.records}"
        if not any(_is_kept(marks, found) for marks in owing._possible_marks()):
            marked = f"base {found.base_epoch}, tracking {found.tracking}, dirty {sorted(found.dirty)}"
            yield f"marks are not those promised, {owing.marks}: {marked}"
        if ClosedExtents() not in self.under_way.values():
            for group in owing.extents:
                first = group * GROUP_BYTES // SECTOR_BYTES
                if first not in found.dirty:
                    yield f"group {group}, which was written to since the last clean end, is not compared"

    def _through(self, number: int) -> "Promises":
        after = self
        skipped = frozenset[int]() if number in self.bygone else self.bygone
        for each in [each for each in self.under_way if each <= number and each not in skipped]:
            after = after._ended(each)
        return after

    def _broken_volume(self, found: Found) -> Iterator[str]:
        for sector in range(len(self.volume) // SECTOR_BYTES):
            place = slice(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES)
            if place.start // BLOCK_BYTES in self.damaged | found.damaged:
                continue
            if found.volume[place] == self.volume[place]:
                continue
            if not any(found.volume[place] == content for content in self._under_way_at(sector)):
                yield f"sector {sector} holds what no write under way has put there, and not what was answered"
            elif sector not in found.dirty:
                yield f"sector {sector} holds a write that was not answered, and is not marked"

    def _broken_blocks(self, found: Found) -> Iterator[str]:
        for block in found.damaged - self.damaged:
            yield f"block {block} is damaged, and was whole"
        for block in self.told - found.damaged:
            start, end = block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES
            writes = [call for call in self.under_way.values() if isinstance(call, Wrote)]
            if not any(
                call.offset <= start and call.data[start - call.offset : end - call.offset] == found.volume[start:end]
                for call in writes
            ):
                yield f"block {block} was told to be damaged, and is taken for whole as it is"

    def _under_way_at(self, sector: int) -> Iterator[bytes]:
        for call in self.under_way.values():
            if isinstance(call, Wrote):
                start = sector * SECTOR_BYTES - call.offset
                if 0 <= start < len(call.data):
                    yield call.data[start : start + SECTOR_BYTES]

    def _possible_records(self) -> Iterator[Records]:
        calls = [call for call in self.under_way.values() if isinstance(call, OfRecords)]
        for records in self.records:
            yield from accumulate(calls, _changed, initial=records)

    def _possible_marks(self) -> Iterator[Marks]:
        marks = self.marks
        yield marks
        for call in self.under_way.values():
            if isinstance(call, ORDERED):
                marks = _ordered(marks, call, self.metadata.epoch)
                yield marks


def promises_of(found: Found) -> Promises:
    """What a store owes that nothing was asked of since it recovered."""
    marks = Marks(found.base_epoch, found.tracking, found.dirty)
    return Promises(
        found.metadata, (found.records,), found.volume, {}, marks, frozenset(), {}, frozenset(), found.damaged
    )


def _changed(records: Records, call: OfRecords) -> Records:
    return with_record(records, call.record) if isinstance(call, PutRecord) else call.records


def _ordered(marks: Marks, call: StoreCall, epoch: int) -> Marks:
    match call:
        case StartedTracking():
            return marks.start(call.base_epoch)
        case StoppedTracking():
            return Marks(None, False, frozenset())
        case MarkedDirty():
            for offset, size in call.ranges:
                marks = marks.mark(_range(offset, size), epoch)
            # Even if it names no range it says from where is counted.
            return marks.mark(range(0), epoch)
    return marks


def _is_kept(marks: Marks, found: Found) -> bool:
    if marks.base_epoch is None:
        # What was open is marked by the recovery, counted from the metadata's epoch.
        return not found.tracking and (found.base_epoch is None or found.base_epoch <= found.metadata.epoch)
    counts = found.base_epoch == marks.base_epoch and found.tracking is marks.tracking
    return counts and marks.owed <= found.dirty


def _range(offset: int, size: int) -> range:
    return range(offset // SECTOR_BYTES, -(-(offset + size) // SECTOR_BYTES))


def _sectors(write: Wrote) -> Iterator[tuple[int, bytes]]:
    for at in range(0, len(write.data), SECTOR_BYTES):
        yield (write.offset + at) // SECTOR_BYTES, write.data[at : at + SECTOR_BYTES]
