"""The real disk: blocking system calls in worker threads."""

import errno
import fcntl
import os
import stat
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Final, TypeVar

import attrs
import outcome
import trio

from ctlha_trio._errors import StoreError, UnreadableError
from ctlha_trio.seams._acquire import acquire
from ctlha_trio.seams._threads import Threads
from ctlha_trio.seams._types import Buffer, DiskFile

T = TypeVar("T")

MAX_THREADS = 8
"""Calls under way at once, per disk. A disk that hangs must not take the threads that others need."""

_UNREADABLE: Final = frozenset({errno.EIO, errno.ENODATA, errno.EILSEQ})
"""How the kernel tells of a place that a medium does not give back: in general, by name, or by its own checksum."""

MAX_BUFFERS_PER_CALL = 1024
"""The kernel's IOV_MAX: more in one ``pwritev`` is refused."""


@attrs.define(eq=False)
class ThreadDisk:
    """Opens files and block devices of this machine.

    A call that runs in its thread is not abandoned: a cancelled caller waits until the kernel has answered, because
    only then is it known that nothing more will be written.
    """

    _threads: Threads = attrs.field(factory=lambda: Threads.at_most(MAX_THREADS), init=False)

    async def open(self, path: str) -> DiskFile:
        """Open what exists and lock it. ``StoreError`` if it is missing, in use, or neither file nor block device."""
        try:
            return await self._threads.run(lambda: _open_locked(path, self._threads))
        except BlockingIOError as error:
            raise StoreError(f"{path}: in use: another process or another opener holds its lock") from error
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise StoreError(f"{path}: cannot be opened: {reason}") from error


@attrs.define(eq=False, kw_only=True)
class ThreadDiskFile:
    """An open file of a ``ThreadDisk``.

    The first write or flush that fails ends it: from then on every call raises ``StoreError``, also one that was under
    way meanwhile. The kernel tells of a lost write only once, so a later flush that succeeds would prove nothing.
    """

    _path: str
    size_bytes: int
    identity: tuple[int, ...]
    _descriptor: int
    _threads: Threads
    _is_device: bool
    """What a driver says of its size is none of anybody's doing: it may be 0 for as long as the device is not there."""
    _failure: Exception | None = attrs.field(default=None, init=False)
    _unlocked: bool = attrs.field(default=False, init=False)
    _closed: bool = attrs.field(default=False, init=False)
    _calls: int = attrs.field(default=0, init=False)
    _flushing: trio.Semaphore = attrs.field(factory=lambda: trio.Semaphore(1), init=False)
    """No lock, which would belong to a task: what ``write_through_nowait`` began is ended by none."""

    async def pread(self, offset: int, size: int) -> bytes:
        """Exactly ``size`` bytes from ``offset``. ``UnreadableError`` if the medium does not give them back."""
        (content,) = await self.pread_all([(offset, size)])
        return content

    async def pread_all(self, places: Sequence[tuple[int, int]]) -> list[bytes]:
        """``pread`` of each in one call of a thread. ``UnreadableError`` if the medium does not give one back."""
        for offset, size in places:
            self._check_range(offset, size)
        return await self._call(
            lambda: [_read_all(self._descriptor, offset, size) for offset, size in places], "read", fatal=False
        )

    async def pwrite(self, extents: Sequence[tuple[int, Buffer]]) -> None:
        """Write each buffer whole, in order. The buffers must not change until it returns."""
        for offset, buffer in extents:
            self._check_range(offset, memoryview(buffer).nbytes)
        await self._call(partial(_write_extents, self._descriptor, self._least_bytes, extents), "write", fatal=True)

    async def flush(self) -> None:
        """Return once everything written before the call is on stable media. Flushes go one after the other."""
        await self._call_alone(lambda: os.fdatasync(self._descriptor), "flush")

    async def write_through(self, extents: Sequence[tuple[int, Buffer]]) -> None:
        """``pwrite`` and ``flush`` in one call of a thread."""
        for offset, buffer in extents:
            self._check_range(offset, memoryview(buffer).nbytes)

        await self._call_alone(self._writing_through(extents), "write or flush")

    def write_through_nowait(
        self, extents: Sequence[tuple[int, Buffer]], on_end: Callable[[outcome.Outcome[None]], None]
    ) -> bool:
        """As ``PromptFile`` says. False while another write or flush is under way, or every thread is taken."""
        for offset, buffer in extents:
            self._check_range(offset, memoryview(buffer).nbytes)
        self._raise_if_unusable()
        if not self._flushing.value:
            return False

        def end(ended: outcome.Outcome[None]) -> None:
            self._flushing.release()
            on_end(outcome.capture(partial(self._end_call, ended, "write or flush", fatal=True)))

        if not self._threads.start(self._writing_through(extents), end):
            return False
        self._flushing.acquire_nowait()
        self._calls += 1
        return True

    async def actual_bytes(self) -> int:
        """As ``DiskFile`` says. ``StoreError`` too if the file is closed or has failed."""
        if self._is_device:
            await trio.lowlevel.checkpoint()
            return self.size_bytes
        return await self._call(partial(_actual_bytes, self._descriptor), "look for its size", fatal=False)

    async def stray_name(self) -> str | None:
        """As ``DiskFile`` says. ``StoreError`` too if the file is closed or has failed."""
        return await self._call(partial(_stray_name, self._path, self._descriptor), "look for its name", fatal=False)

    def unlock(self) -> None:
        """Give the lock up once the calls under way have ended. The descriptor keeps the inode from being used anew."""
        if not self._unlocked:
            self._unlocked = True
            self._release_if_idle()

    def close(self) -> None:
        """Give the file and its lock up, once the calls under way have ended. May be called twice."""
        if not self._closed:
            self._unlocked = self._closed = True
            self._release_if_idle()

    def _writing_through(self, extents: Sequence[tuple[int, Buffer]]) -> Callable[[], None]:
        return partial(_write_and_flush, self._descriptor, self._least_bytes, extents)

    @property
    def _least_bytes(self) -> int:
        """That it has to have for a write. What is not there of a device a write itself meets."""
        return 0 if self._is_device else self.size_bytes

    async def _call_alone(self, function: Callable[[], None], verb: str) -> None:
        # Side by side, one flush could take the kernel's only report of a lost write while the other returns as if all
        # were well.
        await acquire(self._flushing)
        try:
            await self._call(function, verb, fatal=True)
        finally:
            self._flushing.release()

    async def _call(self, function: Callable[[], T], verb: str, *, fatal: bool) -> T:
        self._raise_if_unusable()
        self._calls += 1
        return self._end_call(await outcome.acapture(self._threads.run, function), verb, fatal=fatal)

    def _end_call(self, ended: outcome.Outcome[T], verb: str, *, fatal: bool) -> T:
        self._calls -= 1
        self._release_if_idle()
        try:
            answer = ended.unwrap()
        except OSError as error:
            if fatal:
                self._failure = self._failure or error
            kind = UnreadableError if not fatal and error.errno in _UNREADABLE else StoreError
            raise kind(f"{self._path}: {verb} failed: {error}") from error
        if self._failure is not None:
            self._raise_if_unusable()
        return answer

    def _raise_if_unusable(self) -> None:
        if self._failure is not None:
            raise StoreError(f"{self._path}: refused, an earlier call failed: {self._failure}") from self._failure
        if self._unlocked:
            raise StoreError(f"{self._path}: closed")

    def _release_if_idle(self) -> None:
        if self._calls:
            # A descriptor that is closed under a running call may be another file's by the time the kernel looks at it.
            return
        if self._closed:
            os.close(self._descriptor)
        elif self._unlocked:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _check_range(self, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > self.size_bytes:
            raise StoreError(f"{self._path}: {size} bytes at {offset} are not within its {self.size_bytes} bytes")


def _open_locked(path: str, threads: Threads) -> ThreadDiskFile:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        mode = status.st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            raise ValueError("neither a file nor a block device")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return ThreadDiskFile(
            path=path,
            size_bytes=_actual_bytes(descriptor),
            identity=_identity(status),
            descriptor=descriptor,
            threads=threads,
            is_device=stat.S_ISBLK(mode),
        )
    except BaseException:
        os.close(descriptor)
        raise


def _actual_bytes(descriptor: int) -> int:
    """Of a block device too, of which its status does not tell. The position is nothing that any call goes by."""
    return os.lseek(descriptor, 0, os.SEEK_END)


def _stray_name(path: str, descriptor: int) -> str | None:
    """``OSError`` if the path cannot be followed, which does not say that it leads nowhere."""
    try:
        is_named = _identity(os.stat(path)) == _identity(os.fstat(descriptor))
    except (FileNotFoundError, NotADirectoryError):
        is_named = False
    if is_named:
        return None
    return f"/proc/{os.getpid()}/fd/{descriptor}" if sys.platform == "linux" else ""


def _identity(status: os.stat_result) -> tuple[int, ...]:
    """Of a block device the device: its name may be made anew, and is that of the same disk."""
    return (status.st_rdev,) if stat.S_ISBLK(status.st_mode) else (status.st_dev, status.st_ino)


def _read_all(descriptor: int, offset: int, size: int) -> bytes:
    chunks: list[bytes] = []
    left = size
    while left:
        chunk = os.pread(descriptor, left, offset + size - left)
        if not chunk:
            raise OSError(f"the file ends {left} bytes before the end of the read: it was cut short by someone")
        chunks.append(chunk)
        left -= len(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _write_extents(descriptor: int, least_bytes: int, extents: Sequence[tuple[int, Buffer]]) -> None:
    # A write near the end would make a file that was cut short as large as before, and a hole of what was cut off.
    if (actual_bytes := _actual_bytes(descriptor)) < least_bytes:
        raise OSError(f"the file has {actual_bytes} bytes, of {least_bytes} before: it was cut short by someone")
    run: list[memoryview] = []
    start = end = 0
    for offset, buffer in extents:
        view = memoryview(buffer).cast("B")
        if offset != end:
            _write_run(descriptor, start, run)
            run, start, end = [], offset, offset
        if view:
            run.append(view)
        end += len(view)
    _write_run(descriptor, start, run)


def _write_and_flush(descriptor: int, least_bytes: int, extents: Sequence[tuple[int, Buffer]]) -> None:
    _write_extents(descriptor, least_bytes, extents)
    os.fdatasync(descriptor)


def _write_run(descriptor: int, offset: int, buffers: list[memoryview]) -> None:
    """Write buffers that lie one behind the other, going on after short counts."""
    first = 0
    while first < len(buffers):
        written = os.pwritev(descriptor, list(islice(buffers, first, first + MAX_BUFFERS_PER_CALL)), offset)
        if not written:
            raise OSError("the kernel wrote nothing and gave no reason")
        offset += written
        while first < len(buffers) and written >= len(buffers[first]):
            written -= len(buffers[first])
            first += 1
        if written:
            buffers[first] = buffers[first][written:]
