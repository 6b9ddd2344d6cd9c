"""The page on a node in a program has every setting of a configuration, as the parser knows it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import attrs
import pytest

from ctlha_trio.cli._config import Configuration

PAGE = (Path(__file__).parents[2] / "docs/reference/node.md").read_text()
SECTION = PAGE.partition("\n## `node.toml`\n")[2].partition("\n## ")[0]


def settings_of(kind: Any, table: str = "") -> Iterator[tuple[str, object]]:
    """Each with its default."""
    for field in attrs.fields(attrs.resolve_types(kind)):
        kinds = [each for each in get_args(field.type) or [field.type] if attrs.has(each)]
        for each in kinds:
            yield from settings_of(each, f"{table}{field.name}.")
        if not kinds:
            yield f"{table}{field.name}", field.default


def rows() -> Iterator[tuple[str, str]]:
    """Each setting with what the column of defaults says."""
    for names, default in re.findall(r"^\| (`.*?) \|.*\|(.*)\|$", SECTION, re.MULTILINE):
        for name in re.findall(r"`([\w.]+)`", names):
            yield name, default.strip().strip("`").replace(",", "")


KNOWN = dict(settings_of(Configuration))


def test_the_tables_have_every_setting_and_no_other() -> None:
    said = [name for name, _ in rows()]
    assert len(said) == len(set(said))
    assert set(said) == KNOWN.keys()


@pytest.mark.parametrize(("name", "default"), list(KNOWN.items()))
def test_a_default_is_the_one_of_the_parser(name: str, default: object) -> None:
    said = dict(rows())[name]
    if default is attrs.NOTHING:
        assert said.startswith("needed")
    else:
        assert said == ("" if default is None else str(default))
