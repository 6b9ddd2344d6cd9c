"""Trials of an arbiter that is restored to a record which a node knows to be past, although by its own copy it is not.

It was told, or has read it; or it was abandoned by a force, and what it has read is of another line.
"""

from typing import Final

import attrs

from ctlha_trio.pair import Phase
from ctlha_trio.testing._core.arbiter import Kept
from ctlha_trio.testing._core.atlas import outlived_by
from ctlha_trio.testing._core.faults import BEHIND_A_READER, BEHIND_AN_ABANDONED_COPY, BEHIND_ONE_TOLD
from ctlha_trio.testing._core.node import SimulatedNode
from ctlha_trio.testing._core.trial_parts import (
    CLIENTS,
    SERVE_S,
    STANDING_CLOCK,
    force,
    has_persisted,
    is_in,
    keep_down,
    must_not_serve,
    must_serve,
    one_serves_alone,
    restore,
)
from ctlha_trio.testing._core.trouble import Pace
from ctlha_trio.testing._core.world import CoreWorld

_UNTOLD: Final = attrs.evolve(CLIENTS, clock=STANDING_CLOCK)
"""A node that boots waits for the other one for longer than it takes to hear it."""


def a_returning_node_is_told(world: CoreWorld) -> bool:
    """One node serves alone, the arbiter is restored to what was before, and the other node boots.

    The one that knows better has found out and stopped by then, or serves yet; afterwards it may be gone for good.
    """
    returning, member = one_serves_alone(world)
    if not restore(world, _missed(world, returning, member), BEHIND_ONE_TOLD):
        return False
    if world.random.getrandbits(1):
        world.go_at(Pace(relief=0.0))
        world.go_on_until(lambda: member.ended, SERVE_S, f"I15: {member.name} believes an arbiter that went back")
    _must_stop(world, returning, member)
    if world.random.getrandbits(1):
        keep_down(world, member)
        must_not_serve(world, f"I4: {returning.name} serves what {member.name} has told it is past")
    return True


def a_node_remembers_what_it_has_read(world: CoreWorld) -> bool:
    """The same, but the other node has booted before, heard nobody, and read that it does not count. It boots again."""
    returning, member = one_serves_alone(world)
    copies = _missed(world, returning, member)
    keep_down(world, member)
    _let_read(world, returning)
    if not restore(world, copies, BEHIND_A_READER):
        return False
    _must_stop(world, returning)
    must_not_serve(world, f"I4: {returning.name} serves although it has read a later record")
    return True


def an_abandoned_node_remembers_the_later_line(world: CoreWorld) -> bool:
    """A node is forced while the only member is off; this one has read that, and the arbiter is restored to before."""
    chosen, abandoned = one_serves_alone(world)
    pair = world.pair
    keep_down(world, abandoned)
    chosen.kept_down = False
    world.go_at(Pace(relief=0.0))
    world.go_on_until(lambda: is_in(chosen, Phase.OUTDATED), SERVE_S, f"{chosen.name} is not outdated")
    force(world, chosen)
    if pair.arbiter.truth.members != (chosen.name,):
        return False
    must_serve(world, chosen, f"I12: {chosen.name} was forced, but does not serve")
    copies = _missed(world, abandoned, chosen)
    keep_down(world, chosen)
    _let_read(world, abandoned)
    if not restore(world, copies, BEHIND_AN_ABANDONED_COPY):
        return False
    _must_stop(world, abandoned)
    must_not_serve(world, f"I4: {abandoned.name} serves although it has read that it was abandoned")
    return True


def _missed(world: CoreWorld, node: SimulatedNode, other: SimulatedNode) -> list[Kept]:
    """Records that name this node, and that by its own disk it has not outlived, but the other one has."""
    return [each for each in outlived_by(world.pair, other) if node.name in each.record.members]


def _let_read(world: CoreWorld, node: SimulatedNode) -> None:
    """It boots alone, reads the record, remembers that, and is down again."""
    node.kept_down = False
    world.go_at(Pace(relief=0.0))
    world.go_on_until(
        lambda: is_in(node, Phase.OUTDATED) and has_persisted(node), SERVE_S, f"{node.name} is not outdated"
    )
    keep_down(world, node)


def _must_stop(world: CoreWorld, node: SimulatedNode, *told_by: SimulatedNode) -> None:
    node.kept_down = False
    world.go_at(Pace(nodes={each.name: _UNTOLD for each in (node, *told_by)}, relief=0.0))
    knows = f"{told_by[0].name} runs" if told_by else "it knows of a later record"
    world.go_on_until(
        lambda: node.ended and has_persisted(node),
        SERVE_S,
        f"I15: {node.name} believes an arbiter that went back, although {knows}",
    )
