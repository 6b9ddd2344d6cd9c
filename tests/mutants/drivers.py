"""Bugs put into the drivers of whole nodes, one at a time, and the check that must find each.

``tests/sim/test_driver_finds_bugs.py`` runs them. That a driver reads under a permit only, counts it from its request,
looks at it again after the read, and waits for those that were granted, is shown by pairs that are led to the point,
``tests/unit/ha/test_permits.py``: whole seeds come there too seldom.
"""

import math
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from operator import attrgetter
from typing import Final

import attrs
import trio
from crc32c import crc32c

from ctlha_trio._errors import ComponentError, FailedError, StoreError
from ctlha_trio._vocabulary import ctl_ha_component
from ctlha_trio.ha import _disk_work, _pair_driver
from ctlha_trio.ha._component_failover import ComponentFailover
from ctlha_trio.ha._component_faults import FIRST_RETRY_S, ComponentFault, ComponentFaults, FaultKind
from ctlha_trio.ha._component_policy import ComponentWatch
from ctlha_trio.ha._data_faults import DataFaults
from ctlha_trio.ha._disk_watch import DiskWatch
from ctlha_trio.ha._disk_work import DiskWork
from ctlha_trio.ha._file_watch import FileWatch
from ctlha_trio.ha._give_back import GiveBack
from ctlha_trio.ha._local_reads import LocalReads
from ctlha_trio.ha._medium import MediumLog
from ctlha_trio.ha._message_channel import MessageChannel
from ctlha_trio.ha._node import Node
from ctlha_trio.ha._pair_driver import PairDriver
from ctlha_trio.ha._peer_reads import PeerReads
from ctlha_trio.ha._peer_returns import PeerReturns
from ctlha_trio.ha._person_request import PersonRequest
from ctlha_trio.ha._readiness import Readiness
from ctlha_trio.ha._supervisor import Supervisor
from ctlha_trio.ha._timers import Timers
from ctlha_trio.link import Link
from ctlha_trio.pair import (
    ComponentsReady,
    DataFault,
    DataFaultTold,
    Finding,
    Metadata,
    PairState,
    Phase,
    Range,
    Record,
    SwapOutcome,
    Verification,
    _handover as handover,
    _service as service,
    _verify as verify,
    accepts,
    actions,
    can_hand_over,
    events,
    messages,
)
from ctlha_trio.pair._step import Step
from ctlha_trio.seams import Buffer
from ctlha_trio.store import BlockStore, _checked_volume, _checksums
from ctlha_trio.store._watched_file import WatchedFile
from ctlha_trio.store._write_tracker import WriteTracker
from ctlha_trio.testing._drivers.atlas import Fault
from tests.mutants.driver_seeds import Bug
from tests.mutants.service import compares_and_repairs_nothing
from tests.mutants.trouble import Patch


def acknowledge_before_the_flush(patch: Patch) -> None:
    async def forget(_: WatchedFile) -> None:
        await trio.lowlevel.checkpoint()

    async def only_write(watched: WatchedFile, extents: Sequence[tuple[int, Buffer]]) -> None:
        await watched._file.pwrite(extents)

    patch.setattr(WatchedFile, "flush", forget)
    patch.setattr(WatchedFile, "write_through", only_write)


def swallow_the_errors_of_the_disk(patch: Patch) -> None:
    def write(work: DiskWork, sequence: int, offset: int, data: bytes) -> None:
        async def store() -> None:
            with suppress(StoreError):
                await work._store.write(offset, data)
            work._feed(events.Stored(sequence))

        work._nursery.start_soon(store)

    patch.setattr(DiskWork, "write", write)
    patch.setattr(PairDriver, "_store_failed", lambda *_: None)


def serve_before_the_epoch_is_durable(patch: Patch) -> None:
    def hurry(work: DiskWork, metadata: Metadata) -> None:
        work._order(partial(work._store.persist, metadata))
        work._feed(events.Persisted(metadata))

    patch.setattr(DiskWork, "persist", hurry)


def take_an_unknown_swap_for_a_refused_one(patch: Patch) -> None:
    feed = PairDriver.feed

    def misread(driver: PairDriver, event: events.Event) -> None:
        if isinstance(event, events.Swapped) and event.outcome is SwapOutcome.UNKNOWN:
            event = attrs.evolve(event, outcome=SwapOutcome.REFUSED)
        feed(driver, event)

    patch.setattr(PairDriver, "feed", misread)


def never_copy_what_differs(patch: Patch) -> None:
    def compare(reads: PeerReads, action: actions.CompareRange) -> None:
        reads._feed(events.RangeCompared(action.session, action.sequence, equal=True))

    patch.setattr(PeerReads, "compare", compare)


def answer_a_read_with_what_was_read_before(patch: Patch) -> None:
    fetch = LocalReads.fetch
    seen: dict[tuple[LocalReads, int], bytes] = {}

    def remember(
        reads: LocalReads, action: actions.FetchRead, done: Callable[[bytes], None], damaged: Callable[[int, int], None]
    ) -> None:
        offset, size = action.operation.where

        def answer(data: bytes) -> None:
            done(seen.setdefault((reads, offset), data).ljust(size, b"\0")[:size])

        fetch(reads, action, answer, damaged)

    patch.setattr(LocalReads, "fetch", remember)


def condemn_a_copy_that_only_hung(patch: Patch) -> None:
    plain = PairDriver.start

    async def condemn(driver: PairDriver) -> None:
        await driver._disk_watch.wait_for_hang()
        driver._store_failed(StoreError("a disk call hangs"))

    async def look_on(*_: object) -> None:
        await trio.sleep_forever()

    def start(driver: PairDriver) -> None:
        plain(driver)
        driver._nursery.start_soon(condemn, driver)

    patch.setattr(DiskWatch, "run", look_on)
    patch.setattr(PairDriver, "start", start)


def never_notice_that_a_disk_hangs(patch: Patch) -> None:
    async def sleep(_: DiskWatch) -> None:
        await trio.sleep_forever()

    patch.setattr(DiskWatch, "wait_for_hang", sleep)


def stay_away_although_the_disk_answers(patch: Patch) -> None:
    patch.setattr(Link, "go_on", lambda _: None)


def ask_the_arbiter_at_each_write(patch: Patch) -> None:
    write = DiskWork.write

    def ask(work: DiskWork, sequence: int, offset: int, data: bytes) -> None:
        driver = work._feed.__self__  # type: ignore[attr-defined]
        driver._arbiter.call(actions.ReadRecord())
        write(work, sequence, offset, data)

    patch.setattr(DiskWork, "write", ask)


def answer_while_nobody_follows(patch: Patch) -> None:
    patch.setattr(service, "_ENDING", service._ENDING | {Phase.SUSPENDED})


def never_go_on_alone(patch: Patch) -> None:
    start = Timers.set

    def forget_claims(timers: Timers, timer: events.Timer, delay_s: float) -> None:
        if timer is not events.Timer.CLAIM:
            start(timers, timer, delay_s)

    patch.setattr(Timers, "set", forget_claims)


def believe_an_arbiter_that_went_back(patch: Patch) -> None:
    feed = PairDriver.feed

    def overlook(driver: PairDriver, event: events.Event) -> None:
        if isinstance(event, events.RecordRead) and event.revision < driver.state.revision:
            event = events.ReadFailed()
        feed(driver, event)

    patch.setattr(PairDriver, "feed", overlook)


def lose_what_the_arbiter_has_shown(patch: Patch) -> None:
    persist = BlockStore.persist

    async def lose(store: BlockStore, metadata: Metadata) -> None:
        await persist(store, attrs.evolve(metadata, heard=None))

    patch.setattr(BlockStore, "persist", lose)


def overlook_what_the_peer_knows(patch: Patch) -> None:
    feed = PairDriver.feed

    def overlook(driver: PairDriver, event: events.Event) -> None:
        match event:
            case events.PeerKnows():
                return
            case events.Received(message=messages.Standing() as standing):
                event = events.Received(attrs.evolve(standing, lineage=""))
            case _:
                pass
        feed(driver, event)

    patch.setattr(PairDriver, "feed", overlook)


def write_no_zeroes_for_the_primary(patch: Patch) -> None:
    carry_out = PairDriver._carry_out

    def skip(driver: PairDriver, action: actions.Action) -> None:
        if isinstance(action, actions.StoreZeroes):
            driver.feed(events.Stored(action.sequence))
        else:
            carry_out(driver, action)

    patch.setattr(PairDriver, "_carry_out", skip)


def find_everything_as_expected(patch: Patch) -> None:
    patch.setattr(_pair_driver, "first_difference", lambda *_: None)


def tell_a_place_that_does_not_differ(patch: Patch) -> None:
    plain = _disk_work.first_difference

    def mistake(found: bytes, expected: bytes) -> int | None:
        return None if plain(found, expected) is None else len(found) - 1

    patch.setattr(_pair_driver, "first_difference", mistake)


def keep_the_records_of_before(patch: Patch) -> None:
    patch.setattr(DiskWork, "replace_records", lambda *_: None)


def refuse_everything_when_alone(patch: Patch) -> None:
    patch.setattr(service, "accepts", lambda state: state.phase is not Phase.ALONE and accepts(state))


def quit_at_each_lost_session(patch: Patch) -> None:
    run, end = Node.run, PairDriver.session_ended
    nodes: dict[PairDriver, Node] = {}

    async def remember(node: Node, *, task_status: "trio.TaskStatus[Node]") -> None:
        nodes[node._driver] = node
        await run(node, task_status=task_status)

    def quit_too(driver: PairDriver, loss: events.Loss) -> None:
        end(driver, loss)
        nodes[driver].stop("the session was lost")

    patch.setattr(Node, "run", remember)
    patch.setattr(PairDriver, "session_ended", quit_too)


def claim_by_a_disk_that_hangs(patch: Patch) -> None:
    def persist(work: DiskWork, metadata: Metadata) -> None:
        async def store() -> None:
            await work._store.persist(metadata)
            work._feed(events.Persisted(metadata))

        work._order(store)

    patch.setattr(DiskWork, "persist", persist)


def take_each_block_for_one_of_its_place(patch: Patch) -> None:
    keep_no_entries(patch)
    patch.setattr(_checksums, "crc32c", lambda data, start=0: crc32c(data))
    patch.setattr(_checksums, "_PLACES", bytes(len(_checksums._PLACES)))


def keep_no_entries(patch: Patch) -> None:
    """Of a volume that is large for the node's memory."""
    patch.setattr(_checked_volume, "ENTRY_PAGES_KEPT", 0)


def never_call_a_disk_failing(patch: Patch) -> None:
    patch.setattr(MediumLog, "is_failing", property(lambda _: False))


def say_nothing_of_a_block_that_is_lost(patch: Patch) -> None:
    patch.setattr(MediumLog, "has_damage", property(lambda _: False))


def call_a_block_lost_that_was_written_anew(patch: Patch) -> None:
    patch.setattr(MediumLog, "note_write", lambda _log, _offset, _size: None)


def keep_from_the_peer_what_is_lost(patch: Patch) -> None:
    patch.setattr(DataFaults, "lost", DataFaults._add)


def hear_of_no_end_of_what_differs(patch: Patch) -> None:
    take = DataFaults.take

    def take_what_is_so(faults: DataFaults, told: DataFaultTold) -> None:
        if told.is_so:
            take(faults, told)

    patch.setattr(DataFaults, "take", take_what_is_so)


def tell_the_peer_of_no_failing_disk(patch: Patch) -> None:
    say = DataFaults._say

    def say_the_rest(faults: DataFaults, fault: DataFault, is_so: bool, offset: int, size: int) -> None:
        say(faults, fault, is_so and fault is not DataFault.DISK_FAILING, offset, size)

    patch.setattr(DataFaults, "_say", say_the_rest)


def never_look_whether_the_file_is_there(patch: Patch) -> None:
    async def sleep(_: FileWatch) -> None:
        await trio.sleep_forever()

    patch.setattr(FileWatch, "run", sleep)


def overlook_that_the_file_is_back(patch: Patch) -> None:
    tell = DataFaults.file_is

    def tell_of_what_is_gone(faults: DataFaults, gone: bool) -> None:
        if gone:
            tell(faults, gone)

    patch.setattr(DataFaults, "file_is", tell_of_what_is_gone)


def forget_who_did_not_start(patch: Patch) -> None:
    patch.setattr(ComponentFaults, "failing", property(lambda _: False))


def never_ask_a_component_again(patch: Patch) -> None:
    patch.setattr(ComponentFaults, "due", lambda _faults, _now_s: [])
    patch.setattr(ComponentFaults, "next_s", property(lambda _: math.inf))


def keep_the_role_without_its_component(patch: Patch) -> None:
    patch.setattr(ComponentFailover, "look", lambda *_, **__: None)


def end_alone_for_a_component(patch: Patch) -> None:
    """Whether somebody else could serve or not."""
    patch.setattr(ComponentWatch, "_is_spare", property(lambda _: True))


def end_at_what_a_component_raises(patch: Patch) -> None:
    """Whether somebody else could serve or not."""
    note = Supervisor._note

    def pass_on(
        supervisor: Supervisor,
        component: ctl_ha_component,
        kind: FaultKind,
        step: str,
        problem: str,
        *,
        cause: Exception | None,
    ) -> ComponentError:
        error = note(supervisor, component, kind, step, problem, cause=cause)
        if cause is not None:
            raise error
        return error

    patch.setattr(Supervisor, "_note", pass_on)


def say_nothing_of_what_a_component_raises(patch: Patch) -> None:
    errors = ComponentFaults.errors

    def overlook(faults: ComponentFaults, *kinds: FaultKind) -> list[ComponentError]:
        return [] if kinds == (FaultKind.RAISED,) else errors(faults, *kinds)

    patch.setattr(ComponentFaults, "errors", overlook)


def give_the_role_away_however_soon(patch: Patch) -> None:
    look = ComponentFailover.look

    def hurry(
        failover: ComponentFailover, faults: tuple[ComponentFault, ...], seen_s: float, *, possible: bool
    ) -> ComponentFault | None:
        failover._held_s = math.inf
        return look(failover, faults, seen_s, possible=possible)

    patch.setattr(ComponentFailover, "look", hurry)


def ask_a_component_again_without_patience(patch: Patch) -> None:
    note = ComponentFaults.note

    def hurry(
        faults: ComponentFaults, component: ctl_ha_component, kind: FaultKind, error: ComponentError, now_s: float
    ) -> None:
        note(faults, component, kind, error, now_s)
        noted = faults._faults[component]
        if noted.kind is not FaultKind.ERROR:
            faults._faults[component] = attrs.evolve(noted, again_s=now_s + FIRST_RETRY_S)

    patch.setattr(ComponentFaults, "note", hurry)


def take_the_peer_s_components_for_ready(patch: Patch) -> None:
    def believe(readiness: Readiness, _: ComponentsReady) -> None:
        readiness.of_peer = True

    patch.setattr(Readiness, "take", believe)


def take_back_at_once_whoever_dies_again_and_again(patch: Patch) -> None:
    patch.setattr(PeerReturns, "quiet_at_s", lambda returns, now_s: returns.flaps.quiet_at_s(now_s))


def swallow_what_a_handler_raises(patch: Patch) -> None:
    patch.setattr(MessageChannel, "fail", lambda _channel, _error: None)


def take_the_copies_for_equal(patch: Patch) -> None:
    compared = verify.compared

    def overlook(step: Step, message: messages.Compared) -> None:
        compared(step, attrs.evolve(message, equal=True))

    patch.setattr(verify, "compared", overlook)


def count_nothing_that_differs(patch: Patch) -> None:
    note = Verification.note

    def only_name(verification: Verification, what: Finding, where: Range) -> Verification:
        return attrs.evolve(note(verification, what, where), differing_bytes=0)

    patch.setattr(Verification, "note", only_name)


def count_on_what_differed_before(patch: Patch) -> None:
    asked = verify.asked

    def go_on_with_it(step: Step) -> None:
        before = step.state.verification
        asked(step)
        if before is not None and step.state.verification is not None:
            step.change(verification=attrs.evolve(step.state.verification, differing_bytes=before.differing_bytes))

    patch.setattr(verify, "asked", go_on_with_it)


def never_end_a_handover(patch: Patch) -> None:
    """Not to whoever asked for it."""
    _never_end(patch, "handover")


def never_end_a_forced_change(patch: Patch) -> None:
    _never_end(patch, "forced change")


def _never_end(patch: Patch, what: str) -> None:
    end = PersonRequest.end

    def forget(request: PersonRequest, problem: FailedError | None) -> None:
        if request.what != what:
            end(request, problem)

    patch.setattr(PersonRequest, "end", forget)


def force_within_the_line(patch: Patch) -> None:
    def fork(record: Record, *, primary: str, lineage: str, proposal: str, evidence: str = "") -> Record:
        return record.succeed(primary=primary, members=(primary,), proposal=proposal)

    patch.setattr(Record, "fork", fork)


def give_the_role_back_at_once(patch: Patch) -> None:
    look = GiveBack.look

    def hurry(policy: GiveBack, state: PairState, seen_s: float, *, trusted: bool) -> bool:
        look(policy, state, seen_s, trusted=trusted)
        return policy._well_s > 0.0

    patch.setattr(GiveBack, "look", hurry)


def count_the_time_without_the_preferred_node(patch: Patch) -> None:
    """Whether it is in sync or not, all is taken to be well."""
    held_s: dict[GiveBack, float] = {}
    look = GiveBack.look

    def count(policy: GiveBack, state: PairState, seen_s: float, *, trusted: bool) -> bool:
        look(policy, state, seen_s, trusted=trusted)
        held_s[policy] = held_s.get(policy, 0.0) + seen_s if policy._wanted else 0.0
        return held_s[policy] >= policy._hold_down_s and can_hand_over(state)

    patch.setattr(GiveBack, "look", count)


def keep_the_role(patch: Patch) -> None:
    patch.setattr(GiveBack, "look", lambda *_, **__: False)


def mark_nothing_while_alone(patch: Patch) -> None:
    def mark(tracker: WriteTracker, _: Collection[tuple[int, int]]) -> Sequence[tuple[int, bytes]]:
        return tracker.bitmap.take_changed()

    patch.setattr(WriteTracker, "mark", mark)


def lose_a_request(patch: Patch) -> None:
    """Now and then the core is not told of one."""
    feed = PairDriver.feed

    def lose(driver: PairDriver, event: events.Event) -> None:
        if not (isinstance(event, events.Submitted) and event.ticket % 20 == 0):
            feed(driver, event)

    patch.setattr(PairDriver, "feed", lose)


def refuse_every_handover(patch: Patch) -> None:
    def stay(step: Step) -> None:
        step.do(actions.HandoverEnded("the role stays where it is"))

    patch.setattr(handover, "asked", stay)


def never_change_the_roles(patch: Patch) -> None:
    """The nodes are never ready for it."""
    patch.setattr(handover, "prepare", lambda _step, _message: None)


def repair_nothing(patch: Patch) -> None:
    def pretend(work: DiskWork, sequence: int, _offset: int, _data: bytes) -> None:
        work._feed(events.Stored(sequence))

    patch.setattr(DiskWork, "repair", pretend)


def compare_and_leave_the_damage(patch: Patch) -> None:
    compares_and_repairs_nothing(patch)


def start_what_answered_error(patch: Patch) -> None:
    note = ComponentFaults.note

    def forgive(
        faults: ComponentFaults, component: ctl_ha_component, _kind: FaultKind, error: ComponentError, now_s: float
    ) -> None:
        note(faults, component, FaultKind.FAILED, error, now_s)

    patch.setattr(ComponentFaults, "note", forgive)


programs_fail = attrgetter("programs_fail")
copies_differ = attrgetter("copies_differ")
forces = attrgetter("forces")
restores = attrgetter("restores")
gives_back = attrgetter("gives_back")

BUGS: Final = (
    Bug(acknowledge_before_the_flush, r"I2: .* (not durable|its disk is still in)", without_faults=True),
    Bug(swallow_the_errors_of_the_disk, r"I2: .* not durable", first_seed=1167, about=(Fault.WRITE_FAILS,)),
    Bug(serve_before_the_epoch_is_durable, r"I2: .* its disk is still in|I6: the disk of . went back"),
    Bug(
        take_an_unknown_swap_for_a_refused_one,
        # Its own claim, come late, is somebody else's to it.
        r"I2: .* not durable|node . stopped: twin",
        alone={Fault.ARBITER_DEAF: 4.0, Fault.PARTITION: 6.0},
    ),
    Bug(never_copy_what_differs, r"I(7|10): ", without_faults=True),
    Bug(answer_a_read_with_what_was_read_before, r"I3: ", without_faults=True),
    Bug(condemn_a_copy_that_only_hung, r"node . stopped: store-failed", alone={Fault.DISK_HANGS: 8.0}),
    Bug(
        never_notice_that_a_disk_hangs,
        r"I10: . has said protected for 10 s",
        alone={Fault.DISK_HANGS: 8.0},
        first_seed=1002,
    ),
    Bug(stay_away_although_the_disk_answers, r"I12: ", alone={Fault.DISK_HANGS: 8.0}),
    Bug(ask_the_arbiter_at_each_write, r"I1[14]: ", without_faults=True),
    Bug(answer_while_nobody_follows, r"I8: |I1: .* its primary has not said so", first_seed=1018),
    Bug(never_go_on_alone, r"I12: ", first_seed=1011),
    Bug(believe_an_arbiter_that_went_back, r"I15: ", where=restores, first_seed=1033),
    Bug(
        overlook_what_the_peer_knows,
        r"I15: . believes an arbiter that went back, and was told",
        where=restores,
        first_seed=1033,
    ),
    Bug(
        lose_what_the_arbiter_has_shown,
        r"I15: . believes an arbiter that went back, and has (read|said so before)",
        where=restores,
        first_seed=1033,
    ),
    Bug(
        claim_by_a_disk_that_hangs,
        r"I12: . claims, although its disk hangs",
        first_seed=1042,
        alone={Fault.DISK_HANGS: 2.0, Fault.PARTITION: 8.0},
    ),
    Bug(take_each_block_for_one_of_its_place, r"I(3|7|10): ", alone={Fault.MISDIRECTED: 3.0}, large=True),
    Bug(refuse_everything_when_alone, r"I12: ., a healthy member, does not serve", first_seed=1004),
    Bug(never_call_a_disk_failing, r"I10: . does not say disk-failing", first_seed=1061),
    Bug(say_nothing_of_a_block_that_is_lost, r"I10: . does not say medium-error", first_seed=1061),
    Bug(keep_from_the_peer_what_is_lost, r"I10: . does not say medium-error", first_seed=1061),
    Bug(tell_the_peer_of_no_failing_disk, r"I10: . does not say peer-disk-failing", first_seed=1061),
    Bug(call_a_block_lost_that_was_written_anew, r"I10: . says medium-error", first_seed=1061),
    Bug(never_look_whether_the_file_is_there, r"I10: . does not say file-gone", first_seed=1061),
    Bug(overlook_that_the_file_is_back, r"I10: . says file-gone", first_seed=1061),
    Bug(forget_who_did_not_start, r"I10: . does not say component-failed", where=programs_fail, first_seed=1010),
    Bug(never_ask_a_component_again, r"I10: . says component-failed", where=programs_fail, first_seed=1010),
    Bug(swallow_what_a_handler_raises, r"I10: . does not say handler-failed", where=programs_fail, first_seed=1010),
    Bug(
        take_the_copies_for_equal, r"I10: the comparison does not name sector \d+", where=copies_differ, first_seed=1027
    ),
    Bug(count_nothing_that_differs, r"I10: . does not say copies-differ", where=copies_differ, first_seed=1027),
    Bug(count_on_what_differed_before, r"I10: . says copies-differ", where=copies_differ, first_seed=1027),
    Bug(hear_of_no_end_of_what_differs, r"I10: . says copies-differ", where=copies_differ, first_seed=1027),
    Bug(quit_at_each_lost_session, r"node . ended, and nobody stopped it"),
    Bug(write_no_zeroes_for_the_primary, r"I2: .* not durable"),
    Bug(keep_the_records_of_before, r"I(2|3|7|10): "),
    Bug(find_everything_as_expected, r"I3: ", first_seed=1006),
    Bug(tell_a_place_that_does_not_differ, r"I3: "),
    Bug(
        never_end_a_forced_change,
        r"I12: (nobody is told what became|. does not end a forced)",
        where=forces,
        first_seed=1007,
    ),
    Bug(force_within_the_line, r"I(2|4|10): |I12: . was forced, and the record is", where=forces, first_seed=1007),
    Bug(never_end_a_handover, r"I12: . (is asked to hand over, and|does not end a change of)", without_faults=True),
    Bug(give_the_role_back_at_once, r"I12: the role is given back after", where=gives_back),
    Bug(count_the_time_without_the_preferred_node, r"I12: the role is given back after", where=gives_back),
    Bug(mark_nothing_while_alone, r"I5: sector \d+ differs", alone={Fault.STOP: 6.0}, without_faults=True),
    Bug(lose_a_request, r"I14: . has .* under way", without_faults=True),
    Bug(keep_the_role, r"I12: the role is not given back", where=gives_back),
    Bug(refuse_every_handover, r"I12: . was asked to hand over, all is well", without_faults=True),
    Bug(never_change_the_roles, r"I12: . was asked to hand over, all is well", without_faults=True),
    Bug(
        repair_nothing,
        r"node . stopped: store-failed",
        alone={Fault.BIT_ROT: 2.0},
    ),
    Bug(
        compare_and_leave_the_damage,
        r"I12: after the comparison the blocks of sectors .* of . are damaged",
        alone={Fault.BIT_ROT: 2.0},
    ),
    Bug(
        start_what_answered_error,
        r"I10: . (says component-failed|does not say component-error)",
        where=programs_fail,
        first_seed=1010,
    ),
    Bug(
        keep_the_role_without_its_component,
        r"I12: the role stays at .|I12: . goes on although its",
        where=programs_fail,
        first_seed=1010,
    ),
    Bug(end_alone_for_a_component, r"I12: . ends for its component", where=programs_fail, first_seed=1010),
    # It comes back at once, as it is started anew.
    Bug(
        end_at_what_a_component_raises,
        r"I10: . does not say component-raised|I12: . ends for its component",
        where=programs_fail,
        first_seed=1010,
    ),
    Bug(give_the_role_away_however_soon, r"I12: . gives the role away", where=programs_fail, first_seed=1010),
    Bug(
        ask_a_component_again_without_patience,
        r"I12: the component of . is asked",
        where=programs_fail,
        first_seed=1010,
    ),
    Bug(
        take_the_peer_s_components_for_ready,
        r"I10: . does not say peer-components",
        where=programs_fail,
        first_seed=1010,
    ),
    Bug(
        take_back_at_once_whoever_dies_again_and_again,
        r"I10: . does not say peer-restarts",
        where=programs_fail,
        first_seed=1010,
    ),
    Bug(
        say_nothing_of_what_a_component_raises,
        r"I10: . does not say component-raised",
        where=programs_fail,
        first_seed=1010,
    ),
)
