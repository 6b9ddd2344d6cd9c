"""Runs of whole nodes from seeds, and what each of them reports."""

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import attrs
import trio

from ctlha_trio.testing._action_watch import watch_actions
from ctlha_trio.testing._deterministic_trio import run_from_seed
from ctlha_trio.testing._driver_pair import DriverPair
from ctlha_trio.testing._driver_run import DriverRun
from ctlha_trio.testing._driver_swarm import draw_swarm
from ctlha_trio.testing._driver_timeline import Timeline, TimelineLine
from ctlha_trio.testing._memory_pair import NAMES, no_components


@attrs.frozen(kw_only=True)
class DriverTotals:
    """How much happened."""

    operations: int
    """That clients asked for."""
    done: int
    """That ended well."""
    acknowledged: int
    """Writes among them."""
    crashes: int
    pauses: int
    partitions: int
    failovers: int
    """Changes of the primary that nobody had planned."""
    switchovers: int
    """Changes of the primary that an operator asked for."""
    resyncs: int
    """Begun."""
    halts: int
    """Runs that ended without a copy that counts, and said so."""
    simulated_s: float
    events: int
    """Actions of both cores and lines of the timeline."""


@attrs.frozen(kw_only=True)
class DriverReport:
    """The end of a run. It holds nothing alive and can be sent to another process."""

    seed: int
    digest: str
    """SHA-256 of the event history: the same for the same seed, Python and Trio."""
    totals: DriverTotals
    failure: str
    """Empty, or what was wrong."""
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
    counts = timeline.counts
    totals = DriverTotals(
        operations=len(run.history.calls),
        done=run.history.done,
        acknowledged=run.history.acknowledged,
        crashes=counts["crashes"],
        pauses=counts["pauses"],
        partitions=counts["partitions"],
        failovers=run.failovers,
        switchovers=counts["switchovers"],
        resyncs=counts["resyncs"],
        halts=counts["halts"],
        simulated_s=trio.current_time(),
        events=timeline.events,
    )
    failure = "\n".join((*run.problems, crash)).strip()
    return DriverReport(
        seed=run.seed, digest=timeline.digest, totals=totals, failure=failure, timeline=tuple(timeline.lines)
    )
