"""Writes that one disk refused, for it has lost a block of which they write a part, and what the other disk has."""

from collections import deque
from collections.abc import Callable

import attrs
import pytest

from ctlha_trio.pair import (
    COPY_CHUNK_BYTES,
    Outcome,
    Phase,
    _admission as admission,
    _repair as repair,
    _service as service,
    actions as act,
    events as ev,
    messages as msg,
)
from ctlha_trio.pair._state import RANGE_UNIT_BYTES, Flight
from ctlha_trio.pair._step import Step
from tests.unit.pair.test_pair_repair import BLOCK, BOTH, SIZE, Patch, Rig, holding, is_whole, pair

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


def marked(rig: Rig) -> set[int]:
    """Blocks in the units that were ordered to be marked at a."""
    orders: tuple[act.MarkDirty | act.Track, ...] = (*rig.all(act.MarkDirty), *rig.all(act.Track))
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


def marks_what_the_source_refused_behind_the_search(patch: Patch) -> None:
    patch.setattr(repair, "_copy_again", lambda step, where: step.do(act.MarkDirty((where,))))


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
    plain = repair._fail

    def fail(step: Step, flight: Flight) -> None:
        if step.state.phase is Phase.MIRRORING:
            plain(step, flight)
            return
        service.replace(step, flight, None)
        step.do(act.Answer(flight.ticket, Outcome.UNKNOWN))

    patch.setattr(repair, "_fail", fail)


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


def a_write_that_is_refused_during_the_admission_puts_it_off() -> None:
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
    rig.release()
    assert rig.answers[ticket] is Outcome.MEDIUM_ERROR
    assert rig.phases() == (Phase.ALONE, Phase.RESYNCING)
    assert rig.answers[rig.write(3 * BLOCK, b"x" * BLOCK)] is Outcome.DONE
    assert rig.phases() == (Phase.MIRRORING, Phase.FOLLOWING)
    is_whole(rig)


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
        marks_what_the_source_refused_behind_the_search,
    ),
    a_write_that_is_refused_during_the_admission_puts_it_off: (
        leaves_at_the_target_what_the_source_refused,
        marks_what_the_source_refused_behind_the_search,
    ),
    what_is_damaged_while_the_peer_is_away_is_given_up_by_nobody: (gives_up_what_is_damaged_while_the_peer_is_away,),
    all_that_only_one_disk_has_is_marked: (marks_only_the_first_that_cannot_be_made_equal,),
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
