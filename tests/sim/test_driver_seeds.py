"""Whole nodes with their drivers, from seeds: none may break a promise."""

import pickle
import tomllib
from pathlib import Path

import pytest

from ctlha_trio.testing._core.totals import Coverage
from ctlha_trio.testing._drivers.atlas import DRIVER_FAULTS
from ctlha_trio.testing._drivers.runs import DriverReport, run_driver_seed

FIXED = (0, 2, 4, 11, 12, 16, 18, 21)
"""Few, in which every kind of fault acts."""
CORPUS = tomllib.loads((Path(__file__).parent / "corpus" / "drivers.toml").read_text(encoding="utf-8"))["seed"]


def told(report: DriverReport) -> str:
    return "\n".join((report.failure, *map(str, report.timeline[-30:])))


@pytest.fixture(scope="module")
def fixed() -> dict[int, DriverReport]:
    return {seed: run_driver_seed(seed) for seed in FIXED}


def test_every_fault_acts(fixed: dict[int, DriverReport]) -> None:
    coverage = Coverage()
    for report in fixed.values():
        coverage |= report.coverage
    assert coverage.faults_missing(DRIVER_FAULTS) == []


@pytest.mark.parametrize("seed", [*FIXED, *(entry["seed"] for entry in CORPUS)])
def test_a_seed_breaks_no_promise(seed: int, fixed: dict[int, DriverReport]) -> None:
    report = fixed.get(seed) or run_driver_seed(seed)
    assert not report.failure, told(report)
    assert report.totals.acknowledged_writes > 0
    assert report.totals.simulated_s > 20


def test_a_report_travels_between_processes_and_reads_as_a_timeline() -> None:
    report = run_driver_seed(1)
    assert pickle.loads(pickle.dumps(report)) == report  # noqa: S301 (its own)
    lines = [str(line) for line in report.timeline]
    assert lines[0].startswith("    0.000000  -    faults: ")
    assert any(line.endswith("everything is healed") for line in lines)
    assert [line.at_s for line in report.timeline] == sorted(line.at_s for line in report.timeline)


def test_seeds_differ_in_what_happens() -> None:
    digests = {run_driver_seed(seed).digest for seed in (1, 52, 53)}
    assert len(digests) == 3
