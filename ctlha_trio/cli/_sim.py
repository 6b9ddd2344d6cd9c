"""``ctlha sim``: many seeds and what they came to, or one seed as a timeline."""

import os
import secrets
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from time import monotonic
from types import FrameType
from typing import Final

import click

from ctlha_trio.cli._output import output_failure
from ctlha_trio.cli._run import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_SIGNALLED, EXIT_UNWRITTEN
from ctlha_trio.testing import (
    CORE_COVERING_SEEDS,
    CORE_FAULTS,
    CORE_SITUATIONS,
    DRIVER_COVERING_SEEDS,
    DRIVER_FAULTS,
    LINK_COVERING_SEEDS,
    LINK_SITUATIONS,
    LINK_TIMELINE_HEADER,
    NOT_OF_THE_PAIR,
    TIMELINE_HEADER,
    Coverage,
    Depth,
    SeedReport,
    Totals,
    map_seeds,
    run_driver_seed,
    run_link_seed,
    run_seed,
)

COVERING: Final = {
    Depth.CORES: CORE_COVERING_SEEDS,
    Depth.NODES: DRIVER_COVERING_SEEDS,
    Depth.LINKS: LINK_COVERING_SEEDS,
}
"""Seeds when nobody says how many: a minute at the most."""
AGAIN: Final = {Depth.CORES: "ctlha sim", Depth.NODES: "ctlha sim --drivers", Depth.LINKS: "ctlha sim --link"}
"""What is typed for that depth."""
FAULTS: Final = {Depth.CORES: CORE_FAULTS, Depth.NODES: DRIVER_FAULTS, Depth.LINKS: LINK_SITUATIONS}
"""That the seeds of a depth must reach."""
FRESH_BITS: Final = 32
"""Of a seed that nobody has named: short enough to be typed, and hardly ever drawn twice."""
DIGEST_SHOWN: Final = 16
"""Hexadecimal digits of the digest, of 64: enough to compare two machines by eye."""


def fresh_seed() -> int:
    """A seed that hardly anybody has run."""
    return secrets.randbits(FRESH_BITS)


def replay(seed: int, *, depth: Depth) -> int:
    """Run one seed and print each event. The exit code: 1 if it failed, 130 if an interrupt ended it early."""
    run = {Depth.CORES: run_seed, Depth.NODES: run_driver_seed, Depth.LINKS: run_link_seed}[depth]
    click.echo(LINK_TIMELINE_HEADER if depth is Depth.LINKS else TIMELINE_HEADER)
    try:
        report = run(seed, watch=lambda line: click.echo(str(line)))
    except KeyboardInterrupt:
        click.echo(f"interrupted: seed {seed} was not run to its end")
        return EXIT_INTERRUPTED
    click.echo(_line(report))
    if report.failure:
        click.echo(f"FAILED {report.problem}")
    return EXIT_FAILED if report.failure else 0


def sweep(seeds: Sequence[int], *, depth: Depth, covers: bool = False) -> int:
    """Run seeds on all processors, print a line for each and what all came to. The exit code: 1 if any failed.

    With ``covers`` also 1 if they did not lead to all that they must: cores to each transition and reason of the pair,
    whole nodes to each reason around it, both to their faults, and links to all that may happen to them. An interrupt
    or a SIGTERM ends it early, in the middle of a seed, and is told with what was run before; the exit code is 128 and
    the signal's number. Output that cannot be written ends it too.
    """
    began_s = monotonic()
    totals, coverage, failed = Totals(), Coverage(), list[SeedReport]()
    run: Callable[[int], SeedReport] = {
        Depth.CORES: run_seed,
        Depth.NODES: run_driver_seed,
        Depth.LINKS: run_link_seed,
    }[depth]
    ended_by: signal.Signals | None = None
    with _terminated_as_interrupted() as terminated:
        try:
            with closing(map_seeds(run, seeds, processes=os.cpu_count() or 1)) as reports:
                for report in reports:
                    totals, coverage = totals + report.totals, coverage | report.coverage
                    click.echo(_line(report))
                    if report.failure:
                        failed.append(report)
                        click.echo(report.failure)
                    if output_failure() is not None:
                        return EXIT_FAILED if failed else EXIT_UNWRITTEN
        except KeyboardInterrupt:
            ended_by = signal.SIGTERM if terminated.is_set() else signal.SIGINT
    if totals.seeds:
        for line in _sums(totals, monotonic() - began_s, depth=depth):
            click.echo(line)
    again = f"{AGAIN[depth]} --seed"
    told_failures = [f"FAILED {report.problem}; replay it with: {again} {report.seed}" for report in failed]
    if ended_by is not None:
        for line in told_failures:
            click.echo(line)
        click.echo(f"interrupted by {ended_by.name}: {_run_so_far(seeds, totals.seeds, len(failed))}")
        return EXIT_SIGNALLED + ended_by
    missed, others = _not_reached(coverage, depth)
    for line in (*_told_missed([*others, *missed], named=covers), *told_failures):
        click.echo(line)
    if depth is Depth.CORES:
        click.echo(f"not of cores, but of whole nodes (--drivers): reasons {', '.join(sorted(NOT_OF_THE_PAIR))}")
    if covers and missed:
        click.echo(f"FAILED the seeds do not lead everywhere: {len(missed)} not reached that {depth.value} must reach")
    click.echo(f"{totals.seeds - len(failed)} of {totals.seeds} seeds passed, {seeds[0]} to {seeds[-1]}")
    return EXIT_FAILED if failed or (covers and missed) else 0


def _told_missed(missed: Sequence[str], *, named: bool) -> Sequence[str]:
    """A line for each, or one with their number."""
    if named or not missed:
        return missed
    return [f"not reached: {len(missed)} of the transitions, reasons, situations and faults; --covers names them"]


def _not_reached(coverage: Coverage, depth: Depth) -> tuple[list[str], list[str]]:
    """A line for each that seeds of that depth must reach, and for each that is good to know of."""
    faults = [_fault_line(fault) for fault in coverage.faults_missing(FAULTS[depth])]
    of_cores, of_nodes = list(_not_reached_of_cores(coverage)), list(_not_reached_of_nodes(coverage))
    match depth:
        case Depth.CORES:
            situations = map(_situation_line, coverage.situations_missing(CORE_SITUATIONS))
            return [*of_cores, *situations, *faults], []
        case Depth.NODES:
            return [*of_nodes, *faults], of_cores
        case Depth.LINKS:
            return faults, []


def _run_so_far(seeds: Sequence[int], count: int, failed: int) -> str:
    if not count:
        return f"none of {len(seeds)} seeds was run to its end"
    run = f"{count} of {len(seeds)} seeds were run to their end, {seeds[0]} to {seeds[count - 1]}"
    return f"{run}; {count - failed} passed"


@contextmanager
def _terminated_as_interrupted() -> Iterator[threading.Event]:
    """Let a SIGTERM be what an interrupt is, of which Trio knows as well; the event is set if one came."""
    terminated = threading.Event()

    def interrupt(_: int, frame: FrameType | None) -> None:
        terminated.set()
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler):
            handler(signal.SIGINT, frame)
        else:
            # In the background of a shell that ignores interrupts for it.
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield terminated
    finally:
        signal.signal(signal.SIGTERM, before)


def _line(report: SeedReport) -> str:
    verdict = "FAILED" if report.failure else "passed"
    return f"seed {report.seed:<10} {report.digest[:DIGEST_SHOWN]} {verdict} {report.totals.events:>8} events"


def _sums(totals: Totals, took_s: float, *, depth: Depth) -> Iterator[str]:
    """One line for each thing that was counted: its name, the number, and what it is of."""
    for name, told in Totals.told(depth).items():
        yield _sum_line(name.replace("_", " "), getattr(totals, name), told)
    yield _sum_line("events a second", totals.events / took_s, "by the clock on the wall, on all processors")
    yield _sum_line("took s", took_s, "seconds that the seeds took")


def _sum_line(name: str, value: float, told: str) -> str:
    return f"{name:<22} {value:>16,.0f}  {told}"


def _not_reached_of_cores(coverage: Coverage) -> Iterator[str]:
    """What of the pair's core no seed led to; many seeds of cores reach all of it."""
    for move in coverage.moves_missing:
        yield f"not reached: {' -> '.join(move)}"
    for reason in coverage.reasons_missing:
        yield _reason_line(reason)


def _not_reached_of_nodes(coverage: Coverage) -> Iterator[str]:
    """What around the core no seed led to. Cores alone cannot."""
    return map(_reason_line, coverage.node_reasons_missing)


def _reason_line(reason: str) -> str:
    return f"not reached: reason {reason}"


def _situation_line(situation: str) -> str:
    return f"not reached: {situation}"


def _fault_line(fault: str) -> str:
    return f"not reached: fault {fault.lower().replace('_', '-')}"
