"""A pair whose machines can be paused, and between whose parts everything can be slow, cut or out of order."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from random import Random
from typing import Final

import attrs

from ctlha_trio.ha import GiveBackPolicy, NodeConfig, judge
from ctlha_trio.pair import Copy, Metadata, Phase, Record
from ctlha_trio.seams import Seams, Versioned
from ctlha_trio.store import GROUP_BYTES, HEAD_BYTES, Layout, choose_slot
from ctlha_trio.testing._drivers.arbiter import ArbiterTrouble, TroubledArbiter, Way
from ctlha_trio.testing._drivers.atlas import Fault, Stand
from ctlha_trio.testing._drivers.chance import happens
from ctlha_trio.testing._drivers.clock import NodeClock
from ctlha_trio.testing._drivers.damage import DiskDamage
from ctlha_trio.testing._drivers.damaged_disks import DamagedDisks
from ctlha_trio.testing._drivers.disk import DiskFault, DiskTrouble, TroubledDisk
from ctlha_trio.testing._drivers.gate import Gate
from ctlha_trio.testing._drivers.machine import Machine
from ctlha_trio.testing._drivers.swarm import Swarm
from ctlha_trio.testing._pairs.memory_pair import MemoryPair
from ctlha_trio.testing._pairs.pair_faults import NAMES, other
from ctlha_trio.testing._pairs.pair_view import VOLUME
from ctlha_trio.testing._power.disk import CallKind
from ctlha_trio.testing._power.powered_arbiter import PoweredArbiter

LATE_SWAP_S: Final = 8.0
"""The longest that a swap is under way: the node that made it has long given it up, and may have died."""
CLOCK_SPREAD_S: Final = 1e6
"""Clocks of two machines have nothing to do with each other."""


@attrs.define(eq=False)
class DriverPair(MemoryPair):
    """A ``MemoryPair`` on machines that have trouble."""

    swarm: Swarm = attrs.field(kw_only=True)
    give_back: GiveBackPolicy | None = attrs.field(default=None, init=False)
    """Of nodes that start from now on."""
    on_strike: Callable[[str, DiskFault | Fault], None] | None = attrs.field(default=None, init=False)
    """Told of each disk that fails, and of each damage that is met, at that moment."""
    on_hang: Callable[[], None] | None = attrs.field(default=None, init=False)
    """Told of each disk call that hangs."""
    on_lost_call: Callable[[Way], None] | None = attrs.field(default=None, init=False)
    """Told of each call of the arbiter that is lost."""
    on_record: Callable[[Record, Versioned], None] | None = attrs.field(default=None, init=False)
    """Told of each record that the arbiter takes from a node, and of the one before."""
    damage: DamagedDisks = attrs.field(init=False)
    machines: dict[str, Machine] = attrs.field(factory=dict, init=False)
    ways: dict[str, TroubledArbiter] = attrs.field(factory=dict, init=False)
    """From each node to the arbiter."""
    records: list[Versioned] = attrs.field(factory=list, init=False)
    """All that the arbiter has had."""
    _blocked: dict[tuple[str, str, str], None] = attrs.field(factory=dict, init=False)
    """Sender, receiver, and one reason why nothing arrives: each fault has its own, and each machine that is paused."""

    def __attrs_post_init__(self) -> None:
        """Put each node on a machine of its own."""
        super().__attrs_post_init__()
        self.damage = DamagedDisks(self)
        self.records.append(Versioned(self.arbiter.record, self.arbiter.revision))
        for name in NAMES:
            self.machines[name] = self._make_machine(name, Random(self.random.randbytes(16)))
            self.ways[name] = TroubledArbiter(self.arbiters[name], self.machines[name].arbiter, self._nursery)

    def _make_machine(self, name: str, random: Random) -> Machine:
        gate = Gate()

        def disk_latency_s(_: CallKind) -> float:
            return machine.disk_latency.draw(random)

        machine = Machine(
            gate,
            NodeClock(random.uniform(0, CLOCK_SPREAD_S), self.swarm.drifts[name]),
            DiskTrouble(
                gate,
                disk_latency_s,
                DiskDamage(
                    Layout(self.size_bytes),
                    may_lead_astray=lambda blocks: self.damage.may_strike(name, blocks),
                ),
                may_fail=lambda _: self.stand().survives_death_of(name),
            ),
            ArbiterTrouble(
                gate,
                latency_s=lambda: machine.arbiter_latency.draw(random),
                late_s=lambda: random.uniform(0, LATE_SWAP_S),
                says_unknown=lambda: happens(random),
                on_lost=self._lose_call,
                on_arrival=self._look_at_record,
            ),
            disk_latency=self.swarm.disks[name],
            arbiter_latency=self.swarm.arbiter,
        )
        machine.disk.on_hang = self._hang
        machine.disk.on_strike = lambda fault: self._strike(name, fault)
        machine.disk.damage.on_strike = lambda fault: self._meet(name, fault)
        return machine

    def config(self, name: str) -> NodeConfig:
        """With the policy that there is now."""
        return attrs.evolve(super().config(name), give_back=self.give_back)

    def _lose_call(self, way: Way) -> None:
        if self.on_lost_call is not None:
            self.on_lost_call(way)

    def _meet(self, name: str, fault: Fault) -> None:
        if self.on_strike is not None:
            self.on_strike(name, fault)

    def _hang(self) -> None:
        if self.on_hang is not None:
            self.on_hang()

    def _strike(self, name: str, fault: DiskFault) -> None:
        self.machines[name].struck = True
        if self.on_strike is not None:
            self.on_strike(name, fault)

    def seams(self, name: str) -> Seams:
        """What that node is given: the parts of its machine, around what every pair has."""
        machine = self.machines[name]
        machine.struck = False
        self.damage.settle(name)
        return attrs.evolve(
            super().seams(name),
            clock=machine.clock,
            disk=TroubledDisk(self.disks[name], machine.disk),
            arbiter=PoweredArbiter(self.ways[name], self.disks[name]),
        )

    def last_failure(self, name: str) -> BaseException | None:
        """What ended that node when it ran last, if that was neither its power nor somebody who asked it to end."""
        return self._failures[name] if name in self._failed_last else None

    def may_be_forced(self, name: str) -> bool:
        """Whether that node serves nothing by itself, the other one is off, its copy what the volume once was."""
        node, machine, peer = self.nodes.get(name), self.machines[name], other(name)
        if node is None or self.is_paused(name) or machine.sealed_damage or self.is_copy_dead(name):
            return False
        needs_it = node.pair.phase in {Phase.OUTDATED, Phase.WAITING} and not (node.pair.session or node.pair.storing)
        return needs_it and not self.is_up(peer) and self.durable_metadata(name).copy in {Copy.MEMBER, Copy.SEALED}

    @property
    def record(self) -> Record:
        """What the arbiter has at this moment."""
        if self.records[-1].revision != self.arbiter.revision:
            self.records.append(Versioned(self.arbiter.record, self.arbiter.revision))
        return self.records[-1].record

    @property
    def newest(self) -> Record:
        """The record of the highest revision that there was: the truth also while the arbiter shows an older one."""
        _ = self.record
        return max(self.records, key=lambda each: each.revision).record

    def _look_at_record(self) -> None:
        before = self.records[-1]
        record = self.record
        for name in record.members:
            self.machines[name].sealed_damage = False
        if record is not before.record and self.on_record is not None:
            self.on_record(before.record, self.records[-1])

    def stand(self) -> Stand:
        """What there is to lose now."""
        return Stand(
            members=self.record.members,
            dead=frozenset(name for name in NAMES if self.is_copy_dead(name)),
            claiming=frozenset(name for name in NAMES if self.is_claiming(name)),
            damaged=frozenset(name for name in NAMES if self.damage.blocks(name)),
        )

    def is_copy_dead(self, name: str) -> bool:
        """Whether the copy's disk has failed and it has not been made whole since."""
        gave_up = self.machines[name].disk.damage.met_again and self.is_stopped(name)
        return self.machines[name].struck or gave_up or self.durable_metadata(name).copy is Copy.FAILED

    def durable_range(self, name: str, offset: int, size: int) -> bytes:
        """A part of ``durable_copy``, not verified."""
        layout, pieces = Layout(self.size_bytes), list[bytes]()
        while size:
            count = min(size, GROUP_BYTES - offset % GROUP_BYTES)
            pieces.append(self.disks[name].durable_range(VOLUME, layout.file_offset(offset), count))
            offset, size = offset + count, size - count
        return b"".join(pieces)

    def durable_metadata(self, name: str) -> Metadata:
        """The metadata that would be found after a power cut now."""
        return _metadata_in(self.disks[name].durable_range(VOLUME, 0, HEAD_BYTES))

    def is_claiming(self, name: str) -> bool:
        """Whether that node may change the record by what it has asked of the arbiter already."""
        node = self.nodes.get(name)
        return self.ways[name].under_way > 0 or (node is not None and node.pair.swap is not None)

    def is_stopped(self, name: str) -> bool:
        """Whether that node runs and says that it needs a person."""
        state = self.nodes[name].pair if name in self.nodes else None
        return state is not None and state.phase is Phase.STOPPED and judge(state)[0] == "stopped"

    def is_protected(self) -> bool:
        """Whether both nodes say that either may die, and no disk has failed of which they do not know yet."""
        return self._is_protected() and not any(self.is_copy_dead(name) for name in NAMES)

    def is_settled(self) -> bool:
        """Whether that is so and no change of roles is under way."""
        phases = {node.pair.phase for node in self.nodes.values()}
        return self.is_protected() and phases == {Phase.MIRRORING, Phase.FOLLOWING}

    def has_halted(self) -> bool:
        """Whether a node runs, and every one that does says that it serves nothing, and why."""
        given = [node.status() for node in self.nodes.values()]
        halted = [each for each in given if each.verdict in {"at-risk", "stopped"} and each.reasons]
        return halted == given != []

    def pause(self, name: str) -> None:
        """Let a machine stand still: nothing goes in or out, no call returns, its clock stands."""
        self.machines[name].gate.close()
        self.machines[name].clock.stop()
        self.block(self._both_ways(name), _paused(name))

    def go_on(self, name: str, *, jumps: bool) -> None:
        """Let a paused machine go on; whether its clock has gone meanwhile."""
        self.unblock(self._both_ways(name), _paused(name))
        self.machines[name].clock.go_on(jumps=jumps)
        self.machines[name].gate.open()

    def is_paused(self, name: str) -> bool:
        """Whether that machine stands still."""
        return not self.machines[name].gate.is_open

    def _both_ways(self, name: str) -> Iterable[tuple[str, str]]:
        return [
            (source, target) for source in NAMES for target in NAMES if source != target and name in (source, target)
        ]

    def block(self, ways: Iterable[tuple[str, str]], reason: str) -> None:
        """Let nothing arrive on these ways until ``unblock`` with the same reason."""
        self._blocked.update({(*way, reason): None for way in ways})
        self.connect_powered()

    def unblock(self, ways: Iterable[tuple[str, str]], reason: str) -> None:
        """Take back one ``block``; what was blocked for another reason as well, or has no power, stays cut off."""
        for way in ways:
            self._blocked.pop((*way, reason), None)
        self.connect_powered()

    @property
    def is_parted(self) -> bool:
        """Whether anything is blocked."""
        return bool(self._blocked)

    def unblock_machines(self) -> None:
        """Take back every ``block`` but those of machines that stand still."""
        still = {_paused(name) for name in NAMES}
        self._blocked = {key: None for key in self._blocked if key[2] in still}
        self.connect_powered()

    def connect_powered(self) -> None:
        """Let arrive what is sent between nodes that have power, unless it is blocked; nothing else."""
        has_power = not any(disk.is_cut for disk in self.disks.values())
        for source, target in ((NAMES[0], NAMES[1]), (NAMES[1], NAMES[0])):
            if has_power and not any(key[:2] == (source, target) for key in self._blocked):
                self.network.heal(source, target)
            else:
                self.network.cut(source, target)


def _paused(name: str) -> str:
    return f"{name} is paused"


@lru_cache(maxsize=16)
def _metadata_in(head: bytes) -> Metadata:
    """Asked far more often than it changes."""
    return choose_slot(VOLUME, head)[1].metadata
