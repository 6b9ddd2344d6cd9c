"""The simulated pair notices each rule that is taken out of the core, by the check that is there for it."""

from time import perf_counter

import attrs
import pytest

from tests.mutants.found_by import DIES_WITHOUT_TROUBLE, IN_THE_PAIR, check_of
from tests.mutants.pair_mutants import MUTANTS, Patch, Trouble

SEEDS = 250
"""Five times what the slowest took: whatever changes the world draws all seeds anew. Nearly all die within twenty."""
STEPS = 900
CALM_SEEDS = 3


@attrs.frozen
class Death:
    """How the world noticed a mutant."""

    problem: str
    """What it said of the first seed that it did not survive; empty if it survived all."""
    seeds: int
    """That it took."""
    took_s: float

    def __str__(self) -> str:
        return f"{self.seeds} seeds, {self.took_s:.1f} s: {check_of(self.problem) or 'survived'}: {self.problem}"


def first_failure(trouble: Trouble, seeds: int) -> Death:
    started_s = perf_counter()
    problem, seed = "", 0
    for seed in range(seeds):
        world = trouble.world(seed)
        try:
            trouble.play(world, STEPS)
        except AssertionError as error:
            problem = str(error).splitlines()[0]
        except Exception as error:
            # An order that cannot be carried out is a death too.
            problem = f"seed {seed}: {error!r}"
        if problem:
            break
    return Death(problem, seed + 1, perf_counter() - started_s)


@pytest.mark.parametrize("name", MUTANTS)
def test_the_world_kills(name: str, monkeypatch: Patch) -> None:
    plant, trouble = MUTANTS[name]
    plant(monkeypatch)
    death = first_failure(trouble, SEEDS)
    print(f"{name}: {death}")  # noqa: T201 (shown by pytest -rP)
    assert death.problem, f"{name} survived seeds 0 to {SEEDS - 1} of {STEPS} steps with {trouble}"
    assert check_of(death.problem) in IN_THE_PAIR[name], death.problem


@pytest.mark.parametrize("name", MUTANTS)
def test_without_its_trouble_it_lives_or_dies_for_its_own_reason(name: str, monkeypatch: Patch) -> None:
    """So that what kills a mutant is the rule that it breaks, in the situation that the rule is for."""
    plant, _ = MUTANTS[name]
    plant(monkeypatch)
    death = first_failure(Trouble((), (1.0,)), CALM_SEEDS)
    expected = IN_THE_PAIR[name] if name in DIES_WITHOUT_TROUBLE else {""}
    assert check_of(death.problem) in expected, death.problem


def test_every_mutant_names_its_checks_and_nothing_else_does() -> None:
    assert IN_THE_PAIR.keys() == MUTANTS.keys()
    assert MUTANTS.keys() >= DIES_WITHOUT_TROUBLE


@pytest.mark.parametrize("trouble", sorted({trouble for _, trouble in MUTANTS.values()}, key=str), ids=str)
def test_the_world_lets_the_core_live(trouble: Trouble) -> None:
    """What kills the mutants is what was done to them."""
    for seed in range(8):
        trouble.play(trouble.world(seed), STEPS)
