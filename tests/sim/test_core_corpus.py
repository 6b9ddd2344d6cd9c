"""Bugs that seeds found: each is kept by a mutant or a test that brings it back, and its seed does not fail again."""

import tomllib
from collections.abc import Collection
from pathlib import Path

import pytest

from ctlha_trio.testing._core.runs import run_seed
from ctlha_trio.testing._link.runs import run_link_seed
from tests.mutants.drivers import BUGS
from tests.mutants.in_links import BUGS as LINK_BUGS
from tests.mutants.pair_mutants import MUTANTS

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "corpus"
CORE, DRIVERS, LINKS = (
    tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))["seed"]
    for name in ("core", "drivers", "links")
)
PLANTED = {bug.name for bug in BUGS}
PLANTED_IN_LINKS = {bug.name for bug in LINK_BUGS}


@pytest.mark.parametrize("entry", CORE, ids=lambda entry: str(entry["seed"]))
def test_a_seed_that_once_failed(entry: dict[str, object]) -> None:
    seed = entry["seed"]
    assert isinstance(seed, int)
    assert run_seed(seed).failure == "", entry["found"]


@pytest.mark.parametrize("entry", LINKS, ids=lambda entry: str(entry["seed"]))
def test_a_seed_of_the_link_that_once_failed(entry: dict[str, object]) -> None:
    seed = entry["seed"]
    assert isinstance(seed, int)
    assert run_link_seed(seed).failure == "", entry["found"]


def missing(entry: dict[str, list[str]], mutants: Collection[str]) -> list[str]:
    """Guards that an entry names and that do not exist; what it found, if it names none."""
    gone = [name for name in entry["mutants"] if name not in mutants]
    for name in entry["tests"]:
        path, _, function = name.partition("::")
        if not (ROOT / path).is_file() or f"def {function}(" not in (ROOT / path).read_text(encoding="utf-8"):
            gone.append(name)
    return gone if entry["mutants"] or entry["tests"] else [str(entry["found"])]


def test_every_bug_is_kept_by_what_brings_it_back() -> None:
    assert [gone for entry in CORE for gone in missing(entry, MUTANTS)] == []
    assert [gone for entry in DRIVERS for gone in missing(entry, PLANTED)] == []
    assert [gone for entry in LINKS for gone in missing(entry, PLANTED_IN_LINKS)] == []
    entries = [*CORE, *DRIVERS, *LINKS]
    assert len({entry["found"] for entry in entries}) == len(entries), "told twice"


def test_a_guard_that_is_gone_is_missed() -> None:
    here = "tests/sim/test_core_corpus.py::test_a_guard_that_is_gone_is_missed"
    entry = {"mutants": ["no_mutant"], "tests": [here, "tests/sim/test_core_corpus.py::test_nothing", "tests/no.py::t"]}
    assert missing(entry, MUTANTS) == [entry["mutants"][0], *entry["tests"][1:]]
    assert missing({"mutants": [], "tests": [], "found": ["nobody keeps it"]}, MUTANTS) == ["['nobody keeps it']"]
