"""Damaged blocks of a pair: which there are, where some may come, and what becomes of them when a process starts."""

from collections.abc import Mapping, Set
from typing import Protocol

import attrs

from ctlha_trio.ha import Node
from ctlha_trio.pair import Copy, Metadata, Record
from ctlha_trio.store import Layout, open_extents_in
from ctlha_trio.testing._drivers.atlas import Fault, Stand
from ctlha_trio.testing._drivers.damage import Damage
from ctlha_trio.testing._drivers.machine import Machine
from ctlha_trio.testing._pairs.pair_faults import NAMES, other
from ctlha_trio.testing._pairs.pair_view import VOLUME
from ctlha_trio.testing._power.disk import PowerDisk
from ctlha_trio.testing._power.medium import SECTOR_BYTES


class Damageable(Protocol):
    """A pair on machines."""

    size_bytes: int

    @property
    def machines(self) -> Mapping[str, Machine]:
        """By node."""

    @property
    def disks(self) -> Mapping[str, PowerDisk]:
        """By node."""

    @property
    def nodes(self) -> Mapping[str, Node]:
        """Those that run."""

    @property
    def record(self) -> Record:
        """Of the arbiter."""

    def stand(self) -> Stand:
        """What there is to lose."""

    def is_up(self, name: str) -> bool:
        """Whether that node runs, or is about to."""

    def is_claiming(self, name: str) -> bool:
        """Whether it may change the record."""

    def is_copy_dead(self, name: str) -> bool:
        """Whether its disk has failed."""

    def durable_metadata(self, name: str) -> Metadata:
        """What its disk says."""


@attrs.define(eq=False)
class DamagedDisks:
    """Of both nodes."""

    _pair: Damageable

    def settle(self, name: str) -> None:
        """What a start makes of damage: an extent that was open is sealed as it is, for a power cut may have torn it.

        Nothing tells the two apart, so there no copy that may come to count has any other damage.
        """
        machine, disk = self._pair.machines[name], self._pair.disks[name]
        damage = machine.disk.damage
        damage.begin()
        if machine.entries_to_mend:
            machine.entries_to_mend = False
            for place, page in damage.mend_entries(
                disk.content(VOLUME), self._pair.durable_metadata(name).epoch
            ).items():
                disk.put(VOLUME, place, page)
        settled = damage.settle(open_extents_in(disk.content(VOLUME)))
        if self._stays_out(name):
            machine.sealed_damage |= bool(settled)
            for place, content in settled.items():
                disk.put(VOLUME, place, content)

    def _stays_out(self, name: str) -> bool:
        """Whether that node's copy will count only when it was made equal to the other one."""
        may_change = any(self._pair.is_claiming(each) for each in NAMES)
        is_sealed = self._pair.durable_metadata(name).copy is Copy.SEALED
        return name not in self._pair.record.members and not may_change and not is_sealed

    def blocks(self, name: str) -> frozenset[int]:
        """Where blocks begin that this node's disk does not give back as they were written."""
        damage = self._pair.machines[name].disk.damage
        return damage.blocks(self._pair.disks[name].content(VOLUME)) if damage.places or damage.spoiled else frozenset()

    def holds(self, name: str, block: int) -> bool:
        """Whether the copy of this node counts, and is whole at the block that begins there."""
        counts = name in self._pair.record.members and not self._pair.is_copy_dead(name)
        return counts and block not in self.blocks(name)

    def may_strike(self, name: str, blocks: Set[int]) -> bool:
        """Whether the other copy counts, and is whole at these blocks. Other blocks of it may be damaged.

        Nor may the node have begun to start, and not know yet what a power cut has left.
        """
        node = self._pair.nodes.get(name)
        is_starting = self._pair.is_up(name) and (node is None or not node._driver._store._loop.is_recovered)
        leaves_another = self._pair.stand().leaves_another(name)
        return leaves_another and not is_starting and self.blocks(other(name)).isdisjoint(blocks)

    def mend_last_copies(self, name: str) -> frozenset[int]:
        """Make whole each block of that disk of which no other copy that counts is whole; where those begin.

        What lies elsewhere is put in its place at once. Wrong entries are written anew when the node starts next: it
        has them in its memory too.
        """
        damaged, peer = self.blocks(name), other(name)
        lost = frozenset(block for block in damaged if not self.holds(peer, block))
        machine = self._pair.machines[name]
        machine.disk.damage.mend(lost)
        machine.entries_to_mend |= not lost.isdisjoint(self.blocks(name))
        return lost

    def let_decay(self, name: str, sector: int) -> None:
        """A bit flips there, as the next read finds."""
        place = Layout(self._pair.size_bytes).file_offset(sector * SECTOR_BYTES)
        decayed = bytes([self._pair.disks[name].content(VOLUME)[place] ^ 0xFF])
        self._pair.machines[name].disk.damage.places[place] = Damage(Fault.BIT_ROT, decayed)
