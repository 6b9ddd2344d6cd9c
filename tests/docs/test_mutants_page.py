"""The page of mutants names none that is not there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/explain/mutants.md").read_text()
FILES = {
    str(path.relative_to(ROOT)): path.read_text()
    for name in re.findall(r"`(tests/\S+\.py)`", PAGE)
    for path in ROOT.glob(name)
}
ENTERED = r"^(?:@of_(?:store|pair)\(.*\)\ndef |of_pair\(.*\)\(\w+\)$)"
"""Defined where it is entered, or entered under the name that it has elsewhere."""


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([a-z]\w+_\w+)`", PAGE))))
def test_every_mutant_that_the_page_names_exists(name: str) -> None:
    assert any(f"def {name}(" in text for text in FILES.values())


def test_the_page_counts_the_mutants_of_the_core() -> None:
    (count,) = re.findall(r"by `tests/sim/test_core_mutants.py` \| (\d+) ", PAGE)
    entered = "\n".join(text for name, text in FILES.items() if name.startswith("tests/mutants/"))
    assert len(re.findall(r"^@mutant\(", entered, re.MULTILINE)) == int(count)


def test_the_page_counts_the_mutants_of_the_enumeration() -> None:
    (count,) = re.findall(r"test_enumeration_mutants.py` \| (\d+) ", PAGE)
    found = re.findall(ENTERED, FILES["tests/power/test_enumeration_mutants.py"], re.MULTILINE)
    assert len(found) == int(count)
