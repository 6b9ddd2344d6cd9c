"""Where everything lies in a backing file. Arithmetic only.

The head of two metadata slots, two pages of the activity log and two areas of records, the dirty bitmap, then the
volume in groups of ``GROUP_BLOCKS`` blocks: one page with the entries of the group's blocks, and behind it the blocks.
The last block and the last group end where the volume ends, so a file's size tells that of its volume.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

import attrs

from ctlha_trio.pair import RECORDS_BYTES_MAX

BLOCK_BYTES: Final = 4096
"""What has a checksum of its own: the unit in which file systems write and in which page caches read."""
GROUP_BLOCKS: Final = 256
"""Blocks whose entries fill one page."""
GROUP_BYTES: Final = GROUP_BLOCKS * BLOCK_BYTES
"""Of the volume. Also an extent of the activity log: whatever is open there is verified by one read."""
PAGE_BYTES: Final = 4096
ACTIVITY_OFFSET: Final = 8 * 1024
"""Of the activity log's two pages."""
RECORDS_OFFSET: Final = 16 * 1024
"""Of the two areas of records."""
RECORDS_AREA_BYTES: Final = PAGE_BYTES + RECORDS_BYTES_MAX
"""A page for what is said about a table, and the largest table."""
BITMAP_OFFSET: Final = 192 * 1024
"""The room before it is for what a later format has to say about the whole file."""
BITMAP_PAGE_BYTES: Final = 512
"""One sector, which disks write whole or not at all: a power cut never leaves a page of the bitmap that is torn."""
BITMAP_PAGE_GROUPS: Final = 248
"""Groups that one page of the bitmap speaks of: 496 bytes of it, two for each group."""


@attrs.frozen
class Layout:
    """The places in the file of a volume of ``size_bytes``."""

    size_bytes: int
    groups: int = attrs.field(init=False)
    bitmap_pages: int = attrs.field(init=False)
    _first_group_offset: int = attrs.field(init=False)

    @groups.default
    def _count_groups(self) -> int:
        return -(-self.size_bytes // GROUP_BYTES)

    @bitmap_pages.default
    def _count_bitmap_pages(self) -> int:
        return -(-self.groups // BITMAP_PAGE_GROUPS)

    @_first_group_offset.default
    def _place_first_group(self) -> int:
        return BITMAP_OFFSET + -(-self.bitmap_pages * BITMAP_PAGE_BYTES // PAGE_BYTES) * PAGE_BYTES

    @property
    def file_bytes(self) -> int:
        """Size of the whole file."""
        return self._first_group_offset + self.groups * PAGE_BYTES + self.size_bytes

    def entry_page_offset(self, group: int) -> int:
        """Where the entries of a group lie in the file. Its blocks follow."""
        return self._first_group_offset + group * (PAGE_BYTES + GROUP_BYTES)

    def file_offset(self, offset: int) -> int:
        """Where a byte of the volume lies in the file."""
        return self._first_group_offset + (offset // GROUP_BYTES + 1) * PAGE_BYTES + offset

    def group_bytes(self, group: int) -> int:
        """Bytes of the volume in a group; fewer in the last one."""
        return min(GROUP_BYTES, self.size_bytes - group * GROUP_BYTES)

    def block_bytes(self, block: int) -> int:
        """Bytes of the volume in a block; fewer in the last one."""
        return min(BLOCK_BYTES, self.size_bytes - block * BLOCK_BYTES)


def groups_of(offset: int, size: int) -> range:
    """The groups that a range of the volume touches."""
    return range(offset // GROUP_BYTES, -(-(offset + size) // GROUP_BYTES)) if size else range(0)


def first_run(offsets: Sequence[int], size_bytes: int) -> tuple[int, int]:
    """Offset and size of the first of these blocks, given by where they begin, in order, with those that adjoin it."""
    end = offsets[0]
    for offset in offsets:
        if offset != end:
            break
        end += BLOCK_BYTES
    return offsets[0], min(end, size_bytes) - offsets[0]


def volume_bytes(file_bytes: int) -> int | None:
    """The size of the volume that a file of this size was made for. None: for none."""
    size_bytes = bisect_left(range(max(file_bytes, 0)), file_bytes, key=lambda size: Layout(size).file_bytes)
    return size_bytes if size_bytes and Layout(size_bytes).file_bytes == file_bytes else None


def volume_in(content: bytes, size_bytes: int) -> bytes:
    """The bytes of the volume in the content of a whole backing file, not verified. For tests and tools."""
    layout = Layout(size_bytes)
    starts = (layout.file_offset(group * GROUP_BYTES) for group in range(layout.groups))
    return b"".join(content[start : start + layout.group_bytes(group)] for group, start in enumerate(starts))
