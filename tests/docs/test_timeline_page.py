"""The page on the words of a timeline explains every one that the code can print, and none that it cannot."""

import inspect
import re
from enum import Enum
from pathlib import Path
from types import ModuleType

import attrs
import pytest

from ctlha_trio.pair import OperationKind, Outcome, Setback, SwapOutcome, actions, events, messages
from ctlha_trio.testing._core.faults import FAULTS
from ctlha_trio.testing._core.trials import TRIALS
from ctlha_trio.testing._core.words import _UNTOLD

PAGE = (Path(__file__).parents[2] / "docs/explain/timeline.md").read_text()


def explained(head: str) -> list[str]:
    """First cells of the table that begins so."""
    table = PAGE.partition(f"\n| {head} | means |\n|---|---|\n")[2].partition("\n\n")[0]
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
