"""Blocks of a disk that are not what was written there: decayed, or written to another place."""

from collections.abc import Callable, Sequence

import attrs

from ctlha_trio.seams import Buffer
from ctlha_trio.store import BLOCK_BYTES, GROUP_BYTES, Layout
from ctlha_trio.testing._drivers.atlas import Fault


@attrs.frozen
class Damage:
    """What lies at a place in the file, and why."""

    fault: Fault
    content: bytes = attrs.field(repr=False)


@attrs.define(eq=False)
class DiskDamage:
    """Lies over the disk of one node: what reads find there, while the disk under it holds what was written.

    A fault of this kind strikes when a read meets it. Two copies survive that only while the other one is left, and a
    read that would meet it later finds nothing wrong. The head of the file is left alone.
    """

    layout: Layout
    may_strike: Callable[[], bool] = lambda: True
    on_strike: Callable[[Fault], None] = lambda _: None
    places: dict[int, Damage] = attrs.field(factory=dict, init=False)
    """By where it begins in the file, until something is written there."""
    misdirects: bool = attrs.field(default=False, init=False)
    """The next write of data goes astray."""
    misled: bool = attrs.field(default=False, init=False)
    """A read has met a page of entries that belongs elsewhere: the node may keep that in its memory."""
    _met: set[int] = attrs.field(factory=set, init=False)

    def read(self, offset: int, data: bytes) -> bytes:
        """What a read finds, of what is there."""
        found = bytearray(data)
        for place, damage in list(self.places.items()):
            start, end = max(place, offset), min(place + len(damage.content), offset + len(data))
            if start >= end:
                continue
            if place not in self._met and not self.may_strike():
                del self.places[place]
                continue
            found[start - offset : end - offset] = damage.content[start - place : end - place]
            if place not in self._met:
                self._met.add(place)
                self.misled |= place in self._entry_pages
                self.on_strike(damage.fault)
        return bytes(found)

    def wrote(self, extents: Sequence[tuple[int, Buffer]], before: bytes) -> None:
        """Extents of the file were written: they are whole, unless this is the write that goes astray.

        ``before`` is the file as it was, which is asked for only then.
        """
        for place in list(self.places):
            if any(at <= place < at + memoryview(data).nbytes for at, data in extents):
                del self.places[place]
                self._met.discard(place)
        if self.misdirects:
            self._lead_astray(extents, before)

    def heal(self) -> None:
        """Nothing is damaged."""
        self.places.clear()
        self._met.clear()
        self.misdirects = self.misled = False

    def _lead_astray(self, extents: Sequence[tuple[int, Buffer]], before: bytes) -> None:
        """A block stays as it was, and what was for it lies in another one.

        Where there are several groups that is the same block of another group, and the entries lie there as well, so
        that nothing but the address tells.
        """
        written = {at: bytes(memoryview(data).cast("B")[:BLOCK_BYTES]) for at, data in extents}
        block = next((found for at in written if (found := self._block_at(at)) is not None), None)
        if block is None:
            return
        self.misdirects = False
        here, size = self.layout.file_offset(block), self.layout.size_bytes
        steps = (GROUP_BYTES, -GROUP_BYTES, BLOCK_BYTES, -BLOCK_BYTES)
        there = next(block + step for step in steps if 0 <= block + step <= size - BLOCK_BYTES)
        astray = {here: before[here : here + BLOCK_BYTES], self.layout.file_offset(there): written[here]}
        groups = block // GROUP_BYTES, there // GROUP_BYTES
        if groups[0] != groups[1]:
            astray[self.layout.entry_page_offset(groups[1])] = written[self.layout.entry_page_offset(groups[0])]
        for place, content in astray.items():
            if content != (written[here] if place == here else before[place : place + BLOCK_BYTES]):
                self.places[place] = Damage(Fault.MISDIRECTED, content)
                self._met.discard(place)

    @property
    def _entry_pages(self) -> set[int]:
        return {self.layout.entry_page_offset(group) for group in range(self.layout.groups)}

    def _block_at(self, place: int) -> int | None:
        """Where in the volume the block is that begins at this place of the file."""
        for group in range(self.layout.groups):
            start = self.layout.file_offset(group * GROUP_BYTES)
            if start <= place < start + self.layout.group_bytes(group):
                return group * GROUP_BYTES + place - start
        return None
