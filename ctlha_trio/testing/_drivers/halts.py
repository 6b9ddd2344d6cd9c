"""What two copies do not survive: nobody serves then, and everybody says why."""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final

import attrs

from ctlha_trio.pair import OperationKind
from ctlha_trio.testing._drivers.demands import Demands
from ctlha_trio.testing._drivers.disk import DiskFault
from ctlha_trio.testing._drivers.keeper import Keeper
from ctlha_trio.testing._drivers.time import let_pass
from ctlha_trio.testing._drivers.timeline import EVERYWHERE, Timeline
from ctlha_trio.testing._pairs.pair_faults import NAMES, other

HALTS_S: Final = 10.0
"""For a pair that cannot go on to say so."""
_TRIES: Final = 10
"""Writes, one a second, of which one meets the disk that is to fail."""


@attrs.define(eq=False)
class Halts:
    """Trials of a pair that must not serve."""

    timeline: Timeline
    demands: Demands
    keeper: Keeper

    async def kill_both_copies(self, random: Random) -> None:
        """First one, which is survived, then the only one that is left. A checkpoint."""
        pair, clients = self.demands.pair, self.demands.clients
        self.keeper.held = frozenset(NAMES)
        first = random.choice(NAMES)
        for name in (first, other(first)):
            trouble = pair.machines[name].disk
            trouble.may_fail = lambda _: True
            trouble.fault = random.choice([DiskFault.WRITE, DiskFault.FLUSH, DiskFault.HANG])
            self.timeline.note(name, f"soon {trouble.fault.value}")
            for _ in range(_TRIES):
                await clients.operate(pair.record.primary, 0, (OperationKind.WRITE, 0, 1))
                if pair.is_copy_dead(name):
                    break
                await let_pass(1.0)
            await self.demands.require(partial(pair.is_stopped, name), HALTS_S, f"{name} lives on a dead disk")

    async def expect(self, has_halted: Callable[[], bool] | None = None) -> None:
        """I15: nobody serves, and everybody says why, in time. A checkpoint."""
        pair, clients = self.demands.pair, self.demands.clients
        has_halted = has_halted or pair.has_halted
        self.timeline.counts["trials"] += 1
        self.keeper.held = frozenset(NAMES)
        await self.demands.require(has_halted, HALTS_S, "I15: the pair does not halt")
        served = clients.history.done
        for name in NAMES:
            await clients.operate(name, 0, (OperationKind.WRITE, pair.swarm.sectors[0], 1))
            await clients.operate(name, 0, (OperationKind.READ, pair.swarm.sectors[0], 1))
        if clients.history.done != served or not has_halted():
            self.demands.problem("I15: a pair that has to halt serves")
        self.timeline.note(EVERYWHERE, "the pair has halted")
