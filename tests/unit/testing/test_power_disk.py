from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
import trio.testing

from ctlha_trio._errors import LocalProtocolError, StoreError
from ctlha_trio.seams import DiskFile
from ctlha_trio.testing import CallKind, Loss, Moment, PowerCut, PowerDisk
from ctlha_trio.testing._power.medium import SECTOR_BYTES, PendingWrite, enumerate_losses, halve, lay_out

VOLUME = "volume"
OLD, NEW = b".", b"#"
SIZE_BYTES = 4 * SECTOR_BYTES


def new_disk() -> PowerDisk:
    return PowerDisk({VOLUME: OLD * SIZE_BYTES, "other": OLD * SIZE_BYTES})


def chosen(disk: PowerDisk, name: str) -> bytes:
    """The volume after the outcome of that name, one letter for each sector."""
    (loss,) = [loss for loss in disk.outcomes() if loss.name == name]
    return sectors(disk.after_cut(loss).content(VOLUME))


def sectors(content: bytes) -> bytes:
    letters = [content[at : at + SECTOR_BYTES] for at in range(0, len(content), SECTOR_BYTES)]
    assert all(len(set(letter)) == 1 for letter in letters), "a sector is torn"
    return bytes(letter[0] for letter in letters)


def sector(index: int, letter: bytes, count: int = 1) -> tuple[int, bytes]:
    return index * SECTOR_BYTES, letter * count * SECTOR_BYTES


async def side_by_side(*functions: Callable[[], Awaitable[object]]) -> None:
    async with trio.open_nursery() as nursery:
        for function in functions:
            nursery.start_soon(function)


async def run_until_cut(disk: PowerDisk, steps: Callable[[DiskFile], Awaitable[None]]) -> None:
    with pytest.raises(PowerCut):
        await steps(await disk.open(VOLUME))
    assert disk.is_cut


async def two_writes_and_a_flush_between(file: DiskFile) -> None:
    await file.pwrite([sector(0, b"1", 2)])
    await file.flush()
    await file.pwrite([sector(2, b"2", 2)])
    await file.pread(0, 1)


@pytest.mark.parametrize(
    ("number", "moment", "nothing_kept", "everything_kept"),
    [
        (1, Moment.BEFORE, b"....", b"...."),
        (1, Moment.DURING, b"....", b"1..."),
        (1, Moment.AFTER, b"....", b"11.."),
        (2, Moment.BEFORE, b"....", b"11.."),
        (2, Moment.DURING, b"....", b"11.."),
        (2, Moment.AFTER, b"11..", b"11.."),
        (3, Moment.BEFORE, b"11..", b"11.."),
        (3, Moment.DURING, b"11..", b"112."),
        (3, Moment.AFTER, b"11..", b"1122"),
        (4, Moment.BEFORE, b"11..", b"1122"),
        (4, Moment.AFTER, b"11..", b"1122"),
    ],
)
async def test_a_cut_leaves_what_was_flushed_and_perhaps_the_rest(
    number: int, moment: Moment, nothing_kept: bytes, everything_kept: bytes
) -> None:
    disk = new_disk()
    disk.cut_at(number, moment)
    await run_until_cut(disk, two_writes_and_a_flush_between)
    first, *rest = disk.outcomes()
    assert first.name == "nothing kept"
    assert sectors(disk.after_cut(first).content(VOLUME)) == nothing_kept
    if rest:
        assert rest[0].name == "everything kept"
        assert sectors(disk.after_cut(rest[0]).content(VOLUME)) == everything_kept
    else:
        assert nothing_kept == everything_kept
    assert len(disk.calls) == number


async def test_a_run_without_a_cut_tells_where_one_can_be() -> None:
    disk = new_disk()
    await two_writes_and_a_flush_between(await disk.open(VOLUME))
    assert [call.kind for call in disk.calls] == [CallKind.WRITE, CallKind.FLUSH, CallKind.WRITE, CallKind.READ]
    assert disk.count(CallKind.WRITE) == 2
    assert not disk.is_cut


async def test_after_the_cut_no_call_comes_back() -> None:
    noticed: list[bool] = []
    disk = PowerDisk({VOLUME: bytes(10)}, lambda: noticed.append(disk.is_cut))
    file = await disk.open(VOLUME)
    disk.cut_now()
    disk.cut_now()
    assert noticed == [True]
    calls: list[Callable[[], Awaitable[object]]] = [
        file.flush,
        lambda: file.pread(0, 1),
        lambda: file.pwrite([(0, b"x")]),
        lambda: disk.open(VOLUME),
    ]
    for call in calls:
        with pytest.raises(PowerCut):
            await call()
    file.close()
    assert disk.content(VOLUME) == bytes(10)


async def test_a_node_that_catches_every_exception_ends_all_the_same() -> None:
    disk = new_disk()
    disk.cut_at(1, Moment.AFTER)
    lived_on = False

    async def stubborn() -> None:
        nonlocal lived_on
        file = await disk.open(VOLUME)
        try:
            await file.pwrite([(0, b"x")])
        except Exception:
            lived_on = True

    with pytest.raises(BaseExceptionGroup) as caught:
        await side_by_side(trio.sleep_forever, stubborn)
    assert caught.group_contains(PowerCut)
    assert not lived_on
    assert not issubclass(PowerCut, Exception)


async def test_calls_under_way_at_the_cut_have_no_effect() -> None:
    disk = new_disk()
    file, other = await disk.open(VOLUME), await disk.open("other")
    disk.cut_at(2, Moment.BEFORE)
    with pytest.raises(BaseExceptionGroup):
        await side_by_side(lambda: file.pwrite([sector(0, NEW)]), lambda: other.pwrite([sector(0, NEW)]))
    assert [loss.name for loss in disk.outcomes()] == ["nothing kept"]


async def test_the_next_start_finds_a_disk_that_works() -> None:
    disk = new_disk()
    disk.fail_flush_at(1)
    disk.full()
    disk.cut_now()
    again = disk.after_cut(disk.outcomes()[0])
    await two_writes_and_a_flush_between(await again.open(VOLUME))
    again.cut_now()
    assert chosen(again, "nothing kept") == b"11.."
    assert chosen(again, "everything kept") == b"1122"


async def test_only_what_was_written_before_a_flush_began_is_durable() -> None:
    # Trio goes on with the two in either order; in none may the flush cover the write beside it.
    for _ in range(30):
        disk = new_disk()
        file = await disk.open(VOLUME)
        await file.pwrite([sector(0, b"1")])
        await side_by_side(file.flush, partial(file.pwrite, [sector(1, b"2")]))
        disk.cut_now()
        assert chosen(disk, "nothing kept") == b"1..."
        assert chosen(disk, "everything kept") == b"12.."


async def test_a_flush_covers_its_own_file_alone() -> None:
    disk = new_disk()
    file, other = await disk.open(VOLUME), await disk.open("other")
    await file.pwrite([sector(0, NEW)])
    await other.pwrite([sector(0, NEW)])
    await other.flush()
    disk.cut_now()
    after = disk.after_cut(disk.outcomes()[0])
    assert sectors(after.content("other")) == b"#..."
    assert sectors(after.content(VOLUME)) == b"...."


def test_a_flush_that_ends_late_does_not_bring_old_bytes_back() -> None:
    medium = lay_out({VOLUME: b"...."})
    older, newer = PendingWrite(VOLUME, 0, b"11"), PendingWrite(VOLUME, 1, b"22")
    medium.write([older])
    medium.write([newer])
    medium.flush([older, newer])
    medium.flush([older])
    assert medium.after(Loss("nothing kept", ())) == {VOLUME: b"122."}


async def four_writes(disk: PowerDisk) -> None:
    file = await disk.open(VOLUME)
    await file.pwrite([sector(0, b"1"), sector(1, b"2")])
    await file.pwrite([sector(1, b"3"), sector(2, b"4", 2)])
    disk.cut_now()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("nothing kept", b"...."),
        ("everything kept", b"1344"),
        ("only the first", b"1..."),
        ("only the last", b"..44"),
        ("all but the first", b".344"),
        ("all but the last", b"13.."),
        ("the older half", b"12.."),
        ("the newer half", b".344"),
        ("every second", b"13.."),
        ("every other second", b".244"),
        ("everything, in reverse order", b"1244"),
        ("everything, the last with its head only", b"134."),
        ("everything, the last with its tail only", b"13.4"),
        ("only the head of the last", b"..4."),
        ("only the tail of the last", b"...4"),
    ],
)
async def test_each_outcome_is_what_its_name_says(name: str, content: bytes) -> None:
    disk = new_disk()
    await four_writes(disk)
    assert chosen(disk, name) == content


async def test_outcomes_are_few_distinct_and_the_same_each_time() -> None:
    runs: list[list[Loss]] = []
    for _ in range(2):
        disk = new_disk()
        await four_writes(disk)
        runs.append(disk.outcomes())
    assert runs[0] == runs[1]
    assert len({loss.kept for loss in runs[0]}) == len(runs[0]) <= 18
    many = [PendingWrite(VOLUME, 0, bytes(1024)) for _ in range(1000)]
    assert len(enumerate_losses(many)) == 18


@pytest.mark.parametrize(
    ("offset", "size", "head"),
    [
        (0, 512, None),
        (0, 513, 512),
        (100, 300, None),
        (500, 24, 12),
        (500, 1024, 12),
        (0, 4096, 2048),
        (100, 1000, 412),
    ],
)
def test_tears_are_at_sector_boundaries_of_the_disk(offset: int, size: int, head: int | None) -> None:
    done = halve([PendingWrite(VOLUME, offset, bytes(size))])
    assert [len(write.data) for write in done] == ([] if head is None else [head])
    if head is not None:
        assert (offset + head) % SECTOR_BYTES == 0


async def test_half_of_a_call_is_half_of_its_extents() -> None:
    disk = new_disk()
    disk.cut_at(1, Moment.DURING)
    with pytest.raises(PowerCut):
        await (await disk.open(VOLUME)).pwrite([sector(0, b"1"), sector(1, b"2"), sector(2, b"3"), sector(3, b"4")])
    assert chosen(disk, "everything kept") == b"12.."


async def test_a_failed_flush_makes_nothing_durable_ever() -> None:
    disk = new_disk()
    disk.fail_flush_at(2)
    file = await disk.open(VOLUME)
    await file.flush()
    await file.pwrite([sector(0, NEW)])
    with pytest.raises(StoreError, match="flush 2 failed"):
        await file.flush()
    for again in (file.flush, lambda: file.pread(0, 1), lambda: file.pwrite([(0, b"x")])):
        with pytest.raises(StoreError, match="refused"):
            await again()
    file.close()
    reopened = await disk.open(VOLUME)
    assert await reopened.pread(0, 1) == NEW, "the kernel takes the page for clean"
    await reopened.flush()
    disk.cut_now()
    assert chosen(disk, "nothing kept") == b"...."


async def test_a_failed_write_has_done_half() -> None:
    disk = new_disk()
    disk.fail_write_at(1)
    file = await disk.open(VOLUME)
    with pytest.raises(StoreError, match="write 1 failed"):
        await file.pwrite([sector(0, NEW, 4)])
    assert sectors(disk.content(VOLUME)) == b"##.."
    with pytest.raises(StoreError, match="refused"):
        await file.flush()


async def test_a_full_disk_takes_no_write_but_gives_what_it_has() -> None:
    disk = new_disk()
    disk.full()
    file = await disk.open(VOLUME)
    with pytest.raises(StoreError, match="no space left"):
        await file.pwrite([sector(0, NEW)])
    file.close()
    assert await (await disk.open(VOLUME)).pread(0, SIZE_BYTES) == OLD * SIZE_BYTES


async def test_a_call_that_was_begun_is_made_to_its_end() -> None:
    disk = new_disk()
    file = await disk.open(VOLUME)
    with trio.CancelScope() as scope:
        scope.cancel()
        await file.pwrite([sector(0, NEW)])
    assert not disk.calls
    async with trio.open_nursery() as nursery:
        nursery.start_soon(file.pwrite, [sector(0, NEW)])
        while not disk.calls:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert sectors(disk.content(VOLUME)) == b"#..."


@pytest.mark.parametrize("give_up", ["unlock", "close"])
async def test_a_file_is_opened_once_and_only_if_it_is_there(give_up: str) -> None:
    disk = new_disk()
    with pytest.raises(StoreError, match="no such file"):
        await disk.open("missing")
    file = await disk.open(VOLUME)
    with pytest.raises(StoreError, match="in use"):
        await disk.open(VOLUME)
    getattr(file, give_up)()
    second = await disk.open(VOLUME)
    file.close()
    with pytest.raises(StoreError, match="in use"):
        await disk.open(VOLUME)
    with pytest.raises(StoreError, match="closed"):
        await file.flush()
    assert second.size_bytes == SIZE_BYTES


@pytest.mark.parametrize(("offset", "size"), [(-1, 1), (SIZE_BYTES, 1), (SIZE_BYTES - 1, 2)])
async def test_beyond_the_file_is_refused(offset: int, size: int) -> None:
    disk = new_disk()
    file = await disk.open(VOLUME)
    with pytest.raises(StoreError, match="not within"):
        await file.pread(offset, size)
    with pytest.raises(StoreError, match="not within"):
        await file.pwrite([(0, b"not even this"), (offset, bytes(size))])
    assert disk.content(VOLUME) == OLD * SIZE_BYTES
    assert not disk.calls


async def test_each_call_is_a_checkpoint() -> None:
    disk = new_disk()
    with trio.testing.assert_checkpoints():
        file = await disk.open(VOLUME)
    for call in (file.flush, lambda: file.pread(0, 1), lambda: file.pwrite([])):
        with trio.testing.assert_checkpoints():
            await call()


async def test_what_can_no_longer_happen_cannot_be_asked_for() -> None:
    disk = new_disk()
    file = await disk.open(VOLUME)
    await file.pwrite([sector(0, NEW)])
    await file.flush()
    with pytest.raises(LocalProtocolError):
        disk.cut_at(2, Moment.BEFORE)
    with pytest.raises(LocalProtocolError):
        disk.fail_write_at(1)
    with pytest.raises(LocalProtocolError):
        disk.fail_flush_at(1)
    with pytest.raises(LocalProtocolError, match="not failed"):
        disk.after_cut(disk.outcomes()[0])
