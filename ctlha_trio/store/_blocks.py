"""The store of one volume: its bytes and its metadata in one backing file, made durable by one commit loop."""

from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from itertools import islice

import attrs
import trio

from ctlha_trio._errors import DamagedBlockError, InvalidError, RecordsFullError, StoreError
from ctlha_trio.pair import CarriedRecord, Metadata, Records
from ctlha_trio.seams import Buffer, Clock, Disk, acquire
from ctlha_trio.store._activity_log import EXTENTS_OPEN_MAX, NEW_GENERATION, choose_activity
from ctlha_trio.store._checked_volume import CheckedVolume
from ctlha_trio.store._commit_loop import CommitLoop, Recovery
from ctlha_trio.store._dirty_bitmap import DirtyBitmap
from ctlha_trio.store._layout import (
    ACTIVITY_OFFSET,
    BITMAP_OFFSET,
    BITMAP_PAGE_BYTES,
    BLOCK_BYTES,
    GROUP_BYTES,
    RECORDS_OFFSET,
    Layout,
    groups_of,
)
from ctlha_trio.store._queue import OrderStep, PersistStep, Step, StepQueue, WriteStep
from ctlha_trio.store._record_copies import choose_table
from ctlha_trio.store._record_keeper import RecordKeeper
from ctlha_trio.store._size import SizeWatch, check_has_head, check_size
from ctlha_trio.store._slots import EPOCH_MAX, HEAD_BYTES, choose_slot, encode_metadata
from ctlha_trio.store._watched_file import WatchedFile
from ctlha_trio.store._write_tracker import WriteTracker

READS_AT_ONCE = 6
"""Reads on the disk at one time: fewer than the calls that the real disk runs at once, so that reads never keep the
commit loop from it."""


@attrs.define(eq=False, kw_only=True)
class BlockStore:
    """A volume of fixed size. Made by ``open``; ``run`` must be running for anything to become durable.

    Any ``StoreError`` kills it, but for ``DamagedBlockError``, which stands for places that cannot be read too: whoever
    waits and whoever calls later gets a ``StoreError`` that names the first one, and nothing is tried again. The end of
    ``run`` kills it too: what had been queued may or may not be on the disk.

    For a partial resync: the dirty bitmap is what may differ from the peer's copy since ``base_epoch``. In it are all
    writes that were answered after ``start_tracking``, what ``mark_dirty`` names, and the ``crash_extents`` of every
    unclean end; ``clear`` takes ranges out, ``stop_tracking`` everything. No crash loses any of it.
    """

    size_bytes: int
    crash_extents: tuple[tuple[int, int], ...]
    """Offset and size of the ranges that were open when the last life ended; empty after a clean end."""
    _file: WatchedFile
    _queue: StepQueue
    _volume: CheckedVolume
    _tracker: WriteTracker
    _keeper: RecordKeeper
    _loop: CommitLoop
    _size_watch: SizeWatch
    _reads: trio.Semaphore = attrs.field(factory=lambda: trio.Semaphore(READS_AT_ONCE), init=False)

    @staticmethod
    async def open(disk: Disk, path: str, *, size_bytes: int, clock: Clock) -> "BlockStore":
        """Open an existing backing file and find its metadata. Writes nothing. A checkpoint.

        ``ConfigError`` if the file is not ours, of another format or size, or not whole; ``StoreError`` if the disk
        fails, or both metadata slots, both pages of the activity log or both tables of records are damaged.
        """
        opened = await disk.open(path)
        queue = StepQueue()
        file = WatchedFile(opened, clock, queue)
        layout = Layout(size_bytes)
        try:
            check_has_head(path, opened.size_bytes)
            head = await opened.pread(0, BITMAP_OFFSET)
            index, slot = choose_slot(path, head[:HEAD_BYTES])
            check_size(path, opened.size_bytes, size_bytes, made_with=slot.size_bytes)
            page = choose_activity(path, head[ACTIVITY_OFFSET:])
            file.owes_flush = page.generation > NEW_GENERATION
            area, table = choose_table(path, head[RECORDS_OFFSET:])
            bitmap = DirtyBitmap(layout)
            if page.base_epoch is not None:
                raw = await opened.pread(BITMAP_OFFSET, layout.bitmap_pages * BITMAP_PAGE_BYTES)
                bitmap.load(raw, page.base_epoch)
        except BaseException:
            opened.close()
            raise
        volume = CheckedVolume(layout, file)
        tracker = WriteTracker(file, page, bitmap)
        return BlockStore(
            size_bytes=size_bytes,
            crash_extents=tuple((group * GROUP_BYTES, layout.group_bytes(group)) for group in sorted(page.extents)),
            file=file,
            queue=queue,
            volume=volume,
            tracker=tracker,
            keeper=RecordKeeper(file, area, table),
            loop=CommitLoop(file, queue, volume, tracker, slot, index),
            size_watch=SizeWatch(path, opened.size_bytes),
        )

    @property
    def metadata(self) -> Metadata:
        """As last found or made durable."""
        return self._loop.slot.metadata

    @property
    def oldest_call_s(self) -> float | None:
        """When the oldest disk call still running began, on the store's clock; None if the disk is idle."""
        return self._file.oldest_call_s

    async def run(self) -> None:
        """Recover, then commit until cancelled: all that is queued in one write and one flush. ``StoreError`` if dead.

        The first write into an extent that is not open takes one more write and flush before it.
        """
        await self._loop.run()

    async def recover(self, *, reseal: bool = True) -> Recovery:
        """After an unclean end, make what is on the disk a whole volume again. A checkpoint.

        The extents that were open are the only places where a power cut may have torn a block. Blocks there that are
        not whole are sealed as they are: no write of theirs was acknowledged. But those that any life has told of as
        damaged, or was repairing, stay damaged until they are written. With ``reseal`` False they stay damaged,
        for a caller that is about to overwrite them with the peer's copy. All the extents become dirty, counted
        from the metadata's epoch if nothing was yet. Cut at any point, it begins anew and ends the same.

        ``run`` begins with it. Call it before that to choose, or to learn what was resealed.
        """
        return await self._loop.recover(reseal=reseal)

    async def read(self, offset: int, size: int) -> bytes:
        """``size`` bytes of the volume from ``offset``, verified. A checkpoint. Runs beside the commit loop.

        After an unclean end it waits for the recovery. A read that overlaps a write under way gets any mixture of old
        and new blocks. ``InvalidError`` outside the volume. ``DamagedBlockError`` names every block of the range that
        is not what was written there, or that the medium does not give back: durably, so that no crash makes one whole.
        """
        self._check_range(offset, size)
        if not size:
            await trio.lowlevel.checkpoint()
            return b""
        (found,) = await self.read_all([(offset, size)])
        if isinstance(found, DamagedBlockError):
            raise found
        return found

    async def read_all(self, ranges: Sequence[tuple[int, int]]) -> list[bytes | DamagedBlockError]:
        """As ``read``, of ranges that are not empty, by one call to the disk: the data of each, or its error."""
        for offset, size in ranges:
            self._check_range(offset, size)
        changes = self._volume.changes
        found: list[bytes | DamagedBlockError] = []
        if self._loop.is_recovered:
            await acquire(self._reads)
            try:
                found = await self._volume.read_all(ranges)
            finally:
                self._reads.release()
            certain = changes == self._volume.changes and not changes % 2
            damaged = _damaged_in(found)
            if not damaged or (certain and self._loop.stays_known(damaged)):
                return found
            if certain and await self._loop.know_damage_idle(damaged):
                return found
        return await self._find_in_turn(ranges, found, changes)

    async def _find_in_turn(
        self, ranges: Sequence[tuple[int, int]], found: list[bytes | DamagedBlockError], changes: int
    ) -> list[bytes | DamagedBlockError]:
        """What was found, or is by another read, once it is certain and what is damaged is known durably."""

        async def read() -> None:
            # Before the recovery, or beside a write, damage may be none: what the commit loop reads in turn is certain.
            if not found or changes != self._volume.changes or changes % 2:
                found[:] = await self._volume.read_all(ranges)
            await self._loop.know_damage(_damaged_in(found))

        await self._queue.complete(OrderStep(carry_out=read))
        return found

    async def write(self, offset: int, data: Buffer) -> None:
        """Return once ``data`` is on stable media at ``offset`` of the volume. A checkpoint.

        Writes that overlap are executed in the order of the calls. Cancelled: the answer is abandoned, the write may or
        may not be executed; the caller may change ``data`` at once. ``InvalidError`` outside the volume, or over more
        than ``EXTENTS_OPEN_MAX`` extents. ``DamagedBlockError``, and nothing of it was written, if it covers a part of
        a block that is damaged.
        """
        await self._write(offset, data, repairs=False)

    async def repair(self, offset: int, data: Buffer) -> None:
        """As ``write``, for whole blocks that the peer's copy holds: it makes nothing dirty. A checkpoint.

        It opens no extent, and a power cut leaves each block as it was, new, or damaged, whatever is written beside it:
        it is known to be damaged until it is written. ``InvalidError`` unless the range
        begins and ends where blocks do.
        """
        end = offset + memoryview(data).nbytes
        if offset % BLOCK_BYTES or (end % BLOCK_BYTES and end != self.size_bytes):
            raise InvalidError(f"only whole blocks can be repaired, not {offset} to {end}")
        await self._write(offset, data, repairs=True)

    async def _write(self, offset: int, data: Buffer, *, repairs: bool) -> None:
        # What is not immutable is copied: a caller that is cancelled uses its buffer again while the disk reads it.
        kept = bytes(data)
        self._check_write(offset, len(kept))
        await self._queue.complete(WriteStep(offset=offset, data=kept, repairs=repairs))

    def write_nowait(
        self,
        offset: int,
        data: Buffer,
        on_end: Callable[[DamagedBlockError | None], None],
        nursery: trio.Nursery | None = None,
    ) -> bool:
        """As ``write``, without a task that waits; False, and nothing was queued, if there is no room now.

        ``data`` is not copied, so that nobody may change it until then. ``on_end`` is called once, by the loop: with
        None once the data is on stable media, else with what kept it from being written. It must not raise. If the
        store dies first it is not called: whoever runs ``run`` is told of that. ``StoreError`` if it is dead already.

        With a ``nursery``, for a disk that needs a task, a small write may begin before this returns.
        """
        self._check_write(offset, memoryview(data).nbytes)

        def tell(step: Step) -> None:
            assert not isinstance(step.refusal, RecordsFullError), "a write puts no record"
            on_end(step.refusal)

        self._queue.check()
        step = WriteStep(offset=offset, data=data, on_end=tell)
        if nursery is not None and self._loop.commit_at_once(step, nursery):
            return True
        return self._queue.put_nowait(step)

    def _check_write(self, offset: int, size: int) -> None:
        self._check_range(offset, size)
        if len(groups_of(offset, size)) > EXTENTS_OPEN_MAX:
            raise InvalidError(f"a write of {size} bytes touches more extents than may be open")

    async def persist(self, metadata: Metadata) -> None:
        """Return once the metadata is on stable media, behind every write that was called before. A checkpoint.

        A power cut leaves the old or the new. Cancelled: the answer is abandoned, as for ``write``. ``InvalidError`` if
        it is too large for a slot.
        """
        await self._queue.complete(PersistStep(metadata=metadata, payload=encode_metadata(metadata, self.size_bytes)))

    async def wait_for_calls(self) -> None:
        """Return once each disk call that runs now has ended: the disk answers. A checkpoint only if there is one."""
        await self._file.wait_for_calls()

    async def look_at_file(self) -> str | None:
        """None while the path of the backing file names the open one; else by what that can be read, or nothing.

        A file that was cut short kills the store, and one that has grown is told of in the log. A checkpoint.
        ``StoreError`` if the store is dead, or nothing of this can be told.
        """
        cut_short = self._size_watch.look(await self._file.actual_bytes())
        if cut_short is not None:
            self._queue.die(cut_short)
        return await self._file.stray_name()

    @property
    def file_identity(self) -> Hashable:
        """What tells the backing file from another one of its name, as ``DiskFile`` says."""
        return self._file.identity

    @property
    def records(self) -> Records:
        """As last found or made durable."""
        return self._keeper.records

    @property
    def damaged_ranges(self) -> tuple[tuple[int, int], ...]:
        """Offset and size of what the file names as damaged, in order: it was told, and not written anew since."""
        return tuple(self._loop.known_damage.ranges())

    async def put_record(self, record: CarriedRecord) -> None:
        """Return once the record, or that there is none of its key, is on stable media. A checkpoint.

        Cancelled: the answer is abandoned, as for ``write``. ``RecordsFullError`` if all records
        together would take more than ``RECORDS_BYTES_MAX``: nothing was written, and the store lives.
        """
        await self._queue.complete(OrderStep(carry_out=lambda: self._keeper.put(record)))

    async def replace_records(self, records: Records) -> None:
        """Return once these are the only records on stable media. A checkpoint. As ``put_record`` in all else."""
        await self._queue.complete(OrderStep(carry_out=lambda: self._keeper.replace(records)))

    async def close_extents(self) -> None:
        """Return once the log says that nothing is under way, behind every write that was called before. A checkpoint.

        A store that is closed after this, with nothing written since, has ended cleanly.
        """
        await self._queue.complete(OrderStep(carry_out=self._tracker.close_extents))

    @property
    def base_epoch(self) -> int | None:
        """The epoch from which the dirty bitmap counts, in this life or an earlier one; None if it does not."""
        return self._tracker.bitmap.base_epoch

    @property
    def is_tracking(self) -> bool:
        """Whether every write is marked as dirty, by order of this life or an earlier one."""
        return self._tracker.page.tracking

    @property
    def dirty_bytes(self) -> int:
        """Bytes of the volume that may differ from the peer's copy."""
        return self._tracker.bitmap.dirty_bytes_from(0)

    def dirty_bytes_from(self, start: int) -> int:
        """As ``dirty_bytes``, of the volume from ``start`` on, which is taken for the beginning of its unit."""
        return self._tracker.bitmap.dirty_bytes_from(start)

    @property
    def marked_from(self) -> int | None:
        """``base_epoch`` as it is, or will be as soon as the store has recovered."""
        return self.metadata.epoch if self.base_epoch is None and self.crash_extents else self.base_epoch

    def dirty_ranges(self, start: int = 0) -> Iterator[tuple[int, int]]:
        """Offset and size of each dirty range from ``start`` on, in order, each as it is when it is asked for.

        A write that was not answered yet may be missing.
        """
        return self._tracker.bitmap.ranges(start)

    async def find_dirty(self, start: int, count: int) -> tuple[tuple[int, int], ...]:
        """The first ``count`` dirty ranges from ``start`` on, once every write called before is marked. A checkpoint.

        A write that was called later may be among them.
        """
        found: list[tuple[int, int]] = []

        async def look() -> None:
            found.extend(islice(self._tracker.bitmap.ranges(start), count))
            await trio.lowlevel.checkpoint()

        await self._queue.complete(OrderStep(carry_out=look))
        return tuple(found)

    async def start_tracking(self, base_epoch: int) -> None:
        """Mark every write called from now on, over restarts; return once that is durable. A checkpoint.

        With the base epoch that is in use what is dirty stays dirty. With another one it is forgotten; cut before it
        returns, either the old set counts, or more than that, or the new one. ``InvalidError`` if it is no epoch.
        """
        if not 0 <= base_epoch <= EPOCH_MAX:
            raise InvalidError(f"base epoch {base_epoch} is not between 0 and {EPOCH_MAX}")
        await self._queue.complete(OrderStep(carry_out=lambda: self._tracker.start(base_epoch)))

    async def stop_tracking(self) -> None:
        """Forget what is dirty, since both copies are known to be equal; return once that is durable. A checkpoint."""
        await self._queue.complete(OrderStep(carry_out=self._tracker.stop))

    async def mark_dirty(self, ranges: Collection[tuple[int, int]]) -> None:
        """Return once it is durable that these ranges, offset and size, may differ. A checkpoint.

        Counted from the metadata's epoch if nothing was yet. ``InvalidError`` outside the volume.
        """
        for offset, size in ranges:
            self._check_range(offset, size)
        step = OrderStep(carry_out=lambda: self._tracker.mark_dirty(ranges, self.metadata.epoch))
        await self._queue.complete(step)

    def clear(self, offset: int, size: int) -> None:
        """The range is equal again, as far as whole units lie in it. For a range that nobody is writing to.

        It becomes durable with the next write or persist; a crash before that compares it once more.
        """
        self._check_range(offset, size)
        self._tracker.bitmap.clear(offset, size)

    def unlock(self) -> None:
        """Kill the store and let others open the file, which is told from others by its identity until ``close``."""
        self._queue.die(StoreError("it was closed"))
        self._file.unlock()

    def close(self) -> None:
        """Kill the store and give the file up. May be called twice."""
        self._queue.die(StoreError("it was closed"))
        self._file.close()

    def _check_range(self, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > self.size_bytes:
            raise InvalidError(f"{size} bytes at {offset} are not inside a volume of {self.size_bytes}")


def _damaged_in(found: Sequence[bytes | DamagedBlockError]) -> set[int]:
    """Numbers of the blocks that were found damaged."""
    errors = (each for each in found if isinstance(each, DamagedBlockError))
    return {offset // BLOCK_BYTES for error in errors for offset in error.offsets}
