"""Two cores, each with a disk that loses blocks: what is repaired, what is reported, and which rules that rests on.

Each scenario also runs against the rules that it is there for, taken out of the core one at a time: it must notice.
"""

import hashlib
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import attrs
import pytest

from ctlha_trio.pair import (
    COPY_CHUNK_BYTES,
    ZEROING,
    Copy,
    Finding,
    Metadata,
    Operation,
    OperationKind,
    Outcome,
    PairState,
    Phase,
    Record,
    SwapOutcome,
    Verification,
    _repair as repair,
    _resync_retry as retry,
    _service as service,
    _sessions as sessions,
    _verify as verify,
    actions as act,
    boot,
    events as ev,
    messages as msg,
    step_pair,
)
from ctlha_trio.pair._left_out import LeftOut
from ctlha_trio.pair._operation import REPAIRS
from ctlha_trio.pair._range import Range
from ctlha_trio.pair._state import RANGE_UNIT_BYTES, UNHURT, Flight
from ctlha_trio.pair._step import Step
from tests.mutants.repair import (
    never_tries_again_what_was_left_out,
    repairs_from_a_copy_that_does_not_count,
    serves_a_block_that_is_not_what_was_written,
    takes_a_damaged_target_for_equal,
)

BLOCK = 4096
SIZE = 2 * COPY_CHUNK_BYTES
BOTH = ("a", "b")
LAST = SIZE - BLOCK
RETRY = act.SetTimer(ev.Timer.RESYNC_RETRY, retry.LOST_RETRY_S)

FIRST = Record(cluster="c", resource="r", epoch=1, lineage="l", primary="a", members=BOTH, proposal="0")

Patch = pytest.MonkeyPatch
Damage = tuple[int, int]
Ordered = TypeVar("Ordered", bound=act.Action)


@attrs.define(eq=False)
class Disk:
    """Blocks, some of which are not what was written."""

    content: bytearray = attrs.Factory(lambda: bytearray(SIZE))
    damaged: set[int] = attrs.Factory(set)
    keeps: bool = True
    """What is written can be read again."""

    def met(self, offset: int, size: int) -> Damage | None:
        """The first damaged blocks of the range, in one piece."""
        blocks = range(offset // BLOCK, -(-(offset + size) // BLOCK))
        first = next((block for block in blocks if block in self.damaged), None)
        if first is None:
            return None
        end = first + 1
        while end in blocks and end in self.damaged:
            end += 1
        return first * BLOCK, (end - first) * BLOCK

    def write(self, offset: int, data: bytes) -> Damage | None:
        """Nothing is written if a block that is written in part is damaged."""
        whole = range(-(-offset // BLOCK), (offset + len(data)) // BLOCK)
        parts = {offset // BLOCK, (offset + len(data) - 1) // BLOCK} - set(whole)
        for block in sorted(parts):
            if block in self.damaged:
                return block * BLOCK, BLOCK
        self.content[offset : offset + len(data)] = data
        if self.keeps:
            self.damaged -= set(whole)
        return None

    def read(self, offset: int, size: int) -> bytes:
        """What is there, whole or not."""
        return bytes(self.content[offset : offset + size])


@attrs.frozen
class Held:
    """A disk call under way."""

    node: str
    call: act.Action
    end: Callable[[], None]


@attrs.define(eq=False)
class Rig:
    """Two nodes, their session, an arbiter that always answers; all in order, but for calls that are held back."""

    states: dict[str, PairState] = attrs.Factory(dict)
    disks: dict[str, Disk] = attrs.Factory(lambda: {name: Disk() for name in BOTH})
    record: Record = FIRST
    revision: int = 1
    incarnations: dict[str, int] = attrs.Factory(lambda: {name: ord(name) for name in BOTH})
    holds: Callable[[str, act.Action], bool] = lambda *_: False
    held: list[Held] = attrs.Factory(list)
    todo: deque[Callable[[], None]] = attrs.Factory(deque)
    answers: dict[int, Outcome] = attrs.Factory(dict)
    data: dict[int, bytes] = attrs.Factory(dict)
    expected: dict[int, bytes] = attrs.Factory(dict)
    ordered: list[tuple[str, act.Action]] = attrs.Factory(list)
    live: bool = False
    session: int = 0
    dirty: bool = True
    tickets: int = 0

    def boot(self, *names: str, copy: Copy = Copy.MEMBER) -> "Rig":
        for name in names:
            metadata = Metadata(
                cluster="c", node=name, resource="r", lineage="l", arbiter="x", epoch=self.record.epoch,
                revision=self.revision, primary=self.record.primary, members=self.record.members, copy=copy,
            )  # fmt: skip
            state, first = boot(
                me=name,
                peer=peer(name),
                incarnation=self.incarnations[name],
                size_bytes=SIZE,
                metadata=metadata,
                marked_from=None,
            )
            self.states[name] = state
            for action in first:
                self.carry_out(name, action)
            self.feed(name, ev.TimerFired(ev.Timer.PERMIT_OUT))
        return self.settle()

    def settle(self) -> "Rig":
        while self.todo:
            self.todo.popleft()()
        return self

    def connect(self) -> "Rig":
        self.begin_session()
        return self.settle()

    def cut(self) -> "Rig":
        self.live = False
        for name in BOTH:
            self.feed(name, ev.SessionLost(ev.Loss.CLOSED))
        return self.settle()

    def renew(self) -> None:
        """The session ends, and nothing more that was said in it is heard; then the next one begins."""
        self.live = False
        for name in BOTH:
            self.later(name, ev.SessionLost(ev.Loss.CLOSED))
        self.todo.append(self.begin_session)

    def begin_session(self) -> None:
        self.live, self.session = True, self.session + 1
        for name in BOTH:
            self.feed(name, ev.SessionUp(self.incarnations[peer(name)]))

    def phases(self) -> tuple[Phase, ...]:
        return tuple(self.states[name].phase for name in BOTH)

    def submit(self, kind: OperationKind, offset: int, size: int, data: bytes = b"") -> int:
        self.tickets += 1
        self.data[self.tickets] = data
        self.feed("a", ev.Submitted(self.tickets, Operation(kind, 1, self.tickets, offset, size)))
        self.settle()
        return self.tickets

    def read(self, offset: int, size: int = 100) -> int:
        return self.submit(OperationKind.READ, offset, size)

    def write(self, offset: int, data: bytes) -> int:
        return self.submit(OperationKind.WRITE, offset, len(data), data)

    def compare_and_write(self, offset: int, expected: bytes, data: bytes) -> int:
        self.expected[self.tickets + 1] = expected
        return self.submit(OperationKind.COMPARE_AND_WRITE, offset, len(data), data)

    def unmap(self, offset: int, size: int) -> int:
        return self.submit(OperationKind.UNMAP, offset, size, bytes(size))

    def release(self, holds: Callable[[str, act.Action], bool] = lambda *_: False) -> "Rig":
        self.holds = holds
        held, self.held = self.held, []
        for each in held:
            self.todo.append(each.end)
        return self.settle()

    def feed(self, name: str, event: ev.Event, placed: bytes = b"") -> None:
        before = self.states[name]
        self.states[name], ordered = step_pair(before, event)
        assert step_pair(before, event) == (self.states[name], ordered)
        hash(self.states[name])
        for action in ordered:
            self.carry_out(name, action, placed)

    def fire(self, timer: ev.Timer) -> "Rig":
        self.feed("a", ev.TimerFired(timer))
        return self.settle()

    def all(self, kind: type[Ordered], name: str = "a") -> list[Ordered]:
        return [action for node, action in self.ordered if isinstance(action, kind) and node == name]

    # The driver.

    def later(self, name: str, event: ev.Event, placed: bytes = b"") -> None:
        self.todo.append(partial(self.feed, name, event, placed))

    def say(self, name: str, message: msg.Message, data: bytes = b"") -> None:
        session = self.session

        def hear() -> None:
            if self.live and session == self.session:
                self.feed(peer(name), ev.Received(message), data)

        if self.live:
            self.todo.append(hear)

    def carry_out(self, name: str, action: act.Action, placed: bytes = b"") -> None:  # noqa: PLR0912 (one each)
        self.ordered.append((name, action))
        match action:
            case act.ReadRecord():
                self.todo.append(lambda: self.feed(name, ev.RecordRead(self.record, self.revision)))
            case act.Swap():
                self.todo.append(lambda: self.swap(name, action))
            case act.Persist():
                self.later(name, ev.Persisted(action.metadata))
            case act.StopTracking():
                self.dirty = False
            case act.Track() | act.MarkDirty():
                self.dirty = True
            case act.FindDirty():
                left = ((action.offset, SIZE - action.offset),) if self.dirty and action.offset < SIZE else ()
                self.later(name, ev.DirtyFound(action.search, left))
            case act.SendReady():
                self.say(name, msg.ResyncReady(action.epoch, action.base_epoch))
            case act.Send():
                self.say(name, action.message)
            case act.PushWrite(operation=operation):
                says = msg.MirrorZeroes if operation.kind in ZEROING else msg.MirrorWrite
                write = says(
                    action.epoch, action.sequence, action.previous, action.settled, operation.offset, operation.size
                )
                self.say(name, write, self.data[action.ticket])
            case act.PushReady():
                self.say(name, action.message)
            case act.PushSeal():
                self.say(name, msg.Seal(action.epoch, 0))
            case act.ReplaceRecords():
                pass  # there are none
            case act.SendPrepare():
                self.say(name, msg.HandoverPrepare(action.epoch, action.attempt, action.proposal, b""))
            case act.CompareRecords():
                self.later(name, ev.RecordsCompared(action.attempt, action.proposal, equal=True))
            case act.PushCopy():
                data = self.disks[name].read(action.offset, action.size)
                self.say(name, msg.CopyData(action.epoch, action.sequence, action.offset, action.size), data)
            case act.Answer():
                self.answers[action.ticket] = action.outcome
            case act.DropSession(blames_peer=False):
                self.renew()
            case act.CondemnCopy() | act.Goodbye() | act.SetTimer() | act.CancelTimer() | act.ClearDirty():
                pass
            case act.Moved() | act.HandoverEnded() | act.ReportMediumError() | act.VerificationEnded():
                pass
            case _:
                held = Held(name, action, partial(self.end_disk_call, name, action, placed, self.session))
                if self.holds(name, action):
                    self.held.append(held)
                else:
                    self.todo.append(held.end)

    def swap(self, name: str, swap: act.Swap) -> None:
        won = swap.expected_revision == self.revision
        if won:
            self.record, self.revision = swap.record, self.revision + 1
        outcome = SwapOutcome.WON if won else SwapOutcome.LOST
        self.feed(name, ev.Swapped(swap.record.proposal, outcome, self.revision if won else None))

    def end_disk_call(self, name: str, call: act.Action, placed: bytes, session: int) -> None:
        disk = self.disks[name]
        match call:
            case act.StoreWrite(operation=operation):
                met = disk.write(operation.offset, self.data[call.ticket])
                self.feed(name, ev.Damaged(call.sequence, *met) if met else ev.Stored(call.sequence))
            case act.StoreMirrored() | act.StoreRepair() | act.StoreZeroes():
                met = disk.write(call.offset, bytes(call.size) if isinstance(call, act.StoreZeroes) else placed)
                self.feed(name, ev.Damaged(call.sequence, *met) if met else ev.Stored(call.sequence))
            case act.FetchRead():
                self.feed(name, self.fetched(call, disk))
            case act.SendCompare():
                met = disk.met(call.offset, call.size)
                if met:
                    self.feed(name, ev.Damaged(call.sequence, *met))
                elif session == self.session:
                    digest = digest_of(disk.read(call.offset, call.size))
                    self.say(name, msg.Compare(call.epoch, call.sequence, call.offset, call.size, digest))
            case act.CompareRange() | act.PushRange():
                met = disk.met(call.offset, call.size)
                if met:
                    self.feed(name, ev.RangeDamaged(call.session, call.sequence, *met))
                elif isinstance(call, act.CompareRange):
                    equal = digest_of(disk.read(call.offset, call.size)) == call.digest
                    self.feed(name, ev.RangeCompared(call.session, call.sequence, equal))
                elif session == self.session:
                    data = disk.read(call.offset, call.size)
                    self.say(name, msg.RepairData(call.epoch, call.sequence, call.offset, call.size), data)
            case _:
                raise AssertionError(call)

    def fetched(self, call: act.FetchRead, disk: Disk) -> ev.Event:
        operation = call.operation
        met, data = disk.met(operation.offset, operation.size), disk.read(operation.offset, operation.size)
        if met:
            return ev.ReadDamaged(call.fetch, *met)
        if operation.kind is OperationKind.COMPARE_AND_WRITE:
            return ev.StoredCompared(call.fetch, None if data == self.expected[call.ticket] else 0)
        self.data[call.ticket] = data
        return ev.Fetched(call.fetch)


def peer(name: str) -> str:
    return "b" if name == "a" else "a"


def digest_of(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()


def pair(damaged_a: tuple[int, ...] = (), damaged_b: tuple[int, ...] = ()) -> Rig:
    """Both are members, and hold the same; then these blocks are lost."""
    rig = Rig().boot(*BOTH).connect()
    assert rig.phases() == (Phase.MIRRORING, Phase.FOLLOWING)
    assert rig.answers[rig.write(0, bytes(range(1, 129)) * (SIZE // 4 // 128))] is Outcome.DONE
    for name, damaged in (("a", damaged_a), ("b", damaged_b)):
        rig.disks[name].damaged |= set(damaged)
        for block in damaged:
            rig.disks[name].content[block * BLOCK : block * BLOCK + 9] = b"bit\0\0\0rot"
    rig.ordered.clear()
    return rig


def sole(*damaged: int) -> Rig:
    """The primary goes on alone, and loses these blocks."""
    rig = pair().cut()
    rig.feed("a", ev.TimerFired(ev.Timer.CLAIM))
    rig.settle()
    assert rig.states["a"].phase is Phase.ALONE
    rig.disks["a"].damaged |= set(damaged)
    for block in damaged:
        rig.disks["a"].content[block * BLOCK : block * BLOCK + 9] = b"bit\0\0\0rot"
    return rig


def holding(kind: type[act.Action], name: str = "a") -> Callable[[str, act.Action], bool]:
    return lambda node, action: node == name and isinstance(action, kind)


def left_out(rig: Rig) -> tuple[LeftOut, ...]:
    resync = rig.states["a"].resync
    assert resync is not None
    return resync.left_out


def is_whole(rig: Rig) -> None:
    """Both copies are the same, and nothing of them is lost."""
    assert not rig.disks["a"].damaged
    assert not rig.disks["b"].damaged
    assert rig.disks["a"].content == rig.disks["b"].content
    assert not [f for state in rig.states.values() for f in state.flights]
    assert not [state for state in rig.states.values() if state.storing or state.refused]


SCENARIOS: dict[str, tuple[Callable[[], None], tuple[Callable[[Patch], None], ...]]] = {}


def scenario(*mutants: Callable[[Patch], None]) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def enter(run: Callable[[], None]) -> Callable[[], None]:
        SCENARIOS[run.__name__] = run, mutants
        return run

    return enter


# Rules taken out of the core.


def answers_before_the_repair_is_durable(patch: Patch) -> None:
    plain = repair.repair_data

    def repair_data(step: Step, message: msg.RepairData) -> None:
        plain(step, message)
        service.stored(step, ev.Stored(message.sequence))

    patch.setattr(repair, "repair_data", repair_data)


def repairs_without_the_lock_of_the_range(patch: Patch) -> None:
    plain = service._may_start
    patch.setattr(
        service,
        "_may_start",
        lambda step, flight, *, draining: flight.operation.kind in REPAIRS or plain(step, flight, draining=draining),
    )


def repairs_behind_what_waits(patch: Patch) -> None:
    plain = repair._wait_for_repair

    def wait_for_repair(step: Step, flight: Flight) -> None:
        plain(step, flight)
        flights = step.state.flights
        step.change(
            flights=(
                *(f for f in flights if f.operation.kind not in REPAIRS),
                *(f for f in flights if f.operation.kind in REPAIRS),
            )
        )

    patch.setattr(repair, "_wait_for_repair", wait_for_repair)


def takes_data_of_another_question(patch: Patch) -> None:
    def repair_data(step: Step, message: msg.RepairData) -> None:
        for flight in step.state.flights:
            if flight.operation.kind is OperationKind.REPAIR_HERE and not flight.there:
                service.replace(step, flight, attrs.evolve(flight, there=True))
                step.do(act.StoreRepair(flight.sequence, message.offset, message.size))

    patch.setattr(repair, "repair_data", repair_data)


def asks_nothing_anew_after_a_flap(patch: Patch) -> None:
    patch.setattr(service, "ask_anew", lambda _: None)


def takes_both_damaged_as_repaired(patch: Patch) -> None:
    def give_up(step: Step, flight: Flight, _: object) -> None:
        service.replace(step, flight, None)
        service.advance(step)

    patch.setattr(repair, "_give_up", give_up)


def gives_up_whoever_waits_there(patch: Patch) -> None:
    plain = repair._give_up

    def give_up(step: Step, flight: Flight, _: object) -> None:
        waiting = next(f for f in step.state.flights if f.operation.kind in REPAIRS and f is not flight)
        plain(step, flight, (waiting.operation.offset, waiting.operation.size))

    patch.setattr(repair, "_give_up", give_up)


def remembers_a_last_resort_after_a_flap(patch: Patch) -> None:
    patch.setattr(service, "_asked_anew", lambda flight: flight.but(sequence=0, hurt=UNHURT))


def repairs_twice_what_another_one_waits_for(patch: Patch) -> None:
    def have_source_repaired(step: Step, kind: OperationKind, run: tuple[int, int]) -> None:
        first = Flight(0, Operation(kind, 0, 0, *run), last_resort=True)
        step.change(flights=(first, *step.state.flights))

    patch.setattr(repair, "_have_source_repaired", have_source_repaired)


def acknowledges_a_write_that_it_refused(patch: Patch) -> None:
    patch.setattr(repair, "_refuse", lambda step, event: service.stored(step, ev.Stored(event.sequence)))


def resumes_as_if_it_had_executed_all(patch: Patch) -> None:
    plain = sessions.resume

    def resume(step: Step) -> None:
        step.change(refused=frozenset())
        plain(step)

    patch.setattr(sessions, "resume", resume)


def hands_over_before_a_repair_has_ended(patch: Patch) -> None:
    patch.setattr(service, "mends", lambda _: False)


def forgets_that_one_copy_has_the_write(patch: Patch) -> None:
    plain = repair._wait_for_repair

    def wait_for_repair(step: Step, flight: Flight) -> None:
        plain(step, flight)
        step.change(flights=tuple(attrs.evolve(f, tried=False) for f in step.state.flights))

    patch.setattr(repair, "_wait_for_repair", wait_for_repair)


def calls_settled_what_only_the_first_start_of_a_write_has_done(patch: Patch) -> None:
    patch.setattr(service, "_open_from", lambda flight: flight.sequence)


def compares_again_what_one_copy_has(patch: Patch) -> None:
    plain = service._start
    patch.setattr(service, "_start", lambda step, flight: plain(step, attrs.evolve(flight, equal=False)))


def believes_a_disk_for_ever(patch: Patch) -> None:
    plain = repair.read_damaged
    tries: list[int] = []

    def read_damaged(step: Step, event: ev.ReadDamaged) -> None:
        tries.append(event.fetch)
        assert len(tries) < 20, "it goes on for ever"
        step.change(flights=tuple(attrs.evolve(f, mended=UNHURT) for f in step.state.flights))
        plain(step, event)

    patch.setattr(repair, "read_damaged", read_damaged)


def admits_a_target_that_lacks_what_was_lost(patch: Patch) -> None:
    patch.setattr(repair, "_leave_out", lambda *_: None)


def searches_no_more_when_blocks_are_written_anew(patch: Patch) -> None:
    patch.setattr(retry, "look_again", lambda *_: None)


def takes_no_copy_for_what_was_left_out(patch: Patch) -> None:
    plain = retry.look_again

    def look_again(step: Step, where: Range) -> None:
        if where[1] != RANGE_UNIT_BYTES:
            plain(step, where)

    patch.setattr(retry, "look_again", look_again)


def tries_all_that_was_left_out_at_once(patch: Patch) -> None:
    plain = retry.due

    def due(step: Step) -> None:
        resync = step.state.resync
        for _ in resync.left_out if resync is not None else ():
            plain(step)
            if step.state.resync is not None:
                step.change(resync=attrs.evolve(step.state.resync, retry_set=True))

    patch.setattr(retry, "due", due)


def tries_always_the_same_place(patch: Patch) -> None:
    plain = retry.due

    def due(step: Step) -> None:
        before = step.state.resync
        plain(step)
        if before is not None and step.state.resync is not None:
            step.change(resync=attrs.evolve(step.state.resync, left_out=before.left_out))

    patch.setattr(retry, "due", due)


def tries_what_was_left_out_beside_a_search(patch: Patch) -> None:
    plain = retry.due

    def due(step: Step) -> None:
        before = step.state.resync
        if before is None:
            return
        flights = step.state.flights
        step.change(resync=attrs.evolve(before, cursor=SIZE), flights=())
        plain(step)
        step.change(flights=(*flights, *step.state.flights))

    patch.setattr(retry, "due", due)


def searches_only_where_blocks_were_lost(patch: Patch) -> None:
    plain = repair._leave_out
    patch.setattr(
        repair,
        "_leave_out",
        lambda step, resync, new: plain(step, resync, attrs.evolve(new, start=new.lost[0])),
    )


def verifies_without_comparing(patch: Patch) -> None:
    def go_on(step: Step) -> None:
        verification = step.state.verification
        if verification is not None and verification.running:
            verify._end(step, attrs.evolve(verification, cursor=SIZE), "")

    patch.setattr(verify, "go_on", go_on)


def believes_the_primary_where_copies_differ(patch: Patch) -> None:
    def compared(step: Step, message: msg.Compared) -> None:
        flight = service.by_sequence(step, message.sequence)
        verification = step.state.verification
        if flight is None or verification is None:
            return
        where = flight.operation.offset, flight.operation.size
        service.replace(step, flight, None)
        if not message.equal:
            guess = Flight(0, Operation(OperationKind.REPAIR_THERE, 0, 0, *where))
            step.change(flights=(guess, *step.state.flights))
        step.change(verification=verification.compared(where))
        service.advance(step)

    patch.setattr(verify, "compared", compared)


def begins_anew_where_it_was_interrupted(patch: Patch) -> None:
    plain = verify.asked

    def asked(step: Step) -> None:
        step.change(verification=None)
        plain(step)

    patch.setattr(verify, "asked", asked)


def goes_on_against_another_copy(patch: Patch) -> None:
    patch.setattr(verify, "forget", lambda step: None)


def goes_on_against_another_process(patch: Patch) -> None:
    patch.setattr(Verification, "goes_on_with", lambda verification, _: bool(verification.why))


def goes_on_in_another_epoch(patch: Patch) -> None:
    patch.setattr(verify, "_MAY_GO_ON", frozenset(Phase))


# Repair while both are members.


@scenario(serves_a_block_that_is_not_what_was_written, answers_before_the_repair_is_durable)
def a_read_of_a_damaged_block_is_answered_once_the_peer_s_is_durable_here() -> None:
    rig = pair(damaged_a=(3,))
    rig.holds = holding(act.StoreRepair)
    ticket = rig.read(3 * BLOCK + 5)
    assert ticket not in rig.answers
    assert rig.disks["a"].damaged
    rig.release()
    assert rig.answers[ticket] is Outcome.DONE
    assert rig.data[ticket] == rig.disks["b"].read(3 * BLOCK + 5, 100)
    is_whole(rig)


@scenario(takes_both_damaged_as_repaired)
def what_is_damaged_on_both_is_an_error_by_name_and_nothing_else_is() -> None:
    rig = pair(damaged_a=(3, 4), damaged_b=(4,))
    copies = {name: bytes(disk.content) for name, disk in rig.disks.items()}
    ticket = rig.read(3 * BLOCK, 3 * BLOCK)
    assert rig.answers.get(ticket) is Outcome.MEDIUM_ERROR
    assert rig.all(act.ReportMediumError) == [act.ReportMediumError(4 * BLOCK, BLOCK)]
    assert {name: bytes(disk.content) for name, disk in rig.disks.items()} == copies
    assert rig.phases() == (Phase.MIRRORING, Phase.FOLLOWING)
    assert rig.answers[rig.read(3 * BLOCK)] is Outcome.DONE
    assert rig.answers[rig.write(4 * BLOCK + 1, b"part")] is Outcome.MEDIUM_ERROR
    assert rig.answers[rig.write(4 * BLOCK, b"w" * BLOCK)] is Outcome.DONE
    assert rig.answers[rig.read(4 * BLOCK)] is Outcome.DONE
    is_whole(rig)


@scenario(gives_up_whoever_waits_there)
def a_read_of_what_one_copy_has_is_answered_although_a_longer_one_met_what_is_lost() -> None:
    rig = pair(damaged_a=(3, 4), damaged_b=(4,))
    rig.holds = holding(act.FetchRead)
    shorter, longer = rig.read(3 * BLOCK), rig.read(3 * BLOCK, 2 * BLOCK)
    rig.release()
    assert rig.answers[longer] is Outcome.MEDIUM_ERROR
    assert rig.answers[shorter] is Outcome.DONE
    assert rig.data[shorter] == rig.disks["b"].read(3 * BLOCK, 100)


@scenario()
def a_block_that_was_repaired_a_moment_ago_is_not_lost_although_the_other_copy_s_is_by_now() -> None:
    rig = pair(damaged_a=(3, 4))
    rig.holds = holding(act.FetchRead)
    shorter, longer = rig.read(4 * BLOCK), rig.read(3 * BLOCK, 2 * BLOCK)
    rig.release(lambda node, action: node == "b" and isinstance(action, act.PushRange) and action.offset == 4 * BLOCK)
    assert [each.call for each in rig.held] == rig.all(act.PushRange, "b")[1:]
    rig.disks["b"].damaged.add(4)
    rig.release()
    assert [rig.answers.get(each) for each in (shorter, longer)] == [Outcome.DONE, Outcome.DONE]
    assert not rig.all(act.ReportMediumError)
    is_whole(rig)


@scenario()
def a_peer_s_block_that_was_written_anew_meanwhile_is_not_lost_although_this_disk_s_is_by_now() -> None:
    rig = pair(damaged_b=(3,))
    rig.holds = holding(act.PushRange)
    ticket = rig.write(3 * BLOCK + 7, b"part")
    rig.disks["b"].damaged.clear()
    rig.disks["a"].damaged.add(3)
    rig.release()
    assert rig.answers.get(ticket) is Outcome.DONE
    assert not rig.all(act.ReportMediumError)
    is_whole(rig)


@scenario(remembers_a_last_resort_after_a_flap)
def after_a_flap_no_repair_is_the_last_resort() -> None:
    rig = pair(damaged_a=(3,), damaged_b=(3,))
    rig.holds = holding(act.PushRange)
    ticket = rig.read(3 * BLOCK)
    assert [flight.last_resort for flight in rig.states["a"].flights] == [True, False, False]
    rig.cut().connect()
    rig.disks["b"].damaged.clear()
    rig.release()
    assert rig.answers.get(ticket) is Outcome.DONE
    assert not rig.all(act.ReportMediumError)
    is_whole(rig)


@scenario(repairs_twice_what_another_one_waits_for)
def a_block_that_both_disks_refused_is_asked_for_once() -> None:
    rig = pair(damaged_a=(3,), damaged_b=(3,))
    rig.holds = holding(act.PushRange)
    ticket = rig.write(3 * BLOCK + 7, b"part")
    rig.disks["b"].damaged.clear()
    rig.release()
    assert rig.answers.get(ticket) is Outcome.DONE
    assert [type(each.message) for each in rig.all(act.Send)].count(msg.Fetch) == 1
    is_whole(rig)


@scenario()
def a_write_of_a_part_of_a_damaged_block_is_executed_on_both() -> None:
    rig = pair(damaged_a=(3,))
    kept = rig.disks["b"].read(3 * BLOCK, BLOCK)
    assert rig.answers[rig.write(3 * BLOCK + 7, b"part")] is Outcome.DONE
    assert rig.disks["a"].read(3 * BLOCK, BLOCK) == kept[:7] + b"part" + kept[11:]
    is_whole(rig)


@scenario(acknowledges_a_write_that_it_refused)
def a_write_of_a_part_of_a_block_that_the_secondary_has_lost_is_executed_on_both() -> None:
    rig = pair(damaged_b=(3, 5))
    assert rig.answers.get(rig.write(3 * BLOCK + 7, b"p" * 2 * BLOCK)) is Outcome.DONE
    assert rig.disks["b"].read(3 * BLOCK + 7, 2 * BLOCK) == b"p" * 2 * BLOCK
    is_whole(rig)


@scenario(calls_settled_what_only_the_first_start_of_a_write_has_done)
def what_only_the_secondary_has_of_a_write_is_not_called_settled_by_its_second_start() -> None:
    """Else the secondary shows it, and it is gone if this disk, which has not got it, goes on alone."""
    rig = pair(damaged_a=(3,))
    rig.holds = holding(act.StoreWrite)
    rig.write(3 * BLOCK + 7, b"p" * BLOCK)
    rig.write(9 * BLOCK, b"other")
    rig.release(holding(act.StoreWrite))
    first, _, again = rig.all(act.PushWrite)
    assert again.operation == first.operation
    assert again.settled <= first.sequence
    rig.write(10 * BLOCK, b"later")
    assert rig.all(act.PushWrite)[-1].settled <= first.sequence
    rig.release()
    is_whole(rig)


@scenario()
def a_write_that_each_disk_refuses_for_another_block_is_executed_on_both() -> None:
    rig = pair(damaged_a=(3,), damaged_b=(4,))
    assert rig.answers[rig.write(3 * BLOCK + 7, b"p" * BLOCK)] is Outcome.DONE
    is_whole(rig)


@scenario()
def a_whole_block_that_is_written_over_needs_no_repair() -> None:
    rig = pair(damaged_a=(3,), damaged_b=(3,))
    assert rig.answers[rig.write(3 * BLOCK, b"n" * BLOCK)] is Outcome.DONE
    assert not rig.all(act.StoreRepair)
    is_whole(rig)


@scenario(repairs_without_the_lock_of_the_range)
def a_repair_waits_for_a_write_of_another_part_of_the_block() -> None:
    """The peer has not executed it when it is asked: its block must not come over what is written here meanwhile."""
    rig = pair()
    rig.holds = lambda node, action: node == "b" and isinstance(action, act.StoreMirrored)
    written = rig.write(3 * BLOCK + 2000, b"new")
    rig.disks["a"].damaged.add(3)
    ticket = rig.read(3 * BLOCK)
    assert ticket not in rig.answers
    rig.release()
    assert (rig.answers[written], rig.answers[ticket]) == (Outcome.DONE, Outcome.DONE)
    assert rig.disks["a"].read(3 * BLOCK + 2000, 3) == b"new"
    is_whole(rig)


@scenario(repairs_behind_what_waits)
def a_write_that_comes_during_a_repair_is_executed_behind_it() -> None:
    rig = pair(damaged_a=(3,))
    rig.holds = holding(act.PushRange, "b")
    ticket = rig.read(3 * BLOCK)
    written = rig.write(3 * BLOCK, b"newer" * 700 + bytes(596))
    assert not {ticket, written} & rig.answers.keys()
    assert len(rig.held) == 1, "the peer is asked at once"
    rig.release()
    assert rig.data[ticket] != b"newer" * 20
    assert rig.disks["a"].read(3 * BLOCK, 5) == b"newer"
    is_whole(rig)


@scenario(asks_nothing_anew_after_a_flap)
def after_a_flap_the_peer_is_asked_once_more() -> None:
    rig = pair(damaged_a=(3,))
    rig.holds = holding(act.PushRange, "b")
    ticket = rig.read(3 * BLOCK)
    rig.cut().connect()
    assert rig.phases() == (Phase.MIRRORING, Phase.FOLLOWING)
    rig.release()
    assert rig.answers.get(ticket) is Outcome.DONE
    is_whole(rig)


@scenario(takes_data_of_another_question)
def data_that_nobody_waits_for_is_not_stored() -> None:
    rig = pair(damaged_a=(3,))
    rig.holds = holding(act.PushRange, "b")
    ticket = rig.read(3 * BLOCK)
    (waiting,) = (f for f in rig.states["a"].flights if f.operation.kind is OperationKind.REPAIR_HERE)
    epoch = rig.states["a"].epoch
    for sequence, block in ((waiting.sequence - 1, 3), (waiting.sequence, 4)):
        stale = msg.RepairData(epoch, sequence, block * BLOCK, BLOCK)
        rig.feed("a", ev.Received(stale), b"s" * BLOCK)
    rig.feed("a", ev.Received(msg.RepairData(epoch - 1, waiting.sequence, 3 * BLOCK, BLOCK)), b"s" * BLOCK)
    rig.settle()
    assert not rig.all(act.StoreRepair)
    rig.release()
    assert rig.answers[ticket] is Outcome.DONE
    is_whole(rig)


@scenario(resumes_as_if_it_had_executed_all)
def a_write_that_the_secondary_refused_is_pushed_again_after_a_flap() -> None:
    rig = pair(damaged_b=(3,))
    rig.holds = lambda node, action: node == "b" and isinstance(action, act.StoreMirrored)
    ticket = rig.write(3 * BLOCK + 7, b"part")
    rig.live = False
    rig.release()
    rig.cut().connect()
    assert rig.answers.get(ticket) is Outcome.DONE
    assert rig.disks["b"].read(3 * BLOCK + 7, 4) == b"part"
    is_whole(rig)


@scenario(serves_a_block_that_is_not_what_was_written)
def a_range_of_which_a_block_is_damaged_is_repaired_before_it_is_compared() -> None:
    rig = pair(damaged_a=(3,))
    held = rig.disks["b"].read(3 * BLOCK + 7, 4)
    assert rig.answers[rig.compare_and_write(3 * BLOCK + 7, held, b"part")] is Outcome.DONE
    assert rig.disks["a"].read(3 * BLOCK + 7, 4) == b"part"
    assert rig.answers[rig.compare_and_write(3 * BLOCK + 7, held, b"more")] is Outcome.MISCOMPARE
    is_whole(rig)


@scenario(compares_again_what_one_copy_has)
def what_one_copy_has_of_a_compare_and_write_is_written_to_the_other_and_not_compared_again() -> None:
    rig = pair(damaged_b=(3,))
    held = rig.disks["a"].read(3 * BLOCK + 7, 4)
    assert rig.answers[rig.compare_and_write(3 * BLOCK + 7, held, b"part")] is Outcome.DONE
    assert [each.operation.kind for each in rig.all(act.FetchRead)] == [OperationKind.COMPARE_AND_WRITE]
    is_whole(rig)


@scenario()
def a_compare_and_write_of_what_nobody_has_whole_is_an_error_of_the_medium() -> None:
    rig = sole(3)
    assert rig.answers[rig.compare_and_write(3 * BLOCK + 7, b"what", b"part")] is Outcome.MEDIUM_ERROR
    assert rig.answers[rig.write(3 * BLOCK, b"n" * BLOCK)] is Outcome.DONE
    assert rig.answers[rig.compare_and_write(3 * BLOCK + 7, b"nnnn", b"part")] is Outcome.DONE


@scenario(acknowledges_a_write_that_it_refused)
def a_part_of_a_block_that_the_secondary_has_lost_is_unmapped_on_both() -> None:
    rig = pair(damaged_b=(3,))
    assert rig.answers.get(rig.unmap(3 * BLOCK + 7, 9)) is Outcome.DONE
    assert rig.disks["b"].read(3 * BLOCK + 7, 9) == bytes(9)
    is_whole(rig)


@scenario(hands_over_before_a_repair_has_ended)
def a_handover_waits_until_a_write_that_one_copy_has_is_on_both() -> None:
    rig = pair(damaged_b=(3,))
    rig.holds = holding(act.StoreRepair, "b")
    ticket = rig.write(3 * BLOCK + 7, b"part")
    rig.feed("a", ev.HandoverAsked())
    rig.settle()
    assert rig.phases() == (Phase.HANDING_OVER, Phase.FOLLOWING)
    rig.release()
    assert rig.answers[ticket] is Outcome.DONE
    assert rig.phases() == (Phase.FOLLOWING, Phase.MIRRORING)
    is_whole(rig)


@scenario(forgets_that_one_copy_has_the_write)
def a_write_that_one_copy_has_is_marked_when_the_session_is_lost() -> None:
    rig = pair(damaged_b=(3,))
    rig.holds = holding(act.StoreRepair, "b")
    ticket = rig.write(3 * BLOCK + 7, b"part")
    rig.cut()
    assert rig.states["a"].may_differ == ((3 * BLOCK + 7, 4),)
    rig.feed("a", ev.TimerFired(ev.Timer.CLAIM))
    rig.settle()
    assert act.Track(rig.states["a"].base_epoch, ((3 * BLOCK + 7, 4),)) in rig.all(act.Track)
    assert rig.answers[ticket] is Outcome.DONE
    rig.release()


@scenario()
def a_write_that_cannot_be_made_equal_leaves_one_copy_that_counts() -> None:
    rig = pair(damaged_a=(3,))
    rig.holds = holding(act.StoreWrite)
    ticket = rig.write(3 * BLOCK + 7, b"p" * BLOCK)
    assert rig.disks["b"].read(3 * BLOCK + 7, 1) == b"p"
    rig.disks["b"].damaged.add(3)
    rig.release()
    assert rig.answers[ticket] is Outcome.UNKNOWN
    assert len(rig.record.members) == 1
    assert act.MarkDirty(((3 * BLOCK + 7, BLOCK),)) in rig.all(act.MarkDirty)


@scenario()
def a_write_that_only_the_secondary_refused_ends_when_nobody_has_the_block() -> None:
    rig = pair(damaged_b=(3,))
    rig.holds = holding(act.PushRange)
    ticket = rig.write(3 * BLOCK + 7, b"part")
    rig.disks["a"].damaged.add(3)
    rig.release()
    assert rig.answers.get(ticket) is Outcome.UNKNOWN
    assert set(rig.all(act.ReportMediumError)) == {act.ReportMediumError(3 * BLOCK, BLOCK)}
    assert "a write could not be made equal on both copies" in [moved.why for moved in rig.all(act.Moved)]


@scenario(believes_a_disk_for_ever)
def a_disk_that_does_not_keep_a_repair_is_dead() -> None:
    rig = pair(damaged_a=(3,))
    rig.disks["a"].keeps = False
    ticket = rig.read(3 * BLOCK)
    assert rig.answers[ticket] is Outcome.NOT_PRIMARY
    assert (rig.states["a"].phase, rig.states["a"].why) == (Phase.STOPPED, "store-failed")
    assert rig.all(act.CondemnCopy)


@scenario()
def a_disk_that_does_not_keep_a_repair_is_served_on_where_it_is_the_only_one_by_then() -> None:
    rig = pair(damaged_a=(3,))
    rig.disks["a"].keeps = False
    rig.holds = holding(act.StoreRepair)
    ticket = rig.write(3 * BLOCK + 7, b"part")
    rig.release(holding(act.StoreWrite))
    rig.cut()
    rig.feed("a", ev.TimerFired(ev.Timer.CLAIM))
    rig.settle()
    assert rig.states["a"].phase is Phase.ALONE
    rig.release()
    assert rig.answers[ticket] is Outcome.UNKNOWN
    assert rig.states["a"].phase is Phase.ALONE
    assert not rig.all(act.CondemnCopy)
    assert rig.answers[rig.read(4 * BLOCK)] is Outcome.DONE


@scenario()
def a_peer_whose_disk_does_not_keep_a_repair_counts_no_more() -> None:
    rig = pair(damaged_b=(3,))
    rig.disks["b"].keeps = False
    rig.write(3 * BLOCK + 7, b"part")
    assert "the peer's disk does not keep what is written to it" in [moved.why for moved in rig.all(act.Moved)]


# One copy that counts.


@scenario(repairs_from_a_copy_that_does_not_count)
def a_sole_member_answers_what_it_has_and_names_what_it_has_lost() -> None:
    rig = sole(3)
    assert rig.answers[rig.write(3 * BLOCK + 5, b"part")] is Outcome.MEDIUM_ERROR
    assert rig.answers[rig.read(3 * BLOCK)] is Outcome.MEDIUM_ERROR
    assert rig.answers[rig.read(4 * BLOCK)] is Outcome.DONE
    assert rig.states["a"].phase is Phase.ALONE
    rig.connect()
    assert rig.answers[rig.read(3 * BLOCK)] is Outcome.MEDIUM_ERROR


@scenario(
    admits_a_target_that_lacks_what_was_lost,
    searches_no_more_when_blocks_are_written_anew,
    searches_only_where_blocks_were_lost,
    repairs_from_a_copy_that_does_not_count,
)
def a_source_that_has_lost_a_block_admits_nobody_until_it_is_written_anew() -> None:
    rig = sole(3, 300)
    for block in (3, 260):
        rig.write(block * BLOCK, b"x" * BLOCK)
    rig.disks["a"].damaged.add(3)
    rig.connect()
    assert rig.phases() == (Phase.ALONE, Phase.RESYNCING)
    assert left_out(rig) == (
        LeftOut(0, (3 * BLOCK, BLOCK)),
        LeftOut(COPY_CHUNK_BYTES, (300 * BLOCK, BLOCK)),
    )
    assert rig.record.members == ("a",)
    assert rig.answers[rig.write(3 * BLOCK, b"y" * BLOCK)] is Outcome.DONE
    assert rig.phases() == (Phase.ALONE, Phase.RESYNCING)
    assert rig.answers[rig.write(300 * BLOCK, b"z" * BLOCK)] is Outcome.DONE
    assert rig.phases() == (Phase.MIRRORING, Phase.FOLLOWING)
    is_whole(rig)


@scenario(never_tries_again_what_was_left_out, takes_no_copy_for_what_was_left_out)
def what_can_be_read_at_last_is_copied_though_nobody_writes_it() -> None:
    rig = sole(3, 300)
    rig.connect()
    for tries, block in enumerate((3, 300), 1):
        assert rig.phases() == (Phase.ALONE, Phase.RESYNCING)
        assert rig.all(act.SetTimer).count(RETRY) == tries
        rig.disks["a"].damaged.discard(block)
        rig.fire(ev.Timer.RESYNC_RETRY)
    assert rig.phases() == (Phase.MIRRORING, Phase.FOLLOWING)
    is_whole(rig)
    rig.fire(ev.Timer.RESYNC_RETRY)
    assert rig.all(act.SetTimer).count(RETRY) == 2


@scenario(tries_all_that_was_left_out_at_once, tries_always_the_same_place)
def one_place_after_the_other_is_tried_and_no_more_than_is_lost() -> None:
    rig = sole(3, 300)
    rig.connect()
    lost = {LeftOut(0, (3 * BLOCK, BLOCK)), LeftOut(COPY_CHUNK_BYTES, (300 * BLOCK, BLOCK))}
    for block in (3, 300, 3):
        rig.ordered.clear()
        rig.fire(ev.Timer.RESYNC_RETRY)
        unit = block * BLOCK // RANGE_UNIT_BYTES * RANGE_UNIT_BYTES
        assert [(each.offset, each.size) for each in rig.all(act.SendCompare)] == [(unit, RANGE_UNIT_BYTES)]
        assert rig.all(act.ReportMediumError) == [act.ReportMediumError(block * BLOCK, BLOCK)]
        assert rig.all(act.SetTimer) == [RETRY]
        assert set(left_out(rig)) == lost


@scenario(tries_what_was_left_out_beside_a_search)
def a_try_that_is_due_waits_for_what_else_is_to_be_copied() -> None:
    rig = sole(3, 300)
    rig.connect()
    rig.holds = holding(act.SendCompare)
    assert rig.answers[rig.write(300 * BLOCK, b"y" * BLOCK)] is Outcome.DONE
    assert left_out(rig) == (LeftOut(0, (3 * BLOCK, BLOCK)),)
    under_way = rig.all(act.SendCompare)
    rig.fire(ev.Timer.RESYNC_RETRY)
    assert rig.all(act.SendCompare) == under_way
    assert rig.all(act.SetTimer).count(RETRY) == 1
    rig.release()
    assert left_out(rig) == (LeftOut(0, (3 * BLOCK, BLOCK)),)
    assert rig.all(act.SetTimer).count(RETRY) == 2


@scenario(never_tries_again_what_was_left_out)
def a_timer_of_the_resync_before_tries_nothing() -> None:
    rig = sole(3)
    rig.connect().cut().fire(ev.Timer.RESYNC_RETRY)
    assert rig.states["a"].resync is None
    rig.connect()
    assert rig.all(act.SetTimer).count(RETRY) == 2
    rig.disks["a"].damaged.clear()
    rig.fire(ev.Timer.RESYNC_RETRY)
    assert rig.phases() == (Phase.MIRRORING, Phase.FOLLOWING)


@scenario(never_tries_again_what_was_left_out)
def what_is_left_out_beyond_the_limit_is_searched_as_a_whole() -> None:
    rig = sole(3)
    rig.connect()
    resync = rig.states["a"].resync
    assert resync is not None
    joined = LeftOut(0, (3 * BLOCK, BLOCK)).joined(LeftOut(COPY_CHUNK_BYTES, (300 * BLOCK, BLOCK)))
    rig.states["a"] = attrs.evolve(rig.states["a"], resync=attrs.evolve(resync, left_out=(joined,)))
    rig.fire(ev.Timer.RESYNC_RETRY)
    assert left_out(rig) == (LeftOut(0, (3 * BLOCK, BLOCK)),)
    rig.disks["a"].damaged.clear()
    rig.fire(ev.Timer.RESYNC_RETRY)
    assert rig.phases() == (Phase.MIRRORING, Phase.FOLLOWING)
    is_whole(rig)


@scenario(never_tries_again_what_was_left_out)
def what_is_lost_in_more_units_than_one_message_asks_for_is_searched_as_a_whole() -> None:
    rig = sole(*range(1, 1 + COPY_CHUNK_BYTES // BLOCK))
    rig.connect()
    assert rig.answers[rig.write(17 * BLOCK + 7, b"part")] is Outcome.MEDIUM_ERROR
    assert left_out(rig)[0] == LeftOut(0, (BLOCK, COPY_CHUNK_BYTES))
    rig.fire(ev.Timer.RESYNC_RETRY)
    assert max(each.size for each in rig.all(act.SendCompare)) <= COPY_CHUNK_BYTES
    rig.disks["a"].damaged.clear()
    while rig.phases() != (Phase.MIRRORING, Phase.FOLLOWING):
        before = rig.states["a"].resync
        rig.fire(ev.Timer.RESYNC_RETRY)
        assert rig.states["a"].resync != before, "nothing is tried any more"
    is_whole(rig)


@scenario(takes_a_damaged_target_for_equal)
def a_damaged_block_of_a_target_is_one_that_differs() -> None:
    rig = sole()
    rig.disks["b"].damaged.add(7)
    rig.connect()
    assert rig.phases() == (Phase.MIRRORING, Phase.FOLLOWING)
    is_whole(rig)


@scenario(acknowledges_a_write_that_it_refused)
def a_target_that_refuses_a_write_is_compared_once_more() -> None:
    rig = sole()
    rig.holds = lambda node, action: isinstance(action, act.SendCompare) and action.offset > 0
    rig.connect()
    assert rig.phases() == (Phase.ALONE, Phase.RESYNCING)
    rig.disks["b"].damaged.add(3)
    written = rig.write(3 * BLOCK + 5, b"part")
    assert rig.answers[written] is Outcome.DONE
    assert "a block of the copy is damaged" in [moved.why for moved in rig.all(act.Moved, "b")]
    rig.release()
    assert rig.phases() == (Phase.MIRRORING, Phase.FOLLOWING)
    is_whole(rig)


# The comparison of both copies.


def verification_of(rig: Rig) -> Verification:
    verification = rig.states["a"].verification
    assert verification is not None
    return verification


def verified(rig: Rig) -> Verification:
    rig.feed("a", ev.VerifyAsked())
    rig.settle()
    return verification_of(rig)


def found(verification: Verification) -> list[tuple[Finding, int, int]]:
    return [(each.what, each.offset, each.size) for each in verification.found]


@scenario(verifies_without_comparing)
def copies_that_are_equal_are_compared_whole() -> None:
    rig = pair()
    verification = verified(rig)
    assert (verification.running, verification.why, verification.cursor, verification.found) == (False, "", SIZE, ())
    compared = [(each.offset, each.size) for each in rig.all(act.CompareRange, "b")]
    assert compared == [(0, COPY_CHUNK_BYTES), (COPY_CHUNK_BYTES, COPY_CHUNK_BYTES)]
    assert rig.all(act.VerificationEnded) == [act.VerificationEnded("")]


@scenario(verifies_without_comparing)
def damaged_blocks_are_repaired_from_the_other_copy_and_told() -> None:
    rig = pair(damaged_a=(3, 4, 300), damaged_b=(9,))
    verification = verified(rig)
    assert set(found(verification)) == {
        (Finding.REPAIRED_HERE, 3 * BLOCK, 2 * BLOCK),
        (Finding.REPAIRED_THERE, 9 * BLOCK, BLOCK),
        (Finding.REPAIRED_HERE, 300 * BLOCK, BLOCK),
    }
    assert (verification.repaired_bytes, verification.cursor, verification.why) == (4 * BLOCK, SIZE, "")
    is_whole(rig)


@scenario(takes_both_damaged_as_repaired)
def what_is_damaged_on_both_is_told_and_the_rest_is_compared() -> None:
    rig = pair(damaged_a=(3, 4), damaged_b=(4,))
    rig.disks["b"].content[200 * BLOCK] ^= 1
    verification = verified(rig)
    assert (Finding.UNREADABLE, 4 * BLOCK, BLOCK) in found(verification)
    (differs,) = (each for each in verification.found if each.what is Finding.DIFFERS)
    assert differs.offset <= 200 * BLOCK < differs.offset + differs.size <= differs.offset + RANGE_UNIT_BYTES
    assert (verification.cursor, verification.left, verification.why) == (SIZE, (), "")
    assert rig.disks["a"].damaged == rig.disks["b"].damaged == {4}


@scenario(believes_the_primary_where_copies_differ, verifies_without_comparing)
def copies_that_differ_without_a_reason_are_told_and_left_alone() -> None:
    rig = pair()
    rig.disks["b"].content[17 * RANGE_UNIT_BYTES + 5] ^= 1
    copies = {name: bytes(disk.content) for name, disk in rig.disks.items()}
    verification = verified(rig)
    assert found(verification) == [(Finding.DIFFERS, 17 * RANGE_UNIT_BYTES, RANGE_UNIT_BYTES)]
    assert (verification.differing_bytes, verification.why, verification.cursor) == (RANGE_UNIT_BYTES, "", SIZE)
    assert {name: bytes(disk.content) for name, disk in rig.disks.items()} == copies
    assert rig.phases() == (Phase.MIRRORING, Phase.FOLLOWING)


@scenario()
def clients_have_the_disks_between_two_ranges() -> None:
    rig = pair()
    rig.holds = lambda node, action: isinstance(action, act.StoreWrite)
    waiting = rig.write(LAST, b"x" * BLOCK)
    verification = verified(rig)
    assert (verification.running, verification.cursor) == (True, COPY_CHUNK_BYTES)
    assert act.SetTimer(ev.Timer.VERIFY_REST, verify.VERIFY_REST_S) in rig.all(act.SetTimer)
    rig.feed("a", ev.TimerFired(ev.Timer.VERIFY_REST))
    rig.settle()
    assert verification_of(rig).cursor == COPY_CHUNK_BYTES, "the range is being written"
    rig.release()
    assert rig.answers[waiting] is Outcome.DONE
    assert verification_of(rig).cursor == SIZE


@scenario(begins_anew_where_it_was_interrupted, goes_on_in_another_epoch)
def what_was_interrupted_says_so_and_goes_on_where_it_was() -> None:
    rig = pair()
    rig.holds = lambda node, action: isinstance(action, act.SendCompare) and action.offset > 0
    verified(rig)
    rig.cut().connect()
    assert verification_of(rig).running, "a flap does not end it"
    rig.cut()
    rig.feed("a", ev.TimerFired(ev.Timer.CLAIM))
    rig.settle()
    interrupted = verification_of(rig)
    assert (interrupted.running, interrupted.cursor) == (False, COPY_CHUNK_BYTES)
    assert interrupted.why.startswith("the pair changed")
    rig.release().connect()
    assert rig.phases() == (Phase.MIRRORING, Phase.FOLLOWING)
    assert not verification_of(rig).running
    rig.ordered.clear()
    verification = verified(rig)
    assert (verification.number, verification.cursor, verification.why) == (2, SIZE, "")
    assert len(rig.all(act.CompareRange, "b")) == 1


@scenario(goes_on_against_another_copy)
def a_copy_that_was_made_anew_takes_with_it_what_was_compared_and_found() -> None:
    rig = pair()
    rig.disks["b"].content[5] ^= 1
    rig.holds = lambda node, action: isinstance(action, act.SendCompare) and action.offset > 0
    assert verified(rig).differing_bytes == RANGE_UNIT_BYTES
    rig.cut()
    rig.feed("a", ev.TimerFired(ev.Timer.CLAIM))
    rig.settle()
    assert verification_of(rig).cursor == COPY_CHUNK_BYTES
    rig.disks["b"] = Disk()
    rig.boot("b", copy=Copy.RESYNCING).release().connect()
    assert rig.phases() == (Phase.MIRRORING, Phase.FOLLOWING)
    assert rig.disks["b"].content == rig.disks["a"].content
    forgotten = verification_of(rig)
    assert (forgotten.number, forgotten.cursor, forgotten.found, forgotten.differing_bytes) == (1, 0, (), 0)
    assert forgotten.why == "a copy was made anew"
    rig.disks["b"].content[5] ^= 1
    verification = verified(rig)
    assert (verification.number, verification.cursor, verification.why) == (2, SIZE, "")
    assert found(verification) == [(Finding.DIFFERS, 0, RANGE_UNIT_BYTES)]


@scenario(goes_on_against_another_process)
def a_peer_that_started_again_may_have_another_file_and_what_was_found_is_known_until_the_next_pass() -> None:
    rig = pair()
    rig.disks["b"].content[5] ^= 1
    rig.holds = lambda node, action: isinstance(action, act.SendCompare) and action.offset > 0
    verified(rig)
    rig.cut()
    rig.feed("a", ev.TimerFired(ev.Timer.CLAIM))
    rig.settle()
    rig.states["b"] = attrs.evolve(rig.states["b"], incarnation=1000)
    rig.incarnations["b"] = 1000
    rig.release().connect()
    assert rig.phases() == (Phase.MIRRORING, Phase.FOLLOWING)
    assert verification_of(rig).differing_bytes == RANGE_UNIT_BYTES
    rig.disks["b"].content[7 * RANGE_UNIT_BYTES] ^= 1
    assert found(verified(rig)) == [(Finding.DIFFERS, 7 * RANGE_UNIT_BYTES, RANGE_UNIT_BYTES)]


@scenario(goes_on_against_another_copy)
def this_copy_takes_it_too_when_it_is_the_one_that_is_made_anew() -> None:
    rig = pair()
    rig.disks["b"].content[5] ^= 1
    assert verified(rig).differing_bytes == RANGE_UNIT_BYTES
    rig.cut()
    rig.feed("b", ev.TimerFired(ev.Timer.CLAIM))
    rig.settle()
    rig.states["b"] = attrs.evolve(rig.states["b"], base_epoch=rig.states["b"].base_epoch + 7)
    rig.feed("a", ev.TimerFired(ev.Timer.CLAIM))
    rig.settle().connect()
    assert rig.phases() == (Phase.FOLLOWING, Phase.MIRRORING)
    assert (verification_of(rig).cursor, verification_of(rig).differing_bytes) == (0, 0)


@scenario()
def only_the_primary_of_two_members_compares() -> None:
    rig = sole()
    for name in BOTH:
        rig.ordered.clear()
        rig.feed(name, ev.VerifyAsked())
        (ended,) = rig.all(act.VerificationEnded, name)
        assert ended == act.VerificationEnded("this node is not the primary of two members in sync")


@pytest.mark.parametrize("name", SCENARIOS)
def test_two_cores(name: str) -> None:
    SCENARIOS[name][0]()


KILLED = [(name, mutant) for name, (_, mutants) in SCENARIOS.items() for mutant in mutants]


@pytest.mark.parametrize(("name", "mutant"), KILLED, ids=[f"{mutant.__name__}-{name}" for name, mutant in KILLED])
def test_a_rule_that_is_missing_is_noticed(name: str, mutant: Callable[[Patch], None], monkeypatch: Patch) -> None:
    mutant(monkeypatch)
    with pytest.raises((AssertionError, KeyError)):
        SCENARIOS[name][0]()
