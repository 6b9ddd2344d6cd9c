"""What a disk does to blocks behind everybody's back, each found by whoever reads the block, and put right."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Final

import attrs
import pytest
import trio
import trio.testing

from ctlha_trio._errors import DamagedBlockError, InvalidError, NotWholeError, StoreError, UnreadableError
from ctlha_trio.pair import Copy, Metadata
from ctlha_trio.seams import Buffer, DiskFile, TrioClock
from ctlha_trio.store import BLOCK_BYTES, DIRTY_BYTES, GROUP_BYTES, BlockStore, Layout, first_run, image
from ctlha_trio.store._layout import ACTIVITY_OFFSET, BITMAP_OFFSET, PAGE_BYTES

SIZE_BYTES: Final = 2 * GROUP_BYTES + 3 * BLOCK_BYTES + 100
LAYOUT: Final = Layout(SIZE_BYTES)
LAST: Final = SIZE_BYTES // BLOCK_BYTES * BLOCK_BYTES
METADATA: Final = Metadata(
    cluster="cluster",
    node="a",
    resource="volume",
    lineage="lineage",
    arbiter="arbiter",
    epoch=5,
    revision=1,
    primary="a",
    members=("a", "b"),
    copy=Copy.MEMBER,
)
HANG_S: Final = 10


@attrs.define(eq=False)
class MemoryFile:
    """A file in memory. What ``falsify`` makes of a write is what the medium gets."""

    content: bytearray = attrs.field(factory=lambda: bytearray(image(METADATA, SIZE_BYTES)))
    falsify: Callable[[int, Buffer], tuple[int, Buffer] | None] | None = None
    gate: trio.Event | None = None
    """A write waits for it with its entries and half of its data written."""
    unreadable: set[int] = attrs.field(factory=set)
    """Where blocks of the file begin that the medium does not give back until they are written."""
    read_gate: trio.Event | None = None
    """The next read waits for it with what it has read."""

    @property
    def size_bytes(self) -> int:
        return len(self.content)

    @property
    def identity(self) -> str:
        return "the only one"

    async def pread(self, offset: int, size: int) -> bytes:
        if any(offset < place + BLOCK_BYTES and place < offset + size for place in self.unreadable):
            await trio.lowlevel.checkpoint()
            raise UnreadableError("a sector is gone")
        found = bytes(self.content[offset : offset + size])
        gate, self.read_gate = self.read_gate, None
        await trio.lowlevel.checkpoint()
        if gate is not None:
            await gate.wait()
        return found

    async def pread_all(self, places: Sequence[tuple[int, int]]) -> list[bytes]:
        return [await self.pread(offset, size) for offset, size in places]

    async def pwrite(self, extents: Sequence[tuple[int, Buffer]]) -> None:
        await trio.lowlevel.checkpoint()
        for extent in extents:
            kept = self.falsify(*extent) if self.falsify else extent
            if kept is not None:
                offset, data = kept[0], bytes(kept[1])
                half = len(data) // 2
                self.content[offset : offset + half] = data[:half]
                if self.gate is not None and is_data(offset):
                    await self.gate.wait()
                self.content[offset : offset + len(data)] = data
                self.unreadable -= set(range(offset, offset + len(data), BLOCK_BYTES))

    async def flush(self) -> None:
        await trio.lowlevel.checkpoint()

    async def write_through(self, extents: Sequence[tuple[int, Buffer]]) -> None:
        await self.pwrite(extents)
        await self.flush()

    async def actual_bytes(self) -> int:
        return self.size_bytes

    async def stray_name(self) -> str | None:
        return None

    def unlock(self) -> None:
        pass

    def close(self) -> None:
        pass

    async def open(self, path: str) -> DiskFile:
        await trio.lowlevel.checkpoint()
        return self


async def opened(file: MemoryFile) -> BlockStore:
    return await BlockStore.open(file, "file", size_bytes=SIZE_BYTES, clock=TrioClock())


@asynccontextmanager
async def running(file: MemoryFile) -> AsyncIterator[BlockStore]:
    store = await opened(file)
    with trio.fail_after(HANG_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.run)
            yield store
            nursery.cancel_scope.cancel()
    store.close()


async def damaged(store: BlockStore, offset: int, size: int = 1) -> tuple[int, ...]:
    with pytest.raises(DamagedBlockError) as caught:
        await store.read(offset, size)
    assert str(caught.value.offsets[0]) in str(caught.value)
    return caught.value.offsets


def is_data(offset: int) -> bool:
    return offset >= LAYOUT.entry_page_offset(0) and not is_entries(offset)


def is_entries(offset: int) -> bool:
    return offset in {LAYOUT.entry_page_offset(group) for group in range(LAYOUT.groups)}


def lose_data(offset: int, data: Buffer) -> tuple[int, Buffer] | None:
    return None if is_data(offset) else (offset, data)


def lose_entries(offset: int, data: Buffer) -> tuple[int, Buffer] | None:
    return None if is_entries(offset) else (offset, data)


def tear_data(offset: int, data: Buffer) -> tuple[int, Buffer]:
    return (offset, bytes(data)[: BLOCK_BYTES // 2]) if is_data(offset) else (offset, data)


def misdirect_data(offset: int, data: Buffer) -> tuple[int, Buffer]:
    return (offset + BLOCK_BYTES if is_data(offset) else offset), data


def misdirect_entries(offset: int, data: Buffer) -> tuple[int, Buffer]:
    return (LAYOUT.entry_page_offset(1) if is_entries(offset) else offset), data


BLOCK: Final = 7 * BLOCK_BYTES


@pytest.mark.parametrize("is_first", [True, False], ids=["first write", "later write"])
@pytest.mark.parametrize(
    ("fault", "where"),
    [
        (lose_data, (BLOCK,)),
        (lose_entries, (BLOCK,)),
        (tear_data, (BLOCK,)),
        (misdirect_data, (BLOCK, BLOCK + BLOCK_BYTES)),
        (misdirect_entries, (BLOCK,)),
    ],
)
async def test_faulty_write_is_found_by_the_next_life(
    fault: Callable[[int, Buffer], tuple[int, Buffer] | None], where: tuple[int, ...], is_first: bool
) -> None:
    file = MemoryFile()
    async with running(file) as store:
        if not is_first:
            await store.write(BLOCK, b"o" * BLOCK_BYTES)
        file.falsify = fault
        await store.write(BLOCK, b"n" * BLOCK_BYTES)
        file.falsify = None
        await store.close_extents()
    store = await opened(file)
    assert await damaged(store, 0, GROUP_BYTES) == where


async def test_group_that_was_written_whole_to_another_place_is_found_at_both() -> None:
    """Data and entries together, so that nothing but the address tells."""
    file = MemoryFile()
    async with running(file) as store:
        for group in range(2):
            await store.write(group * GROUP_BYTES, Random(group).randbytes(GROUP_BYTES))
        await store.close_extents()
    whole = PAGE_BYTES + GROUP_BYTES
    first, second = (slice(at, at + whole) for at in map(LAYOUT.entry_page_offset, range(2)))
    file.content[second] = file.content[first]
    assert await damaged(await opened(file), GROUP_BYTES, GROUP_BYTES) == tuple(
        range(GROUP_BYTES, 2 * GROUP_BYTES, BLOCK_BYTES)
    )


@pytest.mark.parametrize("offset", [0, BLOCK, GROUP_BYTES - BLOCK_BYTES, GROUP_BYTES, LAST])
async def test_bit_rot_is_found_named_survived_and_repaired(offset: int) -> None:
    file = MemoryFile()
    content = Random(1).randbytes(SIZE_BYTES)
    async with running(file) as store:
        await store.write(0, content)
        file.content[LAYOUT.file_offset(offset) + 50] ^= 4
        assert await damaged(store, 0, SIZE_BYTES) == (offset,)
        assert await damaged(store, offset + 60) == (offset,)
        with pytest.raises(DamagedBlockError):
            await store.write(offset + 10, b"a part of it")
        beside = (offset + BLOCK_BYTES) % LAST
        await store.write(beside, content[beside : beside + 10])
        size = LAYOUT.block_bytes(offset // BLOCK_BYTES)
        await store.repair(offset, content[offset : offset + size])
        assert await store.read(0, SIZE_BYTES) == content
        await store.close_extents()
    assert await (await opened(file)).read(0, SIZE_BYTES) == content


async def test_several_damaged_blocks_are_all_named() -> None:
    file = MemoryFile()
    async with running(file) as store:
        await store.write(0, b"x" * SIZE_BYTES)
        where = (BLOCK_BYTES, GROUP_BYTES, 2 * GROUP_BYTES + BLOCK_BYTES)
        for offset in where:
            file.content[LAYOUT.file_offset(offset)] ^= 1
        assert await damaged(store, 0, SIZE_BYTES) == where
        assert len(await store.read(2 * BLOCK_BYTES, GROUP_BYTES - 2 * BLOCK_BYTES)) == GROUP_BYTES - 2 * BLOCK_BYTES


async def test_damage_refuses_one_write_of_a_batch_and_no_other() -> None:
    file = MemoryFile()
    async with running(file) as store:
        await store.write(0, b"x" * SIZE_BYTES)
        file.content[LAYOUT.file_offset(BLOCK)] ^= 1
        refused: list[DamagedBlockError] = []

        async def fail_to_write() -> None:
            try:
                await store.write(BLOCK + 1, b"y")
            except DamagedBlockError as error:
                refused.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.write, 3, b"z")
            nursery.start_soon(fail_to_write)
            nursery.start_soon(store.write, 4, b"z")
        assert [error.offsets for error in refused] == [(BLOCK,)]
        assert await store.read(2, 4) == b"xzzx"


async def test_write_that_nobody_waits_for_is_told_of_the_damage_that_it_met() -> None:
    file = MemoryFile()
    async with running(file) as store:
        await store.write(0, b"x" * BLOCK_BYTES)
        file.content[LAYOUT.file_offset(0)] ^= 1
        told: list[DamagedBlockError | None] = []
        assert store.write_nowait(1, b"y", told.append)
        await trio.testing.wait_all_tasks_blocked()
        (damage,) = told
        assert damage is not None
        assert damage.offsets == (0,)


async def test_whole_block_that_is_written_over_heals_it() -> None:
    file = MemoryFile()
    async with running(file) as store:
        await store.write(BLOCK, b"x" * BLOCK_BYTES)
        file.content[LAYOUT.file_offset(BLOCK)] ^= 1
        await store.write(BLOCK, b"y" * BLOCK_BYTES)
        assert await store.read(BLOCK, 1) == b"y"


@pytest.mark.parametrize(("offset", "size"), [(1, BLOCK_BYTES - 1), (0, BLOCK_BYTES - 1), (LAST, 99)])
async def test_repair_of_a_part_of_a_block_is_refused(offset: int, size: int) -> None:
    async with running(MemoryFile()) as store:
        with pytest.raises(InvalidError, match="only whole blocks"):
            await store.repair(offset, bytes(size))


async def test_place_that_cannot_be_read_is_damage_until_it_is_written() -> None:
    file = MemoryFile()
    content = Random(1).randbytes(SIZE_BYTES)
    async with running(file) as store:
        await store.write(0, content)
        file.unreadable |= {LAYOUT.file_offset(BLOCK), LAYOUT.file_offset(GROUP_BYTES)}
        assert await damaged(store, 0, SIZE_BYTES) == (BLOCK, GROUP_BYTES)
        assert await store.read(0, BLOCK) == content[:BLOCK]
        with pytest.raises(DamagedBlockError):
            await store.write(BLOCK + 10, b"a part of it")
        await store.repair(BLOCK, content[BLOCK : BLOCK + BLOCK_BYTES])
        await store.write(GROUP_BYTES, content[GROUP_BYTES : GROUP_BYTES + BLOCK_BYTES])
        assert await store.read(0, SIZE_BYTES) == content


async def test_block_that_was_never_written_and_cannot_be_read_is_no_zeros() -> None:
    file = MemoryFile()
    async with running(file) as store:
        file.unreadable.add(LAYOUT.file_offset(BLOCK))
        assert await damaged(store, BLOCK) == (BLOCK,)


@pytest.mark.parametrize("is_readable", [True, False])
async def test_blocks_whose_checksums_are_lost_are_damaged_each_until_it_is_written(is_readable: bool) -> None:
    file = MemoryFile()
    content = Random(1).randbytes(SIZE_BYTES)
    async with running(file) as store:
        await store.write(0, content)
        await store.close_extents()
    page = LAYOUT.entry_page_offset(1)
    if is_readable:
        file.content[page : page + PAGE_BYTES] = b"\xa5" * PAGE_BYTES
    else:
        file.unreadable.add(page)
    async with running(file) as store:
        every = range(GROUP_BYTES, 2 * GROUP_BYTES, BLOCK_BYTES)
        assert await damaged(store, 0, SIZE_BYTES) == tuple(every)
        await store.repair(GROUP_BYTES, content[GROUP_BYTES : GROUP_BYTES + BLOCK_BYTES])
        assert await damaged(store, 0, SIZE_BYTES) == tuple(every[1:])
        await store.repair(GROUP_BYTES, content[GROUP_BYTES : 2 * GROUP_BYTES])
        assert await store.read(0, SIZE_BYTES) == content


async def test_what_cannot_be_read_is_never_resealed() -> None:
    file = MemoryFile()
    async with running(file) as store:
        await store.write(0, b"x" * SIZE_BYTES)
    file.unreadable |= {LAYOUT.file_offset(BLOCK), LAYOUT.entry_page_offset(1)}
    file.content[LAYOUT.file_offset(2 * BLOCK)] ^= 1
    store = await opened(file)
    assert (await store.recover()).resealed == (2 * BLOCK,)
    assert await damaged(store, 0, GROUP_BYTES) == (BLOCK,)
    assert len(await damaged(store, GROUP_BYTES, GROUP_BYTES)) == GROUP_BYTES // BLOCK_BYTES


async def test_a_repair_opens_no_extent_and_a_write_beside_it_does() -> None:
    """A block of an open extent is taken as it is after a crash: half of a repair must not be."""
    file = MemoryFile()
    async with running(file) as store:
        await store.repair(0, bytes(BLOCK_BYTES))
        assert (await opened(file)).crash_extents == ()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.repair, 0, bytes(BLOCK_BYTES))
            nursery.start_soon(store.write, GROUP_BYTES, b"x")
        assert (await opened(file)).crash_extents == ((GROUP_BYTES, GROUP_BYTES),)


@pytest.mark.parametrize(
    ("offsets", "run"),
    [
        ((0,), (0, BLOCK_BYTES)),
        ((BLOCK_BYTES, 2 * BLOCK_BYTES, 4 * BLOCK_BYTES), (BLOCK_BYTES, 2 * BLOCK_BYTES)),
        ((LAST - BLOCK_BYTES, LAST), (LAST - BLOCK_BYTES, SIZE_BYTES - LAST + BLOCK_BYTES)),
    ],
)
def test_the_first_run_of_damaged_blocks(offsets: tuple[int, ...], run: tuple[int, int]) -> None:
    assert first_run(offsets, SIZE_BYTES) == run


async def test_epoch_of_a_write_is_that_of_the_metadata_persisted_last() -> None:
    file = MemoryFile()
    async with running(file) as store:
        for epoch in (5, 9):
            await store.persist(attrs.evolve(METADATA, epoch=epoch))
            await store.write(epoch * BLOCK_BYTES, b"x")
    for epoch in (5, 9):
        entry = LAYOUT.entry_page_offset(0) + epoch * 16
        assert int.from_bytes(file.content[entry : entry + 8], "little") == epoch


async def test_read_beside_a_write_sees_no_damage() -> None:
    """Half of the write is in the file, and its entries are not known yet."""
    file = MemoryFile()
    async with running(file) as store:
        await store.write(0, b"o" * (2 * BLOCK_BYTES))
        file.gate = trio.Event()
        found: list[bytes] = []

        async def read() -> None:
            found.append(await store.read(0, 2 * BLOCK_BYTES))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.write, 0, b"n" * (2 * BLOCK_BYTES))
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            assert await store.read(GROUP_BYTES, 10) == bytes(10)
            file.gate.set()
            file.gate = None
        assert found == [b"n" * (2 * BLOCK_BYTES)]


@attrs.define(eq=False)
class CountedFile(MemoryFile):
    """Keeps how many places each call reads."""

    reads: list[int] = attrs.field(factory=list)

    async def pread_all(self, places: Sequence[tuple[int, int]]) -> list[bytes]:
        self.reads.append(len(places))
        return [await self.pread(offset, size) for offset, size in places]


async def test_ranges_read_together_take_one_call_and_each_has_its_own_outcome() -> None:
    file = CountedFile()
    async with running(file) as store:
        for offset in (0, GROUP_BYTES, GROUP_BYTES + BLOCK_BYTES):
            await store.write(offset, bytes([offset % 251]) * BLOCK_BYTES)
        await store.close_extents()
    file.content[LAYOUT.file_offset(GROUP_BYTES) + 5] ^= 1
    ranges = [(10, 20), (GROUP_BYTES, BLOCK_BYTES), (GROUP_BYTES + BLOCK_BYTES, BLOCK_BYTES), (LAST, 100)]
    whole = [bytes(20), bytes([(GROUP_BYTES + BLOCK_BYTES) % 251]) * BLOCK_BYTES, bytes(100)]
    async with running(file) as store:
        for entries_to_read in (3, 0):
            file.reads.clear()
            first, second, *rest = await store.read_all(ranges)
            assert [first, *rest] == whole
            assert isinstance(second, DamagedBlockError)
            assert second.offsets == (GROUP_BYTES,)
            assert file.reads == [len(ranges) + entries_to_read]


async def test_ranges_read_together_beside_a_write_see_no_damage() -> None:
    file = MemoryFile()
    async with running(file) as store, trio.open_nursery() as nursery:
        file.gate = gate = trio.Event()
        nursery.start_soon(store.write, 0, b"n" * (2 * BLOCK_BYTES))
        await trio.testing.wait_all_tasks_blocked()
        found: list[bytes | DamagedBlockError] = []

        async def read() -> None:
            found.extend(await store.read_all([(GROUP_BYTES, 10), (0, 2 * BLOCK_BYTES)]))

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        assert not found
        gate.set()
        file.gate = None
        await trio.testing.wait_all_tasks_blocked()
        assert found == [bytes(10), b"n" * (2 * BLOCK_BYTES)]


async def test_entries_read_beside_a_write_are_not_kept() -> None:
    """A reader that has the old entries when the new ones are written must not put them back."""
    file = MemoryFile()
    async with running(file) as store, trio.open_nursery() as nursery:
        file.read_gate = gate = trio.Event()
        nursery.start_soon(store.read, 0, 1)
        await trio.testing.wait_all_tasks_blocked()
        await store.write(0, b"n" * BLOCK_BYTES)
        gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert await store.read(0, 1) == b"n"


async def test_after_an_unclean_end_torn_blocks_in_the_log_are_resealed_and_others_are_damage() -> None:
    file = MemoryFile()
    async with running(file) as store:
        await store.write(0, b"x" * SIZE_BYTES)
        await store.close_extents()
        await store.write(GROUP_BYTES, b"y" * BLOCK_BYTES)
    for offset in (BLOCK, GROUP_BYTES, GROUP_BYTES + BLOCK):
        file.content[LAYOUT.file_offset(offset)] ^= 1
    store = await opened(file)
    assert store.crash_extents == ((GROUP_BYTES, GROUP_BYTES),)
    recovery = await store.recover()
    assert recovery.extents == store.crash_extents
    assert recovery.resealed == (GROUP_BYTES, GROUP_BYTES + BLOCK)
    assert (await store.recover()).extents == ()
    assert await store.read(GROUP_BYTES, 2) == bytes([ord("y") ^ 1]) + b"y"
    assert await damaged(store, 0, SIZE_BYTES) == (BLOCK,)
    assert list(store.dirty_ranges()) == [(GROUP_BYTES, GROUP_BYTES)]
    store.close()
    assert (await opened(file)).crash_extents == ()


async def test_torn_blocks_are_left_to_the_peers_copy_on_demand() -> None:
    file = MemoryFile()
    async with running(file) as store:
        await store.write(0, b"x" * BLOCK_BYTES)
    file.content[LAYOUT.file_offset(0)] ^= 1
    store = await opened(file)
    assert (await store.recover(reseal=False)).resealed == ()
    assert await damaged(store, 0) == (0,)
    assert list(store.dirty_ranges()) == [(0, GROUP_BYTES)]


async def test_read_waits_for_the_recovery() -> None:
    file = MemoryFile()
    async with running(file) as store:
        await store.write(0, b"x" * BLOCK_BYTES)
    file.content[LAYOUT.file_offset(0)] ^= 1
    store = await opened(file)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.read, 0, 1)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(store.run)
        with trio.fail_after(HANG_S):
            assert await store.read(1, 1) == b"x"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("lost", [0, 1])
async def test_one_page_of_the_log_is_enough(lost: int) -> None:
    file = MemoryFile()
    async with running(file) as store:
        await store.start_tracking(4)
    file.content[ACTIVITY_OFFSET + lost * PAGE_BYTES + 9] ^= 1
    store = await opened(file)
    assert (store.base_epoch, store.is_tracking) == (4, True)


async def test_log_that_cannot_be_read_is_not_taken_for_empty() -> None:
    file = MemoryFile()
    for at in (0, PAGE_BYTES):
        file.content[ACTIVITY_OFFSET + at] ^= 1
    with pytest.raises(StoreError, match="both pages of the activity log are damaged"):
        await opened(file)


async def test_bitmap_that_cannot_be_read_says_that_all_is_dirty() -> None:
    file = MemoryFile()
    async with running(file) as store:
        await store.start_tracking(4)
    file.content[BITMAP_OFFSET + 20] ^= 1
    store = await opened(file)
    assert (store.dirty_bytes, list(store.dirty_ranges())) == (SIZE_BYTES, [(0, SIZE_BYTES)])


async def test_tracking_marks_what_is_written_and_nothing_else_over_a_restart() -> None:
    file = MemoryFile()
    async with running(file) as store:
        await store.write(0, b"before")
        assert (store.base_epoch, store.is_tracking, store.dirty_bytes) == (None, False, 0)
        with pytest.raises(InvalidError, match="is not between"):
            await store.start_tracking(-1)
        await store.start_tracking(4)
        await store.write(DIRTY_BYTES, b"x")
        await store.repair(3 * DIRTY_BYTES, bytes(BLOCK_BYTES))
        await store.mark_dirty([(5 * DIRTY_BYTES, 1)])
        await store.close_extents()
    async with running(file) as store:
        assert (store.base_epoch, store.is_tracking, store.crash_extents) == (4, True, ())
        assert list(store.dirty_ranges()) == [(DIRTY_BYTES, DIRTY_BYTES), (5 * DIRTY_BYTES, DIRTY_BYTES)]
        await store.start_tracking(4)
        await store.write(SIZE_BYTES - 1, b"x")
        store.clear(DIRTY_BYTES, DIRTY_BYTES)
        tail = LAST // DIRTY_BYTES * DIRTY_BYTES
        assert list(store.dirty_ranges(1)) == [(5 * DIRTY_BYTES, DIRTY_BYTES), (tail, SIZE_BYTES - tail)]
        assert store.dirty_bytes == DIRTY_BYTES + SIZE_BYTES - tail
        await store.persist(METADATA)
        await store.close_extents()
    async with running(file) as store:
        assert [offset for offset, _ in store.dirty_ranges()] == [5 * DIRTY_BYTES, tail]
        await store.start_tracking(6)
        assert (store.base_epoch, store.dirty_bytes) == (6, 0)
        await store.write(0, b"x")
        await store.stop_tracking()
        await store.write(0, b"x")
        assert (store.base_epoch, store.is_tracking, store.dirty_bytes) == (None, False, 0)
        await store.close_extents()
    assert (await opened(file)).base_epoch is None


async def test_to_stop_where_nothing_is_counted_writes_nothing() -> None:
    """A pair does so at each flap, and clients wait behind it."""
    file = MemoryFile()
    async with running(file) as store:
        await store.write(0, b"x")
        before = bytes(file.content)
        await store.stop_tracking()
        assert file.content == before


@pytest.mark.parametrize("beside", [False, True])
async def test_a_write_that_is_refused_is_marked_before_that_is_told(beside: bool) -> None:
    """The peer may have executed it, and forgets it when that is told: a process that is killed then must not."""
    file = MemoryFile()
    told: list[tuple[DamagedBlockError | None, bytes]] = []

    def tell(refusal: DamagedBlockError | None) -> None:
        told.append((refusal, bytes(file.content)))

    async with running(file) as store:
        await store.write(0, bytes(4 * DIRTY_BYTES))
        file.content[LAYOUT.file_offset(BLOCK) + 50] ^= 4
        with pytest.raises(DamagedBlockError):
            await store.write(BLOCK + 10, b"a part of it")
        await store.start_tracking(4)
        assert store.dirty_bytes == 0, "nothing differs while both are members"
        if beside:
            assert store.write_nowait(3 * DIRTY_BYTES, b"x", lambda _: None)
        assert store.write_nowait(BLOCK + 10, bytes(DIRTY_BYTES), tell)
        await trio.testing.wait_all_tasks_blocked()
    ((refusal, content),) = told
    assert isinstance(refusal, DamagedBlockError)
    killed = await opened(MemoryFile(bytearray(content)))
    marked = [(0, 2 * DIRTY_BYTES), *([(3 * DIRTY_BYTES, DIRTY_BYTES)] if beside else [])]
    assert list(killed.dirty_ranges()) == marked


@pytest.mark.parametrize("how", ["persist", "close", "write"])
async def test_what_was_cleared_becomes_durable_with_the_next_step(how: str) -> None:
    file = MemoryFile()
    async with running(file) as store:
        await store.start_tracking(4)
        await store.write(0, b"x")
        await store.close_extents()
        store.clear(0, DIRTY_BYTES)
        match how:
            case "persist":
                await store.persist(METADATA)
            case "close":
                await store.close_extents()
            case _:
                await store.repair(GROUP_BYTES, bytes(BLOCK_BYTES))
    store = await opened(file)
    assert list(store.dirty_ranges()) == []


async def test_write_over_more_extents_than_may_be_open_is_refused() -> None:
    size_bytes = 258 * GROUP_BYTES
    file = MemoryFile(bytearray(image(METADATA, size_bytes)))
    store = await BlockStore.open(file, "file", size_bytes=size_bytes, clock=TrioClock())
    with pytest.raises(InvalidError, match="more extents than may be open"):
        await store.write(1, bytes(256 * GROUP_BYTES))


async def test_file_that_was_cut_short() -> None:
    file = MemoryFile()
    del file.content[LAYOUT.entry_page_offset(2) + 5 :]
    match = f"has {len(file.content)} bytes, of the {LAYOUT.file_bytes} with which it was made: it was cut short"
    with pytest.raises(NotWholeError, match=match):
        await opened(file)
