"""Trials of what the secondary proposes while the session is lost and resumed: nothing is lost or done twice."""

from typing import Final

from ctlha_trio.pair import Phase
from ctlha_trio.testing._core.node import NODES
from ctlha_trio.testing._core.trial_parts import SERVE_S, STANDING_CLOCK, is_in
from ctlha_trio.testing._core.trouble import KINDS, NodePace, Pace
from ctlha_trio.testing._core.world import CoreWorld

FLAPS_MAX: Final = 8
STEPS_BETWEEN: Final = 40
"""At the most: a proposal takes ten from the question to the answer."""
RESTART_CHANCE: Final = 0.5


def flaps_lose_no_proposal(world: CoreWorld) -> bool:
    """Clients change what they like through the secondary, while the session comes and goes: all are answered.

    Each knows what became of it if nobody claims, and hardly ever does anybody. Then, perhaps, the secondary runs anew,
    and is served as before.
    """
    world.heal()
    pair, kinds = world.pair, world.random.choice(KINDS)
    secondary = next(node for node in pair.nodes.values() if is_in(node, Phase.FOLLOWING))
    standing = {name: NodePace(link=250.0, disk=250.0, clock=STANDING_CLOCK) for name in NODES}
    asking = NodePace(link=250.0, disk=250.0, clock=STANDING_CLOCK, clients=100.0, kinds=kinds)
    world.go_at(Pace(nodes=standing | {secondary.name: asking}, relief=0.0))
    for _ in range(world.random.randint(1, FLAPS_MAX)):
        for _ in range(world.random.randint(1, STEPS_BETWEEN)):
            world.step()
        pair.note("-", "the connection is cut, and comes back before anybody claims")
        pair.link.close()
    world.go_at(Pace(nodes=standing, relief=0.0))

    def is_claimed() -> bool:
        """By a timer that ran out after all. No other reason to claim is excused."""
        states = [node.state for node in pair.nodes.values() if node.state is not None]
        return any((state.phase, state.why) == (Phase.CLAIMING, "the peer did not come back") for state in states)

    ends = "I12: what was asked through a flap does not end"
    world.go_on_until(lambda: not pair.clients.asked or is_claimed(), SERVE_S, ends)
    if is_claimed():
        return False
    if world.random.random() < RESTART_CHANCE:
        pair.take_down(secondary, "crashes")
    return True
