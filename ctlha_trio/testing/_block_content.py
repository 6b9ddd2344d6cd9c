"""What the clients of a power trial write to a volume: blocks whose every sector tells the write that it is from."""

from collections.abc import Iterator
from typing import Final

from ctlha_trio.testing._power_medium import SECTOR_BYTES

BLOCK_SECTORS: Final = 2
"""So that a power cut can tear a block. A sector is what a history calls a block: no two are written as one."""
BLOCK_BYTES: Final = BLOCK_SECTORS * SECTOR_BYTES
_NUMBER_BYTES: Final = 8


def fill(number: int) -> bytes:
    """The content of a block to which the write of that number was written; 0 is there before everything."""
    return number.to_bytes(_NUMBER_BYTES, "little") * (BLOCK_BYTES // _NUMBER_BYTES)


def sectors_of(block: int) -> range:
    """The numbers of a block's sectors."""
    return range(block * BLOCK_SECTORS, (block + 1) * BLOCK_SECTORS)


def read_numbers(block: int, content: bytes) -> Iterator[tuple[int, int]]:
    """Each sector of a block with the number of the write that it is from. ``AssertionError`` if it is from none."""
    for index, sector in enumerate(sectors_of(block)):
        found = content[index * SECTOR_BYTES : (index + 1) * SECTOR_BYTES]
        number = int.from_bytes(found[:_NUMBER_BYTES], "little")
        if found != fill(number)[:SECTOR_BYTES]:
            raise AssertionError(f"block {block}: a sector of which no write is")
        yield sector, number
