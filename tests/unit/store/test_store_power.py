"""The store under power cuts at every disk call, with everything that may have become of unflushed writes."""

import attrs
import pytest
import trio
import trio.testing

from ctlha_trio._errors import DamagedBlockError, StoreError
from ctlha_trio.pair import Copy, Metadata
from ctlha_trio.seams import DiskFile, TrioClock
from ctlha_trio.store import BLOCK_BYTES, BlockStore, Layout, image, rewrite_metadata
from ctlha_trio.store._slots import HEAD_BYTES, SLOT_BYTES, SLOT_COUNT, choose_slot, encode_metadata, encode_slot
from ctlha_trio.testing import CallKind, Moment, PowerCut, PowerDisk

SIZE_BYTES = 32 * 1024
WRITE_BYTES = 1500
FIRST = Metadata(
    cluster="cluster",
    node="a",
    resource="volume",
    # Long, so that the payload spans sectors and a torn slot is torn in its content.
    lineage="0" * 3000,
    arbiter="arbiter",
    epoch=0,
    revision=9,
    primary="a",
    members=("a", "b"),
    copy=Copy.MEMBER,
)


def metadata(epoch: int) -> Metadata:
    return attrs.evolve(FIRST, epoch=epoch, lineage=str(epoch) * 3000)


@attrs.frozen
class Write:
    """The data of the write of this number; each has its own place, across sectors."""

    number: int

    @property
    def offset(self) -> int:
        return 4096 * self.number + 300

    @property
    def data(self) -> bytes:
        return bytes([self.number + 1]) * WRITE_BYTES


@attrs.frozen
class Persist:
    epoch: int


STEPS: tuple[Write | Persist, ...] = (Write(0), Persist(1), Write(1), Write(2), Persist(2), Persist(3), Write(3))


async def execute(store: BlockStore, step: Write | Persist, answered: list[Write | Persist]) -> None:
    if isinstance(step, Write):
        await store.write(step.offset, step.data)
    else:
        await store.persist(metadata(step.epoch))
        assert store.metadata.epoch >= step.epoch
    answered.append(step)


def new_disk() -> PowerDisk:
    return PowerDisk({"file": image(FIRST, SIZE_BYTES)})


async def opened(disk: PowerDisk) -> BlockStore:
    return await BlockStore.open(disk, "file", size_bytes=SIZE_BYTES, clock=TrioClock())


async def live(disk: PowerDisk, answered: list[Write | Persist], *, at_once: bool = False) -> None:
    """One life of a store, as far as the disk lets it: the steps one by one, or all queued before any is committed."""
    store = await opened(disk)
    async with trio.open_nursery() as nursery:
        if at_once:
            for step in STEPS:
                nursery.start_soon(execute, store, step, answered)
                await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(store.run)
        if at_once:
            await trio.testing.wait_all_tasks_blocked()
        else:
            for step in STEPS:
                await execute(store, step, answered)
        nursery.cancel_scope.cancel()
    store.close()


async def live_until_the_cut(disk: PowerDisk, *, at_once: bool = False) -> list[Write | Persist]:
    answered: list[Write | Persist] = []
    with pytest.raises((PowerCut, BaseExceptionGroup)) as caught:
        await live(disk, answered, at_once=at_once)
    if isinstance(caught.value, BaseExceptionGroup):
        assert caught.value.split((PowerCut, StoreError))[1] is None
    assert disk.is_cut
    return answered


async def check_survived(disk: PowerDisk, answered: list[Write | Persist]) -> None:
    """Whatever was answered is there; metadata is that of the last answered persist or of the next."""
    store = await opened(disk)
    await store.recover()
    assert len(await store.read(0, SIZE_BYTES)) == SIZE_BYTES
    found = store.metadata.epoch
    persisted = max((step.epoch for step in answered if isinstance(step, Persist)), default=0)
    assert store.metadata == metadata(found)
    assert found >= persisted
    for place, step in enumerate(STEPS):
        if isinstance(step, Write):
            data = await store.read(step.offset, WRITE_BYTES)
            promised = step in answered or any(Persist(epoch) in STEPS[place:] for epoch in range(1, found + 1))
            if promised:
                assert data == step.data
            else:
                assert set(data) <= {0, step.number + 1}


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize("at_once", [False, True])
async def test_cut_at_every_disk_call(at_once: bool, moment: Moment) -> None:
    undisturbed = new_disk()
    answered: list[Write | Persist] = []
    await live(undisturbed, answered, at_once=at_once)
    assert set(answered) == set(STEPS)
    assert undisturbed.count(CallKind.FLUSH) >= 6
    for number in range(1, len(undisturbed.calls) + 1):
        disk = new_disk()
        disk.cut_at(number, moment)
        answered = await live_until_the_cut(disk, at_once=at_once)
        outcomes = disk.outcomes()
        assert outcomes
        for loss in outcomes:
            await check_survived(disk.after_cut(loss), answered)


async def live_by_writes_that_begin_at_once(disk: PowerDisk, told: list[int]) -> None:
    """One block written whole again and again: first by the loop, which opens its extent, then without it."""
    store = await opened(disk)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run)
        await store.write(0, bytes(BLOCK_BYTES))
        for number in (1, 2, 3):
            await trio.testing.wait_all_tasks_blocked()
            content = bytes([number]) * BLOCK_BYTES

            def tell(_: object, number: int = number) -> None:
                told.append(number)

            calls = disk.count(CallKind.WRITE)
            assert store.write_nowait(0, content, tell, nursery)
            assert store.oldest_call_s is not None, "it has begun"
            await trio.testing.wait_all_tasks_blocked()
            assert disk.count(CallKind.WRITE) == calls + 1
        nursery.cancel_scope.cancel()
    store.close()


@pytest.mark.parametrize("moment", Moment)
async def test_cut_of_writes_that_begin_at_once(moment: Moment) -> None:
    undisturbed = new_disk()
    told: list[int] = []
    await live_by_writes_that_begin_at_once(undisturbed, told)
    assert told == [1, 2, 3]
    for number in range(1, len(undisturbed.calls) + 1):
        disk, told = new_disk(), []
        disk.cut_at(number, moment)
        with pytest.raises((PowerCut, BaseExceptionGroup)):
            await live_by_writes_that_begin_at_once(disk, told)
        assert disk.is_cut
        for loss in disk.outcomes():
            store = await opened(disk.after_cut(loss))
            await store.recover()
            newest = told[-1] if told else 0
            assert set(await store.read(0, BLOCK_BYTES)) <= {newest, newest + 1}


async def test_life_goes_on_after_every_cut() -> None:
    """A second life on what a first one left, cut too: slots keep alternating from whichever was left."""
    calls = len((await lived()).calls)
    for first_cut in range(2, calls + 1):
        disk = new_disk()
        disk.cut_at(first_cut, Moment.DURING)
        await live_until_the_cut(disk)
        for loss in disk.outcomes():
            for second_cut in range(2, calls + 1, 3):
                again = disk.after_cut(loss)
                again.cut_at(second_cut, Moment.DURING)
                answered = await live_until_the_cut(again)
                for second_loss in again.outcomes():
                    store = await opened(again.after_cut(second_loss))
                    newest = [step.epoch for step in answered if isinstance(step, Persist)]
                    assert not newest or store.metadata.epoch >= newest[-1]


async def lived() -> PowerDisk:
    disk = new_disk()
    await live(disk, [])
    return disk


@pytest.mark.parametrize("ordinal", range(1, 8))
@pytest.mark.parametrize("kind", [CallKind.WRITE, CallKind.FLUSH])
async def test_failing_call_answers_nothing_that_a_cut_could_take_back(kind: CallKind, ordinal: int) -> None:
    disk = new_disk()
    (disk.fail_write_at if kind is CallKind.WRITE else disk.fail_flush_at)(ordinal)
    answered: list[Write | Persist] = []
    with pytest.RaisesGroup(StoreError, StoreError) as caught:
        await live(disk, answered)
    assert all(f"the store is dead: file: {kind.value} {ordinal} " in str(error) for error in caught.value.exceptions)
    assert len(answered) < len(STEPS)
    disk.cut_now()
    for loss in disk.outcomes():
        await check_survived(disk.after_cut(loss), answered)


async def test_full_disk_kills_the_store_and_keeps_what_was_there() -> None:
    disk = await lived()
    disk.full()
    again: list[Write | Persist] = []
    with pytest.RaisesGroup(StoreError, StoreError):
        await live(disk, again)
    assert not again
    disk.cut_now()
    for loss in disk.outcomes():
        await check_survived(disk.after_cut(loss), list(STEPS))


async def repair_once(disk: PowerDisk, content: bytes) -> None:
    store = await opened(disk)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run)
        await store.repair(0, content)
        nursery.cancel_scope.cancel()
    store.close()


OLD, GOOD = b"o" * 4096, b"g" * 4096


async def decayed() -> PowerDisk:
    """A block was written, and a bit of it has flipped since."""
    whole = new_disk()
    await repair_once(whole, OLD)
    disk = PowerDisk({"file": whole.content("file")})
    disk.decay("file", Layout(SIZE_BYTES).file_offset(100))
    return disk


async def found_after(disk: PowerDisk) -> bytes | None:
    """What a recovered store reads; None for a block that is damaged."""
    store = await opened(disk)
    await store.recover()
    assert await store.read(4096, 4096) == bytes(4096)
    try:
        return await store.read(0, 4096)
    except DamagedBlockError:
        return None


async def test_repair_that_is_cut_leaves_the_block_repaired_or_damaged() -> None:
    """Never whole with anything else in it: nobody would ask the other copy again."""
    disk = await decayed()
    await repair_once(disk, GOOD)
    found: set[bytes | None] = set()
    for number in range(1, len(disk.calls) + 1):
        for moment in Moment:
            cut = await decayed()
            cut.cut_at(number, moment)
            with pytest.raises((PowerCut, BaseExceptionGroup)):
                await repair_once(cut, GOOD)
            assert cut.is_cut
            found |= {await found_after(cut.after_cut(loss)) for loss in cut.outcomes()}
    assert found == {GOOD, None}


@pytest.mark.parametrize("moment", Moment)
async def test_metadata_that_a_person_decides_leaves_the_old_or_itself_behind_every_cut(moment: Moment) -> None:
    """Behind a process that was killed before the disk had flushed its last slot."""

    async def decide(disk: PowerDisk) -> None:
        file = await disk.open("file")
        place = await store_slot(file)
        await file.pwrite([(place, encode_slot(encode_metadata(metadata(1), SIZE_BYTES), generation=3))])
        file.close()
        await rewrite_metadata(disk, "file", metadata(2), expected=metadata(1))

    async def store_slot(file: DiskFile) -> int:
        index, _ = choose_slot("file", await file.pread(0, HEAD_BYTES))
        return (index + 1) % SLOT_COUNT * SLOT_BYTES

    undisturbed = new_disk()
    await decide(undisturbed)
    for number in range(1, len(undisturbed.calls) + 1):
        disk = new_disk()
        disk.cut_at(number, moment)
        with pytest.raises(PowerCut):
            await decide(disk)
        for loss in disk.outcomes():
            _, slot = choose_slot("file", disk.after_cut(loss).content("file")[:HEAD_BYTES])
            assert slot.metadata in {FIRST, metadata(1), metadata(2)}
