"""Random lives of a store that tracks what it writes, cut at every disk call, recovered, and cut while recovering."""

from collections.abc import Iterator
from random import Random
from typing import Final

import attrs
import pytest
import trio

from ctlha_trio._errors import StoreError
from ctlha_trio.pair import Copy, Metadata
from ctlha_trio.seams import TrioClock
from ctlha_trio.store import (
    BLOCK_BYTES,
    DIRTY_BYTES,
    GROUP_BYTES,
    BlockStore,
    _activity_log,
    _blocks,
    _commit_loop,
    image,
)
from ctlha_trio.testing import Loss, Moment, PowerCut, PowerDisk

SIZE_BYTES: Final = 2 * GROUP_BYTES + BLOCK_BYTES + 700
EXTENTS_OPEN: Final = 2
HOT: Final = (0, 3 * BLOCK_BYTES, GROUP_BYTES - BLOCK_BYTES, GROUP_BYTES + 5 * DIRTY_BYTES, 2 * GROUP_BYTES)
"""Where writes go: few places, so that they meet again, in every group and across two."""
STEPS: Final = 14
METADATA: Final = Metadata(
    cluster="cluster",
    node="a",
    resource="volume",
    lineage="lineage",
    arbiter="arbiter",
    epoch=1,
    revision=1,
    primary="a",
    members=("a", "b"),
    copy=Copy.MEMBER,
)


@pytest.fixture(autouse=True)
def few_extents(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (_activity_log, _blocks, _commit_loop):
        monkeypatch.setattr(module, "EXTENTS_OPEN_MAX", EXTENTS_OPEN)


@attrs.frozen
class Write:
    offset: int
    data: bytes
    repairs: bool = False


@attrs.frozen
class Persist:
    epoch: int


@attrs.frozen
class Start:
    base_epoch: int


@attrs.frozen
class Stop:
    pass


@attrs.frozen
class Mark:
    offset: int
    size: int


@attrs.frozen
class Clear:
    offset: int
    size: int


@attrs.frozen
class CloseExtents:
    pass


Extents = tuple[tuple[int, int], ...]
Step = Write | Persist | Start | Stop | Mark | Clear | CloseExtents


def draw_steps(random: Random) -> Iterator[Step]:
    """Steps of one life. Tracking begins early and once begins anew."""
    for number in range(STEPS):
        offset = random.choice(HOT)
        kind = random.randrange(10)
        if number in {2, 9}:
            yield Start(number)
        elif kind < 7:
            offset += random.choice((0, 0, 100, BLOCK_BYTES - 512))
            size = random.choice((1, 700, BLOCK_BYTES, 3 * BLOCK_BYTES + 5, DIRTY_BYTES))
            yield Write(offset, bytes([number + 1]) * min(size, SIZE_BYTES - offset))
        elif kind == 7:
            yield random.choice((Persist(number + 1), CloseExtents(), Write(offset, bytes([number + 1]) * 700, True)))
        elif number > 2:
            place = offset // DIRTY_BYTES * DIRTY_BYTES
            yield random.choice((Mark(offset, 1), Clear(place, min(DIRTY_BYTES, SIZE_BYTES - place))))


def describe(step: Step | None) -> str:
    return f"a write of {len(step.data)} at {step.offset}" if isinstance(step, Write) else str(step)


def units(offset: int, size: int) -> set[int]:
    return set(range(offset // DIRTY_BYTES, -(-(offset + size) // DIRTY_BYTES)))


@attrs.define
class Model:
    """What is known to be so, from the answers, and what may be so, from the one step that was not answered."""

    volume: bytearray = attrs.field(factory=lambda: bytearray(SIZE_BYTES))
    epoch: int = METADATA.epoch
    base_epoch: int | None = None
    must: set[int] = attrs.field(factory=set)
    """Units that are dirty."""
    may: set[int] = attrs.field(factory=set)
    """Units that have been dirty since the base, for a clear may be forgotten."""
    pending: Step | None = None

    def answered(self, step: Step) -> None:
        self.pending = None
        match step:
            case Write():
                self.volume[step.offset : step.offset + len(step.data)] = step.data
                if self.base_epoch is not None and not step.repairs:
                    self._mark(step.offset, len(step.data))
            case Persist():
                self.epoch = step.epoch
            case Start():
                if step.base_epoch != self.base_epoch:
                    self.must, self.may = set(), set()
                self.base_epoch = step.base_epoch
            case Stop():
                self.base_epoch, self.must, self.may = None, set(), set()
            case Mark():
                self._mark(step.offset, step.size)
            case Clear():
                self.must -= units(step.offset, step.size)
            case CloseExtents():
                pass

    def _mark(self, offset: int, size: int) -> None:
        self.must |= units(offset, size)
        self.may |= units(offset, size)


async def execute(store: BlockStore, step: Step) -> None:
    match step:
        case Write(repairs=True):
            size = len(step.data) // BLOCK_BYTES * BLOCK_BYTES
            await store.repair(step.offset, step.data[:size])
        case Write():
            await store.write(step.offset, step.data)
        case Persist():
            await store.persist(attrs.evolve(METADATA, epoch=step.epoch))
        case Start():
            await store.start_tracking(step.base_epoch)
        case Stop():
            await store.stop_tracking()
        case Mark():
            await store.mark_dirty([(step.offset, step.size)])
        case Clear():
            store.clear(step.offset, step.size)
        case CloseExtents():
            await store.close_extents()


async def opened(disk: PowerDisk) -> BlockStore:
    return await BlockStore.open(disk, "file", size_bytes=SIZE_BYTES, clock=TrioClock())


async def live(disk: PowerDisk, steps: list[Step], model: Model) -> None:
    """The steps one by one, as far as the disk lets them; the model knows what was answered."""
    try:
        store = await opened(disk)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.run)
            for step in steps:
                model.pending = step
                await execute(store, step)
                model.answered(step)
            nursery.cancel_scope.cancel()
        store.close()
    except* (PowerCut, StoreError):
        assert disk.is_cut


async def check(disk: PowerDisk, model: Model, crash_extents: Extents) -> None:
    """What is found by whoever comes after a recovery, or recovers himself."""
    store = await opened(disk)
    assert store.crash_extents in {(), crash_extents}
    await store.recover()
    where = f"after {describe(model.pending)}"
    check_volume(await store.read(0, SIZE_BYTES), model, where)
    pending = model.pending
    assert store.metadata.epoch in {model.epoch, pending.epoch if isinstance(pending, Persist) else model.epoch}, where
    dirty = set[int]().union(*(units(*each) for each in store.dirty_ranges()))
    crashed = set[int]().union(*(units(*each) for each in crash_extents))
    assert len(crash_extents) <= EXTENTS_OPEN
    assert crashed <= dirty, where
    if isinstance(pending, Start) and (store.base_epoch, store.is_tracking) == (pending.base_epoch, True):
        assert dirty == crashed, where
        return
    expected = model.base_epoch
    assert store.is_tracking is (expected is not None), where
    assert store.base_epoch == (store.metadata.epoch if expected is None and crashed else expected), where
    assert model.must <= dirty, where
    if not isinstance(pending, Start):
        # Marks of the step under way, of one that was not answered.
        under_way = units(pending.offset, 1) if isinstance(pending, Mark) else set()
        assert dirty <= model.may | crashed | under_way, where


def check_volume(found: bytes, model: Model, where: str) -> None:
    """Whole blocks that hold what was answered; of the write under way each byte is there or not."""
    pending = model.pending
    if not isinstance(pending, Write):
        assert found == model.volume, where
        return
    begin, end = pending.offset, pending.offset + len(pending.data)
    assert found[:begin] == model.volume[:begin], where
    assert found[end:] == model.volume[end:], where
    choices = zip(found[begin:end], model.volume[begin:end], pending.data, strict=True)
    assert all(byte in {old, new} for byte, old, new in choices), where


def new_disk() -> PowerDisk:
    return PowerDisk({"file": image(METADATA, SIZE_BYTES)})


def distinct(disk: PowerDisk) -> list[Loss]:
    found: dict[bytes, Loss] = {}
    for loss in disk.outcomes():
        found.setdefault(disk.after_cut(loss).content("file"), loss)
    return list(found.values())


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize("seed", range(2))
async def test_cut_at_every_disk_call(seed: int, moment: Moment) -> None:
    """A second cut, in turn at each call of the recovery, changes nothing."""
    steps = list(draw_steps(Random(seed)))
    calm = new_disk()
    await live(calm, steps, Model())
    assert {Write, Start} <= {type(step) for step in steps}
    second = 0
    for number in range(2, len(calm.calls) + 1):
        disk, model = new_disk(), Model()
        disk.cut_at(number, moment)
        await live(disk, steps, model)
        for loss in distinct(disk):
            again = disk.after_cut(loss)
            crash_extents = await recover_until_the_cut(again, second % 8, list(Moment)[second // 8 % 3])
            second += 1
            again.cut_now()
            losses = distinct(again)
            await check(again.after_cut(losses[second % len(losses)]), model, crash_extents)
            await check(disk.after_cut(loss), model, crash_extents)


async def recover_until_the_cut(disk: PowerDisk, calls: int, moment: Moment) -> Extents:
    store = await opened(disk)
    disk.cut_at(len(disk.calls) + 1 + calls, moment)
    try:
        await store.recover()
    except PowerCut:
        assert disk.is_cut
    return store.crash_extents
