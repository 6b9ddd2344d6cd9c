"""Two cores among everything that the seams allow to go wrong: nothing acknowledged is lost, and all of it heals."""

from collections.abc import Callable
from functools import cache

import pytest

from ctlha_trio.testing._core.faults import CORE_FAULTS
from ctlha_trio.testing._core.runs import CORE_COVERING_SEEDS, SeedReport, run_seed
from ctlha_trio.testing._core.situations import CORE_SITUATIONS
from ctlha_trio.testing._core.totals import Coverage, Totals
from ctlha_trio.testing._core.world import CoreWorld

SEEDS = range(CORE_COVERING_SEEDS)

ReportOf = Callable[[int], SeedReport]


@pytest.fixture(scope="module")
def report_of() -> ReportOf:
    """Of a seed, which runs once."""
    return cache(run_seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_troubled_pair_keeps_its_promises_and_heals(seed: int, report_of: ReportOf) -> None:
    report = report_of(seed)
    assert not report.failure, report.failure
    assert report.totals.acknowledged_writes, "clients that are never served prove nothing"


def test_the_trouble_leads_through_the_whole_machine(report_of: ReportOf) -> None:
    coverage = Coverage()
    totals = Totals()
    for report in map(report_of, SEEDS):
        coverage |= report.coverage
        totals += report.totals
    assert coverage.moves_missing == []
    assert coverage.reasons_missing == []
    assert coverage.situations_missing(CORE_SITUATIONS) == []
    assert coverage.faults_missing(CORE_FAULTS) == [], "each fault acts, and is not only drawn"
    assert min(totals.failovers, totals.handovers, totals.resyncs, totals.trials, totals.disk_failures) > 0
    assert totals.events / len(SEEDS) >= 5_000


def test_a_failure_names_the_seed_and_shows_what_happened() -> None:
    world = CoreWorld(0)
    world.run(300)
    for node, value in zip(world.pair.nodes.values(), (-1, -2), strict=True):
        node.sectors[:] = [value] * len(node.sectors)
    with pytest.raises(AssertionError, match=r"^seed 0: (?s:.)* -> "):
        world.run(10_000)
