"""What simulated clients write to a volume: every sector tells the write that it is from."""

from collections.abc import Iterator
from typing import Final

from ctlha_trio.testing._power.medium import SECTOR_BYTES

BLOCK_SECTORS: Final = 2
"""So that a power cut can tear a block. A sector is what a history calls a block: no two are written as one."""
BLOCK_BYTES: Final = BLOCK_SECTORS * SECTOR_BYTES
_NUMBER_BYTES: Final = 8


def fill_sector(number: int) -> bytes:
    """The content of a sector to which the write of that number was written; 0 is there before everything."""
    return number.to_bytes(_NUMBER_BYTES, "little") * (SECTOR_BYTES // _NUMBER_BYTES)


def number_of(sector: bytes) -> int:
    """The number of the write that a sector is from. ``AssertionError`` if it is from none."""
    number = int.from_bytes(sector[:_NUMBER_BYTES], "little")
    if sector != fill_sector(number):
        raise AssertionError(f"a sector of which no write is, beginning with {sector[:_NUMBER_BYTES].hex()}")
    return number


def fill(number: int) -> bytes:
    """The content of a whole block, likewise."""
    return fill_sector(number) * BLOCK_SECTORS


def sectors_of(block: int) -> range:
    """The numbers of a block's sectors."""
    return range(block * BLOCK_SECTORS, (block + 1) * BLOCK_SECTORS)


def read_numbers(block: int, content: bytes) -> Iterator[tuple[int, int]]:
    """Each sector of a block with the number of the write that it is from. ``AssertionError`` if it is from none."""
    for index, sector in enumerate(sectors_of(block)):
        try:
            number = number_of(content[index * SECTOR_BYTES : (index + 1) * SECTOR_BYTES])
        except AssertionError as error:
            raise AssertionError(f"block {block}: {error}") from error
        yield sector, number
