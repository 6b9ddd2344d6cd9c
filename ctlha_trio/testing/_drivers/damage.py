"""Blocks of a disk that are not what was written there: decayed, or written to another place."""

from collections.abc import Callable, Sequence, Set

import attrs

from ctlha_trio.seams import Buffer
from ctlha_trio.store import BLOCK_BYTES, GROUP_BYTES, Layout, damaged_in, entries_for
from ctlha_trio.testing._drivers.atlas import Fault


@attrs.frozen
class Damage:
    """What lies at a place in the file, and why."""

    fault: Fault
    content: bytes = attrs.field(repr=False)


@attrs.define(eq=False)
class DiskDamage:
    """Lies over the disk of one node: what reads find there, while the disk under it holds what was written.

    It stays until something is written there, over any number of processes. A fault of this kind strikes when a read
    meets it. The head of the file is left alone.
    """

    layout: Layout
    may_lead_astray: Callable[[Set[int]], bool] = lambda _: True
    """Asked, with where the blocks begin that it would damage, before a write goes to another block."""
    on_strike: Callable[[Fault], None] = lambda _: None
    places: dict[int, Damage] = attrs.field(factory=dict, init=False)
    """By where it begins in the file, until something is written there."""
    misdirects: bool = attrs.field(default=False, init=False)
    """The next write of data goes astray."""
    misled: bool = attrs.field(default=False, init=False)
    """A read has met a page of entries that belongs elsewhere: the process may keep that in its memory."""
    spoiled: set[int] = attrs.field(factory=set, init=False)
    """Groups whose page of entries was written by who had read another one's: what was not written anew is wrong."""
    met_again: bool = attrs.field(default=False, init=False)
    """A read has met damage in a block where this process had met other damage before."""
    _met: set[int] = attrs.field(factory=set, init=False)
    _blocks_met: set[int] = attrs.field(factory=set, init=False)
    """Places of the file in blocks, in which this process has met damage."""

    def read(self, offset: int, data: bytes) -> bytes:
        """What a read finds, of what is there."""
        for place, damage in list(self.places.items()):
            if place in self._met or not (place < offset + len(data) and offset < place + len(damage.content)):
                continue
            self._met.add(place)
            self.met_again |= place // BLOCK_BYTES in self._blocks_met
            self._blocks_met.add(place // BLOCK_BYTES)
            self.misled |= place in self._entry_pages
            self.on_strike(damage.fault)
        return self.over(offset, data)

    def over(self, offset: int, data: bytes) -> bytes:
        """The same without a read."""
        if not self.places:
            return data
        found = bytearray(data)
        for place, damage in self.places.items():
            start, end = max(place, offset), min(place + len(damage.content), offset + len(data))
            if start < end:
                found[start - offset : end - offset] = damage.content[start - place : end - place]
        return bytes(found)

    def blocks(self, content: bytes) -> frozenset[int]:
        """Where blocks of the volume begin that no read gives as they were written. ``content`` is the file without."""
        groups = {self._group_at(place) for place in self.places} | self.spoiled
        if not groups:
            return frozenset()
        return frozenset(damaged_in(self.over(0, content), self.layout.size_bytes, sorted(groups)))

    def wrote(self, extents: Sequence[tuple[int, Buffer]], before: bytes) -> None:
        """Extents of the file were written: they are whole, unless this is the write that goes astray.

        ``before`` is the file as it was, which is asked for only then.
        """
        for place in list(self.places):
            if any(at <= place < at + memoryview(data).nbytes for at, data in extents):
                if place in self._entry_pages and place in self._met:
                    self.spoiled.add(self._group_at(place))
                self._forget(place)
        if self.misdirects:
            self._lead_astray(extents, before)

    def begin(self) -> None:
        """A process starts, which has met nothing yet."""
        self.misled = self.met_again = False
        self._met.clear()
        self._blocks_met.clear()

    def mend(self, blocks: Set[int]) -> None:
        """These blocks lie where they belong. What their entries say is another matter."""
        for block in blocks:
            start = self.layout.file_offset(block)
            for place in [each for each in self.places if start <= each < start + BLOCK_BYTES]:
                self._forget(place)

    def mend_entries(self, content: bytes, epoch: int) -> dict[int, bytes]:
        """No page of entries belongs elsewhere; where in the file one says what is wrong, and what would be right."""
        for place in self._entry_pages.intersection(self.places):
            self._forget(place)
        spoiled, self.spoiled = sorted(self.spoiled), set()
        size_bytes = self.layout.size_bytes
        return {
            self.layout.entry_page_offset(group): entries_for(content, size_bytes, group, epoch) for group in spoiled
        }

    def settle(self, groups: Sequence[int]) -> dict[int, bytes]:
        """In these groups what lies there is what a new process takes for what was written; what that is, by place."""
        settled = {place: each.content for place, each in self.places.items() if self._group_at(place) in groups}
        for place in settled:
            self._forget(place)
        self.spoiled.difference_update(groups)
        return settled

    def _forget(self, place: int) -> None:
        del self.places[place]
        self._met.discard(place)

    def _lead_astray(self, extents: Sequence[tuple[int, Buffer]], before: bytes) -> None:
        """A block stays as it was, and what was for it lies in another one.

        Where there are several groups that is the same block of another group, and the entries lie there as well, so
        that nothing but the address tells.
        """
        written = {at: bytes(memoryview(data).cast("B")[:BLOCK_BYTES]) for at, data in extents}
        block = next((found for at in written if (found := self._block_at(at)) is not None), None)
        if block is None:
            return
        here, size = self.layout.file_offset(block), self.layout.size_bytes
        steps = (GROUP_BYTES, -GROUP_BYTES, BLOCK_BYTES, -BLOCK_BYTES)
        there = next(block + step for step in steps if 0 <= block + step <= size - BLOCK_BYTES)
        astray = {here: before[here : here + BLOCK_BYTES], self.layout.file_offset(there): written[here]}
        damaged = {block, there}
        groups = block // GROUP_BYTES, there // GROUP_BYTES
        if groups[0] != groups[1]:
            astray[self.layout.entry_page_offset(groups[1])] = written[self.layout.entry_page_offset(groups[0])]
            start = groups[1] * GROUP_BYTES
            damaged.update(range(start, start + self.layout.group_bytes(groups[1]), BLOCK_BYTES))
        if not self.may_lead_astray(damaged):
            return
        self.misdirects = False
        for place, content in astray.items():
            if content != (written[here] if place == here else before[place : place + BLOCK_BYTES]):
                self.places[place] = Damage(Fault.MISDIRECTED, content)
                self._met.discard(place)

    @property
    def _entry_pages(self) -> set[int]:
        return {self.layout.entry_page_offset(group) for group in range(self.layout.groups)}

    def _group_at(self, place: int) -> int:
        """Of which the page of entries or a block is at this place of the file."""
        return next(
            group for group in reversed(range(self.layout.groups)) if self.layout.entry_page_offset(group) <= place
        )

    def _block_at(self, place: int) -> int | None:
        """Where in the volume the block is that begins at this place of the file."""
        for group in range(self.layout.groups):
            start = self.layout.file_offset(group * GROUP_BYTES)
            if start <= place < start + self.layout.group_bytes(group):
                return group * GROUP_BYTES + place - start
        return None
