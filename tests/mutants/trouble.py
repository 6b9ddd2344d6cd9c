"""The trouble in which the simulated pair notices each mutant of its core soonest, and where mutants are entered."""

from collections.abc import Callable

import attrs
import pytest

from ctlha_trio.pair import OperationKind, actions as act
from ctlha_trio.pair._step import Step
from ctlha_trio.testing._core.health import demand_service
from ctlha_trio.testing._core.trial_parts import Trial
from ctlha_trio.testing._core.trouble import CLOCK_FACTORS, READS_AND_WRITES
from ctlha_trio.testing._core.world import CoreWorld

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]
Kinds = tuple[tuple[OperationKind, ...], ...]
EARLY, LATE = CLOCK_FACTORS[-1:], CLOCK_FACTORS[:1]


@attrs.frozen
class Trouble:
    """That which shows a mutant soonest; the world must find it among nothing else."""

    faults: tuple[str, ...]
    clocks: tuple[float, ...]
    kinds: Kinds = READS_AND_WRITES
    """Of operations."""
    trial: Trial | None = attrs.field(default=None, repr=lambda trial: trial.__name__ if trial else "no trial")
    """In which the trouble ends, before the pair is healed."""

    def world(self, seed: int) -> CoreWorld:
        return CoreWorld(seed, self.faults, self.clocks, self.kinds)

    def play(self, world: CoreWorld, steps: int) -> None:
        """As a seed of the simulator does, but for the choice of what goes wrong."""
        world.run(steps)
        if self.trial is not None:
            self.trial(world)
        world.heal()
        demand_service(world)


MUTANTS: dict[str, tuple[Plant, Trouble]] = {}


def mutant(
    *faults: str,
    clocks: tuple[float, ...] = CLOCK_FACTORS,
    kinds: Kinds = READS_AND_WRITES,
    trial: Trial | None = None,
) -> Callable[[Plant], Plant]:
    def enter(plant: Plant) -> Plant:
        MUTANTS[plant.__name__] = plant, Trouble(faults, clocks, kinds, trial)
        return plant

    return enter


def ask_for_no_permit(patch: Patch, kind: OperationKind) -> None:
    plain = Step.do

    def do(self: Step, action: act.Action) -> None:
        if isinstance(action, act.FetchRead) and action.operation.kind is kind:
            action = attrs.evolve(action, epoch=0)
        plain(self, action)

    patch.setattr(Step, "do", do)
