"""Lets faults happen on virtual time: each kind by itself, as often as the swarm says."""

import math
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

import attrs
import trio

from ctlha_trio._errors import DisconnectError, FailedError
from ctlha_trio.store import Layout
from ctlha_trio.testing._drivers.arbiter import Way
from ctlha_trio.testing._drivers.atlas import Fault
from ctlha_trio.testing._drivers.chance import Latency, happens
from ctlha_trio.testing._drivers.damage import Damage
from ctlha_trio.testing._drivers.disk import DiskFault
from ctlha_trio.testing._drivers.keeper import Keeper
from ctlha_trio.testing._drivers.pair import DriverPair
from ctlha_trio.testing._drivers.time import let_pass
from ctlha_trio.testing._drivers.timeline import EVERYWHERE, Timeline
from ctlha_trio.testing._pairs.pair_faults import NAMES
from ctlha_trio.testing._pairs.pair_view import VOLUME
from ctlha_trio.testing._power.disk import Moment
from ctlha_trio.testing._power.medium import SECTOR_BYTES

Strike = Callable[[Random], Awaitable[None]]

CALM: Final = Latency(0.0005, spike_s=0.0, spike_chance=0.0)
"""Of everything, once faults are over."""
OF_DISK: Final = {
    DiskFault.WRITE: Fault.WRITE_FAILS,
    DiskFault.FLUSH: Fault.FLUSH_FAILS,
    DiskFault.FULL: Fault.DISK_FULL,
}
OF_ARBITER: Final = {
    Way.DOWN: Fault.ARBITER_DOWN,
    Way.SILENT: Fault.ARBITER_SILENT,
    Way.DEAF: Fault.ARBITER_DEAF,
}
"""These act with the call that they strike, and not when they are drawn."""
_SLOW_DISK: Final = Latency(0.2, spike_s=2.0, spike_chance=0.2)
"""Below the five seconds after which a disk call counts as hung."""
_HANGS_S: Final = (1.0, 15.0)
"""On both sides of them."""
_SLOW_ARBITER: Final = Latency(0.4, spike_s=4.0, spike_chance=0.3)
"""On both sides of the three seconds that a node waits."""
_CALLS_AHEAD: Final = 12
"""Within which a disk call loses its power: a persist has three, a write two."""
_DEAF_PART_S: Final = 2.0
"""For both nodes to suspect each other, and to claim."""
_IN_A_CALL_S: Final = 1.0
"""For a machine to have a disk call under way, in which it is to stand still."""
_LOOK_S: Final = 0.002
_SWITCHOVER_S: Final = 20.0
"""For an operator to give a switchover up: longer than a handover may take."""


@attrs.define(eq=False)
class Nemesis:
    """Everything that it does, ``heal`` undoes."""

    pair: DriverPair
    keeper: Keeper
    timeline: Timeline
    done: Counter[Fault] = attrs.field(factory=Counter, init=False)
    """How often each fault has acted: what finds nothing to act on has not happened."""
    _strikes: dict[Fault, Strike] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Name what each fault does."""
        self._strikes = {
            Fault.DELAY: self._delay,
            Fault.CLOG: self._clog,
            Fault.ONE_WAY: self._cut_one_way,
            Fault.PARTITION: self._part,
            Fault.RESET: self._reset,
            Fault.FLAP: self._flap,
            Fault.SLOW_DISK: self._slow_disk,
            Fault.WRITE_FAILS: self._fail_disk(DiskFault.WRITE),
            Fault.FLUSH_FAILS: self._fail_disk(DiskFault.FLUSH),
            Fault.DISK_FULL: self._fail_disk(DiskFault.FULL),
            Fault.DISK_HANGS: self._hang_disk,
            Fault.BIT_ROT: self._rot,
            Fault.MISDIRECTED: self._misdirect,
            Fault.CRASH: self._crash,
            Fault.CRASH_AT_CALL: self._crash_at_call,
            Fault.CRASH_BOTH: self._crash_both,
            Fault.PAUSE: self._pause,
            Fault.STOP: self._stop,
            Fault.JUMP: self._jump,
            Fault.DRIFT: self._drift,
            Fault.ARBITER_SLOW: self._slow_arbiter,
            Fault.ARBITER_DOWN: self._lose_arbiter(Way.DOWN),
            Fault.ARBITER_SILENT: self._lose_arbiter(Way.SILENT),
            Fault.ARBITER_DEAF: self._lose_arbiter(Way.DEAF),
            Fault.SWITCHOVER: self._switch_over,
        }

    async def run(self, seed: int) -> None:
        """Strike until cancelled."""
        async with trio.open_nursery() as nursery:
            for fault, interval_s in self.pair.swarm.intervals_s.items():
                nursery.start_soon(self._repeat, fault, interval_s, Random(f"{fault.name} {seed}"))

    async def _repeat(self, fault: Fault, interval_s: float, random: Random) -> None:
        while True:
            await let_pass(random.expovariate(1 / interval_s))
            await self._strikes[fault](random)

    def acted(self, fault: Fault) -> None:
        """It has had an effect."""
        self.done[fault] += 1

    def heal(self, *names: str) -> None:
        """End everything that is wrong with the machines of these nodes, and between all of them."""
        for name in names:
            machine = self.pair.machines[name]
            machine.disk_latency = machine.arbiter_latency = CALM
            machine.disk.fault = None
            machine.disk.answer()
            if machine.disk.damage.misled:
                # What a process has in its memory, only its end heals.
                self._crash_one(name, silently=False)
            machine.disk.damage.heal()
            self.pair.disks[name].cut_never()
            machine.arbiter.way = Way.OPEN
            machine.clock.drift(1.0)
            self._go_on(name, jumps=True)
        for way in (NAMES, NAMES[::-1]):
            self.pair.network.delay(*way, 0.0)
            for reason in ("clogged", "cut", "parted"):
                self.pair.unblock([way], reason)

    # The network.

    @property
    def _is_linked(self) -> bool:
        return len(self.pair.nodes) == len(NAMES)

    @property
    def _is_in_touch(self) -> bool:
        """Whether there is a session, whose beats are never far: what happens to the network happens to them."""
        return all(self._is_up(name) and self.pair.nodes[name].pair.session for name in NAMES)

    def _is_up(self, name: str) -> bool:
        return name in self.pair.nodes and not self.pair.is_paused(name)

    async def _delay(self, random: Random) -> None:
        self.done[Fault.DELAY] += self._is_in_touch
        ways = [_a_way(random)] if happens(random) else [NAMES, NAMES[::-1]]
        for way in ways:
            seconds = random.choice([0.001, 0.02, 0.2, 1.0]) * random.uniform(0.5, 1.5)
            self.timeline.note(EVERYWHERE, f"from {way[0]} to {way[1]} takes {seconds:.3f} s")
            self.pair.network.delay(*way, seconds)
        await let_pass(random.uniform(0.5, 6))
        for way in ways:
            self.pair.network.delay(*way, 0.0)

    async def _clog(self, random: Random) -> None:
        self.done[Fault.CLOG] += self._is_in_touch
        await self._block([_a_way(random)], "clogged", random.uniform(0.05, 0.8))

    async def _cut_one_way(self, random: Random) -> None:
        self.done[Fault.ONE_WAY] += self._is_in_touch
        await self._block([_a_way(random)], "cut", random.uniform(0.5, 8))

    async def _part(self, random: Random) -> None:
        self.done[Fault.PARTITION] += self._is_in_touch
        await self._block([NAMES, NAMES[::-1]], "parted", random.uniform(0.5, 10))

    async def _block(self, ways: list[tuple[str, str]], reason: str, seconds: float) -> None:
        path = " and ".join(f"from {source} to {target}" for source, target in ways)
        self.timeline.counts["partitions"] += 1
        self.timeline.counts["partitions_one_way"] += len(ways) == 1
        self.timeline.note(EVERYWHERE, f"{reason} {path} for {seconds:.3f} s")
        self.pair.block(ways, reason)
        await let_pass(seconds)
        self.pair.unblock(ways, reason)

    async def _reset(self, _: Random) -> None:
        self.done[Fault.RESET] += self._break_link()
        await trio.lowlevel.checkpoint()

    def _break_link(self) -> bool:
        if not self._is_linked:
            return False
        self.timeline.counts["cuts"] += 1
        self.timeline.note(EVERYWHERE, "the connection breaks")
        self.pair.break_link()
        return True

    async def _flap(self, random: Random) -> None:
        times = 0
        for _ in range(random.randint(2, 6)):
            times += self._break_link()
            self.done[Fault.FLAP] += times == 2  # noqa: PLR2004 (from the second on it is one)
            await let_pass(random.uniform(0.02, 0.6))

    # The machines.

    async def _slow_disk(self, random: Random) -> None:
        name = random.choice(NAMES)
        self.done[Fault.SLOW_DISK] += self._is_up(name)
        self.timeline.note(name, "disk is slow")
        self.pair.machines[name].disk_latency = _SLOW_DISK
        await let_pass(random.uniform(1, 6))
        self.pair.machines[name].disk_latency = self.pair.swarm.disks[name]

    async def _hang_disk(self, random: Random) -> None:
        names = NAMES if happens(random, 0.2) else [random.choice(NAMES)]
        # Some disks stop altogether, some try one place again and again.
        calls = random.choice([1, math.inf])
        seconds = random.uniform(*_HANGS_S)
        for name in names:
            self.timeline.note(name, f"disk hangs for {seconds:.3f} s")
            self.pair.machines[name].disk.hang(calls)
        await let_pass(seconds)
        for name in names:
            self.timeline.note(name, "disk answers")
            self.pair.machines[name].disk.answer()

    def _fail_disk(self, fault: DiskFault) -> Strike:
        async def strike(random: Random) -> None:
            name = random.choice(NAMES)
            self.timeline.note(name, f"soon {fault.value}, if that is to be survived")
            self.pair.machines[name].disk.fault = fault
            await trio.lowlevel.checkpoint()

        return strike

    async def _rot(self, random: Random) -> None:
        name, sector = random.choice(NAMES), random.choice(self.pair.swarm.sectors)
        if self.pair.stand().survives_death_of(name):
            place = Layout(self.pair.size_bytes).file_offset(sector * SECTOR_BYTES)
            self.timeline.note(name, f"sector {sector} decays")
            decayed = bytes([self.pair.disks[name].content(VOLUME)[place] ^ 0xFF])
            self.pair.machines[name].disk.damage.places[place] = Damage(Fault.BIT_ROT, decayed)
        await trio.lowlevel.checkpoint()

    async def _misdirect(self, random: Random) -> None:
        name = random.choice(NAMES)
        if self.pair.stand().survives_death_of(name):
            self.timeline.note(name, "the next write goes to another block")
            self.pair.machines[name].disk.damage.misdirects = True
        await trio.lowlevel.checkpoint()

    async def _crash(self, random: Random) -> None:
        name = random.choice(NAMES)
        self.done[Fault.CRASH] += name in self.pair.nodes
        self._crash_one(name, silently=happens(random))
        await trio.lowlevel.checkpoint()

    async def _crash_both(self, random: Random) -> None:
        self.done[Fault.CRASH_BOTH] += self._is_linked
        for name in random.sample(NAMES, len(NAMES)):
            self._crash_one(name, silently=happens(random))
        await trio.lowlevel.checkpoint()

    def _crash_one(self, name: str, *, silently: bool) -> None:
        self.pair.crash(name, silently=silently)
        # A machine that is switched on again does not stand still any more.
        self._go_on(name, jumps=True)

    async def _crash_at_call(self, random: Random) -> None:
        disk = self.pair.disks[random.choice(NAMES)]
        if not disk.is_cut:
            disk.cut_at(len(disk.calls) + random.randint(1, _CALLS_AHEAD), random.choice(list(Moment)))
        await trio.lowlevel.checkpoint()

    async def _pause(self, random: Random) -> None:
        name = random.choice(NAMES)
        seconds = random.choice([random.uniform(0.05, 1.5), random.uniform(1, 10)])
        if happens(random):
            with trio.move_on_after(_IN_A_CALL_S):
                while not self.pair.machines[name].disk.calls:
                    await let_pass(_LOOK_S)
        if self.pair.is_paused(name):
            return
        self.timeline.counts["pauses"] += 1
        self.done[Fault.PAUSE] += name in self.pair.nodes
        self.timeline.note(name, f"stands still for {seconds:.3f} s")
        self.pair.pause(name)
        await let_pass(seconds)
        self._go_on(name, jumps=happens(random))

    def _go_on(self, name: str, *, jumps: bool) -> None:
        if self.pair.is_paused(name):
            self.timeline.note(name, "goes on" + (", its clock jumps" if jumps else ""))
            self.pair.go_on(name, jumps=jumps)

    async def _stop(self, random: Random) -> None:
        self.done[Fault.STOP] += self.keeper.stop(random.choice(NAMES))
        await trio.lowlevel.checkpoint()

    async def _jump(self, random: Random) -> None:
        name, seconds = random.choice(NAMES), random.choice([0.1, 1.0, 10.0, 60.0]) * random.uniform(0.5, 1)
        self.done[Fault.JUMP] += self._is_up(name)
        self.timeline.note(name, f"clock jumps by {seconds:.3f} s")
        self.pair.machines[name].clock.jump(seconds)
        await trio.lowlevel.checkpoint()

    async def _drift(self, random: Random) -> None:
        name, rate = random.choice(NAMES), random.uniform(0.8, 1.25)
        self.done[Fault.DRIFT] += self._is_up(name)
        self.timeline.note(name, f"clock goes at {rate:.3f}")
        self.pair.machines[name].clock.drift(rate)
        await trio.lowlevel.checkpoint()

    # The arbiter and the operators.

    async def _slow_arbiter(self, random: Random) -> None:
        name = random.choice(NAMES)
        self.done[Fault.ARBITER_SLOW] += self._is_up(name)
        self.timeline.note(name, "arbiter is slow")
        self.pair.machines[name].arbiter_latency = _SLOW_ARBITER
        await let_pass(random.uniform(1, 8))
        self.pair.machines[name].arbiter_latency = self.pair.swarm.arbiter

    def _lose_arbiter(self, way: Way) -> Strike:
        async def strike(random: Random) -> None:
            names = [random.choice(NAMES)] if happens(random, 0.6) else list(NAMES)
            seconds = random.uniform(0.3, 8)
            self.timeline.counts["arbiter_outages"] += 1
            for name in names:
                self.timeline.note(name, f"arbiter is {way.value} for {seconds:.3f} s")
                self.pair.machines[name].arbiter.way = way
            if way is Way.DEAF:
                # A pair in which nothing changes swaps nothing, and no answer can be lost.
                await self._block([NAMES, NAMES[::-1]], "parted", min(seconds, _DEAF_PART_S))
            await let_pass(seconds)
            for name in names:
                self.pair.machines[name].arbiter.way = Way.OPEN

        return strike

    async def _switch_over(self, _: Random) -> None:
        name = self.pair.record.primary
        self.timeline.note(name, "is asked to hand over")
        try:
            with trio.move_on_after(_SWITCHOVER_S):
                await self.pair.ask(name, lambda node: node.switchover())
                self.timeline.note(name, "has handed over")
        except (FailedError, DisconnectError) as error:
            self.timeline.note(name, f"has not handed over: {error}")


def _a_way(random: Random) -> tuple[str, str]:
    return NAMES if happens(random) else NAMES[::-1]
