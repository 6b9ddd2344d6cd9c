"""Trials of disks that answer nothing for longer than their nodes wait, and everything after: no copy dies of that."""

from collections.abc import Collection
from typing import Final

from ctlha_trio.testing._core import relief
from ctlha_trio.testing._core.node import NODES, SimulatedNode
from ctlha_trio.testing._core.trial_parts import CLIENTS, SERVE_S, WRITES, keep_down, must_not_serve, must_serve
from ctlha_trio.testing._core.trouble import Pace
from ctlha_trio.testing._core.world import CoreWorld

HANGS_S: Final = (1.0, 10.0)
"""How long a disk hangs, behind the moment at which its node gives the session up."""


def both_disks_hang_and_answer(world: CoreWorld) -> bool:
    """What both disks have in common stalls for longer than the nodes wait for it: nobody serves, and then both do."""
    world.heal()
    pair = world.pair
    world.go_at(Pace(nodes=dict.fromkeys(NODES, CLIENTS)))
    world.go_on_until(lambda: any(node.disk for node in pair.nodes.values()), SERVE_S, "no disk is asked for anything")
    _hang_for_a_while(world, pair.nodes.values())
    for node in pair.nodes.values():
        relief.answer(pair, node)
    enough = pair.clients.acknowledged + WRITES
    world.go_on_until(
        lambda: pair.clients.acknowledged >= enough, SERVE_S, "I12: nobody serves, although both disks answer"
    )
    return True


def the_disk_of_the_only_member_hangs(world: CoreWorld) -> bool:
    """The other node is down, or a node that is none and has the arbiter: the member serves again by itself."""
    world.heal()
    pair = world.pair
    outsider, member = world.random.sample(list(pair.nodes.values()), 2)
    keep_down(world, outsider)
    must_serve(world, member, f"I12: {member.name} is a member and has the arbiter, but does not serve")
    _hang_for_a_while(world, [member])
    outsider.kept_down = world.random.choice((True, False))
    must_not_serve(world, "I2: somebody serves, although the disk of the only member hangs")
    relief.answer(pair, member)
    must_serve(world, member, f"I12: {member.name} does not serve, although its disk answers")
    return True


def _hang_for_a_while(world: CoreWorld, nodes: Collection[SimulatedNode]) -> None:
    pair = world.pair
    for node in nodes:
        pair.hang_disk(node)
    world.go_at(Pace(nodes=dict.fromkeys(NODES, CLIENTS), relief=0.0))
    # What both disks had answered before may be acknowledged as long as the session lasts.
    world.go_on_until(lambda: not any(node.link.session for node in nodes), SERVE_S, "the session does not end")
    end_s = pair.clock.now_s + world.random.uniform(*HANGS_S)
    before = pair.clients.acknowledged
    world.go_on_until(lambda: pair.clock.now_s >= end_s, SERVE_S, "time does not pass while a disk hangs")
    if pair.clients.acknowledged > before:
        raise world.failure("I2: a write is acknowledged, although a disk that it needs hangs")
