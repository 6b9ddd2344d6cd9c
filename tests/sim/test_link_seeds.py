"""The link alone, from seeds: it breaks no rule, and has been through all that may happen to it."""

import os
import pickle
import subprocess
import sys

import pytest

from ctlha_trio.testing._core.runs import SeedReport
from ctlha_trio.testing._core.totals import Coverage, Depth, Totals
from ctlha_trio.testing._link.atlas import LINK_SITUATIONS
from ctlha_trio.testing._link.faults import LinkFaults
from ctlha_trio.testing._link.runs import LINK_COVERING_SEEDS, run_link_seed

FIXED = range(LINK_COVERING_SEEDS)
PROGRAM = """
import sys
from ctlha_trio.testing._link.faults import LinkFaults
from ctlha_trio.testing._link.runs import run_link_seed
for seed in map(int, sys.argv[1:]):
    lines = []
    report = run_link_seed(seed, watch=lines.append)
    print(seed, report.digest, report.totals, *lines, sep="\\n")
"""


@pytest.fixture(scope="module")
def fixed() -> list[SeedReport]:
    return [run_link_seed(seed) for seed in FIXED]


@pytest.mark.parametrize("seed", FIXED)
def test_a_seed_breaks_no_rule(seed: int, fixed: list[SeedReport]) -> None:
    report = fixed[seed]
    assert not report.failure, report.failure
    assert report.totals.messages > 0
    assert report.totals.transfers_done > 0


def test_links_have_been_through_all_that_may_happen_to_them(fixed: list[SeedReport]) -> None:
    coverage = Coverage()
    for report in fixed:
        coverage |= report.coverage
    assert coverage.faults_missing(LINK_SITUATIONS) == []


def test_links_come_to_every_total_that_is_theirs(fixed: list[SeedReport]) -> None:
    totals = sum((report.totals for report in fixed), Totals())
    assert {name for name in Totals.told(Depth.LINKS) if not getattr(totals, name)} == set()


def test_a_report_travels_between_processes(fixed: list[SeedReport]) -> None:
    assert pickle.loads(pickle.dumps(fixed[1])) == fixed[1]  # noqa: S301 (its own)


def test_a_seed_has_one_history() -> None:
    def run(*seeds: int, hash_seed: str) -> str:
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        arguments = [sys.executable, "-c", PROGRAM, *map(str, seeds)]
        return subprocess.run(arguments, env=environment, check=True, capture_output=True, text=True).stdout

    first, _, second = run(1, 2, hash_seed="1").partition("\n2\n")
    assert len(first.splitlines()) > 200
    assert run(2, 1, hash_seed="2") == f"2\n{second}{first}\n"


def test_seeds_differ_in_what_happens(fixed: list[SeedReport]) -> None:
    assert len({report.digest for report in fixed}) == len(FIXED)


def test_a_failure_shows_its_last_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LinkFaults, "start", None)
    lines: list[str] = []
    report = run_link_seed(1, watch=lambda line: lines.append(str(line)))
    assert report.problem.startswith("a link raises TypeError(")
    assert report.failure.splitlines()[-1] == lines[-1]
