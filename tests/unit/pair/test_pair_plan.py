"""What is predicted of a change of roles is what comes of it, in every state that simulated trouble leads to."""

from collections import Counter
from random import Random

import attrs
import pytest

from ctlha_trio._errors import CtlHaError
from ctlha_trio.pair import (
    FailoverObstacle,
    Obstacle,
    PairState,
    Phase,
    Record,
    actions as act,
    can_hand_over,
    events as ev,
    handover_obstacles,
    plan_failover,
    plan_force,
    plan_handover,
    step_pair,
)
from ctlha_trio.testing._core.log import EventLine
from ctlha_trio.testing._core.world import CoreWorld

SEEDS = 40
STEPS = 900
FAILOVERS = ("failover", "goes on alone", "would not serve")
NEW_LINE = "new line"
NOT_OF_CORES = Obstacle.VERSION_DIFFERS, Obstacle.PEER_COMPONENTS
"""What no core knows of."""


def of_kind(ordered: tuple[act.Action, ...], kind: type[act.Action]) -> list[act.Action]:
    return [action for action in ordered if isinstance(action, kind)]


@attrs.define(eq=False)
class Foresight:
    """Asks at every state of both nodes what would be, tries it on a copy, and sees what becomes of what began."""

    world: CoreWorld
    tried: set[PairState] = attrs.Factory(set)
    met: Counter[str] = attrs.Factory(Counter)
    begun: dict[str, Record] = attrs.Factory(dict)

    def look(self) -> None:
        for node in self.world.pair.nodes.values():
            if node.state is not None and node.state not in self.tried:
                self.tried.add(node.state)
                self._try_handover(node.state)
                self._try_force(node.state)
                self._try_failover(node.state)
                # An arbiter that was silent, or refused, may answer when it is asked to swap.
                plan = plan_handover(attrs.evolve(node.state, arbiter_answers=True, untaken=0))
                if plan.after is not None:
                    self.begun[node.name] = plan.after

    def _try_failover(self, state: PairState) -> None:
        """The peer dies, and nothing else happens until this node has asked the arbiter."""
        plan = plan_failover(state)
        lost, _ = step_pair(state, ev.SessionLost(ev.Loss.CLOSED)) if state.session else (state, ())
        claimed, _ = step_pair(lost, ev.TimerFired(ev.Timer.CLAIM))
        if plan.steps:
            assert claimed.phase is Phase.CLAIMING
            assert claimed.swap is not None
            assert claimed.swap.record == plan.after
            self.met["failover"] += 1
        elif plan.after is not None:
            assert (claimed.phase, claimed.record) == (Phase.ALONE, plan.after)
            self.met["goes on alone"] += 1
        elif plan.obstacle is FailoverObstacle.OUTDATED:
            assert claimed.phase in {Phase.OUTDATED, Phase.RESYNCING}
            self.met["would not serve"] += 1

    def _try_handover(self, state: PairState) -> None:
        plan = plan_handover(state)
        after, ordered = step_pair(state, ev.HandoverAsked())
        refused = bool(of_kind(ordered, act.HandoverEnded))
        assert refused is not can_hand_over(state)
        assert refused is bool(set(plan.obstacles) - {Obstacle.ARBITER_SILENT, Obstacle.ARBITER_REFUSES})
        assert (after.phase is Phase.HANDING_OVER and not refused) or after == state
        assert bool(plan.obstacles) == (plan.after is None) == (not plan.steps)
        assert (plan.before, plan.revision) == (state.record, state.revision)
        self.met.update([obstacle.value for obstacle in plan.obstacles] or ["accepted"])

    def _try_force(self, state: PairState) -> None:
        after, ordered = step_pair(state, ev.ForceAsked(state.peer, NEW_LINE, state.revision))
        ended = of_kind(ordered, act.ForceEnded)
        if ended:
            with pytest.raises(CtlHaError) as refusal:
                plan_force(state, state.peer, NEW_LINE)
            assert ended == [act.ForceEnded(str(refusal.value))]
        else:
            plan = plan_force(state, state.peer, NEW_LINE)
            for _ in range(after.persists):
                after, ordered = step_pair(after, ev.Persisted(after.persisting or after.metadata))
            assert of_kind(ordered, act.Swap) == [act.Swap(plan.revision, plan.after)]
            self.met["forced"] += 1

    def hear(self, line: EventLine) -> None:
        """What a handover really proposes is what was foreseen before it was begun."""
        for action in of_kind(line.ordered, act.Swap):
            assert isinstance(action, act.Swap)
            if line.before is line.after is Phase.HANDING_OVER:
                assert attrs.evolve(action.record, proposal="") == attrs.evolve(self.begun[line.node], proposal="")
                self.met["came about"] += 1
        self.look()


def test_what_is_foreseen_is_what_comes_of_it() -> None:
    met: Counter[str] = Counter()
    for seed in range(SEEDS):
        # What handovers come to is seen where little else goes wrong.
        world = CoreWorld(seed, ("hand_over", "fail_arbiter") if seed % 3 == 0 else None)
        foresight = Foresight(world)
        world.pair.history.watch = foresight.hear
        world.heal()
        foresight.look()
        for step in range(STEPS):
            if step % 300 == 0:
                world.run(1)
                foresight.look()
            world.step()
        met += foresight.met
    reached = {obstacle.value for obstacle in Obstacle} - {each.value for each in NOT_OF_CORES}
    assert met.keys() >= reached | {"accepted", "came about", "forced", *FAILOVERS}, met


def healthy_primary() -> PairState:
    world = CoreWorld(0)
    world.heal()
    (state,) = [node.state for node in world.pair.nodes.values() if node.state and can_hand_over(node.state)]
    return state


def test_a_peer_whose_components_do_not_run_is_an_obstacle() -> None:
    state = healthy_primary()
    assert handover_obstacles(state, peer_ready=False) == (Obstacle.PEER_COMPONENTS,)
    assert plan_handover(state, peer_ready=False).after is None
    unready = attrs.evolve(state, standing=None)
    assert handover_obstacles(unready, peer_ready=False) == (Obstacle.PEER_NOT_READY,), "nobody could be ready"


def test_a_peer_that_speaks_other_versions_is_an_obstacle() -> None:
    state = healthy_primary()
    assert handover_obstacles(state) == ()
    assert handover_obstacles(state, same_version=False) == (Obstacle.VERSION_DIFFERS,)
    assert plan_handover(state, same_version=False).after is None


def test_the_steps_say_in_order_what_is_durable_where() -> None:
    world = CoreWorld(0)
    world.heal()
    (state,) = [node.state for node in world.pair.nodes.values() if node.state and can_hand_over(node.state)]
    plan = plan_handover(state)
    assert plan.after is not None
    assert (plan.after.primary, plan.after.epoch) == (state.peer, state.epoch + 1)
    places = [step.durable.partition(":")[0] for step in plan.steps]
    me, peer = f"on node {state.me}", f"on node {state.peer}"
    assert places == ["", peer, me, "at the arbiter", me, peer]


@pytest.mark.parametrize("seed", range(6))
def test_a_pair_whose_admissions_are_held_now_and_then_keeps_its_promises_and_heals(seed: int) -> None:
    """Holding is the supervisor's affair and may come at any moment."""
    world, random = CoreWorld(seed), Random(seed)
    for _ in range(4):
        world.run(100)
        for _ in range(400):
            world.step()
            running = [node for node in world.pair.nodes.values() if node.state is not None and not node.paused]
            if running and random.random() < 0.05:
                world.pair.feed(random.choice(running), ev.AdmissionHeld(random.random() < 0.7))
        for node in world.pair.nodes.values():
            if node.state is not None:
                world.pair.feed(node, ev.AdmissionHeld(False))
        world.heal()
