"""Runs of seeds: pure data, in order, the same from several processes; and what is reached by them."""

import pickle
import re

import pytest

from ctlha_trio.pair import Operation, OperationKind, _service as service, actions as act, events as ev
from ctlha_trio.pair._step import Step
from ctlha_trio.testing import BlockHistory
from ctlha_trio.testing._core.clients import SimulatedClients
from ctlha_trio.testing._core.faults import FAULTS
from ctlha_trio.testing._core.log import TIMELINE_HEADER, EventLine
from ctlha_trio.testing._core.runs import (
    DAY_S,
    HOUR_S,
    SeedReport,
    run_ordinary_life,
    run_seed,
    run_seeds,
)
from ctlha_trio.testing._core.totals import ALL_MOVES, ALL_REASONS, Coverage, Totals
from ctlha_trio.testing._core.world import CoreWorld

ROUNDS = 2


def test_several_processes_report_what_one_does_and_in_order() -> None:
    several = list(run_seeds(range(12), processes=2, rounds=ROUNDS))
    assert several == list(run_seeds(range(12), rounds=ROUNDS))
    assert [report.seed for report in several] == list(range(12))


def test_a_report_is_plain_data() -> None:
    report = run_seed(1, rounds=ROUNDS)
    assert pickle.loads(pickle.dumps(report)) == report  # noqa: S301
    assert report.problem == ""


def test_a_broken_promise_is_in_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_complete", lambda _step, flight: bool(flight.sequence))
    report = run_seed(1, rounds=ROUNDS)
    assert report.problem.startswith("seed 1: ")
    assert " -> " in report.failure, "with the events that led to it"


def test_so_is_an_exception_of_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    def submitted(step: Step, event: ev.Submitted) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(service, "submitted", submitted)
    assert run_seed(1, rounds=ROUNDS).problem == "seed 1: ZeroDivisionError('planted')"


def test_totals_and_coverage_add_up() -> None:
    reports = [run_seed(seed, rounds=ROUNDS) for seed in (1, 2)]
    totals = sum((report.totals for report in reports), Totals())
    assert totals.seeds == 2
    assert totals.events == sum(report.totals.events for report in reports)
    coverage = reports[0].coverage | reports[1].coverage
    assert coverage.moves == reports[0].coverage.moves | reports[1].coverage.moves
    assert set(coverage.moves_missing) == ALL_MOVES - coverage.moves
    assert Coverage().reasons_missing == sorted(ALL_REASONS)


def test_a_timeline_has_a_line_for_each_event_in_columns() -> None:
    lines: list[EventLine] = []
    report = run_seed(1, rounds=1, watch=lines.append)
    assert report.totals.events == sum(line.event is not None for line in lines)
    arrow, event = TIMELINE_HEADER.index("->"), TIMELINE_HEADER.index("event")
    for line in lines:
        text = str(line)
        assert "\n" not in text
        if line.event is not None:
            assert text[arrow : arrow + 2] == "->"
            assert text[event - 1] == " " != text[event]
            assert " => " in text
    assert [line.now_s for line in lines] == sorted(line.now_s for line in lines)
    assert [line.number for line in lines] == list(range(len(lines)))


def last_of(world: CoreWorld, node: str) -> str:
    return next(line.note for line in reversed(world.pair.history.lines) if line.node == node and line.note)


@pytest.mark.parametrize(("fault", "how"), [("crash", "crashes"), ("crash_both", "loses its power")])
def test_the_end_of_a_process_says_how_and_who_is_never_answered(fault: str, how: str) -> None:
    world = CoreWorld(1)
    world.heal()
    a, b = world.pair.nodes.values()
    asked: list[ev.Submitted] = []
    for block in (0, 1):
        asked.append(world.pair.clients.ask_for(a, OperationKind.WRITE, block))
        world.feed(a, asked[-1])
    world.pair.take_down(b, "crashes")
    assert last_of(world, "b") == "crashes"
    FAULTS[fault].do(world.pair)
    assert last_of(world, "a") == f"{how}; never answered: {asked[0].ticket}, {asked[1].ticket}"
    assert world.pair.totals.crashes == 2


def test_who_is_switched_off_after_a_stop_has_a_reason() -> None:
    lines: list[EventLine] = []
    for seed in range(1, 4):
        run_seed(seed, watch=lines.append)
    notes = {line.note for line in lines}
    assert "is switched off; it had stopped: arbiter-went-back" in notes
    assert "ends cleanly" in notes


def test_the_evidence_of_a_failure_has_the_clock_of_the_timeline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads that an operation was called at a time finds it in the timeline."""

    def answer_stale(
        clients: SimulatedClients, history: BlockHistory, answer: act.Answer, operation: Operation
    ) -> None:
        if operation.kind is OperationKind.READ and clients.acknowledged > 20:
            clients.found[answer.ticket] = dict.fromkeys(clients.found[answer.ticket], 0)
        hear(clients, history, answer, operation)

    hear = SimulatedClients._hear
    monkeypatch.setattr(SimulatedClients, "_hear", answer_stale)
    lines: list[EventLine] = []
    failure = run_seed(1, watch=lines.append).failure
    evidence = re.findall(r"by a client at . \(ticket (\d+)\), called at ([\d.]+)", failure)
    assert evidence
    asked = {
        str(line.event.ticket): line.now_s for line in lines if line.event and isinstance(line.event, ev.Submitted)
    }
    assert {ticket: pytest.approx(float(at), abs=1e-6) for ticket, at in evidence} == {
        ticket: asked[ticket] for ticket, _ in evidence
    }


def test_watching_changes_nothing() -> None:
    watched: list[EventLine] = []
    assert run_seed(3, rounds=ROUNDS, watch=watched.append) == run_seed(3, rounds=ROUNDS)


def life(span_s: float) -> SeedReport:
    report = run_ordinary_life(1, span_s)
    assert report.problem == ""
    return report


def test_an_idle_pair_is_jumped_over() -> None:
    totals = life(6 * HOUR_S).totals
    assert totals.simulated_s >= 6 * HOUR_S
    assert totals.idle_s > 0.95 * totals.simulated_s
    assert totals.arbiter_calls < totals.simulated_s / 10, "one poll a second and node would be made without the jumps"


def test_an_ordinary_day_serves_and_costs_little() -> None:
    """A year of such days, at 8,000 events a second, takes less than four core-hours: ``tests/bench/pair_year.py``."""
    totals = life(DAY_S).totals
    assert totals.done > 0.9 * 0.1 * DAY_S, "of an operation each ten seconds"
    assert totals.crashes
    assert totals.events * 365 < 4 * 3600 * 8_000


def test_an_exception_of_the_core_is_told_with_the_place_where_it_was_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RecursionError("planted")

    monkeypatch.setattr("ctlha_trio.testing._core.pair.step_pair", broken)
    report = run_seed(1)
    assert report.problem == "seed 1: RecursionError('planted')"
    assert "in broken" in report.failure
