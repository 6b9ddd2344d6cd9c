"""What was told to be damaged is never made whole by a start, and what is whole is never damaged for good."""

from collections.abc import Awaitable, Callable
from itertools import product
from pathlib import Path

import pytest
import trio
from hypothesis import given, strategies as st
from trio.testing import wait_all_tasks_blocked

from ctlha_trio._errors import DamagedBlockError
from ctlha_trio.pair import Copy, Metadata
from ctlha_trio.seams import ThreadDisk, TrioClock
from ctlha_trio.store import (
    BLOCK_BYTES,
    GROUP_BYTES,
    BlockStore,
    Layout,
    create_store_file,
    image,
    read_volume,
    salvage_copy,
)
from ctlha_trio.store._activity_log import (
    EXTENTS_OPEN_MAX,
    ActivityPage,
    choose_activity,
    decode_activity,
    encode_activity,
)
from ctlha_trio.store._known_damage import NO_DAMAGE, RUNS_MAX, KnownDamage, blocks_in
from ctlha_trio.store._layout import ACTIVITY_OFFSET, PAGE_BYTES, RECORDS_OFFSET
from ctlha_trio.store._write_tracker import WriteTracker
from ctlha_trio.testing import CallKind, Moment, PowerCut, PowerDisk
from ctlha_trio.testing._power.states import enumerate_states

SIZE_BYTES = 2 * GROUP_BYTES
LAYOUT = Layout(SIZE_BYTES)
METADATA = Metadata(
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
OLD, GOOD, NEW = (bytes([each]) * BLOCK_BYTES for each in b"ogn")
FAR = 9 * BLOCK_BYTES

Life = Callable[[BlockStore], Awaitable[None]]


async def opened(disk: PowerDisk) -> BlockStore:
    return await BlockStore.open(disk, "file", size_bytes=SIZE_BYTES, clock=TrioClock())


async def live(disk: PowerDisk, life: Life) -> None:
    store = await opened(disk)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run)
        await life(store)
        nursery.cancel_scope.cancel()
    store.close()


async def decayed() -> PowerDisk:
    """The first block holds ``GOOD`` but for two bits that have flipped since, in two of its sectors."""
    disk = PowerDisk({"file": image(METADATA, SIZE_BYTES)})

    async def write(store: BlockStore) -> None:
        await store.write(0, GOOD)
        await store.write(GROUP_BYTES, OLD)
        await store.close_extents()

    await live(disk, write)
    disk = PowerDisk({"file": disk.content("file")})
    for byte in (100, 3000):
        disk.decay("file", LAYOUT.file_offset(byte))
    return disk


async def meet(store: BlockStore) -> None:
    with pytest.raises(DamagedBlockError):
        await store.read(0, 1)


async def write_beside(store: BlockStore) -> None:
    """A write into the same extent."""
    await store.write(FAR, NEW)


async def found(disk: PowerDisk, offset: int = 0) -> bytes | None:
    """What the next life reads there, once it has recovered; None for a block that is damaged."""
    store = await opened(disk)
    try:
        await store.recover()
        return await store.read(offset, BLOCK_BYTES)
    except DamagedBlockError:
        return None
    finally:
        store.close()


def killed(disk: PowerDisk) -> PowerDisk:
    return PowerDisk({"file": disk.content("file")})


def known(disk: PowerDisk) -> KnownDamage:
    return choose_activity("file", disk.content("file")[ACTIVITY_OFFSET:RECORDS_OFFSET]).damage


def pages(path: str) -> tuple[bytes, bytes]:
    raw = Path(path).read_bytes()[ACTIVITY_OFFSET:RECORDS_OFFSET]
    return raw[:PAGE_BYTES], raw[PAGE_BYTES:]


async def read(store: BlockStore) -> None:
    await meet(store)


async def read_several(store: BlockStore) -> None:
    _, error = await store.read_all([(FAR, 10), (0, BLOCK_BYTES)])
    assert isinstance(error, DamagedBlockError)


async def write_a_part(store: BlockStore) -> None:
    with pytest.raises(DamagedBlockError):
        await store.write(10, b"part")


async def write_a_part_at_once(store: BlockStore) -> None:
    told = list[DamagedBlockError | None]()
    async with trio.open_nursery() as nursery:
        store.write_nowait(10, b"part", told.append, nursery)
        await store.wait_for_calls()
        await store.mark_dirty([])
    assert isinstance(told[0], DamagedBlockError)


@pytest.mark.parametrize("tell", [read, read_several, write_a_part, write_a_part_at_once])
async def test_what_was_told_stays_damaged_over_any_number_of_lives(tell: Life) -> None:
    async def life(store: BlockStore) -> None:
        await tell(store)
        await write_beside(store)

    disk = await decayed()
    for _ in range(3):
        await live(disk, life)
        disk = killed(disk)
        assert await found(killed(disk)) is None


async def test_what_nobody_was_told_of_is_sealed_in_an_open_extent() -> None:
    disk = await decayed()
    await live(disk, write_beside)
    assert await found(killed(disk)) not in {None, GOOD}


async def cut_everywhere(life: Life, base: Callable[[], Awaitable[PowerDisk]] = decayed) -> set[bytes | None]:
    """What the first block is after a cut at each call of a life, in each state."""
    disk = await base()
    before = len(disk.calls)
    await live(disk, life)
    after: set[bytes | None] = set()
    for number in range(before + 1, len(disk.calls) + 1):
        for moment in Moment:
            cut = await base()
            cut.cut_at(number, moment)
            with pytest.raises((PowerCut, BaseExceptionGroup)):
                await live(cut, life)
            after |= {await found(cut.after_cut(loss)) for loss in cut.outcomes()}
    return after


async def told_in_an_open_extent() -> PowerDisk:
    """As a killed process has left it that has told of the block, and was writing beside it."""
    disk = await decayed()

    async def life(store: BlockStore) -> None:
        await meet(store)
        await write_beside(store)

    await live(disk, life)
    return killed(disk)


async def test_a_repair_that_is_cut_in_an_open_extent_leaves_the_block_repaired_or_damaged() -> None:
    async def life(store: BlockStore) -> None:
        await write_beside(store)
        await store.repair(0, GOOD)
        await write_beside(store)

    assert await cut_everywhere(life, told_in_an_open_extent) == {GOOD, None}


async def test_a_repair_of_a_block_that_was_not_met_leaves_it_as_it_was_or_repaired_or_damaged() -> None:
    async def base() -> PowerDisk:
        disk = PowerDisk({"file": image(METADATA, SIZE_BYTES)})
        await live(disk, lambda store: store.write(0, OLD))
        return killed(disk)

    async def life(store: BlockStore) -> None:
        await write_beside(store)
        await store.repair(0, GOOD)

    assert await cut_everywhere(life, base) == {OLD, GOOD, None}


async def test_a_block_that_was_healed_is_torn_as_any_other_by_the_next_write() -> None:
    """It is known no more before that begins: a power cut is no damage of what was whole."""

    async def base() -> PowerDisk:
        disk = await told_in_an_open_extent()
        await live(disk, lambda store: store.write(0, OLD))
        assert known(disk) == NO_DAMAGE
        return killed(disk)

    async def life(store: BlockStore) -> None:
        await store.write(0, NEW)

    after = await cut_everywhere(life, base)
    assert None not in after
    assert {OLD, NEW} < after


async def test_a_block_that_is_healed_by_a_small_write_at_once_is_named_no_more() -> None:
    async def life(store: BlockStore) -> None:
        await write_beside(store)
        await wait_all_tasks_blocked()
        ended = trio.Event()
        async with trio.open_nursery() as nursery:
            assert store.write_nowait(0, NEW, lambda _: ended.set(), nursery)
            await ended.wait()

    disk = await told_in_an_open_extent()
    await live(disk, life)
    assert known(disk) == NO_DAMAGE
    assert await found(disk) == NEW


@pytest.mark.parametrize("data", [NEW, NEW[:100]])
async def test_a_block_that_is_whole_after_all_is_torn_as_any_other(data: bytes) -> None:
    """It could not be read for a while."""

    async def base() -> PowerDisk:
        disk = PowerDisk({"file": image(METADATA, SIZE_BYTES)})
        await live(disk, lambda store: store.write(0, OLD))
        disk = killed(disk)
        disk.lose_sector("file", LAYOUT.file_offset(0))

        async def life(store: BlockStore) -> None:
            await meet(store)
            await store.close_extents()

        await live(disk, life)
        disk.find_sector("file", LAYOUT.file_offset(0))
        assert known(disk) == KnownDamage(frozenset({0}))
        return killed(disk)

    async def life(store: BlockStore) -> None:
        await store.write(0, data)

    after = await cut_everywhere(life, base)
    assert None not in after
    assert {OLD, data + OLD[len(data) :]} <= after


async def test_a_write_over_what_is_damaged_leaves_it_damaged_or_new() -> None:
    async def life(store: BlockStore) -> None:
        await write_beside(store)
        await store.write(0, NEW)

    assert await cut_everywhere(life, told_in_an_open_extent) == {NEW, None}


async def test_what_is_told_while_it_is_about_to_be_dropped_stays_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was written whole, and has decayed again before the page says so."""
    disk, write = await told_in_an_open_extent(), WriteTracker._write

    async def life(store: BlockStore) -> None:
        async def meet_first(self: WriteTracker, page: ActivityPage) -> None:
            if not page.damage.blocks and self.page.damage.blocks:
                for byte in (100, 3000):
                    disk.decay("file", LAYOUT.file_offset(byte))
                nursery.start_soon(meet, store)
                await wait_all_tasks_blocked()
            await write(self, page)

        async with trio.open_nursery() as nursery:
            monkeypatch.setattr(WriteTracker, "_write", meet_first)
            await store.write(0, NEW)
        await write_beside(store)

    await live(disk, life)
    assert known(disk).blocks == {0}
    assert await found(killed(disk)) is None


async def test_nobody_is_told_of_damage_by_a_name_that_is_still_being_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss of power may take that name, and the next start then seals what the second one was told to be lost."""
    disk, write, told, early = await decayed(), WriteTracker._write, list[int](), list[int]()

    async def life(store: BlockStore) -> None:
        async def meet_and_note(number: int) -> None:
            await meet(store)
            told.append(number)

        async def meet_meanwhile(self: WriteTracker, page: ActivityPage) -> None:
            if page.damage.blocks and not self.page.damage.blocks:
                nursery.start_soon(meet_and_note, 2)
                await wait_all_tasks_blocked()
                early.extend(told)
            await write(self, page)

        async with trio.open_nursery() as nursery:
            monkeypatch.setattr(WriteTracker, "_write", meet_meanwhile)
            await meet_and_note(1)

    await live(disk, life)
    assert (early, sorted(told)) == ([], [1, 2])
    assert known(disk).blocks == {0}


async def test_a_block_that_is_known_and_whole_in_an_open_extent_is_known_no_more_after_a_start() -> None:
    disk = await told_in_an_open_extent()
    disk.put("file", LAYOUT.file_offset(0), GOOD)
    assert known(disk).blocks == {0}
    assert await found(disk) == GOOD
    assert known(disk) == NO_DAMAGE


async def test_a_page_that_a_killed_process_left_unflushed_is_not_torn_with_the_other_one() -> None:
    """The killed one was about to say that a block is whole, with no extent open; the next one then opens an extent."""

    async def life(store: BlockStore) -> None:
        await store._loop.know_damage(range(2, SIZE_BYTES // BLOCK_BYTES, 2))  # a page of several sectors
        await store.repair(2 * BLOCK_BYTES, GOOD)

    calm = await decayed()
    await live(calm, life)
    last_write = max(n for n, call in enumerate(calm.calls, 1) if call.kind is CallKind.WRITE)
    killed_one = await decayed()
    killed_one.cut_at(last_write, Moment.AFTER)
    with pytest.raises((PowerCut, BaseExceptionGroup)):
        await live(killed_one, life)

    async def inherit() -> PowerDisk:
        disk = PowerDisk({"file": killed_one.durable_content("file")})
        file = await disk.open("file")
        await file.pwrite([(write.offset, write.data) for write in killed_one.pending])
        file.close()
        return disk

    heir = await inherit()
    before = len(heir.calls)
    await live(heir, write_beside)
    for number, moment in product(range(before + 1, len(heir.calls) + 1), Moment):
        heir = await inherit()
        heir.cut_at(number, moment)
        with pytest.raises((PowerCut, BaseExceptionGroup)):
            await live(heir, write_beside)
        for loss in enumerate_states(heir.durable_content("file"), heir.pending).losses:
            assert await found(heir.after_cut(loss), 2 * BLOCK_BYTES) in {GOOD, None}


async def test_healthy_writes_and_reads_cost_what_they_did() -> None:
    disk = await told_in_an_open_extent()
    store = await opened(disk)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run)
        await write_beside(store)
        flushes, reads = disk.count(CallKind.FLUSH), disk.count(CallKind.READ)
        for _ in range(5):
            await write_beside(store)
            await meet(store)
        assert disk.count(CallKind.FLUSH) == flushes + 5
        assert disk.count(CallKind.READ) == reads + 5
        nursery.cancel_scope.cancel()
    store.close()


async def test_damage_that_has_no_room_is_sealed_nowhere() -> None:
    disk = await decayed()

    async def life(store: BlockStore) -> None:
        await store._loop.know_damage(range(GROUP_BYTES // BLOCK_BYTES, 10**6, 2))
        await meet(store)
        await write_beside(store)

    await live(disk, life)
    assert known(disk) == KnownDamage(overflowed=True)
    assert await found(killed(disk)) is None


def test_a_copy_of_the_volume_leaves_out_what_is_known_to_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "file"

    async def make(*, tells: bool) -> None:
        disk = await (told_in_an_open_extent() if tells else decayed())
        if not tells:
            await live(disk, write_beside)
        path.write_bytes(disk.content("file"))

    trio.run(lambda: make(tells=False))
    assert len(list(read_volume(str(path), size_bytes=SIZE_BYTES))) == LAYOUT.groups
    trio.run(lambda: make(tells=True))
    with pytest.raises(DamagedBlockError):
        list(read_volume(str(path), size_bytes=SIZE_BYTES))


async def test_a_salvaged_copy_keeps_what_was_known_and_what_was_found(tmp_path: Path) -> None:
    path = str(tmp_path / "volume")
    create_store_file(path, METADATA, SIZE_BYTES, [GOOD])
    store = await BlockStore.open(ThreadDisk(), path, size_bytes=SIZE_BYTES, clock=TrioClock())
    await store._loop.know_damage({7})
    store.close()
    salvage_copy(path, METADATA, size_bytes=SIZE_BYTES, damaged=[(0, BLOCK_BYTES)])
    for page in pages(path):
        decoded = decode_activity(page)
        assert decoded is not None
        assert decoded.damage == KnownDamage(frozenset({0, 7}))


def test_a_copy_of_which_most_is_lost_is_salvaged_without_a_number_for_each_block(tmp_path: Path) -> None:
    """The record names it by then: it must not take more memory than there is."""
    path = str(tmp_path / "volume")
    create_store_file(path, METADATA, SIZE_BYTES, [GOOD])
    salvage_copy(path, METADATA, size_bytes=SIZE_BYTES, damaged=[(0, 1 << 60)])
    assert {decode_activity(page) for page in pages(path)} == {
        ActivityPage(generation, None, False, (), KnownDamage(overflowed=True)) for generation in (1, 2)
    }


@given(st.sets(st.integers(0, 2**40 - 1)), st.booleans(), st.integers(0, EXTENTS_OPEN_MAX))
def test_what_is_known_comes_back(blocks: set[int], overflowed: bool, extents: int) -> None:
    damage = KnownDamage(frozenset(blocks), overflowed)
    page = ActivityPage(7, 3, True, tuple(range(extents)), damage)
    assert decode_activity(encode_activity(page)) == page
    assert page.succeed([1]).damage == damage


def test_a_full_page_has_room_for_all() -> None:
    damage = NO_DAMAGE.add(range(0, 2 * RUNS_MAX, 2))
    assert len(damage.blocks) == RUNS_MAX
    page = ActivityPage(7, None, False, tuple(range(EXTENTS_OPEN_MAX)), damage)
    assert len(encode_activity(page)) == PAGE_BYTES
    assert decode_activity(encode_activity(page)) == page
    more = damage.add({5000})
    assert (more.blocks, more.overflowed) == (damage.blocks, True)
    assert more.covers({123456})
    assert more.remove(damage.blocks) == KnownDamage(overflowed=True)
    assert damage.add({1}).blocks == damage.blocks | {1}, "blocks that adjoin each other take no more room"


def test_a_run_that_falls_apart_and_has_no_room_is_safe() -> None:
    damage = NO_DAMAGE.add(range(4 * RUNS_MAX)).remove(range(1, 4 * RUNS_MAX, 2))
    assert damage == KnownDamage(overflowed=True)


def test_blocks_of_ranges() -> None:
    assert [*blocks_in([(0, 0), (10, 1), (BLOCK_BYTES - 1, 2), (3 * BLOCK_BYTES, BLOCK_BYTES)])] == [0, 0, 1, 3]
