from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random

import attrs
import pytest
import trio
import trio.testing

from ctlha_trio._errors import ConfigError, InvalidError, StoreError
from ctlha_trio.pair import Copy, Metadata
from ctlha_trio.seams import Buffer, DiskFile
from ctlha_trio.store import BATCH_BYTES_MAX, BATCH_STEPS_MAX, BLOCK_BYTES, BlockStore, Layout, image, volume_in
from ctlha_trio.store._blocks import READS_AT_ONCE
from ctlha_trio.store._dirty_bitmap import DIRTY_BYTES
from ctlha_trio.store._layout import ACTIVITY_OFFSET, BITMAP_OFFSET, volume_bytes
from ctlha_trio.store._slots import SLOT_BYTES

SIZE_BYTES = 128 * BLOCK_BYTES + 1000
OLD = Metadata(
    cluster="cluster",
    node="a",
    resource="volume",
    lineage="lineage",
    arbiter="arbiter",
    epoch=7,
    revision=9,
    primary="b",
    members=("a", "b"),
    copy=Copy.MEMBER,
)
NEW = attrs.evolve(OLD, epoch=8, members=("a",), primary="a")
HANG_S = 10
SLOT_WRITE, LOG_WRITE, DATA_WRITE, FLUSH, READ = "slot write", "log write", "data write", "flush", "read"


@attrs.define(eq=False)
class ScriptedFile:
    """A file in memory that keeps a list of its calls, holds them at a gate, and fails on demand."""

    content: bytearray
    calls: list[str] = attrs.field(factory=list)
    batches: list[list[Buffer]] = attrs.field(factory=list)
    """The data of each data write, without the entries."""
    failing: dict[str, str] = attrs.field(factory=dict)
    """Kind of call to what it says when it fails."""
    gates: dict[str, trio.Event] = attrs.field(factory=dict)
    """Kind of call to what it waits for."""
    closed: bool = False

    @property
    def size_bytes(self) -> int:
        return len(self.content)

    @property
    def identity(self) -> str:
        return "the only one"

    async def pread(self, offset: int, size: int) -> bytes:
        await self._enter(READ)
        return bytes(self.content[offset : offset + size])

    async def pread_all(self, places: Sequence[tuple[int, int]]) -> list[bytes]:
        return [await self.pread(offset, size) for offset, size in places]

    async def pwrite(self, extents: Sequence[tuple[int, Buffer]]) -> None:
        first = extents[0][0]
        kind = SLOT_WRITE if first < ACTIVITY_OFFSET else LOG_WRITE if first < BITMAP_OFFSET else DATA_WRITE
        if kind is DATA_WRITE:
            layout = Layout(volume_bytes(self.size_bytes) or 0)
            entries = [layout.entry_page_offset(group) for group in range(layout.groups)]
            self.batches.append([data for offset, data in extents if offset not in entries])
        await self._enter(kind)
        for offset, data in extents:
            self.content[offset : offset + len(data)] = data

    async def flush(self) -> None:
        await self._enter(FLUSH)

    async def write_through(self, extents: Sequence[tuple[int, Buffer]]) -> None:
        await self.pwrite(extents)
        await self.flush()

    async def actual_bytes(self) -> int:
        return self.size_bytes

    async def stray_name(self) -> str | None:
        return None

    def unlock(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True

    async def _enter(self, kind: str) -> None:
        self.calls.append(kind)
        await trio.lowlevel.checkpoint()
        if kind in self.gates:
            await self.gates[kind].wait()
        if kind in self.failing:
            raise StoreError(self.failing[kind])


@attrs.define(eq=False)
class OneFileDisk:
    file: ScriptedFile

    async def open(self, path: str) -> DiskFile:
        await trio.lowlevel.checkpoint()
        return self.file


@attrs.define(eq=False)
class HandClock:
    at_s: float = 0.0

    def now(self) -> float:
        return self.at_s

    def boottime(self) -> float:
        return self.now()

    async def sleep_until(self, deadline_s: float) -> None:
        await trio.sleep_forever()


def new_file(size_bytes: int = SIZE_BYTES) -> ScriptedFile:
    return ScriptedFile(bytearray(image(OLD, size_bytes)))


async def opened(file: ScriptedFile, clock: HandClock | None = None) -> BlockStore:
    """A store that has written everywhere already: its extents are open, its entries in memory."""
    size_bytes = volume_bytes(file.size_bytes)
    assert size_bytes
    store = await BlockStore.open(OneFileDisk(file), "file", size_bytes=size_bytes, clock=clock or HandClock())
    for group in range(Layout(size_bytes).groups):
        await store._volume.entry_page(group)
        store._tracker._open.use([group])
    file.calls.clear()
    return store


def block(text: bytes) -> bytes:
    """A whole block, for which nothing has to be read."""
    return text.ljust(BLOCK_BYTES, b".")


@asynccontextmanager
async def callers() -> AsyncIterator[trio.Nursery]:
    """A nursery that ends: a store that forgets to wake somebody fails a test instead of hanging it."""
    with trio.fail_after(HANG_S):
        async with trio.open_nursery() as nursery:
            yield nursery


@asynccontextmanager
async def running(file: ScriptedFile) -> AsyncIterator[tuple[BlockStore, trio.Nursery]]:
    """A store whose commit loop runs, and a nursery for its callers; both are cancelled at the end."""
    store = await opened(file)
    async with callers() as nursery:
        nursery.start_soon(store.run)
        yield store, nursery
        nursery.cancel_scope.cancel()


@attrs.define(eq=False)
class Call:
    """One call in a task of its own, and how it ended."""

    returned: bool = False
    error: StoreError | None = None
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    def is_done(self) -> bool:
        return self.returned

    async def write(self, store: BlockStore, offset: int, data: Buffer) -> None:
        with self.scope:
            try:
                await store.write(offset, data)
            except StoreError as error:
                self.error = error
            else:
                self.returned = True

    async def persist(self, store: BlockStore, metadata: Metadata) -> None:
        with self.scope:
            try:
                await store.persist(metadata)
            except StoreError as error:
                self.error = error
            else:
                self.returned = True


async def start_write(nursery: trio.Nursery, store: BlockStore, offset: int, data: Buffer) -> Call:
    """Begin a write; when this returns it waits for the disk, for room, or has ended."""
    call = Call()
    nursery.start_soon(call.write, store, offset, data)
    await trio.testing.wait_all_tasks_blocked()
    return call


async def start_persist(nursery: trio.Nursery, store: BlockStore, metadata: Metadata) -> Call:
    call = Call()
    nursery.start_soon(call.persist, store, metadata)
    await trio.testing.wait_all_tasks_blocked()
    return call


async def test_new_file_is_zeros_with_its_metadata() -> None:
    store = await opened(new_file())
    assert store.metadata == OLD
    assert store.size_bytes == SIZE_BYTES
    assert await store.read(0, SIZE_BYTES) == bytes(SIZE_BYTES)


async def test_what_was_written_is_read_and_found_again() -> None:
    file = new_file()
    async with running(file) as (store, _):
        await store.write(0, b"first")
        await store.write(SIZE_BYTES - 4, memoryview(bytearray(b"last")))
        assert await store.read(0, 5) == b"first"
    assert await (await opened(file)).read(SIZE_BYTES - 4, 4) == b"last"
    assert volume_in(bytes(file.content), SIZE_BYTES)[:5] == b"first"


@pytest.mark.parametrize(("offset", "size"), [(-1, 1), (0, SIZE_BYTES + 1), (SIZE_BYTES, 1), (SIZE_BYTES - 1, 2)])
async def test_outside_the_volume_is_invalid_and_touches_nothing(offset: int, size: int) -> None:
    file = new_file()
    async with running(file) as (store, _):
        with pytest.raises(InvalidError):
            await store.read(offset, size)
        with pytest.raises(InvalidError):
            await store.write(offset, bytes(size))
        with pytest.raises(InvalidError):
            await store.read(0, -1)
        await store.write(0, block(b"alive"))
    assert file.calls == [DATA_WRITE, FLUSH]


async def test_all_that_is_queued_is_one_write_and_one_flush() -> None:
    file = new_file()
    store = await opened(file)
    async with callers() as nursery:
        calls = [await start_write(nursery, store, number * BLOCK_BYTES, block(b"x")) for number in range(100)]
        nursery.start_soon(store.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert all(call.is_done() for call in calls)
    assert file.calls == [DATA_WRITE, FLUSH]
    assert len(file.batches[0]) == 100


async def test_what_arrives_while_a_batch_is_on_the_disk_is_the_next_batch() -> None:
    file = new_file()
    async with running(file) as (store, nursery):
        file.gates[FLUSH] = trio.Event()
        first = await start_write(nursery, store, 0, block(b"1"))
        later = [await start_write(nursery, store, number * BLOCK_BYTES, block(b"x")) for number in range(1, 20)]
        assert file.calls == [DATA_WRITE, FLUSH]
        assert not first.is_done()
        file.gates[FLUSH].set()
        file.gates[FLUSH] = trio.Event()
        await trio.testing.wait_all_tasks_blocked()
        assert first.is_done()
        assert not any(call.is_done() for call in later), "answered by a flush that began before they were written"
        file.gates.pop(FLUSH).set()
        await trio.testing.wait_all_tasks_blocked()
        assert all(call.is_done() for call in later)
    assert file.calls == [DATA_WRITE, FLUSH] * 2


async def test_overlapping_writes_of_a_batch_keep_their_order() -> None:
    file = new_file()
    store = await opened(file)
    async with callers() as nursery:
        for data in (b"aaaa", b"bb", b"cccc", b"d"):
            await start_write(nursery, store, 0, data)
        nursery.start_soon(store.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert file.calls == [READ, DATA_WRITE, FLUSH]
    assert volume_in(bytes(file.content), SIZE_BYTES)[:5] == b"dccc\0"


@pytest.mark.parametrize("seed", range(20))
async def test_any_batch_leaves_what_its_writes_one_by_one_would(seed: int) -> None:
    random = Random(seed)
    size_bytes = 5 * BLOCK_BYTES + 1000
    file, expected = new_file(size_bytes), bytearray(size_bytes)
    store = await opened(file)
    async with callers() as nursery:
        for number in range(1, 30):
            offset = random.choice((random.randrange(size_bytes), random.randrange(6) * BLOCK_BYTES))
            size = random.choice((0, 1, random.randrange(2 * BLOCK_BYTES), BLOCK_BYTES, 3 * BLOCK_BYTES, size_bytes))
            data = bytes([number]) * min(size, size_bytes - offset)
            expected[offset : offset + len(data)] = data
            await start_write(nursery, store, offset, data)
        nursery.start_soon(store.run)
        await trio.testing.wait_all_tasks_blocked()
        assert file.calls.count(DATA_WRITE) == 1
        assert await store.read(0, size_bytes) == expected
        nursery.cancel_scope.cancel()
    assert await (await opened(file)).read(0, size_bytes) == expected


async def test_number_of_queued_steps_is_bounded_and_order_is_kept_beyond_it() -> None:
    file = new_file()
    store = await opened(file)
    count = 2 * BATCH_STEPS_MAX + 10
    async with callers() as nursery:
        calls = [await start_write(nursery, store, 0, block(number.to_bytes(4))) for number in range(count)]
        nursery.start_soon(store.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert all(call.is_done() for call in calls)
    assert max(len(batch) for batch in file.batches) == BATCH_STEPS_MAX
    written = [int.from_bytes(bytes(data)[:4]) for batch in file.batches for data in batch]
    assert written == list(range(count))


async def test_bytes_queued_are_bounded_and_nobody_overtakes_who_waits_for_room() -> None:
    half = BATCH_BYTES_MAX // 2 + BLOCK_BYTES
    file = new_file(BATCH_BYTES_MAX)
    store = await opened(file)
    async with callers() as nursery:
        for data in (b"1" * half, b"2" * half, b"3" * BLOCK_BYTES):
            await start_write(nursery, store, 0, data)
        nursery.start_soon(store.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    firsts = firsts_of(file)
    assert firsts[0] == [b"1"]
    assert [first for batch in firsts for first in batch] == [b"1", b"2", b"3"]


def firsts_of(file: ScriptedFile) -> list[list[bytes]]:
    """How the data of each batch begins; a write over several groups is several pieces."""
    return [list(dict.fromkeys(bytes(data)[:1] for data in batch)) for batch in file.batches]


async def test_step_larger_than_a_batch_goes_alone() -> None:
    file = new_file(2 * BATCH_BYTES_MAX)
    store = await opened(file)
    async with callers() as nursery:
        await start_write(nursery, store, 0, block(b"1"))
        large = await start_write(nursery, store, 0, b"2" * (BATCH_BYTES_MAX + BLOCK_BYTES))
        nursery.start_soon(store.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert large.is_done()
    assert firsts_of(file) == [[b"1"], [b"2"]]


async def test_cancelled_writer_abandons_the_answer_and_not_the_step() -> None:
    file = new_file()
    async with running(file) as (store, nursery):
        file.gates[DATA_WRITE] = trio.Event()
        await start_write(nursery, store, 0, block(b"on the disk"))
        buffer = bytearray(block(b"queued"))
        queued = await start_write(nursery, store, BLOCK_BYTES, buffer)
        queued.scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert queued.scope.cancelled_caught
        buffer[:] = b"reused"
        file.gates.pop(DATA_WRITE).set()
        await trio.testing.wait_all_tasks_blocked()
        assert await store.read(BLOCK_BYTES, 6) == b"queued"
        assert file.calls == [DATA_WRITE, FLUSH, DATA_WRITE, FLUSH, READ]


async def test_write_that_nobody_waits_for_is_told_of_once_it_is_durable_and_not_copied() -> None:
    file = new_file()
    told: list[object] = []
    async with running(file) as (store, _):
        file.gates[FLUSH] = trio.Event()
        data = block(b"lent")
        assert store.write_nowait(BLOCK_BYTES, memoryview(data), told.append)
        await trio.testing.wait_all_tasks_blocked()
        assert (file.calls, told) == ([DATA_WRITE, FLUSH], [])
        (written,) = file.batches[0]
        assert isinstance(written, memoryview)
        assert written.obj is data
        file.gates.pop(FLUSH).set()
        await trio.testing.wait_all_tasks_blocked()
        assert told == [None]
        assert await store.read(BLOCK_BYTES, 4) == b"lent"
    assert told == [None]


async def test_write_that_nobody_waits_for_takes_no_room_that_is_not_there_and_overtakes_nobody() -> None:
    file = new_file()
    store = await opened(file)
    told: list[object] = []
    async with callers() as nursery:
        for _ in range(BATCH_STEPS_MAX):
            assert store.write_nowait(0, block(b"full"), told.append)
        assert not store.write_nowait(0, block(b"late"), told.append)
        waiting = await start_write(nursery, store, 0, block(b"next"))
        nursery.start_soon(store.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert waiting.is_done()
    assert [bytes(data)[:4] for data in file.batches[1]] == [b"next"]
    assert told == [None] * BATCH_STEPS_MAX


async def test_write_that_nobody_waits_for_is_refused_outside_the_volume() -> None:
    store = await opened(new_file())
    with pytest.raises(InvalidError):
        store.write_nowait(SIZE_BYTES - 1, b"xx", lambda _: None)


@pytest.mark.parametrize("kind", [DATA_WRITE, FLUSH])
async def test_write_that_nobody_waits_for_is_not_told_of_by_a_store_that_dies(kind: str) -> None:
    file = new_file()
    store = await opened(file)
    file.failing[kind] = "broke"
    told: list[object] = []
    assert store.write_nowait(0, block(b"x"), told.append)
    with pytest.raises(StoreError, match="broke"):
        await store.run()
    assert told == []
    with pytest.raises(StoreError, match="broke"):
        store.write_nowait(0, block(b"x"), told.append)


async def test_writer_that_is_cancelled_for_want_of_room_writes_nothing_and_blocks_nobody() -> None:
    file = new_file()
    store = await opened(file)
    async with callers() as nursery:
        for _ in range(BATCH_STEPS_MAX):
            await start_write(nursery, store, 0, block(b"full"))
        first, second, third = [await start_write(nursery, store, 0, block(data)) for data in (b"1st", b"2nd", b"3rd")]
        first.scope.cancel()
        second.scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(store.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert third.is_done()
    assert file.batches[1] == [block(b"3rd")]


async def test_read_does_not_wait_for_the_commit_loop() -> None:
    file = new_file()
    async with running(file) as (store, nursery):
        file.gates[FLUSH] = trio.Event()
        await start_write(nursery, store, 0, block(b"x"))
        with trio.fail_after(5):
            assert len(await store.read(BLOCK_BYTES + 8, 8)) == 8


async def test_a_search_for_what_is_dirty_waits_for_every_write_before_it() -> None:
    """Who copies what it finds must not run ahead of a disk that stalls."""
    file = new_file()
    async with running(file) as (store, nursery):
        await store.start_tracking(1)
        file.gates[DATA_WRITE] = trio.Event()
        await start_write(nursery, store, 0, block(b"x"))
        found: list[tuple[tuple[int, int], ...]] = []

        async def search() -> None:
            found.append(await store.find_dirty(0, 5))

        nursery.start_soon(search)
        await trio.testing.wait_all_tasks_blocked()
        assert not found
        file.gates.pop(DATA_WRITE).set()
        await trio.testing.wait_all_tasks_blocked()
        assert found == [((0, DIRTY_BYTES),)]


async def test_reads_at_one_time_are_bounded() -> None:
    file = new_file()
    async with running(file) as (store, nursery):
        file.gates[READ] = trio.Event()
        for _ in range(READS_AT_ONCE + 5):
            nursery.start_soon(store.read, 0, 8)
        await trio.testing.wait_all_tasks_blocked()
        assert file.calls.count(READ) == READS_AT_ONCE
        with trio.fail_after(5):
            await store.write(0, block(b"not starved"))


async def test_persist_flushes_data_first_and_then_its_slot() -> None:
    file = new_file()
    store = await opened(file)
    async with callers() as nursery:
        before = await start_write(nursery, store, 0, block(b"before"))
        persisted = await start_persist(nursery, store, NEW)
        after = await start_write(nursery, store, 0, block(b"after!"))
        nursery.start_soon(store.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert before.is_done()
    assert persisted.is_done()
    assert after.is_done()
    assert file.calls == [DATA_WRITE, FLUSH, FLUSH, SLOT_WRITE, FLUSH, DATA_WRITE, FLUSH]


async def test_metadata_changes_only_once_it_is_durable() -> None:
    file = new_file()
    async with running(file) as (store, nursery):
        file.gates[SLOT_WRITE] = trio.Event()
        persisted = await start_persist(nursery, store, NEW)
        file.gates[FLUSH] = trio.Event()
        file.gates.pop(SLOT_WRITE).set()
        await trio.testing.wait_all_tasks_blocked()
        assert file.calls == [FLUSH, SLOT_WRITE, FLUSH]
        assert (store.metadata, persisted.is_done()) == (OLD, False)
        file.gates.pop(FLUSH).set()
        await trio.testing.wait_all_tasks_blocked()
        assert (store.metadata, persisted.is_done()) == (NEW, True)


async def test_persist_leaves_the_slot_that_counts_alone() -> None:
    file = new_file()
    async with running(file) as (store, _):
        for epoch in range(8, 14):
            slots = [bytes(file.content[at : at + SLOT_BYTES]) for at in (0, SLOT_BYTES)]
            await store.persist(attrs.evolve(OLD, epoch=epoch))
            now = [bytes(file.content[at : at + SLOT_BYTES]) for at in (0, SLOT_BYTES)]
            assert [old == new for old, new in zip(slots, now, strict=True)].count(False) == 1
            assert (await opened(ScriptedFile(file.content))).metadata.epoch == epoch


async def test_persist_after_a_torn_slot_writes_the_torn_one() -> None:
    file = new_file()
    file.content[SLOT_BYTES + 600] ^= 1
    async with running(file) as (store, _):
        untouched = bytes(file.content[:SLOT_BYTES])
        await store.persist(NEW)
        assert file.content[:SLOT_BYTES] == untouched
    assert (await opened(file)).metadata == NEW


async def test_cancelled_persist_is_carried_out() -> None:
    file = new_file()
    async with running(file) as (store, nursery):
        file.gates[SLOT_WRITE] = trio.Event()
        persisted = await start_persist(nursery, store, NEW)
        persisted.scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        file.gates.pop(SLOT_WRITE).set()
        await trio.testing.wait_all_tasks_blocked()
        assert store.metadata == NEW


async def test_metadata_too_large_for_a_slot_kills_nothing() -> None:
    async with running(new_file()) as (store, _):
        with pytest.raises(InvalidError):
            await store.persist(attrs.evolve(NEW, lineage="x" * 5000))
        await store.persist(NEW)


async def expect_dead(store: BlockStore, file: ScriptedFile, reason: str) -> None:
    file.failing.clear()
    file.gates.clear()
    file.calls.clear()
    with pytest.raises(StoreError, match=reason):
        await store.write(0, b"x")
    with pytest.raises(StoreError, match=reason):
        await store.read(0, 1)
    with pytest.raises(StoreError, match=reason):
        await store.persist(NEW)
    with pytest.raises(StoreError, match=reason):
        await store.run()
    assert file.calls == [], "something was tried again"


@pytest.mark.parametrize("kind", [DATA_WRITE, FLUSH])
async def test_first_disk_error_kills_the_store_for_everybody(kind: str) -> None:
    file = new_file()
    store = await opened(file)
    file.gates[kind] = trio.Event()
    file.failing[kind] = f"the first {kind} broke"

    async def commit() -> None:
        with pytest.raises(StoreError, match=f"the first {kind} broke"):
            await store.run()

    async with callers() as nursery:
        nursery.start_soon(commit)
        calls = [await start_write(nursery, store, 0, block(b"x")) for _ in range(BATCH_STEPS_MAX + 10)]
        calls.append(await start_persist(nursery, store, NEW))
        assert not any(call.error for call in calls)
        file.gates[kind].set()
    assert len(calls) == BATCH_STEPS_MAX + 11
    for call in calls:
        assert f"the first {kind} broke" in str(call.error)
    assert store.metadata == OLD
    await expect_dead(store, file, f"the first {kind} broke")


@pytest.mark.parametrize("flushes_before", [0, 1])
async def test_failing_persist_kills_the_store_and_keeps_the_old_metadata(flushes_before: int) -> None:
    file = new_file()
    store = await opened(file)
    async with callers() as nursery:
        file.gates[SLOT_WRITE if flushes_before else FLUSH] = trio.Event()
        persisted = Call()
        nursery.start_soon(persisted.persist, store, NEW)

        async def commit() -> None:
            with pytest.raises(StoreError, match="flush broke"):
                await store.run()

        nursery.start_soon(commit)
        await trio.testing.wait_all_tasks_blocked()
        file.failing[FLUSH] = "flush broke"
        for gate in file.gates.values():
            gate.set()
    assert "flush broke" in str(persisted.error)
    assert store.metadata == OLD
    await expect_dead(store, file, "flush broke")


async def test_failing_read_kills_the_store_under_a_running_write() -> None:
    file = new_file()
    store = await opened(file)

    async def commit() -> None:
        with pytest.raises(StoreError, match="bad sector"):
            await store.run()

    async with callers() as nursery:
        nursery.start_soon(commit)
        file.gates[DATA_WRITE] = trio.Event()
        on_the_disk = await start_write(nursery, store, 0, block(b"x"))
        queued = await start_write(nursery, store, BLOCK_BYTES, block(b"x"))
        file.failing[READ] = "bad sector"
        with pytest.raises(StoreError, match="bad sector"):
            await store.read(0, 1)
        await trio.testing.wait_all_tasks_blocked()
        assert on_the_disk.error is not None
        assert queued.error is not None
        file.gates[DATA_WRITE].set()
    assert file.calls == [DATA_WRITE, READ, FLUSH], "more than the call under way was still tried"
    await expect_dead(store, file, "bad sector")


async def test_read_that_ends_after_the_store_died_is_not_believed() -> None:
    file = new_file()
    store = await opened(file)
    file.gates[READ] = trio.Event()

    async def read() -> None:
        with pytest.raises(StoreError, match="it was closed"):
            await store.read(0, 1)

    async with callers() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        store.close()
        file.gates[READ].set()


async def test_failing_read_ends_an_idle_commit_loop() -> None:
    file = new_file()
    store = await opened(file)
    file.failing[READ] = "bad sector"

    async def fail_to_read() -> None:
        with pytest.raises(StoreError, match="bad sector"):
            await store.read(0, 1)

    async with callers() as nursery:
        nursery.start_soon(fail_to_read)
        with pytest.raises(StoreError, match="bad sector"), trio.fail_after(5):
            await store.run()


async def test_first_error_is_the_one_that_is_named() -> None:
    file = new_file()
    store = await opened(file)
    file.failing = {READ: "the first"}
    with pytest.raises(StoreError, match="the first"):
        await store.read(0, 1)
    store.close()
    await expect_dead(store, file, "the first")


async def test_end_of_the_commit_loop_is_the_end_of_the_store() -> None:
    file = new_file()
    store = await opened(file)
    file.gates[FLUSH] = trio.Event()
    async with callers() as nursery:
        scope = trio.CancelScope()

        async def commit() -> None:
            with scope:
                await store.run()

        nursery.start_soon(commit)
        on_the_disk = await start_write(nursery, store, 0, block(b"x"))
        queued = await start_write(nursery, store, BLOCK_BYTES, block(b"x"))
        scope.cancel()
    assert on_the_disk.error is not None
    assert queued.error is not None
    await expect_dead(store, file, "its commit loop ended")


async def test_close_wakes_everybody_and_gives_the_file_up() -> None:
    file = new_file()
    store = await opened(file)
    async with callers() as nursery:
        waiting = await start_write(nursery, store, 0, b"x")
        store.close()
        store.close()
    assert waiting.error is not None
    assert file.closed
    await expect_dead(store, file, "it was closed")


async def test_oldest_call_is_that_of_the_disk_call_still_running() -> None:
    file, clock = new_file(), HandClock()
    store = await opened(file, clock)
    async with callers() as nursery:
        nursery.start_soon(store.run)
        await trio.testing.wait_all_tasks_blocked()
        seen = [store.oldest_call_s]
        file.gates = {READ: trio.Event(), DATA_WRITE: trio.Event()}
        clock.at_s = 1.0
        nursery.start_soon(store.read, 0, 8)
        await trio.testing.wait_all_tasks_blocked()
        clock.at_s = 2.0
        await start_write(nursery, store, 0, block(b"x"))
        seen.append(store.oldest_call_s)
        file.gates[READ].set()
        await trio.testing.wait_all_tasks_blocked()
        seen.append(store.oldest_call_s)
        file.gates[DATA_WRITE].set()
        await trio.testing.wait_all_tasks_blocked()
        seen.append(store.oldest_call_s)
        nursery.cancel_scope.cancel()
    assert seen == [None, 1.0, 2.0, None]


async def test_failed_and_cancelled_calls_do_not_count_as_running() -> None:
    file = new_file()
    store = await opened(file)
    file.gates[READ] = trio.Event()
    with trio.CancelScope() as scope:
        scope.cancel()
        await store.read(0, 1)
    assert store.oldest_call_s is None
    file.failing[READ] = "bad sector"
    file.gates.clear()
    with pytest.raises(StoreError):
        await store.read(0, 1)
    assert store.oldest_call_s is None


async def open_fails(file: ScriptedFile, size_bytes: int, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        await BlockStore.open(OneFileDisk(file), "file", size_bytes=size_bytes, clock=HandClock())
    assert file.closed


@pytest.mark.parametrize("configured", [SIZE_BYTES - 1, SIZE_BYTES + 1, Layout(SIZE_BYTES).file_bytes])
async def test_size_that_differs_from_the_files_names_both(configured: int) -> None:
    match = rf"file: volume\.size_bytes: says {configured}, and the volume was made with {SIZE_BYTES} bytes"
    await open_fails(new_file(), configured, ConfigError, match)


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"x" * Layout(SIZE_BYTES).file_bytes])
async def test_file_that_is_not_ours(content: bytes) -> None:
    await open_fails(ScriptedFile(bytearray(content)), SIZE_BYTES, ConfigError, "is not a ctlha volume")


async def test_both_slots_damaged() -> None:
    file = new_file()
    file.content[100] ^= 1
    file.content[SLOT_BYTES + 100] ^= 1
    await open_fails(file, SIZE_BYTES, StoreError, "both metadata slots are damaged")


async def test_disk_error_while_opening() -> None:
    file = new_file()
    file.failing[READ] = "bad sector"
    await open_fails(file, SIZE_BYTES, StoreError, "bad sector")
