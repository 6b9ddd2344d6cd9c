"""A disk in memory whose power can fail at any call."""

from collections import Counter
from collections.abc import Callable, Sequence
from enum import Enum
from typing import TypeVar

import attrs
import trio

from ctlha_trio._errors import InvalidError, LocalProtocolError, StoreError, UnreadableError
from ctlha_trio.seams import Buffer, DiskFile
from ctlha_trio.testing._power.medium import (
    SECTOR_BYTES,
    Loss,
    PendingWrite,
    PowerMedium,
    enumerate_losses,
    halve,
    lay_out,
)

T = TypeVar("T")


class PowerCut(BaseException):
    """The power failed under this call, or before it.

    Not an ``Exception``: a node may catch those and live on, report them, or try again, and the dead do none of this.
    Like ``KeyboardInterrupt`` it passes every handler that a node has, cancels its tasks and ends it; a test expects it
    from the node's scope, alone or in a ``BaseExceptionGroup``. It is raised rather than slept on, so that a run ends.
    """


class Moment(Enum):
    """When the power fails, seen from the call."""

    BEFORE = "before"
    """The call has done nothing."""
    DURING = "during"
    """Half of a write is in the disk's cache. A flush has made nothing durable for certain."""
    AFTER = "after"
    """The call has done all that it does; only its return is missing."""


class CallKind(Enum):
    """The calls that are numbered. Opening and closing change nothing and are not."""

    READ = "read"
    WRITE = "write"
    FLUSH = "flush"


@attrs.frozen
class DiskCall:
    """One call that was made; its number is its place in ``PowerDisk.calls``, from 1."""

    kind: CallKind
    path: str


@attrs.frozen
class Change:
    """What a write or a flush did."""

    written: tuple[PendingWrite, ...] = ()
    """In the disk's cache."""
    flushed: tuple[PendingWrite, ...] = ()
    """Durable; the oldest of those that were not."""


@attrs.define(eq=False, repr=False)
class PowerDisk:
    """Files of fixed size, by path. No threads: each call is one checkpoint and then happens at once.

    Calls are numbered from 1 over all files, so ``calls`` of a run without a cut tells where one can be. After the
    power failed, every call raises ``PowerCut``, and ``after_cut`` gives the disk that the node's next start finds.

    As on a real disk, a call that was begun is made to its end even if it is cancelled, and the first write or flush
    that fails ends the open file. It may be opened again. After a flush that failed, reads show what it was to make
    durable and later flushes succeed, but only a new write of it can be made durable: so does Linux, which takes the
    pages for clean.
    """

    _medium: PowerMedium = attrs.field(converter=lay_out)
    on_cut: Callable[[], None] | None = None
    """Called at the moment of the cut, for what fails with the disk, such as the node's network."""
    on_change: Callable[[Change], None] | None = attrs.field(default=None, init=False)
    """Called after each write and each flush, for who keeps a journal of them."""
    calls: list[DiskCall] = attrs.field(factory=list, init=False)
    """One for each numbered call: as long as the run under test."""
    is_cut: bool = attrs.field(default=False, init=False)
    was_cut_at_call: bool = attrs.field(default=False, init=False)
    """The power failed where ``cut_at`` had said."""
    told_sizes: dict[str, int] = attrs.field(factory=dict, init=False)
    """By path: what a look at the open file finds, as if someone had cut it short or made it grow. Its bytes stay."""
    _open: set[str] = attrs.field(factory=set, init=False)
    _made: Counter[CallKind] = attrs.field(factory=Counter, init=False)
    _cut: tuple[int, Moment] | None = attrs.field(default=None, init=False)
    _failing: set[tuple[CallKind, int]] = attrs.field(factory=set, init=False)
    _is_full: bool = attrs.field(default=False, init=False)
    _lost_sectors: set[tuple[str, int]] = attrs.field(factory=set, init=False)
    """Path, and the sector's number."""
    _nameless: set[str] = attrs.field(factory=set, init=False)

    def __repr__(self) -> str:
        return f"<PowerDisk: {len(self.calls)} calls{', cut' if self.is_cut else ''}>"

    async def open(self, path: str) -> DiskFile:
        """Open for reading and writing; ``StoreError`` if there is no such file or it is open already."""
        await trio.lowlevel.checkpoint()
        self.raise_if_cut()
        if path not in self._medium or not self.is_named(path):
            raise StoreError(f"{path}: there is no such file")
        if path in self._open:
            raise StoreError(f"{path}: in use")
        self._open.add(path)
        return PowerFile(disk=self, medium=self._medium, path=path)

    def content(self, path: str) -> bytes:
        """Return what a read of the whole file would give, flushed or not."""
        return bytes(self._medium.seen(path))

    def durable_content(self, path: str) -> bytes:
        """Return what the whole file would be after a cut now that keeps nothing but what was flushed."""
        return bytes(self._medium.durable(path))

    def durable_range(self, path: str, offset: int, size: int) -> bytes:
        """Return a part of ``durable_content``."""
        return bytes(memoryview(self._medium.durable(path))[offset : offset + size])

    def count(self, kind: CallKind) -> int:
        """Return how many calls of that kind were made."""
        return self._made[kind]

    def cut_at(self, call_number: int, moment: Moment) -> None:
        """Let the power fail at the call of that number, counted from 1. Replaces an earlier ``cut_at``."""
        if call_number <= len(self.calls):
            raise LocalProtocolError(f"there was a call {call_number} already")
        self._cut = call_number, moment

    def cut_never(self) -> None:
        """Undo ``cut_at``."""
        self._cut = None

    def cut_now(self) -> None:
        """Let the power fail between two calls; those under way have done nothing. Again: nothing happens."""
        if not self.is_cut:
            self.is_cut = True
            if self.on_cut is not None:
                self.on_cut()

    def fail_write_at(self, ordinal: int) -> None:
        """Let the write of that ordinal, counting writes alone from 1, do half and raise ``StoreError``."""
        self._fail_at(CallKind.WRITE, ordinal)

    def fail_flush_at(self, ordinal: int) -> None:
        """Let the flush of that ordinal, counting flushes alone from 1, do nothing and raise ``StoreError``."""
        self._fail_at(CallKind.FLUSH, ordinal)

    def full(self) -> None:
        """Let every write from now on raise ``StoreError`` without effect, as it does in a sparse file."""
        self._is_full = True

    def free(self) -> None:
        """Undo ``full``."""
        self._is_full = False

    @property
    def pending(self) -> Sequence[PendingWrite]:
        """What was written and not flushed, in the order of writing over all files."""
        return tuple(self._medium.pending)

    def decay(self, path: str, offset: int) -> None:
        """Let a bit of the byte there flip, on the medium and for reads. ``InvalidError`` if there is no such byte."""
        self._check_byte(path, offset)
        self._medium.flip(path, offset)

    def put(self, path: str, offset: int, data: bytes) -> None:
        """Let these bytes lie there, on the medium and for reads, whatever was written."""
        self._medium.put(path, offset, data)

    def lose_sector(self, path: str, offset: int) -> None:
        """Let reads of the sector there raise ``UnreadableError``, until it is written whole.

        ``InvalidError`` if there is no such sector.
        """
        self._check_byte(path, offset)
        self._lost_sectors.add((path, offset // SECTOR_BYTES))

    def find_sector(self, path: str, offset: int) -> None:
        """Undo ``lose_sector``: the sector can be read again, as it was written."""
        self._lost_sectors.discard((path, offset // SECTOR_BYTES))

    def take_name(self, path: str) -> None:
        """Let the path name no file any more, as if it were removed while it is open."""
        self._nameless.add(path)

    def give_name(self, path: str) -> None:
        """Undo ``take_name``."""
        self._nameless.discard(path)

    def is_named(self, path: str) -> bool:
        """Whether the path names its file. For ``PowerFile``."""
        return path not in self._nameless

    def _check_byte(self, path: str, offset: int) -> None:
        if path not in self._medium:
            raise InvalidError(f"{path}: there is no such file")
        if not 0 <= offset < len(self._medium.seen(path)):
            raise InvalidError(f"{path}: no byte at {offset}, it has {len(self._medium.seen(path))}, from 0")

    def check_readable(self, path: str, offset: int, size: int) -> None:
        """Raise ``UnreadableError`` if a sector of the range is lost. For ``PowerFile``."""
        for sector in range(offset // SECTOR_BYTES, -(-(offset + size) // SECTOR_BYTES)):
            if (path, sector) in self._lost_sectors:
                raise UnreadableError(f"{path}: the sector at {sector * SECTOR_BYTES} cannot be read")

    def wrote(self, path: str, offset: int, size: int) -> None:
        """Sectors that are written whole can be read again. For ``PowerFile``."""
        if self._lost_sectors:
            written = range(-(-offset // SECTOR_BYTES), (offset + size) // SECTOR_BYTES)
            self._lost_sectors.difference_update((path, sector) for sector in written)

    def outcomes(self) -> list[Loss]:
        """Return what may have become of the writes that were not flushed, as ``enumerate_losses`` lists it."""
        return enumerate_losses(self._medium.pending)

    def after_cut(self, choice: Loss) -> "PowerDisk":
        """Return the disk that is found when the power is back: all that was flushed, and what ``choice`` keeps."""
        if not self.is_cut:
            raise LocalProtocolError("the power has not failed")
        disk = PowerDisk(self._medium.after(choice))
        disk._lost_sectors |= self._lost_sectors
        disk._nameless |= self._nameless
        return disk

    async def run_call(self, kind: CallKind, path: str, effect: Callable[[Moment], T]) -> T:
        """Number a call and let it have its effect, or half of it, or none. For ``PowerFile``."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self.raise_if_cut()
        self.calls.append(DiskCall(kind, path))
        self._made[kind] += 1
        ordinal = self._made[kind]
        moment = self._cut[1] if self._cut is not None and self._cut[0] == len(self.calls) else None
        self.was_cut_at_call = moment is not None
        if moment is Moment.BEFORE:
            self.cut_now()
        await trio.lowlevel.cancel_shielded_checkpoint()
        self.raise_if_cut()
        if moment is None:
            self._fail_if_told(kind, ordinal, path, effect)
        answer = effect(moment or Moment.AFTER)
        if moment is not None:
            self.cut_now()
            raise PowerCut
        return answer

    def changed(self, change: Change) -> None:
        """Tell whoever wants to know. For ``PowerFile``."""
        if self.on_change is not None:
            self.on_change(change)

    def release(self, path: str) -> None:
        """Let the file be opened again. For ``PowerFile``."""
        self._open.discard(path)

    def raise_if_cut(self) -> None:
        """Raise ``PowerCut`` once the power has failed. For ``PowerFile``."""
        if self.is_cut:
            raise PowerCut

    def _fail_if_told(self, kind: CallKind, ordinal: int, path: str, effect: Callable[[Moment], T]) -> None:
        if kind is CallKind.WRITE and self._is_full:
            raise StoreError(f"{path}: no space left")
        if (kind, ordinal) in self._failing:
            effect(Moment.DURING)
            if kind is CallKind.FLUSH:
                self._medium.forget(path)
            raise StoreError(f"{path}: {kind.value} {ordinal} failed")

    def _fail_at(self, kind: CallKind, ordinal: int) -> None:
        if ordinal <= self._made[kind]:
            raise LocalProtocolError(f"there was a {kind.value} {ordinal} already")
        self._failing.add((kind, ordinal))


@attrs.define(eq=False, kw_only=True)
class PowerFile:
    """An open file of a ``PowerDisk``."""

    _disk: PowerDisk
    _medium: PowerMedium
    _path: str
    _failure: StoreError | None = attrs.field(default=None, init=False)
    _closed: bool = attrs.field(default=False, init=False)

    @property
    def size_bytes(self) -> int:
        """Size of the file in bytes, fixed."""
        return len(self._medium.seen(self._path))

    @property
    def identity(self) -> str:
        """Its path: no other file is ever put there."""
        return self._path

    async def pread(self, offset: int, size: int) -> bytes:
        """Exactly ``size`` bytes from ``offset``."""
        self._check_range(offset, size)

        def effect(_: Moment) -> bytes:
            self._disk.check_readable(self._path, offset, size)
            return bytes(self._medium.seen(self._path)[offset : offset + size])

        return await self._call(CallKind.READ, effect)

    async def pread_all(self, places: Sequence[tuple[int, int]]) -> list[bytes]:
        """One after the other."""
        return [await self.pread(offset, size) for offset, size in places]

    async def pwrite(self, extents: Sequence[tuple[int, Buffer]]) -> None:
        """Write each buffer whole, in order: each is lost, kept or torn by itself until it is flushed."""
        writes = [PendingWrite(self._path, offset, bytes(buffer)) for offset, buffer in extents]
        for write in writes:
            self._check_range(write.offset, len(write.data))

        def effect(moment: Moment) -> None:
            done = halve(writes) if moment is Moment.DURING else writes
            self._medium.write(done)
            self._disk.changed(Change(written=tuple(done)))
            if moment is Moment.AFTER:
                for write in writes:
                    self._disk.wrote(self._path, write.offset, len(write.data))

        await self._call(CallKind.WRITE, effect)

    async def flush(self) -> None:
        """Make durable what was written before the call, and nothing that is written meanwhile."""
        covered = [write for write in self._medium.pending if write.path == self._path]

        def effect(moment: Moment) -> None:
            done = [] if moment is Moment.DURING else covered
            self._medium.flush(done)
            self._disk.changed(Change(flushed=tuple(done)))

        await self._call(CallKind.FLUSH, effect)

    async def write_through(self, extents: Sequence[tuple[int, Buffer]]) -> None:
        """One after the other."""
        await self.pwrite(extents)
        await self.flush()

    async def actual_bytes(self) -> int:
        """Not numbered: it changes nothing."""
        await trio.lowlevel.checkpoint()
        self._raise_if_unusable()
        return self._disk.told_sizes.get(self._path, self.size_bytes)

    async def stray_name(self) -> str | None:
        """None while its path names it, else nothing by which it could be read. Not numbered: it changes nothing."""
        await trio.lowlevel.checkpoint()
        self._raise_if_unusable()
        return None if self._disk.is_named(self._path) else ""

    def close(self) -> None:
        """Give the file up. Does not flush. May be called twice."""
        self.unlock()

    def unlock(self) -> None:
        """Let the file be opened again. Nothing else is to be given up: its identity is its path."""
        if not self._closed:
            self._closed = True
            self._disk.release(self._path)

    async def _call(self, kind: CallKind, effect: Callable[[Moment], T]) -> T:
        self._raise_if_unusable()
        try:
            answer = await self._disk.run_call(kind, self._path, effect)
        except UnreadableError:
            raise
        except StoreError as error:
            self._failure = self._failure or error
            raise
        self._raise_if_failed()
        return answer

    def _raise_if_unusable(self) -> None:
        self._disk.raise_if_cut()
        self._raise_if_failed()
        if self._closed:
            raise StoreError(f"{self._path}: closed")

    def _raise_if_failed(self) -> None:
        if self._failure is not None:
            raise StoreError(f"{self._path}: refused, an earlier call failed: {self._failure}") from self._failure

    def _check_range(self, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > self.size_bytes:
            raise StoreError(f"{self._path}: {size} bytes at {offset} are not within its {self.size_bytes} bytes")
