"""Writes that go to the disk together: laid over each other block by block, then sealed."""

from collections.abc import Mapping, Sequence

import attrs

from ctlha_trio.seams import Buffer
from ctlha_trio.store._checked_volume import CheckedVolume, SealedWrite
from ctlha_trio.store._checksums import seal_blocks
from ctlha_trio.store._layout import BLOCK_BYTES, GROUP_BLOCKS, PAGE_BYTES


@attrs.define(eq=False)
class WriteBatch:
    """Whole blocks stay the buffers that they came in; a block that is written in part is first read and verified."""

    _volume: CheckedVolume
    _whole: list[tuple[int, memoryview]] = attrs.field(factory=list, init=False)
    """Number of the first block and data, in the order of writing. No piece lies in two groups."""
    _parts: dict[int, bytearray] = attrs.field(factory=dict, init=False)
    """Blocks written in part after everything in ``_whole``, with all that they then hold."""

    async def add(self, offset: int, data: Buffer) -> None:
        """Lay a write over those before. ``DamagedBlockError``, and no effect, if the rest of a block is not whole."""
        view, end = memoryview(data), offset + len(data)
        first, last = offset // BLOCK_BYTES, end // BLOCK_BYTES
        lead = -offset % BLOCK_BYTES
        trail = 0 if end == self._volume.layout.size_bytes else end % BLOCK_BYTES
        partial = {block for block, size in ((first, lead), (last, trail)) if size and data}
        contents = {block: await self._content(block) for block in sorted(partial)}
        for block, content in contents.items():
            start = block * BLOCK_BYTES
            piece = view[max(0, start - offset) : start + len(content) - offset]
            place = max(0, offset - start)
            content[place : place + len(piece)] = piece
            self._parts[block] = content
        self._lay_whole(-(-offset // BLOCK_BYTES), view[lead : max(lead, len(view) - trail)])

    def _lay_whole(self, block: int, data: memoryview) -> None:
        while data:
            size = (GROUP_BLOCKS - block % GROUP_BLOCKS) * BLOCK_BYTES
            piece, data = data[:size], data[size:]
            blocks = -(-len(piece) // BLOCK_BYTES)
            for replaced in [part for part in self._parts if block <= part < block + blocks]:
                del self._parts[replaced]
            self._whole.append((block, piece))
            block += blocks

    async def _content(self, block: int) -> bytearray:
        if block in self._parts:
            return bytearray(self._parts[block])
        size = self._volume.layout.block_bytes(block)
        for first, data in reversed(self._whole):
            at = (block - first) * BLOCK_BYTES
            if 0 <= at < len(data):
                return bytearray(data[at : at + size])
        return bytearray(await self._volume.read(block * BLOCK_BYTES, size))

    def add_whole(self, offset: int, data: Buffer) -> bool:
        """``add``, if it writes no block in part and so reads none; whether it did."""
        size = len(data)
        if not size or offset % BLOCK_BYTES or size % BLOCK_BYTES:
            return False
        self._lay_whole(offset // BLOCK_BYTES, memoryview(data))
        return True

    async def seal(self, epoch: int) -> SealedWrite:
        """Everything as one call writes it: each page of entries before the first data of its group.

        That makes a group that is written whole one run of the file.
        """
        pieces = self._pieces()
        return self._seal(
            pieces, {group: await self._volume.entry_page(group) for group in self._kept_in(pieces)}, epoch
        )

    def seal_at_once(self, epoch: int) -> SealedWrite | None:
        """``seal``, if that reads nothing from the disk; else None."""
        pieces = self._pieces()
        pages = {group: self._volume.known_page(group) for group in self._kept_in(pieces)}
        known = {group: page for group, page in pages.items() if page is not None}
        return self._seal(pieces, known, epoch) if len(known) == len(pages) else None

    def _pieces(self) -> list[tuple[int, memoryview]]:
        return [*self._whole, *((block, memoryview(content)) for block, content in sorted(self._parts.items()))]

    def _kept_in(self, pieces: Sequence[tuple[int, memoryview]]) -> dict[int, None]:
        """Groups of which entries stay as they are: all but those of which the first piece is the whole."""
        firsts: dict[int, int] = {}
        for block, data in pieces:
            firsts.setdefault(block // GROUP_BLOCKS, len(data))
        return {group: None for group, size in firsts.items() if size != self._volume.layout.group_bytes(group)}

    def _seal(self, pieces: Sequence[tuple[int, memoryview]], entries: Mapping[int, bytes], epoch: int) -> SealedWrite:
        layout = self._volume.layout
        pages: dict[int, bytearray] = {}
        for block, data in pieces:
            group = block // GROUP_BLOCKS
            if group not in pages:
                pages[group] = bytearray(entries.get(group) or PAGE_BYTES)
            seal_blocks(pages[group], block, data, epoch)
        sealed = {group: bytes(page) for group, page in pages.items()}
        write = SealedWrite([], sealed)
        for block, data in pieces:
            page = pages.pop(block // GROUP_BLOCKS, None)
            if page is not None:
                write.extents.append((layout.entry_page_offset(block // GROUP_BLOCKS), page))
            write.extents.append((layout.file_offset(block * BLOCK_BYTES), data))
        return write
