"""One node of a simulated pair: its durable blocks, the calls under way at its disk and the arbiter, its timers."""

import math
from collections import deque
from collections.abc import Collection
from operator import attrgetter
from random import Random

import attrs

from ctlha_trio.ha import HeldPermit
from ctlha_trio.pair import (
    Metadata,
    Operation,
    OperationKind,
    PairState,
    Phase,
    Range,
    Record,
    actions as act,
    events as ev,
)
from ctlha_trio.testing._core.arbiter import ArbiterCall
from ctlha_trio.testing._core.backup import Backup
from ctlha_trio.testing._core.clock import RunningTimer
from ctlha_trio.testing._core.disk_calls import DiskCall, FoundRead, InOrder, UnderWay
from ctlha_trio.testing._core.heard import only_heard, unheard
from ctlha_trio.testing._core.link import Blocks, LinkEnd
from ctlha_trio.testing._core.marks import DirtyMarks
from ctlha_trio.testing._core.volume import (
    PLACES,
    SECTORS,
    SECTORS_OF_BLOCK,
    blocks_of,
    blocks_with,
    partly_covered,
    place_blocks,
    sectors_of,
)

NODES = ("a", "b")

KEPT_CHANCE = 0.5
"""Of a block under way when the process ends, and of any block when the disk fails."""
SLOW_CHANCE = 0.25
"""Of a call to the disk: it ends after all that are not slow."""
CLEAN_CHANCE = 0.7
"""That a node which left has ended cleanly when it is taken down."""
BACKUPS_KEPT = 6
LOGGED_CHANCE = 0.2
"""Of a block that the process wrote: it is in the activity log when the process ends, although it need not be."""

_is_slow = attrgetter("slow")
_REQUESTS = {ev.HandoverAsked: "handover", ev.ForceAsked: "force", ev.VerifyAsked: "verification"}


@attrs.define(eq=False)
class SimulatedNode:
    """What outlives a process, and the process if one runs."""

    name: str
    peer: str
    random: Random
    metadata: Metadata
    """Durable."""
    link: LinkEnd
    sectors: list[int] = attrs.Factory(lambda: [0] * SECTORS)
    """Durable: for each sector the value written last, which is the ticket of its write."""
    records: Blocks = attrs.Factory(lambda: dict.fromkeys(PLACES, 0))
    """Durable: by place, the ticket of the operation that put the record."""
    marks: DirtyMarks = attrs.Factory(DirtyMarks)
    """Durable."""
    damaged: dict[int, str] = attrs.Factory(dict)
    """Blocks that do not hold what their checksums say, with the fault that did it.

    A write of all of a block makes it whole; one of a part has to read the rest, and is refused.
    """
    misdirects: int | None = None
    """The next write of data goes to this block."""
    backups: deque[Backup] = attrs.field(factory=lambda: deque(maxlen=BACKUPS_KEPT))
    """Of the end of each epoch that this disk knew."""
    stale: bool = False
    """An older copy is in the place of the disk, and has not become the target of a resync."""
    newest: Backup | None = None
    """Of the only node that counts, while it is stale: the disk that must come back."""
    written: set[int] = attrs.Factory(set)
    """Blocks to which this process wrote."""
    logged: set[int] = attrs.Factory(set)
    """Blocks that were suspect when the disk failed under this process."""
    state: PairState | None = None
    """None while no process runs."""
    disk: list[UnderWay] = attrs.Factory(list)
    calls: deque[ArbiterCall] = attrs.Factory(deque)
    """One after the other, as the driver makes them."""
    timers: dict[ev.Timer, RunningTimer] = attrs.Factory(dict)
    held: dict[int, Blocks] = attrs.Factory(dict)
    """Ranges read for a comparison, by sequence."""
    permit: HeldPermit = attrs.field(init=False)
    """Of the process that runs."""
    reads: list[FoundRead] = attrs.Factory(list)
    """That wait for a permit."""
    asked_s: float = -math.inf
    """When it last asked for one, on the clock of the world, as the next."""
    permit_out_s: float = 0.0
    """When all that it has granted is over."""
    paused: bool = False
    """The process stands still; what it has asked of others goes on."""
    disk_hangs: bool = False
    """Its disk neither answers nor fails, whichever process asks."""
    kept_down: bool = False
    """Nobody starts it."""
    failing: bool = False
    """The disk has failed under this process: it cannot end cleanly any more."""
    untrue: list[Record] = attrs.Factory(list)
    """Of lines that nobody began: no process is started on a disk that knows of one."""
    requests: list[str] = attrs.Factory(list)
    """What operators asked of this process, and have not been told the end of."""
    excused: set[str] = attrs.Factory(set)
    """Reasons to end that this process was given."""

    @property
    def ended(self) -> bool:
        """Whether its process runs and takes no part any more."""
        return self.state is not None and (self.state.phase is Phase.STOPPED or self.state.phase is Phase.LEFT)

    def check_end(self) -> None:
        """``AssertionError`` if it has ended and nothing that happened excuses it."""
        if self.ended and self.state is not None and self.state.why not in self.excused:
            raise AssertionError(f"I15: {self.name} stopped without cause: {self.state.why}")

    @property
    def reachable(self) -> bool:
        """Whether it would agree to a session."""
        return self.state is not None and not self.paused and not self.ended and not self.disk_hangs

    def begin_disk_call(self, call: DiskCall, data: Blocks | None = None) -> None:
        """A call is made. ``AssertionError`` if it writes what another call writes, and they could end in any order."""
        data = {} if data is None else data
        for other in self.disk:
            in_order = isinstance(call, InOrder) and isinstance(other.call, InOrder)
            if other.data.keys() & data.keys() and not in_order:
                raise AssertionError(f"{self.name} writes a block twice at once: {other.call}, {call}")
        slow = self.random.random() < SLOW_CHANCE
        seen = self.read_for(call.operation) if isinstance(call, act.FetchRead) else {}
        since = self.permit.newest if isinstance(call, act.FetchRead) else 0
        self.disk.append(UnderWay(call, self.link.session, slow, self.marks.tracking, data, seen, since))

    def held_at(self, place: int) -> int:
        """What a sector holds, or a record."""
        return self.sectors[place] if place >= 0 else self.records[place]

    def read_for(self, operation: Operation) -> Blocks:
        """What a client reads, or compares."""
        if operation.kind is OperationKind.READ_RECORDS:
            return dict(self.records)
        return self.read(operation.offset, operation.size)

    def drags(self) -> bool:
        """Whether only slow calls are under way at the disk."""
        return all(map(_is_slow, self.disk))

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
                if ended.call.metadata.epoch != self.metadata.epoch:
                    self.backups.append(self.backup())
                if not only_heard(self.metadata, ended.call.metadata):
                    self.stale, self.newest = False, None
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
        if ended.data:
            self._write(ended)

    def _write(self, ended: UnderWay) -> None:
        """Data: a block of which all is written is whole from then on."""
        for place, value in ended.data.items():
            (self.sectors if place >= 0 else self.records)[place] = value
        blocks = blocks_with(ended.data)
        self.damaged = {block: fault for block, fault in self.damaged.items() if block not in blocks}
        if blocks and self.misdirects is not None:
            self.damaged[min(blocks)] = self.damaged[self.misdirects] = "misdirect"
            self.misdirects = None
        self.marks.settle()
        if blocks and not isinstance(ended.call, act.StoreRepair):
            self.written.update(blocks)
            self.mark_called(ended)

    def mark_called(self, ended: UnderWay) -> None:
        """Make durable that what a client wrote, or was refused, may differ, while every write is marked."""
        if ended.tracked and self.marks.tracking:
            self.marks.dirty.update(blocks_with(ended.data))

    def refused_for(self, data: Blocks) -> list[int]:
        """The damaged blocks for which nothing of that is written: it has a part of them only, and no rest to add."""
        return sorted(self.damaged.keys() & partly_covered(data)) if self.damaged else []

    def mark(self, ranges: Collection[Range]) -> None:
        """Make durable that these ranges may differ."""
        self.marks.add((block for where in ranges for block in blocks_of(*where)), self.metadata.epoch)

    def dirty_ranges(self, offset: int = 0) -> list[Range]:
        """Every range that is marked, from an offset on."""
        found: list[Range] = []
        for start, size in map(place_blocks, sorted(self.marks.dirty)):
            if found and sum(found[-1]) == start:
                found[-1] = found[-1][0], found[-1][1] + size
            elif start >= offset:
                found.append((start, size))
        return found

    def found_by(self, call: act.FindDirty) -> tuple[Range, ...]:
        """Mostly the first marked range alone, for a long way of a resync; now and then all."""
        found = self.dirty_ranges(call.offset)
        return tuple(found if call.search % 4 == 0 else found[:1])

    def read(self, offset: int, size: int) -> Blocks:
        """What the sectors of a range hold."""
        return {sector: self.sectors[sector] for sector in sectors_of(offset, size)}

    def crash(self) -> list[act.Swap]:
        """End the process: of what was under way any part may be on the disk. Returns swaps that are on their way."""
        in_order = True
        suspect = self._suspect() | self.logged
        writes = [each for each in self.disk if not isinstance(each.call, act.StoreRepair)]
        started = {block for under_way in writes for block in blocks_with(under_way.data)}
        torn: set[int] = set()
        for under_way in self.disk:
            if not isinstance(under_way.call, InOrder):
                data = self._part_of(under_way.data)
                if not isinstance(under_way.call, act.StoreRepair):
                    torn |= blocks_with(data)
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

    def _part_of(self, data: Blocks) -> Blocks:
        """What may be there of a write when the process ends. A damaged block is made whole by all of it, or not."""
        if self.refused_for(data):
            return {}
        whole = {block: self.random.random() < KEPT_CHANCE for block in sorted(blocks_with(data) & self.damaged.keys())}
        kept = {}
        for place, value in data.items():
            block = place // SECTORS_OF_BLOCK
            if whole[block] if block in whole else self.random.random() < KEPT_CHANCE:
                kept[place] = value
        return kept

    def end_cleanly(self) -> list[act.Swap]:
        """End the process after all that it has ordered of the disk, with nothing left in the activity log."""
        for under_way in self.disk:
            if not self.refused_for(under_way.data):
                self.apply(under_way)
        self.marks.settle()
        return self._end()

    def lose_disk_calls(self) -> None:
        """The disk fails: nothing that is under way ends, but what was written before stays in the activity log."""
        self.failing = True
        self.logged |= self._suspect()
        self.disk.clear()
        self.reads.clear()

    def _suspect(self) -> set[int]:
        """Blocks that the core holds for possibly different, or has ordered to be marked so."""
        ordered = [each.call.ranges for each in self.disk if isinstance(each.call, act.Track | act.MarkDirty)]
        known = self.state.may_differ if self.state else ()
        return {block for ranges in (known, *ordered) for where in ranges for block in blocks_of(*where)}

    def backup(self) -> Backup:
        """The disk as somebody who copies it now finds it."""
        dirty = self.marks.dirty | self.marks.extents | (self.written & self._suspect())
        base_epoch = self.metadata.epoch if dirty and self.marks.base_epoch is None else self.marks.base_epoch
        return Backup(self.metadata, tuple(self.sectors), tuple(self.records.items()), base_epoch, frozenset(dirty))

    def put_back(self, old: Backup, *, missed: bool) -> None:
        """Have that disk again, while no process runs. ``missed`` if the one that it had must come back."""
        if missed and self.newest is None:
            self.newest = self.backup()
        self.stale = True
        self._install(old)

    def give_back(self) -> None:
        """Have the newest disk again, unless what is in its place counts by now."""
        if self.newest is not None:
            self._install(self.newest)
            self.stale, self.newest = False, None

    def _install(self, disk: Backup) -> None:
        self.metadata = disk.metadata
        self._forget_untrue()
        self.sectors = list(disk.sectors)
        self.records = dict(disk.records)
        self.marks = DirtyMarks(disk.base_epoch, disk.base_epoch is not None, set(disk.dirty))
        self.repair()

    def take_back(self, record: Record) -> None:
        """It was never true. A process that believes it finds that out by itself, as does one that is told of it."""
        self.untrue.append(record)
        self.excused |= self.misled
        if self.state is None:
            self._forget_untrue()

    @property
    def misled(self) -> set[str]:
        """Why it may stop once a line was shown that seems to have been begun from that of the pair."""
        return {"arbiter-went-back"} if any(record.ancestors for record in self.untrue) else set()

    def _forget_untrue(self) -> None:
        for record in self.untrue:
            self.metadata = unheard(self.metadata, record)

    def tell_of(self, proposal: str) -> None:
        """Somebody enters in the disk that this was proposed for it, and the process takes that for its own."""
        self.metadata = self.metadata.intend(proposal)
        if self.state is not None:
            self.state = attrs.evolve(self.state, metadata=self.state.metadata.intend(proposal))

    def recover(self) -> int | None:
        """As the store when it is opened: mark what the activity log lists. The epoch from which all marks count."""
        if self.marks.extents:
            self.marks.add(self.marks.extents, self.metadata.epoch)
            self.marks.extents = set()
        return self.marks.base_epoch

    def wants(self, call: act.FetchRead) -> bool:
        """Whether the core still waits for that read."""
        return self.state is not None and any(flight.fetch == call.fetch for flight in self.state.flights)

    def _end(self) -> list[act.Swap]:
        swaps = [each.call for each in self.calls if isinstance(each.call, act.Swap) and each.answer is None]
        self.forget()
        return swaps

    def condemn(self, metadata: Metadata) -> None:
        """The disk under this copy failed; that it did is all that may be relied on from now on."""
        self.metadata = metadata
        self.repair()
        self.sectors = [value if self.random.random() < KEPT_CHANCE else 0 for value in self.sectors]
        kept = {place: value for place, value in self.records.items() if self.random.random() < KEPT_CHANCE}
        self.records = dict.fromkeys(PLACES, 0) | kept

    def repair(self) -> None:
        """No block is damaged any more."""
        self.damaged.clear()
        self.misdirects = None

    def request_begun(self, event: ev.HandoverAsked | ev.ForceAsked | ev.VerifyAsked) -> None:
        """Somebody asks for this. Comparisons that are asked for together end as one."""
        what = _REQUESTS[type(event)]
        if what != "verification" or what not in self.requests:
            self.requests.append(what)

    def request_ended(self, what: str) -> None:
        """Somebody who asked for this was told what became of it."""
        if what not in self.requests:
            raise AssertionError(f"{self.name} tells of the end of a {what} that nobody asked for")
        self.requests.remove(what)

    def forget(self) -> None:
        """All that a process holds."""
        self._forget_untrue()
        self.state = None
        self.paused = False
        self.link.clear()
        self.disk.clear()
        self.reads.clear()
        self.calls.clear()
        self.timers.clear()
        self.held.clear()
        self.requests.clear()
        self.written.clear()
        self.logged.clear()
