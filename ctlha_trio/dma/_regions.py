"""Memory that the peer may reach, under names that it cannot guess and that die early."""

from collections.abc import Callable
from enum import Flag

import attrs

from ctlha_trio._errors import BusyError, InvalidError
from ctlha_trio._vocabulary import RemoteBuffer
from ctlha_trio.dma._counters import TransferCounters
from ctlha_trio.link import Deadlines
from ctlha_trio.seams import Buffer, Entropy, byte_view
from ctlha_trio.wire import KEY_SIZE, Bytes, Denial, Landing

REGIONS_MAX = 1024
"""Live keys. A ring for each channel and a region for each transfer in flight stay far below."""
RESERVED_REGIONS = 1
"""Beyond these, for the pair's own ring: consumers that take all that they can get stop nothing but themselves."""


class Rights(Flag):
    """What the peer may do with a region."""

    READ = 1
    """Pull from it."""
    WRITE = 2
    """Push into it."""


@attrs.define(eq=False)
class Region:
    """Registered memory. Its key dies with ``close``, with the session, and when the epoch changes.

    If it was registered so, also when its uses are spent, and when its time is over.
    """

    key: bytes = attrs.field(repr=False)
    """128 random bits; give it to the peer only, and never to a log."""
    epoch: int
    size: int
    """Bytes."""
    rights: Rights
    uses_left: int | None
    """Transfers that may still be done; None: any number."""
    expires_s: float | None
    """By ``Dma.now``."""
    _memory: memoryview = attrs.field(repr=False)
    _table: "RegionTable" = attrs.field(repr=False)
    counters: TransferCounters = attrs.field(repr=False)
    """Of the consumer whose it is."""
    is_lent: bool = attrs.field(default=True, init=False, repr=False)
    """What is pulled from it is sent as it lies, not copied before."""
    _landing: Landing | None = attrs.field(default=None, init=False, repr=False)
    """Where a push is being received."""
    _deadlines: Deadlines | None = attrs.field(default=None, init=False, repr=False)

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
        if self._landing is not None:
            self._landing.release()
        if self._deadlines is not None:
            self._deadlines.discard(self)
        self._memory.release()

    def expire_by(self, deadlines: Deadlines, due_s: float) -> None:
        """Let the key die then, whether or not anybody comes with it. For ``Dma``."""
        self._deadlines = deadlines
        deadlines.add(self, due_s, lambda: self._table.forget(self.key, Denial.OVERDUE_KEY))

    def land(self, offset: int, size: int) -> Landing:
        """Let data be received into what was found to lie within the region. For the table."""
        assert self._landing is None or self._landing.is_released, "frames come one after the other"
        self._landing = Landing(self._memory[offset : offset + size])
        return self._landing

    def part(self, offset: int, size: int) -> Bytes:
        """What was found to lie within the region. For the table."""
        part = self._memory[offset : offset + size]
        return part if self.is_lent else bytes(part)


@attrs.define(eq=False)
class RegionTable:
    """The live keys of one link."""

    _entropy: Entropy
    _now: Callable[[], float]
    _regions: dict[bytes, Region] = attrs.field(factory=dict, init=False)
    _dead: dict[bytes, Denial] = attrs.field(factory=dict, init=False)
    """Why keys of late have died, only to call a late transfer by its right name. At most ``REGIONS_MAX``."""
    _arriving: Region | None = attrs.field(default=None, init=False)
    """Into which a push is being received, dead or alive."""

    def add(
        self,
        memory: Buffer,
        *,
        epoch: int,
        rights: Rights,
        uses: int | None = None,
        expires_s: float | None = None,
        reserved: bool = False,
        counters: TransferCounters | None = None,
    ) -> Region:
        """A new key for ``memory``, which cannot be resized while it lives."""
        view = byte_view(memory)
        if not isinstance(rights, Rights):
            raise TypeError(f"rights must be of type Rights, not {rights!r}")
        if not rights:
            raise InvalidError("a region without rights")
        if Rights.WRITE in rights and view.readonly:
            raise InvalidError("the peer cannot write into memory that is read-only")
        if uses is not None and not _is_count(uses):
            raise InvalidError(f"a region for {uses} transfers")
        if expires_s is not None and not expires_s > self._now():  # nor what is no number
            raise InvalidError("a region whose time is over")
        if len(self._regions) >= REGIONS_MAX + (RESERVED_REGIONS if reserved else 0):
            raise BusyError(f"{len(self._regions)} regions are registered")
        key = self._entropy(KEY_SIZE)
        if key in self._regions or len(key) != KEY_SIZE:
            raise InvalidError("the entropy is not random")
        region = Region(key, epoch, len(view), rights, uses, expires_s, view, self, counters or TransferCounters())
        self._regions[key] = region
        return region

    def knows(self, key: bytes) -> bool:
        """Whether the key is alive."""
        return key in self._regions

    def forget(self, key: bytes, why: Denial = Denial.UNKNOWN_KEY) -> None:
        """Let one key die."""
        region = self._regions.pop(key, None)
        if region is None:
            return
        region.release()
        if why is not Denial.UNKNOWN_KEY:
            self._dead[key] = why
            if len(self._dead) > REGIONS_MAX:
                del self._dead[next(iter(self._dead))]

    def expire(self) -> None:
        """Let every key die."""
        self._dead.clear()
        for key in list(self._regions):
            self.forget(key, Denial.EXPIRED_KEY)

    def open(self, key: bytes, offset: int, size: int, *, span: int, epoch: int) -> Landing | Denial:
        """Where what the peer pushes goes, the first of ``span`` bytes to come. Denied: nothing is written."""
        region = self._admit(key, offset, span, right=Rights.WRITE, epoch=epoch)
        if isinstance(region, Denial):
            return region
        self._arriving = region
        return region.land(offset, size)

    def close(self, landing: Landing, *, is_last: bool) -> Denial | None:
        """It was received, unless the key has died meanwhile."""
        region, self._arriving = self._arriving, None
        assert region is not None, "opened"
        if landing.is_released:
            return self._dead.get(region.key, Denial.UNKNOWN_KEY)
        region.counters.pushed_bytes_in += len(landing.memory)
        landing.release()
        if is_last:
            self._use(region)
        return None

    def fetch(self, key: bytes, offset: int, size: int, *, span: int, epoch: int) -> Bytes | Denial:
        """Where what the peer pulls lies, or a copy of it: the first of ``span`` bytes that it is to get."""
        region = self._admit(key, offset, span, right=Rights.READ, epoch=epoch)
        if isinstance(region, Denial):
            return region
        data = region.part(offset, size)
        region.counters.pulled_bytes_out += size
        if span == size:
            self._use(region)
        return data

    def lend_no_more(self, key: bytes) -> None:
        """Somebody seems to change that memory as it is sent."""
        region = self._regions.get(key)
        if region is not None:
            region.is_lent = False

    def _use(self, region: Region) -> None:
        """A transfer is done."""
        if region.uses_left is not None:
            region.uses_left -= 1
            if region.uses_left == 0:
                self.forget(region.key, Denial.USED_KEY)

    def _admit(self, key: bytes, offset: int, span: int, *, right: Rights, epoch: int) -> Region | Denial:
        """The region, if the peer, which is at ``epoch``, may do that to those bytes of it."""
        region = self._regions.get(key)
        if region is None:
            return self._dead.get(key, Denial.UNKNOWN_KEY)
        if region.expires_s is not None and self._now() >= region.expires_s:
            self.forget(key, Denial.OVERDUE_KEY)
            return Denial.OVERDUE_KEY
        if epoch != region.epoch:
            return Denial.STALE_EPOCH
        if right not in region.rights:
            return Denial.RIGHTS
        if offset > region.size or span > region.size - offset:
            return Denial.OUT_OF_RANGE
        return region


def _is_count(uses: object) -> bool:
    """Whether so many transfers can be counted down to none."""
    return isinstance(uses, int) and not isinstance(uses, bool) and uses >= 1
