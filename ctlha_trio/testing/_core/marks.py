"""What a simulated disk has marked as possibly different from the peer's copy: as the store does it, block by block."""

from collections.abc import Iterable
from random import Random

import attrs

RETURN_CHANCE = 0.5
"""Of a mark that was taken away and is not durable as such when the process ends: it is back."""


@attrs.define(eq=False)
class DirtyMarks:
    """The dirty bitmap, and the extents in the activity log of a process that has ended."""

    base_epoch: int | None = None
    """From which the marks count; None while there are none."""
    tracking: bool = False
    """Every write is marked."""
    dirty: set[int] = attrs.Factory(set)
    extents: set[int] = attrs.Factory(set)
    _cleared: set[int] = attrs.field(factory=set, init=False)
    """Not durable yet."""

    def track(self, base_epoch: int) -> None:
        """Mark every write from now on, counted from an epoch; marks from another one are forgotten."""
        if base_epoch != self.base_epoch:
            self.dirty.clear()
        self.base_epoch, self.tracking = base_epoch, True

    def add(self, blocks: Iterable[int], epoch: int) -> None:
        """Mark blocks, counted from this epoch if nothing is yet."""
        self.base_epoch = epoch if self.base_epoch is None else self.base_epoch
        self.dirty.update(blocks)

    def clear(self, blocks: Iterable[int]) -> None:
        """Take marks away, durably with whatever is durable next."""
        for block in blocks:
            if block in self.dirty:
                self.dirty.remove(block)
                self._cleared.add(block)

    def settle(self) -> None:
        """Something became durable."""
        self._cleared.clear()

    def forget(self) -> None:
        """Mark nothing more."""
        self.base_epoch, self.tracking = None, False
        self.dirty.clear()
        self.settle()

    def crash(self, extents: set[int], random: Random) -> None:
        """The process ends with these extents in the activity log."""
        self.dirty.update(block for block in self._cleared if random.random() < RETURN_CHANCE)
        self._cleared.clear()
        self.extents = extents
