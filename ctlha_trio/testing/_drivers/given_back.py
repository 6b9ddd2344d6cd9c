"""The role goes back by itself to the node that is preferred: when all was well for long enough, and not before."""

from random import Random
from typing import Final

import attrs
import trio

from ctlha_trio.ha import GiveBackPolicy
from ctlha_trio.testing._drivers.demands import SERVES_S, TOGETHER_S, Demands
from ctlha_trio.testing._drivers.keeper import Keeper
from ctlha_trio.testing._drivers.time import let_pass
from ctlha_trio.testing._drivers.timeline import Timeline
from ctlha_trio.testing._pairs.pair_faults import NAMES, other

HOLD_DOWN_S: Final = 5.0
_ROUNDING_S: Final = 0.5
"""Both nodes are seen to be together a little later than they are."""


@attrs.define(eq=False)
class GivenBack:
    """A trial of a pair that is healthy otherwise."""

    keeper: Keeper
    timeline: Timeline
    demands: Demands
    random: Random

    async def run(self) -> None:
        """The trial, up to the first problem. A checkpoint."""
        self.timeline.counts["trials"] += 1
        pair, preferred = self.demands.pair, self.random.choice(NAMES)
        pair.give_back = GiveBackPolicy(preferred=preferred, hold_down_s=HOLD_DOWN_S)
        await self._lose(other(preferred))
        await self._lose(preferred)
        together_s = trio.current_time()
        self.timeline.note(preferred, f"is preferred, and must have the role {HOLD_DOWN_S:g} s from now on")
        await self.demands.require(
            lambda: pair.record.primary == preferred, HOLD_DOWN_S + SERVES_S, "I12: the role is not given back"
        )
        held_s = trio.current_time() - together_s
        if held_s < HOLD_DOWN_S - _ROUNDING_S:
            self.demands.problem(
                f"I12: the role is given back after {held_s:.2f} s, before all was well for long enough"
            )
        await self.demands.require(pair.is_settled, TOGETHER_S, "I12: the pair does not stay protected")
        await self.demands.service(preferred)

    async def _lose(self, name: str) -> None:
        """It is away for longer than a role is held, and runs anew by the policy."""
        pair = self.demands.pair
        self.keeper.held = frozenset({name})
        pair.crash(name)
        await self.demands.service(other(name))
        await let_pass(HOLD_DOWN_S + 1)
        self.keeper.held = frozenset()
        await self.demands.require(pair.is_settled, TOGETHER_S, f"I12: {name} does not come back")
