"""Bugs put into the link, each of which the runs of links must find: what they check, they can see."""

import re
from operator import attrgetter
from time import perf_counter

import pytest

from ctlha_trio.testing._link.runs import run_link_seed
from tests.mutants.death import Death
from tests.mutants.in_links import BUGS
from tests.mutants.link_seeds import SEEDS_MAX, LinkBug


@pytest.mark.parametrize("bug", BUGS, ids=attrgetter("name"))
def test_a_planted_bug_is_found(bug: LinkBug) -> None:
    began_s, failure, seeds = perf_counter(), "", 0
    for seed in bug.seeds():
        seeds += 1
        with pytest.MonkeyPatch.context() as patch:
            bug.plant(patch)
            failure = run_link_seed(seed).failure
        if failure:
            break
    death = Death(failure.partition("\n")[0], seeds, perf_counter() - began_s, f"seeds from {bug.first_seed}")
    print(f"{bug.name}: {death}")  # noqa: T201 (shown by pytest -rP)
    assert re.match(bug.found, failure), failure or f"{SEEDS_MAX} seeds did not find it"
