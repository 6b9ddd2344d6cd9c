"""Runs of links from seeds, and what each of them reports."""

import traceback
from collections.abc import Callable
from typing import Final

import trio

from ctlha_trio.testing._core.log import EventLine
from ctlha_trio.testing._core.runs import SeedReport
from ctlha_trio.testing._core.totals import Coverage, Totals
from ctlha_trio.testing._link.faults import LinkFaults
from ctlha_trio.testing._link.journal import Journal
from ctlha_trio.testing._link.run import LinkRun
from ctlha_trio.testing._link.scene import LinkScene
from ctlha_trio.testing._link.swarm import draw_link_swarm
from ctlha_trio.testing._link.watch import watch_links
from ctlha_trio.testing._pairs.deterministic_trio import run_from_seed

LINK_COVERING_SEEDS: Final = 40
"""The first so many lead to all that links must have been through."""


def run_link_seed(seed: int, *, watch: Callable[[EventLine], None] | None = None) -> SeedReport:
    """Run two links with all that uses them on a network that fails, all from one seed, in virtual time.

    ``watch`` is told of every line of the history. The digest is the same for the same seed and Trio, on any Python.
    Blocks for a part of a second. Not from within ``trio.run``.
    """
    return run_from_seed(seed, _run, seed, watch)


async def _run(seed: int, watch: Callable[[EventLine], None] | None) -> SeedReport:
    began_s = trio.current_time()
    scope = trio.CancelScope()
    journal = Journal(lambda: trio.current_time() - began_s, watch, lambda: scope.cancel(reason="a problem was found"))
    crash = ""
    try:
        with scope:
            scene = LinkScene(seed, draw_link_swarm(seed), journal)
            with watch_links(scene):
                async with trio.open_nursery() as nursery:
                    await LinkRun(scene, LinkFaults(scene, nursery)).run()
    except Exception as error:
        crash = f"a link raises {_innermost(error)!r}\n{traceback.format_exc()}"
    return _report(seed, journal, crash)


def _innermost(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _report(seed: int, journal: Journal, crash: str) -> SeedReport:
    totals = Totals(seeds=1, simulated_s=trio.current_time(), **journal.counts)
    failure = "\n".join((journal.problem_found, crash)).strip()
    return SeedReport(
        seed=seed,
        digest=journal.history.digest,
        totals=totals,
        coverage=Coverage(faults=frozenset(situation.name for situation in journal.reached)),
        failure="\n".join((failure, *map(str, journal.history.lines))) if failure else "",
    )
