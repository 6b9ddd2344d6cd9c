"""A checksum for each block that covers its data, its address and the epoch in which it was written. No I/O.

The entries of a group fill one page: epoch, CRC32C and kind, 16 bytes for each block. Zeros in an entry say that the
block was never written; then it must read as zeros, so that a new file needs no entries.

The checksum starts from a value in which no two addresses of one epoch are equal (up to 2^32 blocks, 16 TiB). Since
CRC32C is a bijection of its start for the same data, data of one epoch never has the checksum of another place.

Found, but for one chance in 2^32: data of a block that was written only in part, or not at all while its entry was (or
the other way round); data or a page of entries that lies where it does not belong; any bit that flipped, in the block
or in its entry. Not found: a write of which both the data and the entry are lost, for then the block is what it was
before, whole, and as zeros if it was the first. Only a comparison with the other copy can tell that.
"""

import struct
from collections.abc import Iterator
from typing import Final

from crc32c import crc32c

from ctlha_trio.store._layout import BLOCK_BYTES, GROUP_BLOCKS

_ENTRY: Final = struct.Struct("<QII")
ENTRY_BYTES: Final = _ENTRY.size
_CHECKSUM: Final = struct.Struct("<I")
_CHECKSUM_WORD: Final = 2
"""Of the words of 4 bytes that an entry has."""
_ADDRESS_MASK: Final = 0xFFFFFFFF
_NEVER_WRITTEN: Final = (0, 0, 0)
_WRITTEN: Final = 1
_ZEROS: Final = bytes(BLOCK_BYTES)
_ZEROS_CHECKSUM: Final = crc32c(_ZEROS)


def seal_blocks(page: bytearray, first_block: int, data: memoryview, epoch: int) -> None:
    """Put the entries of these blocks, all of one group, into its page. Only the volume's last block may be short."""
    # Whole runs at a time: what the interpreter does for each block costs as much as the checksum of its data.
    checksums = _checksums(first_block, data, epoch)
    place = first_block % GROUP_BLOCKS * ENTRY_BYTES
    entries = bytearray(_ENTRY.pack(epoch, 0, _WRITTEN) * (len(checksums) // _CHECKSUM.size))
    memoryview(entries).cast("I")[_CHECKSUM_WORD :: ENTRY_BYTES // 4] = memoryview(checksums).cast("I")
    page[place : place + len(entries)] = entries


def _checksums(first_block: int, data: memoryview, epoch: int) -> bytes:
    """One behind the other, each from the start that belongs to its block and epoch."""
    blocks = len(data) // BLOCK_BYTES
    contents = [data[at : at + BLOCK_BYTES] for at in range(0, blocks * BLOCK_BYTES, BLOCK_BYTES)]
    start = _start_of(epoch)
    # From a common start, which costs least, all at once taken to those of the blocks.
    common = struct.pack(f"<{blocks}I", *map(crc32c, contents))
    place = first_block % GROUP_BLOCKS
    group = _CHECKSUM.pack(_carried(start ^ (first_block - place) & _ADDRESS_MASK))
    places = _PLACES[place * _CHECKSUM.size : (place + blocks) * _CHECKSUM.size]
    checksums = _xor(_xor(common, group * blocks), places)
    short = data[blocks * BLOCK_BYTES :]
    if short:
        checksums += _CHECKSUM.pack(crc32c(short, start ^ first_block + blocks & _ADDRESS_MASK))
    return checksums


def _carried(start: int) -> int:
    """By what the checksum of a whole block differs if it starts from ``start`` and not from 0, whatever the block.

    CRC32C is linear: what two starts differ by is carried through the data without regard to it.
    """
    return crc32c(_ZEROS, start) ^ _ZEROS_CHECKSUM


_PLACES: Final = struct.pack(f"<{GROUP_BLOCKS}I", *map(_carried, range(GROUP_BLOCKS)))
"""What the places of a group are by themselves. The blocks of a group differ in the lowest bits of their addresses."""


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one, "little") ^ int.from_bytes(other, "little")).to_bytes(len(one), "little")


def damaged_blocks(page: bytes | bytearray | memoryview, first_block: int, data: memoryview) -> Iterator[int]:
    """Which of these blocks, all of the group of this page of entries, are not what their entries say."""
    place = first_block % GROUP_BLOCKS * ENTRY_BYTES
    blocks = -(-len(data) // BLOCK_BYTES)
    entries = _ENTRY.iter_unpack(memoryview(page)[place : place + blocks * ENTRY_BYTES])
    start, start_epoch = _start_of(0), 0
    for block, (entry, at) in enumerate(zip(entries, range(0, len(data), BLOCK_BYTES), strict=True), first_block):
        epoch, checksum, kind = entry
        content = data[at : at + BLOCK_BYTES]
        if kind == _WRITTEN:
            if epoch != start_epoch:
                start, start_epoch = _start_of(epoch), epoch
            if crc32c(content, start ^ block & _ADDRESS_MASK) != checksum:
                yield block
        elif entry != _NEVER_WRITTEN or not _is_zeros(content):
            yield block


def written_blocks(page: bytes, first_block: int, blocks: int) -> set[int]:
    """Which of so many blocks, all of the group of this page of entries, were ever written, as their entries say."""
    entries = _ENTRY.iter_unpack(memoryview(page)[: blocks * ENTRY_BYTES])
    return {block for block, (_, __, kind) in enumerate(entries, first_block) if kind == _WRITTEN}


def _start_of(epoch: int) -> int:
    return crc32c(epoch.to_bytes(8, "little"))


def _is_zeros(content: memoryview) -> bool:
    checksum = crc32c(content)
    return checksum == (_ZEROS_CHECKSUM if len(content) == BLOCK_BYTES else crc32c(bytes(len(content))))
