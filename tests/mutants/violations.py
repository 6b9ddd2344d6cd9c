"""Violations, one for each check of whole nodes: planted in what the nodes do, or in what they say and hold.

``tests/sim/test_driver_invariants.py`` demands that each is found, and that there is one for each check.
"""

from collections.abc import Awaitable, Callable
from itertools import count
from random import Random
from typing import Any, Final

import attrs
import trio

from ctlha_trio._errors import StoreError
from ctlha_trio.ha import COMPONENT_HOLD_DOWN_S, Node, Reason
from ctlha_trio.ha._client_requests import Answer
from ctlha_trio.pair import (
    FLIGHTS_LIMIT,
    Copy,
    Operation,
    OperationKind,
    Outcome,
    Phase,
    Record,
    Verification,
    _service as service,
    _verify as verify,
    actions as act,
    events as ev,
)
from ctlha_trio.pair._state import Flight, Resync
from ctlha_trio.pair._step import Step
from ctlha_trio.store import Layout
from ctlha_trio.testing._drivers import run as driver_run
from ctlha_trio.testing._drivers.atlas import Fault
from ctlha_trio.testing._drivers.checks import NOTICED_S, DriverChecks
from ctlha_trio.testing._drivers.clients import DriverClients
from ctlha_trio.testing._drivers.damage import Damage
from ctlha_trio.testing._drivers.differing_copies import DifferingCopies
from ctlha_trio.testing._drivers.failing_programs import FailingPrograms
from ctlha_trio.testing._drivers.forced_copy import ForcedCopy
from ctlha_trio.testing._drivers.given_back import GivenBack
from ctlha_trio.testing._drivers.pair import DriverPair
from ctlha_trio.testing._drivers.run import DriverRun
from ctlha_trio.testing._drivers.step_checks import CALLS_MAX
from ctlha_trio.testing._drivers.time import let_pass
from ctlha_trio.testing._drivers.worn_disks import WornDisks
from ctlha_trio.testing._history.block_content import fill_sector
from ctlha_trio.testing._pairs import memory_pair
from ctlha_trio.testing._pairs.action_watch import Ordered, Stepped
from ctlha_trio.testing._power.medium import SECTOR_BYTES
from tests.mutants.drivers import (
    compare_and_leave_the_damage,
    force_within_the_line,
    give_the_role_back_at_once,
    never_end_a_handover,
    refuse_every_handover,
    take_the_copies_for_equal,
)
from tests.mutants.whole_pair import (
    SECTOR,
    WRITE,
    Patch,
    Plant,
    change_a_copy,
    in_next_epoch,
    lose_a_record,
    operation,
    persist_on_primary,
    primary,
    secondary,
    tell,
)

READ: Final = OperationKind.READ
ELSEWHERE: Final = 40
"""A sector that nobody has written."""

PLANTS: dict[str, tuple[Plant, str]] = {}


def found_as(pattern: str) -> Callable[[Plant], Plant]:
    """How the first problem begins."""

    def enter(plant: Plant) -> Plant:
        PLANTS[plant.__name__] = plant, pattern
        return plant

    return enter


@found_as(r"I1: . answered WRITE \d+ in epoch \d+, and so did the other node")
async def both_acknowledge_in_one_epoch(run: DriverRun, _: Patch) -> None:
    tell(run, attrs.evolve(secondary(run).pair, phase=Phase.MIRRORING), WRITE)


@found_as(r"I1: . answered WRITE \d+ in epoch \d+, and its primary has not said so")
async def a_secondary_acknowledges_by_itself(run: DriverRun, _: Patch) -> None:
    tell(run, secondary(run).pair, WRITE)


@found_as(r"I2: . answered WRITE \d+ in epoch \d+, and it is not durable on a")
async def what_is_acknowledged_is_nowhere(run: DriverRun, _: Patch) -> None:
    tell(run, primary(run).pair, WRITE, fill_sector(77))


@found_as(r"I2: . answered WRITE \d+ in epoch \d+, but its disk is still in \d+")
async def the_disk_is_in_another_epoch(run: DriverRun, _: Patch) -> None:
    await persist_on_primary(run, lambda metadata: attrs.evolve(metadata, epoch=metadata.epoch + 1))
    tell(run, primary(run).pair, WRITE)


@found_as(r"I3: . answered \d+ DONE: ")
async def a_read_is_stale(run: DriverRun, _: Patch) -> None:
    tell(run, primary(run).pair, READ, fill_sector(0))


@found_as(r"I3: . answered READ \d+ in epoch \d+ while . served without it in \d+")
async def a_member_reads_while_the_other_serves_alone(run: DriverRun, _: Patch) -> None:
    alone = in_next_epoch(primary(run).pair, Phase.ALONE)
    run.checks.ordered(Ordered(alone, act.Moved(Phase.ALONE, alone.epoch, "planted")))
    await let_pass(0.01)
    primary(run)._driver.state = alone
    tell(run, secondary(run).pair, READ)


@found_as(r"I3: ")
async def a_compare_finds_another_value_than_was_there(run: DriverRun, _: Patch) -> None:
    """At the end of a run all answers are held against each other."""
    written = run.history.call("a client", WRITE, ELSEWHERE, 1)
    run.history.answered(operation(WRITE, written), Outcome.DONE, b"")
    run.checks.check_history()
    assert not run.problems
    compare = OperationKind.COMPARE_AND_WRITE
    compared = run.history.call("a client", compare, ELSEWHERE, 1, [written])
    run.history.answered(operation(compare, compared), Outcome.MISCOMPARE, b"", 0)
    run.checks.check_history()


@found_as(r"I4: . answered FLUSH \d+ in epoch \d+ and is no member")
async def an_outsider_answers(run: DriverRun, _: Patch) -> None:
    away = in_next_epoch(secondary(run).pair, Phase.FOLLOWING)
    tell(run, attrs.evolve(primary(run).pair, record=away.record), OperationKind.FLUSH)


@found_as(r"I4: . is FOLLOWING and no member")
async def an_outsider_follows(run: DriverRun, _: Patch) -> None:
    alone = in_next_epoch(primary(run).pair, Phase.ALONE)
    outside = attrs.evolve(secondary(run).pair, record=alone.record)
    run.checks.ordered(Ordered(outside, act.Moved(Phase.FOLLOWING, alone.epoch, "planted")))


@found_as(r"I6: the disk of . went back from \(\d+, \d+\) to \(\d+, \d+\)")
async def the_disk_forgets_a_revision(run: DriverRun, _: Patch) -> None:
    await persist_on_primary(run, lambda metadata: attrs.evolve(metadata, revision=metadata.revision - 1))
    run.checks.check_progress(run.pair.record.primary)


@found_as(r"I7: at the return of . the records differ")
async def a_target_returns_without_a_record(run: DriverRun, _: Patch) -> None:
    await lose_a_record(run)
    run.checks.ordered(Ordered(primary(run).pair, act.Moved(Phase.MIRRORING, primary(run).pair.epoch, "planted")))


@found_as(rf"I7: at the return of . sector {SECTOR} differs")
async def a_target_returns_without_a_write(run: DriverRun, _: Patch) -> None:
    await change_a_copy(run, SECTOR)
    run.checks.ordered(Ordered(primary(run).pair, act.Moved(Phase.MIRRORING, primary(run).pair.epoch, "planted")))


@found_as(r"I7: the records differ at rest")
async def a_record_is_on_one_node_only(run: DriverRun, _: Patch) -> None:
    await lose_a_record(run)
    run.checks.check_copies_equal()


@found_as(rf"I7: the copies differ at rest, first in sector {ELSEWHERE}")
async def a_copy_differs_where_nobody_wrote(run: DriverRun, _: Patch) -> None:
    await change_a_copy(run, ELSEWHERE)
    run.checks.check_copies_equal()


@found_as(r"I8: . answered FLUSH \d+ in epoch \d+ while SUSPENDED")
async def who_has_lost_the_role_answers(run: DriverRun, _: Patch) -> None:
    tell(run, attrs.evolve(primary(run).pair, phase=Phase.SUSPENDED), OperationKind.FLUSH)


@found_as(r"I8: . answered FLUSH \d+ in epoch \d+ while it follows nobody")
async def a_secondary_answers_out_of_session(run: DriverRun, _: Patch) -> None:
    tell(run, attrs.evolve(secondary(run).pair, session=0), OperationKind.FLUSH)


@found_as(r"I10: the records of ., a member: ")
async def a_member_lacks_a_record(run: DriverRun, _: Patch) -> None:
    await lose_a_record(run)
    run.checks.check_members()


@found_as(r"I10: the copy of ., a member: ")
async def a_member_holds_what_nobody_wrote(run: DriverRun, _: Patch) -> None:
    await change_a_copy(run, SECTOR)
    run.checks.check_members()


@found_as(r"I10: . has said protected for 10 s while nobody could take over from it")
async def a_node_never_misses_the_other(run: DriverRun, patch: Patch) -> None:
    status = Node.status
    patch.setattr(Node, "status", lambda node: attrs.evolve(status(node), verdict="protected"))
    run.pair.crash(secondary(run).config.node)
    for _ in range(2):
        run.checks.check_verdicts()
        assert not run.problems
        await let_pass(NOTICED_S / 2 + 1.0)
    run.checks.check_verdicts()


@found_as(r"I10: . does not say component-failed")
async def a_component_fails_and_nobody_says_so(run: DriverRun, _: Patch) -> None:
    run.programs.failed[primary(run).config.node] = primary(run)
    run.checks.check_programs(run.programs)
    await let_pass(NOTICED_S + 1.0)
    run.checks.check_programs(run.programs)


@found_as(r"I10: . does not say medium-error")
async def a_reason_is_not_given(run: DriverRun, _: Patch) -> None:
    run.reasons.check(run.pair.record.primary, Reason.MEDIUM_ERROR, given=True)


@found_as(rf"I10: the comparison does not name sector {SECTOR}")
async def a_comparison_takes_the_copies_for_equal(run: DriverRun, patch: Patch) -> None:
    take_the_copies_for_equal(patch)
    await compare(run)


@found_as(rf"I10: the comparison names what differs, although sector {SECTOR} was written anew")
async def a_comparison_names_what_the_one_before_did(run: DriverRun, patch: Patch) -> None:
    asked = verify.asked

    def keep(step: Step) -> None:
        before: Verification | None = step.state.verification
        asked(step)
        if before is not None and step.state.verification is not None:
            step.change(verification=attrs.evolve(step.state.verification, found=before.found))

    patch.setattr(verify, "asked", keep)
    await compare(run)


@found_as(r"I3: the comparison has changed a copy")
async def a_comparison_writes(run: DriverRun, patch: Patch) -> None:
    ask = Node.verify

    def overwrite(node: Node) -> None:
        ask(node)
        node._nursery.start_soon(node._driver._store.write, ELSEWHERE * SECTOR_BYTES, fill_sector(1))

    patch.setattr(Node, "verify", overwrite)
    await compare(run)


@found_as(rf"I12: . does not write sector {SECTOR} anew")
async def what_differs_cannot_be_written(run: DriverRun, patch: Patch) -> None:
    submitted = service.submitted

    def refuse_writes(step: Step, event: ev.Submitted) -> None:
        if event.operation.kind is WRITE:
            step.do(act.Answer(event.ticket, Outcome.NOT_PRIMARY))
        else:
            submitted(step, event)

    patch.setattr(service, "submitted", refuse_writes)
    await compare(run)


async def compare(run: DriverRun) -> None:
    await DifferingCopies(run.timeline, run.demands, run.reasons, Random(1)).run()


@found_as(rf"I12: . answers NOT_PRIMARY to a READ of sector {SECTOR}, not MEDIUM_ERROR")
async def nobody_says_that_a_block_is_lost(run: DriverRun, patch: Patch) -> None:
    patch.setattr(service, "accepts", lambda *_: False)
    await WornDisks(run.timeline, run.demands, run.reasons).run()


@found_as(r"I3: . says that blocks of \d+ are lost, but a member has each")
async def a_block_is_said_to_be_lost_that_both_have(run: DriverRun, _: Patch) -> None:
    number = run.history.call("a client", READ, SECTOR, 1)
    answer = act.Answer(number, Outcome.MEDIUM_ERROR)
    run.checks.ordered(Ordered(primary(run).pair, answer, operation(READ, number)))


@found_as(r"I2: the copy of ., which was forced, lacks what it had: ")
async def a_forced_copy_lacks_what_it_had(run: DriverRun, _: Patch) -> None:
    before, alone, forked = two_lines(run)
    run.checks.recorded(before, alone)
    await run.clients.operate(run.pair.record.primary, 1, (WRITE, SECTOR, 1))
    await secondary(run)._driver._store.write(SECTOR * SECTOR_BYTES, fill_sector(1))
    run.checks.recorded(alone, forked)


@found_as(r"I3: ")
async def what_was_told_before_a_force_was_a_lie(run: DriverRun, _: Patch) -> None:
    before, alone, forked = two_lines(run)
    run.checks.recorded(before, alone)
    compare = OperationKind.COMPARE_AND_WRITE
    compared = run.history.call("a client", compare, ELSEWHERE, 1, [0])
    run.history.answered(operation(compare, compared), Outcome.MISCOMPARE, b"", 0)
    run.checks.recorded(alone, forked)


def two_lines(run: DriverRun) -> tuple[Record, Record, Record]:
    """Of both members, of the primary alone, and of the secondary that was forced then."""
    before, abandoned, chosen = run.pair.record, primary(run).pair, secondary(run).pair.me
    alone = before.succeed(primary=abandoned.me, members=(abandoned.me,), proposal="planted")
    return before, alone, alone.fork(primary=chosen, lineage="another", proposal="planted")


@found_as(rf"I5: sector {SECTOR} differs and is not marked at ., the source")
async def what_is_not_marked_differs(run: DriverRun, _: Patch) -> None:
    source, target = primary(run), secondary(run)
    store = target._driver._store
    await store.persist(attrs.evolve(store.metadata, copy=Copy.RESYNCING))
    state = attrs.evolve(source.pair, resync=Resync(search=1))
    searched = Stepped(state, state, ev.DirtyFound(1, ()), (), None, {})
    run.step_checks.stepped(searched)
    assert not run.problems
    await change_a_copy(run, SECTOR)
    run.step_checks.stepped(searched)


@found_as(r"I14: . has \(\) under way, and \(5,\) are waited for")
async def an_operation_is_forgotten(run: DriverRun, _: Patch) -> None:
    state = primary(run).pair
    run.step_checks.stepped(Stepped(state, state, ev.ReadFailed(), (), None, {}, held=(), waiting=(5,)))


@found_as(r"I14: . has 4 calls that wait for the arbiter")
async def an_arbiter_is_asked_again_and_again(run: DriverRun, _: Patch) -> None:
    node = primary(run)
    node._driver._arbiter._calls.extend([act.ReadRecord()] * 2 * CALLS_MAX)
    state = node.pair
    run.step_checks.stepped(Stepped(state, state, ev.ReadFailed(), (), None, {}))


@found_as(r"I12: after the comparison the blocks of sectors 0 of . are damaged")
async def a_comparison_repairs_nothing(run: DriverRun, patch: Patch) -> None:
    take_the_copies_for_equal(patch)
    compare_and_leave_the_damage(patch)
    run.pair.damage.let_decay(primary(run).pair.me, 0)
    await run.repairs.run()


@found_as(r"I7: the comparison of two whole copies ends so: ")
async def a_comparison_finds_a_difference(run: DriverRun, _: Patch) -> None:
    await change_a_copy(run, SECTOR)
    await run.repairs.run()


@found_as(r"I12: . is asked to hand over, and is not told what became of it")
async def a_switchover_among_faults_never_ends(run: DriverRun, patch: Patch) -> None:
    never_end_a_handover(patch)
    await run.operators.strikes[Fault.SWITCHOVER](Random(1))


@found_as(r"I12: . was asked to hand over, all is well, and it has not")
async def a_switchover_is_refused(run: DriverRun, patch: Patch) -> None:
    refuse_every_handover(patch)
    await run.operators.demand_switchover()


@found_as(r"I12: . was forced, and the record is ")
async def a_force_begins_no_line(run: DriverRun, patch: Patch) -> None:
    force_within_the_line(patch)
    patch.setattr(DriverChecks, "check_members", lambda _: None)
    patch.setattr(DriverChecks, "_moved", lambda *_: None)
    await look_after(run, ForcedCopy(run.keeper, run.timeline, run.demands, run.operators, Random(1)).run)


@found_as(r"I12: . does not serve, although it is the only member")
async def the_only_member_serves_one_write(run: DriverRun, patch: Patch) -> None:
    serve_once = run.demands.service

    async def service_alone(name: str) -> None:
        await serve_once(name)
        patch.setattr(service, "accepts", lambda *_: False)

    patch.setattr(type(run.demands), "service", lambda _, name: service_alone(name))
    await look_after(run, ForcedCopy(run.keeper, run.timeline, run.demands, run.operators, Random(1)).run)


@found_as(r"I12: the role is given back after [\d.]+ s, before all was well")
async def the_role_is_given_back_at_once(run: DriverRun, patch: Patch) -> None:
    give_the_role_back_at_once(patch)
    await look_after(run, GivenBack(run.keeper, run.timeline, run.demands, Random(1)).run)


@found_as(r"I12: . gives the role away 1\.0 s after it was handed to it")
async def a_role_that_was_handed_over_does_not_stay(run: DriverRun, _: Patch) -> None:
    failing_programs(run).check_held("a", COMPONENT_HOLD_DOWN_S)
    assert not run.problems
    failing_programs(run).check_held("a", 1.0)


@found_as(r"I12: the component of . is asked \d+ times in 5 s")
async def a_component_is_asked_again_and_again(run: DriverRun, _: Patch) -> None:
    async def ask() -> None:
        for number in count():
            run.programs.asked["a"] = number
            await let_pass(1.0)

    await failing_programs(run).demand_patience("a")
    assert not run.problems
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await failing_programs(run).demand_patience("a")
        nursery.cancel_scope.cancel(reason="the trial is over")


def failing_programs(run: DriverRun) -> FailingPrograms:
    return FailingPrograms(run.programs, run.keeper, run.timeline, run.demands, run.reasons, Random(1))


async def look_after(run: DriverRun, trial: Callable[[], Awaitable[None]]) -> None:
    """Somebody starts the nodes again while it goes on."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.keeper.run)
        await trial()
        nursery.cancel_scope.cancel(reason="the trial is over")


@found_as(r"I11: \d+ calls of the arbiter in 50 writes")
async def each_write_asks_the_arbiter(run: DriverRun, patch: Patch) -> None:
    plain = DriverClients.operate

    async def operate(clients: DriverClients, name: str, client: int, wanted: tuple[OperationKind, int, int]) -> Any:
        await run.pair.arbiters[name].read()
        return await plain(clients, name, client, wanted)

    patch.setattr(DriverClients, "operate", operate)
    await run._write_in_calm()


@found_as(r"I12: . claims, although its disk has failed")
async def who_claims_has_lost_its_disk(run: DriverRun, _: Patch) -> None:
    state = primary(run).pair
    claimed = in_next_epoch(state, Phase.ALONE).record
    assert claimed is not None
    run.pair.machines[state.me].struck = True
    run.checks.ordered(Ordered(state, act.Swap(state.revision, claimed)))


@found_as(r"I12: . claims, although its disk hangs")
async def who_claims_has_a_disk_that_hangs(run: DriverRun, _: Patch) -> None:
    state = primary(run).pair
    claimed = in_next_epoch(state, Phase.ALONE).record
    assert claimed is not None
    run.pair.machines[state.me].disk.hung.append("a call")
    run.checks.ordered(Ordered(state, act.Moved(Phase.CLAIMING, state.epoch, "planted")))
    run.checks.ordered(Ordered(state, act.Swap(state.revision, claimed)))


@found_as(r"I12: ., a healthy member, does not serve within 20 s: ")
async def a_member_does_not_serve(run: DriverRun, _: Patch) -> None:
    name = run.pair.record.primary
    run.pair.crash(name)
    await run.demands.service(name)


@found_as(r"I12: . does not serve, although all is well")
async def a_write_is_refused_in_calm(run: DriverRun, patch: Patch) -> None:
    patch.setattr(service, "accepts", lambda *_: False)
    await run._write_in_calm()


@found_as(rf"I12: sector {SECTOR} cannot be read, although all is well")
async def a_block_is_lost_on_both_copies(run: DriverRun, _: Patch) -> None:
    place = Layout(run.pair.size_bytes).file_offset(SECTOR * SECTOR_BYTES)
    for machine in run.pair.machines.values():
        machine.disk.damage.places[place] = Damage(Fault.BIT_ROT, b"\xff")
    await run._read_all()


@found_as(r"I12: \d+ events and no end: the nodes go round in circles")
async def there_is_no_end(run: DriverRun, patch: Patch) -> None:
    patch.setattr(driver_run, "EVENTS_MAX", run.timeline.history.events + 20)
    await let_pass(60.0)


@found_as(rf"I14: {FLIGHTS_LIMIT + 1} operations of its clients and its own under way at .")
async def a_node_takes_more_than_it_may(run: DriverRun, _: Patch) -> None:
    flights = tuple(Flight(each, Operation(READ, 1, each, 0, SECTOR_BYTES)) for each in range(FLIGHTS_LIMIT + 1))
    state = primary(run).pair
    run.checks.ordered(Ordered(attrs.evolve(state, flights=flights[1:]), act.ReadRecord()))
    assert not run.problems
    run.checks.ordered(Ordered(attrs.evolve(state, flights=flights), act.ReadRecord()))


@found_as(r"I15: a pair that has to halt serves")
async def a_pair_says_that_it_halts_and_serves(run: DriverRun, patch: Patch) -> None:
    patch.setattr(DriverPair, "has_halted", lambda _: True)
    await run.halts.expect()


@found_as(r"client 1 was told something else than node . answered to \d+")
async def a_client_is_told_something_else(run: DriverRun, patch: Patch) -> None:
    submit = Node.submit

    async def lie(node: Node, kind: OperationKind, **wanted: Any) -> Answer:
        return attrs.evolve(await submit(node, kind, **wanted), data=fill_sector(0))

    patch.setattr(Node, "submit", lie)
    await run.clients.operate(run.pair.record.primary, 1, (READ, SECTOR, 1))


@found_as(r"node . ended with ZeroDivisionError\('planted'\)")
async def a_node_fails(run: DriverRun, _: Patch) -> None:
    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError("planted")

    primary(run)._nursery.start_soon(fail)
    await keep(run, 5.0)


@found_as(r"node . ended, and nobody stopped it")
async def a_node_leaves_by_itself(run: DriverRun, _: Patch) -> None:
    primary(run).stop("planted")
    await keep(run, 5.0)


@found_as(r"node . does not end: ")
async def a_node_outlives_its_power(run: DriverRun, _: Patch) -> None:
    async def linger() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(1000.0)

    primary(run)._nursery.start_soon(linger)
    run.pair.crash(run.pair.record.primary)
    await keep(run, 200.0)


@found_as(r"node . cannot start: OSError\('planted'\)")
async def a_node_cannot_start(run: DriverRun, patch: Patch) -> None:
    async def fail(*_: object, task_status: object) -> None:
        await trio.lowlevel.checkpoint()
        raise OSError("planted")

    patch.setattr(memory_pair, "run_node", fail)
    run.pair.crash(run.pair.record.primary)
    await keep(run, 10.0)


@found_as(r"node . stopped: store-failed")
async def a_node_stops_by_a_disk_that_is_well(run: DriverRun, _: Patch) -> None:
    primary(run)._driver._store_failed(StoreError("planted"))
    await keep(run, 10.0)


async def keep(run: DriverRun, seconds: float) -> None:
    """The operator looks after the nodes so long."""
    with trio.move_on_after(seconds):
        await run.keeper.run()
