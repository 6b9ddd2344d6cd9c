"""Every name of ``ctlha_trio.testing`` is on its page, and so is what a user sees of a pair."""

import ast
import inspect
import re
from pathlib import Path

import attrs
import pytest

from ctlha_trio import testing
from ctlha_trio.testing import MemoryPair

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "reference/testing.md").read_text()
OF_PAIRS = PAGE + (DOCS / "testing.md").read_text()
EXPORTED = sorted(
    str(alias.asname)
    for node in ast.parse(inspect.getsource(testing)).body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
)
OF_MEMORY_PAIR = sorted(
    name for name in {*dir(MemoryPair), *(field.name for field in attrs.fields(MemoryPair))} if name[0] != "_"
)


def is_named(name: str, page: str) -> bool:
    return any(re.search(rf"\b{name}\b", code) for code in re.findall(r"`[^`\n]+`|^    .*$", page, re.MULTILINE))


@pytest.mark.parametrize("name", EXPORTED)
def test_every_exported_name_is_on_the_page(name: str) -> None:
    assert hasattr(testing, name)
    assert is_named(name, PAGE)


@pytest.mark.parametrize("name", OF_MEMORY_PAIR)
def test_everything_that_a_pair_has_is_on_one_of_two_pages(name: str) -> None:
    assert is_named(name, OF_PAIRS)
