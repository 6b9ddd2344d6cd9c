"""What clients wrote to each block of a volume and what they were told: finds what was lost, torn or brought back."""

import math
from collections.abc import Iterator
from typing import Final

import attrs

from ctlha_trio.testing._power_medium import SECTOR_BYTES

BLOCK_BYTES: Final = 2 * SECTOR_BYTES
"""Of two sectors, so that a power cut can tear it."""
_NUMBER_BYTES: Final = 8


def fill(number: int) -> bytes:
    """The content of a block to which the write of that number was written; 0 is there before everything."""
    return number.to_bytes(_NUMBER_BYTES, "little") * (BLOCK_BYTES // _NUMBER_BYTES)


@attrs.define(eq=False)
class BlockWrite:
    """One write of one block. Times count what happened, over all clients."""

    number: int
    block: int
    began: int
    ended: float = math.inf
    """When the client knew that it is over, whatever its outcome."""
    acknowledged: bool = False
    refused: bool = False
    """The client was told that it was not executed."""


@attrs.define(eq=False)
class RegisterHistory:
    """Every value is written once, so that a value tells its write."""

    writes: dict[int, BlockWrite] = attrs.field(factory=dict, init=False)
    now: int = attrs.field(default=0, init=False)

    def begin(self, block: int) -> BlockWrite:
        """A client is about to send a write. Its value is ``fill`` of its number."""
        self.now += 1
        number = len(self.writes) + 1
        write = self.writes[number] = BlockWrite(number, block, self.now)
        return write

    def acknowledge(self, number: int) -> None:
        """A node says that it is done; nobody need have heard it."""
        self.writes[number].acknowledged = True
        self.end(number)

    def end(self, number: int, *, refused: bool = False) -> None:
        """The client has its answer, or knows that there will be none. The first end counts."""
        write = self.writes[number]
        if write.ended == math.inf:
            self.now += 1
            write.ended, write.refused = self.now, refused

    def problems(self, block: int, content: bytes, asked: int | None = None) -> Iterator[str]:
        """What is wrong with a block's content, as of now, or as of a read that was sent at the time ``asked``."""
        for start in range(0, BLOCK_BYTES, SECTOR_BYTES):
            sector = content[start : start + SECTOR_BYTES]
            number = int.from_bytes(sector[:_NUMBER_BYTES], "little")
            if sector != fill(number)[:SECTOR_BYTES]:
                yield f"block {block}: a sector of which no write is"
            else:
                problem = self._problem(block, number, self.now if asked is None else asked)
                if problem:
                    yield f"block {block}: {problem}"

    def _problem(self, block: int, number: int, asked: int) -> str:
        found = BlockWrite(0, block, 0, 0) if number == 0 else self.writes.get(number)
        if found is None or found.block != block:
            return f"value {number} was never written here"
        if found.refused:
            return f"value {number} was written by a write that was not executed"
        for write in self.writes.values():
            # A write that ended, heard of or not, before an acknowledged one began must never show again.
            if write.block == block and write.acknowledged and found.ended < write.began and write.ended <= asked:
                return f"write {write.number} was acknowledged and is lost: {number} is there"
        return ""
