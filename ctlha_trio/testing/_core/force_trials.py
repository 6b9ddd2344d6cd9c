"""Trials of what a person forces: of the node that was abandoned, which lives or comes back."""

from ctlha_trio.pair import Phase, events as ev
from ctlha_trio.testing._core.faults import show_another_line
from ctlha_trio.testing._core.node import SimulatedNode
from ctlha_trio.testing._core.trial_parts import CLIENTS, SERVE_S, STANDING_CLOCK, is_in, keep_down, must_serve
from ctlha_trio.testing._core.trouble import NodePace, Pace
from ctlha_trio.testing._core.world import CoreWorld


def another_line_passes(world: CoreWorld) -> bool:
    """An abandoned node is shown another line for a while, of the epoch and the revision that the chosen one claims."""
    world.heal()
    pair = world.pair
    abandoned, chosen = world.random.sample(list(pair.nodes.values()), 2)
    keep_down(world, abandoned)
    pair.take_down(chosen, "is switched off")
    world.go_at(Pace(relief=0.0))
    world.go_on_until(lambda: is_in(chosen, Phase.WAITING), SERVE_S, f"{chosen.name} does not wait")
    _force(world, chosen)
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
    """A person says that the only member is off, which cannot be heard: it stops to serve, though nobody tells it."""
    world.heal()
    pair = world.pair
    abandoned, chosen = world.random.sample(list(pair.nodes.values()), 2)
    keep_down(world, chosen)
    must_serve(world, abandoned, f"I12: {abandoned.name} is a member and has the arbiter, but does not serve")
    pair.partition()
    chosen.kept_down = False
    world.go_at(Pace(nodes={abandoned.name: CLIENTS}, relief=0.0))
    world.go_on_until(lambda: is_in(chosen, Phase.OUTDATED), SERVE_S, f"{chosen.name} is not outdated")
    _force(world, chosen)
    if pair.arbiter.truth.members != (chosen.name,):
        return False
    world.go_on_until(
        lambda: not pair.clients.abandoned, SERVE_S, f"I4: {abandoned.name} serves on although it was abandoned"
    )
    must_serve(world, chosen, f"I12: {chosen.name} was forced, but does not serve")
    return True


def _force(world: CoreWorld, chosen: SimulatedNode) -> None:
    """An operator forces a node, with the record that it knows."""
    assert chosen.state is not None
    revision = chosen.state.revision
    world.pair.invariants.shown[chosen.name] = revision
    world.request(chosen, ev.ForceAsked(chosen.peer, f"{world.random.getrandbits(64):016x}", revision))
    world.go_on_until(lambda: not is_in(chosen, Phase.CLAIMING), SERVE_S, f"{chosen.name} is not forced")
