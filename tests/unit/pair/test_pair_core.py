"""The rules of the pair, a scripted scenario each: a node is fed events by hand, and the test reads what it orders."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import attrs
import pytest

from ctlha_trio._errors import LocalProtocolError
from ctlha_trio.pair import (
    PERMIT_OUT_S,
    Copy,
    FailoverObstacle,
    Kind,
    Metadata,
    Obstacle,
    Operation,
    OperationKind,
    Outcome,
    PairState,
    Phase,
    Record,
    Setback,
    SwapOutcome,
    accepts,
    actions as act,
    boot,
    events as ev,
    handover_obstacles,
    messages as msg,
    plan_failover,
    step_pair,
)
from ctlha_trio.pair._reads import RESTARTS_MAX
from ctlha_trio.pair._state import COPY_CHUNK_BYTES, UNTAKEN_MAX, Stage
from ctlha_trio.pair._step import Step
from ctlha_trio.testing._core.world import CoreWorld

BOTH = ("a", "b")
PEER = 77
"""The peer's incarnation."""
PROPOSAL = "e" * 32
"""Of a handover."""
BLOCK = 4096
DIGEST = bytes(32)
SIZE = 2 * COPY_CHUNK_BYTES
FIRST = Record(cluster="c", resource="r", epoch=1, lineage="l", primary="a", members=BOTH, proposal="0")

Ordered = TypeVar("Ordered", bound=act.Action)


def metadata_of(node: str, record: Record, revision: int, copy: Copy = Copy.MEMBER) -> Metadata:
    return Metadata(
        cluster="c",
        node=node,
        resource="r",
        lineage="l",
        arbiter="x",
        epoch=record.epoch,
        revision=revision,
        primary=record.primary,
        members=record.members,
        copy=copy,
    )


@attrs.define(eq=False)
class Node:
    """One core between the test and a disk that has everything marked, or ``dirty``, and knows of a claim at once.

    ``feed`` also checks what is true of every step.
    """

    state: PairState
    ordered: tuple[act.Action, ...]
    dirty: tuple[int, int] = (0, SIZE)
    hasty: bool = True
    """What is intended is durable at once."""

    @classmethod
    def boots(cls, me: str, metadata: Metadata) -> "Node":
        """Whatever permits were out before are over."""
        node = cls.starts(me, metadata)
        ordered = node.ordered
        node.fires(ev.Timer.PERMIT_OUT).ordered = ordered
        return node

    @classmethod
    def starts(cls, me: str, metadata: Metadata) -> "Node":
        peer = "b" if me == "a" else "a"
        return cls(*boot(me=me, peer=peer, incarnation=ord(me), size_bytes=SIZE, metadata=metadata, marked_from=None))

    def feed(self, event: ev.Event) -> "Node":
        before = self.state
        self.state, self.ordered = step_pair(before, event)
        assert step_pair(before, event) == (self.state, self.ordered)
        hash(self.state)
        for search in self.all(act.FindDirty):
            ordered = self.ordered
            start = max(search.offset, self.dirty[0])
            left = sum(self.dirty) - start
            self.feed(ev.DirtyFound(search.search, ((start, left),) if left > 0 else ()))
            self.ordered = ordered + self.ordered
        claims = self.state.phase is Phase.CLAIMING and self.state.stage is Stage.PERSISTING
        if self.hasty and claims and self.all(act.Persist):
            ordered = self.ordered
            self.persisted()
            self.ordered = ordered + self.ordered
        return self

    def hear(self, *said: msg.Message) -> "Node":
        """Messages in a row; ``ordered`` is then what all of them led to."""
        ordered: tuple[act.Action, ...] = ()
        for message in said:
            ordered += self.feed(ev.Received(message)).ordered
        self.ordered = ordered
        return self

    def all(self, kind: type[Ordered]) -> list[Ordered]:
        return [action for action in self.ordered if isinstance(action, kind)]

    def one(self, kind: type[Ordered]) -> Ordered:
        (found,) = self.all(kind)
        return found

    @property
    def phase(self) -> Phase:
        return self.state.phase

    @property
    def said(self) -> list[msg.Message]:
        """Without what a standing tells of the record, which ``test_pair_heard`` looks at."""
        said = [action.message for action in self.all(act.Send)]
        return [attrs.evolve(m, lineage="", leads=False) if isinstance(m, msg.Standing) else m for m in said]

    @property
    def answers(self) -> dict[int, Outcome]:
        return {answer.ticket: answer.outcome for answer in self.all(act.Answer)}

    @property
    def timers(self) -> dict[ev.Timer, float]:
        return {timer.timer: timer.delay_s for timer in self.all(act.SetTimer)}

    def persisted(self) -> "Node":
        """What was ordered just now is durable, and before that whatever else was on its way to the disk."""
        metadata = self.one(act.Persist).metadata
        while self.state.persists > 1:
            self.feed(ev.Persisted(self.state.metadata))
        return self.feed(ev.Persisted(metadata))

    def wins(self) -> "Node":
        swap = self.one(act.Swap)
        return self.feed(ev.Swapped(swap.record.proposal, SwapOutcome.WON, swap.expected_revision + 1))

    def gets(self, outcome: SwapOutcome) -> "Node":
        return self.feed(ev.Swapped(self.one(act.Swap).record.proposal, outcome))

    def write(self, ticket: int, offset: int = 0) -> "Node":
        return self.feed(ev.Submitted(ticket, Operation(OperationKind.WRITE, 1, ticket, offset, BLOCK)))

    def read(self, ticket: int, offset: int = 0) -> "Node":
        return self.feed(ev.Submitted(ticket, Operation(OperationKind.READ, 1, ticket, offset, BLOCK)))

    def flush(self, ticket: int) -> "Node":
        return self.feed(ev.Submitted(ticket, Operation(OperationKind.FLUSH, 1, ticket, 0, 0)))

    def prepares(self, attempt: int) -> "Node":
        """For a handover; its records are those of the primary."""
        self.hear(msg.HandoverPrepare(4, attempt, PROPOSAL, DIGEST))
        assert self.one(act.CompareRecords) == act.CompareRecords(attempt, PROPOSAL, DIGEST)
        return self.feed(ev.RecordsCompared(attempt, PROPOSAL, equal=True))

    def fires(self, timer: ev.Timer) -> "Node":
        return self.feed(ev.TimerFired(timer))

    def reads_record(self, record: Record, revision: int, takes_changes: bool | None = None) -> "Node":
        return self.feed(ev.RecordRead(record, revision, takes_changes))

    def is_proved(self, *, takes_changes: bool) -> "Node":
        """The next poll has the arbiter prove that it takes changes, or fail."""
        record = self.fires(ev.Timer.RECORD_POLL).state.record
        assert record is not None
        assert self.one(act.ReadRecord) == act.ReadRecord(proves=True)
        return self.reads_record(record, self.state.revision, takes_changes)

    def lost(self, loss: ev.Loss = ev.Loss.CLOSED) -> "Node":
        return self.feed(ev.SessionLost(loss))


def standing(epoch: int, phase: Phase, partner: int = 0, revision: int = 0) -> msg.Standing:
    return msg.Standing(epoch, revision or epoch, phase, partner)


def alone() -> Node:
    """``a`` serves alone in epoch 3 (revision 3)."""
    record = attrs.evolve(FIRST, epoch=2, members=("a",))
    node = Node.boots("a", metadata_of("a", record, 2)).reads_record(record, 2).wins().persisted()
    assert node.phase is Phase.ALONE
    return node


def copying() -> Node:
    """``a`` has begun to copy its volume to ``b``."""
    node = alone().feed(ev.SessionUp(PEER)).hear(standing(3, Phase.OUTDATED))
    assert node.state.record is not None
    assert node.said == [msg.ResyncStart(3, node.state.record.proposal, 3)]
    return node.hear(msg.ResyncReady(3, 0), standing(3, Phase.RESYNCING))


def admitting() -> Node:
    """``a`` has copied everything to ``b`` and waits for its seal."""
    node = copying()
    for compare in node.all(act.SendCompare):
        node.hear(msg.Compared(3, compare.sequence, equal=True))
    assert node.one(act.PushSeal) == act.PushSeal(3)
    assert node.said == [standing(3, Phase.ADMITTING)]
    return node


def telling() -> Node:
    node = admitting().hear(msg.Sealed(3)).persisted().wins().persisted()
    assert isinstance(node.said[0], msg.Admitted)
    return node


def mirroring() -> Node:
    """``a`` is the primary of two members in epoch 4, in a session with ``b``."""
    node = telling().hear(msg.Joined(4), standing(4, Phase.FOLLOWING, ord("a")))
    assert node.phase is Phase.MIRRORING
    return node


def resyncing() -> Node:
    """``b`` is being overwritten by ``a`` in epoch 3."""
    record = attrs.evolve(FIRST, epoch=3, members=("a",))
    node = Node.boots("b", metadata_of("b", FIRST, 1)).reads_record(record, 3).feed(ev.SessionUp(PEER))
    return node.hear(standing(3, Phase.ALONE), msg.ResyncStart(3, record.proposal)).persisted()


def sealed() -> Node:
    return resyncing().hear(msg.Seal(3, 0)).persisted()


def following() -> Node:
    """``b`` follows ``a`` in epoch 4."""
    node = sealed().hear(msg.Admitted(4, 4, "f" * 32)).persisted()
    return node.hear(standing(4, Phase.MIRRORING, ord("b")))


def suspended_primary() -> Node:
    return mirroring().lost()


# The record, and what a node is that boots.


def test_a_node_that_boots_asks_the_arbiter_before_anything_else() -> None:
    node = Node.boots("a", metadata_of("a", FIRST, 1))
    assert node.ordered[0] == act.ReadRecord()
    assert not accepts(node.state)
    assert node.write(1).answers == {1: Outcome.NOT_PRIMARY}


def test_without_an_arbiter_a_node_that_boots_asks_again_and_serves_nothing() -> None:
    node = Node.boots("a", metadata_of("a", FIRST, 1)).feed(ev.ReadFailed())
    assert node.phase is Phase.BOOTING
    assert ev.Timer.ARBITER_RETRY in node.timers
    assert node.fires(ev.Timer.ARBITER_RETRY).all(act.ReadRecord)


def test_a_sole_member_that_boots_claims_a_new_epoch_before_it_serves() -> None:
    record = attrs.evolve(FIRST, epoch=2, members=("a",))
    node = Node.boots("a", metadata_of("a", record, 2)).reads_record(record, 2)
    swap = node.one(act.Swap)
    assert (swap.expected_revision, swap.record.epoch, swap.record.members) == (2, 3, ("a",))
    assert not accepts(attrs.evolve(node.state, phase=Phase.BOOTING))


def test_a_member_of_two_waits_for_the_other_and_then_claims() -> None:
    node = Node.boots("b", metadata_of("b", FIRST, 1)).reads_record(FIRST, 1)
    assert node.phase is Phase.WAITING
    assert node.timers[ev.Timer.PEER_WAIT] == 3.0
    assert node.fires(ev.Timer.PEER_WAIT).one(act.Swap).record.primary == "b"


@pytest.mark.parametrize("copy", [Copy.MEMBER, Copy.RESYNCING, Copy.SEALED, Copy.FAILED])
def test_a_node_that_is_no_member_serves_nothing_whatever_its_disk_says(copy: Copy) -> None:
    record = attrs.evolve(FIRST, epoch=2, members=("a",))
    node = Node.boots("b", metadata_of("b", FIRST, 1, copy)).reads_record(record, 2)
    assert node.phase is Phase.OUTDATED
    assert node.read(1).answers == {1: Outcome.NOT_PRIMARY}
    for timer in ev.Timer:
        node.fires(timer)
        assert not node.all(act.Swap)


def test_if_both_restarted_the_primary_of_the_record_goes_first() -> None:
    primary = Node.boots("a", metadata_of("a", FIRST, 1)).reads_record(FIRST, 1).feed(ev.SessionUp(PEER))
    assert primary.hear(standing(1, Phase.WAITING)).one(act.Swap).record.members == ("a",)
    secondary = Node.boots("b", metadata_of("b", FIRST, 1)).reads_record(FIRST, 1).feed(ev.SessionUp(PEER))
    assert not secondary.hear(standing(1, Phase.WAITING)).all(act.Swap)


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (attrs.evolve(FIRST, cluster="other"), "foreign-record"),
        (attrs.evolve(FIRST, resource="other"), "foreign-record"),
        (attrs.evolve(FIRST, kind=Kind.SHARED), "foreign-record"),
        (attrs.evolve(FIRST, lineage="other"), "foreign-lineage"),
    ],
)
def test_a_record_of_something_else_stops_the_node(record: Record, why: str) -> None:
    node = Node.boots("a", metadata_of("a", FIRST, 1)).reads_record(record, 1)
    assert (node.state.phase, node.state.why) == (Phase.STOPPED, why)
    assert node.one(act.Goodbye).reason == why


def test_a_member_whose_copy_was_being_overwritten_stops() -> None:
    node = Node.boots("b", metadata_of("b", FIRST, 1, Copy.RESYNCING)).reads_record(FIRST, 1)
    assert node.state.why == "copy-incomplete"


def test_a_sealed_copy_that_the_record_names_is_a_member() -> None:
    metadata = metadata_of("b", attrs.evolve(FIRST, epoch=3, members=("a",)), 3, Copy.SEALED)
    node = Node.boots("b", metadata).reads_record(attrs.evolve(FIRST, epoch=4), 4)
    node.fires(ev.Timer.PEER_WAIT).wins()
    assert node.one(act.Persist).metadata.copy is Copy.MEMBER
    assert node.phase is Phase.SECURING
    assert node.persisted().phase is Phase.ALONE


def test_a_dead_copy_is_no_member_and_the_only_copy_stops() -> None:
    dead = metadata_of("a", FIRST, 1, Copy.FAILED)
    assert Node.boots("a", dead).reads_record(FIRST, 1).phase is Phase.OUTDATED
    sole = attrs.evolve(FIRST, epoch=2, members=("a",))
    assert Node.boots("a", dead).reads_record(sole, 2).state.why == "copy-failed"


@pytest.mark.parametrize(("epoch", "revision"), [(3, 4), (4, 3), (3, 3)])
def test_an_arbiter_that_went_back_stops_the_node(epoch: int, revision: int) -> None:
    node = Node.boots("a", metadata_of("a", attrs.evolve(FIRST, epoch=4), 4))
    node.reads_record(attrs.evolve(FIRST, epoch=epoch), revision)
    assert (node.state.phase, node.state.why) == (Phase.STOPPED, "arbiter-went-back")


@pytest.mark.parametrize("revision", [4, 9])
def test_another_record_of_the_epoch_that_the_disk_knows_stops_the_node(revision: int) -> None:
    """Of whatever revision: that of etcd rises with all that it keeps."""
    other = attrs.evolve(FIRST, epoch=4, primary="b", members=("b",), proposal="b's")
    node = Node.boots("a", metadata_of("a", attrs.evolve(FIRST, epoch=4, members=("a",)), 4))
    node.reads_record(other, revision)
    assert (node.phase, node.state.why) == (Phase.STOPPED, "arbiter-went-back")


def test_another_record_of_its_epoch_stops_the_sole_primary() -> None:
    node = alone()
    record = node.state.record
    assert record is not None
    node.fires(ev.Timer.RECORD_POLL).reads_record(attrs.evolve(record, proposal="another's"), node.state.revision + 5)
    assert (node.phase, node.state.why) == (Phase.STOPPED, "arbiter-went-back")


def test_the_record_of_its_epoch_may_have_risen_in_revision() -> None:
    node = alone()
    record = node.state.record
    assert record is not None
    node.fires(ev.Timer.RECORD_POLL).reads_record(record, node.state.revision + 5)
    assert node.phase is not Phase.STOPPED


def test_an_answer_overtaken_by_the_word_of_the_peer_is_old_and_no_sign_of_a_restored_arbiter() -> None:
    node = sealed().fires(ev.Timer.RECORD_POLL)
    assert node.all(act.ReadRecord)
    node.hear(msg.Admitted(4, 4, "f" * 32))
    node.reads_record(attrs.evolve(FIRST, epoch=3, members=("a",)), 3)
    assert node.phase is Phase.RESYNCING
    assert (node.state.epoch, node.state.revision) == (4, 4)


def test_a_sole_primary_polls_the_record_and_yields_to_a_newer_epoch() -> None:
    node = alone().fires(ev.Timer.RECORD_POLL)
    assert node.all(act.ReadRecord)
    assert node.timers == {ev.Timer.RECORD_POLL: 1.0}
    node.reads_record(attrs.evolve(FIRST, epoch=4, primary="b", members=("b",)), 4)
    assert node.phase is Phase.OUTDATED


# Swaps.


def test_an_unknown_swap_is_held_until_the_revision_has_moved() -> None:
    node = suspended_primary().fires(ev.Timer.CLAIM)
    swap = node.one(act.Swap)
    node.gets(SwapOutcome.UNKNOWN)
    unmoved = node.state.record
    assert unmoved is not None
    node.fires(ev.Timer.ARBITER_RETRY).reads_record(unmoved, 4)
    assert node.one(act.Swap) == swap
    node.gets(SwapOutcome.UNKNOWN).fires(ev.Timer.ARBITER_RETRY)
    node.reads_record(swap.record, 5)
    assert node.phase is Phase.SECURING
    assert (node.state.arbiter_answers, node.state.arbiter_refuses) == (True, False), "it took one of them"


def test_an_unknown_swap_that_another_node_overtook_is_lost() -> None:
    node = suspended_primary().fires(ev.Timer.CLAIM).gets(SwapOutcome.UNKNOWN).fires(ev.Timer.ARBITER_RETRY)
    node.reads_record(attrs.evolve(FIRST, epoch=5, primary="b", members=("b",), proposal="b5"), 5)
    assert node.phase is Phase.OUTDATED


def test_a_lost_swap_may_have_been_applied_by_an_earlier_try() -> None:
    node = suspended_primary().fires(ev.Timer.CLAIM)
    mine = node.one(act.Swap).record
    node.gets(SwapOutcome.LOST)
    assert node.all(act.ReadRecord)
    assert node.reads_record(mine, 5).phase is Phase.SECURING


def test_a_swap_refused_after_a_doubtful_one_is_still_doubtful() -> None:
    node = suspended_primary().fires(ev.Timer.CLAIM).gets(SwapOutcome.UNKNOWN).fires(ev.Timer.ARBITER_RETRY)
    assert node.state.record is not None
    node.reads_record(node.state.record, 4).gets(SwapOutcome.REFUSED)
    assert node.phase is Phase.CLAIMING
    assert node.state.swap is not None


def test_a_swap_that_was_certainly_refused_lets_a_partner_come_back() -> None:
    node = suspended_primary().fires(ev.Timer.CLAIM).gets(SwapOutcome.REFUSED)
    assert node.phase is Phase.SUSPENDED
    assert ev.Timer.CLAIM in node.timers
    node.feed(ev.SessionUp(PEER))
    assert node.hear(standing(4, Phase.SUSPENDED, ord("a")), msg.Resumed(4, 0)).phase is Phase.MIRRORING


def test_an_arbiter_that_is_read_and_refuses_again_and_again_is_not_silent() -> None:
    node = suspended_primary()
    record = node.state.record
    assert record is not None
    node.fires(ev.Timer.CLAIM).gets(SwapOutcome.REFUSED)
    assert not node.state.arbiter_answers, "it may be gone"
    node.fires(ev.Timer.RECORD_POLL).reads_record(record, node.state.revision)
    assert not node.state.arbiter_refuses, "once may be chance"
    for _ in range(3):
        node.fires(ev.Timer.CLAIM).gets(SwapOutcome.REFUSED)
        assert node.state.arbiter_refuses
    swap = node.fires(ev.Timer.CLAIM).one(act.Swap)
    node.fires(ev.Timer.RECORD_POLL).feed(ev.ReadFailed())
    assert not node.state.arbiter_answers
    node.feed(ev.Swapped(swap.record.proposal, SwapOutcome.REFUSED))
    assert not node.state.arbiter_answers, "only a read, or a swap that it took, tells that it is back"
    node.feed(ev.SessionUp(PEER)).hear(standing(4, Phase.SUSPENDED, ord("a")), msg.Resumed(4, 0))
    assert (node.phase, node.state.untaken) == (Phase.MIRRORING, UNTAKEN_MAX), "only the arbiter can end that"


def test_what_the_arbiter_did_not_take_is_kept_until_it_proves_that_it_takes_changes() -> None:
    """Reads are answered throughout, so that nothing else can tell; and nothing may have to be swapped for years."""
    node = handed_over().gets(SwapOutcome.REFUSED)
    assert node.phase is Phase.MIRRORING
    for _ in range(3):
        node.is_proved(takes_changes=False)
        assert (node.state.arbiter_answers, node.state.arbiter_refuses) == (True, True)
        assert handover_obstacles(node.state) == (Obstacle.ARBITER_REFUSES,)
        assert plan_failover(node.state).obstacle is FailoverObstacle.ARBITER_REFUSES
    node.is_proved(takes_changes=True)
    assert (node.state.arbiter_refuses, handover_obstacles(node.state)) == (False, ())
    assert plan_failover(node.state).steps
    assert node.fires(ev.Timer.RECORD_POLL).one(act.ReadRecord) == act.ReadRecord(), "no more than is needed"


def test_an_answer_that_was_lost_once_is_no_refusal_once_the_arbiter_has_proved_it() -> None:
    node = handed_over().gets(SwapOutcome.REFUSED)
    assert not node.state.arbiter_refuses
    assert not node.is_proved(takes_changes=True).state.arbiter_refuses


def test_a_proof_that_is_asked_for_and_does_not_come_is_an_arbiter_that_is_silent() -> None:
    node = handed_over().gets(SwapOutcome.REFUSED).is_proved(takes_changes=False)
    node.fires(ev.Timer.RECORD_POLL).feed(ev.ReadFailed())
    assert (node.state.arbiter_answers, node.state.arbiter_refuses) == (False, False)
    assert node.is_proved(takes_changes=False).state.arbiter_refuses


def test_a_secondary_that_was_ready_and_is_given_no_role_looks_for_itself_what_the_arbiter_takes() -> None:
    """It cannot know why, and it is the one that needs a swap if the primary dies."""
    node = following().hear(msg.HandoverPrepare(4, 1, PROPOSAL, DIGEST))
    node.feed(ev.RecordsCompared(1, PROPOSAL, equal=True)).persisted()
    assert node.state.stage is Stage.ASKING
    node.hear(standing(4, Phase.MIRRORING, ord("b")))
    assert node.is_proved(takes_changes=False).state.arbiter_refuses
    assert not node.is_proved(takes_changes=True).state.arbiter_refuses


def test_a_secondary_that_was_not_ready_yet_has_nothing_to_look_for() -> None:
    node = following().hear(msg.HandoverPrepare(4, 1, PROPOSAL, DIGEST), standing(4, Phase.MIRRORING, ord("b")))
    assert node.fires(ev.Timer.RECORD_POLL).one(act.ReadRecord) == act.ReadRecord()


def test_a_node_whose_swap_is_under_way_has_nothing_proved() -> None:
    node = suspended_primary().fires(ev.Timer.CLAIM).gets(SwapOutcome.UNKNOWN)
    assert node.fires(ev.Timer.RECORD_POLL).one(act.ReadRecord) == act.ReadRecord()


def test_an_answer_to_another_proposal_is_ignored() -> None:
    node = suspended_primary().fires(ev.Timer.CLAIM)
    before = node.state
    assert node.feed(ev.Swapped("e" * 32, SwapOutcome.WON, 9)).state == before


# Operations.


def test_a_write_is_answered_once_it_is_durable_on_both() -> None:
    node = mirroring().write(1)
    sequence = node.one(act.StoreWrite).sequence
    assert node.one(act.PushWrite).sequence == sequence
    assert node.feed(ev.Stored(sequence)).answers == {}
    assert node.hear(msg.Applied(4, sequence)).answers == {1: Outcome.DONE}


def test_the_order_of_the_two_disks_does_not_matter() -> None:
    node = mirroring().write(1)
    sequence = node.one(act.StoreWrite).sequence
    assert node.hear(msg.Applied(4, sequence)).answers == {}
    assert node.feed(ev.Stored(sequence)).answers == {1: Outcome.DONE}


def test_conflicting_operations_run_one_after_the_other_and_others_at_once() -> None:
    node = mirroring().write(1)
    first = node.one(act.StoreWrite).sequence
    assert not node.write(2).all(act.StoreWrite)
    assert node.write(3, BLOCK).all(act.StoreWrite)
    node.feed(ev.Stored(first)).hear(msg.Applied(4, first))
    assert node.one(act.StoreWrite).ticket == 2


def test_a_flush_waits_for_all_before_it_and_all_behind_it_wait_for_it() -> None:
    node = mirroring().write(1)
    first = node.one(act.StoreWrite).sequence
    assert node.flush(2).answers == {}
    assert not node.write(3, BLOCK).all(act.StoreWrite)
    node.feed(ev.Stored(first)).hear(msg.Applied(4, first))
    assert node.answers == {1: Outcome.DONE, 2: Outcome.DONE}
    assert node.one(act.StoreWrite).ticket == 3


def test_the_secondary_executes_a_write_and_answers_once_it_is_durable() -> None:
    node = following().hear(msg.MirrorWrite(4, 9, 0, 9, 0, BLOCK))
    assert node.one(act.StoreMirrored).sequence == 9
    assert node.said == []
    assert node.feed(ev.Stored(9)).said == [msg.Applied(4, 9)]


def test_the_secondary_executes_no_write_behind_one_that_it_has_not_seen() -> None:
    node = following().hear(msg.MirrorWrite(4, 9, 8, 9, 0, BLOCK))
    assert not node.ordered
    assert node.state.last_sequence == 0


@pytest.mark.parametrize("epoch", [3, 5])
def test_a_message_of_another_epoch_is_refused_by_name_and_not_executed(epoch: int) -> None:
    for message in (
        msg.MirrorWrite(epoch, 9, 0, 9, 0, BLOCK),
        msg.PermitRequest(epoch, 1),
        msg.HandoverPrepare(epoch, 1, PROPOSAL, DIGEST),
    ):
        node = following().hear(message)
        assert node.said == [msg.Refused(4, epoch)]
        assert not node.all(act.StoreMirrored)


# Reads.


def test_each_member_reads_under_a_permit_and_a_sole_one_without() -> None:
    assert mirroring().read(1).one(act.FetchRead).epoch == 4
    assert following().read(1).one(act.FetchRead).epoch == 4
    node = alone().read(1)
    assert node.one(act.FetchRead).epoch == 0
    assert node.feed(ev.Fetched(node.one(act.FetchRead).fetch)).answers == {1: Outcome.DONE}


def test_a_read_waits_for_the_write_before_it() -> None:
    node = alone().write(1)
    write = node.one(act.StoreWrite).sequence
    assert not node.read(2).all(act.FetchRead)
    assert node.feed(ev.Stored(write)).one(act.FetchRead).ticket == 2


def test_a_read_at_the_secondary_waits_until_the_primary_says_that_its_range_is_settled() -> None:
    node = following().hear(msg.MirrorWrite(4, 9, 0, 9, 0, BLOCK), msg.MirrorWrite(4, 10, 9, 9, BLOCK, BLOCK))
    node.feed(ev.Stored(9))
    node.read(1)
    assert node.said == [msg.SettledAsked(4, 9)]
    first = node.one(act.FetchRead).fetch
    assert node.feed(ev.Fetched(first)).answers == {}
    assert not node.read(2, BLOCK).all(act.FetchRead), "it is being written here"
    assert node.said == [], "one question at a time"
    third = node.read(3, 2 * BLOCK).one(act.FetchRead).fetch
    assert node.feed(ev.Fetched(third)).answers == {3: Outcome.DONE}
    assert node.hear(msg.Settled(4, 9)).answers == {1: Outcome.DONE}
    assert node.said == [msg.SettledAsked(4, 10)]
    second = node.feed(ev.Stored(10)).one(act.FetchRead).fetch
    assert node.feed(ev.Fetched(second)).answers == {}
    assert node.hear(msg.Settled(4, 10)).answers == {2: Outcome.DONE}


def test_a_read_at_the_secondary_that_has_its_data_lets_later_writes_pass() -> None:
    node = following().hear(msg.MirrorWrite(4, 9, 0, 9, 0, BLOCK)).feed(ev.Stored(9))
    node.feed(ev.Fetched(node.read(1).one(act.FetchRead).fetch))
    node.hear(msg.MirrorWrite(4, 10, 9, 9, 0, BLOCK)).feed(ev.Stored(10))
    assert not node.all(act.FetchRead)
    assert node.hear(msg.Settled(4, 9)).answers == {1: Outcome.DONE}


def test_the_next_write_says_that_what_a_read_found_is_settled() -> None:
    node = following().hear(msg.MirrorWrite(4, 9, 0, 9, 0, BLOCK)).feed(ev.Stored(9))
    node.feed(ev.Fetched(node.read(1).one(act.FetchRead).fetch))
    assert node.hear(msg.MirrorWrite(4, 10, 9, 10, 0, BLOCK)).answers == {1: Outcome.DONE}


def test_a_read_at_the_secondary_waits_for_the_repair_of_a_write_that_was_refused() -> None:
    node = following().hear(msg.MirrorWrite(4, 9, 0, 9, 100, BLOCK)).feed(ev.Damaged(9, 0, BLOCK))
    assert not node.read(1).all(act.FetchRead)
    assert node.said == [msg.SettledAsked(4, 9)]


def test_a_read_at_the_secondary_that_is_overtaken_again_and_again_is_sent_away() -> None:
    node = following().read(1)
    for sequence in range(9, 9 + RESTARTS_MAX):
        node.hear(msg.MirrorWrite(4, sequence, 0 if sequence == 9 else sequence - 1, sequence, 0, BLOCK))
        assert node.feed(ev.Stored(sequence)).one(act.FetchRead).ticket == 1
    last = 9 + RESTARTS_MAX
    assert node.hear(msg.MirrorWrite(4, last, last - 1, last, 0, BLOCK)).answers == {1: Outcome.NOT_PRIMARY}
    assert node.state.flights == ()


def test_the_primary_says_that_it_is_settled_once_it_is() -> None:
    node = mirroring().write(1)
    write = node.one(act.PushWrite).sequence
    assert node.hear(msg.SettledAsked(4, write)).said == []
    node.feed(ev.Stored(write))
    assert node.hear(msg.Applied(4, write)).said == [msg.Settled(4, write)]
    assert node.hear(msg.SettledAsked(4, write)).said == [msg.Settled(4, write)], "asked again, it says it at once"


def test_a_write_that_is_begun_anew_is_not_settled_by_its_old_sequence() -> None:
    node = mirroring().write(1)
    first = node.one(act.PushWrite).sequence
    node.feed(ev.Damaged(first, 0, BLOCK)).hear(msg.Applied(4, first))
    (fetch,) = (message for message in node.said if isinstance(message, msg.Fetch))
    assert node.hear(msg.SettledAsked(4, first)).said == []
    node.hear(msg.RepairData(4, fetch.sequence, 0, BLOCK)).feed(ev.Stored(fetch.sequence))
    again = node.one(act.PushWrite).sequence
    assert not [message for message in node.said if isinstance(message, msg.Settled)]
    assert node.hear(msg.Applied(4, again)).said == []
    assert msg.Settled(4, again) in node.feed(ev.Stored(again)).said


def test_a_write_that_was_begun_anew_is_called_settled_though_nobody_asks() -> None:
    """With its push nothing was: the secondary keeps open what it has of the first start, and what it refused."""
    node = mirroring().write(1)
    first = node.one(act.PushWrite).sequence
    node.feed(ev.Damaged(first, 0, BLOCK)).hear(msg.Applied(4, first))
    (fetch,) = (message for message in node.said if isinstance(message, msg.Fetch))
    node.hear(msg.RepairData(4, fetch.sequence, 0, BLOCK)).feed(ev.Stored(fetch.sequence))
    again = node.one(act.PushWrite)
    assert again.settled <= first
    assert (
        msg.Settled(4, again.sequence) in node.hear(msg.Applied(4, again.sequence)).feed(ev.Stored(again.sequence)).said
    )


def test_a_read_at_the_secondary_begins_anew_when_its_range_is_overwritten() -> None:
    node = following().read(1)
    old = node.one(act.FetchRead).fetch
    node.hear(msg.MirrorWrite(4, 9, 0, 9, 0, BLOCK))
    assert node.said == [msg.SettledAsked(4, 9)]
    assert node.feed(ev.Fetched(old)).answers == {}
    new = node.feed(ev.Stored(9)).one(act.FetchRead).fetch
    assert node.hear(msg.Settled(4, 9)).answers == {}
    assert node.feed(ev.Fetched(new)).answers == {1: Outcome.DONE}


def test_only_one_of_two_members_in_a_live_session_grants_a_permit() -> None:
    for node in (following(), mirroring()):
        assert node.hear(msg.PermitRequest(4, 7)).said == [msg.Permit(4, 7)]
        assert node.timers[ev.Timer.PERMIT_OUT] == PERMIT_OUT_S
        assert node.lost().feed(ev.SessionUp(PEER)).hear(msg.PermitRequest(4, 8)).said == []
    assert resyncing().hear(msg.PermitRequest(3, 1)).said == []
    assert alone().feed(ev.SessionUp(PEER)).hear(msg.PermitRequest(3, 1)).said == []
    assert following().hear(msg.PermitRequest(3, 1)).said == [msg.Refused(4, 3)]


@pytest.mark.parametrize("member", [mirroring, following], ids=["primary", "secondary"])
def test_each_grant_sets_the_timer_anew(member: Callable[[], Node]) -> None:
    node = member().hear(msg.PermitRequest(4, 1))
    assert node.hear(msg.PermitRequest(4, 2)).all(act.SetTimer) == [act.SetTimer(ev.Timer.PERMIT_OUT, PERMIT_OUT_S)]


def test_with_each_write_the_primary_says_up_to_where_all_before_it_is_on_both() -> None:
    node = mirroring().write(1)
    first = node.one(act.PushWrite).sequence
    second = node.write(2, BLOCK).one(act.PushWrite)
    assert (second.sequence, second.settled) == (first + 1, first)
    node.feed(ev.Stored(second.sequence)).hear(msg.Applied(4, second.sequence))
    third = node.write(3, 2 * BLOCK).one(act.PushWrite)
    assert third.settled == first, "the second is on both, and the first is not"
    node.feed(ev.Stored(first)).hear(msg.Applied(4, first))
    assert node.write(4, 3 * BLOCK).one(act.PushWrite).settled == third.sequence


@pytest.mark.parametrize("member", [mirroring, following], ids=["primary", "secondary"])
def test_whoever_goes_on_alone_waits_until_the_permits_are_over_that_it_granted(member: Callable[[], Node]) -> None:
    node = member().hear(msg.PermitRequest(4, 1)).lost(ev.Loss.GOODBYE).wins().persisted()
    assert node.phase is Phase.SECURING
    assert node.fires(ev.Timer.PERMIT_OUT).phase is Phase.ALONE


def test_a_node_that_starts_does_not_know_what_it_granted_before() -> None:
    record = attrs.evolve(FIRST, epoch=2, members=("a",))
    node = Node.starts("a", metadata_of("a", record, 2))
    assert node.timers[ev.Timer.PERMIT_OUT] == PERMIT_OUT_S
    assert node.reads_record(record, 2).wins().persisted().phase is Phase.SECURING
    assert node.fires(ev.Timer.PERMIT_OUT).phase is Phase.ALONE


def test_a_read_begun_before_a_flap_begins_anew() -> None:
    node = mirroring().read(1)
    old = node.one(act.FetchRead).fetch
    node.lost().feed(ev.SessionUp(PEER))
    assert node.feed(ev.Fetched(old)).answers == {}
    node.hear(standing(4, Phase.SUSPENDED, ord("a")), msg.Resumed(4, 0))
    assert node.one(act.FetchRead).fetch > old


def test_reads_of_a_secondary_outlive_a_flap_and_a_takeover() -> None:
    flapped = following().read(1).lost().feed(ev.SessionUp(PEER))
    flapped.hear(standing(4, Phase.SUSPENDED, ord("b")))
    assert flapped.phase is Phase.FOLLOWING
    assert flapped.one(act.FetchRead).epoch == 4
    alone_now = following().read(1).lost(ev.Loss.GOODBYE).wins().persisted()
    assert alone_now.one(act.FetchRead).epoch == 0


# Losing the peer.


@pytest.mark.parametrize(
    ("loss", "primary", "delay_s"),
    [
        (ev.Loss.CLOSED, True, 0.1),
        (ev.Loss.SILENT, True, 0.0),
        (ev.Loss.GOODBYE, True, 0.0),
        (ev.Loss.CLOSED, False, 0.25),
        (ev.Loss.SILENT, False, 0.25),
        (ev.Loss.GOODBYE, False, 0.0),
    ],
)
def test_after_a_loss_a_member_claims_when_the_protocol_says(loss: ev.Loss, delay_s: float, *, primary: bool) -> None:
    node = (mirroring() if primary else following()).lost(loss)
    if delay_s:
        assert node.phase is Phase.SUSPENDED
        assert not node.all(act.Swap)
        assert node.timers == {ev.Timer.CLAIM: delay_s}
        node.fires(ev.Timer.CLAIM)
    swap = node.one(act.Swap)
    assert (swap.expected_revision, swap.record.epoch) == (4, 5)
    assert swap.record.members == (swap.record.primary,) == (node.state.me,)


def test_a_primary_acknowledges_nothing_between_the_loss_and_its_persisted_epoch() -> None:
    node = mirroring().write(1)
    sequence = node.one(act.StoreWrite).sequence
    for event in (ev.Stored(sequence), ev.SessionLost(ev.Loss.CLOSED), ev.TimerFired(ev.Timer.CLAIM)):
        assert node.feed(event).answers == {}
    assert node.wins().answers == {}
    metadata = node.one(act.Persist).metadata
    assert (metadata.epoch, metadata.members) == (5, ("a",))
    assert node.persisted().answers == {1: Outcome.DONE}
    assert node.phase is Phase.ALONE


def test_operations_that_come_meanwhile_are_held_by_the_primary_and_refused_by_the_secondary() -> None:
    assert suspended_primary().write(1).answers == {}
    assert following().lost().write(1).answers == {1: Outcome.NOT_PRIMARY}


def test_a_secondary_that_takes_over_first_ends_what_it_writes_for_the_old_primary() -> None:
    node = following().hear(msg.MirrorWrite(4, 9, 0, 9, 0, BLOCK)).lost(ev.Loss.GOODBYE).wins().persisted()
    assert node.phase is Phase.SECURING
    assert not node.write(1).all(act.StoreWrite)
    assert node.feed(ev.Stored(9)).phase is Phase.ALONE
    assert node.one(act.StoreWrite).sequence > 9


def test_a_primary_that_lost_the_swap_demotes_and_leaves_the_outcome_open() -> None:
    node = mirroring().write(1).write(2).read(3, BLOCK).lost(ev.Loss.SILENT).gets(SwapOutcome.LOST)
    node.reads_record(attrs.evolve(FIRST, epoch=5, primary="b", members=("b",), proposal="b5"), 5)
    assert node.phase is Phase.OUTDATED
    assert node.answers == {1: Outcome.UNKNOWN, 2: Outcome.NOT_PRIMARY, 3: Outcome.NOT_PRIMARY}


def test_a_demoted_primary_ends_its_own_writes_before_it_is_overwritten() -> None:
    node = mirroring().write(1)
    sequence = node.one(act.StoreWrite).sequence
    node.lost(ev.Loss.SILENT).gets(SwapOutcome.LOST)
    node.reads_record(attrs.evolve(FIRST, epoch=5, primary="b", members=("b",), proposal="b5"), 5)
    node.feed(ev.SessionUp(PEER)).hear(standing(5, Phase.ALONE), msg.ResyncStart(5, "b5"))
    assert not node.all(act.Persist)
    node.feed(ev.Stored(sequence))
    assert node.one(act.Persist).metadata.copy is Copy.RESYNCING


@pytest.mark.parametrize("phase", [Phase.WAITING, Phase.BOOTING, Phase.OUTDATED])
def test_a_peer_that_runs_anew_is_no_partner_although_the_record_names_both(phase: Phase) -> None:
    node = suspended_primary().feed(ev.SessionUp(PEER + 1))
    assert node.one(act.Swap).record.members == ("a",)
    assert not node.hear(standing(4, phase)).all(act.Send)


def test_a_flap_is_resumed_once_both_say_so() -> None:
    primary = suspended_primary().feed(ev.SessionUp(PEER)).hear(standing(4, Phase.SUSPENDED, ord("a")))
    assert primary.one(act.CancelTimer).timer is ev.Timer.CLAIM
    assert primary.phase is Phase.SUSPENDED
    assert primary.hear(msg.Resumed(4, 0)).phase is Phase.MIRRORING

    secondary = following().lost().feed(ev.SessionUp(PEER)).hear(standing(4, Phase.SUSPENDED, ord("b")))
    assert secondary.said[0] == msg.Resumed(4, 0)
    assert secondary.phase is Phase.FOLLOWING


def test_a_resumption_counts_although_the_secondary_had_said_that_it_claims() -> None:
    """Its claim was refused: without this both wait for ever, connected."""
    primary = suspended_primary().feed(ev.SessionUp(PEER)).hear(standing(4, Phase.CLAIMING, ord("a")))
    assert primary.hear(msg.Resumed(4, 0)).phase is Phase.MIRRORING


def test_a_resumption_by_another_process_does_not_count() -> None:
    primary = suspended_primary().feed(ev.SessionUp(PEER + 1)).hear(standing(4, Phase.SUSPENDED, ord("a")))
    assert primary.hear(msg.Resumed(4, 0)).phase is not Phase.MIRRORING


@pytest.mark.parametrize(("make", "own"), [(mirroring, "a"), (following, "b")])
def test_who_loses_the_peer_while_the_arbiter_is_silent_is_in_no_doubt_and_resumes_whenever_it_is_back(
    make: Callable[[], Node], own: str
) -> None:
    node = make().fires(ev.Timer.RECORD_POLL).feed(ev.ReadFailed()).lost()
    for _ in range(3):
        assert not node.fires(ev.Timer.CLAIM).all(act.Swap)
        assert (node.phase, node.timers) == (Phase.SUSPENDED, {ev.Timer.CLAIM: 0.25})
        node.feed(ev.ReadFailed())
    node.feed(ev.SessionUp(PEER)).hear(standing(4, Phase.SUSPENDED, ord(own)))
    if node.state.primary:
        node.hear(msg.Resumed(4, 0))
    assert node.phase in {Phase.MIRRORING, Phase.FOLLOWING}


@pytest.mark.parametrize("make", [mirroring, following])
def test_who_loses_the_peer_while_the_arbiter_is_silent_claims_when_it_answers(make: Callable[[], Node]) -> None:
    node = make().fires(ev.Timer.RECORD_POLL).feed(ev.ReadFailed()).lost(ev.Loss.GOODBYE)
    record = node.state.record
    assert record is not None
    assert node.one(act.ReadRecord) == act.ReadRecord()
    node.reads_record(record, node.state.revision)
    assert node.fires(ev.Timer.CLAIM).one(act.Swap).record.members == (node.state.me,)


def test_a_secondary_resumes_once_nothing_is_running_on_its_disk() -> None:
    node = following().hear(msg.MirrorWrite(4, 9, 0, 9, 0, BLOCK)).lost().feed(ev.SessionUp(PEER))
    assert node.hear(standing(4, Phase.SUSPENDED, ord("b"))).phase is Phase.SUSPENDED
    node.feed(ev.Stored(9))
    assert node.said[0] == msg.Resumed(4, 9)


def suspended_secondary() -> Node:
    """Its disk still writes, so that it resumes nothing."""
    return following().hear(msg.MirrorWrite(4, 9, 0, 9, 0, BLOCK)).lost()


def test_a_secondary_whose_disk_is_slow_claims_nothing_while_its_primary_waits_for_it() -> None:
    """Both processes are those of before, and the connection came back first: the role stays."""
    node = suspended_secondary().feed(ev.SessionUp(PEER)).hear(standing(4, Phase.SUSPENDED, ord("b")))
    assert node.one(act.CancelTimer).timer is ev.Timer.CLAIM
    assert node.lost().timers == {ev.Timer.CLAIM: 0.25}


@pytest.mark.parametrize(("make", "delay_s"), [(suspended_primary, 0.1), (suspended_secondary, 0.25)])
def test_who_waits_for_a_peer_that_then_claims_after_all_waits_no_longer_than_after_a_loss(
    make: Callable[[], Node], delay_s: float
) -> None:
    """The peer may have lost its arbiter, and be in doubt for as long, and no session ends."""
    node = make()
    own = node.state.incarnation
    node.feed(ev.SessionUp(PEER)).hear(standing(4, Phase.SUSPENDED, own))
    assert node.hear(standing(4, Phase.CLAIMING, own)).timers == {ev.Timer.CLAIM: delay_s}
    assert node.fires(ev.Timer.CLAIM).one(act.Swap).record.members == (node.state.me,)


def test_after_a_flap_what_is_there_counts_and_the_rest_is_pushed_in_the_order_of_the_sequences() -> None:
    """A write that waited for its range may stand in the queue before one of a lower sequence."""
    node = mirroring().write(1)
    first = node.one(act.StoreWrite).sequence
    node.write(2).write(3, BLOCK)
    overtaking = node.one(act.StoreWrite).sequence
    node.feed(ev.Stored(first)).hear(msg.Applied(4, first))
    waited = node.one(act.StoreWrite).sequence
    assert overtaking < waited
    node.write(4, 2 * BLOCK)
    last = node.one(act.StoreWrite).sequence
    node.lost().feed(ev.SessionUp(PEER)).hear(standing(4, Phase.SUSPENDED, ord("a")), msg.Resumed(4, first))
    pushes = [(push.previous, push.sequence) for push in node.all(act.PushWrite)]
    assert pushes == [(first, overtaking), (overtaking, waited), (waited, last)]
    assert not node.all(act.StoreWrite)
    for sequence in (overtaking, waited):
        node.feed(ev.Stored(sequence))
    node.lost().feed(ev.SessionUp(PEER)).hear(standing(4, Phase.SUSPENDED, ord("a")), msg.Resumed(4, overtaking))
    assert node.answers == {3: Outcome.DONE}
    assert [push.sequence for push in node.all(act.PushWrite)] == [waited, last]


def test_standings_are_not_echoed() -> None:
    node = mirroring()
    for message in (standing(4, Phase.FOLLOWING, ord("a")), standing(4, Phase.FOLLOWING, ord("a"))):
        assert node.hear(message).said == []
    node = suspended_primary().feed(ev.SessionUp(PEER)).hear(standing(4, Phase.SUSPENDED, ord("a")))
    assert node.hear(standing(4, Phase.SUSPENDED, ord("a"))).said == []


def test_without_an_arbiter_two_connected_members_go_on() -> None:
    node = mirroring().fires(ev.Timer.RECORD_POLL).feed(ev.ReadFailed())
    assert not node.state.arbiter_answers
    assert node.write(1).all(act.PushWrite)


# A store error, and leaving.


def test_a_store_error_is_the_death_of_the_copy() -> None:
    node = mirroring().write(1).feed(ev.StoreFailed())
    assert node.one(act.CondemnCopy).metadata.copy is Copy.FAILED
    assert node.one(act.Goodbye).reason == "store-failed"
    assert node.answers == {1: Outcome.UNKNOWN}
    assert not node.write(2).all(act.StoreWrite)
    assert node.feed(ev.StoreFailed()).ordered == ()


def test_a_store_error_is_the_death_of_the_copy_of_a_node_that_leaves_too() -> None:
    node = mirroring().write(1).feed(ev.StopAsked("asked")).feed(ev.StoreFailed())
    assert node.one(act.CondemnCopy).metadata.copy is Copy.FAILED
    assert node.phase is Phase.LEFT


def test_a_node_that_leaves_says_so_and_acknowledges_nothing_more() -> None:
    node = mirroring().write(1)
    sequence = node.one(act.StoreWrite).sequence
    assert node.feed(ev.StopAsked("asked")).one(act.Goodbye).reason == "asked"
    assert node.answers == {1: Outcome.UNKNOWN}
    assert node.hear(msg.Applied(4, sequence)).feed(ev.Stored(sequence)).ordered == ()
    assert node.feed(ev.StopAsked("asked")).ordered == ()


# Return.


def test_a_target_persists_that_it_is_overwritten_before_the_first_range() -> None:
    record = attrs.evolve(FIRST, epoch=3, members=("a",))
    node = Node.boots("b", metadata_of("b", FIRST, 1)).reads_record(record, 3).feed(ev.SessionUp(PEER))
    node.hear(standing(3, Phase.ALONE), msg.ResyncStart(3, record.proposal))
    assert node.one(act.Persist).metadata.copy is Copy.RESYNCING
    assert node.said == []
    node.persisted()
    assert (node.one(act.SendReady), node.said) == (act.SendReady(3, 1), [standing(3, Phase.RESYNCING)])


def test_a_range_is_clean_after_the_durable_answer_of_the_target() -> None:
    node = copying()
    first, second = node.all(act.SendCompare)
    node.hear(msg.Compared(3, first.sequence, equal=False))
    assert node.one(act.PushCopy).sequence == first.sequence
    assert not node.all(act.ClearDirty)
    assert node.hear(msg.Applied(3, first.sequence)).one(act.ClearDirty).offset == first.offset
    assert node.hear(msg.Compared(3, second.sequence, equal=True)).one(act.ClearDirty).offset == second.offset


def test_the_answer_to_a_comparison_is_heard_once_and_only_for_a_range_under_copy() -> None:
    node = copying()
    compare, other = node.all(act.SendCompare)
    node.hear(msg.Compared(3, other.sequence, equal=True)).write(1, COPY_CHUNK_BYTES)
    assert not node.hear(msg.Compared(3, node.one(act.StoreWrite).sequence, equal=False)).all(act.PushCopy)
    assert node.hear(msg.Compared(3, compare.sequence, equal=False)).all(act.PushCopy)
    assert not node.hear(msg.Compared(3, compare.sequence, equal=False)).ordered


def test_a_disk_that_failed_is_written_whole_whatever_it_reads() -> None:
    record = attrs.evolve(FIRST, epoch=3, members=("a",))
    node = Node.boots("b", metadata_of("b", FIRST, 1, Copy.FAILED)).reads_record(record, 3).feed(ev.SessionUp(PEER))
    node.hear(standing(3, Phase.ALONE), msg.ResyncStart(3, record.proposal))
    assert node.one(act.Persist).metadata.copy is Copy.REWRITING
    node.persisted().hear(msg.Compare(3, 9, 0, BLOCK, bytes(32)))
    assert node.ordered == (act.Send(msg.Compared(3, 9, equal=False)),)


def test_a_write_goes_to_both_below_the_cursor_and_waits_for_the_range_under_copy() -> None:
    node = alone()
    node.dirty = (0, BLOCK)
    node.write(1, COPY_CHUNK_BYTES)
    above = node.one(act.StoreWrite).sequence
    node.feed(ev.SessionUp(PEER)).hear(standing(3, Phase.OUTDATED), msg.ResyncReady(3, 3))
    compare = node.one(act.SendCompare)
    assert not node.write(2).all(act.StoreWrite)
    node.hear(msg.Compared(3, compare.sequence, equal=True))
    below = node.one(act.PushWrite).sequence
    assert node.feed(ev.Stored(below)).answers == {2: Outcome.DONE}, (
        "a sole member's client does not wait for the target"
    )
    assert not node.all(act.SendCompare), "the next range waits for the write in it"
    assert node.feed(ev.Stored(above)).one(act.SendCompare).offset == COPY_CHUNK_BYTES


def test_operations_are_held_from_the_last_range_until_the_target_is_a_member() -> None:
    node = admitting().write(1)
    assert not node.all(act.StoreWrite)
    swap = node.hear(msg.Sealed(3)).persisted().one(act.Swap)
    assert (swap.record.primary, swap.record.members) == ("a", BOTH)
    assert not node.wins().all(act.Send)
    assert [type(message) for message in node.persisted().said] == [msg.Admitted]
    assert not node.all(act.StoreWrite)
    assert node.hear(msg.Joined(4)).one(act.PushWrite).ticket == 1


def test_the_target_is_a_member_once_it_has_persisted_the_record() -> None:
    node = sealed()
    assert node.said == [msg.Sealed(3)]
    node.hear(msg.Admitted(4, 4, "f" * 32))
    assert (node.state.phase, node.said) == (Phase.RESYNCING, [])
    node.persisted()
    assert node.said[0] == msg.Joined(4)
    assert node.phase is Phase.FOLLOWING


def test_a_target_is_not_sealed_while_it_writes() -> None:
    node = resyncing().hear(msg.CopyData(3, 9, 0, BLOCK), msg.Seal(3, 0))
    assert not node.all(act.Persist)


def test_an_older_order_is_not_taken_for_the_newest_that_is_the_same() -> None:
    """The seal of the session before would be told of, and then overwritten, once the arbiter names this member."""
    node = resyncing()
    first = node.hear(msg.ResyncBase(3, 3)).one(act.Persist)
    seal = node.hear(msg.Seal(3, 0)).one(act.Persist)
    node.lost().feed(ev.SessionUp(PEER)).hear(standing(3, Phase.ALONE), msg.ResyncStart(3, FIRST.proposal))
    again = node.one(act.Persist)
    assert first == again
    for old in (first, seal):
        node.feed(ev.Persisted(old.metadata))
        assert (node.phase, node.ordered) == (Phase.OUTDATED, ())
    assert node.feed(ev.Persisted(again.metadata)).one(act.SendReady) == act.SendReady(3, 3)


@pytest.mark.parametrize("stage", ["copying", "asking", "sealed"])
def test_a_target_lost_before_the_swap_leaves_the_source_serving_alone(stage: str) -> None:
    node = copying()
    if stage != "copying":
        node = admitting()
    if stage == "sealed":
        node.hear(msg.Sealed(3))
    node.write(1).lost()
    assert node.phase is Phase.ALONE
    assert node.state.resync is None
    assert not node.all(act.Swap)


def test_a_target_lost_after_the_swap_is_a_member_lost() -> None:
    node = telling().lost()
    assert node.phase is Phase.SUSPENDED
    assert node.fires(ev.Timer.CLAIM).one(act.Swap).record.members == ("a",)


def test_who_resumes_with_a_target_that_was_just_made_a_member_marks_nothing_any_more() -> None:
    """Its word that it has joined was lost; that it follows says as much."""
    node = telling().lost().feed(ev.SessionUp(PEER)).hear(standing(4, Phase.SUSPENDED, ord("a")))
    assert not node.all(act.StopTracking)
    assert node.hear(msg.Resumed(4, 0)).all(act.StopTracking)


def test_a_refused_admission_is_tried_again_and_clients_are_served_meanwhile() -> None:
    node = admitting().write(1).hear(msg.Sealed(3)).persisted().gets(SwapOutcome.REFUSED)
    assert node.phase is Phase.ALONE
    sequence = node.one(act.PushWrite).sequence
    assert node.feed(ev.Stored(sequence)).answers == {1: Outcome.DONE}
    assert not node.hear(msg.Applied(3, sequence)).fires(ev.Timer.ARBITER_RETRY).all(act.PushSeal)
    assert node.state.record is not None
    node.reads_record(node.state.record, 3, takes_changes=True)
    assert node.all(act.PushSeal), "sealed anew, with what was written since"


def copied(node: Node, compares: Sequence[act.SendCompare]) -> Node:
    """The target has the same."""
    for compare in compares:
        node.hear(msg.Compared(3, compare.sequence, equal=True))
    return node


def test_clients_are_not_held_for_an_admission_while_the_arbiter_is_silent() -> None:
    """It would leave the swap in doubt, and the only member with it, for as long as it is away."""
    node = copying()
    compares = node.all(act.SendCompare)
    copied(node.fires(ev.Timer.RECORD_POLL).feed(ev.ReadFailed()), compares)
    assert node.phase is Phase.ALONE
    sequence = node.write(1).one(act.StoreWrite).sequence
    assert node.feed(ev.Stored(sequence)).answers == {1: Outcome.DONE}
    node.hear(msg.Applied(3, sequence))
    record = node.fires(ev.Timer.RECORD_POLL).state.record
    assert record is not None
    assert node.reads_record(record, 3).phase is Phase.ADMITTING


def test_clients_are_not_held_again_for_an_admission_that_an_arbiter_refused_and_does_not_prove() -> None:
    node = admitting().hear(msg.Sealed(3)).persisted().gets(SwapOutcome.REFUSED)
    assert node.fires(ev.Timer.ARBITER_RETRY).one(act.ReadRecord) == act.ReadRecord(proves=True)
    assert node.feed(ev.ReadFailed()).phase is Phase.ALONE
    assert node.is_proved(takes_changes=False).phase is Phase.ALONE
    assert node.is_proved(takes_changes=True).phase is Phase.ADMITTING


def test_a_target_that_comes_back_while_its_admission_is_at_the_arbiter_keeps_its_session() -> None:
    """What that came to decides. Nothing was pushed in this session, and the next one would be ended likewise."""
    node = admitting().hear(msg.Sealed(3)).persisted().lost().feed(ev.SessionUp(PEER))
    assert not node.hear(standing(3, Phase.OUTDATED)).ordered
    assert node.phase is Phase.ADMITTING


@pytest.mark.parametrize("begin", [copying, admitting])
def test_a_target_that_is_outdated_again_is_begun_anew_in_another_session(begin: Callable[[], Node]) -> None:
    node = begin()
    assert node.hear(standing(3, Phase.OUTDATED)).one(act.DropSession).blames_peer is False
    assert not node.hear(standing(3, Phase.RESYNCING)).all(act.DropSession)
    node.lost().feed(ev.SessionUp(PEER))
    assert node.state.record is not None
    assert node.hear(standing(3, Phase.OUTDATED)).said[-1] == msg.ResyncStart(3, node.state.record.proposal, 3)


def test_what_the_source_refused_is_searched_for_anew() -> None:
    """A search that is under way then was ordered before it was marked."""
    node = copying()
    node.hear(msg.Compared(3, node.all(act.SendCompare)[0].sequence, equal=True)).write(1)
    sequence, resync = node.one(act.PushWrite).sequence, node.state.resync
    assert resync is not None
    node.state = attrs.evolve(node.state, resync=attrs.evolve(resync, cursor=0, search=99))
    node.feed(ev.Damaged(sequence, 0, BLOCK)).hear(msg.Applied(3, sequence))
    (search,) = node.all(act.FindDirty)
    assert (search.search > sequence, search.offset) == (True, 0)


def test_both_disks_know_of_an_admission_before_it_is_proposed() -> None:
    """The target's is sealed for the next record, the source's names the proposal: either may crash behind it."""
    node = admitting().hear(msg.Sealed(3))
    intent = node.one(act.Persist).metadata
    assert intent.proposed == (node.persisted().one(act.Swap).record.proposal,)
    assert sealed().state.metadata.copy is Copy.SEALED


def test_both_disks_know_of_a_handover_before_it_is_proposed() -> None:
    node = mirroring().feed(ev.HandoverAsked())
    prepare = node.one(act.SendPrepare)
    intent = node.hear(msg.HandoverReady(4, 1)).one(act.Persist).metadata
    assert intent.proposed == (prepare.proposal,) == (node.persisted().one(act.Swap).record.proposal,)
    assert following().prepares(1).one(act.Persist).metadata.proposed == (PROPOSAL,)


def test_the_source_lost_before_the_admission_leaves_the_target_outdated() -> None:
    node = sealed().lost()
    assert node.phase is Phase.OUTDATED
    assert node.all(act.ReadRecord)


# Handover.


def handed_over() -> Node:
    node = mirroring().feed(ev.HandoverAsked())
    assert node.one(act.SendPrepare) == act.SendPrepare(4, 1, node.state.next_proposal)
    return node.hear(msg.HandoverReady(4, 1)).persisted()


def test_a_handover_drains_asks_persists_swaps_and_tells() -> None:
    node = mirroring().write(1)
    sequence = node.one(act.StoreWrite).sequence
    assert not node.feed(ev.HandoverAsked()).all(act.SendPrepare)
    assert not node.write(2).all(act.StoreWrite)
    node.feed(ev.Stored(sequence)).hear(msg.Applied(4, sequence))
    assert node.answers == {1: Outcome.DONE}
    assert node.one(act.SendPrepare) == act.SendPrepare(4, 1, node.state.next_proposal)
    swap = node.hear(msg.HandoverReady(4, 1)).persisted().one(act.Swap)
    assert (swap.record.epoch, swap.record.primary, swap.record.members) == (5, "b", BOTH)
    assert not node.wins().all(act.Send)
    node.persisted()
    assert node.said[0] == msg.HandoverDone(5, 5, swap.record.proposal)
    assert (node.state.phase, node.answers) == (Phase.FOLLOWING, {})
    assert node.one(act.HandoverEnded) == act.HandoverEnded("")
    assert node.hear(standing(5, Phase.MIRRORING, ord("a"))).one(act.PushProposal).ticket == 2


def test_the_secondary_takes_the_role_once_it_has_persisted_it() -> None:
    node = following().prepares(1).persisted()
    assert node.one(act.PushReady).message == msg.HandoverReady(4, 1)
    node.hear(msg.HandoverDone(5, 5, "e" * 32))
    assert node.state.phase is Phase.FOLLOWING
    assert node.persisted().phase is Phase.MIRRORING
    assert node.write(1).all(act.PushWrite)


PREPARING: list[Callable[[], Node]] = [
    lambda: following().hear(msg.HandoverPrepare(4, 1, PROPOSAL, DIGEST)),
    lambda: following().prepares(1),
    lambda: following().prepares(1).persisted(),
]
"""``b`` compares its records, flushes, or is ready."""


@pytest.mark.parametrize("make", PREPARING)
def test_a_secondary_that_is_handed_the_role_proposes_nothing_and_executes_it_as_primary(
    make: Callable[[], Node],
) -> None:
    """It would come behind the swap, pushed in an epoch that is over, and end the session."""
    node = make().write(1)
    assert not node.all(act.PushProposal)
    node.hear(msg.HandoverDone(5, 5, PROPOSAL))
    assert not node.all(act.PushProposal)
    assert node.persisted().one(act.PushWrite).ticket == 1


@pytest.mark.parametrize("make", PREPARING)
def test_a_secondary_proposes_again_when_the_primary_serves_on(make: Callable[[], Node]) -> None:
    node = make().hear(standing(4, Phase.HANDING_OVER, ord("b"))).write(1)
    assert not node.all(act.PushProposal)
    assert node.hear(standing(4, Phase.MIRRORING, ord("b"))).one(act.PushProposal).number == 1
    assert not node.feed(ev.RecordsCompared(1, PROPOSAL, equal=True)).all(act.PushReady)
    if node.state.persisting is not None:
        assert not node.feed(ev.Persisted(node.state.persisting)).all(act.PushReady)
    assert node.prepares(2).persisted().one(act.PushReady).message.attempt == 2


def test_a_secondary_whose_records_differ_proposes_on() -> None:
    node = following().hear(standing(4, Phase.HANDING_OVER, ord("b")), msg.HandoverPrepare(4, 1, PROPOSAL, DIGEST))
    assert not node.write(1).all(act.PushProposal)
    node.feed(ev.RecordsCompared(1, PROPOSAL, equal=False))
    assert node.said == [msg.RecordsDiffer(4, 1)]
    assert node.one(act.PushProposal).number == 1


def test_whom_a_primary_holds_that_gives_the_role_away_it_proposes_to_the_other() -> None:
    """In the order in which they came; what reads waits for them as at any secondary."""
    node = mirroring().feed(ev.HandoverAsked()).write(1).read(2).flush(3).write(4, BLOCK)
    node.hear(msg.HandoverReady(4, 1)).persisted().wins().persisted()
    node.hear(standing(5, Phase.MIRRORING, ord("a")))
    assert [(push.epoch, push.number, push.ticket) for push in node.all(act.PushProposal)] == [(5, 1, 1), (5, 2, 4)]
    node.hear(msg.Unexecuted(5, 1, Outcome.NOT_PRIMARY, 0))
    assert node.answers == {1: Outcome.NOT_PRIMARY}
    fetch = node.one(act.FetchRead)
    assert fetch.ticket == 2
    assert node.feed(ev.Fetched(fetch.fetch)).answers == {2: Outcome.DONE, 3: Outcome.DONE}


def test_a_primary_that_gave_a_role_away_drops_what_was_proposed_and_not_begun() -> None:
    """The other node executes it."""
    node = mirroring().feed(ev.HandoverAsked())
    node.hear(msg.Propose(4, 1, Operation(OperationKind.WRITE, 9, 1, 0, BLOCK), BLOCK))
    assert not node.all(act.PushAssigned)
    assert [flight.taken for flight in node.state.flights] == [1]
    node.hear(msg.HandoverReady(4, 1)).persisted().wins().persisted()
    assert node.phase is Phase.FOLLOWING
    assert not node.state.flights


def test_a_secondary_prepares_once_it_has_written_everything() -> None:
    node = following().hear(msg.MirrorWrite(4, 9, 0, 9, 0, BLOCK), msg.HandoverPrepare(4, 1, PROPOSAL, DIGEST))
    assert not node.all(act.CompareRecords)


def test_a_handover_that_takes_too_long_is_given_up_and_its_late_answer_is_not_taken_for_the_next() -> None:
    node = mirroring().feed(ev.HandoverAsked()).write(1).fires(ev.Timer.HANDOVER_LIMIT)
    assert node.one(act.HandoverEnded).setback is Setback.NOT_IN_TIME
    assert node.phase is Phase.MIRRORING
    sequence = node.one(act.StoreWrite).sequence
    node.feed(ev.Stored(sequence)).hear(msg.Applied(4, sequence)).feed(ev.HandoverAsked())
    assert not node.hear(msg.HandoverReady(4, 1)).all(act.Persist)
    assert node.hear(msg.HandoverReady(4, 2)).all(act.Persist)


def test_a_handover_whose_swap_was_refused_goes_on_as_before() -> None:
    node = handed_over().gets(SwapOutcome.REFUSED)
    assert node.one(act.HandoverEnded).setback is Setback.ARBITER_REFUSES
    assert node.phase is Phase.MIRRORING


def test_an_unknown_handover_holds_until_the_record_tells() -> None:
    node = handed_over()
    mine = node.one(act.Swap).record
    node.gets(SwapOutcome.UNKNOWN).write(1)
    assert not node.all(act.StoreWrite)
    node.fires(ev.Timer.ARBITER_RETRY).reads_record(mine, 5).persisted()
    assert node.phase is Phase.FOLLOWING


def test_the_peer_lost_before_the_swap_of_a_handover_is_a_peer_lost() -> None:
    node = mirroring().feed(ev.HandoverAsked()).lost()
    assert node.one(act.HandoverEnded).setback is Setback.PEER_LOST
    assert node.timers == {ev.Timer.CLAIM: 0.1}


def test_the_peer_lost_during_the_swap_of_a_handover_waits_for_the_record() -> None:
    node = handed_over()
    swap = node.one(act.Swap)
    assert node.lost().phase is Phase.HANDING_OVER
    node.feed(ev.Swapped(swap.record.proposal, SwapOutcome.WON, 5)).persisted()
    assert node.phase is Phase.SUSPENDED
    assert not node.state.primary
    assert node.one(act.HandoverEnded) == act.HandoverEnded("")


def test_a_handover_that_was_won_is_done_although_the_node_ends_before_it_has_recorded_that() -> None:
    node = handed_over().wins()
    assert node.feed(ev.StopAsked("asked")).one(act.HandoverEnded) == act.HandoverEnded("")


def test_of_a_handover_nobody_knows_while_the_arbiter_is_asked() -> None:
    ended = handed_over().feed(ev.StopAsked("asked")).one(act.HandoverEnded)
    assert (ended.problem, ended.unknown) == ("asked", True)


@pytest.mark.parametrize("steps", [1, 2])
def test_a_handover_that_another_record_may_have_followed_is_not_said_to_have_failed(steps: int) -> None:
    """The next one may be the peer's, as primary; one that stands in the place of the handover's proves it lost."""
    node = handed_over()
    before = node.one(act.Swap).record
    others = attrs.evolve(before, epoch=before.epoch + steps - 1, members=("b",), proposal="f" * 32)
    node.gets(SwapOutcome.UNKNOWN).lost().fires(ev.Timer.ARBITER_RETRY).reads_record(others, 4 + steps)
    ended = node.one(act.HandoverEnded)
    assert (ended.problem, ended.setback, ended.unknown) == (f"b won epoch {others.epoch}", None, steps > 1)


def test_a_record_that_cannot_be_right_says_nothing_of_a_handover() -> None:
    node = handed_over()
    mine = node.one(act.Swap).record
    foreign = attrs.evolve(mine, lineage="9" * 32, epoch=mine.epoch + 1, proposal="f" * 32)
    node.gets(SwapOutcome.UNKNOWN).fires(ev.Timer.ARBITER_RETRY).reads_record(foreign, 6)
    ended = node.one(act.HandoverEnded)
    assert (ended.problem, ended.unknown) == ("foreign-lineage", True)


@pytest.mark.parametrize("make", [alone, following, resyncing, suspended_primary])
def test_only_the_primary_of_two_in_sync_hands_over(make: Callable[[], Node]) -> None:
    node = make()
    phase = node.state.phase
    assert node.feed(ev.HandoverAsked()).one(act.HandoverEnded).problem
    assert node.phase is phase


def test_a_role_that_came_by_handover_is_not_served_before_it_is_durable_although_a_flap_is_resumed() -> None:
    node = following().prepares(1).persisted().hear(msg.HandoverDone(5, 5, "e" * 32))
    node.lost().feed(ev.SessionUp(PEER)).hear(standing(5, Phase.SUSPENDED, ord("b")), msg.Resumed(5, 0))
    assert node.phase is Phase.CLAIMING
    assert node.wins().one(act.Persist).metadata.epoch == 6


def test_a_role_that_became_durable_while_the_session_was_lost_is_served_like_any_that_was_handed_over() -> None:
    """A put that this node had taken as secondary may have no room beside what the old primary has put since."""
    put = Operation(OperationKind.PUT_RECORD, 1, 1, 0, 0, "key")
    node = following().feed(ev.Submitted(1, put)).prepares(1).persisted().hear(msg.HandoverDone(5, 5, "e" * 32))
    metadata = node.one(act.Persist).metadata
    assert node.lost().one(act.CheckRoom).tickets == (1,)
    node.feed(ev.Persisted(metadata)).feed(ev.SessionUp(PEER)).hear(standing(5, Phase.SUSPENDED, ord("b")))
    node.hear(msg.Resumed(5, 0))
    assert node.phase is Phase.MIRRORING
    assert not node.all(act.StoreRecord)
    assert node.feed(ev.RoomChecked((1,), (1,))).answers == {1: Outcome.FAILED}


def test_the_word_of_a_handover_is_taken_even_while_the_secondary_prepares_again() -> None:
    node = following().prepares(1).persisted().prepares(2)
    node.hear(msg.HandoverDone(5, 5, "e" * 32))
    assert node.persisted().phase is Phase.MIRRORING


# The machine.


def test_a_phase_that_the_table_does_not_allow_raises() -> None:
    for state, illegal in ((alone().state, Phase.FOLLOWING), (following().state, Phase.ALONE)):
        with pytest.raises(LocalProtocolError, match="no way from"):
            Step(state).move(illegal, "test")


def test_a_second_swap_beside_one_under_way_raises() -> None:
    node = suspended_primary().fires(ev.Timer.CLAIM)
    with pytest.raises(LocalProtocolError, match="a swap under way"):
        Step(node.state).propose(primary="a", members=("a",))


def test_an_ended_node_takes_every_event_and_orders_nothing_but_refusals() -> None:
    events: Sequence[ev.Event] = (
        ev.ReadFailed(),
        ev.Stored(1),
        ev.Fetched(1),
        ev.HandoverAsked(),
        ev.RangeCompared(1, 1, equal=True),
        ev.TimerFired(ev.Timer.RECORD_POLL),
        ev.TimerFired(ev.Timer.CLAIM),
        ev.RecordRead(attrs.evolve(FIRST, epoch=9), 9),
        ev.Received(msg.MirrorWrite(4, 9, 0, 9, 0, BLOCK)),
    )
    node = mirroring().feed(ev.StopAsked("asked"))
    for event in events:
        assert not [a for a in node.feed(event).ordered if not isinstance(a, act.HandoverEnded)]
        assert node.phase is Phase.LEFT


def test_every_step_of_a_troubled_pair_is_deterministic() -> None:
    first, second = CoreWorld(5), CoreWorld(5)
    for world in (first, second):
        world.run(600)
    assert first.pair.history.digest == second.pair.history.digest
    assert [node.state for node in first.pair.nodes.values()] == [node.state for node in second.pair.nodes.values()]
