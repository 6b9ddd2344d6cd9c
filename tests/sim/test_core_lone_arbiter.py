"""The arbiter is lost for one node, or both, while the connection flaps and disks are slow: the two go on together.

Whoever claims meanwhile is left in doubt for as long as its way to the arbiter is cut, and may not.
"""

from collections.abc import Callable
from random import Random

import pytest

from ctlha_trio.pair import (
    OperationKind,
    Phase,
    SwapOutcome,
    _membership as membership,
    _sessions as sessions,
    actions as act,
    events as ev,
    messages as msg,
)
from ctlha_trio.pair._state import PairState, Stage
from ctlha_trio.pair._step import Step
from ctlha_trio.testing._core.node import NODES, SimulatedNode
from ctlha_trio.testing._core.pair import SimulatedPair
from ctlha_trio.testing._core.trial_parts import SERVE_S, WRITES, keep_down, must_serve
from ctlha_trio.testing._core.trouble import NodePace, Pace
from ctlha_trio.testing._core.world import CoreWorld

SEEDS = range(12)
CUTS = ("a",), ("b",), NODES
STUCK = "I12: two nodes that were connected again do not go on"
HELD = "I12: the only member holds its clients for an arbiter that is lost for it"


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Nodes whose way to the arbiter is cut: reads fail, and of swaps nobody knows."""
    lost, plain = set[str](), SimulatedPair.go_on_with_arbiter_call

    def go_on(pair: SimulatedPair, node: SimulatedNode) -> None:
        oldest = node.calls[0]
        if node.name in lost and oldest.answer is None:
            match oldest.call:
                case act.Swap(record=record):
                    oldest.answer = ev.Swapped(record.proposal, SwapOutcome.UNKNOWN)
                case act.ReadRecord():
                    oldest.answer = ev.ReadFailed()
        else:
            plain(pair, node)

    monkeypatch.setattr(SimulatedPair, "go_on_with_arbiter_call", go_on)
    return lost


def flap(seed: int, names: tuple[str, ...], cut: set[str]) -> None:
    """Both write, each at its own pace, while the connection comes and goes. ``AssertionError`` if they stay apart.

    Where neither has the arbiter, both know that before.
    """
    world, random = CoreWorld(seed, ()), Random(seed)
    cut.clear()
    world.heal()
    cut.update(names)
    if len(names) == len(NODES):
        for node in world.pair.nodes.values():
            world.feed(node, ev.ReadFailed())
    for _ in range(random.randint(1, 4)):
        world.go_at(
            Pace(
                nodes={
                    name: NodePace(
                        clients=100.0,
                        kinds=(OperationKind.WRITE,),
                        disk=random.choice((2.5, 250.0, 1000.0)),
                        clock=random.choice((0.1, 1.0, 10.0)),
                        link=random.choice((250.0, 1000.0)),
                    )
                    for name in NODES
                },
                relief=0.0,
                connect=random.choice((50.0, 1000.0)),
            )
        )
        for _ in range(random.randint(5, 60)):
            world.step()
        world.pair.link.close()
        for _ in range(random.randint(1, 60)):
            world.step()
    wanted = world.pair.clients.acknowledged + WRITES
    world.go_at(Pace(nodes=dict.fromkeys(NODES, NodePace(clients=100.0, kinds=(OperationKind.WRITE,))), relief=0.0))
    world.go_on_until(lambda: world.pair.clients.acknowledged >= wanted, SERVE_S, STUCK)


def admit(seed: int, cut: set[str]) -> None:
    """The only member, which has lost the arbiter, meets the other node again, which has it, and copies everything."""
    world = CoreWorld(seed, ())
    cut.clear()
    world.heal()
    other, member = world.random.sample(list(world.pair.nodes.values()), 2)
    keep_down(world, other)
    must_serve(world, member, "I12: the only member does not serve")
    cut.add(member.name)
    world.feed(member, ev.ReadFailed())
    other.kept_down = False
    writing = NodePace(clients=20.0, kinds=(OperationKind.WRITE,))
    quiet = NodePace(clients=0.0, kinds=(OperationKind.WRITE,))
    world.go_at(Pace(nodes={member.name: writing, other.name: quiet}, relief=0.0))
    world.go_on_until(lambda: _is_copied(member), SERVE_S, "nothing is copied")
    wanted = world.pair.clients.acknowledged + WRITES
    world.go_on_until(lambda: world.pair.clients.acknowledged >= wanted, SERVE_S, HELD)


def _is_copied(member: SimulatedNode) -> bool:
    state = member.state
    return state is not None and state.resync is not None and state.resync.cursor >= state.size_bytes


@pytest.mark.parametrize("names", CUTS, ids="".join)
@pytest.mark.parametrize("seed", SEEDS)
def test_two_that_are_connected_again_go_on(seed: int, names: tuple[str, ...], cut: set[str]) -> None:
    flap(seed, names, cut)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_only_member_serves_on_beside_a_copy_that_is_ready(seed: int, cut: set[str]) -> None:
    admit(seed, cut)


def flap_all(cut: set[str]) -> None:
    for seed in range(40):
        for names in CUTS:
            flap(seed, names, cut)


def admit_all(cut: set[str]) -> None:
    for seed in SEEDS:
        admit(seed, cut)


# The same with a rule broken: these would find it.


def the_secondary_claims_although_it_is_still_paired(step: Step, peer: msg.Standing) -> None:
    if sessions.still_paired(step, peer):
        if step.state.primary:
            step.cancel_timer(ev.Timer.CLAIM)
    elif peer.phase is not Phase.CLAIMING:
        membership.claim(step, f"the peer is {peer.phase.name.lower()}")


def whoever_lost_its_peer_claims_from_an_arbiter_that_is_silent(step: Step, why: str) -> None:
    step.cancel_timer(ev.Timer.CLAIM)
    step.cancel_timer(ev.Timer.PEER_WAIT)
    step.change(renewing=False)
    step.move(Phase.CLAIMING, why, Stage.PERSISTING)
    step.intend(step.successor(primary=step.state.me, members=(step.state.me,)))


@pytest.mark.parametrize(
    ("module", "name", "mutant"),
    [
        (sessions, "_suspended", the_secondary_claims_although_it_is_still_paired),
        (membership, "claim", whoever_lost_its_peer_claims_from_an_arbiter_that_is_silent),
    ],
)
def test_a_claim_that_leaves_one_in_doubt_is_found(
    monkeypatch: pytest.MonkeyPatch, cut: set[str], module: object, name: str, mutant: Callable[..., None]
) -> None:
    monkeypatch.setattr(module, name, mutant)
    with pytest.raises(AssertionError, match=STUCK):
        flap_all(cut)


def test_an_admission_that_holds_its_clients_is_found(monkeypatch: pytest.MonkeyPatch, cut: set[str]) -> None:
    monkeypatch.setattr(PairState, "arbiter_takes", property(lambda _: True))
    with pytest.raises(AssertionError, match=HELD):
        admit_all(cut)
