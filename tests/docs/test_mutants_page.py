"""The page of mutants names none that is not there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/explain/mutants.md").read_text()
FILES = {name: (ROOT / name).read_text() for name in re.findall(r"`(tests/\S+\.py)`", PAGE)}
ENTERED = r"^(?:@of_(?:store|pair)\(.*\)\ndef |of_pair\(.*\)\(\w+\)$)"
"""Defined where it is entered, or entered under the name that it has elsewhere."""


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([a-z]\w+_\w+)`", PAGE))))
def test_every_mutant_that_the_page_names_exists(name: str) -> None:
    assert any(f"def {name}(" in text for text in FILES.values())


def test_the_page_counts_the_mutants_of_the_enumeration() -> None:
    (count,) = re.findall(r"test_enumeration_mutants.py` \| (\d+) ", PAGE)
    found = re.findall(ENTERED, FILES["tests/power/test_enumeration_mutants.py"], re.MULTILINE)
    assert len(found) == int(count)
