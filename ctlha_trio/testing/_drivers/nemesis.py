"""Lets faults happen on virtual time: each kind by itself, as often as the swarm says."""

from collections.abc import Mapping
from random import Random

import attrs
import trio

from ctlha_trio.testing._drivers.arbiter_faults import ArbiterFaults
from ctlha_trio.testing._drivers.atlas import Fault
from ctlha_trio.testing._drivers.keeper import Keeper
from ctlha_trio.testing._drivers.machine_faults import MachineFaults
from ctlha_trio.testing._drivers.network_faults import NetworkFaults
from ctlha_trio.testing._drivers.operators import Operators
from ctlha_trio.testing._drivers.scene import Scene, Strike
from ctlha_trio.testing._drivers.time import let_pass


@attrs.define(eq=False)
class Nemesis:
    """Everything that it does, ``heal`` undoes."""

    scene: Scene
    _keeper: Keeper
    operators: Operators
    network: NetworkFaults = attrs.field(init=False)
    machines: MachineFaults = attrs.field(init=False)
    arbiter: ArbiterFaults = attrs.field(init=False)
    _strikes: Mapping[Fault, Strike] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Name what each fault does."""
        self.network = NetworkFaults(self.scene)
        self.machines = MachineFaults(self.scene, self._keeper)
        self.arbiter = ArbiterFaults(self.scene)
        self._strikes = {
            **self.network.strikes,
            **self.machines.strikes,
            **self.arbiter.strikes,
            **self.operators.strikes,
        }

    async def run(self, seed: int) -> None:
        """Strike until cancelled."""
        async with trio.open_nursery() as nursery:
            for fault, interval_s in self.scene.pair.swarm.intervals_s.items():
                nursery.start_soon(self._repeat, fault, interval_s, Random(f"{fault.name} {seed}"))

    async def _repeat(self, fault: Fault, interval_s: float, random: Random) -> None:
        while True:
            await let_pass(random.expovariate(1 / interval_s))
            await self._strikes[fault](random)

    def heal(self, *names: str) -> None:
        """End everything that is wrong with the machines of these nodes, and between all of them."""
        for name in names:
            self.machines.heal(name)
            self.arbiter.heal(name)
        self.network.heal()
