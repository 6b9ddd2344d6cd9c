"""The volume of a simulated pair: a few blocks far apart, of which alone the content is simulated.

They lie so that a range of a resync, or of a comparison, has one, two or three of them, and that one pair of them is in
two such ranges. A range covers whatever of them it touches; of what lies between, nothing is written or marked.
"""

from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Final

from ctlha_trio.pair import COPY_CHUNK_BYTES, Range

BLOCK_BYTES: Final = 1 << 16
"""Of what has a checksum of its own, and a mark."""
BLOCKS_OF_CHUNK: Final = COPY_CHUNK_BYTES // BLOCK_BYTES
LAID_OUT: Final = (0, 1, BLOCKS_OF_CHUNK - 1, BLOCKS_OF_CHUNK, 3 * BLOCKS_OF_CHUNK - 2, 3 * BLOCKS_OF_CHUNK - 1)
"""Where each block lies, in blocks."""
BLOCKS: Final = len(LAID_OUT)
VOLUME_BYTES: Final = 3 * COPY_CHUNK_BYTES
SECTORS_OF_BLOCK: Final = 2
SECTORS: Final = BLOCKS * SECTORS_OF_BLOCK
SECTOR_BYTES: Final = BLOCK_BYTES // SECTORS_OF_BLOCK
"""Each holds one value: a write of a part of a block leaves the rest as it is."""
RECORDS: Final = 2
"""Records, each in a place of its own beside the sectors: that of record 0 is -1, and so on down."""
PLACES: Final = range(-RECORDS, 0)
"""Of the records."""
_BLOCK_OFFSETS: Final = tuple(block * BLOCK_BYTES for block in LAID_OUT)
_SECTOR_OFFSETS: Final = tuple(
    block + half * SECTOR_BYTES for block in _BLOCK_OFFSETS for half in range(SECTORS_OF_BLOCK)
)


def place_blocks(first: int, count: int = 1) -> Range:
    """Offset and size of some blocks, and of what lies between them."""
    start = _BLOCK_OFFSETS[first]
    return start, _BLOCK_OFFSETS[first + count - 1] + BLOCK_BYTES - start


def place_sectors(first: int, count: int = 1) -> Range:
    """The same of some sectors."""
    start = _SECTOR_OFFSETS[first]
    return start, _SECTOR_OFFSETS[first + count - 1] + SECTOR_BYTES - start


@cache
def blocks_of(offset: int, size: int) -> tuple[int, ...]:
    """The numbers of the blocks that a range touches."""
    return tuple(
        block for block, start in enumerate(_BLOCK_OFFSETS) if offset < start + BLOCK_BYTES and start < offset + size
    )


@cache
def sectors_of(offset: int, size: int) -> tuple[int, ...]:
    """The numbers of the sectors in a range, which ends where sectors do, or between blocks."""
    return tuple(sector for sector, start in enumerate(_SECTOR_OFFSETS) if offset <= start < offset + size)


def blocks_with(places: Iterable[int]) -> set[int]:
    """The blocks in which these sectors are. Records are in none."""
    return {place // SECTORS_OF_BLOCK for place in places if place >= 0}


def partly_covered(places: Iterable[int]) -> set[int]:
    """The blocks of which some sectors are among these places, and not all."""
    covered = Counter(place // SECTORS_OF_BLOCK for place in places if place >= 0)
    return {block for block, count in covered.items() if count < SECTORS_OF_BLOCK}


def place_of(key: str) -> int:
    """Where a record lies that has this key."""
    return -1 - int(key)


def first_run(blocks: Iterable[int]) -> Range:
    """Offset and size of the first of these blocks, with those that lie beside it."""
    start, *others = sorted(_BLOCK_OFFSETS[block] for block in blocks)
    end = start + BLOCK_BYTES
    for other in others:
        if other == end:
            end += BLOCK_BYTES
    return start, end - start
