"""Blocks of a disk that are not what was written there: decayed, or written to another place."""

from collections.abc import Callable, Sequence

import attrs

from ctlha_trio.store import BLOCK_BYTES
from ctlha_trio.testing._drivers.atlas import Fault


@attrs.define(eq=False)
class DiskDamage:
    """Lies over the disk of one node: what reads find there, while the disk under it holds what was written.

    A fault of this kind strikes when a read meets it. Two copies survive that only while the other one is left, and a
    read that would meet it later finds nothing wrong.
    """

    data: tuple[range, ...]
    """Offsets in the file that hold the volume's bytes."""
    may_strike: Callable[[], bool] = lambda: True
    on_strike: Callable[[Fault], None] = lambda _: None
    places: dict[int, Fault] = attrs.field(factory=dict, init=False)
    """One byte of each damaged block, until it is written again."""
    misdirects: bool = attrs.field(default=False, init=False)
    """The next write of data goes astray."""
    _met: set[int] = attrs.field(factory=set, init=False)

    def read(self, offset: int, data: bytes) -> bytes:
        """What a read finds, of what is there."""
        found = bytearray(data)
        for place, fault in list(self.places.items()):
            if not offset <= place < offset + len(data):
                continue
            if place not in self._met and not self.may_strike():
                del self.places[place]
                continue
            found[place - offset] ^= 0xFF
            if place not in self._met:
                self._met.add(place)
                self.on_strike(fault)
        return bytes(found)

    def wrote(self, extents: Sequence[tuple[int, int]]) -> None:
        """Extents, offset and size, were written: they are whole, unless this is the write that goes astray."""
        for place in list(self.places):
            if any(at <= place < at + size for at, size in extents):
                del self.places[place]
                self._met.discard(place)
        astray = next((at for at, _ in extents if self._is_data(at)), None)
        if self.misdirects and astray is not None:
            self.misdirects = False
            places = filter(self._is_data, (astray, astray + BLOCK_BYTES, astray - BLOCK_BYTES))
            self.places.update(dict.fromkeys(places, Fault.MISDIRECTED))

    def heal(self) -> None:
        """Nothing is damaged."""
        self.places.clear()
        self._met.clear()
        self.misdirects = False

    def _is_data(self, place: int) -> bool:
        return any(place in each for each in self.data)
