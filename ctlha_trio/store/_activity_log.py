"""The activity log: in which extents of the volume a write may be under way. Bytes to records and back, no I/O.

The whole set is in one page of 4 KiB; two of them are written in turn, as the metadata slots are, and the page that is
valid and of the higher generation counts. It also says what the dirty bitmap counts from, so that both change at once,
and behind the extents which blocks are known to be damaged.

A page that cannot be read is taken for one that a power cut tore: the other one then lists every extent in which data
was written, since data waits for its page to be durable. That holds for one that decayed later only as long as the
extents on it were on the other page too.
"""

import struct
from collections.abc import Collection, Iterable, Iterator
from typing import Final

import attrs
from crc32c import crc32c

from ctlha_trio._errors import StoreError
from ctlha_trio.store._known_damage import KNOWN_BYTES_MAX, NO_DAMAGE, KnownDamage
from ctlha_trio.store._layout import ACTIVITY_OFFSET, PAGE_BYTES

EXTENTS_OPEN_MAX: Final = 256
"""256 MiB, which a recovery reads in two seconds from a slow disk and a resync compares in not much more. A larger
working set costs one write and one flush for each extent that it comes to anew."""
ACTIVITY_PAGES: Final = 2

NEW_GENERATION: Final = ACTIVITY_PAGES
"""Of the page that counts in a new file. Of a later one nobody knows whether who has written it has flushed it."""

_MAGIC: Final = b"ctlhaact"
_HEADER: Final = struct.Struct("<8sQQIII")
"""Magic, generation, base epoch, tracking, count, CRC32C over all else."""
_NO_BASE: Final = 2**64 - 1
assert _HEADER.size + 4 * EXTENTS_OPEN_MAX + KNOWN_BYTES_MAX <= PAGE_BYTES, "a page has room for all that it names"


@attrs.frozen
class ActivityPage:
    """What one page says."""

    generation: int
    """Rises by one with each page written."""
    base_epoch: int | None
    """The epoch from which the dirty bitmap counts; None while nothing is known to differ from the peer's copy."""
    tracking: bool
    """Whether every write is marked as dirty."""
    extents: tuple[int, ...]
    """Those open, the least recently used first."""
    damage: KnownDamage = NO_DAMAGE
    """Blocks that are not torn although they may be damaged, whichever extents are open."""

    @property
    def offset(self) -> int:
        """Where the page belongs in the file."""
        return ACTIVITY_OFFSET + self.generation % ACTIVITY_PAGES * PAGE_BYTES

    def succeed(self, extents: Iterable[int]) -> "ActivityPage":
        """The page that is written next."""
        return attrs.evolve(self, generation=self.generation + 1, extents=tuple(extents))


def encode_activity(page: ActivityPage) -> bytes:
    """One whole page."""
    base = _NO_BASE if page.base_epoch is None else page.base_epoch
    named = struct.pack(f"<{len(page.extents)}I", *page.extents) + page.damage.encode()
    body = named.ljust(PAGE_BYTES - _HEADER.size, b"\0")
    header = (_MAGIC, page.generation, base, int(page.tracking), len(page.extents))
    checksum = crc32c(body, crc32c(_HEADER.pack(*header, 0)))
    return _HEADER.pack(*header, checksum) + body


def decode_activity(raw: bytes) -> ActivityPage | None:
    """What a page says; None if it cannot be believed."""
    magic, generation, base, tracking, count, checksum = _HEADER.unpack_from(raw)
    body = raw[_HEADER.size :]
    if magic != _MAGIC or checksum != crc32c(body, crc32c(_HEADER.pack(magic, generation, base, tracking, count, 0))):
        return None
    extents = struct.unpack_from(f"<{count}I", body)
    damage = KnownDamage.decode(body[4 * count :])
    return ActivityPage(generation, None if base == _NO_BASE else base, bool(tracking), extents, damage)


def choose_activity(path: str, raw: bytes) -> ActivityPage:
    """The page that counts. ``raw`` holds both. ``StoreError`` if neither can be believed: never guess what is open."""
    found = [decode_activity(raw[at : at + PAGE_BYTES]) for at in range(0, ACTIVITY_PAGES * PAGE_BYTES, PAGE_BYTES)]
    valid = [page for page in found if page is not None]
    if not valid:
        raise StoreError(f"{path}: both pages of the activity log are damaged")
    return max(valid, key=lambda page: page.generation)


def new_activity_pages(damage: KnownDamage = NO_DAMAGE) -> bytes:
    """Both pages of a new file, so that decay of one is survived."""
    made = (ActivityPage(generation, None, False, (), damage) for generation in range(1, NEW_GENERATION + 1))
    pages = sorted(made, key=lambda page: page.offset)
    return b"".join(encode_activity(page) for page in pages)


@attrs.define(eq=False)
class OpenExtents:
    """The extents that are open, the least recently used first."""

    _extents: dict[int, None] = attrs.field(factory=dict, init=False)

    def __iter__(self) -> Iterator[int]:
        return iter(self._extents)

    def __len__(self) -> int:
        return len(self._extents)

    def holds(self, extents: Collection[int]) -> bool:
        """Whether all of these are open."""
        return all(extent in self._extents for extent in extents)

    def use(self, extents: Collection[int]) -> bool:
        """Take extents, ``EXTENTS_OPEN_MAX`` at most, as used now, and close others for want of room.

        Nothing may be under way in the others. True if the log must be durable before anything is written in these.
        """
        is_cold = not self.holds(extents)
        for extent in extents:
            self._extents.pop(extent, None)
            self._extents[extent] = None
        while len(self._extents) > EXTENTS_OPEN_MAX:
            del self._extents[next(iter(self._extents))]
        return is_cold

    def clear(self) -> None:
        """Close all."""
        self._extents.clear()
