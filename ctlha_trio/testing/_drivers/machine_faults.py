"""What goes wrong with a machine: its disk, its power, its clock."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Final

import attrs
import trio

from ctlha_trio.store import BLOCK_BYTES
from ctlha_trio.testing._drivers.atlas import Fault
from ctlha_trio.testing._drivers.chance import Latency, happens
from ctlha_trio.testing._drivers.disk import DiskFault
from ctlha_trio.testing._drivers.keeper import Keeper
from ctlha_trio.testing._drivers.scene import Scene, Strike
from ctlha_trio.testing._drivers.time import let_pass
from ctlha_trio.testing._pairs.pair_faults import NAMES
from ctlha_trio.testing._power.disk import Moment
from ctlha_trio.testing._power.medium import SECTOR_BYTES

CALM: Final = Latency(0.0005, spike_s=0.0, spike_chance=0.0)
"""Of everything, once faults are over."""
OF_DISK: Final = {
    DiskFault.WRITE: Fault.WRITE_FAILS,
    DiskFault.FLUSH: Fault.FLUSH_FAILS,
    DiskFault.FULL: Fault.DISK_FULL,
    DiskFault.HANG: Fault.DISK_HANGS,
}
"""These act with the call that they strike, and not when they are drawn."""
_SLOW_DISK: Final = Latency(0.2, spike_s=2.0, spike_chance=0.2)
"""Below the five seconds after which a disk call counts as hung."""
_CALLS_AHEAD: Final = 12
"""Within which a disk call loses its power: a persist has three, a write two."""
_IN_A_CALL_S: Final = 1.0
"""For a machine to have a disk call under way, in which it is to stand still."""
_LOOK_S: Final = 0.002


@attrs.define(eq=False)
class MachineFaults:
    """All that it does, ``heal`` undoes."""

    _scene: Scene
    _keeper: Keeper
    on_mended: Callable[[], None] = attrs.field(default=lambda: None, init=False)
    """Told when a block becomes whole in a way that no node knows of."""

    @property
    def strikes(self) -> Mapping[Fault, Strike]:
        """What each fault does."""
        return {
            Fault.SLOW_DISK: self._slow_disk,
            **{fault: self._fail_disk(of_disk) for of_disk, fault in OF_DISK.items()},
            Fault.BIT_ROT: self._rot,
            Fault.MISDIRECTED: self._misdirect,
            Fault.CRASH: self._crash,
            Fault.CRASH_AT_CALL: self._crash_at_call,
            Fault.CRASH_BOTH: self._crash_both,
            Fault.PAUSE: self._pause,
            Fault.STOP: self._stop,
            Fault.JUMP: self._jump,
            Fault.DRIFT: self._drift,
        }

    def heal(self, name: str) -> None:
        """End everything that is wrong with a machine, but for damage that the pair can repair itself."""
        machine = self._scene.pair.machines[name]
        machine.disk_latency = CALM
        machine.disk.fault = None
        machine.disk.damage.misdirects = False
        self._mend_last_copies(name)
        self._scene.pair.disks[name].cut_never()
        machine.clock.drift(1.0)
        self._go_on(name, jumps=True)

    def _mend_last_copies(self, name: str) -> None:
        pair = self._scene.pair
        lost = pair.damage.mend_last_copies(name)
        if lost:
            sectors = ", ".join(str(block // SECTOR_BYTES) for block in sorted(lost))
            self._scene.timeline.note(name, f"the last copies of the blocks of sectors {sectors} are whole again")
            self.on_mended()
        if pair.machines[name].entries_to_mend:
            self._crash_one(name, silently=False)

    async def _slow_disk(self, random: Random) -> None:
        name = random.choice(NAMES)
        self._scene.done[Fault.SLOW_DISK] += self._scene.is_up(name)
        self._scene.timeline.note(name, "disk is slow")
        self._scene.pair.machines[name].disk_latency = _SLOW_DISK
        await let_pass(random.uniform(1, 6))
        self._scene.pair.machines[name].disk_latency = self._scene.pair.swarm.disks[name]

    def _fail_disk(self, fault: DiskFault) -> Strike:
        async def strike(random: Random) -> None:
            name = random.choice(NAMES)
            self._scene.timeline.note(name, f"soon {fault.value}, if that is to be survived")
            self._scene.pair.machines[name].disk.fault = fault
            await trio.lowlevel.checkpoint()

        return strike

    async def _rot(self, random: Random) -> None:
        name, sectors = random.choice(NAMES), self._scene.pair.size_bytes // SECTOR_BYTES
        # Where somebody reads it soon, or where only a comparison does.
        sector = random.choice(self._scene.pair.swarm.sectors) if happens(random) else random.randrange(sectors)
        if self._scene.pair.damage.may_strike(name, {sector * SECTOR_BYTES // BLOCK_BYTES * BLOCK_BYTES}):
            self._scene.timeline.note(name, f"sector {sector} decays")
            self._scene.pair.damage.let_decay(name, sector)
        await trio.lowlevel.checkpoint()

    async def _misdirect(self, random: Random) -> None:
        name = random.choice(NAMES)
        self._scene.timeline.note(name, "soon a write goes to another block, if that is to be survived")
        self._scene.pair.machines[name].disk.damage.misdirects = True
        await trio.lowlevel.checkpoint()

    async def _crash(self, random: Random) -> None:
        name = random.choice(NAMES)
        self._scene.done[Fault.CRASH] += name in self._scene.pair.nodes
        self._crash_one(name, silently=happens(random))
        await trio.lowlevel.checkpoint()

    async def _crash_both(self, random: Random) -> None:
        self._scene.done[Fault.CRASH_BOTH] += self._scene.is_linked
        for name in random.sample(NAMES, len(NAMES)):
            self._crash_one(name, silently=happens(random))
        await trio.lowlevel.checkpoint()

    def _crash_one(self, name: str, *, silently: bool) -> None:
        self._scene.pair.crash(name, silently=silently)
        # A machine that is switched on again does not stand still any more.
        self._go_on(name, jumps=True)

    async def _crash_at_call(self, random: Random) -> None:
        disk = self._scene.pair.disks[random.choice(NAMES)]
        if not disk.is_cut:
            disk.cut_at(len(disk.calls) + random.randint(1, _CALLS_AHEAD), random.choice(list(Moment)))
        await trio.lowlevel.checkpoint()

    async def _pause(self, random: Random) -> None:
        name = random.choice(NAMES)
        seconds = random.choice([random.uniform(0.05, 1.5), random.uniform(1, 10)])
        if happens(random):
            with trio.move_on_after(_IN_A_CALL_S):
                while not self._scene.pair.machines[name].disk.calls:
                    await let_pass(_LOOK_S)
        if self._scene.pair.is_paused(name):
            return
        self._scene.done[Fault.PAUSE] += name in self._scene.pair.nodes
        self.stand_still(name, f" for {seconds:.3f} s")
        await let_pass(seconds)
        self._go_on(name, jumps=happens(random))

    def stand_still(self, name: str, told: str = "") -> None:
        """Let a machine stand still until it is healed."""
        self._scene.timeline.counts["pauses"] += name in self._scene.pair.nodes
        self._scene.timeline.note(name, f"stands still{told}")
        self._scene.pair.pause(name)

    def _go_on(self, name: str, *, jumps: bool) -> None:
        if self._scene.pair.is_paused(name):
            self._scene.timeline.note(name, "goes on" + (", its clock jumps" if jumps else ""))
            self._scene.pair.go_on(name, jumps=jumps)

    async def _stop(self, random: Random) -> None:
        self._scene.done[Fault.STOP] += self._keeper.stop(random.choice(NAMES))
        await trio.lowlevel.checkpoint()

    async def _jump(self, random: Random) -> None:
        name, seconds = random.choice(NAMES), random.choice([0.1, 1.0, 10.0, 60.0]) * random.uniform(0.5, 1)
        self._scene.done[Fault.JUMP] += self._scene.is_up(name)
        self._scene.timeline.note(name, f"clock jumps by {seconds:.3f} s")
        self._scene.pair.machines[name].clock.jump(seconds)
        await trio.lowlevel.checkpoint()

    async def _drift(self, random: Random) -> None:
        name, rate = random.choice(NAMES), random.uniform(0.8, 1.25)
        self._scene.done[Fault.DRIFT] += self._scene.is_up(name)
        self._scene.timeline.note(name, f"clock goes at {rate:.3f}")
        self._scene.pair.machines[name].clock.drift(rate)
        await trio.lowlevel.checkpoint()
