"""Disks that answer nothing for longer than a node waits, and then everything, while nobody else is there to serve."""

import math
from random import Random
from typing import Final

import attrs

from ctlha_trio.ha import Reason
from ctlha_trio.pair import OperationKind
from ctlha_trio.testing._drivers.demands import TOGETHER_S, Demands
from ctlha_trio.testing._drivers.keeper import Keeper
from ctlha_trio.testing._drivers.reasons import ReasonWatch
from ctlha_trio.testing._drivers.time import let_pass
from ctlha_trio.testing._drivers.timeline import Timeline
from ctlha_trio.testing._pairs.pair_faults import NAMES

_NOTICES_S: Final = 10.0
"""For a node to find that its disk hangs, by a clock that may be slow."""


@attrs.define(eq=False)
class HungDisks:
    """Trials of a pair that is healthy otherwise."""

    timeline: Timeline
    demands: Demands
    reasons: ReasonWatch
    keeper: Keeper
    random: Random

    async def run(self) -> None:
        """Every trial, up to the first problem. A checkpoint."""
        self.timeline.counts["trials"] += 1
        await self._hang(NAMES)
        await self.demands.require(
            self.demands.pair.is_settled, TOGETHER_S, "I12: both disks answer again, but the pair is not protected"
        )
        await self._hang_the_only_one()

    async def _hang_the_only_one(self) -> None:
        pair = self.demands.pair
        member, outsider = self.random.sample(NAMES, 2)
        self.keeper.held = frozenset({outsider})
        pair.crash(outsider)
        await self.demands.service(member)
        await self._hang((member,))
        await self.demands.service(member)
        self.keeper.held = frozenset()
        await self.demands.require(pair.is_settled, TOGETHER_S, f"I12: {outsider} does not return")

    async def _hang(self, names: tuple[str, ...]) -> None:
        """Until each of these nodes has said so, and for a while longer."""
        pair = self.demands.pair
        for name in names:
            self.timeline.note(name, "the disk hangs")
            pair.machines[name].disk.hang(math.inf)
        # Only a call can hang. Its client is told nothing, or loses its patience.
        await self.demands.clients.operate(pair.record.primary, 0, (OperationKind.WRITE, pair.swarm.sectors[0], 1))
        for name in names:
            await self.reasons.demand_given(name, Reason.DISK_HANGS, _NOTICES_S)
        await let_pass(self.random.uniform(0, 10))
        for name in names:
            self.timeline.note(name, "the disk answers")
            pair.machines[name].disk.answer()
