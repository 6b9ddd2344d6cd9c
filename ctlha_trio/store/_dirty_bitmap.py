"""The dirty bitmap: which ranges of the volume may differ from the peer's copy. Bytes to bits and back, no I/O.

On the disk it is a row of pages of one sector: CRC32C over all else, number of the page, base epoch, bits. A page that
cannot be read, or that counts from another epoch than the bitmap does, says that everything in it is dirty.
"""

import re
import struct
from collections.abc import Iterator
from typing import Final

import attrs
from crc32c import crc32c

from ctlha_trio.store._layout import (
    BITMAP_OFFSET,
    BITMAP_PAGE_BYTES,
    BITMAP_PAGE_GROUPS,
    GROUP_BYTES,
    Layout,
)

DIRTY_BYTES: Final = 64 * 1024
"""What one bit stands for. A TiB has 2 MiB of bits, and a lonely write of 4 KiB costs a resync 64 KiB."""
_HEADER: Final = struct.Struct("<IIQ")
_BITS_BYTES: Final = BITMAP_PAGE_BYTES - _HEADER.size
_PAGE_VOLUME_BYTES: Final = BITMAP_PAGE_GROUPS * GROUP_BYTES
_SOME_DIRTY: Final = re.compile(rb"[^\x00]")
_SOME_CLEAN: Final = re.compile(rb"[^\xff]")


def encode_bitmap_page(number: int, base_epoch: int, bits: bytes) -> bytes:
    """One whole page."""
    checksum = crc32c(bits, crc32c(_HEADER.pack(0, number, base_epoch)))
    return _HEADER.pack(checksum, number, base_epoch) + bits


def decode_bitmap_page(raw: bytes, number: int, base_epoch: int) -> bytes | None:
    """The bits of a page; None if it cannot be believed to be this one."""
    bits = raw[_HEADER.size :]
    checksum, found_number, found_epoch = _HEADER.unpack_from(raw)
    expected = crc32c(bits, crc32c(_HEADER.pack(0, number, base_epoch)))
    return bits if (checksum, found_number, found_epoch) == (expected, number, base_epoch) else None


@attrs.define(eq=False, repr=False)
class DirtyBitmap:
    """The bits in memory, and which pages on the disk do not have them yet."""

    _layout: Layout
    base_epoch: int | None = attrs.field(default=None, init=False)
    """What it counts from; None while it is not in use, and empty."""
    _bits: bytearray = attrs.field(init=False)
    _changed: set[int] = attrs.field(factory=set, init=False)

    @_bits.default
    def _clean(self) -> bytearray:
        return bytearray(self._layout.bitmap_pages * _BITS_BYTES)

    def load(self, raw: bytes, base_epoch: int) -> None:
        """Take over the pages of the disk, all of them."""
        self.base_epoch = base_epoch
        for number in range(self._layout.bitmap_pages):
            page = raw[number * BITMAP_PAGE_BYTES : (number + 1) * BITMAP_PAGE_BYTES]
            bits = decode_bitmap_page(page, number, base_epoch)
            if bits is None:
                start = number * _PAGE_VOLUME_BYTES
                self.mark(start, min(_PAGE_VOLUME_BYTES, self._layout.size_bytes - start))
            else:
                self._bits[number * _BITS_BYTES : (number + 1) * _BITS_BYTES] = bits

    def reset(self, base_epoch: int) -> None:
        """Count anew from an epoch: nothing is dirty, and every page has to be written."""
        self.base_epoch = base_epoch
        self._bits = self._clean()
        self._changed = set(range(self._layout.bitmap_pages))

    def forget(self) -> None:
        """Count no more."""
        self.base_epoch = None
        self._bits = self._clean()
        self._changed = set()

    def mark(self, offset: int, size: int) -> None:
        """Every unit that the range touches is dirty."""
        if size:
            self._set(offset // DIRTY_BYTES, -(-(offset + size) // DIRTY_BYTES), dirty=True)

    def clear(self, offset: int, size: int) -> None:
        """Every unit that lies wholly within the range is clean."""
        end = offset + size
        last = -(-end // DIRTY_BYTES) if end == self._layout.size_bytes else end // DIRTY_BYTES
        self._set(-(-offset // DIRTY_BYTES), last, dirty=False)

    def _set(self, first: int, end: int, *, dirty: bool) -> None:
        # A volume has millions of units: all but the edges of a range are set by whole bytes.
        start, stop = -(-first // 8), end // 8
        if start < stop:
            filled = (b"\xff" if dirty else b"\0") * (stop - start)
            if self._bits[start:stop] != filled:
                self._bits[start:stop] = filled
                self._changed.update(range(start // _BITS_BYTES, (stop - 1) // _BITS_BYTES + 1))
        edges = (first, 8 * start, 8 * stop, end) if start < stop else (first, end, end, end)
        for number in (*range(*edges[:2]), *range(*edges[2:])):
            place, bit = number >> 3, 1 << (number & 7)
            if bool(self._bits[place] & bit) is not dirty:
                self._bits[place] ^= bit
                self._changed.add(place // _BITS_BYTES)

    def take_changed(self) -> list[tuple[int, bytes]]:
        """The pages that the disk does not have yet, as extents of the file; from now on it is taken to have them."""
        base_epoch = self.base_epoch
        if base_epoch is None:
            return []
        changed = sorted(self._changed)
        self._changed.clear()
        return [
            (BITMAP_OFFSET + number * BITMAP_PAGE_BYTES, encode_bitmap_page(number, base_epoch, self._page(number)))
            for number in changed
        ]

    def _page(self, number: int) -> bytes:
        return bytes(self._bits[number * _BITS_BYTES : (number + 1) * _BITS_BYTES])

    def ranges(self, start: int = 0) -> Iterator[tuple[int, int]]:
        """Offset and size of each dirty range from ``start`` on, in order, as they are when each is asked for."""
        number = start // DIRTY_BYTES
        while (first := self._next(_SOME_DIRTY, number, dirty=True)) is not None:
            end = self._next(_SOME_CLEAN, first, dirty=False)
            number = 8 * len(self._bits) if end is None else end
            offset = first * DIRTY_BYTES
            yield offset, min(number * DIRTY_BYTES, self._layout.size_bytes) - offset

    def _next(self, differing: re.Pattern[bytes], number: int, *, dirty: bool) -> int | None:
        """The first unit from ``number`` on that is dirty, or that is not. None: there is none."""
        while number < 8 * len(self._bits):
            if bool(self._bits[number >> 3] & 1 << (number & 7)) is dirty:
                return number
            number += 1
            if not number & 7:
                found = differing.search(self._bits, number >> 3)
                if found is None:
                    return None
                number = 8 * found.start()
        return None

    def dirty_bytes_from(self, start: int) -> int:
        """Bytes of the volume in dirty units, from the one that ``start`` is in."""
        place, skipped = divmod(start // DIRTY_BYTES, 8)
        count = (int.from_bytes(self._bits[place:], "little") >> skipped).bit_count() * DIRTY_BYTES
        last = (self._layout.size_bytes - 1) // DIRTY_BYTES
        overhang = (last + 1) * DIRTY_BYTES - self._layout.size_bytes
        reached = start // DIRTY_BYTES <= last
        return count - (overhang if reached and self._bits[last >> 3] & 1 << (last & 7) else 0)
