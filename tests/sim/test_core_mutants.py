"""The simulated pair notices each rule that is taken out of the core, by the check that is there for it."""

from itertools import chain

import pytest

from tests.mutants.found_by import DIES_WITHOUT_TROUBLE, IN_THE_PAIR, check_of
from tests.mutants.pair_mutants import MUTANTS, Trouble
from tests.mutants.search import FIRST_SEEDS, SEEDS, STEPS, first_failure

CALM_SEEDS = range(3)


@pytest.mark.parametrize("name", MUTANTS)
def test_the_world_kills(name: str) -> None:
    """In the seed that was the first to do so when they were last searched; once that does not, they all are."""
    plant, trouble = MUTANTS[name]
    known = [FIRST_SEEDS[name]] if name in FIRST_SEEDS else []
    death = first_failure(plant, trouble, chain(known, SEEDS))
    print(f"{name}: {death}")  # noqa: T201 (shown by pytest -rP)
    assert death.problem, f"{name} survived {SEEDS} of {STEPS} steps with {trouble}"
    assert check_of(death.problem) in IN_THE_PAIR[name], death.problem


@pytest.mark.parametrize("name", MUTANTS)
def test_without_its_trouble_it_lives_or_dies_for_its_own_reason(name: str) -> None:
    """So that what kills a mutant is the rule that it breaks, in the situation that the rule is for."""
    plant, _ = MUTANTS[name]
    death = first_failure(plant, Trouble((), (1.0,)), CALM_SEEDS)
    expected = IN_THE_PAIR[name] if name in DIES_WITHOUT_TROUBLE else {""}
    assert check_of(death.problem) in expected, death.problem


def test_every_mutant_names_its_checks_and_nothing_else_does() -> None:
    assert IN_THE_PAIR.keys() == MUTANTS.keys()
    assert MUTANTS.keys() >= DIES_WITHOUT_TROUBLE
    assert MUTANTS.keys() >= FIRST_SEEDS.keys()


@pytest.mark.parametrize("trouble", sorted({trouble for _, trouble in MUTANTS.values()}, key=str), ids=str)
def test_the_world_lets_the_core_live(trouble: Trouble) -> None:
    """What kills the mutants is what was done to them."""
    for seed in range(8):
        trouble.play(trouble.world(seed), STEPS)
