import json
from typing import Any

import pytest

from ctlha_trio._errors import ArbiterError, InvalidError
from ctlha_trio.arbiter import decode_record, encode_record
from ctlha_trio.arbiter._codec import NUMBER_MAX, RECORD_CHARACTERS_MAX
from ctlha_trio.pair import Kind
from ctlha_trio.testing._suites.arbiter_suite import sample_record


def text_with(**changes: Any) -> str:
    fields: dict[str, Any] = json.loads(encode_record(sample_record()))
    return json.dumps({**fields, **changes})


def text_without(name: str) -> str:
    fields: dict[str, Any] = json.loads(encode_record(sample_record()))
    del fields[name]
    return json.dumps(fields)


def test_every_field_comes_back() -> None:
    record = sample_record(kind=Kind.SHARED, fence="confirmed", evidence="ipmi: off", members=("b",), epoch=NUMBER_MAX)
    assert decode_record(encode_record(record)) == record


def test_the_text_is_plain_json_with_the_protocols_field_names() -> None:
    assert json.loads(encode_record(sample_record())) == {
        "format": 1,
        "cluster": "cluster",
        "resource": "volume",
        "kind": "mirror",
        "epoch": 7,
        "lineage": "lineage",
        "primary": "a",
        "members": ["a", "b"],
        "fence": "none",
        "evidence": "",
        "proposal": "proposal",
    }


def test_a_record_in_whose_line_something_was_forced_names_the_lines_before() -> None:
    forced = sample_record().fork(primary="b", lineage="new", proposal="p")
    assert json.loads(encode_record(forced))["ancestors"] == ["lineage"]
    assert decode_record(encode_record(forced)) == forced


@pytest.mark.parametrize("ancestors", ["lineage", [1], {}, None])
def test_ancestors_that_are_no_lineages(ancestors: object) -> None:
    with pytest.raises(ArbiterError, match="ancestors"):
        decode_record(text_with(ancestors=ancestors))


@pytest.mark.parametrize("raw", ["1.0", "1e400", "[ 1 , 2 ]", '"\\u00E9"', "{}", "null", "-0", '{"a":1,"a":2}'])
def test_unknown_field_keeps_its_text(raw: str) -> None:
    text = text_with()[:-1] + f' , "later" : {raw} }}'
    record = decode_record(text)
    assert record.unknown == (("later", raw),)
    assert decode_record(encode_record(record)) == record


@pytest.mark.parametrize("name", json.loads(encode_record(sample_record())))
def test_missing_field(name: str) -> None:
    with pytest.raises(ArbiterError, match=name):
        decode_record(text_without(name))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, 1) for name in ("cluster", "resource", "kind", "lineage", "primary", "fence", "evidence", "proposal")),
        ("kind", "striped"),
        ("fence", "maybe"),
        *(("epoch", value) for value in ("7", 7.0, True, None, -1, NUMBER_MAX + 1)),
        *(("members", value) for value in ("ab", [], ["a", 1], ["b", "a"], ["a", "a"], {"a": 1})),
        *(("format", value) for value in (2, 0, "1", True)),
    ],
)
def test_wrong_value(name: str, value: object) -> None:
    with pytest.raises(ArbiterError, match=name):
        decode_record(text_with(**{name: value}))


def test_later_format_is_named_even_if_everything_else_changed() -> None:
    with pytest.raises(ArbiterError, match=r"format 2; this version knows 1"):
        decode_record('{"format": 2}')


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{}",
        "[]",
        "7",
        "null",
        '{"format"',
        '{"format": 1',
        '{"format": 1,}',
        '{"format": 1 "x": 2}',
        "{1: 2}",
        '{"format": NaN}',
        text_with() + "x",
        text_with()[:-1] + ', "epoch": 8}',
        text_with()[:-1] + ', "later": ' + "[" * 20000,
        " " * (RECORD_CHARACTERS_MAX + 1),
    ],
)
def test_text_that_holds_no_record(text: str) -> None:
    with pytest.raises(ArbiterError):
        decode_record(text)


def test_every_cut_of_a_record_is_an_arbiter_error() -> None:
    text = encode_record(sample_record(unknown=(("later", "[1, 2]"),)))
    for end in range(len(text)):
        with pytest.raises(ArbiterError):
            decode_record(text[:end])


@pytest.mark.parametrize(
    "changes",
    [
        {"members": ("b", "a")},
        {"members": ()},
        {"epoch": -1},
        {"format": 2},
        {"unknown": (("later", "{"),)},
        {"unknown": (("later", '1, "epoch": 9'),)},
        {"unknown": (("epoch", "9"),)},
        {"evidence": "x" * RECORD_CHARACTERS_MAX},
    ],
)
def test_record_that_would_not_come_back_is_the_callers_mistake(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidError):
        encode_record(sample_record(**changes))
