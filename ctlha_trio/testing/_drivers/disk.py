"""A disk that is slow, fails, fills up or hangs, over one that loses power."""

from collections.abc import Awaitable, Callable, Sequence
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
    HANG = "a call hangs"


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

    def strike(self, disk: PowerDisk, kind: CallKind) -> DiskFault | None:
        """The fault that happens to this call, which the disk has been told of."""
        fault = self.fault
        struck = {DiskFault.WRITE: CallKind.WRITE, DiskFault.FLUSH: CallKind.FLUSH, DiskFault.FULL: CallKind.WRITE}
        if fault is None or struck.get(fault, kind) is not kind or not self.may_fail(fault):
            return None
        self.fault = None
        self.on_strike(fault)
        match fault:
            case DiskFault.WRITE:
                disk.fail_write_at(disk.count(CallKind.WRITE) + 1)
            case DiskFault.FLUSH:
                disk.fail_flush_at(disk.count(CallKind.FLUSH) + 1)
            case DiskFault.FULL:
                disk.full()
            case DiskFault.HANG:
                pass
        return fault


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

    def close(self) -> None:
        """Give the file up."""
        self._file.close()

    async def _call(self, kind: CallKind, call: Callable[[], Awaitable[Answer]]) -> Answer:
        self._trouble.calls += 1
        try:
            await let_pass(self._trouble.latency_s(kind))
            await self._trouble.gate.wait_open()
            if self._trouble.strike(self._disk, kind) is DiskFault.HANG:
                await trio.sleep_forever()
            answer = await call()
            await self._trouble.gate.wait_open()
        finally:
            self._trouble.calls -= 1
        return answer
