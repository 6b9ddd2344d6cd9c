"""A disk that is slow, hangs, fails or fills up, over one that loses power."""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from enum import Enum
from typing import TypeVar

import attrs
import trio

from ctlha_trio.seams import Buffer, DiskFile
from ctlha_trio.testing._drivers.damage import DiskDamage
from ctlha_trio.testing._drivers.gate import Gate
from ctlha_trio.testing._drivers.time import let_pass
from ctlha_trio.testing._power.disk import CallKind, PowerDisk

Answer = TypeVar("Answer")


class DiskFault(Enum):
    """What ends a copy. Each happens to the next call that it can happen to."""

    WRITE = "a write fails"
    FLUSH = "a flush fails"
    FULL = "the disk is full"


@attrs.define(eq=False)
class DiskTrouble:
    """What goes wrong with the disk of one node, whichever disk that is."""

    gate: Gate
    """Of the node."""
    latency_s: Callable[[CallKind], float]
    """Of the next call of that kind."""
    damage: DiskDamage
    calls: int = attrs.field(default=0, init=False)
    """Under way."""
    fault: DiskFault | None = None
    """Waits for its call."""
    may_fail: Callable[[DiskFault], bool] = lambda _: True
    """Asked at the moment of the call; a fault that may not happen now waits for the next one."""
    on_strike: Callable[[DiskFault], None] = lambda _: None
    """Told at that moment."""
    on_hang: Callable[[], None] = lambda: None
    """Told of each call that hangs."""
    hung: list[object] = attrs.field(factory=list, init=False)
    """The calls that do not end."""
    _to_hang: float = attrs.field(default=0, init=False)
    """So many of the next calls will."""
    _answering: trio.Event = attrs.field(factory=trio.Event, init=False)

    def hang(self, calls: float) -> None:
        """Let the next calls hang, so many, until ``answer``. They have not failed: nothing is known of them."""
        self._to_hang = calls

    def answer(self) -> None:
        """Let those that hang go on, and those to come."""
        self._to_hang = 0
        self._answering.set()
        self._answering = trio.Event()

    async def wait_to_hang(self) -> None:
        """A call begins: it goes on at once, or hangs."""
        if self._to_hang:
            self._to_hang -= 1
            call = object()
            self.hung.append(call)
            self.on_hang()
            try:
                await self._answering.wait()
            finally:
                self.hung.remove(call)

    def strike(self, disk: PowerDisk, kind: CallKind) -> None:
        """Tell the disk of the fault that happens to this call, if one does."""
        fault = self.fault
        struck = {DiskFault.WRITE: CallKind.WRITE, DiskFault.FLUSH: CallKind.FLUSH, DiskFault.FULL: CallKind.WRITE}
        if fault is None or struck.get(fault, kind) is not kind or not self.may_fail(fault):
            return
        self.fault = None
        self.on_strike(fault)
        match fault:
            case DiskFault.WRITE:
                disk.fail_write_at(disk.count(CallKind.WRITE) + 1)
            case DiskFault.FLUSH:
                disk.fail_flush_at(disk.count(CallKind.FLUSH) + 1)
            case DiskFault.FULL:
                disk.full()


@attrs.frozen
class TroubledDisk:
    """Another disk, each call of which takes its time and may fail. Opening takes none."""

    _disk: PowerDisk
    _trouble: DiskTrouble

    async def open(self, path: str) -> DiskFile:
        """Open a file of the disk behind this one."""
        await self._trouble.gate.wait_open()
        return TroubledFile(await self._disk.open(path), path, self._disk, self._trouble)


@attrs.frozen(eq=False)
class TroubledFile:
    """An open file of a ``TroubledDisk``. A call that is cancelled during its latency is not made."""

    _file: DiskFile
    _path: str
    _disk: PowerDisk
    _trouble: DiskTrouble

    @property
    def size_bytes(self) -> int:
        """Size of the file in bytes, fixed."""
        return self._file.size_bytes

    @property
    def identity(self) -> Hashable:
        """Of the file behind it."""
        return self._file.identity

    async def pread(self, offset: int, size: int) -> bytes:
        """Exactly ``size`` bytes from ``offset``."""
        data = await self._call(CallKind.READ, lambda: self._file.pread(offset, size))
        return self._trouble.damage.read(offset, data)

    async def pread_all(self, places: Sequence[tuple[int, int]]) -> list[bytes]:
        """One after the other."""
        return [await self.pread(offset, size) for offset, size in places]

    async def pwrite(self, extents: Sequence[tuple[int, Buffer]]) -> None:
        """Write each buffer whole, in order."""
        await self._call(CallKind.WRITE, lambda: self._write(extents))

    async def _write(self, extents: Sequence[tuple[int, Buffer]]) -> None:
        damage = self._trouble.damage
        before = self._disk.content(self._path) if damage.misdirects else b""
        await self._file.pwrite(extents)
        damage.wrote(extents, before)

    async def flush(self) -> None:
        """Make durable what was written before the latency has passed."""
        await self._call(CallKind.FLUSH, self._file.flush)

    async def write_through(self, extents: Sequence[tuple[int, Buffer]]) -> None:
        """One after the other."""
        await self.pwrite(extents)
        await self.flush()

    async def actual_bytes(self) -> int:
        """Of the file behind it, unless the machine stands still. It is no call of the disk."""
        await self._trouble.gate.wait_open()
        return await self._file.actual_bytes()

    async def stray_name(self) -> str | None:
        """Of the file behind it, unless the machine stands still. It is no call of the disk."""
        await self._trouble.gate.wait_open()
        return await self._file.stray_name()

    def unlock(self) -> None:
        """Let the file be opened again."""
        self._file.unlock()

    def close(self) -> None:
        """Give the file up."""
        self._file.close()

    async def _call(self, kind: CallKind, call: Callable[[], Awaitable[Answer]]) -> Answer:
        self._trouble.calls += 1
        try:
            await let_pass(self._trouble.latency_s(kind))
            await self._trouble.gate.wait_open()
            await self._trouble.wait_to_hang()
            await self._trouble.gate.wait_open()
            self._trouble.strike(self._disk, kind)
            answer = await call()
            await self._trouble.gate.wait_open()
        finally:
            self._trouble.calls -= 1
        return answer
