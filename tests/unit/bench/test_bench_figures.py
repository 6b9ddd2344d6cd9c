"""Rounds become medians, ratios of each round, and verdicts."""

import pytest

from ctlha_trio.bench import Bench, Comparison, Figure, Results, Sizes, Spread, Unit, Values, Workload, run_rounds

OURS, THEIRS = (Figure(name, name, Unit.MESSAGES) for name in ("ours", "theirs"))
FASTER = Comparison(name="faster", title="faster", figure="ours", beside="theirs", at_least=1.5)
SLOWER = Comparison(name="slower", title="slower", figure="theirs", beside="ours", at_most=0.5)


def test_a_ratio_is_of_each_round_by_itself() -> None:
    results = Results([OURS, THEIRS], [FASTER])
    for ours, theirs in ((10.0, 5.0), (300.0, 100.0), (1.0, 1.0)):
        results.add({"ours": ours})
        results.add({"theirs": theirs})
    assert results.spread("ours") == Spread(10.0, 1.0, 300.0)
    assert results.ratio(FASTER) == Spread(2.0, 1.0, 3.0)
    assert results.as_json() == {
        "figures": {
            "ours": {"unit": "msg/s", "median": 10.0, "least": 1.0, "most": 300.0},
            "theirs": {"unit": "msg/s", "median": 5.0, "least": 1.0, "most": 100.0},
        },
        "ratios": {"faster": {"median": 2.0, "least": 1.0, "most": 3.0}},
    }


@pytest.mark.parametrize(
    ("comparison", "ratio", "met"),
    [(FASTER, 1.5, True), (FASTER, 1.49, False), (SLOWER, 0.5, True), (SLOWER, 0.51, False)],
)
def test_a_target_is_met_from_there_on(comparison: Comparison, ratio: float, met: bool) -> None:
    assert comparison.is_met(ratio) is met


def test_without_a_target_nothing_is_met() -> None:
    free = Comparison(name="free", title="free", figure="ours", beside="theirs")
    assert (free.is_met(9.0), free.target, FASTER.target, SLOWER.target) == (None, "", ">= 1.5 x", "<= 0.5 x")


async def test_each_round_does_everything_once_beginning_with_another_and_the_warm_up_does_not_count() -> None:
    done: list[tuple[str, int]] = []

    def workload(name: str) -> Workload:
        async def run(sizes: Sizes) -> Values:
            done.append((name, sizes.messages))
            return {name: float(len(done))}

        return Workload(name, run)

    told: list[tuple[int, int, str]] = []
    bench = Bench([workload("ours")], [OURS], []).joined(Bench([workload("theirs")], [THEIRS], [FASTER]))
    results = await run_rounds(
        bench, rounds=2, sizes=Sizes(messages=100), progress=lambda *progress: told.append(progress)
    )
    assert done == [("ours", 10), ("theirs", 10), ("ours", 100), ("theirs", 100), ("theirs", 100), ("ours", 100)]
    assert results.rounds == {"ours": [3.0, 6.0], "theirs": [4.0, 5.0]}
    assert told == [
        (0, 2, "warming up"),
        (1, 2, "ours"),
        (1, 2, "theirs"),
        (2, 2, "theirs"),
        (2, 2, "ours"),
    ]
