"""Where mutants of what no simulated pair comes to are entered: each names the test that must fail, and the line of it.

``tests/unit/test_mutants_beneath.py`` runs these tests once more, each with its mutant.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import attrs

from tests.mutants.trouble import Plant


@attrs.frozen
class Beneath:
    """A mutant and what must find it."""

    plant: Plant
    bug: int
    """Of the project's list of classic bugs; 0 for one that is not among them."""
    file: str
    """Of ``tests/unit``."""
    test: str
    line: str
    """What the line of the test begins with that must not hold."""
    arguments: Mapping[str, Any]
    """Of a test that has parameters: their names and values, or the one that the test has under this id."""

    @property
    def name(self) -> str:
        return self.plant.__name__

    @property
    def found_by(self) -> str:
        """In words."""
        return self.test.removeprefix("test_").replace("_", " ")


MUTANTS: Final[dict[str, Beneath]] = {}


def mutant(bug: int, where: str, line: str, **arguments: Any) -> Callable[[Plant], Plant]:
    """``where``: the file, without its ending, and the test."""
    file, _, test = where.partition("::")

    def enter(plant: Plant) -> Plant:
        assert re.fullmatch(r"test_\w+", test), where
        MUTANTS[plant.__name__] = Beneath(plant, bug, file, test, line, MappingProxyType(arguments))
        return plant

    return enter
