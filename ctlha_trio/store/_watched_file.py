"""The backing file as an open store uses it: each call is timed, and the first that fails is the store's end.

But for a place that cannot be read: it may be written anew.
"""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import TypeVar, TypeVarTuple

import attrs
import trio
from outcome import Error, Outcome, acapture, capture

from ctlha_trio._errors import StoreError, UnreadableError
from ctlha_trio.seams import Buffer, Clock, DiskFile, PromptFile
from ctlha_trio.store._queue import StepQueue

Answer = TypeVar("Answer")
Arguments = TypeVarTuple("Arguments")


@attrs.define(eq=False, repr=False)
class WatchedFile:
    """The calls of the file behind it, worthless if the store died while they ran."""

    _file: DiskFile
    _clock: Clock
    _queue: StepQueue
    owes_flush: bool = attrs.field(default=False, init=False)
    """What an earlier process has written may not be flushed yet."""
    _calls_s: dict[object, float] = attrs.field(factory=dict, init=False)
    _ended: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    _prompt: PromptFile | None = attrs.field(init=False)
    """The same file, if it can."""

    @_prompt.default
    def _if_prompt(self) -> PromptFile | None:
        return self._file if isinstance(self._file, PromptFile) else None

    @property
    def identity(self) -> Hashable:
        """As ``DiskFile`` says."""
        return self._file.identity

    @property
    def oldest_call_s(self) -> float | None:
        """When the oldest call still running began; None if there is none."""
        return next(iter(self._calls_s.values()), None)

    async def wait_for_calls(self) -> None:
        """Return once each call that runs now has ended, however. A checkpoint only if there is one."""
        running = set(self._calls_s)
        while not running.isdisjoint(self._calls_s):
            await self._ended.park()

    async def pread(self, offset: int, size: int) -> bytes:
        """Exactly ``size`` bytes from ``offset``. ``UnreadableError`` if the medium does not give them back."""
        return await self._call(self._file.pread, offset, size)

    async def pread_all(self, places: Sequence[tuple[int, int]]) -> list[bytes]:
        """``pread`` of each, offset and size, in one call."""
        return await self._call(self._file.pread_all, places)

    async def flush(self) -> None:
        """Make everything written before durable."""
        await self._call(self._file.flush)
        self.owes_flush = False

    async def write_through(self, extents: Sequence[tuple[int, Buffer]]) -> None:
        """Write each buffer whole, in order, and make it and everything written before durable."""
        await self._call(self._file.write_through, extents)
        self.owes_flush = False

    def start_write_through(
        self, extents: Sequence[tuple[int, Buffer]], on_end: Callable[[Outcome[None]], None], nursery: trio.Nursery
    ) -> None:
        """Begin ``write_through``, in a task in ``nursery`` if the file cannot do it without; ``on_end`` gets its end.

        It must not raise. ``StoreError`` if the store is dead. Whatever is raised, nothing was begun.
        """
        self._queue.check()
        token = object()

        def end(ended: Outcome[None]) -> None:
            on_end(capture(self._end_call, token, ended))

        self._calls_s[token] = self._clock.now()
        try:
            if self._prompt is None or not self._prompt.write_through_nowait(extents, end):
                nursery.start_soon(_tell_end, self._file.write_through, extents, end)
        except BaseException as error:
            self._end_call(token, Error(error))  # which raises it

    async def actual_bytes(self) -> int:
        """As ``DiskFile`` says. No call of the disk: one that hangs says nothing of the open file."""
        self._queue.check()
        return await self._file.actual_bytes()

    async def stray_name(self) -> str | None:
        """As ``DiskFile`` says. No call of the disk either."""
        self._queue.check()
        return await self._file.stray_name()

    def unlock(self) -> None:
        """As ``DiskFile`` says."""
        self._file.unlock()

    def close(self) -> None:
        """Give the file up."""
        self._file.close()

    async def _call(self, call: Callable[[*Arguments], Awaitable[Answer]], *arguments: *Arguments) -> Answer:
        self._queue.check()
        token = object()
        self._calls_s[token] = self._clock.now()
        return self._end_call(token, await acapture(call, *arguments))

    def _end_call(self, token: object, ended: Outcome[Answer]) -> Answer:
        del self._calls_s[token]
        self._ended.unpark_all()
        try:
            answer = ended.unwrap()
        except UnreadableError:
            self._queue.check()
            raise
        except StoreError as error:
            self._queue.die(error)
            self._queue.check()
            raise
        self._queue.check()
        return answer


async def _tell_end(
    call: Callable[[Sequence[tuple[int, Buffer]]], Awaitable[None]],
    extents: Sequence[tuple[int, Buffer]],
    on_end: Callable[[Outcome[None]], None],
) -> None:
    ended = await acapture(call, extents)
    on_end(ended)
    if isinstance(ended, Error) and isinstance(ended.error, trio.Cancelled):
        raise ended.error
