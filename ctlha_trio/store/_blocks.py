"""The store of one volume: its bytes and its metadata in one backing file, made durable by one commit loop."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar, TypeVarTuple

import attrs
import trio

from ctlha_trio._errors import ConfigError, InvalidError, StoreError
from ctlha_trio.pair import Metadata
from ctlha_trio.seams import Buffer, Clock, Disk, DiskFile
from ctlha_trio.store._queue import PersistStep, Step, StepQueue, WriteStep
from ctlha_trio.store._slots import (
    DATA_OFFSET,
    HEAD_BYTES,
    SLOT_BYTES,
    SLOT_COUNT,
    Slot,
    choose_slot,
    encode_metadata,
    encode_slot,
)

READS_AT_ONCE = 6
"""Reads on the disk at one time: fewer than the calls that the real disk runs at once, so that reads never keep the
commit loop from it."""

Answer = TypeVar("Answer")
Arguments = TypeVarTuple("Arguments")


@attrs.define(eq=False, kw_only=True)
class BlockStore:
    """A volume of fixed size. Made by ``open``; ``run`` must be running for anything to become durable.

    Any ``StoreError`` kills it: whoever waits and whoever calls later gets a ``StoreError`` that names the first one,
    and nothing is tried again. The end of ``run`` kills it too: what had been queued may or may not be on the disk.
    """

    size_bytes: int
    _file: DiskFile
    _clock: Clock
    _slot: Slot
    _slot_index: int
    _queue: StepQueue = attrs.field(factory=StepQueue, init=False)
    _reads: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(READS_AT_ONCE), init=False)
    _calls_s: dict[object, float] = attrs.field(factory=dict, init=False)

    @staticmethod
    async def open(disk: Disk, path: str, *, size_bytes: int, clock: Clock) -> "BlockStore":
        """Open an existing backing file and find its metadata. Writes nothing. A checkpoint.

        ``ConfigError`` if the file is not ours, of a newer format, or made for another size; ``StoreError`` if the disk
        fails or both metadata slots are damaged.
        """
        file = await disk.open(path)
        try:
            if file.size_bytes < DATA_OFFSET:
                raise ConfigError(path, "volume.file", "is not a ctlha volume")
            index, slot = choose_slot(path, await file.pread(0, HEAD_BYTES))
            check_size(path, file.size_bytes, size_bytes)
        except BaseException:
            file.close()
            raise
        return BlockStore(size_bytes=size_bytes, file=file, clock=clock, slot=slot, slot_index=index)

    @property
    def metadata(self) -> Metadata:
        """As last found or made durable."""
        return self._slot.metadata

    @property
    def oldest_call_s(self) -> float | None:
        """When the oldest disk call still running began, on the store's clock; None if the disk is idle."""
        return next(iter(self._calls_s.values()), None)

    async def run(self) -> None:
        """Commit until cancelled: all that is queued in one write and one flush. ``StoreError`` once the store dies."""
        try:
            while True:
                await self._commit(await self._queue.take())
        finally:
            self._queue.die(StoreError("its commit loop ended"))

    async def read(self, offset: int, size: int) -> bytes:
        """``size`` bytes of the volume from ``offset``. A checkpoint. Runs beside the commit loop.

        A read that overlaps a write under way gets any mixture of old and new. ``InvalidError`` outside the volume.
        """
        self._check_range(offset, size)
        async with self._reads:
            return await self._call(self._file.pread, DATA_OFFSET + offset, size)

    async def write(self, offset: int, data: Buffer) -> None:
        """Return once ``data`` is on stable media at ``offset`` of the volume. A checkpoint.

        Writes that overlap are executed in the order of the calls. Cancelled: the answer is abandoned, the write may or
        may not be executed; the caller may change ``data`` at once. ``InvalidError`` outside the volume.
        """
        # What is not immutable is copied: a caller that is cancelled uses its buffer again while the disk reads it.
        kept = bytes(data)
        self._check_range(offset, len(kept))
        await self._queue.complete(WriteStep(offset=DATA_OFFSET + offset, data=kept))

    async def persist(self, metadata: Metadata) -> None:
        """Return once the metadata is on stable media, behind every write that was called before. A checkpoint.

        A power cut leaves the old or the new. Cancelled: the answer is abandoned, as for ``write``. ``InvalidError`` if
        it is too large for a slot.
        """
        await self._queue.complete(PersistStep(metadata=metadata, payload=encode_metadata(metadata)))

    def close(self) -> None:
        """Kill the store and give the file up. May be called twice."""
        self._queue.die(StoreError("it was closed"))
        self._file.close()

    async def _commit(self, steps: Sequence[Step]) -> None:
        writes: list[WriteStep] = []
        for step in steps:
            if isinstance(step, WriteStep):
                writes.append(step)
            elif isinstance(step, PersistStep):
                await self._commit_writes(writes)
                writes = []
                await self._commit_metadata(step)
        await self._commit_writes(writes)

    async def _commit_writes(self, writes: Sequence[WriteStep]) -> None:
        if not writes:
            return
        await self._call(self._file.pwrite, [(step.offset, step.data) for step in writes])
        await self._call(self._file.flush)
        for step in writes:
            self._queue.mark_durable(step)

    async def _commit_metadata(self, step: PersistStep) -> None:
        index = (self._slot_index + 1) % SLOT_COUNT
        slot = Slot(self._slot.generation + 1, step.metadata)
        # Metadata speaks about data, so it must never be durable before the data is.
        await self._call(self._file.flush)
        await self._call(self._file.pwrite, [(index * SLOT_BYTES, encode_slot(step.payload, slot.generation))])
        await self._call(self._file.flush)
        self._slot, self._slot_index = slot, index
        self._queue.mark_durable(step)

    async def _call(self, call: Callable[[*Arguments], Awaitable[Answer]], *arguments: *Arguments) -> Answer:
        """One disk call: timed for ``oldest_call_s``, fatal if it fails, worthless if the store died meanwhile."""
        self._queue.check()
        token = object()
        self._calls_s[token] = self._clock.now()
        try:
            answer = await call(*arguments)
        except StoreError as error:
            self._queue.die(error)
            self._queue.check()
            raise
        finally:
            del self._calls_s[token]
        self._queue.check()
        return answer

    def _check_range(self, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > self.size_bytes:
            raise InvalidError(f"{size} bytes at {offset} are not inside a volume of {self.size_bytes}")


def check_size(path: str, file_bytes: int, size_bytes: int) -> None:
    """``ConfigError`` unless the file was made for a volume of ``size_bytes``."""
    if file_bytes != DATA_OFFSET + size_bytes:
        made_for = file_bytes - DATA_OFFSET
        raise ConfigError(path, "volume.size_bytes", f"says {size_bytes}, the file was made for {made_for}")
