"""The trouble in which the simulated pair notices each mutant of its core soonest, and where mutants are entered."""

from collections.abc import Callable

import attrs
import pytest

from ctlha_trio.testing._core.health import demand_service
from ctlha_trio.testing._core.trials import Trial
from ctlha_trio.testing._core.trouble import CLOCK_FACTORS
from ctlha_trio.testing._core.world import CoreWorld

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]
EARLY, LATE = CLOCK_FACTORS[-1:], CLOCK_FACTORS[:1]


@attrs.frozen
class Trouble:
    """That which shows a mutant soonest; the world must find it among nothing else."""

    faults: tuple[str, ...]
    clocks: tuple[float, ...]
    trial: Trial | None = attrs.field(default=None, repr=lambda trial: trial.__name__ if trial else "no trial")
    """In which the trouble ends, before the pair is healed."""

    def world(self, seed: int) -> CoreWorld:
        return CoreWorld(seed, self.faults, self.clocks)

    def play(self, world: CoreWorld, steps: int) -> None:
        """As a seed of the simulator does, but for the choice of what goes wrong."""
        world.run(steps)
        if self.trial is not None:
            self.trial(world)
        world.heal()
        demand_service(world)


MUTANTS: dict[str, tuple[Plant, Trouble]] = {}


def mutant(
    *faults: str, clocks: tuple[float, ...] = CLOCK_FACTORS, trial: Trial | None = None
) -> Callable[[Plant], Plant]:
    def enter(plant: Plant) -> Plant:
        MUTANTS[plant.__name__] = plant, Trouble(faults, clocks, trial)
        return plant

    return enter
