"""Writes that enter at the secondary: pushed once, given a sequence by the primary, done when durable on both."""

import attrs

from ctlha_trio.pair import (
    COPY_CHUNK_BYTES,
    FLIGHTS_LIMIT,
    KEPT_BYTES_MAX,
    Operation,
    OperationKind,
    Outcome,
    Phase,
    SwapOutcome,
    actions as act,
    events as ev,
    messages as msg,
)
from tests.unit.pair.test_pair_core import BLOCK, FIRST, PEER, PROPOSAL, Node, following, mirroring, sealed, standing


def proposing() -> Node:
    """``b`` has proposed a write."""
    return following().write(1)


def assigned(sequence: int = 9) -> Node:
    """It has its sequence."""
    return proposing().hear(msg.Assigned(4, 1, sequence, 0, sequence))


def proposal(
    number: int = 1, kind: OperationKind = OperationKind.WRITE, *, offset: int = 0, size: int = BLOCK
) -> msg.Propose:
    return msg.Propose(4, number, Operation(kind, 9, number, offset, size), size)


def taken() -> tuple[Node, int]:
    """``a`` has taken the proposal of ``b`` and begun it, with that sequence."""
    node = mirroring().hear(proposal())
    return node, node.one(act.PushAssigned).message.sequence


# The secondary.


def test_a_write_at_the_secondary_is_pushed_once_and_done_when_it_is_durable_on_both() -> None:
    node = proposing()
    push = node.one(act.PushProposal)
    assert (push.epoch, push.number, push.ticket, push.operation.where) == (4, 1, 1, (0, BLOCK))
    assert not node.all(act.StoreWrite)
    assert node.hear(msg.Assigned(4, 1, 9, 0, 9)).one(act.StoreWrite).sequence == 9
    assert node.feed(ev.Stored(9)).said == [msg.Applied(4, 9)]
    assert not node.answers
    assert node.hear(msg.Completed(4, 1)).answers == {1: Outcome.DONE}


def test_nothing_is_proposed_before_the_primary_says_that_it_serves() -> None:
    node = sealed().hear(msg.Admitted(4, 4, "f" * 32)).persisted()
    assert not node.write(1).all(act.PushProposal)
    assert node.hear(standing(4, Phase.MIRRORING, ord("b"))).one(act.PushProposal).number == 1


def test_a_sequence_counts_only_if_it_follows_on_the_last_one() -> None:
    node = proposing().hear(msg.Assigned(4, 1, 9, 8, 9))
    assert not node.all(act.StoreWrite)


def test_a_sequence_in_order_for_what_is_not_under_way_ends_the_session() -> None:
    node = proposing().hear(msg.Unexecuted(4, 1, Outcome.NOT_PRIMARY, 0), msg.Assigned(4, 1, 9, 0, 9))
    assert node.one(act.DropSession).reason == "a sequence for proposal 1, which is not under way"
    assert not node.all(act.StoreWrite)
    assert node.state.last_sequence == 0
    assert not node.hear(msg.Assigned(4, 1, 9, 8, 9)).ordered, "one out of order comes of a flap"


def test_after_a_flap_it_is_proposed_again_under_the_same_number() -> None:
    node = proposing().lost().feed(ev.SessionUp(PEER))
    assert not node.all(act.PushProposal)
    node.hear(standing(4, Phase.SUSPENDED, ord("b")))
    assert node.phase is Phase.FOLLOWING
    assert node.hear(standing(4, Phase.MIRRORING, ord("b"))).one(act.PushProposal).number == 1
    assert node.write(2, BLOCK).one(act.PushProposal).number == 2


def test_what_came_while_the_primary_claimed_in_vain_is_proposed_again_although_the_session_lived_on() -> None:
    node = proposing().hear(standing(4, Phase.CLAIMING, ord("b")), standing(4, Phase.SUSPENDED, ord("b")))
    assert node.phase is Phase.FOLLOWING
    assert node.hear(standing(4, Phase.MIRRORING, ord("b"))).one(act.PushProposal).number == 1


def test_after_a_flap_one_with_a_sequence_is_asked_for() -> None:
    node = assigned().feed(ev.Stored(9)).lost().feed(ev.SessionUp(PEER))
    node.hear(standing(4, Phase.SUSPENDED, ord("b")))
    assert msg.SettledAsked(4, 9) in node.said
    node.hear(standing(4, Phase.MIRRORING, ord("b")))
    assert not node.all(act.PushProposal)
    assert node.hear(msg.Settled(4, 9)).answers == {1: Outcome.DONE}


def test_a_read_waits_for_the_writes_that_came_before_it() -> None:
    node = proposing()
    assert not node.read(2).all(act.FetchRead)
    assert node.read(3, BLOCK).all(act.FetchRead)
    node.hear(msg.Assigned(4, 1, 9, 0, 9)).feed(ev.Stored(9))
    assert node.hear(msg.Completed(4, 1)).one(act.FetchRead).ticket == 2


def test_a_flush_waits_for_everything_before_it() -> None:
    node = proposing().flush(2)
    assert not node.answers
    node.hear(msg.Assigned(4, 1, 9, 0, 9)).feed(ev.Stored(9))
    assert node.hear(msg.Completed(4, 1)).answers == {1: Outcome.DONE, 2: Outcome.DONE}


def test_a_flush_behind_a_read_that_meets_damage_passes() -> None:
    node = following().read(1)
    fetch = node.one(act.FetchRead).fetch
    assert not node.flush(2).answers
    node.feed(ev.ReadDamaged(fetch, 0, BLOCK))
    assert node.answers == {1: Outcome.NOT_PRIMARY, 2: Outcome.DONE}


def test_a_write_that_meets_damage_waits_for_another_sequence() -> None:
    node = assigned().feed(ev.Damaged(9, 0, BLOCK))
    assert node.said == [msg.Damaged(4, 9, 0, BLOCK)]
    assert node.hear(msg.Assigned(4, 1, 11, 9, 11)).one(act.StoreWrite).sequence == 11
    assert node.feed(ev.Stored(11)).hear(msg.Completed(4, 1)).answers == {1: Outcome.DONE}


def test_a_write_is_done_anew_if_the_primary_had_to_repair_its_own_disk() -> None:
    node = assigned().feed(ev.Stored(9)).hear(msg.Assigned(4, 1, 11, 9, 11))
    assert node.one(act.StoreWrite).sequence == 11
    assert not node.hear(msg.Completed(4, 1)).answers
    assert node.feed(ev.Stored(11)).answers == {1: Outcome.DONE}


def test_what_neither_disk_could_execute_is_an_error_of_the_medium() -> None:
    node = assigned().feed(ev.Damaged(9, 0, BLOCK)).hear(msg.Unexecuted(4, 1, Outcome.MEDIUM_ERROR, 0))
    assert node.answers == {1: Outcome.MEDIUM_ERROR}


def test_the_survivor_ends_what_was_begun_and_executes_the_rest() -> None:
    node = assigned().write(2, BLOCK).lost(ev.Loss.GOODBYE).wins().persisted()
    assert not node.all(act.StoreWrite), "the disk still writes for the old order"
    node.feed(ev.Stored(9))
    assert node.answers == {1: Outcome.DONE}
    assert node.feed(ev.Stored(node.one(act.StoreWrite).sequence)).answers == {2: Outcome.DONE}


def test_the_survivor_does_not_know_whether_the_old_primary_executed_what_its_own_disk_could_not() -> None:
    node = assigned().lost(ev.Loss.GOODBYE).wins().persisted().feed(ev.Damaged(9, 0, BLOCK))
    assert node.answers == {1: Outcome.UNKNOWN}


def test_who_loses_does_not_know_what_became_of_its_proposals() -> None:
    node = proposing().read(2).flush(3).lost().fires(ev.Timer.CLAIM).gets(SwapOutcome.LOST)
    record = attrs.evolve(FIRST, epoch=5, members=("a",))
    assert node.reads_record(record, 5).answers == {
        1: Outcome.UNKNOWN,
        2: Outcome.NOT_PRIMARY,
        3: Outcome.NOT_PRIMARY,
    }


def test_who_ends_before_it_serves_does_not_know_what_became_of_what_it_took_back() -> None:
    node = proposing().read(2).lost(ev.Loss.GOODBYE).wins()
    assert node.phase is Phase.SECURING
    assert node.write(3, BLOCK).feed(ev.StopAsked("asked")).answers == {
        1: Outcome.UNKNOWN,
        2: Outcome.NOT_PRIMARY,
        3: Outcome.NOT_PRIMARY,
    }


# The primary.


def test_the_primary_answers_with_the_sequence_and_says_when_it_is_done() -> None:
    node, sequence = taken()
    stored = node.one(act.StoreWrite)
    assert (stored.sequence, stored.taken, stored.ticket, stored.operation.where) == (sequence, 1, 0, (0, BLOCK))
    assert msg.Completed(4, 1) not in node.feed(ev.Stored(sequence)).said
    assert msg.Completed(4, 1) in node.hear(msg.Applied(4, sequence)).said


def test_a_proposal_that_comes_again_is_taken_once() -> None:
    node, _ = taken()
    assert not node.hear(proposal()).ordered


def test_a_proposal_waits_for_conflicting_operations_before_it() -> None:
    node = mirroring().write(1)
    sequence = node.one(act.PushWrite).sequence
    assert not node.hear(proposal()).all(act.PushAssigned)
    assert node.feed(ev.Stored(sequence)).hear(msg.Applied(4, sequence)).all(act.PushAssigned)


def test_after_a_flap_the_sequence_is_told_again() -> None:
    node, sequence = taken()
    node.lost().feed(ev.SessionUp(PEER)).hear(standing(4, Phase.SUSPENDED, ord("a")), msg.Resumed(4, 0))
    assert node.one(act.PushAssigned).message.sequence == sequence


def test_what_a_lost_secondary_proposed_and_was_not_begun_is_dropped() -> None:
    node = mirroring().write(1)
    sequence = node.one(act.PushWrite).sequence
    node.hear(proposal()).lost(ev.Loss.GOODBYE).wins().persisted()
    assert node.phase is Phase.ALONE
    node.feed(ev.Stored(sequence))
    assert not node.all(act.StoreWrite)
    assert not node.state.flights


def test_what_the_old_primary_may_have_executed_ends_unknown_where_a_block_of_it_is_lost() -> None:
    """Of two damaged blocks the old primary had repaired one, from a copy on which the write was executed."""
    node = assigned().feed(ev.Damaged(9, 0, BLOCK)).hear(msg.RepairData(4, 10, 0, BLOCK)).feed(ev.Stored(10))
    node.lost(ev.Loss.GOODBYE).wins().persisted()
    assert node.phase is Phase.ALONE
    sequence = node.one(act.StoreWrite).sequence
    assert node.feed(ev.Damaged(sequence, 0, BLOCK)).answers == {1: Outcome.UNKNOWN}


def test_a_block_that_is_damaged_on_both_ends_the_proposal_and_says_so_again() -> None:
    node, sequence = taken()
    node.feed(ev.Damaged(sequence, 0, BLOCK)).hear(msg.Damaged(4, sequence, 0, BLOCK))
    push = node.one(act.PushRange)
    (fetch,) = node.feed(ev.RangeDamaged(push.session, push.sequence, 0, BLOCK)).said
    assert isinstance(fetch, msg.Fetch)
    assert (fetch.offset, fetch.size) == (0, BLOCK)
    assert msg.Unexecuted(4, 1, Outcome.MEDIUM_ERROR, 0) in node.hear(msg.Damaged(4, fetch.sequence, 0, BLOCK)).said
    again = node.hear(proposal())
    assert again.said == [msg.Unexecuted(4, 1, Outcome.NOT_PRIMARY, 0)], "it was not executed, and that is all"


def test_a_secondary_that_proposes_without_end_loses_its_session() -> None:
    node = mirroring()
    for number in range(1, FLIGHTS_LIMIT + 1):
        node.hear(proposal(number))
        assert not node.all(act.DropSession)
    assert isinstance(node.hear(proposal(FLIGHTS_LIMIT + 1, offset=BLOCK)).ordered[0], act.DropSession)
    assert len(node.state.flights) == FLIGHTS_LIMIT


def test_what_was_completed_while_it_was_proposed_again_is_done_whatever_is_said_of_that() -> None:
    node = proposing().lost().feed(ev.SessionUp(PEER)).hear(standing(4, Phase.SUSPENDED, ord("b")))
    assert node.hear(standing(4, Phase.MIRRORING, ord("b"))).all(act.PushProposal)
    node.hear(msg.Assigned(4, 1, 9, 0, 9)).feed(ev.Stored(9))
    assert not node.hear(msg.Unexecuted(4, 1, Outcome.NOT_PRIMARY, 0)).answers
    assert node.hear(msg.Completed(4, 1)).answers == {1: Outcome.DONE}


# Operations beyond writes.

COMPARE, PUT, ZEROES = OperationKind.COMPARE_AND_WRITE, OperationKind.PUT_RECORD, OperationKind.WRITE_ZEROES
AT = 17


def asks(node: Node, kind: OperationKind, ticket: int = 1, *, size: int = BLOCK, offset: int = 0) -> Node:
    return node.feed(ev.Submitted(ticket, Operation(kind, 1, ticket, offset, size)))


def test_a_compare_and_write_is_a_write_once_it_has_a_sequence() -> None:
    node = asks(following(), COMPARE)
    assert node.one(act.PushProposal).operation.kind is COMPARE
    assert not node.all(act.FetchRead), "it is compared where the order is"
    assert node.hear(msg.Assigned(4, 1, 9, 0, 9)).one(act.StoreWrite).sequence == 9
    assert node.state.may_differ == ((0, BLOCK),)
    assert node.feed(ev.Stored(9)).hear(msg.Completed(4, 1)).answers == {1: Outcome.DONE}


def test_a_miscompare_is_told_as_the_primary_says_it() -> None:
    node = asks(following(), COMPARE).hear(msg.Unexecuted(4, 1, Outcome.MISCOMPARE, AT))
    assert node.all(act.Answer) == [act.Answer(1, Outcome.MISCOMPARE, AT)]


def test_the_primary_compares_what_is_proposed_and_says_what_does_not_match() -> None:
    node = mirroring().hear(proposal(kind=COMPARE))
    fetch = node.one(act.FetchRead)
    assert (fetch.taken, fetch.epoch) == (1, 4), "under a permit"
    node.feed(ev.StoredCompared(fetch.fetch, AT))
    assert node.said == [msg.Unexecuted(4, 1, Outcome.MISCOMPARE, AT)]
    assert not node.state.flights


def test_the_primary_gives_a_sequence_to_what_matches() -> None:
    node = mirroring().hear(proposal(kind=COMPARE))
    node.feed(ev.StoredCompared(node.one(act.FetchRead).fetch, None))
    assert node.one(act.StoreWrite).sequence == node.one(act.PushAssigned).message.sequence


def test_a_primary_that_goes_alone_drops_what_it_compares_for_the_other() -> None:
    node = mirroring().hear(proposal(kind=COMPARE)).lost(ev.Loss.GOODBYE).wins().persisted()
    assert node.phase is Phase.ALONE
    assert not node.state.flights


def test_who_takes_over_compares_anew_what_was_compared_and_not_written_here() -> None:
    node = asks(following(), COMPARE).hear(msg.Assigned(4, 1, 9, 0, 9)).feed(ev.Damaged(9, 0, BLOCK))
    node.lost(ev.Loss.GOODBYE).wins().persisted()
    fetch = node.one(act.FetchRead)
    assert not fetch.epoch, "alone, it needs no permit"
    assert node.feed(ev.StoredCompared(fetch.fetch, AT)).answers == {1: Outcome.MISCOMPARE}


def test_a_compare_and_write_that_may_have_been_written_ends_unknown() -> None:
    node = asks(following(), COMPARE).feed(ev.StopAsked("asked"))
    assert node.answers == {1: Outcome.UNKNOWN}


def test_a_record_has_the_same_version_on_both_nodes_and_is_marked_nowhere() -> None:
    node = asks(following(), PUT, size=0).hear(msg.Assigned(4, 1, 9, 0, 9))
    store = node.one(act.StoreRecord)
    assert (store.epoch, store.sequence, store.ticket) == (4, 9, 1)
    assert node.state.may_differ == ()
    assert node.feed(ev.Stored(9)).hear(msg.Completed(4, 1)).answers == {1: Outcome.DONE}
    primary = mirroring().hear(proposal(kind=PUT, size=0))
    stored, assigned = primary.one(act.StoreRecord), primary.one(act.PushAssigned).message
    assert (stored.epoch, stored.sequence, stored.taken) == (assigned.epoch, assigned.sequence, 1)


def crash_takes_over(node: Node) -> Node:
    """What it was not told before is the only thing that waits."""
    return node.lost(ev.Loss.GOODBYE).wins()


def test_who_takes_over_asks_for_room_for_every_put_without_a_sequence_and_waits() -> None:
    node = asks(asks(asks(following(), PUT, 1, size=0), OperationKind.WRITE, 2), PUT, 3, size=0)
    asks(node.hear(msg.Assigned(4, 1, 9, 0, 9)), PUT, 4, size=0)
    crash_takes_over(node)
    assert node.one(act.CheckRoom).tickets == (3, 4)
    node.persisted().feed(ev.Stored(9))
    assert node.phase is Phase.ALONE
    assert not node.all(act.StoreRecord), "it does not know yet"
    node.feed(ev.RoomChecked((3, 4), (3,)))
    assert node.answers == {3: Outcome.FAILED}
    assert node.one(act.StoreRecord).ticket == 4
    assert not node.feed(ev.RoomChecked((3, 4), (3, 4))).ordered, "it was told"


def test_what_is_taken_back_waits_for_room_after_a_handover_too() -> None:
    node = asks(following(), PUT, size=0).prepares(1).persisted()
    node.hear(msg.HandoverDone(5, 5, PROPOSAL)).persisted()
    assert node.phase is Phase.MIRRORING
    assert node.one(act.CheckRoom).tickets == (1,)
    assert not node.all(act.StoreRecord)
    node.feed(ev.RoomChecked((1,), ()))
    assert node.one(act.StoreRecord).ticket == node.one(act.PushWrite).ticket == 1


def test_puts_behind_one_that_asks_for_room_do_not_overtake_it() -> None:
    node = crash_takes_over(asks(following(), PUT, 1, size=0)).persisted()
    assert node.phase is Phase.ALONE
    assert not asks(node, PUT, 2, size=0).ordered
    assert not asks(node, OperationKind.READ_RECORDS, 3, size=0).all(act.FetchRead)
    node.feed(ev.RoomChecked((1,), (1,)))
    assert node.answers == {1: Outcome.FAILED}
    assert node.one(act.StoreRecord).ticket == 2


def test_records_are_read_at_the_secondary_once_they_are_settled() -> None:
    node = following().hear(msg.MirrorRecord(4, 9, 0, 9, 30))
    assert asks(node, OperationKind.READ_RECORDS, size=0).said == [msg.SettledAsked(4, 9)]
    assert not node.all(act.FetchRead), "one is being put here"
    fetch = node.feed(ev.Stored(9)).one(act.FetchRead)
    assert not node.feed(ev.Fetched(fetch.fetch)).answers
    assert node.hear(msg.Settled(4, 9)).answers == {1: Outcome.DONE}


def test_the_primary_calls_no_record_settled_that_the_other_has_not() -> None:
    node = mirroring().feed(ev.Submitted(1, Operation(PUT, 1, 1, 0, 0, "key")))
    sequence = node.one(act.StoreRecord).sequence
    assert msg.Settled(4, sequence) not in node.feed(ev.Stored(sequence)).hear(msg.SettledAsked(4, sequence)).said
    assert msg.Settled(4, sequence) in node.hear(msg.Applied(4, sequence)).said


# Bounds.


def test_no_more_is_proposed_than_both_nodes_keep() -> None:
    node = following()
    fits = KEPT_BYTES_MAX // COPY_CHUNK_BYTES
    for ticket in range(1, fits + 1):
        assert asks(node, OperationKind.WRITE, ticket, size=COPY_CHUNK_BYTES).all(act.PushProposal)
    assert not asks(node, OperationKind.WRITE, fits + 1, size=COPY_CHUNK_BYTES).ordered
    assert not asks(node, ZEROES, fits + 2).ordered, "nothing overtakes what waits"
    node.hear(msg.Unexecuted(4, 1, Outcome.FAILED, 0))
    assert [push.ticket for push in node.all(act.PushProposal)] == [fits + 1, fits + 2]


def test_the_primary_keeps_no_more_than_an_honest_secondary_proposes() -> None:
    node = mirroring()
    fits = KEPT_BYTES_MAX // COPY_CHUNK_BYTES
    for number in range(1, fits + 1):
        assert not node.hear(proposal(number, size=COPY_CHUNK_BYTES)).all(act.DropSession)
    assert node.hear(proposal(fits + 1, size=COPY_CHUNK_BYTES)).one(act.DropSession).reason
    assert [flight.taken for flight in node.state.flights] == list(range(1, fits + 1))


def test_no_more_is_written_at_once_than_an_activity_log_lists() -> None:
    node = mirroring()
    for ticket in range(1, FLIGHTS_LIMIT + 1):
        node.write(ticket, ticket * BLOCK)
    assert not node.hear(proposal()).ordered
    assert not node.state.flights[-1].begun
    first = node.state.flights[0].sequence
    node.feed(ev.Stored(first))
    assert node.hear(msg.Applied(4, first)).all(act.PushAssigned)
