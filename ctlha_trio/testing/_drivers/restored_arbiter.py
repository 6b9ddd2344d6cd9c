"""An arbiter that is restored from an old copy, which both nodes know or are told to be old, until it is put right."""

from functools import partial
from random import Random
from typing import Final

import attrs

from ctlha_trio.pair import Phase
from ctlha_trio.seams import Versioned
from ctlha_trio.testing._drivers.atlas import Fault
from ctlha_trio.testing._drivers.chance import happens
from ctlha_trio.testing._drivers.demands import TOGETHER_S
from ctlha_trio.testing._drivers.halts import Halts
from ctlha_trio.testing._drivers.scene import Scene
from ctlha_trio.testing._drivers.timeline import EVERYWHERE
from ctlha_trio.testing._pairs.pair_faults import NAMES, other

WENT_BACK = "arbiter-went-back"
_FINDS_OUT_S: Final = 10.0
"""For a node to look at the record, or to hear the other one, and a margin."""


@attrs.define(eq=False)
class RestoredArbiter:
    """A trial of a pair that is healthy otherwise."""

    scene: Scene
    halts: Halts
    random: Random

    async def run(self) -> None:
        """The trial, up to the first problem. A checkpoint."""
        pair, arbiter, timeline = self.scene.pair, self.scene.pair.arbiter, self.scene.timeline
        away = self.random.choice(NAMES) if happens(self.random) else ""
        old = await self._leave_behind(away) if away else self._outlived_by_both()
        newest = Versioned(arbiter.record, arbiter.revision)
        timeline.note(EVERYWHERE, f"the arbiter is restored to epoch {old.record.epoch} r{old.revision}")
        timeline.counts["arbiter_displacements"] += 1
        arbiter.restore(old)
        self.scene.acted(Fault.ARBITER_RESTORED)
        if away:
            await self._boot(away)
        await self.halts.expect(self._have_both_stopped)
        timeline.note(EVERYWHERE, f"the arbiter has its newest record again, r{newest.revision}")
        arbiter.restore(newest)
        keeper, demands = self.halts.keeper, self.halts.demands
        keeper.held, keeper.excused = frozenset(), frozenset({WENT_BACK})
        await demands.require(pair.is_settled, TOGETHER_S, "I12: the pair does not come together by its newest record")
        keeper.excused = frozenset()
        await demands.service(pair.record.primary)

    def _outlived_by_both(self) -> Versioned:
        """A record that each disk knows to be past."""
        known = min(self.scene.pair.durable_metadata(name).revision for name in NAMES)
        return self.random.choice([each for each in self.scene.pair.records if each.revision < known])

    async def _leave_behind(self, away: str) -> Versioned:
        """One node is down, the other one serves alone: the record before that, which is the newest for the first."""
        pair, halts = self.scene.pair, self.halts
        missed = pair.durable_metadata(away).revision
        old = next(each for each in pair.records if each.revision == missed)
        halts.keeper.held = frozenset(NAMES)
        pair.crash(away)
        await halts.demands.service(other(away))
        return old

    async def _boot(self, away: str) -> None:
        """It boots, before or after the other one has found out, and must hear of it."""
        pair, demands = self.scene.pair, self.halts.demands
        if happens(self.random):
            stopped = partial(pair.is_stopped, other(away))
            await demands.require(stopped, _FINDS_OUT_S, f"I15: {other(away)} believes an arbiter that went back")
        await pair.restore_power(away, self.random.choice(pair.disks[away].outcomes()))
        self.scene.timeline.note(away, "starts")
        await pair.start(away)
        told = partial(pair.is_stopped, away)
        await demands.require(told, _FINDS_OUT_S, f"I15: {away} believes an arbiter that went back, and was told")

    def _have_both_stopped(self) -> bool:
        states = [node.pair for node in self.scene.pair.nodes.values()]
        stopped = [state for state in states if (state.phase, state.why) == (Phase.STOPPED, WENT_BACK)]
        return len(stopped) == len(NAMES)
