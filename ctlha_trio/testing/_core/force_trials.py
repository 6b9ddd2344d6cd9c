"""Trials of what a person forces: of the node that was abandoned, which lives or comes back, and of a late swap."""

from typing import Final

import attrs

from ctlha_trio.pair import Phase, actions as act
from ctlha_trio.testing._core import relief
from ctlha_trio.testing._core.faults import show_another_line
from ctlha_trio.testing._core.node import SimulatedNode
from ctlha_trio.testing._core.trial_parts import (
    CLIENTS,
    SERVE_S,
    STANDING_CLOCK,
    force,
    is_in,
    keep_down,
    must_serve,
    one_serves_alone,
    request_force,
)
from ctlha_trio.testing._core.trouble import NodePace, Pace
from ctlha_trio.testing._core.world import CoreWorld

TOLD_CHANCE: Final = 0.5


def another_line_passes(world: CoreWorld) -> bool:
    """An abandoned node is shown another line for a while, of the epoch and the revision that the chosen one claims."""
    world.heal()
    pair = world.pair
    abandoned, chosen = world.random.sample(list(pair.nodes.values()), 2)
    keep_down(world, abandoned)
    pair.take_down(chosen, "is switched off")
    world.go_at(Pace(relief=0.0))
    world.go_on_until(lambda: is_in(chosen, Phase.WAITING), SERVE_S, f"{chosen.name} does not wait")
    force(world, chosen)
    if len(pair.arbiter.truth.members) > 1:
        return False
    keep_down(world, chosen)
    show_another_line(pair, 1)
    abandoned.kept_down = False
    world.go_on_until(lambda: is_in(abandoned, Phase.OUTDATED), SERVE_S, f"{abandoned.name} is not outdated")
    world.relieve()
    world.go_at(Pace(nodes={abandoned.name: NodePace(clock=STANDING_CLOCK)}, relief=0.0))
    world.go_on_until(
        lambda: abandoned.ended or is_in(abandoned, Phase.RESYNCING), SERVE_S, f"{abandoned.name} follows nobody"
    )
    return True


def an_abandoned_node_finds_out(world: CoreWorld) -> bool:
    """A person says that the only member is off, which cannot be heard: it stops to serve, though nobody tells it.

    Or its peer does, before the arbiter answers.
    """
    chosen, abandoned = one_serves_alone(world)
    pair = world.pair
    pair.partition()
    chosen.kept_down = False
    world.go_at(Pace(nodes={abandoned.name: CLIENTS}, relief=0.0))
    world.go_on_until(lambda: is_in(chosen, Phase.OUTDATED), SERVE_S, f"{chosen.name} is not outdated")
    force(world, chosen)
    if pair.arbiter.truth.members != (chosen.name,):
        return False
    if world.random.random() < TOLD_CHANCE:
        world.go_at(Pace(nodes={abandoned.name: attrs.evolve(CLIENTS, arbiter=1e-3)}, relief=0.0))
        relief.end_partition(pair)
        world.go_on_until(
            lambda: not is_in(abandoned, Phase.ALONE) or not pair.clients.abandoned,
            SERVE_S,
            f"I8: {abandoned.name} serves on although its peer has told of a later record",
        )
        world.go_at(Pace(nodes={abandoned.name: CLIENTS}, relief=0.0))
    world.go_on_until(
        lambda: not pair.clients.abandoned, SERVE_S, f"I4: {abandoned.name} serves on although it was abandoned"
    )
    must_serve(world, chosen, f"I12: {chosen.name} was forced, but does not serve")
    return True


def a_forced_swap_may_come_late(world: CoreWorld) -> bool:
    """A node dies behind what it was forced to, and comes back to the other one, which was not off.

    That one moves the record before it overwrites this copy. For as long as the arbiter takes no change, it serves on.
    """
    chosen, member = one_serves_alone(world)
    pair = world.pair
    pair.partition()
    chosen.kept_down = False
    world.go_at(Pace(relief=0.0))
    world.go_on_until(lambda: is_in(chosen, Phase.OUTDATED), SERVE_S, f"{chosen.name} is not outdated")
    world.go_at(Pace(nodes={chosen.name: NodePace(arbiter=1e-3)}, relief=0.0))
    request_force(world, chosen)
    world.go_on_until(
        lambda: _has_asked_to_swap(chosen) or not is_in(chosen, Phase.CLAIMING), SERVE_S, f"{chosen.name} asks nobody"
    )
    if not _has_asked_to_swap(chosen):
        return False
    revision = pair.arbiter.revision
    pair.take_down(chosen, "crashes")
    pair.arbiter.refuses = True
    relief.end_partition(pair)
    world.go_at(Pace(nodes={member.name: CLIENTS}, relief=0.0))
    world.go_on_until(
        lambda: member.state is not None and member.state.renewing and is_in(member, Phase.ALONE),
        SERVE_S,
        f"I12: {member.name} does not try to move the record, or does not serve on although it was not moved",
    )
    must_serve(world, member, f"I12: {member.name} does not serve, although its arbiter has only refused a change")
    pair.arbiter.refuses = False
    world.go_on_until(lambda: pair.arbiter.revision > revision, SERVE_S, f"I12: {member.name} does not move the record")
    return True


def _has_asked_to_swap(node: SimulatedNode) -> bool:
    return any(isinstance(each.call, act.Swap) and each.answer is None for each in node.calls)
