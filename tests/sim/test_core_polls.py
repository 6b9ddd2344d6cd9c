"""Which polls of the arbiter the simulated world waits for: those whose answers change something."""

import attrs

from ctlha_trio.ha import judge
from ctlha_trio.pair import Phase
from ctlha_trio.pair._state import UNTAKEN_MAX
from ctlha_trio.testing._core.world import CoreWorld


def test_a_poll_that_asks_an_arbiter_for_a_proof_is_waited_for() -> None:
    """Of a follower that was refused before it came back: all else is still, and its peer needs no swap."""
    world = CoreWorld(1, ())
    world.heal()
    node = next(each for each in world.pair.nodes.values() if each.state and each.state.phase is Phase.FOLLOWING)
    assert node.state is not None
    assert world.pair.arbiter.known_to(node.state)
    node.state = attrs.evolve(node.state, untaken=UNTAKEN_MAX)
    assert judge(node.state)[0] == "degraded"
    world.go_on_until(lambda: bool(node.state and judge(node.state)[0] == "protected"), 60, "I12: it is not asked")


def test_a_poll_that_finds_the_arbiter_refusing_as_before_is_not_waited_for() -> None:
    world = CoreWorld(1, ())
    world.heal()
    node = next(iter(world.pair.nodes.values()))
    assert node.state is not None
    world.pair.arbiter.refuses = True
    assert not world.pair.arbiter.known_to(attrs.evolve(node.state, untaken=1))
    assert world.pair.arbiter.known_to(attrs.evolve(node.state, untaken=UNTAKEN_MAX))
