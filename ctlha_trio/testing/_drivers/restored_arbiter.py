"""An arbiter restored from an old copy, which nodes know, hear or have read to be old, until it is put right."""

from functools import partial
from random import Random
from typing import Final

import attrs

from ctlha_trio.pair import Phase
from ctlha_trio.seams import Versioned
from ctlha_trio.testing._drivers.atlas import Fault
from ctlha_trio.testing._drivers.chance import happens
from ctlha_trio.testing._drivers.demands import SERVES_S, TOGETHER_S
from ctlha_trio.testing._drivers.forced_copy import ForcedCopy
from ctlha_trio.testing._drivers.halts import Halts
from ctlha_trio.testing._drivers.scene import Scene
from ctlha_trio.testing._drivers.timeline import EVERYWHERE
from ctlha_trio.testing._pairs.pair_faults import NAMES, other

WENT_BACK = "arbiter-went-back"
_FINDS_OUT_S: Final = 10.0
"""For a node to look at the record, or to hear the other one, and a margin."""


@attrs.define(eq=False)
class RestoredArbiter:
    """Trials of a pair that is healthy otherwise."""

    scene: Scene
    halts: Halts
    forced: ForcedCopy
    random: Random

    async def run(self) -> None:
        """Each of the trials, in any order, up to the first problem. A checkpoint."""
        trials = {
            Fault.ARBITER_RESTORED: self._both_know,
            Fault.RESTORED_BEHIND_ONE_TOLD: self._one_is_told,
            Fault.RESTORED_BEHIND_A_READER: self._one_has_read,
            Fault.RESTORED_BEHIND_AN_ABANDONED_COPY: self._one_was_abandoned,
        }
        for fault in self.random.sample(list(trials), len(trials)):
            await trials[fault](self.random.choice(NAMES))
            self.scene.acted(fault)

    async def _both_know(self, _: str) -> None:
        """Of a record that each disk knows to be past."""
        pair = self.scene.pair
        known = min(pair.durable_metadata(name).revision for name in NAMES)
        old = self.random.choice([each for each in pair.records if each.revision < known])
        await self._halt_until_put_right(self._restore(old), NAMES)

    async def _one_is_told(self, away: str) -> None:
        """It boots, before or after the other one has found out, and must hear of it."""
        old = await self._leave_behind(away)
        newest = self._restore(old)
        if happens(self.random):
            await self._demand_stop(other(away), "has outlived its record")
        await self._boot(away)
        await self._demand_stop(away, "was told")
        if happens(self.random):
            await self._halt_until_put_right(newest, NAMES)
            return
        # What it has said, it must know without the other one too.
        for name in NAMES:
            self.scene.pair.crash(name)
        await self._boot(away)
        await self._demand_stop(away, "has said so before")
        await self._halt_until_put_right(newest, (away,))

    async def _one_has_read(self, away: str) -> None:
        """It was never told: by itself it has read that it does not count."""
        old = await self._leave_behind(away)
        self.scene.pair.crash(other(away))
        await self._believe_what_was_read(away, old)

    async def _one_was_abandoned(self, chosen: str) -> None:
        """Likewise, of a force, after which its copy is of another line than the record."""
        pair, abandoned = self.scene.pair, other(chosen)
        await self.forced.force(chosen)
        self.halts.keeper.held = frozenset(NAMES)
        pair.crash(chosen)
        await self._believe_what_was_read(abandoned, self._known_to(abandoned))

    async def _believe_what_was_read(self, name: str, old: Versioned) -> None:
        """A node boots alone, reads, loses its power, and boots again with an arbiter that has gone back."""
        pair, demands = self.scene.pair, self.halts.demands
        await self._boot(name)
        await demands.require(partial(self._has_read, name), SERVES_S, f"I12: {name} does not see that it is outdated")
        pair.crash(name)
        newest = self._restore(old)
        await self._boot(name)
        await self._demand_stop(name, "has read a later record")
        await self._halt_until_put_right(newest, (name,))

    async def _leave_behind(self, away: str) -> Versioned:
        """One node is down, the other one serves alone: the record before that, which is the newest for the first."""
        old = self._known_to(away)
        self.halts.keeper.held = frozenset(NAMES)
        self.scene.pair.crash(away)
        await self.halts.demands.service(other(away))
        return old

    def _known_to(self, name: str) -> Versioned:
        """The latest record on the disk of a node."""
        known = self.scene.pair.durable_metadata(name).revision
        return next(each for each in self.scene.pair.records if each.revision == known)

    def _has_read(self, name: str) -> bool:
        """Whether a node is outdated, and all that it wanted to remember of that is on its disk."""
        node = self.scene.pair.nodes.get(name)
        return node is not None and node.pair.phase is Phase.OUTDATED and node.pair.persisting is None

    def _restore(self, old: Versioned) -> Versioned:
        """Put an old record in the place of the newest; which that is."""
        arbiter, timeline = self.scene.pair.arbiter, self.scene.timeline
        newest = Versioned(arbiter.record, arbiter.revision)
        timeline.note(EVERYWHERE, f"the arbiter is restored to epoch {old.record.epoch} r{old.revision}")
        timeline.counts["arbiter_displacements"] += 1
        arbiter.restore(old)
        return newest

    async def _boot(self, name: str) -> None:
        pair = self.scene.pair
        await pair.restore_power(name, self.random.choice(pair.disks[name].outcomes()))
        self.scene.timeline.note(name, "starts")
        await pair.start(name)

    async def _demand_stop(self, name: str, why: str) -> None:
        stopped = partial(self.scene.pair.is_stopped, name)
        await self.halts.demands.require(
            stopped, _FINDS_OUT_S, f"I15: {name} believes an arbiter that went back, and {why}"
        )

    async def _halt_until_put_right(self, newest: Versioned, names: tuple[str, ...]) -> None:
        """These nodes run, serve nothing and say why, until the newest record is back; then both come together."""
        pair, keeper, demands = self.scene.pair, self.halts.keeper, self.halts.demands
        await self.halts.expect(partial(self._have_stopped, names))
        self.scene.timeline.note(EVERYWHERE, f"the arbiter has its newest record again, r{newest.revision}")
        pair.arbiter.restore(newest)
        keeper.held, keeper.excused = frozenset(), frozenset({WENT_BACK})
        await demands.require(pair.is_settled, TOGETHER_S, "I12: the pair does not come together by its newest record")
        keeper.excused = frozenset()
        await demands.service(pair.record.primary)

    def _have_stopped(self, names: tuple[str, ...]) -> bool:
        states = [node.pair for node in self.scene.pair.nodes.values()]
        stopped = [state.me for state in states if (state.phase, state.why) == (Phase.STOPPED, WENT_BACK)]
        return sorted(stopped) == sorted(names)
