"""An arbiter that is restored from an old copy, which both nodes know to be old, until its newest record is back."""

from random import Random

import attrs

from ctlha_trio.pair import Phase
from ctlha_trio.seams import Versioned
from ctlha_trio.testing._drivers.atlas import Fault
from ctlha_trio.testing._drivers.demands import TOGETHER_S
from ctlha_trio.testing._drivers.halts import Halts
from ctlha_trio.testing._drivers.scene import Scene
from ctlha_trio.testing._drivers.timeline import EVERYWHERE
from ctlha_trio.testing._pairs.pair_faults import NAMES

WENT_BACK = "arbiter-went-back"


@attrs.define(eq=False)
class RestoredArbiter:
    """A trial of a pair that is healthy otherwise."""

    scene: Scene
    halts: Halts
    random: Random

    async def run(self) -> None:
        """The trial, up to the first problem. A checkpoint."""
        pair, arbiter, timeline = self.scene.pair, self.scene.pair.arbiter, self.scene.timeline
        known = min(pair.durable_metadata(name).revision for name in NAMES)
        newest = Versioned(arbiter.record, arbiter.revision)
        old = self.random.choice([each for each in pair.records if each.revision < known])
        timeline.note(EVERYWHERE, f"the arbiter is restored to epoch {old.record.epoch} r{old.revision}")
        timeline.counts["arbiter_displacements"] += 1
        arbiter.restore(old)
        self.scene.acted(Fault.ARBITER_RESTORED)
        await self.halts.expect(self._have_both_stopped)
        timeline.note(EVERYWHERE, f"the arbiter has its newest record again, r{newest.revision}")
        arbiter.restore(newest)
        keeper, demands = self.halts.keeper, self.halts.demands
        keeper.held, keeper.excused = frozenset(), frozenset({WENT_BACK})
        await demands.require(pair.is_settled, TOGETHER_S, "I12: the pair does not come together by its newest record")
        keeper.excused = frozenset()
        await demands.service(pair.record.primary)

    def _have_both_stopped(self) -> bool:
        states = [node.pair for node in self.scene.pair.nodes.values()]
        stopped = [state for state in states if (state.phase, state.why) == (Phase.STOPPED, WENT_BACK)]
        return len(stopped) == len(NAMES)
