"""``ctlha sim``: what it prints, what it leaves with, and that a failing seed names the command that replays it."""

import re

import pytest
from click.testing import CliRunner, Result

from ctlha_trio.cli import _sim as sim, main
from ctlha_trio.testing import CORE_FAULTS, TIMELINE_HEADER, Coverage, SeedReport, run_seed
from ctlha_trio.testing._core.totals import ALL_MOVES, ALL_REASONS


def ctlha(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["sim", *arguments])


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)


def test_a_count_prints_a_digest_a_seed_and_the_sums() -> None:
    done = ctlha("--count", "2")
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert [re.fullmatch(r"seed (\d) +[0-9a-f]{16} passed +\d+ events", line) is not None for line in lines[:2]] == [
        True,
        True,
    ]
    assert run_seed(1).digest.startswith(lines[1].split()[2])
    for counted in ("operations", "crashes", "partitions", "failovers", "resyncs", "simulated s", "events a second"):
        assert any(line.startswith(counted) for line in lines)
    assert any(line.startswith("not reached: ") for line in lines), "two seeds do not lead everywhere"
    assert lines[-1] == "2 of 2 seeds passed, 0 to 1"


def test_what_was_not_reached_is_a_failure_if_the_seeds_must_lead_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    short = ctlha("--count", "1", "--covers")
    assert short.exit_code == 1
    missing = sum(line.startswith("not reached: ") for line in short.output.splitlines())
    assert missing
    assert f"FAILED the seeds do not lead everywhere: {missing} not reached" in short.output.splitlines()

    def reach_all(seed: int) -> SeedReport:
        report = run_seed(seed, rounds=1)
        return SeedReport(seed, report.digest, report.totals, Coverage(ALL_MOVES, ALL_REASONS, CORE_FAULTS))

    monkeypatch.setattr(sim, "run_seed", reach_all)
    assert ctlha("--count", "1", "--covers").exit_code == 0


def test_a_seed_is_a_timeline() -> None:
    done = ctlha("--seed", "1")
    assert done.exit_code == 0
    header, *lines, last = done.output.splitlines()
    assert header == TIMELINE_HEADER
    assert any(re.search(r" a +MIRRORING -> ", line) for line in lines)
    assert last.startswith(f"seed 1 {'':<9}{run_seed(1).digest[:16]} passed")


def test_a_seed_of_whole_nodes_is_a_timeline_too() -> None:
    done = ctlha("--drivers", "--seed", "1003")
    assert done.exit_code == 0
    assert done.output.splitlines()[0].split() == ["time_s", "node", "what"]
    assert "mirroring: " in done.output


def test_fresh_seeds_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sim, "fresh_seed", lambda: 77)
    monkeypatch.setattr("ctlha_trio.cli._main.fresh_seed", lambda: 77)
    done = ctlha("--fresh", "--count", "1")
    assert done.output.splitlines()[-1] == "1 of 1 seeds passed, 77 to 77"


@pytest.mark.parametrize("drivers", [False, True])
def test_a_failing_seed_prints_the_command_that_replays_it(monkeypatch: pytest.MonkeyPatch, drivers: bool) -> None:
    def fail(seed: int) -> SeedReport:
        report = run_seed(seed, rounds=1)
        return SeedReport(seed, report.digest, report.totals, report.coverage, "I1: both\nline 1\nline 2")

    monkeypatch.setattr(sim, "run_driver_seed" if drivers else "run_seed", fail)
    done = ctlha("--count", "1", *(["--drivers"] if drivers else []))
    assert done.exit_code == 1
    replayed = "ctlha sim --drivers --seed 0" if drivers else "ctlha sim --seed 0"
    assert f"FAILED I1: both; replay it with: {replayed}" in done.output.splitlines()
    assert "line 2" in done.output


def test_an_interrupt_leaves_what_was_run_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop_at_two(seed: int) -> SeedReport:
        if seed == 2:
            raise KeyboardInterrupt
        return run_seed(seed, rounds=1)

    monkeypatch.setattr(sim, "run_seed", stop_at_two)
    done = ctlha("--count", "9")
    assert done.exit_code == 130
    assert done.output.splitlines()[-1] == "2 of 2 seeds passed, 0 to 1"


def test_one_seed_or_many() -> None:
    done = ctlha("--seed", "1", "--count", "2")
    assert done.exit_code == 2
    assert "--count" in done.output
