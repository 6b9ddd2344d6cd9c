"""What only whole nodes say of their disks: that every copy lost a block, a file is gone, a disk loses too much."""

from typing import Final

import attrs

from ctlha_trio.ha import Reason
from ctlha_trio.pair import OperationKind, Outcome
from ctlha_trio.testing._drivers.clients import BLOCK_SECTORS
from ctlha_trio.testing._drivers.demands import SERVES_S, Demands
from ctlha_trio.testing._drivers.pair import DriverPair
from ctlha_trio.testing._drivers.reasons import ReasonWatch
from ctlha_trio.testing._drivers.timeline import EVERYWHERE, Timeline
from ctlha_trio.testing._pairs.pair_faults import NAMES, other
from ctlha_trio.testing._pairs.pair_view import VOLUME

DECAYS: Final = 65
"""One more than a healthy disk may lose between two starts of its node."""


@attrs.define(eq=False)
class WornDisks:
    """Trials of a pair that is healthy otherwise, and serves all the time."""

    timeline: Timeline
    demands: Demands
    reasons: ReasonWatch

    @property
    def _pair(self) -> DriverPair:
        return self.demands.pair

    async def run(self) -> None:
        """Every trial, up to the first problem. A checkpoint."""
        self.timeline.counts["trials"] += 1
        first = self._pair.swarm.sectors[0] // BLOCK_SECTORS * BLOCK_SECTORS
        await self._lose_a_block(first)
        await self._remove_a_file()
        await self._wear_a_disk_out(first)

    async def _lose_a_block(self, first: int) -> None:
        """No copy of a block is whole: who reads it is told so, and who writes it has it again."""
        self.timeline.note(EVERYWHERE, f"sector {first} decays on both copies")
        name = self._pair.record.primary
        for each in NAMES:
            self._pair.damage.let_decay(each, first)
        await self._demand(name, (OperationKind.READ, first, 1), Outcome.MEDIUM_ERROR)
        self.reasons.check(name, Reason.MEDIUM_ERROR, given=True)
        await self.reasons.demand_given(other(name), Reason.MEDIUM_ERROR, SERVES_S)
        await self._demand(name, (OperationKind.WRITE, first, BLOCK_SECTORS), Outcome.DONE)
        self.reasons.check(name, Reason.MEDIUM_ERROR, given=False)
        await self._demand(name, (OperationKind.READ, first, 1), Outcome.DONE)
        await self.reasons.demand_gone(other(name), Reason.MEDIUM_ERROR, SERVES_S)

    async def _remove_a_file(self) -> None:
        """The name of an open file is taken from it, and given back."""
        name = self._pair.record.primary
        self.timeline.note(name, "its file is removed")
        self._pair.disks[name].take_name(VOLUME)
        await self.reasons.demand_given(name, Reason.FILE_GONE, SERVES_S)
        await self.reasons.demand_given(other(name), Reason.PEER_DISK_FAILING, SERVES_S)
        self.timeline.note(name, "its file is put back")
        self._pair.disks[name].give_name(VOLUME)
        await self.reasons.demand_gone(name, Reason.FILE_GONE, SERVES_S)
        await self.reasons.demand_gone(other(name), Reason.PEER_DISK_FAILING, SERVES_S)

    async def _wear_a_disk_out(self, first: int) -> None:
        """One disk loses block after block. Each is repaired from the other copy, and the node says what that means."""
        name = self._pair.record.primary
        self.timeline.note(name, f"sector {first} decays {DECAYS} times")
        for _ in range(DECAYS):
            self._pair.damage.let_decay(name, first)
            await self._demand(name, (OperationKind.READ, first, 1), Outcome.DONE)
        self.reasons.check(name, Reason.DISK_FAILING, given=True)
        await self.reasons.demand_given(other(name), Reason.PEER_DISK_FAILING, SERVES_S)

    async def _demand(self, name: str, wanted: tuple[OperationKind, int, int], outcome: Outcome) -> None:
        told = await self.demands.clients.operate(name, 0, wanted)
        if told is not outcome:
            kind, first, _ = wanted
            said = "nothing" if told is None else told.name
            self.demands.problem(f"I12: {name} answers {said} to a {kind.name} of sector {first}, not {outcome.name}")
