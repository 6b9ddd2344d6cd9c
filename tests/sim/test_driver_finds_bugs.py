"""Bugs put into the drivers, each of which the runs of whole nodes must find: what they check, they can see."""

import re
from itertools import islice
from operator import attrgetter
from time import perf_counter

import pytest

from ctlha_trio.testing._drivers.atlas import Fault
from ctlha_trio.testing._drivers.runs import run_driver_seed
from tests.mutants.death import Death
from tests.mutants.driver_seeds import SEEDS_MAX, Bug, draw_only
from tests.mutants.drivers import BUGS, keep_no_entries

CALM_SEEDS = range(1000, 1003)
"""Where no fault happens: in one alone a client may by chance not ask for what a bug breaks."""


@pytest.mark.parametrize("bug", BUGS, ids=attrgetter("name"))
def test_a_planted_bug_is_found(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    bug.plant_in(monkeypatch)
    began_s, failure, seeds = perf_counter(), "", 0
    for seed in bug.seeds():
        seeds += 1
        failure = run_driver_seed(seed).failure
        if failure:
            break
    death = Death(failure.partition("\n")[0], seeds, perf_counter() - began_s, f"seeds from {bug.first_seed}")
    print(f"{bug.name}: {death}")  # noqa: T201 (shown by pytest -rP)
    assert re.match(bug.found, failure), failure or f"{SEEDS_MAX} seeds did not find it"


@pytest.mark.parametrize("bug", BUGS, ids=attrgetter("name"))
def test_without_faults_it_lives_or_dies_for_its_own_reason(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_only(monkeypatch, {}, safety_s=20.0)
    bug.plant(monkeypatch)
    failures = [report.failure for report in map(run_driver_seed, CALM_SEEDS) if report.failure]
    assert bool(failures) is bug.without_faults, failures
    assert all(re.match(bug.found, failure) for failure in failures), failures


def test_writes_that_go_astray_are_survived_by_who_keeps_no_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the planted bug that needs it, but for the bug."""
    bug = next(bug for bug in BUGS if bug.large)
    draw_only(monkeypatch, {Fault.MISDIRECTED: 3.0}, safety_s=60.0)
    keep_no_entries(monkeypatch)
    for seed in islice(bug.seeds(), 2):
        report = run_driver_seed(seed)
        assert not report.failure
        assert Fault.MISDIRECTED.name in report.coverage.faults
