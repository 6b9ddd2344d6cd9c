"""What a node knows of the blocks that its disk has not kept."""

from collections.abc import Callable, Iterator
from typing import Final

import attrs

from ctlha_trio.pair import Range
from ctlha_trio.store import BLOCK_BYTES

REPAIRED_MAX: Final = 64
"""Blocks repaired since the node started, beyond which the disk counts as failing. A healthy disk loses one in years;
one that loses so many between two starts will soon lose one of which the other copy is damaged too."""
DAMAGED_KEPT: Final = 4096
"""Blocks known by place: 16 MiB of damage. Beyond that it is told until a complete comparison finds none."""


@attrs.define(eq=False)
class MediumLog:
    """Of one disk, since the node started."""

    repaired: int = attrs.field(default=0, init=False)
    """Blocks that were written anew from the peer's copy."""
    has_more: bool = attrs.field(default=False, init=False)
    """Whether more blocks are damaged than are known by place."""
    on_mended: Callable[[int, int], None] = attrs.field(default=lambda _offset, _size: None, init=False)
    """Told of each range in which a damaged block was written anew, or could be read at last."""
    counts: Callable[[], bool] = attrs.field(default=lambda: False, init=False)
    """Whether what this disk has whole is not lost."""
    _damaged: dict[int, None] = attrs.field(factory=dict, init=False)
    """Where blocks begin that are damaged on every copy that counts."""

    @property
    def damaged_bytes(self) -> int:
        """Of blocks that no copy that counts has whole, as far as they were met and have not been whole since."""
        return len(self._damaged) * BLOCK_BYTES

    @property
    def has_damage(self) -> bool:
        """Whether there are such blocks."""
        return bool(self._damaged) or self.has_more

    @property
    def is_failing(self) -> bool:
        """Whether the disk loses more than disks do."""
        return self.repaired > REPAIRED_MAX

    def runs(self) -> Iterator[Range]:
        """What is known by place, in order, each run in one piece."""
        begin = end = 0
        for block in sorted(self._damaged):
            if block != end:
                if end:
                    yield begin, end - begin
                begin = block
            end = block + BLOCK_BYTES
        if end:
            yield begin, end - begin

    def add_damaged(self, offset: int, size: int) -> bool:
        """Whole blocks that nobody has. Whether that was not known of all of them."""
        before = len(self._damaged), self.has_more
        for block in _blocks_of(offset, size):
            if len(self._damaged) >= DAMAGED_KEPT and block not in self._damaged:
                self.has_more = True
                break
            self._damaged[block] = None
        return (len(self._damaged), self.has_more) != before

    def knows(self, offset: int, size: int) -> bool:
        """Whether all of these blocks are known as damaged, by place."""
        return all(block in self._damaged for block in _blocks_of(offset, size))

    def forget(self, offset: int, size: int) -> bool:
        """Of these nothing is damaged. Whether anything was."""
        first = offset // BLOCK_BYTES * BLOCK_BYTES
        mended = [block for block in self._damaged if first <= block < offset + size]
        for block in mended:
            del self._damaged[block]
        return bool(mended)

    def note_repair(self, offset: int, size: int) -> None:
        """Whole blocks were written anew from the peer's copy."""
        self.repaired += -(-size // BLOCK_BYTES)
        self.forget(offset, size)
        self.on_mended(offset, size)

    def note_write(self, offset: int, size: int) -> None:
        """A range was written. A block of it that was damaged was written whole: in part it cannot be."""
        if self._damaged and self.forget(offset, size):
            self.on_mended(offset, size)

    def note_read(self, offset: int, size: int) -> None:
        """A range was read, and every block of it was whole: a path or a disk may fail for a while only."""
        if self._damaged and self.counts() and self.forget(offset, size):
            self.on_mended(offset, size)


def _blocks_of(offset: int, size: int) -> range:
    return range(offset // BLOCK_BYTES * BLOCK_BYTES, offset + size, BLOCK_BYTES)
