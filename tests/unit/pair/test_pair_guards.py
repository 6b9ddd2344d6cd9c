"""What a core does with an arbiter or a peer that says what cannot be: it stops, or it does not listen."""

import attrs
import pytest

from ctlha_trio.pair import (
    COPY_CHUNK_BYTES,
    PROPOSED_MAX,
    Copy,
    Metadata,
    PairState,
    Phase,
    Record,
    SwapOutcome,
    actions as act,
    boot,
    events as ev,
    messages as msg,
    step_pair,
)
from ctlha_trio.pair._state import Stage

BOTH = ("a", "b")
PEER = 77
FIRST = Record(cluster="c", resource="r", epoch=1, lineage="l", primary="a", members=BOTH, proposal="0")
ALONE = attrs.evolve(FIRST, epoch=2, members=("a",), proposal="1")


def started(me: str, record: Record, revision: int, copy: Copy = Copy.MEMBER) -> PairState:
    """A node whose disk knows that record, before the arbiter has answered."""
    metadata = Metadata(
        cluster="c",
        node=me,
        resource="r",
        lineage="l",
        arbiter="x",
        epoch=record.epoch,
        revision=revision,
        primary=record.primary,
        members=record.members,
        copy=copy,
    )
    peer = "b" if me == "a" else "a"
    state, _ = boot(
        me=me, peer=peer, incarnation=ord(me), size_bytes=2 * COPY_CHUNK_BYTES, metadata=metadata, marked_from=None
    )
    return step_pair(state, ev.TimerFired(ev.Timer.PERMIT_OUT))[0]


def feed(state: PairState, *fed: ev.Event) -> tuple[PairState, list[act.Action]]:
    """Events in a row, and all that they led to. What is intended or heard is durable at once."""
    ordered: list[act.Action] = []
    for event in fed:
        state, actions = step_pair(state, event)
        ordered += actions
        if state.phase is Phase.CLAIMING and state.stage is Stage.PERSISTING and state.persisting is not None:
            state, actions = step_pair(state, ev.Persisted(state.persisting))
            ordered += actions
        if state.persisting == attrs.evolve(state.metadata, heard=state.heard):
            state, _ = step_pair(state, ev.Persisted(state.persisting))
            ordered = [each for each in ordered if each != act.Persist(state.metadata)]
    return state, ordered


def alone() -> PairState:
    """``a`` serves alone in epoch 3, revision 3."""
    state, ordered = feed(started("a", ALONE, 2), ev.RecordRead(ALONE, 2))
    (swap,) = [action for action in ordered if isinstance(action, act.Swap)]
    state, ordered = feed(state, ev.Swapped(swap.record.proposal, SwapOutcome.WON, 3))
    (persist,) = [action for action in ordered if isinstance(action, act.Persist)]
    state, _ = feed(state, ev.Persisted(persist.metadata))
    assert state.phase is Phase.ALONE
    return state


def test_a_revision_with_another_content_is_another_history() -> None:
    """A copy of the arbiter's data that went on from an older state reaches the same revision with another winner."""
    state = alone()
    assert state.record is not None
    other = attrs.evolve(state.record, primary="b", members=("b",), proposal="elsewhere")
    state, _ = feed(state, ev.RecordRead(other, state.revision))
    assert (state.phase, state.why) == (Phase.STOPPED, "arbiter-went-back")


def test_so_it_is_when_the_node_was_down_meanwhile() -> None:
    """Its disk remembers who was primary in that revision."""
    other = attrs.evolve(ALONE, primary="b", members=("b",))
    state, _ = feed(started("a", ALONE, 2), ev.RecordRead(other, 2))
    assert (state.phase, state.why) == (Phase.STOPPED, "arbiter-went-back")


def test_a_newer_record_in_this_node_s_name_is_a_twin_s() -> None:
    """A copy of the node's folder runs elsewhere; the one that finds out stops instead of taking the record back."""
    state = alone()
    assert state.record is not None
    state, ordered = feed(state, ev.RecordRead(state.record.succeed(primary="a", members=("a",), proposal="9" * 32), 4))
    assert (state.phase, state.why) == (Phase.STOPPED, "twin")
    assert not [action for action in ordered if isinstance(action, act.Swap)]


def claimed(record: Record, revision: int) -> tuple[PairState, Record]:
    """``a`` on that disk, waiting for its disk to know that it will claim; and what it will propose."""
    state, _ = step_pair(started("a", record, revision), ev.RecordRead(record, revision))
    if state.phase is Phase.WAITING:
        state, _ = step_pair(state, ev.TimerFired(ev.Timer.PEER_WAIT))
    assert state.swap is not None
    return state, state.swap.record


@pytest.mark.parametrize("record", [FIRST, ALONE])
def test_a_claim_is_durable_before_the_arbiter_is_asked(record: Record) -> None:
    """A disk that knows of the claim is the one for which it was made, whatever of it the process lived to hear."""
    state, proposed = claimed(record, record.epoch)
    intent = state.persisting
    assert intent == attrs.evolve(state.metadata, proposed=(proposed.proposal,))
    after, ordered = step_pair(state, ev.RecordRead(record, record.epoch))
    assert (after.swap, ordered) == (state.swap, ()), "nothing is called before"
    state, ordered = step_pair(state, ev.Persisted(intent))
    assert act.Swap(record.epoch, proposed) in ordered


def test_a_node_that_crashed_behind_its_claim_goes_on_and_remembers_every_claim_that_may_be_won() -> None:
    state, first = claimed(FIRST, 1)
    assert state.persisting is not None
    again = boot(me="a", peer="b", incarnation=7, size_bytes=1, metadata=state.persisting, marked_from=None)[0]
    waiting, _ = step_pair(again, ev.RecordRead(FIRST, 1))
    second, _ = step_pair(waiting, ev.TimerFired(ev.Timer.PEER_WAIT))
    assert second.persisting is not None
    assert second.persisting.proposed[0] == first.proposal
    state, _ = feed(second, ev.Persisted(second.persisting))
    state, _ = feed(state, ev.Swapped(second.persisting.proposed[1], SwapOutcome.LOST), ev.RecordRead(first, 2))
    assert state.phase is Phase.CLAIMING, "the claim of before was applied late"


def test_a_node_that_crashes_behind_every_claim_knows_the_one_that_was_won() -> None:
    """However often, and to the last: it is the only proof that its disk is the one that the record names."""
    state, won = claimed(FIRST, 1)
    for incarnation in range(1, 2 * PROPOSED_MAX):
        disk = state.persisting
        assert disk is not None
        assert len(disk.proposed) <= PROPOSED_MAX
        state, _ = boot(me="a", peer="b", incarnation=incarnation, size_bytes=1, metadata=disk, marked_from=None)
        state, _ = step_pair(state, ev.RecordRead(won, 2))
        assert (state.phase, state.why) == (Phase.CLAIMING, "booted")
        assert state.swap is not None
        assert state.persisting is not None
        assert state.persisting.proposed[-1] == state.swap.record.proposal


def test_an_older_copy_of_the_only_copy_stops() -> None:
    """The record names this node by a claim of which the disk does not know: it was put back from before."""
    for disk, revision in ((FIRST, 1), (attrs.evolve(ALONE, epoch=1), 1)):
        state, ordered = feed(started("a", disk, revision), ev.RecordRead(ALONE, 2))
        assert (state.phase, state.why) == (Phase.STOPPED, "copy-went-back")
        assert not [action for action in ordered if isinstance(action, act.Swap)]


def test_an_older_copy_of_one_of_two_is_outdated_and_the_other_one_goes_on() -> None:
    newer = attrs.evolve(FIRST, epoch=3, proposal="3")
    state, _ = feed(started("a", FIRST, 1), ev.RecordRead(newer, 3), ev.TimerFired(ev.Timer.PEER_WAIT))
    assert (state.phase, state.why) == (Phase.OUTDATED, "copy-went-back")
    other, ordered = feed(
        started("b", newer, 3),
        ev.RecordRead(newer, 3),
        ev.SessionUp(PEER),
        ev.Received(msg.Standing(3, 3, Phase.OUTDATED, 0)),
    )
    assert other.phase is Phase.CLAIMING
    assert [action for action in ordered if isinstance(action, act.Swap)]


def test_a_waiting_node_is_not_told_by_the_outdated_one_of_an_older_record() -> None:
    waiting, _ = feed(started("b", FIRST, 1), ev.RecordRead(attrs.evolve(FIRST, epoch=1), 1), ev.SessionUp(PEER))
    state, _ = feed(waiting, ev.Received(msg.Standing(0, 0, Phase.OUTDATED, 0)))
    assert state.phase is Phase.WAITING


def test_a_copy_that_was_sealed_for_the_record_is_the_one_that_it_names() -> None:
    both = attrs.evolve(FIRST, epoch=3, proposal="3")
    state, _ = feed(started("b", ALONE, 2, Copy.SEALED), ev.RecordRead(both, 3))
    assert state.phase is Phase.WAITING
    later = attrs.evolve(both, epoch=4)
    state, _ = feed(started("b", ALONE, 2, Copy.SEALED), ev.RecordRead(later, 4))
    assert state.phase is Phase.OUTDATED


def test_a_member_that_waits_stops_when_another_one_claims_in_its_name() -> None:
    """Its folder was copied before that claim was intended: the one that made it runs elsewhere, and has the data."""
    state, _ = feed(started("a", FIRST, 1), ev.RecordRead(FIRST, 1), ev.RecordRead(ALONE, 2))
    assert (state.phase, state.why) == (Phase.STOPPED, "twin")


@pytest.mark.parametrize("events", [[], [ev.RecordRead(FIRST, 1)], [ev.RecordRead(ALONE, 2)]])
def test_a_node_whose_place_in_the_session_is_taken_stops_before_it_takes_any_part(events: list[ev.Event]) -> None:
    state, ordered = feed(started("b", FIRST, 1), *events, ev.Disowned())
    assert (state.phase, state.why) == (Phase.STOPPED, "twin")
    assert ordered[-1] == act.Goodbye("twin")
    state, ordered = feed(state, ev.TimerFired(ev.Timer.PEER_WAIT))
    assert not [action for action in ordered if isinstance(action, act.Swap)]


def test_a_node_that_counts_is_not_stopped_by_the_peer_s_word() -> None:
    """It may be the one with the data, and the peer in session with its copy: the record stops one of the two."""
    for state in (alone(), feed(mirroring(), ev.SessionLost(ev.Loss.CLOSED))[0]):
        assert feed(state, ev.Disowned()) == (state, [])


def test_a_node_that_is_in_session_meanwhile_was_refused_before_the_other_one_ended() -> None:
    waiting, _ = feed(started("b", FIRST, 1), ev.RecordRead(FIRST, 1), ev.SessionUp(PEER))
    assert feed(waiting, ev.Disowned()) == (waiting, [])


@pytest.mark.parametrize(
    ("cluster", "lineage", "reason"), [("other", "l", "foreign-record"), ("c", "other", "foreign-lineage")]
)
def test_another_pair_s_record_is_no_twin_s(cluster: str, lineage: str, reason: str) -> None:
    """Whoever reads the reason looks for what is wrong: the arbiter's address, and not a copy of this node."""
    state = alone()
    assert state.record is not None
    record = state.record.succeed(primary="a", members=("a",), proposal="9" * 32)
    state, _ = feed(state, ev.RecordRead(attrs.evolve(record, cluster=cluster, lineage=lineage), 4))
    assert (state.phase, state.why) == (Phase.STOPPED, reason)


def test_a_target_whose_source_has_moved_on_in_the_same_session_begins_anew() -> None:
    """The source lost the swap that would have admitted it, claimed again, and offers its copy as of that epoch."""
    state, _ = feed(
        started("b", ALONE, 2, Copy.RESYNCING),
        ev.RecordRead(ALONE, 2),
        ev.SessionUp(PEER),
        ev.Received(msg.Standing(2, 2, Phase.ALONE, 0)),
        ev.Received(msg.ResyncStart(2, ALONE.proposal)),
    )
    assert state.persisting is not None
    state, _ = feed(state, ev.Persisted(state.persisting))
    assert state.phase is Phase.RESYNCING
    claimed = ALONE.succeed(primary="a", members=("a",), proposal="2")
    state, _ = feed(state, ev.Received(msg.Standing(3, 3, Phase.ALONE, 0)), ev.RecordRead(claimed, 3))
    assert (state.phase, state.epoch) == (Phase.OUTDATED, 3)
    state, ordered = feed(state, ev.Received(msg.ResyncStart(3, claimed.proposal)))
    assert [type(action) for action in ordered] == [act.Persist]


def copying() -> tuple[PairState, int]:
    """``a`` copies to ``b``; the sequence of the range that is being compared."""
    said = (
        msg.Standing(3, 3, Phase.OUTDATED, 0),
        msg.ResyncReady(3, 0),
        msg.Standing(3, 3, Phase.RESYNCING, 0),
    )
    state, ordered = feed(alone(), ev.SessionUp(PEER), *(ev.Received(each) for each in said))
    (search,) = [action for action in ordered if isinstance(action, act.FindDirty)]
    state, ordered = feed(state, ev.DirtyFound(search.search, ((0, COPY_CHUNK_BYTES),)))
    (compare,) = [action for action in ordered if isinstance(action, act.SendCompare)]
    return state, compare.sequence


def test_a_target_answers_a_comparison_once() -> None:
    """A second answer must neither push the range again nor end a copy that is not durable yet."""
    state, sequence = copying()
    state, ordered = feed(state, ev.Received(msg.Compared(3, sequence, equal=False)))
    assert [type(action) for action in ordered] == [act.PushCopy]
    for equal in (False, True):
        after, ordered = feed(state, ev.Received(msg.Compared(3, sequence, equal=equal)))
        assert (after, ordered) == (state, [])


def test_an_unasked_comparison_is_not_heard() -> None:
    state, _ = copying()
    after, ordered = feed(state, ev.Received(msg.Compared(3, 9999, equal=True)))
    assert (after, ordered) == (state, [])


@pytest.mark.parametrize("copy", [Copy.FAILED, Copy.REWRITING])
def test_a_copy_that_failed_is_written_anew_and_not_compared(copy: Copy) -> None:
    state, ordered = feed(
        started("b", FIRST, 1, copy),
        ev.RecordRead(ALONE, 2),
        ev.SessionUp(PEER),
        ev.Received(msg.Standing(2, 2, Phase.ALONE, 0)),
        ev.Received(msg.ResyncStart(2, ALONE.proposal)),
    )
    (persist,) = [action for action in ordered if isinstance(action, act.Persist)]
    assert persist.metadata.copy is Copy.REWRITING, "an interrupted copy must not be forgotten"
    state, ordered = feed(
        state, ev.Persisted(persist.metadata), ev.Received(msg.Compare(2, 5, 0, COPY_CHUNK_BYTES, bytes(32)))
    )
    assert act.Send(msg.Compared(2, 5, equal=False)) in ordered
    assert not [action for action in ordered if isinstance(action, act.CompareRange)]


def mirroring() -> PairState:
    """``a`` is primary of both in epoch 3, in a session with ``b``."""
    return attrs.evolve(
        alone(), phase=Phase.MIRRORING, record=attrs.evolve(FIRST, epoch=3), partner=PEER, session=PEER, sessions=1
    )


def test_a_refused_claim_is_tried_again_after_a_pause_and_not_at_once() -> None:
    """With a peer that restarted there is nothing to resume: waiting for the arbiter must not become a busy loop."""
    state, _ = feed(mirroring(), ev.SessionLost(ev.Loss.CLOSED))
    state, ordered = feed(state, ev.SessionUp(PEER + 1))
    (swap,) = [action for action in ordered if isinstance(action, act.Swap)]
    state, ordered = feed(state, ev.Swapped(swap.record.proposal, SwapOutcome.REFUSED))
    assert state.phase is Phase.CLAIMING
    assert not [action for action in ordered if isinstance(action, act.Swap | act.Moved)]
    assert [action.timer for action in ordered if isinstance(action, act.SetTimer)] == [ev.Timer.ARBITER_RETRY]


@pytest.mark.parametrize(
    "event",
    [
        ev.StopAsked("asked"),
        ev.StoreFailed(),
        ev.RecordRead(attrs.evolve(FIRST, epoch=4, primary="b", members=("b",), proposal="2"), 9),
        ev.SessionLost(ev.Loss.CLOSED),
        ev.TimerFired(ev.Timer.HANDOVER_LIMIT),
    ],
)
def test_a_handover_always_ends_for_who_asked(event: ev.Event) -> None:
    state = attrs.evolve(mirroring(), standing=msg.Standing(3, 3, Phase.FOLLOWING, ord("a")))
    state, ordered = feed(state, ev.HandoverAsked())
    assert state.phase is Phase.HANDING_OVER
    assert not [action for action in ordered if isinstance(action, act.HandoverEnded)]
    _, ordered = feed(state, event)
    (ended,) = [action for action in ordered if isinstance(action, act.HandoverEnded)]
    assert ended.problem


def outdated() -> tuple[PairState, Record]:
    """``a`` was abandoned in epoch 1, and is in session with ``b``, forced since; the record that it knows.

    The arbiter had answered for a while with a record of another line, of the epoch and the revision that ``b`` claims.
    """
    forced = FIRST.fork(primary="b", lineage="second", proposal="2" * 32)
    false = attrs.evolve(forced.succeed(primary="b", members=("b",), proposal="9" * 32), lineage="foreign")
    state, _ = feed(
        started("a", FIRST, 1),
        ev.RecordRead(false, 3),
        ev.SessionUp(PEER),
        ev.Received(msg.Standing(3, 3, Phase.ALONE, 0)),
    )
    assert (state.phase, state.epoch) == (Phase.OUTDATED, 3)
    return state, forced.succeed(primary="b", members=("b",), proposal="3" * 32)


def test_a_target_does_not_follow_a_source_by_another_record_of_the_same_epoch() -> None:
    """What it persisted of it, it would believe for ever, and stop at the pair's own record."""
    state, true = outdated()
    state, ordered = feed(state, ev.Received(msg.ResyncStart(3, true.proposal)))
    assert ordered == [act.ReadRecord()]
    assert state.phase is Phase.OUTDATED
    state, ordered = feed(state, ev.RecordRead(true, 3))
    assert (state.phase, state.why) == (Phase.STOPPED, "arbiter-went-back")
    assert not [action for action in ordered if isinstance(action, act.Persist)]


def test_it_follows_the_source_by_a_later_record() -> None:
    state, true = outdated()
    state, _ = feed(state, ev.Received(msg.ResyncStart(3, true.proposal)))
    later = true.succeed(primary="b", members=("b",), proposal="4" * 32)
    state, _ = feed(state, ev.RecordRead(later, 4), ev.Received(msg.Standing(4, 4, Phase.ALONE, 0)))
    assert (state.phase, state.epoch) == (Phase.OUTDATED, 4)
    state, ordered = feed(state, ev.Received(msg.ResyncStart(4, later.proposal)))
    (persist,) = [action for action in ordered if isinstance(action, act.Persist)]
    assert (persist.metadata.lineage, persist.metadata.copy) == ("second", Copy.RESYNCING)
