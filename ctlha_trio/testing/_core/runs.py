"""Runs of the core simulator: one seed, many seeds over several processes, or a long time of an ordinary life."""

import traceback
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

import attrs

from ctlha_trio.testing._core.health import demand_service
from ctlha_trio.testing._core.log import EventLine
from ctlha_trio.testing._core.totals import Coverage, Totals
from ctlha_trio.testing._core.trials import TRIALS, dead_copies_halt
from ctlha_trio.testing._core.trouble import ROUND_STEPS, NodePace, Pace
from ctlha_trio.testing._core.world import CoreWorld
from ctlha_trio.testing._seed_processes import map_seeds

CORE_COVERING_SEEDS: Final = 180
"""The first so many lead to all that cores must reach."""
ROUNDS: Final = 12
"""Of trouble and healing in one seed: more than 5,000 events in the mean."""
_TRIAL_CHANCE: Final = 0.5
"""That a round ends with a trial before the pair is healed."""
_DEATH_CHANCE: Final = 0.1
"""That a seed ends with the loss of both copies."""

HOUR_S: Final = 3600.0
DAY_S: Final = 24 * HOUR_S
YEAR_S: Final = 365 * DAY_S
ORDINARY_LIFE: Final = Pace(
    nodes=dict.fromkeys(("a", "b"), NodePace(clients=0.1)),
    boot=1 / 60,
    relief=1 / 60,
    faults={
        "cut": 1 / HOUR_S,
        "flap": 1 / DAY_S,
        "clog": 1 / DAY_S,
        "part": 1 / DAY_S,
        "pause": 1 / DAY_S,
        "leap": 1 / DAY_S,
        "crash": 1 / DAY_S,
        "crash_both": 0.1 / DAY_S,
        "fail_disk": 0.03 / DAY_S,
        "hang_disk": 1 / DAY_S,
        "hang_both_disks": 0.1 / DAY_S,
        "fail_arbiter": 1 / DAY_S,
        "slow_arbiter": 1 / DAY_S,
        "apply_late": 1 / DAY_S,
        "hand_over": 1 / DAY_S,
        "leave": 0.1 / DAY_S,
    },
)
"""An operation each ten seconds, and a bad month each month."""
_SETTLE_STEPS: Final = 2_000


@attrs.frozen
class SeedReport:
    """What one seed came to. Plain data: it can be pickled."""

    seed: int
    digest: str
    """SHA-256 of the event history up to its end, or up to the failure."""
    totals: Totals
    coverage: Coverage
    failure: str = ""
    """What is wrong, and the last events; empty if nothing is."""

    @property
    def problem(self) -> str:
        """The failure in one line."""
        return self.failure.partition("\n")[0]


def run_seed(seed: int, *, rounds: int = ROUNDS, watch: Callable[[EventLine], None] | None = None) -> SeedReport:
    """Trouble, trials and healing, as the seed says; ``watch`` is told of every line of the event history.

    A broken promise is in the report and raises nothing; so is an exception of the core.
    """
    return _report(CoreWorld(seed, watch=watch), partial(_play, rounds=rounds))


def run_seeds(seeds: Iterable[int], *, processes: int = 1, rounds: int = ROUNDS) -> Iterator[SeedReport]:
    """Reports in the order of the seeds, each as soon as those before it are there."""
    yield from map_seeds(partial(run_seed, rounds=rounds), seeds, processes=processes)


def run_ordinary_life(seed: int, span_s: float) -> SeedReport:
    """So many simulated seconds of a pair with few clients and few faults; what changes nothing is jumped over."""
    return _report(CoreWorld(seed), partial(_live, span_s=span_s))


def _play(world: CoreWorld, rounds: int) -> None:
    for _ in range(rounds):
        world.run(ROUND_STEPS)
        if world.random.random() < _TRIAL_CHANCE:
            trial = world.random.choice(TRIALS)
            world.pair.note("-", f"trial: {trial.__name__}")
            world.pair.happened["trials"] += trial(world)
    world.heal()
    demand_service(world)
    if world.random.random() < _DEATH_CHANCE:
        world.pair.happened["trials"] += 1
        dead_copies_halt(world)


def _live(world: CoreWorld, span_s: float) -> None:
    world.heal()
    world.go_at(ORDINARY_LIFE)
    while world.pair.clock.now_s < span_s:
        for _ in range(_SETTLE_STEPS):
            world.step()
        world.settle()
    world.heal()


def _report(world: CoreWorld, play: Callable[[CoreWorld], None]) -> SeedReport:
    failure = ""
    try:
        play(world)
    except AssertionError as error:
        failure = str(error)
    except Exception as error:
        failure = f"{world.failure(repr(error))}\n{traceback.format_exc()}"
    pair = world.pair
    totals = attrs.evolve(pair.totals, idle_s=world.idle_s)
    return SeedReport(world.seed, pair.history.digest, totals, pair.coverage, failure)
