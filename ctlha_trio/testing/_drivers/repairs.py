"""What a pair that is together must repair itself: all damage."""

import attrs

from ctlha_trio.testing._drivers.demands import TOGETHER_S, Demands
from ctlha_trio.testing._drivers.keeper import Keeper
from ctlha_trio.testing._drivers.timeline import EVERYWHERE, Timeline
from ctlha_trio.testing._pairs.pair_faults import NAMES
from ctlha_trio.testing._power.medium import SECTOR_BYTES


@attrs.define(eq=False)
class Repairs:
    """Of each block that is damaged on one copy the other one is whole."""

    timeline: Timeline
    demands: Demands
    keeper: Keeper

    async def run(self) -> None:
        """Compare the copies, which leaves no block damaged, and none that differs. A checkpoint."""
        for name in NAMES:
            damaged = self._damaged_sectors(name)
            if damaged:
                self.timeline.note(name, f"the blocks of sectors {damaged} are damaged")
        found = await self.demands.comparison()
        self.timeline.note(EVERYWHERE, f"the comparison has repaired {found.repaired_bytes} bytes")
        for name in NAMES:
            damaged = self._damaged_sectors(name)
            if damaged:
                self.demands.problem(f"I12: after the comparison the blocks of sectors {damaged} of {name} are damaged")
        if found.differing_bytes or found.unreadable_bytes:
            self.demands.problem(f"I7: the comparison of two whole copies ends so: {found}")
        # A disk that lost a page of entries has lost many blocks, and its node says so until it starts anew.
        self.keeper.renews = True
        await self.demands.require(self.demands.pair.is_settled, TOGETHER_S, "I12: the pair does not stay protected")
        self.keeper.renews = False

    def _damaged_sectors(self, name: str) -> str:
        return ", ".join(str(block // SECTOR_BYTES) for block in sorted(self.demands.pair.damage.blocks(name)))
