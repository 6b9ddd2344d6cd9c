"""What only whole nodes say of their copies: that both are whole, and not the same."""

from random import Random

import attrs

from ctlha_trio.ha import Reason
from ctlha_trio.pair import Finding, OperationKind, Outcome
from ctlha_trio.testing._drivers.atlas import Fault
from ctlha_trio.testing._drivers.clients import BLOCK_SECTORS
from ctlha_trio.testing._drivers.demands import SERVES_S, Demands
from ctlha_trio.testing._drivers.pair import DriverPair
from ctlha_trio.testing._drivers.reasons import ReasonWatch
from ctlha_trio.testing._drivers.timeline import Timeline
from ctlha_trio.testing._history.block_content import fill_sector
from ctlha_trio.testing._pairs.pair_faults import NAMES, other
from ctlha_trio.testing._power.medium import SECTOR_BYTES


@attrs.define(eq=False)
class DifferingCopies:
    """A trial of a pair that is healthy otherwise. Nobody reads what differs: no pair can tell which copy is right."""

    timeline: Timeline
    demands: Demands
    reasons: ReasonWatch
    random: Random

    @property
    def _pair(self) -> DriverPair:
        return self.demands.pair

    async def run(self) -> None:
        """The trial, up to the first problem. A checkpoint."""
        self.timeline.counts["trials"] += 1
        first = self.random.choice(self._pair.swarm.sectors) // BLOCK_SECTORS * BLOCK_SECTORS
        await self._change_a_copy(self.random.choice(NAMES), first)
        before = self._copies()
        if not any(begin <= first * SECTOR_BYTES < end for begin, end in await self._differing()):
            self.demands.problem(f"I10: the comparison does not name sector {first}, which differs")
        if self._copies() != before:
            self.demands.problem("I3: the comparison has changed a copy, and nothing tells which one is right")
        name = self._pair.record.primary
        self.reasons.check(name, Reason.COPIES_DIFFER, given=True)
        await self.reasons.demand_given(other(name), Reason.COPIES_DIFFER, SERVES_S)
        await self._write_anew(name, first)
        if await self._differing():
            self.demands.problem(f"I10: the comparison names what differs, although sector {first} was written anew")
        self.reasons.check(name, Reason.COPIES_DIFFER, given=False)
        await self.reasons.demand_gone(other(name), Reason.COPIES_DIFFER, SERVES_S)

    async def _change_a_copy(self, name: str, first: int) -> None:
        """As memory does in which a bit flips before the checksum is made: so no reader of the disk can tell."""
        self.timeline.note(name, f"sector {first}: {Fault.COPY_CHANGED.value}")
        changed = fill_sector(0xFFFF_FFFF)
        store = self._pair.nodes[name]._driver._store
        await store.write(first * SECTOR_BYTES, changed)

    def _copies(self) -> list[bytes]:
        return [self._pair.durable_copy(name) for name in NAMES]

    async def _differing(self) -> list[tuple[int, int]]:
        """Compare the copies; begin and end of what differs."""
        found = (await self.demands.comparison()).found
        return [(each.offset, each.offset + each.size) for each in found if each.what == Finding.DIFFERS.value]

    async def _write_anew(self, name: str, first: int) -> None:
        """Whoever knows what is right writes it, which makes both copies the same."""
        wanted = OperationKind.WRITE, first, BLOCK_SECTORS
        if await self.demands.clients.operate(name, 0, wanted) is not Outcome.DONE:
            self.demands.problem(f"I12: {name} does not write sector {first} anew")
        await self.demands.service(name)
