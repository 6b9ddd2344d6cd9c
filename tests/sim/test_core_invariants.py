"""Each invariant's check finds what it is there for: planted in a pair that is whole."""

import attrs
import pytest

from ctlha_trio.pair import (
    Copy,
    Operation,
    OperationKind,
    Outcome,
    PairState,
    Phase,
    Record,
    SwapOutcome,
    actions as act,
    events as ev,
    messages as msg,
)
from ctlha_trio.pair._state import Flight, Resync, SwapAttempt
from ctlha_trio.pair._verification import Verification
from ctlha_trio.testing._core.arbiter import ArbiterCall
from ctlha_trio.testing._core.clients import places_of
from ctlha_trio.testing._core.node import SimulatedNode
from ctlha_trio.testing._core.pair import SimulatedPair
from ctlha_trio.testing._core.trouble import NodePace, Pace
from ctlha_trio.testing._core.volume import BLOCK_BYTES, VOLUME_BYTES
from ctlha_trio.testing._core.world import CoreWorld

WRITES = (OperationKind.WRITE,)
UNUSED = 1 << 20
"""The number of a proposal."""


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

    def answer(self, node: SimulatedNode) -> None:
        """A client's write is said to be done, though nobody has written anything."""
        asked = self.pair.clients.ask(node, WRITES)
        assert node.state is not None
        self.pair.invariants.answered(node, node.state, act.Answer(asked.ticket, Outcome.DONE))

    def step(self, after: PairState, event: ev.Event = ev.ReadFailed(), *ordered: act.Action) -> None:  # noqa: B008
        self.pair.invariants.stepped(self.primary, self.state, after, event, ordered)


@pytest.fixture
def served() -> Served:
    world = CoreWorld(3)
    pair = world.pair
    world.heal()
    world.go_at(Pace(nodes=dict.fromkeys(pair.nodes, NodePace(clients=100.0, kinds=WRITES))))
    world.go_on_until(lambda: all(pair.nodes["a"].sectors), 10.0, "nothing is served")
    world.heal()
    assert pair.clients.acknowledged
    a, b = pair.nodes.values()
    assert a.state is not None
    return Served(pair, a, b) if a.state.phase is Phase.MIRRORING else Served(pair, b, a)


def test_two_that_acknowledge_in_one_epoch(served: Served) -> None:
    with pytest.raises(AssertionError, match=r"^I1, I4: "):
        served.answer(served.secondary)


def test_a_secondary_that_acknowledges_what_its_primary_did_not(served: Served) -> None:
    """Even if both copies hold it."""
    asked = served.pair.clients.ask_for(served.secondary, OperationKind.WRITE, 0)
    for node in (served.primary, served.secondary):
        node.sectors[:2] = [asked.ticket] * 2
    before = served.secondary.state
    assert before is not None
    flight = Flight(asked.ticket, asked.operation, sequence=99, proposal=UNUSED)
    before = attrs.evolve(before, flights=(flight,))
    done = act.Answer(asked.ticket, Outcome.DONE)
    with pytest.raises(AssertionError, match=r"^I1, I4: .* its primary did not$"):
        served.pair.invariants.answered(served.secondary, before, done)
    served.pair.clients.asked[served.secondary.name, asked.ticket] = asked.operation
    served.step(served.state, ev.ReadFailed(), act.Send(msg.Completed(served.state.epoch, UNUSED)))
    served.pair.invariants.answered(served.secondary, before, done)


def test_a_proposal_that_is_called_complete_and_is_not_on_both(served: Served) -> None:
    asked = served.pair.clients.ask_for(served.secondary, OperationKind.WRITE, 0)
    assert served.secondary.state is not None
    flight = Flight(asked.ticket, asked.operation, sequence=99, proposal=UNUSED)
    served.secondary.state = attrs.evolve(served.secondary.state, flights=(flight,))
    served.secondary.sectors[:2] = [asked.ticket] * 2
    with pytest.raises(AssertionError, match=r"^I2: .* is called complete, and [ab] holds"):
        served.step(served.state, ev.ReadFailed(), act.Send(msg.Completed(served.state.epoch, UNUSED)))


def test_a_secondary_that_acknowledges_out_of_session(served: Served) -> None:
    assert served.secondary.state is not None
    served.secondary.state = attrs.evolve(served.secondary.state, session=0)
    with pytest.raises(AssertionError, match=r"^I8: "):
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
    pair.clients.found[asked.ticket] = dict.fromkeys(places_of(asked.operation), 0)
    with pytest.raises(AssertionError, match=r"block \d: 0 is found again after \d+ had replaced it"):
        pair.invariants.answered(served.primary, served.state, act.Answer(asked.ticket, Outcome.DONE))


def test_an_acknowledgement_before_the_epoch_is_durable(served: Served) -> None:
    served.primary.metadata = attrs.evolve(served.primary.metadata, epoch=served.state.epoch - 1)
    with pytest.raises(AssertionError, match=r"^I6: .* has persisted"):
        served.answer(served.primary)


def test_an_acknowledgement_after_the_role_was_lost(served: Served) -> None:
    served.primary.state = attrs.evolve(served.state, phase=Phase.SUSPENDED)
    with pytest.raises(AssertionError, match=r"^I8: "):
        served.answer(served.primary)


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
    served.secondary.sectors[0] = 1000
    with pytest.raises(AssertionError, match=r"^I7: "):
        pair.invariants.recorded(alone, record)


def test_a_crash_that_takes_the_only_copy_of_a_protected_pair(served: Served) -> None:
    served.secondary.sectors[0] = 0
    with pytest.raises(AssertionError, match=r"^I10: "):
        served.pair.invariants.crash(served.primary)


def test_a_call_of_the_arbiter_for_an_operation(served: Served) -> None:
    for event in (ev.Submitted(1, Operation(OperationKind.READ, 1, 1, 0, 1)), ev.Stored(1), ev.Fetched(1)):
        with pytest.raises(AssertionError, match=r"^I11: "):
            served.step(served.state, event, act.ReadRecord())


def test_a_third_call_at_the_arbiter(served: Served) -> None:
    served.primary.calls.extend([ArbiterCall(act.ReadRecord())] * 2)
    served.step(served.state)
    served.primary.calls.append(ArbiterCall(act.ReadRecord()))
    with pytest.raises(AssertionError, match=r"^I14: "):
        served.step(served.state)


def test_a_node_that_does_not_know_whether_its_arbiter_takes_changes(served: Served) -> None:
    """It forgets a refusal, or goes on with one that has ended."""
    plain = served.state
    record, refused = plain.record, attrs.evolve(plain, untaken=1)
    assert record is not None
    swapping = attrs.evolve(plain, swap=SwapAttempt(plain.revision, record, calling=True))
    refusal = ev.Swapped(record.proposal, SwapOutcome.REFUSED)
    proof, failure = (ev.RecordRead(record, plain.revision, takes) for takes in (True, False))
    wrong: list[tuple[PairState, PairState, ev.Event]] = [
        (swapping, plain, refusal),
        (refused, refused, proof),
        (refused, plain, failure),
        (refused, plain, ev.ReadFailed()),
        (refused, plain, ev.TimerFired(ev.Timer.CLAIM)),
    ]
    for before, after, event in wrong:
        served.primary.state = before
        with pytest.raises(AssertionError, match=r"^I15: . does not know whether its arbiter takes changes"):
            served.pair.invariants.stepped(served.primary, before, after, event, ())


def flight(kind: OperationKind, ticket: int, offset: int) -> Flight:
    return Flight(ticket, Operation(kind, ticket, 1, offset, BLOCK_BYTES), sequence=ticket or offset + 1)


def test_an_operation_that_is_forgotten_or_that_nobody_waits_for(served: Served) -> None:
    asked = served.pair.clients.ask_for(served.primary, OperationKind.WRITE, 0)
    with pytest.raises(AssertionError, match=r"^I14: . has \[\] under way, and \[\d+\] are waited for"):
        served.step(served.state, asked)
    under_way = flight(OperationKind.WRITE, asked.ticket, 0)
    served.step(attrs.evolve(served.state, flights=(under_way,)), asked)
    served.step(served.state, asked, act.Answer(asked.ticket, Outcome.NOT_PRIMARY))
    for wrong in ((under_way, under_way), (under_way, flight(OperationKind.WRITE, asked.ticket + 1, 0))):
        with pytest.raises(AssertionError, match=r"^I14: "):
            served.step(attrs.evolve(served.state, flights=wrong), asked)


def test_a_node_that_is_forced_although_it_hears_the_other(served: Served) -> None:
    assert served.state.session
    with pytest.raises(AssertionError, match=r"^. is forced although it hears"):
        served.step(attrs.evolve(served.state, forcing=True))


def departed(served: Served) -> tuple[Record, Record]:
    """The secondary counts no more, and is forced: the record of the only member, and the one that begins a line."""
    both = served.pair.arbiter.truth
    alone = both.succeed(primary=served.primary.name, members=(served.primary.name,), proposal="p")
    served.pair.arbiter.record = alone
    served.pair._recorded(both, alone)
    return alone, alone.fork(primary=served.secondary.name, lineage="forked", proposal="q")


def forced(served: Served, alone: Record, fork: Record) -> None:
    served.pair.arbiter.record = fork
    served.pair.invariants.shown[served.secondary.name] = served.pair.arbiter.revision - 1
    served.pair._recorded(alone, fork)


def written(served: Served, node: SimulatedNode) -> int:
    """Somebody was told that a block is written, and it is, on that node alone."""
    clients = served.pair.clients
    asked = clients.ask_for(node, OperationKind.WRITE, 0)
    clients.answered(node, act.Answer(asked.ticket, Outcome.DONE))
    node.sectors[:2] = [asked.ticket] * 2
    return asked.ticket


def test_a_forced_copy_without_what_was_acknowledged_while_it_counted(served: Served) -> None:
    served.secondary.sectors[0] = 0
    with pytest.raises(AssertionError, match=r"^I2: .*0 is found again after"):
        forced(served, *departed(served))


def test_of_a_disk_that_was_put_back_before_its_node_left_nothing_is_demanded(served: Served) -> None:
    served.secondary.stale = True
    served.secondary.sectors[0] = 0
    forced(served, *departed(served))
    assert served.pair.arbiter.truth.primary == served.secondary.name


def test_nothing_is_demanded_of_a_seal_that_was_on_the_disk_before_another_was_put_back(served: Served) -> None:
    pair, secondary = served.pair, served.secondary
    pair.invariants._sealing[secondary.name] = pair.invariants._now(secondary.name)
    alone, fork = departed(served)
    secondary.metadata = attrs.evolve(secondary.metadata, copy=Copy.SEALED)
    secondary.sectors[0] = 0
    pair.invariants.put_back(secondary)
    pair.invariants.persisted(secondary, act.Persist(secondary.metadata))
    forced(served, alone, fork)
    assert pair.arbiter.truth.primary == secondary.name


def test_what_a_forced_copy_could_not_have_is_forgiven_and_nothing_else(served: Served) -> None:
    alone, fork = departed(served)
    lost = written(served, served.primary)
    served.pair.take_down(served.primary, "crashes")
    forced(served, alone, fork)
    served.pair.invariants.check_members()
    assert not served.pair.clients.history.knows(0, lost)
    served.secondary.sectors[2] = 0
    with pytest.raises(AssertionError, match=r"^I2: "):
        served.pair.invariants.check_members()


def refused_late(served: Served, node: SimulatedNode, *, before: bool) -> None:
    """``node`` says that it did not execute what the secondary has: while that one counted, or after it."""
    clients = served.pair.clients
    asked = clients.ask_for(node, OperationKind.WRITE, 0)
    refusal = act.Answer(asked.ticket, Outcome.NOT_PRIMARY)
    if before:
        clients.answered(node, refusal)
    alone, fork = departed(served)
    if not before:
        clients.answered(node, refusal)
    served.secondary.sectors[:2] = [asked.ticket] * 2
    forced(served, alone, fork)


def test_what_the_abandoned_node_refused_may_be_on_the_forced_copy(served: Served) -> None:
    """It had proposed it before it went alone, and the other one executed that late."""
    refused_late(served, served.primary, before=False)
    assert served.pair.arbiter.truth.primary == served.secondary.name


@pytest.mark.parametrize(("by_forced", "before"), [(False, True), (True, False), (True, True)])
def test_any_other_refusal_is_held_against_the_forced_copy(served: Served, *, by_forced: bool, before: bool) -> None:
    node = served.secondary if by_forced else served.primary
    with pytest.raises(AssertionError, match=r"^I2: .* was found, although it was not to be written"):
        refused_late(served, node, before=before)


def test_what_was_asked_and_refused_since_the_forced_copy_counted_is_not_on_it(served: Served) -> None:
    alone, fork = departed(served)
    asked = served.pair.clients.ask_for(served.primary, OperationKind.WRITE, 0)
    served.pair.clients.answered(served.primary, act.Answer(asked.ticket, Outcome.NOT_PRIMARY))
    served.secondary.sectors[:2] = [asked.ticket] * 2
    with pytest.raises(AssertionError, match=r"^I2: .* was found, although it was not to be written"):
        forced(served, alone, fork)


def test_who_was_abandoned_and_lives_is_held_to_what_its_own_copy_has(served: Served) -> None:
    alone, fork = departed(served)
    forced(served, alone, fork)
    written(served, served.primary)
    written(served, served.secondary)
    asked = served.pair.clients.ask_for(served.primary, OperationKind.READ, 0)
    served.pair.clients.found[asked.ticket] = dict.fromkeys(places_of(asked.operation), 0)
    with pytest.raises(AssertionError, match=r"^I3: "):
        served.pair.clients.answered(served.primary, act.Answer(asked.ticket, Outcome.DONE))
    with pytest.raises(AssertionError, match=r"^I4: . serves although it was abandoned"):
        served.pair.clients.start_over(served.secondary)


def test_a_copy_that_was_sealed_and_forced_lacks_nothing_from_before(served: Served) -> None:
    alone, fork = departed(served)
    kept = served.secondary.sectors[0]
    written(served, served.primary)
    pair, target = served.pair, served.secondary
    target.metadata = attrs.evolve(target.metadata, copy=Copy.RESYNCING)
    admitting = attrs.evolve(served.state, phase=Phase.ADMITTING)
    pair.invariants.stepped(served.primary, admitting, admitting, ev.ReadFailed(), (act.PushSeal(1),))
    pair.invariants.persisted(target, act.Persist(attrs.evolve(target.metadata, copy=Copy.SEALED)))
    assert target.sectors[0] == kept
    with pytest.raises(AssertionError, match=rf"^I2: .*{kept} is found again after"):
        forced(served, alone, fork)


def test_a_half_overwritten_copy_that_passes_for_whole(served: Served) -> None:
    node = served.secondary
    node.metadata = attrs.evolve(node.metadata, copy=Copy.RESYNCING)
    with pytest.raises(AssertionError, match=r"^I4: . takes a copy for whole that is half overwritten"):
        served.pair.invariants.persisted(node, act.Persist(attrs.evolve(node.metadata, copy=Copy.MEMBER)))


def test_a_line_that_nobody_began(served: Served) -> None:
    foreign = attrs.evolve(served.primary.metadata, lineage="foreign")
    with pytest.raises(AssertionError, match=r"persists a line that nobody began: foreign"):
        served.pair.invariants.persisted(served.primary, act.Persist(foreign))


def test_a_node_that_stops_without_cause(served: Served) -> None:
    served.primary.state = attrs.evolve(served.state, phase=Phase.STOPPED, why="twin")
    with pytest.raises(AssertionError, match=r"^I15: "):
        served.pair.take_down_ended(served.primary)


def test_a_record_that_names_only_a_dead_copy(served: Served) -> None:
    served.pair.arbiter.record = attrs.evolve(served.pair.arbiter.record, members=(served.primary.name,))
    served.pair.invariants.check_members()
    served.primary.metadata = attrs.evolve(served.primary.metadata, copy=Copy.FAILED)
    with pytest.raises(AssertionError, match=r"^I2: the arbiter names only nodes whose copies are dead"):
        served.pair.invariants.check_members()


def test_a_pair_that_is_protected_by_who_is_no_member(served: Served) -> None:
    """The record that the arbiter has is not the one by which the node that is left says ``protected``."""
    record = served.pair.arbiter.record
    served.pair.arbiter.record = attrs.evolve(record, members=(served.primary.name,))
    with pytest.raises(AssertionError, match=r"^I10: . is no member although all was protected"):
        served.pair.invariants.crash(served.primary)


@pytest.mark.parametrize(
    "wrong",
    [
        Verification(1, running=False, cursor=BLOCK_BYTES),
        Verification(1, running=False, cursor=VOLUME_BYTES, left=((0, BLOCK_BYTES),)),
        Verification(1, running=False, cursor=VOLUME_BYTES, differing_bytes=BLOCK_BYTES),
    ],
    ids=["too early", "leaves a part", "names what is equal"],
)
def test_a_verification_that_ends_before_its_end_or_finds_what_is_not_there(
    served: Served, wrong: Verification
) -> None:
    whole = Verification(1, running=False, cursor=VOLUME_BYTES)
    served.primary.state = attrs.evolve(served.state, verification=whole)
    assert served.pair.invariants.verified(served.primary, "")
    served.primary.state = attrs.evolve(served.state, verification=wrong)
    assert not served.pair.invariants.verified(served.primary, "the session was lost")
    with pytest.raises(AssertionError, match=r"^I7: a verification ended so: "):
        served.pair.invariants.verified(served.primary, "")


def test_a_read_under_a_permit_while_the_other_one_serves_alone(served: Served) -> None:
    record = served.state.record
    assert record is not None
    later = attrs.evolve(served.state, record=attrs.evolve(record, epoch=record.epoch + 1))
    served.primary.state = attrs.evolve(later, phase=Phase.SECURING)
    served.pair.invariants.read(served.secondary)
    served.primary.state = attrs.evolve(later, phase=Phase.ALONE)
    with pytest.raises(AssertionError, match=r"^I3: . reads in epoch \d+, and . serves without it"):
        served.pair.invariants.read(served.secondary)


def test_a_block_that_differs_unmarked_when_what_is_left_to_copy_is_looked_for(served: Served) -> None:
    source, target = served.primary, served.secondary
    source.state = attrs.evolve(served.state, resync=Resync(search=7))
    target.metadata = attrs.evolve(target.metadata, copy=Copy.RESYNCING)
    target.sectors[2] = 0
    source.marks.dirty.add(1)
    served.pair.invariants.searched(source, act.FindDirty(7, 0))
    source.marks.dirty.remove(1)
    with pytest.raises(AssertionError, match=r"^I5: block 1 differs and is not marked"):
        served.pair.invariants.searched(source, act.FindDirty(7, 0))


def test_a_block_that_is_called_lost_and_is_whole_on_a_copy_that_counts(served: Served) -> None:
    for node in served.pair.nodes.values():
        node.damaged[0] = "rot"
    asked = [served.pair.clients.ask_for(served.primary, OperationKind.READ, 0) for _ in range(2)]
    served.pair.invariants.answered(served.primary, served.state, act.Answer(asked[0].ticket, Outcome.MEDIUM_ERROR))
    served.secondary.damaged.clear()
    with pytest.raises(
        AssertionError, match=r"^I3: . says that one of blocks \[0\] is lost, but all of them are there"
    ):
        served.pair.invariants.answered(served.primary, served.state, act.Answer(asked[1].ticket, Outcome.MEDIUM_ERROR))


def test_a_member_that_passes_for_fenced(served: Served) -> None:
    record = served.pair.arbiter.record
    with pytest.raises(AssertionError, match=r"^a member passes for fenced"):
        served.pair.invariants.recorded(record, attrs.evolve(record, fence="confirmed"))


def test_an_operation_that_fails(served: Served) -> None:
    asked = served.pair.clients.ask(served.primary, WRITES)
    with pytest.raises(AssertionError, match=r"^I3: operation \d+ failed, although no rule says so"):
        served.pair.invariants.answered(served.primary, served.state, act.Answer(asked.ticket, Outcome.FAILED))


def test_the_end_of_what_nobody_asked_for(served: Served) -> None:
    served.primary.request_begun(ev.HandoverAsked())
    served.primary.request_ended("handover")
    with pytest.raises(AssertionError, match=r"^. tells of the end of a handover that nobody asked for"):
        served.primary.request_ended("handover")
