"""Two cores among everything that the seams allow to go wrong: nothing acknowledged is lost, and all of it heals."""

import pytest

from ctlha_trio.testing._core_world import CoreWorld

SEEDS = 150
SEEDS_OF_A_TEST = 15
STEPS = 1500


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_OF_A_TEST))
def test_a_troubled_pair_keeps_its_promises_and_heals(first: int) -> None:
    for seed in range(first, first + SEEDS_OF_A_TEST):
        world = CoreWorld(seed)
        world.run(STEPS)
        world.heal()
        assert world.pair.clients.done, "clients that are never served prove nothing"


def test_a_failure_names_the_seed_and_shows_what_happened() -> None:
    world = CoreWorld(0)
    world.run(300)
    world.pair.nodes["a"].blocks[:] = [-1] * 4
    world.pair.nodes["b"].blocks[:] = [-2] * 4
    with pytest.raises(AssertionError, match=r"^seed 0: (?s:.)* -> "):
        world.run(10_000)
