"""The first seed that finds each bug planted in the drivers: ``python -m tests.bench.driver_bug_seeds [NAME ...]``.

It searches from the first seed on, on all processors, and prints a row for each bug: how many seeds it took, how many
seconds, the seed, and what that said. Where a row is marked, the bug's ``first_seed`` in the tests is another one, for
some a later one that takes less time: the tests begin there and go on from it, which takes minutes if it finds the bug
no more. A seed that fails otherwise than the bug must is passed over, and counted. Exit code 1 if a bug is not found.
"""

import argparse
import os
import re
import sys
from functools import partial
from time import perf_counter

import attrs
import pytest

from ctlha_trio.testing._drivers.runs import run_driver_seed
from ctlha_trio.testing._seed_processes import map_seeds
from tests.mutants.drivers import BUGS


@attrs.frozen
class Row:
    """How a bug was found."""

    name: str
    noted: int
    """The seed that the tests begin with."""
    seed: int | None = None
    seeds: int = 0
    otherwise: int = 0
    """Of these, seeds that failed in another way."""
    took_s: float = 0.0
    said: str = ""

    def __str__(self) -> str:
        mark = " " if self.seed == self.noted else "!"
        seeds = f"{self.seeds} seeds ({self.otherwise} otherwise)"
        return f"{mark} {self.name}: {seeds}, {self.took_s:.1f} s: first_seed={self.seed}: {self.said or 'not found'}"


def search(number: int, names: list[str]) -> Row:
    """Search for one of the bugs of these names."""
    bug = next(bug for bug in BUGS if bug.name == names[number])
    row, began_s = Row(names[number], bug.first_seed), perf_counter()
    with pytest.MonkeyPatch.context() as patch:
        bug.plant_in(patch)
        for report in map(run_driver_seed, attrs.evolve(bug, first_seed=1000).seeds()):
            own = bool(re.match(bug.found, report.failure))
            other = row.otherwise + (bool(report.failure) and not own)
            row = attrs.evolve(row, seeds=row.seeds + 1, otherwise=other, took_s=perf_counter() - began_s)
            if own:
                return attrs.evolve(row, seed=report.seed, said=report.problem)
    return row


def main(arguments: list[str]) -> int:
    """Search and print."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.driver_bug_seeds",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="a bug; default: all of them")
    names: list[str] = parser.parse_args(arguments).names or [bug.name for bug in BUGS]
    found = 0
    for row in map_seeds(partial(search, names=names), range(len(names)), processes=os.cpu_count() or 1):
        print(row, flush=True)  # noqa: T201 (its output)
        found += row.seed is not None
    return found < len(names)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
