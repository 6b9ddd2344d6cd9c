"""The page on components names all that one needs that runs on one node at a time, with the times that the code has."""

import re
from pathlib import Path

import attrs
import pytest

import ctlha_trio
from ctlha_trio import Reason, Released, TakeOverComponent
from ctlha_trio.ha._component_faults import FIRST_RETRY_S, RETRY_MAX_S
from ctlha_trio.ha._left_steps import HEED_S
from ctlha_trio.ha._supervisor import STEP_LIMIT_S

PAGE = (Path(__file__).parents[2] / "docs/reference/components.md").read_text()
CODE = " ".join(re.findall(r"^```text$.*?^```$|`[^`\n]+`", PAGE, re.MULTILINE | re.DOTALL))
EXPORTED = ["TakeOverComponent", "may_start_t", "released_t", "StartAnswer", "Yes", "NotYet", "NeedsFence", "Released"]
OF_COMPONENT = [field.name for field in attrs.fields(TakeOverComponent)]
OF_ANSWERS = ["estimate_s", "reason", *(answer.name for answer in Released)]
REASONS = [
    each.value for each in Reason if each.name.startswith("COMPONENT_") and each is not Reason.COMPONENT_STARTING
]


@pytest.mark.parametrize("name", [*EXPORTED, *OF_COMPONENT, *OF_ANSWERS])
def test_the_page_names_it(name: str) -> None:
    assert re.search(rf"\b{name}\b", CODE)


@pytest.mark.parametrize("name", EXPORTED)
def test_a_program_imports_it_from_the_package(name: str) -> None:
    assert hasattr(ctlha_trio, name)


@pytest.mark.parametrize("reason", REASONS)
def test_the_page_names_what_a_node_says_of_a_component(reason: str) -> None:
    assert f"`{reason}`" in PAGE


def test_the_times_are_those_of_the_code() -> None:
    pauses = f"after {FIRST_RETRY_S:g} s, then twice as long each time, {RETRY_MAX_S:g} s at most"
    assert PAGE.count(pauses) == 2
    assert (STEP_LIMIT_S, HEED_S) == (10.0, 1.0), "the page says: ten seconds, and a second after its time"
    assert "Each has ten seconds" in PAGE
    assert "left to itself a second after its time" in PAGE
