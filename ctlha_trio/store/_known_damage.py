"""Blocks that were told to be damaged: no start takes one of them for a write that the loss of power has torn. No I/O.

They are named on the page of the activity log, as runs of blocks that adjoin each other in one group. More runs than a
page has room for are not named: then nothing that is damaged is ever taken for torn, which is safe, and costs that a
block which a power cut has torn stays damaged.
"""

import struct
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Final

import attrs

from ctlha_trio.store._layout import BLOCK_BYTES, GROUP_BLOCKS

_HEADER: Final = struct.Struct("<II")
"""Count of runs, and whether there were ever more than fit. A page that an earlier version wrote has zeros here."""
_RUN: Final = struct.Struct("<IBB")
"""Group, and of the group the first block and the last one."""
RUNS_MAX: Final = 500
KNOWN_BYTES_MAX: Final = _HEADER.size + RUNS_MAX * _RUN.size
BLOCKS_MAX: Final = RUNS_MAX * GROUP_BLOCKS
"""Of so many runs, each of a whole group."""


@attrs.frozen
class KnownDamage:
    """What was told, and was not written anew since."""

    blocks: frozenset[int] = frozenset()
    """By number. None of those that had no room."""
    overflowed: bool = False
    """There was damage that had no room, at any time: it may be anywhere."""

    def covers(self, blocks: Iterable[int]) -> bool:
        """Whether none of these is ever taken for torn."""
        return self.overflowed or self.blocks.issuperset(blocks)

    def add(self, blocks: Collection[int]) -> "KnownDamage":
        """With these too."""
        if self.blocks.issuperset(blocks):
            return self
        more = attrs.evolve(self, blocks=self.blocks.union(blocks))
        return more if len(more._runs()) <= RUNS_MAX else attrs.evolve(self, overflowed=True)

    def add_all(self, blocks: Iterable[int]) -> "KnownDamage":
        """``add``, of what may be most of a volume, each once: no more are looked at than could have room."""
        return self.add({*islice(blocks, BLOCKS_MAX + 1)})

    def remove(self, blocks: Collection[int]) -> "KnownDamage":
        """Without these, which are whole. What is left may be more runs than fit; then it is as if they had been."""
        if self.blocks.isdisjoint(blocks):
            return self
        less = attrs.evolve(self, blocks=self.blocks.difference(blocks))
        return less if len(less._runs()) <= RUNS_MAX else KnownDamage(overflowed=True)

    def ranges(self) -> Iterator[tuple[int, int]]:
        """Offset and size of each, in bytes of the volume, in order."""
        for group, first, last in self._runs():
            yield (group * GROUP_BLOCKS + first) * BLOCK_BYTES, (last - first + 1) * BLOCK_BYTES

    def encode(self) -> bytes:
        """At most ``KNOWN_BYTES_MAX``."""
        runs = self._runs()
        return _HEADER.pack(len(runs), int(self.overflowed)) + b"".join(_RUN.pack(*run) for run in runs)

    @staticmethod
    def decode(raw: bytes) -> "KnownDamage":
        """Of what begins with it."""
        count, overflowed = _HEADER.unpack_from(raw)
        runs = _RUN.iter_unpack(raw[_HEADER.size : _HEADER.size + count * _RUN.size])
        blocks = (range(group * GROUP_BLOCKS + first, group * GROUP_BLOCKS + last + 1) for group, first, last in runs)
        return KnownDamage(frozenset().union(*blocks), bool(overflowed))

    def _runs(self) -> list[tuple[int, int, int]]:
        runs: list[tuple[int, int, int]] = []
        for block in sorted(self.blocks):
            group, place = divmod(block, GROUP_BLOCKS)
            if runs and runs[-1][0] == group and runs[-1][2] == place - 1:
                runs[-1] = group, runs[-1][1], place
            else:
                runs.append((group, place, place))
        return runs


NO_DAMAGE: Final = KnownDamage()


def blocks_in(ranges: Iterable[tuple[int, int]]) -> Iterator[int]:
    """Numbers of the blocks that these ranges of the volume, offset and size, touch."""
    for offset, size in ranges:
        if size:
            yield from range(offset // BLOCK_BYTES, -(-(offset + size) // BLOCK_BYTES))
