"""Two cores among everything that the seams allow to go wrong: nothing acknowledged is lost, and all of it heals."""

import pytest

from ctlha_trio.pair import Phase
from ctlha_trio.testing._core.faults import CORE_FAULTS
from ctlha_trio.testing._core.runs import SeedReport, run_seeds
from ctlha_trio.testing._core.situations import CORE_SITUATIONS
from ctlha_trio.testing._core.totals import Coverage, Totals
from ctlha_trio.testing._core.world import CoreWorld

SEEDS = 74

RARE = {
    # Several coincidences at once. The seeds of ``ctlha sim --covers`` lead through these too.
    (Phase.ADMITTING, Phase.OUTDATED),
    (Phase.HANDING_OVER, Phase.CLAIMING),
    (Phase.OUTDATED, Phase.WAITING),
    (Phase.SECURING, Phase.OUTDATED),
    (Phase.SECURING, Phase.SUSPENDED),
    (Phase.SECURING, Phase.WAITING),
    # Another hand at the record of a member that waits or hands over, or of a source in an admission:
    # ``test_core_trials`` and ``test_core_faults`` lead through these by themselves.
    (Phase.ADMITTING, Phase.CLAIMING),
    (Phase.ADMITTING, Phase.WAITING),
    (Phase.HANDING_OVER, Phase.WAITING),
    (Phase.WAITING, Phase.WAITING),
}


@pytest.fixture(scope="module")
def reports() -> list[SeedReport]:
    return list(run_seeds(range(SEEDS)))


def test_a_troubled_pair_keeps_its_promises_and_heals(reports: list[SeedReport]) -> None:
    assert [report.failure for report in reports if report.failure] == []


def test_every_seed_serves(reports: list[SeedReport]) -> None:
    for report in reports:
        assert report.totals.acknowledged_writes, "clients that are never served prove nothing"
    assert sum(report.totals.events for report in reports) / SEEDS >= 5_000


def test_the_trouble_leads_through_the_whole_machine(reports: list[SeedReport]) -> None:
    coverage = Coverage()
    totals = Totals()
    for report in reports:
        coverage |= report.coverage
        totals += report.totals
    spared = {(before.name, after.name) for before, after in RARE}
    assert set(coverage.moves_missing) - spared == set()
    assert coverage.reasons_missing == []
    assert coverage.situations_missing(CORE_SITUATIONS) == []
    assert coverage.faults_missing(CORE_FAULTS) == [], "each fault acts, and is not only drawn"
    assert min(totals.failovers, totals.handovers, totals.resyncs, totals.trials, totals.disk_failures) > 0


def test_a_failure_names_the_seed_and_shows_what_happened() -> None:
    world = CoreWorld(0)
    world.run(300)
    for node, value in zip(world.pair.nodes.values(), (-1, -2), strict=True):
        node.sectors[:] = [value] * len(node.sectors)
    with pytest.raises(AssertionError, match=r"^seed 0: (?s:.)* -> "):
        world.run(10_000)
