"""What a node makes of the record that its peer has from the arbiter: no claim, and no acting, on one that is past."""

import attrs
import pytest

from ctlha_trio._errors import FailedError
from ctlha_trio.ha._status import has_stopped
from ctlha_trio.pair import (
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
from ctlha_trio.pair._state import Resync, Stage, SwapAttempt
from ctlha_trio.pair._step import ARBITER_RETRY_S, Step
from ctlha_trio.wire import KnownRecord

BOTH = ("a", "b")
PEER = 77
FIRST = Record(cluster="c", resource="r", epoch=3, lineage="l", primary="a", members=BOTH, proposal="0")
CLAIMED = attrs.evolve(FIRST, epoch=4, members=("a",), proposal="1")
TOLD = KnownRecord("l", 4, 4, leads=True)
"""That ``a`` went on alone, of which the disk of ``b`` does not know."""


def metadata(node: str, record: Record, heard: KnownRecord | None = None) -> Metadata:
    return Metadata(
        cluster="c",
        node=node,
        resource="r",
        lineage=record.lineage,
        ancestors=record.ancestors,
        arbiter="x",
        epoch=record.epoch,
        revision=record.epoch,
        primary=record.primary,
        members=record.members,
        copy=Copy.MEMBER,
        heard=heard,
    )


def booted(disk: Metadata) -> PairState:
    peer = "b" if disk.node == "a" else "a"
    return boot(
        me=disk.node,
        peer=peer,
        incarnation=ord(disk.node),
        size_bytes=2 * COPY_CHUNK_BYTES,
        metadata=disk,
        marked_from=None,
    )[0]


def feed(state: PairState, *fed: ev.Event | msg.Message) -> tuple[PairState, list[act.Action]]:
    ordered: list[act.Action] = []
    for event in fed:
        state, actions = step_pair(state, event if isinstance(event, ev.Event) else ev.Received(event))
        ordered += actions
    return state, ordered


def waiting() -> PairState:
    """``b`` was a member of epoch 3, and the arbiter shows that record."""
    state, _ = feed(booted(metadata("b", FIRST)), ev.RecordRead(FIRST, 3))
    assert state.phase is Phase.WAITING
    return state


def went_back(state: PairState) -> bool:
    return (state.phase, state.why) == (Phase.STOPPED, "arbiter-went-back")


def persisted(ordered: list[act.Action]) -> list[KnownRecord | None]:
    return [each.metadata.heard for each in ordered if isinstance(each, act.Persist)]


@pytest.mark.parametrize(
    "told",
    [
        (ev.PeerKnows(TOLD),),
        (ev.SessionUp(PEER), msg.Standing(4, 4, Phase.ALONE, 0, "l", leads=True)),
    ],
    ids=["hello", "standing"],
)
def test_a_member_that_was_told_of_a_later_record_stops_if_the_arbiter_shows_less(
    told: tuple[ev.Event | msg.Message, ...],
) -> None:
    state, ordered = feed(waiting(), *told)
    assert act.ReadRecord() in ordered
    assert persisted(ordered) == [TOLD]
    state, ordered = feed(state, ev.RecordRead(FIRST, 3))
    assert went_back(state)
    assert not any(isinstance(each, act.Swap) for each in ordered)


def test_a_claim_waits_for_the_arbiter_to_show_what_the_peer_has_told() -> None:
    """The timer runs out before the arbiter has answered; it never does, so nothing is claimed."""
    state, _ = feed(waiting(), ev.PeerKnows(TOLD))
    state, ordered = feed(state, ev.TimerFired(ev.Timer.PEER_WAIT))
    assert state.phase is Phase.WAITING
    assert {type(each) for each in ordered} == {act.CancelTimer}
    state, ordered = feed(state, ev.ReadFailed(), ev.TimerFired(ev.Timer.RECORD_POLL))
    assert act.ReadRecord() in ordered
    assert went_back(feed(state, ev.RecordRead(FIRST, 3))[0])
    assert feed(state, ev.RecordRead(CLAIMED, 4))[0].phase is Phase.OUTDATED


def test_an_answer_that_was_asked_for_before_is_asked_for_again() -> None:
    """The record may have moved in between; only what is asked for later can show that the arbiter went back."""
    state, _ = feed(booted(metadata("b", FIRST)), ev.PeerKnows(TOLD))
    state, ordered = feed(state, ev.RecordRead(FIRST, 3))
    assert (state.phase, ordered) == (Phase.BOOTING, [act.ReadRecord()])
    assert feed(state, ev.RecordRead(CLAIMED, 4))[0].phase is Phase.OUTDATED
    assert went_back(feed(state, ev.RecordRead(FIRST, 3))[0])


def test_what_was_told_outlives_the_process() -> None:
    state, ordered = feed(waiting(), ev.PeerKnows(TOLD))
    (disk,) = [each.metadata for each in ordered if isinstance(each, act.Persist)]
    assert attrs.evolve(disk, heard=None) == state.metadata
    assert went_back(feed(booted(disk), ev.RecordRead(FIRST, 3))[0])
    assert feed(booted(disk), ev.RecordRead(CLAIMED, 4))[0].phase is Phase.OUTDATED


def test_what_the_arbiter_has_shown_outlives_the_process_of_who_does_not_count() -> None:
    """Nobody was there to tell ``b``: it read by itself that ``a`` had gone on alone."""
    state, ordered = feed(booted(metadata("b", FIRST)), ev.RecordRead(CLAIMED, 4))
    assert state.phase is Phase.OUTDATED
    assert persisted(ordered) == [TOLD]
    (disk,) = [each.metadata for each in ordered if isinstance(each, act.Persist)]
    assert attrs.evolve(disk, heard=None) == state.metadata
    assert went_back(feed(booted(disk), ev.RecordRead(FIRST, 3))[0])
    state, ordered = feed(booted(disk), ev.RecordRead(CLAIMED, 4))
    assert (state.phase, persisted(ordered)) == (Phase.OUTDATED, [])


OWN_CLAIM = attrs.evolve(FIRST, epoch=4, primary="b", members=("b",), proposal="b's")
"""As ``CLAIMED``, by ``b``: the arbiter was restored to ``FIRST`` in between."""


def test_that_the_peer_has_another_record_of_the_same_epoch_outlives_the_process() -> None:
    """Both have acknowledged alone. Whichever starts first, and alone, must not go on as if it were the one."""
    state, ordered = feed(booted(metadata("b", OWN_CLAIM)), ev.RecordRead(OWN_CLAIM, 4), ev.PeerKnows(TOLD))
    (disk,) = [each.metadata for each in ordered if isinstance(each, act.Persist) and each.metadata.heard is not None]
    assert disk.heard == TOLD
    state, ordered = feed(booted(disk), ev.RecordRead(OWN_CLAIM, 4))
    assert went_back(state)
    assert not any(isinstance(each, act.Swap) for each in ordered)


def test_it_is_remembered_beside_the_claim_that_has_that_epoch_too() -> None:
    """``b`` is told while its disk writes the claim that it has won."""
    state, ordered = feed(waiting(), ev.TimerFired(ev.Timer.PEER_WAIT))
    assert state.persisting is not None
    state, ordered = feed(state, ev.Persisted(state.persisting))
    (swap,) = [each for each in ordered if isinstance(each, act.Swap)]
    state, ordered = feed(state, ev.Swapped(swap.record.proposal, SwapOutcome.WON, 4), ev.PeerKnows(TOLD))
    state = attrs.evolve(state, persisting=None, persists=0, metadata=state.persisting or state.metadata)
    assert state.metadata.heard == TOLD
    secured, ordered = feed(state, ev.RecordRead(swap.record, 4))
    assert went_back(feed(booted(secured.metadata), ev.RecordRead(swap.record, 4))[0])


def test_the_older_word_of_the_same_epoch_is_kept_where_the_record_is_persisted() -> None:
    state = attrs.evolve(booted(metadata("b", FIRST)), record=OWN_CLAIM, revision=4, heard=TOLD)
    step = Step(state)
    step.persist(Copy.MEMBER)
    assert step.state.persisting is not None
    assert step.state.persisting.heard == TOLD
    of_this = attrs.evolve(TOLD, leads=False)
    step = Step(attrs.evolve(state, heard=of_this))
    step.persist(Copy.MEMBER)
    assert step.state.persisting is not None
    assert step.state.persisting.heard is None


def test_a_record_of_others_is_not_remembered() -> None:
    """The peer is configured wrongly. Put right, the node must not take the record of its pair for another one."""
    disk = metadata("b", FIRST)
    wrong, _ = boot(me="b", peer="c", incarnation=1, size_bytes=2 * COPY_CHUNK_BYTES, metadata=disk, marked_from=None)
    state, ordered = feed(wrong, ev.RecordRead(CLAIMED, 4))
    assert (state.phase, persisted(ordered)) == (Phase.OUTDATED, [])


def test_what_the_arbiter_has_shown_is_remembered_by_a_disk_that_is_no_good_for_it() -> None:
    """An older copy of the disk of ``a``: once more with the arbiter's old data it would pass for the newest."""
    state, ordered = feed(booted(metadata("a", FIRST)), ev.RecordRead(CLAIMED, 4))
    assert (state.phase, state.why) == (Phase.STOPPED, "copy-went-back")
    (disk,) = [each.metadata for each in ordered if isinstance(each, act.Persist)]
    assert disk.heard == KnownRecord("l", 4, 4, leads=False)
    assert went_back(feed(booted(disk), ev.RecordRead(FIRST, 3))[0])


def test_what_a_node_that_has_stopped_is_told_outlives_its_process() -> None:
    """It knows no better by itself, and nobody may be there to tell it again."""
    state, _ = feed(booted(metadata("b", FIRST)), ev.RecordRead(attrs.evolve(FIRST, cluster="another"), 3))
    assert state.phase is Phase.STOPPED
    assert persisted(feed(state, ev.PeerKnows(TOLD))[1]) == [TOLD]


def test_a_copy_that_is_condemned_remembers_nothing_more() -> None:
    """Its metadata, written once more, would say again that it is whole."""
    state, ordered = feed(waiting(), ev.StoreFailed())
    assert [each.metadata.copy for each in ordered if isinstance(each, act.CondemnCopy)] == [Copy.FAILED]
    assert persisted(feed(state, ev.PeerKnows(TOLD))[1]) == []


def test_a_copy_whose_disk_fails_behind_a_stop_is_condemned_like_any() -> None:
    """What it was told will never be durable: it has not stopped for that, and says so no more."""
    state, ordered = feed(waiting(), ev.PeerKnows(TOLD), ev.RecordRead(FIRST, 3))
    assert went_back(state)
    assert not has_stopped(state)
    state, ordered = feed(state, ev.StoreFailed())
    assert [each.metadata.copy for each in ordered if isinstance(each, act.CondemnCopy)] == [Copy.FAILED]
    assert (state.phase, state.why, has_stopped(state)) == (Phase.STOPPED, "store-failed", True)
    assert feed(state, ev.StoreFailed())[1] == []


def test_what_the_disk_knows_is_persisted_once_and_forgotten_with_the_record_itself() -> None:
    state, _ = feed(waiting(), ev.PeerKnows(TOLD))
    state, ordered = feed(state, ev.PeerKnows(TOLD), ev.PeerKnows(KnownRecord("l", 3, 3, leads=True)))
    assert persisted(ordered) == []
    state, ordered = feed(state, ev.RecordRead(CLAIMED, 4), ev.SessionUp(PEER), msg.ResyncStart(4, CLAIMED.proposal))
    assert [each.metadata.copy for each in ordered if isinstance(each, act.Persist)] == [Copy.RESYNCING]
    assert persisted(ordered) == [None]


def test_a_claim_that_waits_for_the_disk_is_not_made_once_the_peer_has_told() -> None:
    state, _ = feed(waiting(), ev.TimerFired(ev.Timer.PEER_WAIT), ev.PeerKnows(TOLD))
    assert state.phase is Phase.CLAIMING
    assert state.persisting is not None
    state, ordered = feed(state, ev.Persisted(state.persisting))
    assert not any(isinstance(each, act.Swap) for each in ordered)
    assert went_back(feed(state, ev.RecordRead(FIRST, 3))[0])


@pytest.mark.parametrize("leads", [True, False])
def test_a_claim_won_in_an_epoch_that_the_peer_has_is_no_claim_unless_it_is_this_one(leads: bool) -> None:
    """Two that claim from one record are in one epoch. A peer that has read this node's claim names this node."""
    state, _ = feed(waiting(), ev.TimerFired(ev.Timer.PEER_WAIT))
    assert state.persisting is not None
    state, ordered = feed(state, ev.Persisted(state.persisting))
    (swap,) = [each for each in ordered if isinstance(each, act.Swap)]
    won = ev.Swapped(swap.record.proposal, SwapOutcome.WON, 4)
    state, ordered = feed(state, ev.PeerKnows(KnownRecord("l", 4, 4, leads=leads)), won)
    if leads:
        assert state.phase is Phase.CLAIMING
        assert went_back(feed(state, ev.RecordRead(swap.record, 4))[0])
    else:
        assert state.phase is Phase.SECURING


def test_a_win_that_is_long_past_is_looked_up() -> None:
    """The answer came late: the peer, which it made a member, has gone on since."""
    state, _ = feed(waiting(), ev.TimerFired(ev.Timer.PEER_WAIT))
    assert state.persisting is not None
    state, ordered = feed(state, ev.Persisted(state.persisting))
    (swap,) = [each for each in ordered if isinstance(each, act.Swap)]
    state, ordered = feed(
        state, ev.PeerKnows(KnownRecord("l", 5, 5, leads=True)), ev.Swapped(swap.record.proposal, SwapOutcome.WON, 4)
    )
    assert state.phase is Phase.CLAIMING
    later = attrs.evolve(CLAIMED, epoch=5, proposal="5")
    assert feed(state, ev.RecordRead(later, 5))[0].phase is Phase.OUTDATED


def test_another_lineage_is_another_matter() -> None:
    """Of a copy that was abandoned, or of one that is bound to another arbiter."""
    state, ordered = feed(waiting(), ev.PeerKnows(KnownRecord("other", 9, 90, leads=True)))
    assert ordered == []
    state, ordered = feed(state, ev.TimerFired(ev.Timer.PEER_WAIT))
    assert state.phase is Phase.CLAIMING


def test_what_was_told_of_the_line_that_was_left_binds_nobody_any_more() -> None:
    """As adopt-arbiter does it: a line that descends, from an arbiter whose revisions begin anew."""
    adopted = attrs.evolve(FIRST, epoch=5, lineage="m", members=("a",), primary="a", ancestors=("l",), proposal="5")
    state, _ = feed(booted(metadata("b", FIRST, KnownRecord("l", 4, 40, leads=True))), ev.RecordRead(adopted, 4))
    assert (state.phase, state.epoch) == (Phase.OUTDATED, 5)


def test_a_node_tells_what_it_has_from_the_arbiter_and_no_claim_before_it_is_won() -> None:
    state = booted(metadata("a", FIRST))
    assert state.knows == KnownRecord("l", 3, 3, leads=True)
    state, _ = feed(state, ev.RecordRead(FIRST, 3), ev.TimerFired(ev.Timer.PEER_WAIT))
    assert state.persisting is not None
    state, ordered = feed(state, ev.Persisted(state.persisting))
    assert state.knows == KnownRecord("l", 3, 3, leads=True)
    (swap,) = [each for each in ordered if isinstance(each, act.Swap)]
    state, _ = feed(state, ev.Swapped(swap.record.proposal, SwapOutcome.WON, 4))
    assert state.knows == TOLD


@pytest.mark.parametrize(
    "shown",
    [
        attrs.evolve(FIRST, epoch=9, lineage="foreign"),
        attrs.evolve(FIRST, epoch=9, cluster="foreign"),
        attrs.evolve(FIRST, epoch=2),
    ],
    ids=["foreign lineage", "foreign record", "older"],
)
def test_a_node_that_stopped_tells_what_its_disk_knows_and_not_what_it_did_not_believe(shown: Record) -> None:
    state, _ = feed(booted(metadata("a", CLAIMED)), ev.RecordRead(shown, shown.epoch))
    assert state.phase is Phase.STOPPED
    assert state.knows == TOLD


def test_a_node_that_ended_is_told_nothing_any_more() -> None:
    state, _ = feed(booted(metadata("a", FIRST)), ev.StopAsked("asked"))
    assert feed(state, ev.PeerKnows(TOLD)) == (state, [])


def test_a_node_that_was_told_of_a_later_record_is_not_forced_before_that_is_cleared_up() -> None:
    state, _ = feed(waiting(), ev.PeerKnows(TOLD))
    with pytest.raises(FailedError, match="node a has told of a later record"):
        plan_force(state, "a", "new")


def test_a_member_that_loses_its_partner_holds_until_the_arbiter_shows_what_it_was_told() -> None:
    state = attrs.evolve(waiting(), phase=Phase.FOLLOWING, session=PEER, sessions=1, partner=PEER, heard=TOLD)
    state, ordered = feed(state, ev.SessionLost(ev.Loss.GOODBYE))
    assert state.phase is Phase.SUSPENDED
    assert act.ReadRecord() in ordered
    assert not any(isinstance(each, act.Persist) for each in ordered)


FORCED = KnownRecord("m", 9, 9, leads=True, ancestors=("l",))
"""Somebody forced ``a``, and ``b``, which is alone in the line before, comes to hear of it."""
ALONE = attrs.evolve(FIRST, epoch=4, primary="b", members=("b",), proposal="1")
READ = Operation(OperationKind.READ, 1, 3, 0, 512)
LATER = pytest.mark.parametrize("told", [FORCED, KnownRecord("l", 9, 9, leads=True)], ids=["forced", "displaced"])


def claimed() -> PairState:
    """``b`` has won epoch 4; only the last permit that it granted is still out."""
    state, _ = feed(waiting(), ev.TimerFired(ev.Timer.PEER_WAIT))
    assert state.persisting is not None
    state, ordered = feed(state, ev.Persisted(state.persisting))
    (swap,) = [each for each in ordered if isinstance(each, act.Swap)]
    state, _ = feed(state, ev.Swapped(swap.record.proposal, SwapOutcome.WON, 4))
    assert state.persisting is not None
    state, _ = feed(state, ev.Persisted(state.persisting))
    assert state.phase is Phase.SECURING
    return state


def alone() -> PairState:
    state, _ = feed(claimed(), ev.TimerFired(ev.Timer.PERMIT_OUT))
    assert state.phase is Phase.ALONE
    return state


def write(ticket: int) -> ev.Submitted:
    return ev.Submitted(ticket, Operation(OperationKind.WRITE, 1, ticket, 0, 512))


def outcomes(ordered: list[act.Action]) -> list[Outcome]:
    return [each.outcome for each in ordered if isinstance(each, act.Answer)]


@LATER
def test_a_sole_primary_answers_nobody_once_the_peer_has_told_of_a_later_record(told: KnownRecord) -> None:
    """Not what it has begun, nor what comes: the arbiter is silent, and the peer serves."""
    state, ordered = feed(alone(), write(1), ev.Submitted(2, attrs.evolve(READ, offset=4096)))
    (begun,) = [each for each in ordered if isinstance(each, act.StoreWrite)]
    (fetch,) = [each for each in ordered if isinstance(each, act.FetchRead)]
    state, ordered = feed(attrs.evolve(state, resync=Resync()), ev.PeerKnows(told), ev.SessionUp(PEER))
    assert (state.phase, state.resync, act.ReadRecord() in ordered) == (Phase.SUSPENDED, None, True)
    ends = ev.Stored(begun.sequence), ev.Fetched(fetch.fetch), write(3), ev.Submitted(4, READ)
    state, since = feed(state, *ends)
    for _ in range(3):
        assert act.SetTimer(ev.Timer.CLAIM, ARBITER_RETRY_S) in ordered, "it asks on"
        state, ordered = feed(state, ev.ReadFailed(), ev.TimerFired(ev.Timer.CLAIM))
        assert act.ReadRecord() in ordered
        since += ordered
    assert outcomes(since) == []
    assert not any(isinstance(each, act.Swap | act.FetchRead) for each in since)


def test_a_sole_primary_that_was_told_ends_what_it_holds_once_the_arbiter_answers() -> None:
    state, ordered = feed(alone(), write(1))
    state, _ = feed(state, ev.PeerKnows(FORCED), ev.SessionUp(PEER), write(2))
    forced = ALONE.fork(primary="a", lineage="m", proposal="9")
    shown, ordered = feed(state, ev.RecordRead(attrs.evolve(forced, epoch=9), 9))
    assert shown.phase is Phase.OUTDATED
    assert outcomes(ordered) == [Outcome.UNKNOWN, Outcome.NOT_PRIMARY]
    asked_since, _ = feed(state, ev.ReadFailed(), ev.TimerFired(ev.Timer.CLAIM))
    assert state.record is not None
    assert went_back(feed(asked_since, ev.RecordRead(state.record, state.revision))[0])


@LATER
def test_a_node_that_is_told_while_it_secures_its_claim_does_not_begin_to_serve(told: KnownRecord) -> None:
    state, ordered = feed(claimed(), write(1), ev.PeerKnows(told), ev.TimerFired(ev.Timer.PERMIT_OUT))
    assert state.phase is Phase.SUSPENDED
    assert outcomes(ordered) == []
    assert not any(isinstance(each, act.StoreWrite) for each in ordered)


@LATER
def test_a_source_that_is_told_does_not_serve_on_without_its_target(told: KnownRecord) -> None:
    """It was about to admit its peer, which then left, or whose admission the arbiter has refused."""
    state, ordered = feed(alone(), write(7))
    (begun,) = [each for each in ordered if isinstance(each, act.StoreWrite)]
    draining = attrs.evolve(state, phase=Phase.ADMITTING, stage=Stage.DRAINING, session=PEER, sessions=1)
    state, ordered = feed(draining, ev.PeerKnows(told), ev.Stored(begun.sequence))
    assert (state.phase, outcomes(ordered)) == (Phase.ADMITTING, [])
    assert outcomes(feed(draining, ev.Stored(begun.sequence))[1]) == [Outcome.DONE], "it would be answered"
    admitting = attrs.evolve(alone(), phase=Phase.ADMITTING, stage=Stage.ASKING, session=PEER, sessions=1)
    state, _ = feed(admitting, ev.PeerKnows(told))
    assert state.phase is Phase.ADMITTING
    assert feed(state, ev.SessionLost(ev.Loss.CLOSED))[0].phase is Phase.SUSPENDED
    swap = SwapAttempt(state.revision, ALONE.succeed(primary="b", members=BOTH, proposal="5"), calling=True)
    state = attrs.evolve(state, stage=Stage.SWAPPING, swap=swap, partner=PEER)
    state, ordered = feed(state, write(1), ev.Swapped("5", SwapOutcome.REFUSED, None))
    assert (state.phase, outcomes(ordered)) == (Phase.SUSPENDED, [])
