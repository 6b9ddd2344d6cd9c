"""The page on the data socket names everything that a client uses, with the bounds that the code has."""

import re
from pathlib import Path

import attrs
import pytest

from ctlha_trio.door import MAX_IN_FLIGHT, MAX_REQUEST_BYTES, DoorClient, Outcome, Reply
from ctlha_trio.door._data import HOLD_S
from ctlha_trio.door._ledger import KEPT_OUTCOMES
from ctlha_trio.door._protocol import _KINDS, MAX_IN_FLIGHT_BYTES
from ctlha_trio.ha import COMPARE_BYTES_MAX, ZEROES_BYTES_MAX
from ctlha_trio.pair import OperationKind

PAGE = (Path(__file__).parents[2] / "docs/reference/door.md").read_text()
CODE = " ".join(re.findall(r"`[^`\n]+`", PAGE))
OF_CLIENT = [name for name in dir(DoorClient) if name[0] != "_"]
OF_REPLY = [field.name for field in attrs.fields(Reply)] + ["miscompare_at"]
KINDS = [kind.name for kind in _KINDS.values() if isinstance(kind, OperationKind)]
OUTCOMES = [outcome.name for outcome in Outcome]


@pytest.mark.parametrize("name", [*OF_CLIENT, *OF_REPLY, *KINDS, *OUTCOMES])
def test_the_page_names_it(name: str) -> None:
    assert re.search(rf"\b{name}\b", CODE)


def test_every_kind_has_its_row() -> None:
    rows = re.findall(r"^\| ((?:`[A-Z_]+`(?:, )?)+) \|", PAGE, re.MULTILINE)
    assert sorted(re.findall(r"[A-Z_]+", " ".join(rows))) == sorted(KINDS + OUTCOMES)


@pytest.mark.parametrize(
    ("start", "bytes_max"),
    [
        ("`READ` ", MAX_REQUEST_BYTES),
        ("`WRITE` ", MAX_REQUEST_BYTES),
        ("`WRITE_ZEROES`", ZEROES_BYTES_MAX),
        ("`COMPARE_AND_WRITE`", COMPARE_BYTES_MAX),
    ],
)
def test_the_bounds_are_those_of_the_code(start: str, bytes_max: int) -> None:
    (bound,) = re.findall(rf"^\| {start}.* \| (\d+ [KM]iB) \|$", PAGE, re.MULTILINE)
    number, unit = bound.split()
    assert int(number) * {"KiB": 1024, "MiB": 1024 * 1024}[unit] == bytes_max


def test_the_figures_are_those_of_the_code() -> None:
    assert f"up to {MAX_IN_FLIGHT} and {MAX_IN_FLIGHT_BYTES >> 20} MiB of data a connection" in PAGE
    assert f"`BusyError`: {MAX_IN_FLIGHT} operations" in PAGE
    assert f"within {HOLD_S:g} s" in PAGE
    assert f"the last {KEPT_OUTCOMES:,} of a client" in PAGE
