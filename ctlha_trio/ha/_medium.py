"""What a node knows of the blocks that its disk has not kept."""

from typing import Final

import attrs

from ctlha_trio.store import BLOCK_BYTES

REPAIRED_MAX: Final = 64
"""Blocks repaired since the node started, beyond which the disk counts as failing. A healthy disk loses one in years;
one that loses so many between two starts will soon lose one of which the other copy is damaged too."""
DAMAGED_KEPT: Final = 4096
"""Blocks known by place: 16 MiB of damage. Beyond that it is told for good, until the node starts anew."""


@attrs.define(eq=False)
class MediumLog:
    """Of one disk, since the node started."""

    repaired: int = attrs.field(default=0, init=False)
    """Blocks that were written anew from the peer's copy."""
    _damaged: dict[int, None] = attrs.field(factory=dict, init=False)
    """Where blocks begin that are damaged on every copy that counts."""
    _overflowed: bool = attrs.field(default=False, init=False)

    @property
    def damaged_bytes(self) -> int:
        """Of blocks that no copy that counts has whole, as far as they were met and not written anew since."""
        return len(self._damaged) * BLOCK_BYTES

    @property
    def has_damage(self) -> bool:
        """Whether there are such blocks."""
        return bool(self._damaged) or self._overflowed

    @property
    def is_failing(self) -> bool:
        """Whether the disk loses more than disks do."""
        return self.repaired > REPAIRED_MAX

    def add_damaged(self, offset: int, size: int) -> bool:
        """Whole blocks that nobody has. Whether that was not known of all of them."""
        before = len(self._damaged)
        for block in range(offset, offset + size, BLOCK_BYTES):
            if len(self._damaged) >= DAMAGED_KEPT and block not in self._damaged:
                self._overflowed = True
                break
            self._damaged[block] = None
        return len(self._damaged) > before

    def note_repair(self, offset: int, size: int) -> None:
        """Whole blocks were written anew from the peer's copy."""
        self.repaired += -(-size // BLOCK_BYTES)
        self.note_write(offset, size)

    def note_write(self, offset: int, size: int) -> None:
        """A range was written. A block of it that was damaged was written whole: in part it cannot be."""
        if self._damaged:
            first = offset // BLOCK_BYTES * BLOCK_BYTES
            for block in range(first, offset + size, BLOCK_BYTES):
                self._damaged.pop(block, None)
