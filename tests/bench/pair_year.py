"""What a simulated year of an ordinary pair costs: ``python tests/bench/pair_year.py [DAYS]``, or ``--whole`` of them.

Both nodes' cores, an operation each ten seconds and a bad month each month, as ``ORDINARY_LIFE`` says; while only looks
at an unchanged record could happen, time is jumped over. One process, so that its processor time is what a core needs.
Of some days (8 by default, about a minute) the year is an extrapolation, and said to be one. Exit code 1 if a promise
was broken.
"""

import argparse
import sys
from time import process_time

from ctlha_trio.testing._core.runs import DAY_S, YEAR_S, SeedReport, run_ordinary_life

DAYS = 8
YEAR_DAYS = round(YEAR_S / DAY_S)


def told(report: SeedReport, days: int, took_s: float) -> str:
    """What it took, and what that makes a year."""
    totals = report.totals
    hours = took_s * YEAR_DAYS / days / 3600
    year = "the year took" if days == YEAR_DAYS else f"extrapolated from {days} days: a year takes"
    return "\n".join(
        (
            f"{days} simulated days, {totals.idle_s / totals.simulated_s:.1%} of them idle and jumped over",
            f"{totals.events:,} events, {totals.operations:,} operations, {totals.crashes} crashes, "
            f"{totals.failovers} failovers, {totals.handovers} handovers, {totals.resyncs} resyncs",
            f"{took_s:.1f} s of one core, {totals.events / took_s:,.0f} events a second",
            f"{year} {hours:.2f} core-hours",
        )
    )


def main(arguments: list[str]) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(
        prog="python tests/bench/pair_year.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "days", metavar="DAYS", type=int, nargs="?", default=DAYS, help="simulated days; default: %(default)s"
    )
    parser.add_argument("--whole", action="store_true", help="all of the year, and no extrapolation; default: not")
    parser.add_argument("--seed", type=int, default=1, help="number that the run is drawn from; default: %(default)s")
    given = parser.parse_args(arguments)
    days = YEAR_DAYS if given.whole else given.days
    began_s = process_time()
    report = run_ordinary_life(given.seed, days * DAY_S)
    print(told(report, days, process_time() - began_s), report.problem, sep="\n")  # noqa: T201 (its output)
    return bool(report.problem)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
