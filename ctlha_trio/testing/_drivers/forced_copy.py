"""An operator forces the copy that is left to be the volume, and the node that was abandoned comes back."""

from random import Random
from typing import Final

import attrs

from ctlha_trio.pair import OperationKind, Outcome, Phase
from ctlha_trio.testing._drivers.demands import SERVES_S, TOGETHER_S, Demands
from ctlha_trio.testing._drivers.keeper import Keeper
from ctlha_trio.testing._drivers.operators import Operators
from ctlha_trio.testing._drivers.timeline import Timeline
from ctlha_trio.testing._pairs.pair_faults import NAMES, other

_WRITES: Final = 5
"""That the forced copy does not hold."""


@attrs.define(eq=False)
class ForcedCopy:
    """A trial of a pair that is healthy otherwise: the only member dies for good, so its operator says."""

    keeper: Keeper
    timeline: Timeline
    demands: Demands
    operators: Operators
    random: Random

    async def run(self) -> None:
        """The trial, up to the first problem. A checkpoint."""
        self.timeline.counts["trials"] += 1
        pair, chosen = self.demands.pair, self.random.choice(NAMES)
        await self.force(chosen)
        self.keeper.held = frozenset()
        await self.demands.require(pair.is_settled, TOGETHER_S, f"I12: {other(chosen)}, abandoned, does not come back")

    async def force(self, chosen: str) -> None:
        """This node serves, with what it held before the other one served alone, which is off and held down.

        A checkpoint.
        """
        pair, abandoned = self.demands.pair, other(chosen)
        self.keeper.held = frozenset(NAMES)
        pair.crash(chosen)
        await self._write(abandoned)
        pair.crash(abandoned)
        self.timeline.note(chosen, f"is left, and lacks what {abandoned} has acknowledged alone")
        self.keeper.held = frozenset({abandoned})
        await self.demands.require(lambda: self._is_outdated(chosen), SERVES_S, f"I12: {chosen} is not outdated")
        before = pair.record.lineage
        await self.operators.demand_force(chosen)
        if pair.record.members != (chosen,) or pair.record.lineage == before:
            self.demands.problem(f"I12: {chosen} was forced, and the record is {pair.record}")
        await self._write(chosen)

    async def _write(self, name: str) -> None:
        await self.demands.service(name)
        for sector in self.random.choices(self.demands.pair.swarm.sectors, k=_WRITES):
            if await self.demands.clients.operate(name, 0, (OperationKind.WRITE, sector, 1)) is not Outcome.DONE:
                self.demands.problem(f"I12: {name} does not serve, although it is the only member")

    def _is_outdated(self, name: str) -> bool:
        nodes = self.demands.pair.nodes
        return name in nodes and nodes[name].pair.phase is Phase.OUTDATED
