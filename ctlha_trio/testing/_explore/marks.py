"""What the store of an explored node has marked, on a volume of one block, and what a crash may make of it."""

from collections.abc import Iterator

import attrs

from ctlha_trio.pair import Metadata, actions as act

InOrder = act.Persist | act.Track | act.MarkDirty | act.FindDirty | act.StopTracking
"""What the driver carries out one after the other."""


@attrs.frozen(cache_hash=True)
class Marks:
    """Durable, but for ``cleared``."""

    base_epoch: int = 0
    """From which the mark counts; 0 while nothing is tracked or marked."""
    tracking: bool = False
    """Every write is marked."""
    dirty: bool = False
    """The block is marked."""
    cleared: bool = False
    """Its mark was taken away, and is back if the process ends before anything else is durable."""

    def settle(self) -> "Marks":
        """Something became durable."""
        return attrs.evolve(self, cleared=False)

    def mark(self, epoch: int) -> "Marks":
        """Marked, counted from this epoch if nothing is yet."""
        return attrs.evolve(self, base_epoch=self.base_epoch or epoch, dirty=True, cleared=False)

    def track(self, base_epoch: int) -> "Marks":
        """Every write from now on is marked; a mark from another epoch is forgotten."""
        dirty = self.dirty and base_epoch == self.base_epoch
        return attrs.evolve(self, base_epoch=base_epoch, tracking=True, dirty=dirty)

    def clear(self) -> "Marks":
        """The mark is taken away, durably with whatever is durable next."""
        return attrs.evolve(self, dirty=False, cleared=True) if self.dirty else self


def carried_out(metadata: Metadata, marks: Marks, order: InOrder) -> tuple[Metadata, Marks]:
    """What is durable once the order is."""
    match order:
        case act.Persist():
            return order.metadata, marks.settle()
        case act.Track():
            marks = marks.track(order.base_epoch)
            return metadata, marks.mark(metadata.epoch) if order.ranges else marks
        case act.MarkDirty():
            return metadata, marks.mark(metadata.epoch)
        case act.StopTracking():
            return metadata, Marks()
        case act.FindDirty():
            return metadata, marks


def parts_carried_out(
    metadata: Metadata, marks: Marks, ordered: tuple[InOrder, ...]
) -> Iterator[tuple[Metadata, Marks]]:
    """What may be durable of orders that a crash cuts off: any first part, and half of one to track."""
    yield metadata, marks
    for order in ordered:
        if isinstance(order, act.Track) and order.ranges:
            yield metadata, marks.track(order.base_epoch)
        metadata, marks = carried_out(metadata, marks, order)
        yield metadata, marks
