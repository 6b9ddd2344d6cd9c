"""The volume's blocks in the backing file, each read and written together with its checksum."""

from collections.abc import Callable, Collection, Sequence
from typing import Final

import attrs
import trio
from outcome import Outcome, Value

from ctlha_trio._errors import DamagedBlockError, UnreadableError
from ctlha_trio.seams import Buffer
from ctlha_trio.store._checksums import damaged_blocks, seal_blocks
from ctlha_trio.store._known_damage import KnownDamage
from ctlha_trio.store._layout import BLOCK_BYTES, GROUP_BLOCKS, GROUP_BYTES, PAGE_BYTES, Layout, groups_of
from ctlha_trio.store._watched_file import WatchedFile

ENTRY_PAGES_KEPT: Final = 4096
"""16 MiB of memory, which spares reads and small writes within 4 GiB of the volume a second call to the disk."""

_NOTHING: Final = b"\xff" * BLOCK_BYTES
"""In the place of what cannot be read. As a page of entries it says of each block that it is not what it should be."""


@attrs.frozen
class SealedWrite:
    """What goes out in one call."""

    extents: list[tuple[int, Buffer]]
    """Of the file: data, and the pages of entries that belong to it."""
    pages: dict[int, bytes]
    """The same pages, by group."""


@attrs.frozen
class _Span:
    """What is read of the file for a range: its blocks, with the pages of entries that lie between them."""

    offset: int
    size: int
    start: int
    """Of its first block, in the volume."""
    end: int
    """Of its last."""
    groups: range
    place: tuple[int, int]
    """Offset and size in the file."""


@attrs.define(eq=False, repr=False)
class CheckedVolume:
    """Reads may run beside each other and beside one ``put``; one that overlaps a ``put`` may find damage that is none.

    ``changes`` tells: it differs before and after, or is odd, when something was written meanwhile.
    """

    layout: Layout
    _file: WatchedFile
    changes: int = attrs.field(default=0, init=False)
    _pages: dict[int, bytes] = attrs.field(factory=dict, init=False)
    """Entries as the file has them, by group, in the order in which they were read or written."""

    async def read(self, offset: int, size: int) -> bytes:
        """``read_all`` of one range. ``DamagedBlockError`` names the blocks that are not whole."""
        (found,) = await self.read_all([(offset, size)])
        if isinstance(found, DamagedBlockError):
            raise found
        return found

    async def read_all(self, ranges: Sequence[tuple[int, int]]) -> list[bytes | DamagedBlockError]:
        """Ranges that are not empty, every block of them verified: the data of each, or which blocks are not whole.

        One call to the disk, with the entries of the first group of each range unless they are kept.
        """
        changes = self.changes
        asked = [self._span(offset, size) for offset, size in ranges]
        firsts = {span.groups[0] for span in asked}
        pages = {group: self._pages[group] for group in firsts if group in self._pages}
        unkept = sorted(firsts - pages.keys())
        places = [span.place for span in asked] + [
            (self.layout.entry_page_offset(group), PAGE_BYTES) for group in unkept
        ]
        found, unreadable = await self._pread(*places)
        for group, page in zip(unkept, found[len(asked) :], strict=True):
            pages[group] = page
            self._keep(group, page, changes)
        return [
            self._verified(span, raw, pages[span.groups[0]], changes, unreadable)
            for span, raw in zip(asked, found, strict=False)
        ]

    def _span(self, offset: int, size: int) -> _Span:
        start = offset // BLOCK_BYTES * BLOCK_BYTES
        end = min(-(-(offset + size) // BLOCK_BYTES) * BLOCK_BYTES, self.layout.size_bytes)
        begin = self.layout.file_offset(start)
        place = begin, self.layout.file_offset(end - 1) + 1 - begin
        return _Span(offset, size, start, end, groups_of(start, end - start), place)

    def _verified(
        self, span: _Span, found: bytes, page: bytes, changes: int, unreadable: Collection[int]
    ) -> bytes | DamagedBlockError:
        """What was read of a span, with the entries of its first group."""
        raw, begin = memoryview(found), span.place[0]
        pieces: list[memoryview] = []
        damaged: list[int] = []
        for group in span.groups:
            first = max(span.start, group * GROUP_BYTES)
            at = self.layout.file_offset(first) - begin
            piece = raw[at : at + min(span.end, (group + 1) * GROUP_BYTES) - first]
            if group != span.groups[0]:
                page = self._pages.get(group) or bytes(raw[at - PAGE_BYTES : at])
                self._keep(group, page, changes)
            damaged.extend(self._damaged_blocks(page, first // BLOCK_BYTES, piece, unreadable))
            pieces.append(piece)
        if damaged:
            return DamagedBlockError(tuple(block * BLOCK_BYTES for block in damaged))
        if len(found) == span.size:
            return found  # whole blocks of one group: large reads are not copied
        pieces[0] = pieces[0][span.offset - span.start :]
        pieces[-1] = pieces[-1][: len(pieces[-1]) - (span.end - span.offset - span.size)]
        return b"".join(pieces)

    async def entry_page(self, group: int) -> bytes:
        """The entries of a group, from memory or from the disk. Of those that it does not give back none is right."""
        page = self._pages.get(group)
        if page is None:
            changes = self.changes
            (page,), _ = await self._pread((self.layout.entry_page_offset(group), PAGE_BYTES))
            self._keep(group, page, changes)
        return page

    def known_page(self, group: int) -> bytes | None:
        """The entries of a group, if they are in memory."""
        return self._pages.get(group)

    async def put(self, write: SealedWrite, others: Sequence[tuple[int, Buffer]] = ()) -> None:
        """Make data and entries durable, and with them what else is to be, in one call."""
        self.changes += 1
        await self._file.write_through([*write.extents, *others])
        self._end_put(write)

    def start_put(
        self,
        write: SealedWrite,
        others: Sequence[tuple[int, Buffer]],
        on_end: Callable[[Outcome[None]], None],
        nursery: trio.Nursery,
    ) -> None:
        """Begin ``put``, as ``WatchedFile.start_write_through`` does its call."""

        def end(ended: Outcome[None]) -> None:
            if isinstance(ended, Value):
                self._end_put(write)
            on_end(ended)

        self.changes += 1
        self._file.start_write_through([*write.extents, *others], end, nursery)

    def _end_put(self, write: SealedWrite) -> None:
        self.changes += 1
        for group, page in write.pages.items():
            self._keep(group, page, self.changes)

    async def find_whole(self, blocks: Collection[int]) -> set[int]:
        """Which of these blocks are what was written there last."""
        numbers = sorted(blocks)
        ranges = [(block * BLOCK_BYTES, self.layout.block_bytes(block)) for block in numbers]
        found = await self.read_all(ranges) if ranges else []
        return {block for block, each in zip(numbers, found, strict=True) if not isinstance(each, DamagedBlockError)}

    async def reseal(self, group: int, epoch: int, known: KnownDamage) -> tuple[bytes, list[int]]:
        """The entries of a group for what its blocks hold now, and which blocks that makes whole that were not.

        What is known to be damaged is no write that was torn, and what cannot be read holds nothing: such a block stays
        damaged, and without entries each block does.
        """
        begin = self.layout.entry_page_offset(group)
        (found,), unreadable = await self._pread((begin, PAGE_BYTES + self.layout.group_bytes(group)))
        raw = memoryview(found)
        page, data = bytearray(raw[:PAGE_BYTES]), raw[PAGE_BYTES:]
        if begin in unreadable:
            return bytes(page), []
        first = group * GROUP_BLOCKS
        damaged = [
            block
            for block in damaged_blocks(page, first, data)
            if self.layout.file_offset(block * BLOCK_BYTES) not in unreadable and not known.covers((block,))
        ]
        for block in damaged:
            at = (block - first) * BLOCK_BYTES
            seal_blocks(page, block, data[at : at + BLOCK_BYTES], epoch)
        return bytes(page), damaged

    async def _pread(self, *places: tuple[int, int]) -> tuple[list[bytes], set[int]]:
        """Bytes of the file, and where in it the pieces of a block's size begin for which ``_NOTHING`` stands."""
        unreadable: set[int] = set()
        try:
            return await self._file.pread_all(places), unreadable
        except UnreadableError:
            return [await self._pread_pieces(offset, size, unreadable) for offset, size in places], unreadable

    async def _pread_pieces(self, offset: int, size: int, unreadable: set[int]) -> bytes:
        pieces: list[bytes] = []
        for at in range(offset, offset + size, BLOCK_BYTES):
            wanted = min(BLOCK_BYTES, offset + size - at)
            try:
                pieces.append(await self._file.pread(at, wanted))
            except UnreadableError:
                pieces.append(_NOTHING[:wanted])
                unreadable.add(at)
        return b"".join(pieces)

    def _damaged_blocks(
        self, page: bytes, first_block: int, data: memoryview, unreadable: Collection[int]
    ) -> Sequence[int]:
        damaged = set(damaged_blocks(page, first_block, data))
        if unreadable:
            blocks = range(first_block, first_block + -(-len(data) // BLOCK_BYTES))
            damaged.update(block for block in blocks if self.layout.file_offset(block * BLOCK_BYTES) in unreadable)
        return sorted(damaged)

    def _keep(self, group: int, page: bytes, changes: int) -> None:
        if changes != self.changes or changes % 2:
            return  # read while it may have been written
        self._pages.pop(group, None)
        self._pages[group] = page
        if len(self._pages) > ENTRY_PAGES_KEPT:
            del self._pages[next(iter(self._pages))]
