"""Each invariant's check finds what it is there for: planted in a pair that is whole."""

from collections.abc import Callable

import attrs
import pytest

from ctlha_trio.pair import (
    COPIES_AT_ONCE,
    Copy,
    Operation,
    OperationKind,
    Outcome,
    PairState,
    Phase,
    actions as act,
    events as ev,
)
from ctlha_trio.testing._core.node import ArbiterCall, SimulatedNode
from ctlha_trio.testing._core.pair import SimulatedPair
from ctlha_trio.testing._core.trouble import NodePace, Pace
from ctlha_trio.testing._core.world import CoreWorld

WRITES = (OperationKind.WRITE,)


@attrs.frozen(eq=False)
class Served:
    """A pair in which clients have written every block, and nothing is under way."""

    pair: SimulatedPair
    primary: SimulatedNode
    secondary: SimulatedNode

    @property
    def state(self) -> PairState:
        assert self.primary.state is not None
        return self.primary.state

    def answer(self, node: SimulatedNode, before: Phase = Phase.MIRRORING) -> None:
        """A client's write is said to be done, though nobody has written anything."""
        asked = self.pair.clients.ask(node, WRITES)
        self.pair.invariants.answered(node, before, act.Answer(asked.ticket, Outcome.DONE))

    def step(self, after: PairState, event: ev.Event = ev.ReadFailed(), *ordered: act.Action) -> None:  # noqa: B008
        self.pair.invariants.stepped(self.primary, self.state, after, event, ordered)


@pytest.fixture
def served() -> Served:
    world = CoreWorld(3)
    pair = world.pair
    world.heal()
    world.go_at(Pace(nodes=dict.fromkeys(pair.nodes, NodePace(clients=100.0, kinds=WRITES))))
    world.go_on_until(lambda: all(pair.nodes["a"].blocks), 10.0, "nothing is served")
    world.heal()
    assert pair.clients.acknowledged
    a, b = pair.nodes.values()
    assert a.state is not None
    return Served(pair, a, b) if a.state.phase is Phase.MIRRORING else Served(pair, b, a)


def test_two_that_acknowledge_in_one_epoch(served: Served) -> None:
    with pytest.raises(AssertionError, match=r"^I1, I4: "):
        served.answer(served.secondary)


def test_an_acknowledgement_in_an_epoch_that_the_arbiter_never_made(served: Served) -> None:
    assert served.state.record is not None
    served.primary.state = attrs.evolve(served.state, record=attrs.evolve(served.state.record, epoch=99))
    with pytest.raises(AssertionError, match=r"^I1, I4: "):
        served.answer(served.primary)


def test_an_acknowledged_write_that_is_not_on_every_member(served: Served) -> None:
    with pytest.raises(AssertionError, match=r"^I2: "):
        served.answer(served.primary)


def test_an_outsider_that_is_made_primary_within_the_line(served: Served) -> None:
    alone = served.state.record
    assert alone is not None
    alone = alone.succeed(primary=served.primary.name, members=(served.primary.name,), proposal="p")
    promoted = alone.succeed(primary=served.secondary.name, members=(served.secondary.name,), proposal="q")
    with pytest.raises(AssertionError, match=r"^I4: "):
        served.pair.invariants.recorded(alone, promoted)
    forked = attrs.evolve(promoted, lineage="forked")
    with pytest.raises(AssertionError, match=r"is forced on a record that nobody was shown"):
        served.pair.invariants.recorded(alone, forked)
    served.pair.invariants.shown[promoted.primary] = served.pair.arbiter.revision - 1
    served.pair.invariants.recorded(alone, forked)


def test_a_stale_read(served: Served) -> None:
    pair = served.pair
    asked = pair.clients.ask(served.primary, (OperationKind.READ,))
    pair.clients.values[asked.ticket] = 0
    with pytest.raises(AssertionError, match=r"block \d: 0 is found again after \d+ had replaced it"):
        pair.invariants.answered(served.primary, Phase.MIRRORING, act.Answer(asked.ticket, Outcome.DONE))


def test_an_acknowledgement_before_the_epoch_is_durable(served: Served) -> None:
    served.primary.metadata = attrs.evolve(served.primary.metadata, epoch=served.state.epoch - 1)
    with pytest.raises(AssertionError, match=r"^I6: .* has persisted"):
        served.answer(served.primary)


def test_an_acknowledgement_after_the_role_was_lost(served: Served) -> None:
    served.primary.state = attrs.evolve(served.state, phase=Phase.SUSPENDED)
    with pytest.raises(AssertionError, match=r"^I8: "):
        served.answer(served.primary, before=Phase.SUSPENDED)


def test_an_epoch_or_a_revision_that_goes_back(served: Served) -> None:
    state = served.state
    assert state.record is not None
    earlier = attrs.evolve(state.record, epoch=state.epoch - 1)
    for after in (attrs.evolve(state, record=earlier), attrs.evolve(state, record=earlier, revision=0)):
        with pytest.raises(AssertionError, match=r"^I6: .* went back"):
            served.step(after)
    with pytest.raises(AssertionError, match=r"^I6: .* has persisted"):
        served.pair.invariants.stepped(
            served.primary,
            attrs.evolve(state, record=None, revision=0),
            attrs.evolve(state, revision=0),
            ev.ReadFailed(),
            (),
        )


def test_metadata_that_goes_back(served: Served) -> None:
    for changed in (
        attrs.evolve(served.primary.metadata, epoch=served.state.epoch - 1),
        attrs.evolve(served.primary.metadata, revision=served.state.revision - 1),
    ):
        with pytest.raises(AssertionError, match=r"^I6: "):
            served.pair.invariants.persisted(served.primary, act.Persist(changed))


def test_a_member_whose_copy_is_half_overwritten(served: Served) -> None:
    served.secondary.metadata = attrs.evolve(served.secondary.metadata, copy=Copy.RESYNCING)
    with pytest.raises(AssertionError, match=r"^I4: "):
        served.pair.invariants.check_members()


def test_a_resync_that_ends_on_different_copies(served: Served) -> None:
    pair, record = served.pair, served.pair.arbiter.record
    alone = attrs.evolve(record, members=(served.primary.name,))
    pair.clients.history.called(1000, OperationKind.WRITE, 0)
    pair.clients.history.lost(1000)
    served.secondary.blocks[0] = 1000
    with pytest.raises(AssertionError, match=r"^I7: "):
        pair.invariants.recorded(alone, record)


def test_a_crash_that_takes_the_only_copy_of_a_protected_pair(served: Served) -> None:
    served.secondary.blocks[0] = 0
    with pytest.raises(AssertionError, match=r"^I10: "):
        served.pair.invariants.crash(served.primary)


def test_a_call_of_the_arbiter_for_an_operation(served: Served) -> None:
    for event in (ev.Submitted(1, Operation(OperationKind.READ, 1, 1, 0, 1)), ev.Stored(1), ev.Fetched(1)):
        with pytest.raises(AssertionError, match=r"^I11: "):
            served.step(served.state, event, act.ReadRecord())


@pytest.mark.parametrize(
    "fill",
    [
        lambda node: node.calls.extend([ArbiterCall(act.ReadRecord())] * 5),
        lambda node: node.held.update({number: {} for number in range(COPIES_AT_ONCE + 1)}),
        lambda node: node.disk.extend([None] * 65),
    ],
)
def test_a_queue_beyond_its_limit(served: Served, fill: Callable[[SimulatedNode], None]) -> None:
    fill(served.primary)
    with pytest.raises(AssertionError, match=r"^I14: "):
        served.step(served.state)


def test_a_node_that_stops_without_cause(served: Served) -> None:
    served.primary.state = attrs.evolve(served.state, phase=Phase.STOPPED, why="twin")
    with pytest.raises(AssertionError, match=r"^I15: "):
        served.pair.take_down_ended(served.primary)
