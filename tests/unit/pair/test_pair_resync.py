"""What a returning node is sent: where the copies may differ since an epoch in which both were equal, or everything."""

from collections.abc import Sequence
from unittest.mock import ANY

import attrs
import pytest

from ctlha_trio.pair import (
    COPY_CHUNK_BYTES,
    RANGES_LIMIT,
    SEARCH_RANGES,
    Copy,
    Metadata,
    Operation,
    OperationKind,
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
from ctlha_trio.pair._resync_pace import COPIES_BESIDE_CLIENTS, RESYNC_REST_S
from ctlha_trio.pair._state import COPY_BYTES_AT_ONCE, RANGE_UNIT_BYTES, Flight, Stage

BLOCK = 4096
SIZE = 2 * COPY_BYTES_AT_ONCE
BOTH = ("a", "b")


def metadata(epoch: int, members: tuple[str, ...], copy: Copy = Copy.MEMBER, base_epoch: int = 0) -> Metadata:
    return Metadata(
        cluster="c",
        node="a",
        resource="r",
        lineage="l",
        arbiter="x",
        epoch=epoch,
        revision=epoch,
        primary="a",
        members=members,
        copy=copy,
        base_epoch=base_epoch,
    )


def booted(disk: Metadata, marked_from: int | None = None) -> PairState:
    state, _ = boot(me="a", peer="b", incarnation=1, size_bytes=SIZE, metadata=disk, marked_from=marked_from)
    return step_pair(state, ev.TimerFired(ev.Timer.PERMIT_OUT))[0]


def feed(state: PairState, *fed: ev.Event | msg.Message) -> tuple[PairState, list[act.Action]]:
    """Events and messages in a row. What is intended or heard is durable at once."""
    ordered: list[act.Action] = []
    for each in fed:
        state, actions = step_pair(state, each if isinstance(each, ev.Event) else ev.Received(each))
        ordered += actions
        if state.phase is Phase.CLAIMING and state.stage is Stage.PERSISTING and state.persisting is not None:
            state, actions = step_pair(state, ev.Persisted(state.persisting))
            ordered += actions
        if state.persisting == attrs.evolve(state.metadata, heard=state.heard):
            state, _ = step_pair(state, ev.Persisted(state.persisting))
            ordered = [each for each in ordered if each != act.Persist(state.metadata)]
    return state, ordered


def alone() -> PairState:
    """``a`` serves alone in epoch 6; both copies were equal in epoch 4, and it has started anew since."""
    disk = metadata(5, ("a",), base_epoch=4)
    record = Record(cluster="c", resource="r", epoch=5, lineage="l", primary="a", members=("a",), proposal="0")
    state, ordered = feed(booted(disk, marked_from=4), ev.RecordRead(record, 5))
    (swap,) = (each for each in ordered if isinstance(each, act.Swap))
    state, ordered = feed(state, ev.Swapped(swap.record.proposal, SwapOutcome.WON, 6))
    assert [each for each in ordered if isinstance(each, act.Track | act.Persist)] == [
        act.Track(4, ()),
        act.Persist(metadata(6, ("a",), base_epoch=4)),
    ]
    state, _ = feed(state, ev.Persisted(metadata(6, ("a",), base_epoch=4)))
    assert state.phase is Phase.ALONE
    return state


def asked(base_epoch: int, *own: tuple[int, int]) -> tuple[PairState, list[act.Action]]:
    """``b`` comes back to it, with these ranges of its own."""
    return feed(
        alone(),
        ev.SessionUp(2),
        msg.Standing(6, 6, Phase.OUTDATED, 0),
        *(msg.OwnRange(6, *where) for where in own),
        msg.ResyncReady(6, base_epoch),
    )


def write(ticket: int, offset: int) -> ev.Submitted:
    return ev.Submitted(ticket, Operation(OperationKind.WRITE, 1, ticket, offset, BLOCK))


@pytest.mark.parametrize(
    ("disk", "marked_from", "base_epoch"),
    [
        (metadata(4, BOTH), None, 4),
        (metadata(4, BOTH), 4, 4),
        (metadata(4, BOTH), 2, 0),
        (metadata(5, ("a",), base_epoch=4), 4, 4),
        (metadata(5, ("a",), base_epoch=4), None, 0),
        (metadata(5, ("a",), base_epoch=4), 3, 0),
        (metadata(5, ("b",), Copy.SEALED, base_epoch=4), None, 0),
        (metadata(5, ("b",), Copy.RESYNCING, base_epoch=4), 4, 0),
    ],
)
def test_marks_are_relied_on_after_a_restart_only_if_they_count_from_what_is_known(
    disk: Metadata, marked_from: int | None, base_epoch: int
) -> None:
    assert booted(disk, marked_from).base_epoch == base_epoch


@pytest.mark.parametrize(
    ("disk", "synced_epoch"),
    [
        (metadata(4, BOTH), 4),
        (metadata(4, BOTH, Copy.FAILED), 0),
        (metadata(5, ("a",), base_epoch=4), 4),
        (metadata(5, ("b",), Copy.RESYNCING, base_epoch=4), 4),
        (metadata(5, ("b",), Copy.SEALED), 0),
    ],
)
def test_a_copy_knows_when_it_was_equal_to_the_other(disk: Metadata, synced_epoch: int) -> None:
    assert disk.synced_epoch == synced_epoch


def test_what_the_target_names_is_marked_too_and_only_what_is_marked_is_compared() -> None:
    state, ordered = asked(4, (BLOCK, BLOCK), (COPY_CHUNK_BYTES, BLOCK))
    search = ordered[-1]
    assert ordered[-2:] == [act.MarkDirty(((BLOCK, BLOCK), (COPY_CHUNK_BYTES, BLOCK))), act.FindDirty(ANY, 0)]
    assert isinstance(search, act.FindDirty)
    state, ordered = feed(state, ev.DirtyFound(search.search, ((COPY_CHUNK_BYTES, RANGE_UNIT_BYTES),)))
    compare, search = ordered
    assert compare == act.SendCompare(6, ANY, COPY_CHUNK_BYTES, RANGE_UNIT_BYTES)
    assert search == act.FindDirty(ANY, COPY_CHUNK_BYTES + RANGE_UNIT_BYTES)
    assert isinstance(compare, act.SendCompare)
    state, ordered = feed(state, ev.DirtyFound(search.search))
    assert (ordered, state.phase) == ([], Phase.ALONE)
    state, ordered = feed(state, msg.Compared(6, compare.sequence, equal=True))
    assert act.ClearDirty(COPY_CHUNK_BYTES, RANGE_UNIT_BYTES) in ordered
    assert state.phase is Phase.ADMITTING


@pytest.mark.parametrize("base_epoch", [0, 3, 5, 6])
def test_without_a_common_epoch_everything_is_marked_before_the_target_may_rely_on_it(base_epoch: int) -> None:
    state, ordered = asked(base_epoch)
    search = ordered[-1]
    assert ordered[-2:] == [act.MarkDirty(((0, SIZE),)), act.FindDirty(ANY, 0)]
    assert isinstance(search, act.FindDirty)
    _, ordered = feed(state, ev.DirtyFound(search.search, ((0, SIZE),)))
    assert ordered[0] == act.Send(msg.ResyncBase(6, 4))


def test_more_ranges_than_may_be_named_are_everything() -> None:
    _, ordered = asked(4, *((number * BLOCK, BLOCK) for number in range(RANGES_LIMIT + 1)))
    assert ordered[-2] == act.MarkDirty(((0, SIZE),))


def test_an_old_search_is_not_heard() -> None:
    state, ordered = asked(4)
    search = ordered[-1]
    assert isinstance(search, act.FindDirty)
    assert feed(state, ev.DirtyFound(search.search - 1, ((0, BLOCK),))) == (state, [])


def test_a_write_that_a_search_may_have_missed_is_copied_first_with_the_units_it_is_in() -> None:
    state, _ = feed(alone(), write(1, 2 * COPY_CHUNK_BYTES + BLOCK))
    state, ordered = feed(
        state, ev.SessionUp(2), msg.Standing(6, 6, Phase.OUTDATED, 0), msg.ResyncReady(6, 4), write(2, COPY_CHUNK_BYTES)
    )
    (search,) = (each for each in ordered if isinstance(each, act.FindDirty))
    (late,) = (each for each in ordered if isinstance(each, act.StoreWrite))
    found = ev.DirtyFound(search.search, ((3 * COPY_CHUNK_BYTES, BLOCK),))
    state, ordered = feed(state, ev.Stored(late.sequence), found)
    # The range of a write that has not ended is read when it has.
    assert compared_ranges(ordered) == [(COPY_CHUNK_BYTES, RANGE_UNIT_BYTES), (3 * COPY_CHUNK_BYTES, RANGE_UNIT_BYTES)]
    (early,) = (flight.sequence for flight in state.flights if flight.ticket == 1)
    state, ordered = feed(state, ev.Stored(early))
    assert compared_ranges(ordered) == [(2 * COPY_CHUNK_BYTES, RANGE_UNIT_BYTES)]


def test_what_the_peer_had_proposed_before_it_was_lost_is_copied_and_not_pushed_to_it() -> None:
    """It waited for a block to be repaired, and waits for its range still. The target knows nothing of it any more."""
    state, _ = asked(4, (0, BLOCK))
    assert state.resync is not None
    first, second = Operation(OperationKind.WRITE, 1, 1, 0, BLOCK), Operation(OperationKind.WRITE, 9, 1, 0, BLOCK)
    running = Flight(7, first, sequence=3, there=True)
    proposed = Flight(0, second, taken=2, tried=True)
    searched_all = attrs.evolve(state.resync, cursor=SIZE, search=0)
    state = attrs.evolve(state, flights=(running, proposed), resync=searched_all)
    state, ordered = feed(state, ev.Stored(3))
    assert [each.taken for each in ordered if isinstance(each, act.StoreWrite)] == [2]
    assert not [each for each in ordered if isinstance(each, act.PushAssigned | act.PushWrite)]
    assert searched(ordered).offset == 0
    (stored,) = [each.sequence for each in ordered if isinstance(each, act.StoreWrite)]
    state, ordered = feed(state, ev.Stored(stored))
    assert not state.flights


def test_an_offer_that_is_made_again_says_from_where_it_counts_and_forgets_what_the_target_had_named() -> None:
    state, _ = feed(alone(), ev.SessionUp(2), msg.Standing(6, 6, Phase.OUTDATED, 0), msg.OwnRange(6, 0, BLOCK))
    state, ordered = feed(attrs.evolve(state, renewing=True), ev.TimerFired(ev.Timer.ARBITER_RETRY))
    assert act.Send(msg.ResyncStart(6, ANY, 4)) in ordered
    assert state.told_ranges == ()


def test_what_the_peer_had_proposed_ends_before_it_is_admitted() -> None:
    """Begun only then it would be pushed to a member, which knows no proposal of that number."""
    state, _ = asked(4, (0, BLOCK))
    assert state.resync is not None
    repair, write = Operation(OperationKind.REPAIR_HERE, 0, 0, 0, BLOCK), Operation(OperationKind.WRITE, 9, 1, 0, BLOCK)
    running, proposed = Flight(0, repair, sequence=3, there=True), Flight(0, write, taken=2, tried=True)
    searched_all = attrs.evolve(state.resync, cursor=SIZE, search=0)
    state = attrs.evolve(state, flights=(running, proposed), resync=searched_all)
    state, _ = feed(state, msg.Standing(6, 6, Phase.RESYNCING, 0))
    assert state.phase is Phase.ALONE
    state, ordered = feed(state, ev.Stored(3))
    (stored,) = (each for each in ordered if isinstance(each, act.StoreWrite))
    state, ordered = feed(state, ev.Stored(stored.sequence), ev.DirtyFound(searched(ordered).search))
    (compare,) = (each for each in ordered if isinstance(each, act.SendCompare))
    state, ordered = feed(state, msg.Compared(6, compare.sequence, equal=True), ev.DirtyFound(searched(ordered).search))
    assert (state.phase, state.flights) == (Phase.ADMITTING, ())


def compared_ranges(ordered: Sequence[act.Action]) -> list[tuple[int, int]]:
    return [(each.offset, each.size) for each in ordered if isinstance(each, act.SendCompare)]


def searched(ordered: Sequence[act.Action]) -> act.FindDirty:
    (search,) = (each for each in ordered if isinstance(each, act.FindDirty))
    return search


def test_a_write_under_way_beyond_what_was_found_leaves_nothing_unsearched_before_it() -> None:
    """A search ends after some ranges: between the last of them and the write there may be more."""
    state, _ = feed(alone(), write(1, 2 * COPY_CHUNK_BYTES))
    state, ordered = feed(state, ev.SessionUp(2), msg.Standing(6, 6, Phase.OUTDATED, 0), msg.ResyncReady(6, 4))
    state, ordered = feed(state, ev.DirtyFound(searched(ordered).search, ((0, RANGE_UNIT_BYTES),)))
    assert compared_ranges(ordered) == [(0, RANGE_UNIT_BYTES)]
    assert searched(ordered).offset == RANGE_UNIT_BYTES


def test_one_search_is_for_as_many_ranges_as_there_is_room_for() -> None:
    state, ordered = asked(4)
    ranges = tuple((2 * number * RANGE_UNIT_BYTES, RANGE_UNIT_BYTES) for number in range(SEARCH_RANGES))
    state, ordered = feed(state, ev.DirtyFound(searched(ordered).search, ranges))
    assert compared_ranges(ordered) == list(ranges)
    search = searched(ordered)
    assert search.offset == sum(ranges[-1])
    state, ordered = feed(state, ev.DirtyFound(search.search, ((search.offset, SIZE - search.offset),)))
    assert [size for _, size in compared_ranges(ordered)] == [COPY_CHUNK_BYTES] * 3, "beside the MiB under way"


def test_no_more_is_copied_at_once_than_there_is_room_for() -> None:
    state, ordered = asked(0)
    state, ordered = feed(state, ev.DirtyFound(searched(ordered).search, ((0, SIZE),)))
    compared = compared_ranges(ordered)
    assert sum(size for _, size in compared) == COPY_BYTES_AT_ONCE
    assert not any(isinstance(each, act.FindDirty) for each in ordered)
    sequences = [each.sequence for each in ordered if isinstance(each, act.SendCompare)]
    half = len(sequences) // 2
    state, ordered = feed(state, *(msg.Compared(6, each, equal=True) for each in sequences[: half - 1]))
    assert not any(isinstance(each, act.FindDirty) for each in ordered), "a search for one range"
    state, ordered = feed(state, msg.Compared(6, sequences[half - 1], equal=True))
    assert searched(ordered).offset == COPY_BYTES_AT_ONCE


def mirroring() -> PairState:
    """``a`` is the primary of two members in epoch 7."""
    state, ordered = asked(4)
    (search,) = (each for each in ordered if isinstance(each, act.FindDirty))
    state, _ = feed(state, ev.DirtyFound(search.search), msg.Sealed(6))
    assert state.persisting is not None
    state, ordered = feed(state, ev.Persisted(state.persisting))
    (swap,) = (each for each in ordered if isinstance(each, act.Swap))
    state, ordered = feed(state, ev.Swapped(swap.record.proposal, SwapOutcome.WON, 7))
    (persist,) = (each for each in ordered if isinstance(each, act.Persist))
    state, ordered = feed(state, ev.Persisted(persist.metadata))
    assert not any(isinstance(each, act.StopTracking) for each in ordered), "the target has not persisted it yet"
    state, ordered = feed(state, msg.Joined(7), msg.Standing(7, 7, Phase.FOLLOWING, 1))
    assert act.StopTracking() in ordered
    return state


def test_a_primary_marks_its_writes_under_way_before_it_persists_that_it_is_alone() -> None:
    state, _ = feed(mirroring(), write(1, 0), write(2, BLOCK))
    state, ordered = feed(state, ev.SessionLost(ev.Loss.SILENT))
    (swap,) = (each for each in ordered if isinstance(each, act.Swap))
    _, ordered = feed(state, ev.Swapped(swap.record.proposal, SwapOutcome.WON, 8))
    tracked, persisted = (each for each in ordered if isinstance(each, act.Track | act.Persist))
    assert tracked == act.Track(7, ((0, BLOCK), (BLOCK, BLOCK)))
    assert persisted == act.Persist(metadata(8, ("a",), base_epoch=7))


def test_a_node_that_leaves_marks_its_writes_under_way_before_it_says_goodbye() -> None:
    state, _ = feed(mirroring(), write(1, 0))
    _, ordered = feed(state, ev.StopAsked("asked"))
    marked, left = (each for each in ordered if isinstance(each, act.MarkDirty | act.Goodbye))
    assert (marked, left) == (act.MarkDirty(((0, BLOCK),)), act.Goodbye("asked"))


def test_what_a_primary_sent_may_differ_until_it_says_that_both_have_it() -> None:
    record = Record(cluster="c", resource="r", epoch=6, lineage="l", primary="b", members=("b",), proposal="0")
    state, _ = feed(booted(metadata(4, BOTH)), ev.RecordRead(record, 6), ev.SessionUp(2))
    state, ordered = feed(state, msg.Standing(6, 6, Phase.ALONE, 0), msg.ResyncStart(6, record.proposal))
    (persist,) = (each for each in ordered if isinstance(each, act.Persist))
    assert (persist.metadata.copy, persist.metadata.synced_epoch) == (Copy.RESYNCING, 4)
    state, ordered = feed(state, ev.Persisted(persist.metadata))
    assert act.SendReady(6, 4) in ordered
    state, _ = feed(state, msg.MirrorWrite(6, 1, 0, 1, 0, BLOCK), msg.MirrorWrite(6, 2, 1, 1, BLOCK, BLOCK))
    assert state.may_differ == ((0, BLOCK), (BLOCK, BLOCK))
    state, _ = feed(state, ev.Stored(1), ev.Stored(2), msg.MirrorWrite(6, 3, 2, 2, 2 * BLOCK, BLOCK))
    assert state.may_differ == ((BLOCK, BLOCK), (2 * BLOCK, BLOCK))
    _, ordered = feed(state, ev.SessionLost(ev.Loss.CLOSED))
    assert act.MarkDirty(state.may_differ) in ordered


def test_a_target_goes_on_from_the_source_s_base_once_that_has_marked_everything() -> None:
    record = Record(cluster="c", resource="r", epoch=6, lineage="l", primary="b", members=("b",), proposal="0")
    disk = metadata(4, BOTH, Copy.FAILED)
    state, _ = feed(booted(disk), ev.RecordRead(record, 6), ev.SessionUp(2))
    state, ordered = feed(state, msg.Standing(6, 6, Phase.ALONE, 0), msg.ResyncStart(6, record.proposal))
    (persist,) = (each for each in ordered if isinstance(each, act.Persist))
    assert (persist.metadata.copy, persist.metadata.synced_epoch) == (Copy.REWRITING, 0)
    state, _ = feed(state, ev.Persisted(persist.metadata))
    _, ordered = feed(state, msg.ResyncBase(6, 5))
    assert ordered == [act.Persist(attrs.evolve(persist.metadata, base_epoch=5))]


def resyncing_beside_a_client() -> tuple[PairState, list[act.Action]]:
    """Everything is to be copied, and a client wrote while the first ranges were under way."""
    state, ordered = asked(0)
    state, ordered = feed(state, ev.DirtyFound(searched(ordered).search, ((0, SIZE),)))
    return feed(state, write(1, SIZE - BLOCK), *equal(ordered))


def equal(ordered: Sequence[act.Action]) -> list[msg.Compared]:
    """The target's answers: nothing differs."""
    return [msg.Compared(6, each.sequence, equal=True) for each in ordered if isinstance(each, act.SendCompare)]


def test_beside_clients_a_resync_rests_between_small_steps() -> None:
    state, ordered = resyncing_beside_a_client()
    assert ordered[-1] == act.SetTimer(ev.Timer.RESYNC_REST, RESYNC_REST_S)
    assert not any(isinstance(each, act.FindDirty) for each in ordered)
    for step in range(3):
        state, _ = feed(state, write(2 + step, BLOCK))
        state, ordered = feed(state, ev.TimerFired(ev.Timer.RESYNC_REST))
        assert searched(ordered).offset == COPY_BYTES_AT_ONCE + step * COPY_CHUNK_BYTES
        state, ordered = feed(state, ev.DirtyFound(searched(ordered).search, ((0, SIZE),)))
        assert [size for _, size in compared_ranges(ordered)] == [COPY_CHUNK_BYTES]
        state, ordered = feed(state, *equal(ordered))
        assert ordered[-1] == act.SetTimer(ev.Timer.RESYNC_REST, RESYNC_REST_S)


def test_a_step_of_small_ranges_is_of_some_of_them() -> None:
    state, _ = resyncing_beside_a_client()
    state, ordered = feed(state, ev.TimerFired(ev.Timer.RESYNC_REST))
    start = COPY_BYTES_AT_ONCE
    ranges = tuple((start + 2 * number * RANGE_UNIT_BYTES, RANGE_UNIT_BYTES) for number in range(SEARCH_RANGES))
    state, ordered = feed(state, ev.DirtyFound(searched(ordered).search, ranges))
    assert compared_ranges(ordered) == list(ranges[:COPIES_BESIDE_CLIENTS])


def test_a_resync_goes_at_full_width_again_when_no_client_came_during_a_rest() -> None:
    state, _ = resyncing_beside_a_client()
    (flight,) = (each for each in state.flights if each.ticket)
    state, _ = feed(state, ev.Stored(flight.sequence))
    state, ordered = feed(state, ev.TimerFired(ev.Timer.RESYNC_REST))
    state, ordered = feed(state, ev.DirtyFound(searched(ordered).search, ((0, SIZE),)))
    assert sum(size for _, size in compared_ranges(ordered)) == COPY_BYTES_AT_ONCE


def test_a_client_that_still_waits_counts_like_one_that_came() -> None:
    state, _ = resyncing_beside_a_client()
    state, ordered = feed(state, ev.TimerFired(ev.Timer.RESYNC_REST))
    state, ordered = feed(state, ev.DirtyFound(searched(ordered).search, ((0, SIZE),)))
    assert [size for _, size in compared_ranges(ordered)] == [COPY_CHUNK_BYTES]


def test_a_rest_of_another_resync_searches_for_nothing() -> None:
    state, _ = asked(0)
    assert feed(state, ev.TimerFired(ev.Timer.RESYNC_REST)) == (state, [])
    state, _ = feed(mirroring(), write(1, 0))
    assert feed(state, ev.TimerFired(ev.Timer.RESYNC_REST)) == (state, [])


def test_a_search_for_which_there_is_no_room_since_a_client_came_is_made_again() -> None:
    """What it found is not equal for that."""
    state, ordered = asked(4)
    half = tuple((2 * number * RANGE_UNIT_BYTES, RANGE_UNIT_BYTES) for number in range(SEARCH_RANGES))
    state, ordered = feed(state, ev.DirtyFound(searched(ordered).search, half))
    again = searched(ordered)
    found = ev.DirtyFound(again.search, ((again.offset, RANGE_UNIT_BYTES),))
    state, _ = feed(state, write(1, SIZE - BLOCK), found)
    state, ordered = feed(state, *equal(ordered), ev.TimerFired(ev.Timer.RESYNC_REST))
    assert searched(ordered).offset == again.offset
