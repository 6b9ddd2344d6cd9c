"""Whole nodes with their drivers, from seeds: none may break a promise."""

import pickle
import re
import tomllib
from pathlib import Path

import pytest

from ctlha_trio.pair import Operation, OperationKind, Outcome, actions as act, events as ev
from ctlha_trio.testing._core.log import TIMELINE_HEADER, EventLine
from ctlha_trio.testing._core.runs import SeedReport
from ctlha_trio.testing._core.totals import Coverage, Depth, Totals
from ctlha_trio.testing._drivers import runs
from ctlha_trio.testing._drivers.atlas import DRIVER_FAULTS
from ctlha_trio.testing._drivers.history import VolumeHistory
from ctlha_trio.testing._drivers.runs import DRIVER_COVERING_SEEDS, run_driver_seed

FIXED = range(DRIVER_COVERING_SEEDS)
"""In which every kind of fault acts."""
CORPUS = tomllib.loads((Path(__file__).parent / "corpus" / "drivers.toml").read_text(encoding="utf-8"))["seed"]


@pytest.fixture(scope="module")
def fixed() -> dict[int, SeedReport]:
    return {seed: run_driver_seed(seed) for seed in FIXED}


def test_every_fault_acts(fixed: dict[int, SeedReport]) -> None:
    coverage = Coverage()
    for report in fixed.values():
        coverage |= report.coverage
    assert coverage.faults_missing(DRIVER_FAULTS) == []


def test_nodes_give_the_reasons_that_no_core_can(fixed: dict[int, SeedReport]) -> None:
    coverage = Coverage()
    for report in fixed.values():
        coverage |= report.coverage
    assert coverage.node_reasons_missing == []


@pytest.mark.parametrize("seed", [*FIXED, *(entry["seed"] for entry in CORPUS)])
def test_a_seed_breaks_no_promise(seed: int, fixed: dict[int, SeedReport]) -> None:
    report = fixed.get(seed) or run_driver_seed(seed)
    assert not report.failure, report.failure
    assert report.totals.acknowledged_writes > 0
    assert report.totals.simulated_s > 20


def test_a_report_travels_between_processes(fixed: dict[int, SeedReport]) -> None:
    report = fixed[1]
    assert pickle.loads(pickle.dumps(report)) == report  # noqa: S301 (its own)


@pytest.fixture(scope="module")
def timeline() -> list[EventLine]:
    lines: list[EventLine] = []
    run_driver_seed(1003, watch=lines.append)
    return lines


def test_a_timeline_has_a_line_for_each_event_in_columns(timeline: list[EventLine]) -> None:
    assert [line.number for line in timeline] == list(range(len(timeline)))
    assert [line.now_s for line in timeline] == sorted(line.now_s for line in timeline)
    arrow, event = TIMELINE_HEADER.index("->"), TIMELINE_HEADER.index("event")
    for line in timeline:
        text = str(line)
        assert "\n" not in text
        if line.event is not None:
            assert text[arrow : arrow + 2] == "->"
            assert text[event - 1] == " " != text[event]
    said = "\n".join(map(str, timeline))
    assert "- everything is healed" in said
    assert re.search(r"- the arbiter takes epoch 2, . of ., r2", said)


def test_a_timeline_follows_each_operation_from_its_client_and_back(timeline: list[EventLine]) -> None:
    asked = [re.fullmatch(r"client (\d+) asks (\d+): .*", line.note) for line in timeline]
    numbers = [int(found[2]) for found in asked if found]
    assert numbers == list(range(1, len(numbers) + 1))
    taken = {line.event.ticket for line in timeline if isinstance(line.event, ev.Submitted)}
    answers = [each for line in timeline for each in line.ordered if isinstance(each, act.Answer)]
    lost = {int(found[1]) for line in timeline if (found := re.search(r"is never told of (\d+)", line.note))}
    lost |= {int(found[1]) for line in timeline if (found := re.search(r"gives (\d+) up", line.note))}
    assert {each.ticket for each in answers} <= taken
    assert {each.ticket for each in answers} | lost == set(numbers)
    assert lost
    assert any(each.outcome is Outcome.DONE for each in answers)


def test_a_timeline_tells_what_a_read_has_read(timeline: list[EventLine]) -> None:
    reads = [re.search(r"answers (\d+) DONE, reads ([\d: ]+)$", str(line)) for line in timeline]
    values = {int(pair.split(":")[1]) for found in reads if found for pair in found[2].split()}
    assert len(values) > 5
    writes = {
        int(found[1])
        for line in timeline
        if (found := re.search(r"asks (\d+): (?:write|compare_and_write)", line.note))
    }
    assert values <= writes | {0}


def test_a_failure_shows_its_last_events_and_its_evidence_by_the_clock_of_the_timeline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forget(
        history: VolumeHistory, operation: Operation, outcome: Outcome, data: bytes, miscompare_at: int | None = None
    ) -> None:
        stale = operation.kind is OperationKind.READ and outcome is Outcome.DONE and history.acknowledged > 20
        answered(history, operation, outcome, bytes(len(data)) if stale else data, miscompare_at)

    answered = VolumeHistory.answered
    monkeypatch.setattr(VolumeHistory, "answered", forget)
    lines: list[EventLine] = []
    report = run_driver_seed(1003, watch=lines.append)
    assert report.problem.startswith("I3: ")
    evidence = re.findall(r"by client \d+ at . \(ticket (\d+)\), called at ([\d.]+)", report.failure)
    assert evidence
    asked = {found[1]: line.now_s for line in lines if (found := re.match(r"client \d+ asks (\d+):", line.note))}
    for ticket, at in evidence:
        assert float(at) == pytest.approx(asked[ticket], abs=1e-6)
    assert str(lines[-1]) in report.failure.splitlines()


def test_whole_nodes_come_to_every_total_that_is_theirs(fixed: dict[int, SeedReport]) -> None:
    totals = sum((report.totals for report in fixed.values()), Totals())
    without = {name for name in Totals.told(Depth.NODES) if not getattr(totals, name)}
    assert without == set()
    assert totals.partitions > totals.partitions_one_way


def test_seeds_differ_in_what_happens(fixed: dict[int, SeedReport]) -> None:
    assert len({report.digest for report in fixed.values()}) == len(FIXED)


def test_a_pair_that_cannot_be_built_shows_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ValueError("no such pair")

    monkeypatch.setattr(runs, "DriverPair", refuse)
    report = run_driver_seed(1)
    assert "no such pair" in report.failure
    assert report.totals.seeds == 1
