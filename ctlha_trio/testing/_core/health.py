"""What is demanded of a healthy pair.

It serves, knows that it is protected, tells the end of all that it was asked for, repairs what one copy has, and
changes the roles when somebody wants that.
"""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final, Protocol

from ctlha_trio.ha import judge
from ctlha_trio.pair import OperationKind, Phase, events as ev
from ctlha_trio.testing._core.node import SimulatedNode
from ctlha_trio.testing._core.pair import SimulatedPair
from ctlha_trio.testing._core.volume import BLOCKS

HEALTH_S: Final = 60.0
"""For each demand. Simulated; polls of the record, one a second, tell that the arbiter answers."""
WRITES: Final = 10
"""Each block at least once."""
WRITES_BETWEEN: Final = 2
"""Where trouble begins again: what it finds is worth more of the run's events."""
TRIES: Final = 5
"""Of a handover, whose timer has no deadline but a rate, and of a verification, which may have passed a block before it
decayed.
"""


class Healed(Protocol):
    """A pair in which nothing is wrong, and both nodes are together."""

    random: Random
    pair: SimulatedPair

    def feed(self, node: SimulatedNode, event: ev.Event) -> None:
        """Let a node take an event."""

    def request(self, node: SimulatedNode, event: ev.HandoverAsked | ev.VerifyAsked) -> None:
        """Ask a node for something, as an operator."""

    def go_on_until(self, reached: Callable[[], bool], limit_s: float, otherwise: str) -> None:
        """Let the next things happen."""

    def failure(self, what: str) -> AssertionError:
        """What is wrong, with the seed and the last events."""


def demand_health(world: Healed) -> None:
    """``AssertionError`` for what a healthy pair does not do, in brief."""
    world.go_on_until(partial(_all_told, world), HEALTH_S, "I12: what an operator asked for does not end")
    _repairs(world)
    _serves(world, WRITES_BETWEEN)


def demand_service(world: Healed) -> None:
    """The same of a pair that has just proved to be healthy: it serves for a while, changes the roles, and serves."""
    _serves(world, WRITES)
    _hands_over(world)
    _serves(world, WRITES_BETWEEN)


def _primary(world: Healed) -> SimulatedNode:
    nodes = world.pair.nodes.values()
    return next(node for node in nodes if node.state is not None and node.state.phase is Phase.MIRRORING)


def _serves(world: Healed, writes: int) -> None:
    pair, primary = world.pair, _primary(world)
    secondary = pair.nodes[primary.peer]
    clients, first = pair.clients, world.random.randrange(BLOCKS)
    kinds = [OperationKind.WRITE] * writes + [OperationKind.READ, OperationKind.FLUSH]
    enough = clients.done + len(kinds) + 2
    for place, kind in enumerate(kinds, first):
        world.feed(primary, clients.ask_for(primary, kind, 0 if kind is OperationKind.FLUSH else place % BLOCKS))
    for kind in (OperationKind.WRITE, OperationKind.READ):
        world.feed(secondary, clients.ask_for(secondary, kind, first))
    world.go_on_until(lambda: clients.done >= enough, HEALTH_S, "I12: a healthy pair does not serve")
    world.go_on_until(
        lambda: all(node.state and judge(node.state)[0] == "protected" for node in pair.nodes.values()),
        HEALTH_S,
        "I12: a healthy node does not say that it is protected",
    )


def _repairs(world: Healed) -> None:
    nodes = world.pair.nodes.values()
    for _ in range(TRIES):
        if not any(node.damaged for node in nodes):
            return
        world.request(_primary(world), ev.VerifyAsked())
        world.go_on_until(partial(_all_told, world), HEALTH_S, "I12: a healthy pair does not compare its copies")
    raise world.failure("I12: a healthy pair compares its copies, and does not repair them")


def _hands_over(world: Healed) -> None:
    before = world.pair.arbiter.truth.primary
    for _ in range(TRIES):
        primary = _primary(world)
        if primary.name != before:
            return
        world.request(primary, ev.HandoverAsked())
        world.go_on_until(
            lambda: _all_told(world) and any(_mirrors(node) for node in world.pair.nodes.values()),
            HEALTH_S,
            "I12: a healthy pair does not end a change of roles",
        )
    if _primary(world).name == before:
        raise world.failure("I12: a healthy pair refuses to change the roles")


def _all_told(world: Healed) -> bool:
    """Whether everybody who asked for something knows what became of it."""
    return not any(node.requests for node in world.pair.nodes.values())


def _mirrors(node: SimulatedNode) -> bool:
    return node.state is not None and node.state.phase is Phase.MIRRORING
