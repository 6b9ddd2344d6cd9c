"""An arbiter that is restored to before one node went alone, while the other one, which was down then, boots."""

from functools import partial
from random import Random
from typing import Final

import attrs

from ctlha_trio.testing._drivers.chance import happens
from ctlha_trio.testing._drivers.demands import Demands
from ctlha_trio.testing._drivers.keeper import Keeper
from ctlha_trio.testing._drivers.timeline import EVERYWHERE, Timeline
from ctlha_trio.testing._pairs.pair_faults import NAMES, other

_FINDS_OUT_S: Final = 10.0
"""For a node to look at the record, or to hear the other one, and a margin."""


@attrs.define(eq=False)
class MissedRecord:
    """Of a pair that is healthy otherwise. Only the node that went alone knows that the record is past."""

    timeline: Timeline
    demands: Demands
    keeper: Keeper
    random: Random

    async def run(self) -> None:
        """Until both nodes run and the second has stopped, of which neither may serve. A checkpoint."""
        pair, random = self.demands.pair, self.random
        away = random.choice(NAMES)
        kept, missed = other(away), pair.durable_metadata(away).revision
        old = next(each for each in pair.records if each.revision == missed)
        self.keeper.held = frozenset(NAMES)
        pair.crash(away)
        await self.demands.service(kept)
        self.timeline.note(EVERYWHERE, f"the arbiter is restored to epoch {old.record.epoch} r{old.revision}")
        self.timeline.counts["arbiter_displacements"] += 1
        pair.arbiter.restore(old)
        if happens(random):
            stopped = partial(pair.is_stopped, kept)
            await self.demands.require(stopped, _FINDS_OUT_S, f"I15: {kept} believes an arbiter that went back")
        await pair.restore_power(away, random.choice(pair.disks[away].outcomes()))
        self.timeline.note(away, "starts")
        await pair.start(away)
        told = partial(pair.is_stopped, away)
        await self.demands.require(told, _FINDS_OUT_S, f"I15: {away} believes an arbiter that went back, and was told")
