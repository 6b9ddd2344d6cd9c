"""What goes wrong between the nodes and the arbiter."""

from collections.abc import Mapping
from random import Random
from typing import Final

import attrs

from ctlha_trio.testing._drivers.arbiter import Way
from ctlha_trio.testing._drivers.atlas import Fault
from ctlha_trio.testing._drivers.chance import Latency, happens
from ctlha_trio.testing._drivers.machine_faults import CALM
from ctlha_trio.testing._drivers.network_faults import BOTH_WAYS
from ctlha_trio.testing._drivers.scene import Scene, Strike
from ctlha_trio.testing._drivers.time import let_pass
from ctlha_trio.testing._pairs.pair_faults import NAMES

OF_ARBITER: Final = {
    Way.DOWN: Fault.ARBITER_DOWN,
    Way.SILENT: Fault.ARBITER_SILENT,
    Way.DEAF: Fault.ARBITER_DEAF,
}
"""These act with the call that they strike, and not when they are drawn."""
_SLOW_ARBITER: Final = Latency(0.4, spike_s=4.0, spike_chance=0.3)
"""On both sides of the three seconds that a node waits."""
_DEAF_PART_S: Final = 2.0
"""For both nodes to suspect each other, and to claim."""


@attrs.define(eq=False)
class ArbiterFaults:
    """All that it does, ``heal`` undoes."""

    _scene: Scene

    @property
    def strikes(self) -> Mapping[Fault, Strike]:
        """What each fault does."""
        return {Fault.ARBITER_SLOW: self._slow} | {fault: self._lose(way) for way, fault in OF_ARBITER.items()}

    def heal(self, name: str) -> None:
        """End everything that is wrong between that node and the arbiter."""
        machine = self._scene.pair.machines[name]
        machine.arbiter_latency = CALM
        machine.arbiter.open()

    async def _slow(self, random: Random) -> None:
        name = random.choice(NAMES)
        self._scene.done[Fault.ARBITER_SLOW] += self._scene.is_up(name)
        self._scene.timeline.note(name, "arbiter is slow")
        self._scene.pair.machines[name].arbiter_latency = _SLOW_ARBITER
        await let_pass(random.uniform(1, 8))
        self._scene.pair.machines[name].arbiter_latency = self._scene.pair.swarm.arbiter

    def _lose(self, way: Way) -> Strike:
        async def strike(random: Random) -> None:
            names = [random.choice(NAMES)] if happens(random, 0.6) else list(NAMES)
            seconds = random.uniform(0.3, 8)
            self._scene.timeline.counts["arbiter_outages"] += any(map(self._scene.is_up, names))
            for name in names:
                self._scene.timeline.note(name, f"arbiter is {way.value} for {seconds:.3f} s")
                self._scene.pair.machines[name].arbiter.lose(way)
            if way is Way.DEAF:
                # A pair in which nothing changes swaps nothing, and no answer can be lost.
                await self._scene.block([*BOTH_WAYS], Fault.ARBITER_DEAF, "parted", min(seconds, _DEAF_PART_S))
            await let_pass(seconds)
            for name in names:
                self._scene.pair.machines[name].arbiter.find(way)

        return strike
