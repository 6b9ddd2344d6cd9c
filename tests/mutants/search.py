"""The search over seeds for one in which the simulated pair notices a mutant, and what was found when it last ran."""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter
from typing import Final

from tests.mutants.death import Death
from tests.mutants.trouble import Patch, Plant, Trouble

SEEDS: Final = range(400)
"""Whatever changes the world draws all seeds anew: this leaves room for the slowest, which took 261. Nearly all die
within twenty."""
STEPS: Final = 900

FIRST_SEEDS_FILE: Final = Path(__file__).with_name("first_seeds.toml")
FIRST_SEEDS: Final[dict[str, int]] = tomllib.loads(FIRST_SEEDS_FILE.read_text(encoding="utf-8"))
"""By mutant. The tests try these before they search: the first of two hundred seeds spares the others, until the world
changes. ``python -m tests.bench.mutant_seeds`` searches and writes them anew.
"""


def first_failure(plant: Plant, trouble: Trouble, seeds: Iterable[int]) -> Death:
    """Run the seeds until one fails. The mutant is planted anew for each: some remember what they did."""
    started_s = perf_counter()
    problem, seed, count = "", 0, 0
    for count, seed in enumerate(seeds, 1):  # noqa: B007 (told of the last one)
        with Patch.context() as patch:
            plant(patch)
            problem = _problem(trouble, seed)
        if problem:
            break
    return Death(problem, count, perf_counter() - started_s, seed=seed)


def _problem(trouble: Trouble, seed: int) -> str:
    try:
        trouble.play(trouble.world(seed), STEPS)
    except AssertionError as error:
        return str(error).splitlines()[0]
    except Exception as error:
        # An order that cannot be carried out is a death too.
        return f"seed {seed}: {error!r}"
    return ""
