"""Trials of an arbiter that is restored to a record which one node alone has outlived: the other one must be told."""

from typing import Final

import attrs

from ctlha_trio.testing._core.atlas import outlived_by
from ctlha_trio.testing._core.node import SimulatedNode
from ctlha_trio.testing._core.trial_parts import (
    CLIENTS,
    SERVE_S,
    STANDING_CLOCK,
    keep_down,
    must_not_serve,
    must_serve,
)
from ctlha_trio.testing._core.trouble import Pace
from ctlha_trio.testing._core.world import CoreWorld

_UNTOLD: Final = attrs.evolve(CLIENTS, clock=STANDING_CLOCK)
"""A node that boots waits for the other one for longer than it takes to hear it."""


def a_returning_node_is_told(world: CoreWorld) -> bool:
    """One node serves alone, the arbiter is restored to what was before, and the other node boots.

    The one that knows better has found out and stopped by then, or serves yet; afterwards it may be gone for good.
    """
    world.heal()
    pair = world.pair
    returning, member = world.random.sample(list(pair.nodes.values()), 2)
    keep_down(world, returning)
    must_serve(world, member, f"I12: {member.name} is a member and has the arbiter, but does not serve")
    copies = [each for each in outlived_by(pair, member) if returning.name in each.record.members]
    if not copies:
        return False
    pair.arbiter.late.clear()
    old = world.random.choice(copies)
    pair.arbiter.displace(old.record, old.revision)
    pair.note("-", f"the arbiter is restored to epoch {old.record.epoch} r{old.revision}")
    pair.happened["arbiter_displacements"] += 1
    pair.excuse_all("arbiter-went-back")
    if world.random.getrandbits(1):
        world.go_at(Pace(relief=0.0))
        world.go_on_until(lambda: member.ended, SERVE_S, f"I15: {member.name} believes an arbiter that went back")
    returning.kept_down = False
    world.go_at(Pace(nodes={returning.name: _UNTOLD, member.name: _UNTOLD}, relief=0.0))
    world.go_on_until(
        lambda: returning.ended and _has_persisted(returning),
        SERVE_S,
        f"I15: {returning.name} believes an arbiter that went back, although the other node runs",
    )
    if world.random.getrandbits(1):
        keep_down(world, member)
        must_not_serve(world, f"I4: {returning.name} serves what {member.name} has told it is past")
    return True


def _has_persisted(node: SimulatedNode) -> bool:
    return node.state is not None and node.state.persisting is None and not node.disk
