"""Runs of whole nodes from seeds, and what each of them reports."""

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Final

import trio

from ctlha_trio.testing._core.log import EventLine
from ctlha_trio.testing._core.runs import SeedReport
from ctlha_trio.testing._core.totals import Coverage, Totals
from ctlha_trio.testing._drivers.pair import DriverPair
from ctlha_trio.testing._drivers.programs import Programs
from ctlha_trio.testing._drivers.run import DriverRun
from ctlha_trio.testing._drivers.swarm import draw_swarm
from ctlha_trio.testing._drivers.timeline import Timeline
from ctlha_trio.testing._pairs.action_watch import watch_actions, watch_steps
from ctlha_trio.testing._pairs.deterministic_trio import run_from_seed
from ctlha_trio.testing._pairs.memory_pair import no_components
from ctlha_trio.testing._pairs.pair_faults import NAMES

DRIVER_COVERING_SEEDS: Final = 24
"""The first so many lead to all that whole nodes must reach."""


def run_driver_seed(seed: int, *, watch: Callable[[EventLine], None] | None = None) -> SeedReport:
    """Run both nodes with their drivers, the arbiter, clients and faults, all from one seed, in virtual time.

    ``watch`` is told of every line of the event history. The digest is the same for the same seed, Python and Trio.
    Blocks for a second or two. Not from within ``trio.run``.
    """
    with _silence():
        return run_from_seed(seed, _run, seed, watch)


@contextmanager
def _silence() -> Iterator[None]:
    """What nodes log of faults that are meant is no news to anybody; the timeline tells of them."""
    logger = logging.getLogger("ctlha_trio")
    propagates, logger.propagate = logger.propagate, False
    handler = logging.NullHandler()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates


async def _run(seed: int, watch: Callable[[EventLine], None] | None) -> SeedReport:
    swarm = draw_swarm(seed, NAMES)
    began_s = trio.current_time()
    timeline = Timeline(lambda: trio.current_time() - began_s, watch)
    runs: list[DriverRun] = []
    crash = ""
    try:
        async with trio.open_nursery() as nursery:
            programs = Programs(Random(f"programs {seed}"))
            components = programs.make if swarm.programs_fail else no_components
            pair = DriverPair(swarm.size_bytes, Random(f"pair {seed}"), components, nursery, swarm=swarm)
            runs.append(DriverRun(seed, pair, programs, timeline, nursery))
            with watch_actions(runs[0].ordered), watch_steps(runs[0].stepped):
                await runs[0].run()
            nursery.cancel_scope.cancel(reason="the run is over")
    except Exception:
        crash = traceback.format_exc()
    if not runs:
        return SeedReport(seed, timeline.history.digest, Totals(seeds=1), Coverage(), crash)
    return _report(runs[0], timeline, crash)


def _report(run: DriverRun, timeline: Timeline, crash: str) -> SeedReport:
    history = run.history
    totals = Totals(
        seeds=1,
        events=timeline.history.events,
        simulated_s=trio.current_time(),
        operations=len(history.calls),
        done=history.done,
        acknowledged_writes=history.acknowledged,
        arbiter_calls=run.arbiter_calls,
        faults=run.nemesis.scene.done.total(),
        medium_errors=history.medium_errors,
        **timeline.counts,
    )
    failure = "\n".join((*run.problems, crash)).strip()
    return SeedReport(
        seed=run.seed,
        digest=timeline.history.digest,
        totals=totals,
        coverage=run.coverage,
        failure="\n".join((failure, *map(str, timeline.history.lines))) if failure else "",
    )
