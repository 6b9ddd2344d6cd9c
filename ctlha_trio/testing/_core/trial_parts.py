"""What the trials of a simulated pair have in common: a part of it is left alone, and must serve or must not."""

from collections.abc import Callable, Sequence
from typing import Final

from ctlha_trio.pair import Phase, events as ev
from ctlha_trio.testing._core.arbiter import Kept
from ctlha_trio.testing._core.clients import FLIGHTS_MAX
from ctlha_trio.testing._core.node import SimulatedNode
from ctlha_trio.testing._core.trouble import NodePace, Pace
from ctlha_trio.testing._core.world import CoreWorld

SERVE_S: Final = 60.0
"""Simulated. Twenty times what a member that boots waits for its peer: timers have no deadline here, but a rate."""
WRITES: Final = FLIGHTS_MAX + 2
"""That a healthy core must acknowledge: more than can have been under way, and on both copies, when it was left."""
FRUITLESS_S: Final = 20.0
"""For which one that must not serve is asked."""
FRUITLESS_BOOT: Final = 0.5
"""Starts a second of a node that ended: what cannot serve is not worth more of the run's events."""
STANDING_CLOCK: Final = 1e-4
"""No timer fires before something else has happened."""
CLIENTS: Final = NodePace(clients=100.0)

Trial = Callable[[CoreWorld], bool]
"""False if the pair is in no state for it."""


def is_in(node: SimulatedNode, phase: Phase) -> bool:
    """Whether its process is in that phase."""
    return node.state is not None and node.state.phase is phase


def keep_down(world: CoreWorld, node: SimulatedNode) -> None:
    """End its process, and let nobody start another one."""
    node.kept_down = True
    if node.state is not None:
        world.pair.take_down(node, "crashes, and nobody starts it")


def one_serves_alone(world: CoreWorld) -> tuple[SimulatedNode, SimulatedNode]:
    """A healthy pair of which one node goes down, and the other one, which acknowledges what the first lacks."""
    world.heal()
    away, member = world.random.sample(list(world.pair.nodes.values()), 2)
    keep_down(world, away)
    must_serve(world, member, f"I12: {member.name} is a member and has the arbiter, but does not serve")
    return away, member


def must_serve(world: CoreWorld, node: SimulatedNode, otherwise: str) -> None:
    """It acknowledges enough writes, whoever else is there."""
    clients = world.pair.clients
    enough = clients.acknowledged + WRITES
    world.go_at(Pace(nodes={node.name: CLIENTS}, relief=0.0))
    world.go_on_until(lambda: clients.acknowledged >= enough, SERVE_S, otherwise)


def request_force(world: CoreWorld, chosen: SimulatedNode) -> None:
    """An operator asks that of a node, with the record that it knows."""
    assert chosen.state is not None
    revision = chosen.state.revision
    world.pair.invariants.shown[chosen.name] = revision
    world.request(chosen, ev.ForceAsked(chosen.peer, f"{world.random.getrandbits(64):016x}", revision))


def force(world: CoreWorld, chosen: SimulatedNode) -> None:
    """An operator forces a node, and the node ends that."""
    request_force(world, chosen)
    world.go_on_until(lambda: not is_in(chosen, Phase.CLAIMING), SERVE_S, f"{chosen.name} is not forced")


def must_not_serve(world: CoreWorld, otherwise: str) -> None:
    """Neither node answers what it is asked from now on, for a while."""
    pair = world.pair
    # A read that was fetched before may be answered now: it ends with what was true when it was asked.
    before, end_s = pair.clients.tickets, pair.clock.now_s + FRUITLESS_S
    world.go_at(Pace(nodes=dict.fromkeys(pair.nodes, CLIENTS), boot=FRUITLESS_BOOT, relief=0.0))
    world.go_on_until(lambda: pair.clock.now_s >= end_s, 2 * FRUITLESS_S, otherwise)
    if pair.clients.latest_done > before:
        raise world.failure(otherwise)


def restore(world: CoreWorld, copies: Sequence[Kept], what: str) -> bool:
    """Put the arbiter back to one of these, if there is one. Whether there was; ``what``: as which fault it counts."""
    if not copies:
        return False
    pair, old = world.pair, world.random.choice(copies)
    pair.arbiter.late.clear()
    pair.arbiter.displace(old.record, old.revision)
    pair.note("-", f"the arbiter is restored to epoch {old.record.epoch} r{old.revision}")
    pair.happened["arbiter_displacements"] += 1
    pair.faults_done[what] += 1
    pair.excuse_all("arbiter-went-back")
    return True


def has_persisted(node: SimulatedNode) -> bool:
    """Whether its process runs, and its disk has done all that it was asked."""
    return node.state is not None and node.state.persisting is None and not node.disk
