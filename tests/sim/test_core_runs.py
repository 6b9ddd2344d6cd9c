"""Runs of seeds: pure data, in order, the same from several processes; and what is reached by them."""

import pickle

import pytest

from ctlha_trio.pair import _service as service, events as ev
from ctlha_trio.pair._step import Step
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


def test_watching_changes_nothing() -> None:
    watched: list[EventLine] = []
    assert run_seed(3, rounds=ROUNDS, watch=watched.append) == run_seed(3, rounds=ROUNDS)


def life(span_s: float) -> SeedReport:
    report = run_ordinary_life(2, span_s)
    assert report.problem == ""
    return report


def test_an_idle_pair_is_jumped_over() -> None:
    totals = life(6 * HOUR_S).totals
    assert totals.simulated_s >= 6 * HOUR_S
    assert totals.idle_s > 0.95 * totals.simulated_s
    assert totals.arbiter_calls < totals.simulated_s / 10, "one poll a second and node would be made without the jumps"


def test_an_ordinary_day_serves_and_costs_little() -> None:
    """A year of such days, at no more than 8,000 events a second, takes less than four core-hours."""
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
