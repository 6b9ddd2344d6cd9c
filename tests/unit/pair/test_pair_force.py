"""What a person forces: who may be forced, what becomes of the record, and of a copy that was abandoned."""

from typing import TypeVar

import attrs
import pytest

from ctlha_trio._errors import FailedError, InvalidError
from ctlha_trio.pair import (
    ANCESTORS_MAX,
    COPY_CHUNK_BYTES,
    Copy,
    Metadata,
    Operation,
    OperationKind,
    Outcome,
    PairState,
    Phase,
    Record,
    SwapOutcome,
    actions as act,
    boot,
    events as ev,
    messages as msg,
    plan_force,
    step_pair,
)
from ctlha_trio.pair._state import Stage
from ctlha_trio.pair._step import ARBITER_RETRY_S

FIRST = Record(cluster="c", resource="r", epoch=4, lineage="old", primary="a", members=("a", "b"), proposal="0")
ALONE = attrs.evolve(FIRST, epoch=5, members=("a",), proposal="1")
FORCED = ALONE.fork(primary="b", lineage="new", proposal="2")
ASKED = ev.ForceAsked("a", "new", 5)
PEER = 77

Ordered = TypeVar("Ordered", bound=act.Action)


def metadata_of(node: str, record: Record, copy: Copy = Copy.MEMBER) -> Metadata:
    """Of a node whose disk knows that record; epochs and revisions are the same here."""
    return Metadata(
        cluster="c",
        node=node,
        resource="r",
        lineage=record.lineage,
        arbiter="x",
        epoch=record.epoch,
        revision=record.epoch,
        primary=record.primary,
        members=record.members,
        copy=copy,
    )


def step(state: PairState, event: ev.Event) -> tuple[PairState, tuple[act.Action, ...]]:
    """One event. What is intended is durable at once."""
    state, ordered = step_pair(state, event)
    if state.phase is Phase.CLAIMING and state.stage is Stage.PERSISTING and state.persisting is not None:
        state, more = step_pair(state, ev.Persisted(state.persisting))
        ordered += more
    return state, ordered


def started(node: str, metadata: Metadata, record: Record) -> tuple[PairState, tuple[act.Action, ...]]:
    """Booted with that on its disk, and told the arbiter's record."""
    peer = "b" if node == "a" else "a"
    state, _ = boot(
        me=node, peer=peer, incarnation=ord(node), size_bytes=2 * COPY_CHUNK_BYTES, metadata=metadata, marked_from=None
    )
    state, _ = step_pair(state, ev.TimerFired(ev.Timer.PERMIT_OUT))
    state, ordered = step(state, ev.RecordRead(record, record.epoch))
    if state.phase is Phase.OUTDATED and state.persisting is not None:
        state, _ = step_pair(state, ev.Persisted(state.persisting))
    return state, ordered


def outdated(copy: Copy = Copy.MEMBER) -> PairState:
    """``b``, which does not count, alone with an arbiter that names ``a``."""
    state, _ = started("b", metadata_of("b", FIRST, copy), ALONE)
    assert state.phase is Phase.OUTDATED
    return state


def forcing() -> tuple[PairState, act.Swap]:
    state, ordered = step(outdated(), ASKED)
    assert (state.phase, state.forcing) == (Phase.CLAIMING, True)
    return state, one(ordered, act.Swap)


def one(ordered: tuple[act.Action, ...], kind: type[Ordered]) -> Ordered:
    (found,) = [action for action in ordered if isinstance(action, kind)]
    return found


def problem(ordered: tuple[act.Action, ...]) -> str:
    return one(ordered, act.ForceEnded).problem


# Who may be forced, and what is proposed.


def test_the_plan_says_what_is_proposed_and_from_when_the_copy_is() -> None:
    plan = plan_force(outdated(), "a", "new")
    assert (plan.before, plan.revision, plan.copy_epoch) == (ALONE, 5, 4)
    assert (plan.after.epoch, plan.after.primary, plan.after.members) == (6, "b", ("b",))
    assert (plan.after.lineage, plan.after.ancestors) == ("new", ("old",))
    assert forcing()[1] == act.Swap(5, plan.after)


def test_a_node_serves_what_it_was_forced_to_once_that_is_durable() -> None:
    state, swap = forcing()
    state, ordered = step(state, ev.Swapped(swap.record.proposal, SwapOutcome.WON, 6))
    assert (problem(ordered), state.phase, state.forcing) == ("", Phase.SECURING, False)
    metadata = one(ordered, act.Persist).metadata
    assert (metadata.lineage, metadata.epoch, metadata.copy) == ("new", 6, Copy.MEMBER)
    state, _ = step(state, ev.Persisted(metadata))
    assert state.phase is Phase.ALONE


def test_a_member_that_waits_for_the_other_may_be_forced() -> None:
    state, _ = started("b", metadata_of("b", FIRST), FIRST)
    assert state.phase is Phase.WAITING
    state, ordered = step(state, ev.ForceAsked("a", "new", 4))
    assert one(ordered, act.Swap).record.ancestors == ("old",)
    assert act.CancelTimer(ev.Timer.PEER_WAIT) in ordered


def test_a_node_that_hears_the_other_is_not_forced() -> None:
    state, _ = step(outdated(), ev.SessionUp(PEER))
    with pytest.raises(FailedError, match="node a is connected, so it is not powered off"):
        plan_force(state, "a", "new")
    after, ordered = step(state, ASKED)
    assert (after, bool(problem(ordered))) == (state, True)


@pytest.mark.parametrize("copy", [Copy.RESYNCING, Copy.REWRITING, Copy.FAILED])
def test_a_copy_that_is_no_state_of_the_volume_is_not_forced(copy: Copy) -> None:
    with pytest.raises(FailedError, match=f"the copy of node b is {copy.value}"):
        plan_force(outdated(copy), "a", "new")


def test_a_copy_that_is_about_to_be_overwritten_is_not_forced() -> None:
    """The source was lost while that was on its way to the disk."""
    state, _ = step(outdated(), ev.SessionUp(PEER))
    state, _ = step(state, ev.Received(msg.Standing(5, 5, Phase.ALONE, 0)))
    state, ordered = step(state, ev.Received(msg.ResyncStart(5, ALONE.proposal)))
    assert one(ordered, act.Persist).metadata.copy is Copy.RESYNCING
    state, _ = step(state, ev.SessionLost(ev.Loss.CLOSED))
    with pytest.raises(FailedError, match="is resyncing"):
        plan_force(state, "a", "new")


def test_the_node_to_abandon_must_be_the_other_one() -> None:
    for name in ("b", "c", ""):
        with pytest.raises(InvalidError, match="the other node is a"):
            plan_force(outdated(), name, "new")


def test_a_node_that_serves_or_has_ended_is_not_forced() -> None:
    alone, _ = started("a", metadata_of("a", ALONE), ALONE)
    assert alone.phase is Phase.CLAIMING
    left, _ = step(outdated(), ev.StopAsked("asked"))
    booting, _ = boot(me="a", peer="b", incarnation=1, size_bytes=1, metadata=metadata_of("a", ALONE), marked_from=None)
    for state, abandon in ((alone, "b"), (left, "a"), (booting, "b")):
        with pytest.raises(FailedError, match=f"while it is {state.phase.name.lower()}"):
            plan_force(state, abandon, "new")


def test_a_record_that_has_changed_since_it_was_shown_is_not_forced() -> None:
    state, ordered = step(outdated(), attrs.evolve(ASKED, revision=4))
    assert (state.phase, problem(ordered)) == (Phase.OUTDATED, "the record has changed since it was shown")


def test_a_fence_stands_in_the_record_with_its_evidence_for_as_long_as_the_node_is_away() -> None:
    _, ordered = step(outdated(), attrs.evolve(ASKED, evidence="outlet 7 is off"))
    record = one(ordered, act.Swap).record
    assert (record.fence, record.evidence) == ("confirmed", "outlet 7 is off")
    plan = plan_force(outdated(), "a", "new")
    assert (plan.after.fence, plan.after.evidence) == ("none", "")
    assert plan.fenced("outlet 7 is off").after == attrs.evolve(record, proposal=plan.after.proposal)
    again = record.succeed(primary="b", members=("b",), proposal="2")
    assert (again.fence, again.evidence) == ("confirmed", "outlet 7 is off")
    both = again.succeed(primary="b", members=("a", "b"), proposal="3")
    assert (both.fence, both.evidence) == ("none", "")
    said = again.fork(primary="b", lineage="newer", proposal="4")
    assert (said.fence, said.evidence) == ("none", ""), "what a person says is no fence"


# How it ends.


def test_what_the_arbiter_did_not_take_is_given_up() -> None:
    """Another try is another decision."""
    state, swap = forcing()
    state, ordered = step(state, ev.Swapped(swap.record.proposal, SwapOutcome.REFUSED))
    assert (state.phase, state.forcing, state.swap) == (Phase.OUTDATED, False, None)
    assert problem(ordered) == "the arbiter did not take what was forced"
    for timer in ev.Timer:
        state, ordered = step(state, ev.TimerFired(timer))
        assert not [action for action in ordered if isinstance(action, act.Swap)]


def test_what_the_arbiter_may_have_taken_ends_only_when_the_revision_moves() -> None:
    state, swap = forcing()
    state, ordered = step(state, ev.Swapped(swap.record.proposal, SwapOutcome.UNKNOWN))
    assert not [action for action in ordered if isinstance(action, act.ForceEnded)]
    state, _ = step(state, ev.TimerFired(ev.Timer.ARBITER_RETRY))
    state, ordered = step(state, ev.RecordRead(ALONE, 5))
    assert one(ordered, act.Swap) == swap
    state, _ = step(state, ev.Swapped(swap.record.proposal, SwapOutcome.REFUSED))
    assert state.forcing, "the first try may still be applied"
    state, _ = step(state, ev.TimerFired(ev.Timer.ARBITER_RETRY))
    state, ordered = step(state, ev.RecordRead(swap.record, 6))
    assert (state.phase, problem(ordered)) == (Phase.SECURING, "")


def test_a_change_of_the_other_node_wins_if_it_is_first() -> None:
    state, swap = forcing()
    state, _ = step(state, ev.Swapped(swap.record.proposal, SwapOutcome.LOST))
    restarted = ALONE.succeed(primary="a", members=("a",), proposal="a's")
    state, ordered = step(state, ev.RecordRead(restarted, 6))
    assert (state.phase, state.record, problem(ordered)) == (Phase.OUTDATED, restarted, "a won epoch 6")


def test_a_claim_of_the_node_itself_from_before_that_lands_late_is_not_what_was_forced() -> None:
    """Its record goes on in the old line, whatever becomes of the claim that follows."""
    state, _ = started("b", metadata_of("b", FIRST).intend("b's"), FIRST)
    state, ordered = step(state, attrs.evolve(ASKED, revision=4))
    swap = one(ordered, act.Swap)
    state, _ = step(state, ev.Swapped(swap.record.proposal, SwapOutcome.LOST))
    landed = FIRST.succeed(primary="b", members=("b",), proposal="b's")
    state, ordered = step(state, ev.RecordRead(landed, 5))
    assert (state.phase, state.forcing, problem(ordered)) == (Phase.CLAIMING, False, "b won epoch 5")
    claim = one(ordered, act.Swap).record
    assert claim.lineage == FIRST.lineage
    state, ordered = step(state, ev.Swapped(claim.proposal, SwapOutcome.REFUSED))
    assert one(ordered, act.SetTimer).timer is ev.Timer.ARBITER_RETRY, "it is not tried again at once"
    assert not [action for action in ordered if isinstance(action, act.Swap)]


def test_a_copy_that_may_be_forced_yet_is_not_overwritten() -> None:
    """Its node crashed behind the swap, and the other one, which was not off, offers its copy."""
    state, ordered = step_pair(outdated(), ASKED)
    asked = one(ordered, act.Persist).metadata
    assert asked.in_doubt == 5
    state, _ = started("b", asked, ALONE)
    state, _ = step(state, ev.SessionUp(PEER))
    state, ordered = step(state, ev.Received(msg.ResyncStart(5, ALONE.proposal)))
    assert (state.phase, one(ordered, act.Send).message) == (Phase.OUTDATED, msg.InDoubt(5))
    moved = ALONE.succeed(primary="a", members=("a",), proposal="a's")
    state, _ = step(state, ev.RecordRead(moved, 6))
    state, ordered = step(state, ev.Received(msg.ResyncStart(6, moved.proposal)))
    metadata = one(ordered, act.Persist).metadata
    assert (metadata.copy, metadata.in_doubt, metadata.proposed) == (Copy.RESYNCING, 0, ())


def proved(state: PairState) -> PairState:
    """The arbiter has proved just now that it takes changes."""
    assert state.record is not None
    return step(state, ev.RecordRead(state.record, state.revision, takes_changes=True))[0]


def test_clients_of_a_source_wait_for_no_arbiter_that_takes_no_change() -> None:
    """It has to move the record for a target that may be forced yet, and its clients would wait while that is asked."""
    state, ordered = started("a", metadata_of("a", ALONE), ALONE)
    state, ordered = step(state, ev.Swapped(one(ordered, act.Swap).record.proposal, SwapOutcome.WON, 6))
    state, _ = step(state, ev.Persisted(one(ordered, act.Persist).metadata))
    state, _ = step(state, ev.SessionUp(PEER))
    state, _ = step(state, ev.Received(msg.Standing(state.epoch, 6, Phase.OUTDATED, 0)))
    doubt = ev.Received(msg.InDoubt(state.epoch))
    for ticket in range(1, 4):
        state, ordered = step(state, doubt)
        assert one(ordered, act.ReadRecord) == act.ReadRecord(proves=True)
        assert state.record is not None
        state, ordered = step(state, ev.RecordRead(state.record, state.revision, takes_changes=False))
        state, ordered = step(state, ev.Submitted(ticket, Operation(OperationKind.WRITE, 1, ticket, 0, 4096)))
        state, ordered = step(state, ev.Stored(one(ordered, act.StoreWrite).sequence))
        assert one(ordered, act.Answer) == act.Answer(ticket, Outcome.DONE)
        state, ordered = step(state, ev.TimerFired(ev.Timer.ARBITER_RETRY))
        assert isinstance(one(ordered, act.Send).message, msg.ResyncStart), "the target is asked again"
    state, _ = step(state, doubt)
    state, ordered = step(proved(state), ev.TimerFired(ev.Timer.ARBITER_RETRY))
    state, ordered = step(state, doubt)
    assert state.phase is Phase.CLAIMING


def test_what_was_proved_before_a_session_is_proved_again_in_it() -> None:
    """The target may return after months, and clients would be held if the arbiter takes no change any more."""
    state, ordered = started("a", metadata_of("a", ALONE), ALONE)
    state, ordered = step(state, ev.Swapped(one(ordered, act.Swap).record.proposal, SwapOutcome.WON, 6))
    state, _ = step(state, ev.Persisted(one(ordered, act.Persist).metadata))
    state, _ = step(state, ev.SessionUp(PEER))
    state, _ = step(state, ev.Received(msg.InDoubt(state.epoch)))
    state, _ = step(proved(state), ev.SessionLost(ev.Loss.CLOSED))
    state, _ = step(state, ev.TimerFired(ev.Timer.ARBITER_RETRY))
    state, _ = step(state, ev.SessionUp(PEER + 1))
    state, ordered = step(state, ev.Received(msg.InDoubt(state.epoch)))
    assert state.phase is Phase.ALONE
    assert one(ordered, act.ReadRecord) == act.ReadRecord(proves=True)
    state, _ = step(proved(state), ev.TimerFired(ev.Timer.ARBITER_RETRY))
    state, _ = step(state, ev.Received(msg.InDoubt(state.epoch)))
    assert state.phase is Phase.CLAIMING


def test_the_source_moves_the_record_for_a_target_that_may_be_forced_yet() -> None:
    state, ordered = started("a", metadata_of("a", ALONE), ALONE)
    state, ordered = step(state, ev.Swapped(one(ordered, act.Swap).record.proposal, SwapOutcome.WON, 6))
    state, _ = step(state, ev.Persisted(one(ordered, act.Persist).metadata))
    state, _ = step(state, ev.SessionUp(PEER))
    assert state.phase is Phase.ALONE
    state, ordered = step(proved(state), ev.Received(msg.InDoubt(state.epoch)))
    swap = one(ordered, act.Swap)
    assert (state.phase, swap.expected_revision) == (Phase.CLAIMING, 6)
    assert (swap.record.primary, swap.record.members, swap.record.lineage) == ("a", ("a",), "old")
    state, ordered = step(state, ev.Swapped(swap.record.proposal, SwapOutcome.WON, 7))
    state, ordered = step(state, ev.Persisted(one(ordered, act.Persist).metadata))
    assert (state.phase, state.epoch) == (Phase.ALONE, swap.record.epoch)
    peer = msg.Standing(state.epoch, 7, Phase.OUTDATED, 0)
    assert msg.ResyncStart(state.epoch, swap.record.proposal, state.base_epoch) in [
        action.message for action in step(state, ev.Received(peer))[1] if isinstance(action, act.Send)
    ]


def test_a_source_whose_arbiter_takes_no_swap_serves_on_and_moves_the_record_later() -> None:
    state, ordered = started("a", metadata_of("a", ALONE), ALONE)
    state, ordered = step(state, ev.Swapped(one(ordered, act.Swap).record.proposal, SwapOutcome.WON, 6))
    state, _ = step(state, ev.Persisted(one(ordered, act.Persist).metadata))
    state, _ = step(state, ev.SessionUp(PEER))
    state, ordered = step(state, ev.Received(msg.Standing(state.epoch, 6, Phase.OUTDATED, 0)))
    doubt = ev.Received(msg.InDoubt(state.epoch))
    epoch, known = state.epoch, state.record
    for _ in range(2):
        state, ordered = step(proved(state), doubt)
        state, ordered = step(state, ev.Swapped(one(ordered, act.Swap).record.proposal, SwapOutcome.REFUSED))
        state, ordered = step(state, ev.Persisted(one(ordered, act.Persist).metadata))
        assert (state.phase, state.epoch, state.record) == (Phase.ALONE, epoch, known)
        assert act.SetTimer(ev.Timer.ARBITER_RETRY, ARBITER_RETRY_S) in ordered
        state, ordered = step(state, doubt)
        assert (state.phase, [each for each in ordered if isinstance(each, act.Swap)]) == (Phase.ALONE, [])
        state, ordered = step(state, ev.TimerFired(ev.Timer.ARBITER_RETRY))
        assert isinstance(one(ordered, act.Send).message, msg.ResyncStart)
    state, ordered = step(proved(state), doubt)
    state, ordered = step(state, ev.Swapped(one(ordered, act.Swap).record.proposal, SwapOutcome.WON, 7))
    state, ordered = step(state, ev.Persisted(one(ordered, act.Persist).metadata))
    assert (state.phase, state.why, state.epoch) == (Phase.ALONE, "secured", epoch + 1)


def test_a_source_that_does_not_know_whether_it_was_taken_waits_until_it_does() -> None:
    state, ordered = started("a", metadata_of("a", ALONE), ALONE)
    state, ordered = step(state, ev.Swapped(one(ordered, act.Swap).record.proposal, SwapOutcome.WON, 6))
    state, _ = step(state, ev.Persisted(one(ordered, act.Persist).metadata))
    state, _ = step(state, ev.SessionUp(PEER))
    state, ordered = step(proved(state), ev.Received(msg.InDoubt(state.epoch)))
    proposal = one(ordered, act.Swap).record.proposal
    state, ordered = step(state, ev.Swapped(proposal, SwapOutcome.UNKNOWN))
    state, ordered = step(state, ev.TimerFired(ev.Timer.ARBITER_RETRY))
    assert state.record is not None
    state, ordered = step(state, ev.RecordRead(state.record, state.revision))
    state, ordered = step(state, ev.Swapped(proposal, SwapOutcome.REFUSED))
    assert state.phase is Phase.CLAIMING


def test_what_a_member_was_forced_to_is_ended_by_the_record_that_lets_it_follow() -> None:
    state, _ = started("b", metadata_of("b", FIRST), FIRST)
    _, ordered = step_pair(state, attrs.evolve(ASKED, revision=4))
    assert one(ordered, act.Persist).metadata.in_doubt == 0


@pytest.mark.parametrize("event", [ev.StopAsked("asked"), ev.StoreFailed()])
def test_a_node_that_ends_says_that_it_gave_up(event: ev.Event) -> None:
    _, ordered = step(forcing()[0], event)
    assert problem(ordered)


# The copy that was abandoned, and the one that was chosen.


def test_the_abandoned_node_waits_for_a_full_copy() -> None:
    state, _ = started("a", metadata_of("a", ALONE), FORCED)
    assert (state.phase, state.epoch) == (Phase.OUTDATED, 6)
    state, _ = step(state, ev.SessionUp(PEER))
    state, _ = step(state, ev.Received(msg.Standing(6, 6, Phase.ALONE, 0)))
    state, ordered = step(state, ev.Received(msg.ResyncStart(6, FORCED.proposal)))
    metadata = one(ordered, act.Persist).metadata
    assert (metadata.lineage, metadata.copy) == ("new", Copy.RESYNCING)


def test_an_abandoned_node_that_is_alive_stops_when_it_reads_the_record() -> None:
    state, ordered = started("a", metadata_of("a", ALONE), ALONE)
    swap = one(ordered, act.Swap)
    state, ordered = step(state, ev.Swapped(swap.record.proposal, SwapOutcome.WON, 6))
    state, _ = step(state, ev.Persisted(one(ordered, act.Persist).metadata))
    assert state.phase is Phase.ALONE
    state, ordered = step(state, ev.TimerFired(ev.Timer.RECORD_POLL))
    assert (ev.Timer.RECORD_POLL, 1.0) in [(a.timer, a.delay_s) for a in ordered if isinstance(a, act.SetTimer)]
    state, _ = step(state, ev.RecordRead(swap.record.fork(primary="b", lineage="new", proposal="3"), 7))
    assert (state.phase, state.epoch) == (Phase.OUTDATED, 7)


def test_the_chosen_node_that_has_not_recorded_it_goes_on_from_its_copy() -> None:
    """It crashed behind the swap: nothing was acknowledged in the new line."""
    metadata = metadata_of("b", FIRST).intend(FORCED.proposal)
    state, ordered = started("b", metadata, FORCED)
    assert state.phase is Phase.CLAIMING
    record = one(ordered, act.Swap).record
    assert (record.epoch, record.lineage, record.ancestors) == (7, "new", ("old",))


@pytest.mark.parametrize(
    ("copy", "why"),
    [(Copy.FAILED, "copy-failed"), (Copy.RESYNCING, "copy-incomplete"), (Copy.REWRITING, "copy-incomplete")],
)
def test_a_chosen_node_whose_copy_is_not_whole_stops(copy: Copy, why: str) -> None:
    state, _ = started("b", metadata_of("b", FIRST, copy), FORCED)
    assert (state.phase, state.why) == (Phase.STOPPED, why)


@pytest.mark.parametrize(
    "record",
    [
        attrs.evolve(FORCED, ancestors=()),
        attrs.evolve(FORCED, ancestors=("another",)),
        attrs.evolve(FORCED, lineage="another", ancestors=("new",)),
    ],
    ids=["no-ancestors", "of-another", "of-another-fork"],
)
def test_a_line_that_does_not_descend_from_the_copy_s_stops_the_node(record: Record) -> None:
    state, _ = started("a", metadata_of("a", ALONE), record)
    assert (state.phase, state.why) == (Phase.STOPPED, "foreign-lineage")


def test_a_member_of_the_new_line_that_never_recorded_it_has_an_older_disk() -> None:
    """It was admitted on a disk that knew of the line; the other member has everything."""
    state, _ = started("a", metadata_of("a", ALONE), attrs.evolve(FORCED, members=("a", "b")))
    assert (state.phase, state.why) == (Phase.OUTDATED, "copy-went-back")


def test_a_fork_of_an_epoch_that_the_copy_has_outlived_stops_the_node() -> None:
    """The new line was begun on an arbiter that had gone back."""
    metadata = attrs.evolve(metadata_of("a", ALONE), epoch=6, revision=5)
    state, _ = started("a", metadata, FORCED)
    assert (state.phase, state.why) == (Phase.STOPPED, "foreign-lineage")


def test_an_older_copy_of_the_chosen_node_s_disk_is_not_taken_for_it() -> None:
    """It does not know that its node was forced: what was acknowledged in the new line is not on it."""
    state, _ = started("b", metadata_of("b", FIRST), FORCED)
    assert (state.phase, state.why) == (Phase.STOPPED, "copy-went-back")


def test_what_is_forced_is_durable_before_the_arbiter_is_asked() -> None:
    state, ordered = step_pair(outdated(), ASKED)
    intent = one(ordered, act.Persist).metadata
    assert (intent.copy, intent.epoch, len(intent.proposed)) == (Copy.MEMBER, 4, 1), "the copy is what it was"
    assert not [action for action in ordered if isinstance(action, act.Swap)]
    state, ordered = step_pair(state, ev.Persisted(intent))
    assert one(ordered, act.Swap).record.proposal in intent.proposed


def test_a_copy_from_before_several_forks_is_abandoned_too() -> None:
    again = FORCED.fork(primary="b", lineage="newer", proposal="4")
    state, _ = started("a", metadata_of("a", ALONE), again)
    assert (state.phase, again.ancestors) == (Phase.OUTDATED, ("old", "new"))


def test_a_record_remembers_a_bounded_number_of_forks() -> None:
    record = ALONE
    for number in range(ANCESTORS_MAX + 3):
        record = record.fork(primary="b", lineage=f"line {number}", proposal="5")
    assert len(record.ancestors) == ANCESTORS_MAX
    assert record.ancestors[-1] == f"line {ANCESTORS_MAX + 1}"
    assert record.succeed(primary="b", members=("a", "b"), proposal="6").ancestors == record.ancestors
