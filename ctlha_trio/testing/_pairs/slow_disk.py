"""A disk whose calls take time on Trio's clock, so that what does not wait for them can be seen to overtake them."""

from collections.abc import Callable, Hashable, Sequence

import attrs

from ctlha_trio.seams import Buffer, Disk, DiskFile, TrioClock


@attrs.frozen
class SlowDisk:
    """Another disk, each call of which begins ``call_s()`` seconds late. Opening takes no time."""

    _disk: Disk
    _call_s: Callable[[], float]

    async def open(self, path: str) -> DiskFile:
        """Open a file of the disk behind this one."""
        return SlowFile(await self._disk.open(path), self._call_s)


@attrs.frozen(eq=False)
class SlowFile:
    """An open file of a ``SlowDisk``. A call that is cancelled during its delay is not made."""

    _file: DiskFile
    _call_s: Callable[[], float]

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
        await self._delay()
        return await self._file.pread(offset, size)

    async def pread_all(self, places: Sequence[tuple[int, int]]) -> list[bytes]:
        """One after the other."""
        return [await self.pread(offset, size) for offset, size in places]

    async def pwrite(self, extents: Sequence[tuple[int, Buffer]]) -> None:
        """Write each buffer whole, in order."""
        await self._delay()
        await self._file.pwrite(extents)

    async def flush(self) -> None:
        """Make durable what was written before the delay has passed."""
        await self._delay()
        await self._file.flush()

    async def write_through(self, extents: Sequence[tuple[int, Buffer]]) -> None:
        """One after the other."""
        await self.pwrite(extents)
        await self.flush()

    async def actual_bytes(self) -> int:
        """At once: it is no call of the disk."""
        return await self._file.actual_bytes()

    async def stray_name(self) -> str | None:
        """At once: it is no call of the disk."""
        return await self._file.stray_name()

    def unlock(self) -> None:
        """Let the file be opened again."""
        self._file.unlock()

    def close(self) -> None:
        """Give the file up."""
        self._file.close()

    async def _delay(self) -> None:
        if call_s := self._call_s():
            clock = TrioClock()
            await clock.sleep_until(clock.now() + call_s)
