"""Memory that the peer may write to, under names that it cannot guess and that die early."""

import attrs

from ctlha_trio._errors import BusyError, InvalidError, RemoteProtocolError
from ctlha_trio.seams import Entropy
from ctlha_trio.wire import KEY_SIZE, Fault

REGIONS_MAX = 1024
"""Live keys. A ring for each channel and a region for each transfer in flight stay far below."""


@attrs.define(eq=False)
class Region:
    """Registered memory. Its key dies with ``close``, with the session, and when the epoch changes."""

    key: bytes = attrs.field(repr=False)
    """128 random bits; give it to the peer only, and never to a log."""
    epoch: int
    size: int
    """Bytes."""
    _memory: memoryview = attrs.field(repr=False)
    _table: "RegionTable" = attrs.field(repr=False)

    @property
    def alive(self) -> bool:
        """Whether the peer may still push into it."""
        return self._table.knows(self.key)

    def close(self) -> None:
        """Let the key die: nothing is written into the memory any more. May be called twice."""
        self._table.forget(self.key)

    def release(self) -> None:
        """Let go of the memory, once the key is dead. For the table."""
        self._memory.release()

    def write(self, offset: int, data: memoryview) -> None:
        """Place data that was found to lie within the region. For the table."""
        self._memory[offset : offset + len(data)] = data


@attrs.define(eq=False)
class RegionTable:
    """The live keys of one link."""

    _entropy: Entropy
    _regions: dict[bytes, Region] = attrs.field(factory=dict, init=False)
    _expired: frozenset[bytes] = attrs.field(default=frozenset(), init=False)
    """Keys of the last epoch or session, only to call a late push by its right name."""

    def add(self, memory: bytearray, *, epoch: int) -> Region:
        """A new key for ``memory``, which cannot be resized while it lives."""
        if len(self._regions) >= REGIONS_MAX:
            raise BusyError(f"{REGIONS_MAX} regions are registered")
        key = self._entropy(KEY_SIZE)
        if key in self._regions or len(key) != KEY_SIZE:
            raise InvalidError("the entropy is not random")
        region = Region(key, epoch, len(memory), memoryview(memory), self)
        self._regions[key] = region
        return region

    def knows(self, key: bytes) -> bool:
        """Whether the key is alive."""
        return key in self._regions

    def forget(self, key: bytes) -> None:
        """Let one key die."""
        region = self._regions.pop(key, None)
        if region is not None:
            region.release()

    def expire(self) -> None:
        """Let every key die."""
        self._expired = frozenset(self._regions)
        for key in self._expired:
            self.forget(key)

    def place(self, key: bytes, offset: int, data: memoryview, *, epoch: int) -> None:
        """Write what the peer pushed. ``RemoteProtocolError``, and nothing written, if it may not."""
        region = self._regions.get(key)
        if region is None:
            if key in self._expired:
                raise RemoteProtocolError(Fault.EXPIRED_KEY.value, "a push into memory of another session or epoch")
            raise RemoteProtocolError(Fault.UNKNOWN_KEY.value, "a push names no memory of ours")
        if epoch != region.epoch:
            raise RemoteProtocolError(Fault.STALE_EPOCH.value, f"a push of epoch {epoch} into epoch {region.epoch}")
        if offset > region.size or len(data) > region.size - offset:
            raise RemoteProtocolError(
                Fault.OUT_OF_RANGE.value, f"{len(data)} bytes at {offset} of a region of {region.size}"
            )
        region.write(offset, data)
