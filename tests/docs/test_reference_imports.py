"""What a page of the reference names as a class can be imported from where that page says."""

import builtins
import contextvars
import enum
import importlib
import logging
import re
import typing
from pathlib import Path
from typing import Any

import attrs
import pytest

import ctlha_trio

PAGES = sorted((Path(__file__).parents[2] / "docs/reference").glob("*.md"))
STANDARD = (builtins, contextvars, enum, logging, typing)
_CLASS = r"(?:[a-z_]\w*\.)*[A-Z][a-z]\w*"


def modules_of(page: str) -> list[str]:
    """Those in the sentence that says where names of the page are."""
    (sentence,) = re.findall(r"^Import [^.]*? from `ctlha_trio(?:[^.]|\.\w)*\.", page, re.MULTILINE)
    return re.findall(r"`(ctlha_trio[.\w]*)`", sentence)


def classes_of(page: str) -> list[str]:
    """Names in the way of classes: alone between backticks, or where a signature has ``class`` before them."""
    blocks = re.findall(r"^```text$(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    signatures = re.findall(rf"^class ({_CLASS})", "\n".join(blocks), re.MULTILINE)
    return sorted({*re.findall(rf"`({_CLASS})`", page), *signatures})


NAMED = [pytest.param(path, name, id=f"{path.stem}-{name}") for path in PAGES for name in classes_of(path.read_text())]


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_class_is_where_the_page_says(path: Path, name: str) -> None:
    module, _, bare = name.rpartition(".")
    if module:
        assert hasattr(importlib.import_module(module), bare)
    elif not any(hasattr(each, bare) for each in STANDARD):
        assert any(hasattr(importlib.import_module(each), bare) for each in modules_of(path.read_text()))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_says_where_its_names_are(path: Path) -> None:
    page = path.read_text()
    for module in modules_of(page):
        importlib.import_module(module)
    for module, names in re.findall(r"^from (ctlha_trio[.\w]*) import (\w.*)$", page, re.MULTILINE):
        assert [name for name in names.split(", ") if not hasattr(importlib.import_module(module), name)] == []


def types_in(annotation: Any) -> set[type]:
    """Of the package, in an annotation."""
    inner = {each for argument in typing.get_args(annotation) for each in types_in(argument)}
    ours = isinstance(annotation, type) and annotation.__module__.startswith("ctlha_trio.")
    return {annotation, *inner} if ours else inner


def fields_of(named: type) -> set[type]:
    """Of what a program looks at; of what has an identity it only calls methods, and of a Record the pages name all."""
    if named is ctlha_trio.Record or not attrs.has(named) or "frozen" not in getattr(named.__setattr__, "__name__", ""):
        return set()
    hints = typing.get_type_hints(named)
    return {each for name, hint in hints.items() if not name.startswith("_") for each in types_in(hint)}


def what_a_program_gets() -> set[Any]:
    """Of what members of a node return that its page names, and of all that these have as fields."""
    page = next(path for path in PAGES if path.stem == "node").read_text()
    named = set(re.findall(r"^\| `(?:await )?(\w+)[`(]|, `(?:await )?(\w+)\(", page, re.MULTILINE))
    members = [getattr(ctlha_trio.Node, name) for pair in named for name in pair if hasattr(ctlha_trio.Node, name)]
    hints = (typing.get_type_hints(member) for member in members if callable(member))
    found, new = set[Any](), {each for hint in hints for each in types_in(hint.get("return"))}
    while new:
        found |= new
        new = {each for named in new for each in fields_of(named)} - found
    return found


@pytest.mark.parametrize("named", sorted(what_a_program_gets(), key=str))
def test_a_program_can_name_what_a_node_gives_it(named: type) -> None:
    assert getattr(ctlha_trio, named.__name__, None) is named
