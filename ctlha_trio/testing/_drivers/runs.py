"""Runs of whole nodes from seeds, and what each of them reports."""

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import attrs
import trio

from ctlha_trio.testing._core.runs import SeedReport
from ctlha_trio.testing._core.totals import Totals
from ctlha_trio.testing._drivers.deterministic_trio import run_from_seed
from ctlha_trio.testing._drivers.pair import DriverPair
from ctlha_trio.testing._drivers.run import DriverRun
from ctlha_trio.testing._drivers.swarm import draw_swarm
from ctlha_trio.testing._drivers.timeline import Timeline, TimelineLine
from ctlha_trio.testing._pairs.action_watch import watch_actions
from ctlha_trio.testing._pairs.memory_pair import no_components
from ctlha_trio.testing._pairs.pair_faults import NAMES


@attrs.frozen(kw_only=True)
class DriverReport(SeedReport):
    """The end of a run of whole nodes. The digest is the same for the same seed, Python and Trio."""

    timeline: tuple[TimelineLine, ...] = attrs.field(repr=False)


def run_driver_seed(seed: int) -> DriverReport:
    """Run both nodes with their drivers, the arbiter, clients and faults, all from one seed, in virtual time.

    Blocks for a second or two. Not from within ``trio.run``.
    """
    with _silence():
        return run_from_seed(seed, _run, seed)


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


async def _run(seed: int) -> DriverReport:
    swarm = draw_swarm(seed, NAMES)
    began_s = trio.current_time()
    timeline = Timeline(lambda: trio.current_time() - began_s)
    runs: list[DriverRun] = []
    crash = ""
    try:
        async with trio.open_nursery() as nursery:
            pair = DriverPair(swarm.size_bytes, Random(f"pair {seed}"), no_components, nursery, swarm=swarm)
            runs.append(DriverRun(seed, pair, timeline, nursery))
            with watch_actions(runs[0].ordered):
                await runs[0].run()
            nursery.cancel_scope.cancel(reason="the run is over")
    except Exception:
        crash = traceback.format_exc()
    return _report(runs[0], timeline, crash)


def _report(run: DriverRun, timeline: Timeline, crash: str) -> DriverReport:
    counts, history = timeline.counts, run.history
    totals = Totals(
        seeds=1,
        events=timeline.events,
        simulated_s=trio.current_time(),
        operations=len(history.calls),
        done=history.done,
        acknowledged_writes=history.acknowledged,
        arbiter_calls=run.arbiter_calls,
        crashes=counts["crashes"],
        pauses=counts["pauses"],
        partitions=counts["partitions"],
        clogs=counts["clogs"],
        faults=run.nemesis.done.total(),
        cuts=counts["cuts"],
        disk_failures=counts["disk failures"],
        arbiter_outages=counts["arbiter outages"],
        arbiter_displacements=counts["arbiter restored"],
        failovers=run.failovers,
        handovers=counts["handovers"],
        resyncs=counts["resyncs"],
        trials=counts["trials"],
    )
    return DriverReport(
        seed=run.seed,
        digest=timeline.digest,
        totals=totals,
        coverage=run.coverage,
        failure="\n".join((*run.problems, crash)).strip(),
        timeline=tuple(timeline.lines),
    )
