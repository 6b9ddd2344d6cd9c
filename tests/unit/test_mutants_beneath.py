"""Each rule beneath the pair is held by a test, which fails at the line that says so once the rule is taken out."""

import inspect
from collections.abc import Iterator, Mapping
from functools import partial
from importlib import import_module
from time import perf_counter
from traceback import extract_tb
from typing import Any, Final

import pytest
import trio
import trio.testing

from tests.mutants import adoption, cancellation, components, consumers, dma, link, strangers, wire
from tests.mutants.beneath import MUTANTS, Beneath
from tests.mutants.death import Death

SUBJECTS: Final = adoption, cancellation, components, consumers, dma, link, strangers, wire
"""The modules that enter them."""
FAILURES: Final = AssertionError, trio.TooSlowError, pytest.fail.Exception
"""What a test fails by. Anything else is a mutant that is written wrongly."""


def leaves(failure: BaseException) -> Iterator[BaseException]:
    if isinstance(failure, BaseExceptionGroup):
        for each in failure.exceptions:
            yield from leaves(each)
    else:
        yield failure


def fill(test: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """All that the test takes: of each of its tables, the first row that agrees with what is given."""
    arguments: dict[str, Any] = {}
    for mark in getattr(test, "pytestmark", ()):
        if mark.name == "parametrize":
            names, rows = mark.args
            names = (names,) if isinstance(names, str) else names
            table = [dict(zip(names, row if len(names) > 1 else (row,), strict=True)) for row in rows]
            arguments |= next(row for row in table if all(row[name] == given[name] for name in given if name in row))
    assert arguments.keys() >= given.keys()
    return arguments


def run(mutant: Beneath) -> None:
    """The test, under a virtual clock of its own."""
    test = getattr(import_module(f"tests.unit.{mutant.file.replace('/', '.')}"), mutant.test)
    arguments = fill(test, mutant.arguments)
    if not inspect.iscoroutinefunction(test):
        test(**arguments)
        return
    clock = trio.testing.MockClock(autojump_threshold=0)
    if "autojump_clock" in inspect.signature(test).parameters:
        arguments["autojump_clock"] = clock
    if "nursery" in inspect.signature(test).parameters:
        test = partial(in_a_nursery, test)
    trio.run(partial(test, **arguments), clock=clock)


async def in_a_nursery(test: Any, **arguments: Any) -> None:
    """With one that is cancelled at the end, as tests are given it."""
    async with trio.open_nursery() as nursery:
        await test(nursery=nursery, **arguments)
        nursery.cancel_scope.cancel()


def failed_line(mutant: Beneath) -> str:
    """The line of the test that did not hold, empty if all did."""
    try:
        run(mutant)
    except BaseException as failure:
        for each in leaves(failure):
            if isinstance(each, FAILURES):
                lines = [found.line for found in extract_tb(each.__traceback__) if found.name == mutant.test]
                if lines:
                    return (lines[-1] or "").strip()
        raise
    return ""


@pytest.mark.parametrize("name", MUTANTS)
def test_a_rule_that_is_missing_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = MUTANTS[name]
    mutant.plant(monkeypatch)
    began_s = perf_counter()
    line = failed_line(mutant)
    print(f"{name}: {Death(line, 1, perf_counter() - began_s, 'test')}")  # noqa: T201 (shown by pytest -rP)
    assert line.startswith(mutant.line)
