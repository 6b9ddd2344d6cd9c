"""The page on the words of a timeline explains every one that the code can print, and none that it cannot."""

import ast
import inspect
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import ModuleType

import attrs
import pytest

from ctlha_trio.pair import Copy, OperationKind, Outcome, Setback, SwapOutcome, actions, events, messages
from ctlha_trio.testing._core.faults import FAULTS
from ctlha_trio.testing._core.trials import TRIALS
from ctlha_trio.testing._core.words import _UNTOLD
from ctlha_trio.testing._drivers.atlas import Fault

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/explain/timeline.md").read_text()


def explained(head: str) -> list[str]:
    """First cells of the table that begins so."""
    table = PAGE.partition(f"\n| {head} | means |\n|---|---|\n")[2].partition("\n\n")[0].rstrip("\n")
    rows = re.findall(r"^\| `([^`]+)` \| \S.* \|$", table, re.MULTILINE)
    assert len(rows) == len(table.splitlines())
    return rows


def classes(module: ModuleType) -> list[type]:
    return [each for each in vars(module).values() if attrs.has(each) and each.__module__ == module.__name__]


MODULES = {"event": events, "order": actions, "message": messages}
ENUMS: dict[str, type[Enum]] = {
    "timer": events.Timer,
    "the session was lost": events.Loss,
    "a swap": SwapOutcome,
    "a handover that was given up": Setback,
    "an operation": Outcome,
}


@pytest.mark.parametrize("head", MODULES)
def test_every_event_order_and_message_is_explained(head: str) -> None:
    assert sorted(explained(head)) == sorted(each.__name__ for each in classes(MODULES[head]))


def test_every_field_is_explained_but_those_that_are_not_told() -> None:
    fields = {field.name for module in MODULES.values() for each in classes(module) for field in attrs.fields(each)}
    assert set(explained("field")) == fields - _UNTOLD - {"offset"}
    assert all(f"`{name}`" in PAGE for name in _UNTOLD | {"offset"})


@pytest.mark.parametrize("head", ENUMS)
def test_every_word_in_capitals_is_explained(head: str) -> None:
    assert sorted(explained(head)) == sorted(each.name for each in ENUMS[head])


def test_every_kind_of_operation_is_explained() -> None:
    assert [kind.name for kind in OperationKind if f"`{kind.name}`" not in PAGE] == []


def test_every_enum_of_the_events_and_orders_is_among_these() -> None:
    found = {each for module in MODULES.values() for each in vars(module).values() if inspect.isclass(each)}
    enums = {each.__name__ for each in found if issubclass(each, Enum)} - {"Enum"}
    assert enums <= {each.__name__ for each in ENUMS.values()} | {"OperationKind", "Phase"}


def test_every_fault_and_trial_is_explained() -> None:
    assert sorted(explained("fault")) == sorted(FAULTS)
    assert sorted(explained("trial")) == sorted(trial.__name__ for trial in TRIALS)


def test_what_a_disk_says_of_its_copy_is_explained() -> None:
    assert sorted(explained("a copy")) == sorted(copy.value for copy in Copy)


def test_every_fault_of_whole_nodes_is_explained_in_the_words_of_its_line() -> None:
    table = PAGE.partition("\n| a fault of whole nodes | means |\n|---|---|\n")[2].partition("\n\n")[0]
    assert table.splitlines() == [f"| `{each.name.lower().replace('_', '-')}` | {each.value} |" for each in Fault]


NOTED = {
    "note": (1, "{}"),
    "take_down": (1, "{}"),
    "fail_disk": (1, "{}"),
    "count_partition": (1, "{}"),
    "_note_end": (1, "{}"),
    "_displaced": (1, "the arbiter {}"),
    "block": (2, "{} from … to … for … s"),
}
"""Calls that end in a line: which of their arguments it is, and what stands around that in the line."""


def texts(node: ast.expr) -> Iterator[str]:
    """Each text that an expression can be, with ``…`` for what is filled in; none if nothing in it is fixed."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr():
            yield "".join(str(each.value) if isinstance(each, ast.Constant) else "…" for each in node.values)
        case ast.IfExp():
            yield from (*texts(node.body), *texts(node.orelse))
        case ast.BinOp():
            yield from (left + right for left in texts(node.left) for right in texts(node.right))


def lines_of(folder: str) -> set[str]:
    """Of what befalls the world at one depth, as the sources write them."""
    found = set()
    for path in (ROOT / "ctlha_trio/testing" / folder).glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute | ast.Name):
                continue
            name = call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id
            place, around = NOTED.get(name, (len(call.args), ""))
            if place < len(call.args):
                found |= {around.format(text) for text in texts(call.args[place])}
    return {text for text in found if re.search(r"\w", text)}


@pytest.mark.parametrize(("folder", "head"), [("_core", "around cores"), ("_drivers", "around whole nodes")])
def test_every_line_of_what_befalls_the_world_is_explained(folder: str, head: str) -> None:
    assert sorted(explained(head)) == sorted(lines_of(folder) - {"the arbiter …", "… … for … s"})
