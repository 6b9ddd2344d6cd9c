"""Trials of claims that their nodes do not live to see the end of."""

from functools import partial

from ctlha_trio.pair import PROPOSED_MAX, Metadata
from ctlha_trio.testing._core.node import SimulatedNode
from ctlha_trio.testing._core.trial_parts import SERVE_S, must_serve, one_serves_alone
from ctlha_trio.testing._core.trouble import Pace
from ctlha_trio.testing._core.world import CoreWorld


def a_claim_that_was_won_is_not_forgotten(world: CoreWorld) -> bool:
    """The only member crashes when its claim has been taken, and then behind more claims than a disk remembers."""
    _, member = one_serves_alone(world)
    pair = world.pair
    pair.take_down(member, "crashes")
    world.go_at(Pace(relief=0.0))
    world.go_on_until(
        lambda: pair.arbiter.truth.epoch > member.metadata.epoch, SERVE_S, f"I12: {member.name} does not claim"
    )
    pair.take_down(member, "crashes")
    for _ in range(PROPOSED_MAX):
        intends = partial(_intends_more, member, member.metadata)
        world.go_on_until(intends, SERVE_S, f"I12: {member.name} does not claim")
        pair.take_down(member, "crashes")
    must_serve(world, member, f"I12: {member.name} is the only member and has the arbiter, but does not serve")
    return True


def _intends_more(node: SimulatedNode, before: Metadata) -> bool:
    """Whether its disk knows of another claim that is about to be made."""
    return node.metadata.proposed != before.proposed
