"""One node of a simulated pair: its durable blocks, the calls under way at its disk and the arbiter, its timers."""

from collections import deque
from collections.abc import Collection
from random import Random

import attrs

from ctlha_trio.pair import Copy, Metadata, PairState, Phase, Range, actions as act, events as ev
from ctlha_trio.testing._core.arbiter import Call
from ctlha_trio.testing._core.link import Blocks, LinkEnd
from ctlha_trio.testing._core.marks import DirtyMarks

BLOCKS = 6
RECORDS = 2
"""Records, each in a place of its own beside the blocks: that of record 0 is -1, and so on down."""
BLOCK_BYTES = 1 << 19
"""Half a range of a resync, so that a range covers two blocks."""

KEPT_CHANCE = 0.5
"""Of a block under way when the process ends, and of any block when the disk fails."""
SLOW_CHANCE = 0.25
"""Of a call to the disk: it ends after all that are not slow."""
LOGGED_CHANCE = 0.2
"""Of a block that the process wrote: it is in the activity log when the process ends, although it need not be."""

InOrder = act.Persist | act.Track | act.MarkDirty | act.FindDirty | act.StopTracking | act.ReplaceRecords
"""What the driver carries out one after the other."""
Store = act.StoreWrite | act.StoreMirrored | act.StoreZeroes | act.StoreRecord | act.StoreMirroredRecord
DiskCall = InOrder | Store | act.CompareStored | act.CompareRecords | act.FetchRead | act.SendCompare | act.CompareRange


PLACES = range(-RECORDS, 0)


def blocks_of(offset: int, size: int) -> range:
    """The numbers of the blocks in a range."""
    return range(offset // BLOCK_BYTES, (offset + size) // BLOCK_BYTES)


def place_of(key: str) -> int:
    """Where a record lies that has this key."""
    return -1 - int(key)


def digest_of(blocks: Blocks) -> bytes:
    """Different for different values."""
    return repr(sorted(blocks.items())).encode()


def first_metadata(name: str, nodes: tuple[str, ...]) -> Metadata:
    """Of a node of a new pair."""
    return Metadata(
        cluster="c",
        node=name,
        resource="r",
        lineage="l",
        arbiter="x",
        epoch=1,
        revision=1,
        primary=nodes[0],
        members=nodes,
        copy=Copy.MEMBER,
    )


@attrs.define(eq=False)
class ArbiterCall:
    """A call that was made; ``answer`` once the arbiter has executed it."""

    call: Call
    answer: ev.Event | None = None


@attrs.define(eq=False)
class UnderWay:
    """A call to the disk, with what it writes, and the session in which it was made."""

    call: DiskCall
    session: int
    slow: bool
    tracked: bool
    """It was made while every write was marked."""
    data: Blocks = attrs.Factory(dict)


@attrs.define(eq=False)
class SimulatedNode:
    """What outlives a process, and the process if one runs."""

    name: str
    peer: str
    random: Random
    metadata: Metadata
    """Durable."""
    link: LinkEnd
    blocks: list[int] = attrs.Factory(lambda: [0] * BLOCKS)
    """Durable: for each block the value written last, which is the ticket of its write."""
    records: Blocks = attrs.Factory(lambda: dict.fromkeys(PLACES, 0))
    """Durable: by place, the ticket of the operation that put the record."""
    marks: DirtyMarks = attrs.Factory(DirtyMarks)
    """Durable."""
    written: set[int] = attrs.Factory(set)
    """Blocks to which this process wrote."""
    logged: set[int] = attrs.Factory(set)
    """Blocks that were suspect when the disk failed under this process."""
    state: PairState | None = None
    """None while no process runs."""
    disk: list[UnderWay] = attrs.Factory(list)
    calls: deque[ArbiterCall] = attrs.Factory(deque)
    """One after the other, as the driver makes them."""
    timers: dict[ev.Timer, float] = attrs.Factory(dict)
    """Those that run, with the delay of each in seconds."""
    held: dict[int, Blocks] = attrs.Factory(dict)
    """Ranges read for a comparison, by sequence."""
    paused: bool = False
    """The process stands still; what it has asked of others goes on."""
    kept_down: bool = False
    """Nobody starts it."""
    failing: bool = False
    """The disk has failed under this process: it cannot end cleanly any more."""
    excused: set[str] = attrs.Factory(set)
    """Reasons to end that this process was given."""

    @property
    def ended(self) -> bool:
        """Whether its process runs and takes no part any more."""
        state = self.state
        return state is not None and (state.phase is Phase.STOPPED or state.phase is Phase.LEFT)

    @property
    def reachable(self) -> bool:
        """Whether it would agree to a session."""
        return self.state is not None and not self.paused and not self.ended

    def begin_disk_call(self, call: DiskCall, data: Blocks | None = None) -> None:
        """A call is made. ``AssertionError`` if it writes what another call writes: they could end in any order."""
        data = {} if data is None else data
        for other in self.disk:
            if other.data.keys() & data.keys():
                raise AssertionError(f"{self.name} writes a block twice at once: {other.call}, {call}")
        slow = self.random.random() < SLOW_CHANCE
        self.disk.append(UnderWay(call, self.link.session, slow, self.marks.tracking, data))

    def drags(self) -> bool:
        """Whether only slow calls are under way at the disk."""
        return all(each.slow for each in self.disk)

    def pick_disk_call(self) -> UnderWay:
        """Some call ends: any, but metadata and marks are made durable in the order in which they were ordered."""
        if len(self.disk) == 1:
            return self.disk.pop()
        in_order = [each for each in self.disk if isinstance(each.call, InOrder)]
        possible = [each for each in self.disk if each not in in_order[1:]]
        quick = [each for each in possible if not each.slow]
        ended = self.random.choice(quick or possible)
        self.disk.remove(ended)
        return ended

    def apply(self, ended: UnderWay) -> None:
        """Make durable what the call writes."""
        match ended.call:
            case act.Persist():
                self.metadata = ended.call.metadata
                self.marks.settle()
            case act.Track():
                self.marks.track(ended.call.base_epoch)
                self.mark(ended.call.ranges)
            case act.MarkDirty():
                self.mark(ended.call.ranges)
            case act.StopTracking():
                self.marks.forget()
            case _:
                pass
        self.records.update({place: value for place, value in ended.data.items() if place < 0})
        blocks = {block: value for block, value in ended.data.items() if block >= 0}
        for block, value in blocks.items():
            self.blocks[block] = value
        if ended.data:
            self.marks.settle()
        if blocks:
            self.written.update(blocks)
            if ended.tracked and self.marks.tracking:
                self.marks.dirty.update(blocks)

    def mark(self, ranges: Collection[Range]) -> None:
        """Make durable that these ranges may differ."""
        self.marks.add((block for where in ranges for block in blocks_of(*where)), self.metadata.epoch)

    def dirty_ranges(self, offset: int = 0) -> list[Range]:
        """Every range that is marked, from an offset on."""
        found: list[Range] = []
        for block in sorted(self.marks.dirty):
            start = block * BLOCK_BYTES
            if found and sum(found[-1]) == start:
                found[-1] = found[-1][0], found[-1][1] + BLOCK_BYTES
            elif start >= offset:
                found.append((start, BLOCK_BYTES))
        return found

    def read(self, offset: int, size: int) -> Blocks:
        """What the blocks of a range hold."""
        return {block: self.blocks[block] for block in blocks_of(offset, size)}

    def crash(self) -> list[act.Swap]:
        """End the process: of what was under way any part may be on the disk. Returns swaps that are on their way."""
        in_order = True
        suspect = self._suspect() | self.logged
        started = {block for under_way in self.disk for block in under_way.data if block >= 0}
        torn: set[int] = set()
        for under_way in self.disk:
            if not isinstance(under_way.call, InOrder):
                data = {block: value for block, value in under_way.data.items() if self.random.random() < KEPT_CHANCE}
                torn.update(block for block in data if block >= 0)
                self.apply(attrs.evolve(under_way, data=data))
            elif in_order and isinstance(under_way.call, act.Track) and self.random.random() >= KEPT_CHANCE:
                self.marks.track(under_way.call.base_epoch)
                in_order = False
            elif in_order := in_order and self.random.random() < KEPT_CHANCE:
                self.apply(under_way)
        # An activity log lists at least what was written and may differ; of what else it lists nothing may be expected.
        others = {block for block in self.written | started if self.random.random() < LOGGED_CHANCE}
        self.marks.crash(torn | (self.written & suspect) | others, self.random)
        return self._end()

    def end_cleanly(self) -> list[act.Swap]:
        """End the process after all that it has ordered of the disk, with nothing left in the activity log."""
        for under_way in self.disk:
            self.apply(under_way)
        self.marks.settle()
        return self._end()

    def lose_disk_calls(self) -> None:
        """The disk fails: nothing that is under way ends, but what was written before stays in the activity log."""
        self.failing = True
        self.logged |= self._suspect()
        self.disk.clear()

    def _suspect(self) -> set[int]:
        """Blocks that the core holds for possibly different, or has ordered to be marked so."""
        ordered = [each.call.ranges for each in self.disk if isinstance(each.call, act.Track | act.MarkDirty)]
        known = self.state.may_differ if self.state else ()
        return {block for ranges in (known, *ordered) for where in ranges for block in blocks_of(*where)}

    def recover(self) -> int | None:
        """As the store when it is opened: mark what the activity log lists. The epoch from which all marks count."""
        if self.marks.extents:
            self.marks.add(self.marks.extents, self.metadata.epoch)
            self.marks.extents = set()
        return self.marks.base_epoch

    def _end(self) -> list[act.Swap]:
        swaps = [each.call for each in self.calls if isinstance(each.call, act.Swap) and each.answer is None]
        self.forget()
        return swaps

    def condemn(self, metadata: Metadata) -> None:
        """The disk under this copy failed; that it did is all that may be relied on from now on."""
        self.metadata = metadata
        self.blocks = [value if self.random.random() < KEPT_CHANCE else 0 for value in self.blocks]

    def forget(self) -> None:
        """All that a process holds."""
        self.state = None
        self.paused = False
        self.link.clear()
        self.disk.clear()
        self.calls.clear()
        self.timers.clear()
        self.held.clear()
        self.written.clear()
        self.logged.clear()
