"""``ctlha sim``: what it prints, what it leaves with, and that a failing seed names the command that replays it."""

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner, Result

from ctlha_trio.cli import _sim as sim, main
from ctlha_trio.testing import (
    CORE_FAULTS,
    CORE_SITUATIONS,
    DRIVER_FAULTS,
    LINK_SITUATIONS,
    LINK_TIMELINE_HEADER,
    NOT_OF_THE_PAIR,
    TIMELINE_HEADER,
    Coverage,
    Depth,
    EventLine,
    SeedReport,
    Totals,
    run_link_seed,
    run_seed,
)
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
        assert any(re.fullmatch(f"{counted} +[\\d,]+  \\w.*", line) for line in lines), f"{counted}, and what that is"
    (missed,) = [line for line in lines if line.startswith("not reached: ")]
    assert re.fullmatch(
        r"not reached: \d+ of the transitions, reasons, situations and faults; --covers names them", missed
    )
    assert lines[-1] == "2 of 2 seeds passed, 0 to 1"


def test_what_was_not_reached_is_a_failure_if_the_seeds_must_lead_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    short = ctlha("--count", "1", "--covers")
    assert short.exit_code == 1
    missing = sum(line.startswith("not reached: ") for line in short.output.splitlines())
    assert missing
    told = f"FAILED the seeds do not lead everywhere: {missing} not reached that cores must reach"
    assert told in short.output.splitlines()

    def reach_all(seed: int) -> SeedReport:
        report = run_seed(seed, rounds=1)
        return SeedReport(
            seed, report.digest, report.totals, Coverage(ALL_MOVES, ALL_REASONS, CORE_FAULTS, CORE_SITUATIONS)
        )

    monkeypatch.setattr(sim, "run_seed", reach_all)
    assert ctlha("--count", "1", "--covers").exit_code == 0


def test_whole_nodes_must_lead_to_what_is_around_the_core_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """For each transition whole nodes are too slow. What was not reached is named all the same."""

    def reach(*reasons: str) -> Callable[[int], SeedReport]:
        coverage = Coverage(faults=DRIVER_FAULTS, reasons=frozenset(reasons))
        return lambda seed: attrs.evolve(run_seed(seed, rounds=1), coverage=coverage)

    monkeypatch.setattr(sim, "run_driver_seed", reach(*NOT_OF_THE_PAIR))
    all_theirs = ctlha("--count", "1", "--drivers", "--covers")
    assert all_theirs.exit_code == 0
    assert "not reached: reason twin" in all_theirs.output
    assert "not reached: BOOTING -> WAITING" in all_theirs.output
    monkeypatch.setattr(sim, "run_driver_seed", reach(*NOT_OF_THE_PAIR - {"copies-differ"}))
    short = ctlha("--count", "1", "--drivers", "--covers")
    assert short.exit_code == 1
    assert "not reached: reason copies-differ" in short.output
    assert "FAILED the seeds do not lead everywhere: 1 not reached that whole nodes must reach" in short.output


@pytest.mark.parametrize("depth", [(), ("--drivers",)])
def test_what_was_not_reached_is_counted_in_one_line_and_named_if_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, depth: tuple[str, ...]
) -> None:
    report = run_seed(1, rounds=1)
    for name in ("run_seed", "run_driver_seed"):
        monkeypatch.setattr(sim, name, lambda seed: attrs.evolve(report, seed=seed))
    counted, named = (
        [line for line in ctlha("--count", "1", *depth, *covers).output.splitlines() if line.startswith("not reached")]
        for covers in ((), ("--covers",))
    )
    assert len(named) > 1
    assert counted == [
        f"not reached: {len(named)} of the transitions, reasons, situations and faults; --covers names them"
    ]


def test_each_commit_is_checked_with_the_fixed_seeds_by_the_tests_and_with_a_few_fresh_ones_behind() -> None:
    """So few fresh ones cannot lead everywhere: that is demanded of the fixed ones, and of how many, one place says."""
    root = Path(__file__).parents[3]
    checks = (root / ".ci" / "run").read_text(encoding="utf-8")
    runs = [found.split() for found in re.findall(r'ctlha" sim (.*?) \|', checks)]
    assert all("--fresh" in run and "--covers" not in run for run in runs)
    assert [sum(depth in run for run in runs) for depth in ("--drivers", "--link")] == [1, 1]
    assert len(runs) == len(sim.COVERING)
    for depth in ("core", "driver", "link"):
        tests = (root / "tests" / "sim" / f"test_{depth}_seeds.py").read_text(encoding="utf-8")
        assert f" = range({depth.upper()}_COVERING_SEEDS)\n" in tests


def test_cores_name_the_reasons_that_are_not_theirs_and_whole_nodes_seek_them(monkeypatch: pytest.MonkeyPatch) -> None:
    report = run_seed(1, rounds=1)
    for name in ("run_seed", "run_driver_seed"):
        monkeypatch.setattr(sim, name, lambda seed: attrs.evolve(report, seed=seed))
    cores, nodes = (ctlha("--count", "1", "--covers", *depth).output for depth in ((), ("--drivers",)))
    of_nodes = "reasons component-error, component-failed, component-raised, component-starting"
    assert f"not of cores, but of whole nodes (--drivers): {of_nodes}" in cores
    assert "not reached: reason component-failed" not in cores
    assert "not reached: reason component-failed" in nodes
    assert "not of cores" not in nodes


def test_the_page_tells_of_every_total() -> None:
    page = (Path(__file__).parents[3] / "docs" / "explain" / "simulator.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `([a-z ]+)`", page, re.MULTILINE))
    told = {name.replace("_", " ") for depth in Depth for name in Totals.told(depth)}
    assert named == told | {"events a second", "took s"}


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
    header, *lines, last = done.output.splitlines()
    assert header == TIMELINE_HEADER
    assert any(re.search(r" a +MIRRORING -> ", line) for line in lines)
    assert any(re.search(r" client \d+ asks \d+: write \d+ to sector", line) for line in lines)
    assert last.startswith("seed 1003 ")


def test_a_seed_of_the_link_is_a_timeline_too() -> None:
    done = ctlha("--link", "--seed", "1")
    assert done.exit_code == 0
    header, *lines, last = done.output.splitlines()
    assert header == LINK_TIMELINE_HEADER
    assert any(re.fullmatch(r" *\d+ +\d+\.\d{6}    [ab] starts push \d+: .*", line) for line in lines)
    assert last.startswith(f"seed 1 {'':<9}{run_link_seed(1).digest[:16]} passed")


def test_links_must_have_been_through_all_that_may_happen_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def reach(*situations: str) -> Callable[[int], SeedReport]:
        return lambda seed: attrs.evolve(run_seed(seed, rounds=1), coverage=Coverage(faults=frozenset(situations)))

    monkeypatch.setattr(sim, "run_link_seed", reach(*LINK_SITUATIONS))
    done = ctlha("--count", "1", "--link", "--covers")
    assert done.exit_code == 0
    assert "not reached" not in done.output
    assert any(line.startswith("transfers done") for line in done.output.splitlines())
    assert "acknowledged writes" not in done.output
    monkeypatch.setattr(sim, "run_link_seed", reach(*LINK_SITUATIONS - {"LAST_USE"}))
    short = ctlha("--count", "1", "--link", "--covers")
    assert short.exit_code == 1
    assert "not reached: fault last-use" in short.output
    assert "FAILED the seeds do not lead everywhere: 1 not reached that links must reach" in short.output


def test_whole_nodes_or_links() -> None:
    done = ctlha("--drivers", "--link", "--count", "1")
    assert done.exit_code == 2
    assert "--link" in done.output


def test_fresh_seeds_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sim, "fresh_seed", lambda: 77)
    done = ctlha("--fresh", "--count", "1")
    assert done.output.splitlines()[-1] == "1 of 1 seeds passed, 77 to 77"


@pytest.mark.parametrize(
    ("option", "name"), [("", "run_seed"), ("--drivers ", "run_driver_seed"), ("--link ", "run_link_seed")]
)
def test_a_failing_seed_prints_the_command_that_replays_it(
    monkeypatch: pytest.MonkeyPatch, option: str, name: str
) -> None:
    def fail(seed: int) -> SeedReport:
        report = run_seed(seed, rounds=1)
        return SeedReport(seed, report.digest, report.totals, report.coverage, "I1: both\nline 1\nline 2")

    monkeypatch.setattr(sim, name, fail)
    done = ctlha("--count", "1", *option.split())
    assert done.exit_code == 1
    assert f"FAILED I1: both; replay it with: ctlha sim {option}--seed 0" in done.output.splitlines()
    assert "line 2" in done.output


def interrupted_at(seed: int, number: signal.Signals) -> Callable[[int], SeedReport]:
    def run(this: int) -> SeedReport:
        if this == seed:
            signal.raise_signal(number)
        return run_seed(this, rounds=1)

    return run


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_what_was_run_so_far(monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(sim, "run_seed", interrupted_at(2, number))
    done = ctlha("--count", "9", "--covers")
    assert done.exit_code == 128 + number
    *_, last = lines = done.output.splitlines()
    assert last == f"interrupted by {number.name}: 2 of 9 seeds were run to their end, 0 to 1; 2 passed"
    assert any(line.startswith("operations") for line in lines)
    assert "not reached" not in done.output, "nobody knows what the others would have led to"
    assert signal.getsignal(signal.SIGTERM) is handler


def test_an_interrupt_of_the_first_seed_sums_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sim, "run_seed", interrupted_at(0, signal.SIGINT))
    done = ctlha("--count", "9")
    assert done.exit_code == 130
    assert done.output == "interrupted by SIGINT: none of 9 seeds was run to its end\n"


def test_an_interrupted_timeline_says_that_it_has_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_seed: int, watch: Callable[[EventLine], None]) -> SeedReport:
        watch(EventLine(0, 0.0, note="begins"))
        raise KeyboardInterrupt

    monkeypatch.setattr(sim, "run_seed", stop)
    done = ctlha("--seed", "5")
    assert done.exit_code == 130
    *_, begun, last = done.output.splitlines()
    assert begun.endswith("begins")
    assert last == "interrupted: seed 5 was not run to its end"


PROGRAM = """
import os
os.cpu_count = lambda: 2
from ctlha_trio.cli import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_command(number: signal.Signals) -> None:
    arguments = [sys.executable, "-c", PROGRAM, "sim", "--count", "1000"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline().startswith("seed 0 ")
            running.send_signal(number)
            # Each of its processes holds the other end: it is closed when the last one has ended.
            said, complained = running.communicate(timeout=30)
        except BaseException:
            running.kill()
            raise
    if number is signal.SIGKILL:
        assert running.returncode == -number
    else:
        assert running.returncode == 128 + number
        assert not complained
        assert re.match(f"interrupted by {number.name}: \\d+ of 1000 seeds were run", said.splitlines()[-1])


def test_one_seed_or_many() -> None:
    done = ctlha("--seed", "1", "--count", "2")
    assert done.exit_code == 2
    assert "--count" in done.output
