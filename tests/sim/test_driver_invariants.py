"""Each check of whole nodes finds what it is there for: planted in a pair that is whole, in virtual time.

There is a plant for every place from which a run says that something is wrong. What nobody has seen fail shows nothing.
"""

import ast
import re
import sys
from functools import cache
from pathlib import Path

import pytest

from ctlha_trio.testing import _drivers as drivers
from ctlha_trio.testing._drivers.run import DriverRun
from ctlha_trio.testing._drivers.runs import _silence
from ctlha_trio.testing._pairs.deterministic_trio import run_from_seed
from tests.mutants.violations import PLANTS
from tests.mutants.whole_pair import serve

Site = tuple[str, int]
"""File and line."""


@cache
def look(name: str) -> tuple[list[str], frozenset[Site]]:
    """What is said of that plant, and from where."""
    said_at: set[Site] = set()
    problem = DriverRun.problem

    def note(run: DriverRun, text: str) -> None:
        frame = sys._getframe(1)
        said_at.add((Path(frame.f_code.co_filename).name, frame.f_lineno))
        problem(run, text)

    with pytest.MonkeyPatch.context() as patch, _silence():
        patch.setattr(DriverRun, "problem", note)
        run = run_from_seed(1, serve, PLANTS[name][0], patch)
    return run.problems, frozenset(said_at)


def test_nothing_is_said_of_a_pair_that_is_whole() -> None:
    async def plant_nothing(run: DriverRun, _: pytest.MonkeyPatch) -> None:
        await run.demands.service(run.pair.record.primary)
        await run._write_in_calm()
        await run._read_all()
        run.checks.check_verdicts()
        run.checks.check_programs(run.programs)

    with pytest.MonkeyPatch.context() as patch, _silence():
        assert run_from_seed(1, serve, plant_nothing, patch).problems == []


@pytest.mark.parametrize("name", PLANTS)
def test_what_is_planted_is_found(name: str) -> None:
    problems, _ = look(name)
    assert problems
    assert re.match(PLANTS[name][1], problems[0])


def test_every_check_has_a_plant() -> None:
    """A problem is said at these places in the code of the runs, and nowhere else."""
    checks: set[Site] = set()
    for file in Path(drivers.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "problem":
                checks.add((file.name, node.lineno))
    found = set[Site]().union(*(look(name)[1] for name in PLANTS))
    assert found == checks
