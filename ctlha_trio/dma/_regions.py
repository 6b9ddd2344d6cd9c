"""Memory that the peer may reach, under names that it cannot guess and that die early."""

from enum import Flag

import attrs

from ctlha_trio._errors import BusyError, InvalidError
from ctlha_trio._vocabulary import RemoteBuffer
from ctlha_trio.seams import Buffer, Entropy, byte_view
from ctlha_trio.wire import KEY_SIZE, Denial

REGIONS_MAX = 1024
"""Live keys. A ring for each channel and a region for each transfer in flight stay far below."""


class Rights(Flag):
    """What the peer may do with a region."""

    READ = 1
    """Pull from it."""
    WRITE = 2
    """Push into it."""


@attrs.define(eq=False)
class Region:
    """Registered memory. Its key dies with ``close``, with the session, and when the epoch changes."""

    key: bytes = attrs.field(repr=False)
    """128 random bits; give it to the peer only, and never to a log."""
    epoch: int
    size: int
    """Bytes."""
    rights: Rights
    _memory: memoryview = attrs.field(repr=False)
    _table: "RegionTable" = attrs.field(repr=False)

    @property
    def alive(self) -> bool:
        """Whether the peer may still reach it."""
        return self._table.knows(self.key)

    @property
    def remote(self) -> RemoteBuffer:
        """The start of it, as the peer names it."""
        return RemoteBuffer(self.key)

    def close(self) -> None:
        """Let the key die: nothing is written into the memory or read from it any more. May be called twice.

        The rest of a transfer that is under way is denied.
        """
        self._table.forget(self.key)

    def release(self) -> None:
        """Let go of the memory, once the key is dead. For the table."""
        self._memory.release()

    def write(self, offset: int, data: memoryview) -> None:
        """Place data that was found to lie within the region. For the table."""
        self._memory[offset : offset + len(data)] = data

    def read(self, offset: int, size: int) -> bytes:
        """Copy out what was found to lie within the region. For the table."""
        return bytes(self._memory[offset : offset + size])


@attrs.define(eq=False)
class RegionTable:
    """The live keys of one link."""

    _entropy: Entropy
    _regions: dict[bytes, Region] = attrs.field(factory=dict, init=False)
    _expired: frozenset[bytes] = attrs.field(default=frozenset(), init=False)
    """Keys of the last epoch or session, only to call a late transfer by its right name."""

    def add(self, memory: Buffer, *, epoch: int, rights: Rights) -> Region:
        """A new key for ``memory``, which cannot be resized while it lives."""
        view = byte_view(memory)
        if not isinstance(rights, Rights):
            raise TypeError(f"rights must be of type Rights, not {rights!r}")
        if not rights:
            raise InvalidError("a region without rights")
        if Rights.WRITE in rights and view.readonly:
            raise InvalidError("the peer cannot write into memory that is read-only")
        if len(self._regions) >= REGIONS_MAX:
            raise BusyError(f"{REGIONS_MAX} regions are registered")
        key = self._entropy(KEY_SIZE)
        if key in self._regions or len(key) != KEY_SIZE:
            raise InvalidError("the entropy is not random")
        region = Region(key, epoch, len(view), rights, view, self)
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

    def place(self, key: bytes, offset: int, data: memoryview, *, span: int, epoch: int) -> Denial | None:
        """Write what the peer pushed, the first of ``span`` bytes to come. Denied: nothing is written."""
        region = self._admit(key, offset, span, right=Rights.WRITE, epoch=epoch)
        if isinstance(region, Denial):
            return region
        region.write(offset, data)
        return None

    def fetch(self, key: bytes, offset: int, size: int, *, span: int, epoch: int) -> bytes | Denial:
        """Copy what the peer pulls, the first of ``span`` bytes that it is to get."""
        region = self._admit(key, offset, span, right=Rights.READ, epoch=epoch)
        return region if isinstance(region, Denial) else region.read(offset, size)

    def _admit(self, key: bytes, offset: int, span: int, *, right: Rights, epoch: int) -> Region | Denial:
        """The region, if the peer, which is at ``epoch``, may do that to those bytes of it."""
        region = self._regions.get(key)
        if region is None:
            return Denial.EXPIRED_KEY if key in self._expired else Denial.UNKNOWN_KEY
        if epoch != region.epoch:
            return Denial.STALE_EPOCH
        if right not in region.rights:
            return Denial.RIGHTS
        if offset > region.size or span > region.size - offset:
            return Denial.OUT_OF_RANGE
        return region
