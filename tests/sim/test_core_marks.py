"""What the simulated disk marks is what the store marks: the same random lives of both, with crashes and clean ends."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Final

import attrs
import pytest
import trio
from trio.testing import MockClock

from ctlha_trio._errors import DamagedBlockError
from ctlha_trio.pair import Operation, OperationKind, Range, actions as act
from ctlha_trio.seams import TrioClock
from ctlha_trio.store import GROUP_BYTES, BlockStore, Layout, image
from ctlha_trio.testing import PowerDisk
from ctlha_trio.testing._core.disk_calls import DiskCall, UnderWay
from ctlha_trio.testing._core.link import LinkEnd
from ctlha_trio.testing._core.marks import DirtyMarks
from ctlha_trio.testing._core.node import SimulatedNode
from ctlha_trio.testing._core.volume import BLOCK_BYTES, BLOCKS, VOLUME_BYTES, blocks_of, blocks_with, place_blocks
from tests.unit.store.test_store_crash import METADATA

SEEDS: Final = 4
LIVES: Final = 8
STEPS: Final = 14
CLEAN_CHANCE: Final = 0.3


class Told(Random):
    """Answers what it was told beforehand: which of the marks that were taken away, one after the other, are back."""

    def __init__(self, back: Iterable[bool]) -> None:
        super().__init__()
        self._back = iter(back)

    def random(self) -> float:
        """Far from any chance."""
        return 0.0 if next(self._back) else 1.0


def blocks_in(ranges: Iterable[Range]) -> set[int]:
    return {block for where in ranges for block in blocks_of(*where)}


@attrs.define(eq=False)
class Both:
    """A simulated node's disk, and a store that is ordered the same by the same calls as the driver's."""

    random: Random
    node: SimulatedNode
    disk: PowerDisk
    store: BlockStore
    seen: Counter[str] = attrs.Factory(Counter)

    @staticmethod
    async def new(random: Random) -> "Both":
        node = SimulatedNode("a", "b", random, METADATA, LinkEnd(random))
        disk = PowerDisk({"file": image(METADATA, VOLUME_BYTES)})
        return Both(random, node, disk, await opened(disk))

    def _simulate(self, call: DiskCall, data: dict[int, int] | None = None) -> None:
        self.node.apply(UnderWay(call, 1, slow=False, tracked=self.node.marks.tracking, data=data or {}))

    def some_ranges(self) -> tuple[Range, ...]:
        blocks = self.random.sample(range(BLOCKS), self.random.randrange(3))
        return tuple(place_blocks(block) for block in sorted(blocks))

    def some_epoch(self) -> int:
        """Mostly what the marks count from."""
        base_epoch = self.node.marks.base_epoch
        return self.random.choice((base_epoch or 1, base_epoch or 1, self.node.metadata.epoch))

    async def do(self, what: str) -> None:
        """One thing that a core orders, of both."""
        self.seen[what] += 1
        ranges = self.some_ranges()
        match what:
            case "track":
                base_epoch = self.some_epoch()
                self._simulate(act.Track(base_epoch, ranges))
                await self.store.start_tracking(base_epoch)
                await self.store.mark_dirty(ranges)
            case "mark":
                self._simulate(act.MarkDirty(ranges))
                await self.store.mark_dirty(ranges)
            case "forget":
                self._simulate(act.StopTracking())
                await self.store.stop_tracking()
            case "write":
                block = self.random.randrange(BLOCKS)
                operation = Operation(OperationKind.WRITE, 1, 1, *place_blocks(block))
                self._simulate(act.StoreWrite(1, 1, operation), {2 * block: 1, 2 * block + 1: 1})
                await self.store.write(operation.offset, bytes(BLOCK_BYTES))
            case "repair":
                block = self.random.randrange(BLOCKS)
                offset, size = place_blocks(block)
                self._simulate(act.StoreRepair(1, offset, size), {2 * block: 1, 2 * block + 1: 1})
                await self.store.repair(offset, bytes(size))
            case "refuse":
                block = self.random.randrange(BLOCKS)
                offset, size = place_blocks(block)
                operation = Operation(OperationKind.WRITE, 1, 1, offset + 1, 1)
                call = act.StoreWrite(1, 1, operation)
                self.node.mark_called(
                    UnderWay(call, 1, slow=False, tracked=self.node.marks.tracking, data={2 * block: 1})
                )
                self.disk.decay("file", Layout(VOLUME_BYTES).file_offset(offset))
                with pytest.raises(DamagedBlockError):
                    await self.store.write(operation.offset, b"x")
                self.disk.decay("file", Layout(VOLUME_BYTES).file_offset(offset))
            case "clear":
                for offset, size in ranges:
                    self.node.marks.clear(blocks_of(offset, size))
                    self.store.clear(offset, size)
            case "persist":
                metadata = attrs.evolve(self.node.metadata, epoch=self.node.metadata.epoch + 1)
                self._simulate(act.Persist(metadata))
                await self.store.persist(metadata)
            case _:
                raise AssertionError(what)

    async def agree(self) -> None:
        """Both find the same, from anywhere."""
        marks = self.node.marks
        assert (self.store.base_epoch, self.store.is_tracking) == (marks.base_epoch, marks.tracking)
        for offset in range(0, VOLUME_BYTES, BLOCK_BYTES):
            everything = self.node.found_by(act.FindDirty(0, offset))
            assert self.node.found_by(act.FindDirty(1, offset)) == everything[:1]
            # A start marks whole extents, also where no block is simulated.
            found = await self.store.find_dirty(offset, VOLUME_BYTES // BLOCK_BYTES)
            assert blocks_in(found) == blocks_in(everything)

    async def end(self, *, cleanly: bool) -> None:
        """The process ends, and another one opens the disk: the store's outcome is one of those that are simulated."""
        node, marks, written = self.node, self.node.marks, set(self.node.written)
        if cleanly:
            self.seen["clean ends"] += 1
            node.end_cleanly()
        self.disk.cut_now()
        self.disk = self.disk.after_cut(self.disk.outcomes()[0])
        self.store = await opened(self.disk)
        found, extents = blocks_in(self.store.dirty_ranges()), blocks_in(self.store.crash_extents)
        if not cleanly:
            back = [block in found for block in marks._cleared]
            self.seen["marks that came back"] += sum(back)
            marks.crash(extents, Told(back))
            node.forget()
        assert found == marks.dirty
        assert extents <= blocks_in(
            (place_blocks(block)[0] // GROUP_BYTES * GROUP_BYTES, GROUP_BYTES) for block in written
        )
        assert not (cleanly and extents)
        assert self.store.marked_from == node.recover()
        self.seen["extents"] += len(extents)


async def opened(disk: PowerDisk) -> BlockStore:
    return await BlockStore.open(disk, "file", size_bytes=VOLUME_BYTES, clock=TrioClock())


async def live(both: Both, orders: Sequence[str], *, cleanly: bool) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(both.store.run)
        await both.store.recover()
        await both.agree()
        for what in orders:
            await both.do(what)
            await both.agree()
        if cleanly:
            await both.store.close_extents()
        nursery.cancel_scope.cancel()


ORDERS: Final = ("track", "mark", "forget", "write", "write", "refuse", "repair", "clear", "clear", "persist")


async def run_lives(seed: int) -> Counter[str]:
    """What happened in them."""
    random = Random(seed)
    both = await Both.new(random)
    for _ in range(LIVES):
        cleanly = random.random() < CLEAN_CHANCE
        await live(both, random.choices(ORDERS, k=STEPS), cleanly=cleanly)
        await both.end(cleanly=cleanly)
    return both.seen


async def test_both_mark_the_same_over_many_lives(autojump_clock: MockClock) -> None:
    seen: Counter[str] = Counter()
    for seed in range(SEEDS):
        seen += await run_lives(seed)
    assert seen.keys() == {*ORDERS, "clean ends", "marks that came back", "extents"}


def keeps_marks_from_another_base(patch: pytest.MonkeyPatch) -> None:
    def track(marks: DirtyMarks, base_epoch: int) -> None:
        marks.base_epoch, marks.tracking = base_epoch, True

    patch.setattr(DirtyMarks, "track", track)


def counts_from_the_first_epoch(patch: pytest.MonkeyPatch) -> None:
    plain = DirtyMarks.add
    patch.setattr(DirtyMarks, "add", lambda marks, blocks, _epoch: plain(marks, blocks, 0))


def tracks_over_no_restart(patch: pytest.MonkeyPatch) -> None:
    plain = SimulatedNode.recover

    def recover(node: SimulatedNode) -> int | None:
        node.marks.tracking = False
        return plain(node)

    patch.setattr(SimulatedNode, "recover", recover)


def marks_what_is_repaired(patch: pytest.MonkeyPatch) -> None:
    plain = SimulatedNode.apply

    def apply(node: SimulatedNode, ended: UnderWay) -> None:
        plain(node, ended)
        if node.marks.tracking:
            node.marks.dirty |= blocks_with(ended.data)

    patch.setattr(SimulatedNode, "apply", apply)


def takes_a_mark_away_for_good(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DirtyMarks, "clear", lambda marks, blocks: marks.dirty.difference_update(blocks))


def brings_every_mark_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DirtyMarks, "clear", lambda _marks, _blocks: None)


def ignores_the_activity_log(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SimulatedNode, "recover", lambda node: node.marks.base_epoch)


@pytest.mark.parametrize(
    "plant",
    [
        keeps_marks_from_another_base,
        counts_from_the_first_epoch,
        tracks_over_no_restart,
        marks_what_is_repaired,
        takes_a_mark_away_for_good,
        brings_every_mark_back,
        ignores_the_activity_log,
    ],
)
async def test_a_simulated_disk_that_marks_otherwise_is_noticed(
    plant: Callable[[pytest.MonkeyPatch], None], autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    with pytest.RaisesGroup(AssertionError, allow_unwrapped=True, flatten_subgroups=True):
        for seed in range(SEEDS):
            await run_lives(seed)
