"""Two cores among everything that the seams allow to go wrong: nothing acknowledged is lost, and all of it heals."""

import pytest

from ctlha_trio.pair import TRANSITIONS, Phase
from ctlha_trio.testing._core_trouble import FAULTS
from ctlha_trio.testing._core_world import CoreWorld

SEEDS = 150
SEEDS_OF_A_TEST = 15
STEPS = 1500

RARE = frozenset(
    {
        # They need a record that changes by another hand, such as a forced one, or several coincidences at once.
        *((phase, Phase.WAITING) for phase in Phase),
        *((phase, Phase.CLAIMING) for phase in Phase),
        *((phase, Phase.OUTDATED) for phase in Phase),
        *((phase, Phase.STOPPED) for phase in Phase),
        *((phase, Phase.LEFT) for phase in Phase),
        (Phase.CLAIMING, Phase.SUSPENDED),
    }
)


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_OF_A_TEST))
def test_a_troubled_pair_keeps_its_promises_and_heals(first: int) -> None:
    for seed in range(first, first + SEEDS_OF_A_TEST):
        world = CoreWorld(seed)
        world.run(STEPS)
        world.heal()
        assert world.clients.done, "clients that are never served prove nothing"


def test_the_trouble_leads_through_the_whole_machine() -> None:
    seen: set[tuple[Phase, Phase]] = set()
    for seed in range(15):
        for faults in (tuple(FAULTS), ("cut",), ("cut", "fail_arbiter"), ("cut", "hand_over")):
            world = CoreWorld(seed, faults)
            world.run(STEPS)
            seen |= world.phases_seen
    possible = {(phase, other) for phase, others in TRANSITIONS.items() for other in others}
    assert sorted((a.name, b.name) for a, b in possible - seen - RARE) == []


def test_a_failure_names_the_seed_and_shows_what_happened() -> None:
    world = CoreWorld(0)
    world.run(300)
    world.nodes["a"].blocks[0] = -1
    world.nodes["b"].blocks[0] = -2
    with pytest.raises(AssertionError, match=r"^seed 0: (?s:.)* -> "):
        world.run(10_000)
