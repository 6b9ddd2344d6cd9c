"""Operations beyond reads, writes and flushes, a scripted scenario each."""

from typing import TypeVar

import attrs
import pytest

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
    Setback,
    actions as act,
    events as ev,
    messages as msg,
    step_pair,
)
from ctlha_trio.pair._state import Resync, Stage

COMPARE, ZEROES, UNMAP = OperationKind.COMPARE_AND_WRITE, OperationKind.WRITE_ZEROES, OperationKind.UNMAP
READ, WRITE, FLUSH = OperationKind.READ, OperationKind.WRITE, OperationKind.FLUSH
PUT, RECORDS = OperationKind.PUT_RECORD, OperationKind.READ_RECORDS
DIGEST = bytes(32)
PROPOSAL = "e" * 32
BOTH = ("a", "b")
BLOCK = 4096
PEER = 77
MISMATCH = 17
EPOCH = 4

Ordered = TypeVar("Ordered", bound=act.Action)


@attrs.define(eq=False)
class Node:
    """One core, fed by hand."""

    state: PairState
    ordered: tuple[act.Action, ...] = ()

    def feed(self, event: ev.Event) -> "Node":
        self.state, self.ordered = step_pair(self.state, event)
        hash(self.state)
        return self

    def hear(self, message: msg.Message) -> "Node":
        return self.feed(ev.Received(message))

    def asked(self, kind: OperationKind, ticket: int, offset: int = 0) -> "Node":
        size = 0 if kind is FLUSH else BLOCK
        return self.feed(ev.Submitted(ticket, Operation(kind, 1, ticket, offset, size)))

    def compared(self, fetch: int, miscompare_at: int | None) -> "Node":
        return self.feed(ev.StoredCompared(fetch, miscompare_at))

    def all(self, kind: type[Ordered]) -> list[Ordered]:
        return [action for action in self.ordered if isinstance(action, kind)]

    def one(self, kind: type[Ordered]) -> Ordered:
        (found,) = self.all(kind)
        return found

    @property
    def said(self) -> list[msg.Message]:
        return [action.message for action in self.all(act.Send)]

    @property
    def answers(self) -> list[act.Answer]:
        return self.all(act.Answer)


def node_in(phase: Phase, me: str = "a") -> Node:
    members = BOTH if phase in {Phase.MIRRORING, Phase.FOLLOWING} else ("a",)
    record = Record(
        cluster="c", resource="r", epoch=EPOCH, lineage="l", primary="a", members=members, proposal="0" * 32
    )
    metadata = Metadata(
        cluster="c", node=me, resource="r", lineage="l", arbiter="x",
        epoch=EPOCH, revision=EPOCH, primary="a", members=members, copy=Copy.MEMBER,
    )  # fmt: skip
    state = PairState(
        me=me,
        peer="b" if me == "a" else "a",
        incarnation=ord(me),
        size_bytes=2 * COPY_CHUNK_BYTES,
        metadata=metadata,
        arbiter_answers=True,
        phase=phase,
        record=record,
        revision=EPOCH,
        session=PEER,
        sessions=1,
        partner=PEER if len(members) > 1 else 0,
    )
    return Node(state)


def mirroring() -> Node:
    node = node_in(Phase.MIRRORING)
    node.hear(msg.Standing(EPOCH, EPOCH, Phase.FOLLOWING, ord("a")))
    return node


# Zeros.


@pytest.mark.parametrize("kind", [ZEROES, UNMAP])
def test_zeros_are_written_on_both_copies_and_only_their_range_goes_over_the_link(kind: OperationKind) -> None:
    node = mirroring().asked(kind, 1)
    push = node.one(act.PushWrite)
    assert push.operation.kind is kind
    write = node.one(act.StoreWrite)
    assert not node.feed(ev.Stored(write.sequence)).answers
    assert node.hear(msg.Applied(EPOCH, write.sequence)).answers == [act.Answer(1, Outcome.DONE)]


def test_the_secondary_writes_zeros_in_the_order_of_all_writes() -> None:
    node = node_in(Phase.FOLLOWING, "b").hear(msg.MirrorZeroes(EPOCH, 5, 0, 5, BLOCK, BLOCK))
    assert node.one(act.StoreZeroes) == act.StoreZeroes(5, BLOCK, BLOCK)
    assert node.state.may_differ == ((BLOCK, BLOCK),)
    assert not node.hear(msg.MirrorZeroes(EPOCH, 7, 6, 7, 0, BLOCK)).ordered, "behind one that has not come"
    assert node.hear(msg.MirrorZeroes(EPOCH, 7, 5, 7, 0, BLOCK)).all(act.StoreZeroes)
    assert node.feed(ev.Stored(7)).said == [msg.Applied(EPOCH, 7)]


def test_a_target_takes_zeros_below_what_was_copied() -> None:
    node = node_in(Phase.RESYNCING, "b").hear(msg.MirrorZeroes(EPOCH, 5, 0, 5, 0, BLOCK))
    assert node.all(act.StoreZeroes)


def test_who_neither_follows_nor_is_resynced_writes_no_zeros() -> None:
    node = mirroring().hear(msg.MirrorZeroes(EPOCH, 5, 0, 5, 0, BLOCK))
    assert node.said == [msg.Refused(EPOCH, EPOCH)]


@pytest.mark.parametrize("kind", [ZEROES, COMPARE])
def test_a_change_holds_up_what_overlaps_and_nothing_else(kind: OperationKind) -> None:
    node = mirroring().asked(WRITE, 1)
    assert not node.asked(kind, 2).ordered
    assert node.asked(kind, 3, BLOCK).ordered
    assert not node.asked(FLUSH, 4).ordered


# Compare-and-write.


def test_what_is_as_expected_is_written_on_both_copies() -> None:
    node = mirroring().asked(COMPARE, 1)
    assert not node.all(act.PushWrite)
    node.compared(node.one(act.FetchRead).fetch, None)
    write, push = node.one(act.StoreWrite), node.one(act.PushWrite)
    assert write.sequence == push.sequence
    assert not node.feed(ev.Stored(write.sequence)).answers
    assert node.hear(msg.Applied(EPOCH, write.sequence)).answers == [act.Answer(1, Outcome.DONE)]


def test_one_of_two_members_compares_under_a_permit_and_tells_a_miscompare() -> None:
    node = mirroring().asked(COMPARE, 1)
    fetch = node.one(act.FetchRead)
    assert fetch.epoch == EPOCH
    assert node.compared(fetch.fetch, MISMATCH).answers == [act.Answer(1, Outcome.MISCOMPARE, MISMATCH)]
    assert not node.all(act.StoreWrite)
    assert not node.state.flights


def test_a_sole_member_needs_no_permit_to_compare() -> None:
    node = node_in(Phase.ALONE).asked(COMPARE, 1)
    assert not node.one(act.FetchRead).epoch
    node.compared(node.one(act.FetchRead).fetch, MISMATCH)
    assert node.answers == [act.Answer(1, Outcome.MISCOMPARE, MISMATCH)]


def test_nothing_comes_between_comparing_and_writing() -> None:
    node = mirroring().asked(COMPARE, 1)
    sequence = node.one(act.FetchRead).fetch
    assert not node.asked(WRITE, 2).ordered
    node.compared(sequence, None)
    assert not node.asked(READ, 3).all(act.FetchRead)
    node.feed(ev.Stored(node.state.flights[0].sequence))
    assert node.hear(msg.Applied(EPOCH, node.state.flights[0].sequence)).one(act.StoreWrite).ticket == 2


def test_a_comparison_is_made_anew_after_the_session_was_lost() -> None:
    node = mirroring().asked(COMPARE, 1)
    before = node.one(act.FetchRead).fetch
    node.feed(ev.SessionLost(ev.Loss.CLOSED))
    assert not node.compared(before, None).ordered, "nothing is written while nobody follows"
    node.feed(ev.SessionUp(PEER)).hear(msg.Standing(EPOCH, EPOCH, Phase.SUSPENDED, ord("a")))
    again = node.hear(msg.Resumed(EPOCH, 0)).one(act.FetchRead)
    assert again.fetch > before
    assert not node.compared(before, None).ordered
    assert node.compared(again.fetch, None).all(act.StoreWrite)


@pytest.mark.parametrize(("found", "outcome"), [(None, Outcome.UNKNOWN), ("nothing", Outcome.NOT_PRIMARY)])
def test_only_one_that_had_begun_to_write_ends_unknown(found: str | None, outcome: Outcome) -> None:
    node = mirroring().asked(COMPARE, 1)
    if found is None:
        node.compared(node.one(act.FetchRead).fetch, None)
    assert node.feed(ev.StopAsked("asked")).answers == [act.Answer(1, outcome)]


def test_a_comparison_that_ends_while_the_role_is_leaving_writes_nothing_and_holds_nothing_up() -> None:
    node = mirroring().asked(COMPARE, 1)
    sequence = node.one(act.FetchRead).fetch
    assert not node.feed(ev.HandoverAsked()).all(act.SendPrepare)
    node.compared(sequence, None)
    assert not node.all(act.StoreWrite)
    assert node.all(act.SendPrepare)


def test_a_miscompare_is_told_although_the_role_is_leaving() -> None:
    node = mirroring().asked(COMPARE, 1)
    fetch = node.one(act.FetchRead).fetch
    node.feed(ev.HandoverAsked()).compared(fetch, MISMATCH)
    assert node.answers == [act.Answer(1, Outcome.MISCOMPARE, MISMATCH)]
    assert node.all(act.SendPrepare)


def test_a_miscompare_found_while_the_session_is_lost_is_told_by_nobody() -> None:
    node = mirroring().asked(COMPARE, 1)
    fetch = node.one(act.FetchRead).fetch
    node.feed(ev.SessionLost(ev.Loss.CLOSED))
    assert not node.compared(fetch, MISMATCH).answers
    assert node.feed(ev.StopAsked("asked")).answers == [act.Answer(1, Outcome.NOT_PRIMARY)]


def test_a_comparison_that_ends_during_an_admission_is_made_again_by_whoever_serves() -> None:
    resync = Resync(cursor=2 * COPY_CHUNK_BYTES)
    node = node_in(Phase.ALONE).asked(COMPARE, 1)
    sequence = node.one(act.FetchRead).fetch
    node.state = attrs.evolve(node.state, phase=Phase.ADMITTING, stage=Stage.DRAINING, resync=resync)
    node.compared(sequence, None)
    assert not node.all(act.StoreWrite)
    assert not any(flight.started for flight in node.state.flights)


def test_a_comparison_that_ends_while_its_node_claims_writes_nothing() -> None:
    node = mirroring().asked(COMPARE, 1)
    fetch = node.one(act.FetchRead).fetch
    node.hear(msg.Standing(EPOCH, EPOCH, Phase.STOPPED, 0))
    assert node.state.phase is Phase.CLAIMING
    assert not node.compared(fetch, None).all(act.StoreWrite)
    assert not any(flight.started for flight in node.state.flights)


def test_zeros_are_pushed_again_after_a_flap_and_not_compared() -> None:
    node = mirroring().asked(ZEROES, 1)
    sequence = node.one(act.PushWrite).sequence
    node.feed(ev.SessionLost(ev.Loss.CLOSED)).feed(ev.SessionUp(PEER))
    node.hear(msg.Standing(EPOCH, EPOCH, Phase.SUSPENDED, ord("a"))).hear(msg.Resumed(EPOCH, 0))
    assert node.one(act.PushWrite).sequence == sequence


# Records.


def put(node: Node, ticket: int, key: str = "pr") -> Node:
    return node.feed(ev.Submitted(ticket, Operation(PUT, 1, ticket, 0, 0, key)))


def test_a_record_is_put_on_both_nodes_with_one_version() -> None:
    node = put(mirroring(), 1)
    store, push = node.one(act.StoreRecord), node.one(act.PushWrite)
    assert (store.epoch, store.sequence) == (push.epoch, push.sequence)
    assert not node.feed(ev.Stored(store.sequence)).answers
    assert node.hear(msg.Applied(EPOCH, store.sequence)).answers == [act.Answer(1, Outcome.DONE)]


def test_records_are_put_one_after_the_other_and_hold_no_write_up() -> None:
    node = put(mirroring(), 1)
    sequence = node.one(act.StoreRecord).sequence
    assert node.asked(WRITE, 2).all(act.StoreWrite)
    assert not put(node, 3, "other").ordered
    node.feed(ev.Stored(sequence))
    assert node.hear(msg.Applied(EPOCH, sequence)).one(act.StoreRecord).ticket == 3


def test_records_are_read_like_the_volume() -> None:
    node = mirroring().feed(ev.Submitted(1, Operation(RECORDS, 1, 1, 0, 0)))
    fetch = node.one(act.FetchRead)
    assert fetch.epoch == EPOCH
    assert not put(node, 2).ordered
    assert node.feed(ev.Fetched(fetch.fetch)).answers == [act.Answer(1, Outcome.DONE)]
    assert node.all(act.StoreRecord)


def test_the_secondary_puts_a_record_in_the_order_of_all_writes() -> None:
    node = node_in(Phase.FOLLOWING, "b").hear(msg.MirrorRecord(EPOCH, 5, 0, 5, 30))
    assert node.one(act.StoreMirroredRecord) == act.StoreMirroredRecord(5)
    assert node.state.may_differ == ()
    assert not node.hear(msg.MirrorRecord(EPOCH, 7, 6, 7, 30)).ordered
    assert node.feed(ev.Stored(5)).said == [msg.Applied(EPOCH, 5)]


def test_a_target_is_sent_no_single_record_and_takes_none() -> None:
    resync = Resync(cursor=2 * COPY_CHUNK_BYTES)
    node = node_in(Phase.ALONE)
    node.state = attrs.evolve(node.state, resync=resync)
    assert not put(node, 1).all(act.PushWrite)
    target = node_in(Phase.RESYNCING, "b").hear(msg.MirrorRecord(EPOCH, 5, 0, 5, 30))
    assert target.said == [msg.Refused(EPOCH, EPOCH)]


def test_a_target_has_the_source_s_records_before_it_is_sealed() -> None:
    node = node_in(Phase.RESYNCING, "b").hear(msg.Seal(EPOCH, 30))
    replace, persist = (each for each in node.ordered if isinstance(each, act.ReplaceRecords | act.Persist))
    assert isinstance(replace, act.ReplaceRecords)
    assert isinstance(persist, act.Persist)


def test_a_record_that_was_under_way_ends_unknown_and_must_end_before_the_copy_is_overwritten() -> None:
    node = put(mirroring(), 1)
    sequence = node.one(act.StoreRecord).sequence
    assert node.feed(ev.StopAsked("asked")).answers == [act.Answer(1, Outcome.UNKNOWN)]
    assert node.state.storing == {sequence}
    assert not node.all(act.MarkDirty)


def test_a_secondary_whose_records_differ_is_not_made_primary() -> None:
    node = node_in(Phase.FOLLOWING, "b").hear(msg.HandoverPrepare(EPOCH, 1, PROPOSAL, DIGEST))
    assert node.one(act.CompareRecords) == act.CompareRecords(1, PROPOSAL, DIGEST)
    assert not node.all(act.Persist)
    assert node.feed(ev.RecordsCompared(1, PROPOSAL, equal=False)).said == [msg.RecordsDiffer(EPOCH, 1)]
    assert not node.all(act.Persist)


def test_the_primary_goes_on_if_the_records_differ() -> None:
    node = mirroring().feed(ev.HandoverAsked()).asked(WRITE, 1)
    assert not node.hear(msg.RecordsDiffer(EPOCH, 9)).ordered, "of another attempt"
    node.hear(msg.RecordsDiffer(EPOCH, 1))
    assert node.state.phase is Phase.MIRRORING
    assert node.one(act.HandoverEnded).setback is Setback.RECORDS_DIFFER
    assert node.all(act.StoreWrite)


def test_a_late_comparison_of_records_changes_nothing() -> None:
    node = node_in(Phase.FOLLOWING, "b").hear(msg.HandoverPrepare(EPOCH, 1, PROPOSAL, DIGEST))
    node.hear(msg.HandoverPrepare(EPOCH, 2, PROPOSAL, DIGEST))
    assert not node.feed(ev.RecordsCompared(1, PROPOSAL, equal=True)).ordered
    assert node.feed(ev.RecordsCompared(2, PROPOSAL, equal=True)).all(act.Persist)
