"""Writes that one disk refused, for it has lost a block of which they write a part, and what the other disk has."""

from collections import deque
from collections.abc import Callable

import attrs
import pytest

from ctlha_trio.pair import (
    COPY_CHUNK_BYTES,
    Operation,
    OperationKind,
    Outcome,
    Phase,
    SwapOutcome,
    _admission as admission,
    _repair as repair,
    _service as service,
    actions as act,
    events as ev,
    messages as msg,
)
from ctlha_trio.pair._state import RANGE_UNIT_BYTES, Flight
from ctlha_trio.pair._step import Step
from ctlha_trio.wire import KnownRecord
from tests.mutants.repair import resumes_with_copies_that_differ
from tests.unit.pair.test_pair_repair import BLOCK, BOTH, SIZE, Patch, Rig, holding, is_whole, pair

UNEQUAL = "a write could not be made equal on both copies"
PUSHED = (msg.MirrorWrite, msg.MirrorZeroes, msg.CopyData, msg.RepairData, msg.Seal)


@attrs.define(eq=False)
class SlowPushes(Rig):
    """Pushes go in their order and messages in theirs, and no message waits for a push."""

    slow: bool = False
    pushes: deque[Callable[[], None]] = attrs.Factory(deque)

    def say(self, name: str, message: msg.Message, data: bytes = b"") -> None:
        if not self.slow or not isinstance(message, PUSHED):
            super().say(name, message, data)
            return
        session = self.session

        def push() -> None:
            if session == self.session:
                Rig.say(self, name, message, data)

        self.pushes.append(push)

    def deliver(self) -> None:
        self.slow = False
        while self.pushes:
            self.pushes.popleft()()
            self.settle()


@attrs.define(eq=False)
class Refusing(Rig):
    """The arbiter takes changes, or certainly does not."""

    refusing: bool = False

    def swap(self, name: str, swap: act.Swap) -> None:
        if self.refusing:
            self.feed(name, ev.Swapped(swap.record.proposal, SwapOutcome.REFUSED))
        else:
            super().swap(name, swap)


@attrs.define(eq=False)
class Proposing(Rig):
    """What the secondary proposed ends at neither disk by itself."""

    def carry_out(self, name: str, action: act.Action, placed: bytes = b"") -> None:
        if isinstance(action, act.PushAssigned) or (isinstance(action, act.StoreWrite) and action.taken):
            self.ordered.append((name, action))
        else:
            super().carry_out(name, action, placed)


def sole_beside_a_target(rig: Rig) -> Rig:
    """The primary holds something everywhere, and went on alone; its peer is about to come back."""
    rig.boot(*BOTH).connect()
    assert rig.answers[rig.write(0, bytes(range(1, 129)) * (SIZE // 128))] is Outcome.DONE
    rig.cut()
    rig.feed("a", ev.TimerFired(ev.Timer.CLAIM))
    rig.settle()
    assert rig.states["a"].phase is Phase.ALONE
    return rig


def differing(rig: Rig) -> list[int]:
    """Blocks that both disks give back, and not the same."""
    a, b = (rig.disks[name] for name in BOTH)
    blocks = (slice(number * BLOCK, (number + 1) * BLOCK) for number in range(SIZE // BLOCK))
    lost = a.damaged | b.damaged
    return [number for number, at in enumerate(blocks) if number not in lost and a.content[at] != b.content[at]]


def marked(rig: Rig, name: str = "a") -> set[int]:
    """Blocks in the units that were ordered to be marked."""
    orders: tuple[act.MarkDirty | act.Track, ...] = (*rig.all(act.MarkDirty, name), *rig.all(act.Track, name))
    ranges = [each for action in orders for each in action.ranges]
    return {
        block
        for offset, size in ranges
        for block in range(
            offset // RANGE_UNIT_BYTES * RANGE_UNIT_BYTES // BLOCK,
            -(-(offset + size) // RANGE_UNIT_BYTES) * RANGE_UNIT_BYTES // BLOCK,
        )
    }


# Rules taken out of the core.


def leaves_at_the_target_what_the_source_refused(patch: Patch) -> None:
    patch.setattr(repair, "_copy_again", lambda *_: None)


def ends_what_was_refused_last(patch: Patch) -> None:
    def do_without(step: Step, flight: Flight) -> None:
        repair._copy_again(step, flight.operation.where)
        repair._fail(step, flight)

    patch.setattr(repair, "_do_without", do_without)


def gives_up_what_is_damaged_while_the_peer_is_away(patch: Patch) -> None:
    plain = repair.range_damaged

    def range_damaged(step: Step, event: ev.RangeDamaged) -> None:
        asked = service.by_sequence(step, event.sequence)
        if step.state.phase is Phase.SUSPENDED and asked is not None:
            repair._give_up(step, asked, (event.offset, event.size))
        else:
            plain(step, event)

    patch.setattr(repair, "range_damaged", range_damaged)


def marks_only_the_first_that_cannot_be_made_equal(patch: Patch) -> None:
    plain = repair._part
    patch.setattr(repair, "_part", lambda step, on_one: plain(step, on_one[:1]))


def claims_before_all_has_ended(patch: Patch) -> None:
    plain, part = repair._fail, repair._part

    def fail(step: Step, flight: Flight) -> None:
        plain(step, flight)
        if flight.tried:
            part(step, (flight.operation.where,))

    patch.setattr(repair, "_fail", fail)
    patch.setattr(repair, "_part", lambda *_: None)


def begins_anew_in_the_same_session(patch: Patch) -> None:
    plain = admission.offer

    def offer(step: Step) -> None:
        peer = step.state.standing
        if peer is not None and peer.phase is Phase.OUTDATED and step.state.resync is not None:
            admission.target_lost(step)
        plain(step)

    patch.setattr(admission, "offer", offer)


# What becomes of such writes.


def a_write_that_the_sole_member_refused_is_undone_at_a_target_that_has_it() -> None:
    rig = sole_beside_a_target(Rig())
    rig.holds = lambda _, action: isinstance(action, act.SendCompare) and action.offset >= COPY_CHUNK_BYTES
    rig.connect()
    assert rig.phases() == (Phase.ALONE, Phase.RESYNCING)
    rig.disks["a"].damaged.add(3)
    ticket = rig.write(3 * BLOCK + 7, b"n" * (2 * BLOCK - 7))
    assert rig.answers[ticket] is Outcome.MEDIUM_ERROR
    assert rig.disks["b"].read(4 * BLOCK, 1) == b"n"
    rig.release()
    assert rig.phases() == (Phase.ALONE, Phase.RESYNCING)
    assert rig.answers[rig.write(3 * BLOCK, b"x" * BLOCK)] is Outcome.DONE
    assert rig.phases() == (Phase.MIRRORING, Phase.FOLLOWING)
    is_whole(rig)


def admitting_beside_a_write() -> tuple[Rig, int]:
    """``a`` waits for a write before it takes ``b`` in. It covers a part of a block that ``a`` has lost. Its ticket."""
    rig = sole_beside_a_target(Rig())
    rig.holds = lambda _, action: isinstance(action, act.SendCompare) and action.offset >= COPY_CHUNK_BYTES
    rig.connect()
    rig.disks["a"].damaged.add(3)
    compares, rig.held = rig.held, []
    rig.holds = holding(act.StoreWrite)
    ticket = rig.write(3 * BLOCK + 7, b"n" * (2 * BLOCK - 7))
    for each in compares:
        each.end()
    rig.settle()
    assert rig.phases() == (Phase.ADMITTING, Phase.RESYNCING)
    return rig, ticket


def a_write_that_is_refused_during_the_admission_puts_it_off() -> None:
    rig, ticket = admitting_beside_a_write()
    rig.release()
    assert rig.answers[ticket] is Outcome.MEDIUM_ERROR
    assert rig.phases() == (Phase.ALONE, Phase.RESYNCING)
    assert rig.answers[rig.write(3 * BLOCK, b"x" * BLOCK)] is Outcome.DONE
    assert rig.phases() == (Phase.MIRRORING, Phase.FOLLOWING)
    is_whole(rig)


def a_write_that_is_refused_during_the_admission_ends_once_when_the_peer_tells_of_a_later_record() -> None:
    rig, ticket = admitting_beside_a_write()
    rig.feed("a", ev.PeerKnows(KnownRecord("l", 9, 9, leads=True)))
    assert rig.states["a"].is_behind
    for each in rig.held:
        each.end()
    rig.settle()
    assert rig.states["a"].phase is Phase.STOPPED, "the arbiter shows no such record"
    assert [answer.outcome for answer in rig.all(act.Answer) if answer.ticket == ticket] == [Outcome.MEDIUM_ERROR]


def what_is_damaged_while_the_peer_is_away_is_given_up_by_nobody() -> None:
    rig = pair(damaged_a=(3,))
    rig.holds = holding(act.StoreMirrored, "b")
    ticket = rig.write(3 * BLOCK + 7, b"n" * (3 * BLOCK - 7))
    rig.release(lambda _, action: isinstance(action, act.PushRange))
    rig.disks["b"].damaged.add(3)  # that has executed the write, and is asked for the block
    rig.release(holding(act.PushRange))
    assert [flight.last_resort for flight in rig.states["a"].flights if flight.started] == [True]
    rig.cut()
    rig.release()
    assert rig.states["a"].phase is Phase.SUSPENDED
    assert ticket not in rig.answers
    rig.connect()
    assert rig.answers[ticket] is Outcome.UNKNOWN
    assert len(rig.record.members) == 1
    assert set(differing(rig)) <= marked(rig)


def all_that_only_one_disk_has_is_marked() -> None:
    """Two writes touch one block that both disks lose. The secondary tells so, and dies with what it knows."""
    rig = pair(damaged_b=(31,))
    rig.holds = holding(act.StoreMirrored, "b")
    one = rig.write(31 * BLOCK + 2000, b"1" * (10 * BLOCK - 2000))
    two = rig.write(10 * BLOCK, b"2" * (21 * BLOCK + 100))
    rig.release(holding(act.PushRange))
    assert all(flight.tried for flight in rig.states["a"].flights if flight.ticket)
    rig.disks["a"].damaged.add(31)
    rig.holds = lambda name, _: name == "b"
    rig.release(holding(act.PushRange, "b"))
    rig.release(lambda name, _: name == "b")
    rig.cut()
    assert (rig.answers[one], rig.answers[two]) == (Outcome.UNKNOWN, Outcome.UNKNOWN)
    assert differing(rig)
    assert set(differing(rig)) <= marked(rig)


def prepare_loss(rig: Rig) -> None:
    """Both hold the same, and the secondary loses a block."""
    rig.boot(*BOTH).connect()
    assert rig.answers[rig.write(0, bytes(range(1, 129)) * (SIZE // 4 // 128))] is Outcome.DONE
    rig.disks["b"].damaged.add(31)


def write_in_part(rig: Rig) -> int:
    """A part of that block, and all of some behind it."""
    return rig.write(31 * BLOCK + 2000, b"1" * (10 * BLOCK - 2000))


def claim_refused() -> tuple[Refusing, int]:
    """A write that the primary alone has executed is given up, for it has lost the block as well."""
    rig = Refusing()
    prepare_loss(rig)
    rig.holds = holding(act.PushRange)
    ticket = write_in_part(rig)
    rig.disks["a"].damaged.add(31)
    rig.refusing = True
    rig.release()
    return rig, ticket


def copies_that_differ_are_not_paired_again_though_the_claim_is_refused() -> None:
    rig, ticket = claim_refused()
    assert rig.answers[ticket] is Outcome.UNKNOWN
    assert differing(rig)
    for _ in range(2):
        for name, timer in (("b", ev.Timer.CLAIM), ("a", ev.Timer.ARBITER_RETRY), ("b", ev.Timer.ARBITER_RETRY)):
            assert (rig.states["a"].phase, rig.states["a"].why) == (Phase.CLAIMING, UNEQUAL)
            assert rig.states["b"].phase in {Phase.SUSPENDED, Phase.CLAIMING}
            rig.feed(name, ev.TimerFired(timer))
            rig.settle()
        rig.cut().connect()
    rig.refusing = False
    rig.fire(ev.Timer.ARBITER_RETRY)
    assert rig.record.members == ("a",)
    assert rig.phases() == (Phase.ALONE, Phase.RESYNCING)
    assert rig.answers[rig.write(31 * BLOCK, b"x" * BLOCK)] is Outcome.DONE
    assert rig.phases() == (Phase.MIRRORING, Phase.FOLLOWING)
    is_whole(rig)


def the_secondary_may_be_the_one_that_counts_when_the_claim_was_refused() -> None:
    rig, _ = claim_refused()
    rig.refusing = False
    rig.feed("b", ev.TimerFired(ev.Timer.CLAIM))
    rig.settle()
    assert rig.record.members == ("b",)
    rig.fire(ev.Timer.ARBITER_RETRY)
    assert rig.phases() == (Phase.RESYNCING, Phase.ALONE)
    assert differing(rig)
    assert set(differing(rig)) <= marked(rig, "b")


def what_the_secondary_proposed_ends_there_although_the_pair_parts() -> None:
    """It writes other bytes of the block of which a write is on one disk alone, and is on neither."""
    rig = Proposing()
    prepare_loss(rig)
    rig.holds = lambda _, action: isinstance(action, act.StoreMirrored | act.PushRange)
    ticket = write_in_part(rig)
    epoch = rig.states["a"].epoch
    rig.feed("a", ev.Received(msg.Propose(epoch, 1, Operation(OperationKind.WRITE, 9, 1, 31 * BLOCK, 100), 100)))
    rig.disks["a"].damaged.add(31)
    (sequence,) = (flight.sequence for flight in rig.states["a"].flights if flight.taken)
    rig.feed("a", ev.Damaged(sequence, 31 * BLOCK, BLOCK))
    rig.feed("a", ev.Received(msg.Damaged(epoch, sequence, 31 * BLOCK, BLOCK)))
    rig.release()
    assert rig.answers[ticket] is Outcome.UNKNOWN
    told = [action.message for action in rig.all(act.Send) if isinstance(action.message, msg.Unexecuted)]
    assert told == [msg.Unexecuted(epoch, 1, Outcome.MEDIUM_ERROR, 0)]
    assert rig.record.members == ("a",)


def nothing_that_was_pushed_to_a_target_reaches_it_when_it_has_begun_anew() -> None:
    rig = SlowPushes()
    sole_beside_a_target(rig)
    old = rig.disks["b"].read(COPY_CHUNK_BYTES, COPY_CHUNK_BYTES)
    assert rig.answers[rig.write(COPY_CHUNK_BYTES, b"x" * COPY_CHUNK_BYTES)] is Outcome.DONE
    rig.holds = lambda _, action: isinstance(action, act.SendCompare) and action.offset >= COPY_CHUNK_BYTES
    rig.connect()
    assert rig.phases() == (Phase.ALONE, Phase.RESYNCING)
    rig.disks["b"].damaged.add(2)
    rig.slow = True
    assert rig.answers[rig.write(2 * BLOCK + 5, b"part")] is Outcome.DONE
    rig.release()
    assert len(rig.pushes) == 2, "the write, and the second half, which differs"
    rig.pushes.popleft()()
    while rig.states["b"].phase is not Phase.OUTDATED or rig.states["a"].standing is None:
        rig.todo.popleft()()
    assert rig.answers[rig.write(COPY_CHUNK_BYTES, old)] is Outcome.DONE, "as the other one has it there"
    rig.deliver()
    assert rig.phases() == (Phase.MIRRORING, Phase.FOLLOWING)
    is_whole(rig)


SCENARIOS: dict[Callable[[], None], tuple[Callable[[Patch], None], ...]] = {
    a_write_that_the_sole_member_refused_is_undone_at_a_target_that_has_it: (
        leaves_at_the_target_what_the_source_refused,
    ),
    a_write_that_is_refused_during_the_admission_puts_it_off: (leaves_at_the_target_what_the_source_refused,),
    a_write_that_is_refused_during_the_admission_ends_once_when_the_peer_tells_of_a_later_record: (
        ends_what_was_refused_last,
    ),
    what_is_damaged_while_the_peer_is_away_is_given_up_by_nobody: (gives_up_what_is_damaged_while_the_peer_is_away,),
    all_that_only_one_disk_has_is_marked: (marks_only_the_first_that_cannot_be_made_equal,),
    copies_that_differ_are_not_paired_again_though_the_claim_is_refused: (resumes_with_copies_that_differ,),
    the_secondary_may_be_the_one_that_counts_when_the_claim_was_refused: (resumes_with_copies_that_differ,),
    what_the_secondary_proposed_ends_there_although_the_pair_parts: (claims_before_all_has_ended,),
    nothing_that_was_pushed_to_a_target_reaches_it_when_it_has_begun_anew: (begins_anew_in_the_same_session,),
}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.__name__ for scenario in SCENARIOS])
def test_two_cores(scenario: Callable[[], None]) -> None:
    scenario()


@pytest.mark.parametrize(
    ("scenario", "mutant"),
    [
        pytest.param(scenario, mutant, id=f"{mutant.__name__}-{scenario.__name__}")
        for scenario, mutants in SCENARIOS.items()
        for mutant in mutants
    ],
)
def test_a_rule_that_is_missing_is_noticed(
    scenario: Callable[[], None], mutant: Callable[[Patch], None], monkeypatch: Patch
) -> None:
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        scenario()
