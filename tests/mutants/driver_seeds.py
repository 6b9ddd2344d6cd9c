"""A bug that is planted in the drivers, and the seeds of whole nodes that are to find it."""

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import count, islice
from typing import Final

import attrs

from ctlha_trio.store import GROUP_BYTES
from ctlha_trio.testing._drivers import runs
from ctlha_trio.testing._drivers.atlas import Fault
from ctlha_trio.testing._drivers.swarm import Swarm, draw_swarm
from ctlha_trio.testing._pairs.pair_faults import NAMES
from tests.mutants.trouble import Patch, Plant

SEEDS_MAX: Final = 40
"""So many are run until one finds the bug."""
OFTEN_S: Final = 12.0
"""Between two faults of a kind, that a seed draws often."""


@attrs.frozen
class Bug:
    """What is planted, which check must find it, and where."""

    plant: Plant
    found: str
    """How the failure begins."""
    first_seed: int = 1000
    """One that was known to find it when this was written, and soon, for a seed takes seconds."""
    about: tuple[Fault, ...] = ()
    """Only seeds that draw these faults often show it."""
    alone: Mapping[Fault, float] | None = None
    """Only these faults are to happen, so often: among others it is too seldom that they last."""
    large: bool = False
    """Only volumes of several groups show it."""
    where: Callable[[Swarm], bool] = lambda _: True
    """Only seeds that draw this trial show it."""
    without_faults: bool = False
    """It breaks what every run needs. The others live where no fault happens: there their rule does nothing."""

    @property
    def name(self) -> str:
        return self.plant.__name__

    def plant_in(self, patch: Patch) -> None:
        """With what is to happen around it."""
        if self.alone is not None:
            draw_only(patch, self.alone, safety_s=60.0)
        self.plant(patch)

    def seeds(self) -> Iterator[int]:
        return islice((seed for seed in count(self.first_seed) if self._shows(seed)), SEEDS_MAX)

    def _shows(self, seed: int) -> bool:
        swarm = draw_swarm(seed, NAMES)
        if self.large and swarm.size_bytes <= GROUP_BYTES:
            return False
        return self.where(swarm) and all(swarm.intervals_s.get(fault, math.inf) < OFTEN_S for fault in self.about)


def draw_only(patch: Patch, intervals_s: Mapping[Fault, float], *, safety_s: float) -> None:
    def draw(seed: int, names: tuple[str, ...]) -> Swarm:
        return attrs.evolve(draw_swarm(seed, names).alone(), intervals_s=intervals_s, safety_s=safety_s)

    patch.setattr(runs, "draw_swarm", draw)
