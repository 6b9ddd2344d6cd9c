"""The first seed in which each mutant of the core is found: ``python -m tests.bench.mutant_seeds``, on all processors.

It searches from the first seed on, prints a row of the documentation's table for each, and writes
``tests/mutants/first_seeds.toml``, which the tests try before they search. To be run when the digests of
``tests/sim/test_core_digest.py`` have changed: else the tests search, and take minutes longer. Exit code 1 if a mutant
survives, or is found by a check that is not its own.
"""

import argparse
import os
import sys

from ctlha_trio.testing._seed_processes import map_seeds
from tests.mutants.death import Death
from tests.mutants.found_by import IN_THE_PAIR, check_of
from tests.mutants.pair_mutants import MUTANTS
from tests.mutants.search import FIRST_SEEDS_FILE, SEEDS, first_failure

NAMES = sorted(MUTANTS)


def search(number: int) -> Death:
    """Search for the mutant that has this number."""
    return first_failure(*MUTANTS[NAMES[number]], SEEDS)


def main(arguments: list[str]) -> int:
    """Search, print and write."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.mutant_seeds",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(arguments)
    first: list[str] = []
    for name, death in zip(NAMES, map_seeds(search, range(len(NAMES)), processes=os.cpu_count() or 1), strict=True):
        check, own = check_of(death.problem), IN_THE_PAIR[name]
        row = name.replace("_", " "), death.tried, f"{death.took_s:.1f}", check or "survived", "; ".join(sorted(own))
        print("|", " | ".join(map(str, row)), "|", flush=True)  # noqa: T201 (its output)
        if check in own:
            first.append(f"{name} = {death.seed}\n")
    FIRST_SEEDS_FILE.write_text("".join(first), encoding="utf-8")
    return len(first) < len(NAMES)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
