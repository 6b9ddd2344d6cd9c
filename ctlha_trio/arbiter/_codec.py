"""The arbiter's record as JSON text and back. Fields of a later version pass through, character by character."""

import json
from collections.abc import Mapping
from typing import Any, Literal, get_args

import attrs

from ctlha_trio._errors import ArbiterError, InvalidError
from ctlha_trio.pair import RECORD_FORMAT, Fence, Kind, Record

RECORD_CHARACTERS_MAX = 64 * 1024
"""A record is a few hundred characters; this leaves later versions room and bounds what a broken engine can feed us."""
NUMBER_MAX = 2**63 - 1
"""Largest integer of SQLite and of etcd; no epoch gets there by rising."""
_FENCES: dict[str, Fence] = {fence: fence for fence in get_args(Fence)}
_KINDS = {kind.value: kind for kind in Kind}
_KNOWN = frozenset(field.name for field in attrs.fields(Record)) - {"unknown"}
_WHITESPACE = " \t\n\r"


def encode_record(record: Record) -> str:
    """The record as JSON text. ``InvalidError`` if reading it back would not give the same record."""
    known = {
        "format": record.format,
        "cluster": record.cluster,
        "resource": record.resource,
        "kind": record.kind.value,
        "epoch": record.epoch,
        "lineage": record.lineage,
        "primary": record.primary,
        "members": list(record.members),
        "fence": record.fence,
        "evidence": record.evidence,
        "proposal": record.proposal,
    }
    if record.ancestors:
        known["ancestors"] = list(record.ancestors)
    fields = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in known.items()]
    fields += [f"{json.dumps(name)}: {value}" for name, value in record.unknown]
    text = "{" + ", ".join(fields) + "}"
    try:
        same = decode_record(text) == record
    except ArbiterError as error:
        raise InvalidError(f"not a record that can be kept: {error}") from error
    if not same:
        raise InvalidError("the record does not survive being written and read back")
    return text


def decode_record(text: str) -> Record:
    """The record that ``text`` holds. ``ArbiterError`` if it holds none, or one of a later format."""
    if len(text) > RECORD_CHARACTERS_MAX:
        raise ArbiterError(f"a record of {len(text)} characters; at most {RECORD_CHARACTERS_MAX} are read")
    try:
        fields = _split_object(text)
    except (ValueError, RecursionError) as error:
        raise ArbiterError(f"the record is not a JSON object: {error}") from error
    values = {name: value for name, (value, _) in fields.items()}
    known_format = _number(values, "format")
    if known_format != RECORD_FORMAT:
        raise ArbiterError(f"the record has format {known_format}; this version knows {RECORD_FORMAT}")
    return Record(
        format=known_format,
        cluster=_text(values, "cluster"),
        resource=_text(values, "resource"),
        kind=_KINDS[_choice(values, "kind", _KINDS)],
        epoch=_number(values, "epoch"),
        lineage=_text(values, "lineage"),
        primary=_text(values, "primary"),
        members=_members(values),
        ancestors=_ancestors(values),
        fence=_FENCES[_choice(values, "fence", _FENCES)],
        evidence=_text(values, "evidence"),
        proposal=_text(values, "proposal"),
        unknown=tuple((name, raw) for name, (_, raw) in fields.items() if name not in _KNOWN),
    )


def require_resource(record: Record, cluster: str, resource: str) -> None:
    """``InvalidError`` if ``record`` belongs to another resource than this one."""
    if (record.cluster, record.resource) != (cluster, resource):
        raise InvalidError(f"a record of {record.cluster}/{record.resource} for {cluster}/{resource}")


def _split_object(text: str) -> dict[str, tuple[Any, str]]:
    """Name to (value, the value's own text) for each field of one JSON object. ``ValueError`` if it is none."""
    decoder = json.JSONDecoder(parse_constant=_refuse_constant)
    fields: dict[str, tuple[Any, str]] = {}
    at = _expect(text, 0, "{")
    if text[at : at + 1] == "}":
        _expect_end(text, at + 1)
        return fields
    while True:
        name, end = decoder.raw_decode(text, at)
        if not isinstance(name, str) or name in fields:
            raise ValueError(f"a field's name is no text or comes twice: {name!r}")
        start = _expect(text, end, ":")
        value, end = decoder.raw_decode(text, start)
        fields[name] = (value, text[start:end])
        at = _skip(text, end)
        if text[at : at + 1] == "}":
            _expect_end(text, at + 1)
            return fields
        at = _expect(text, at, ",")


def _skip(text: str, at: int) -> int:
    while text[at : at + 1] and text[at] in _WHITESPACE:
        at += 1
    return at


def _expect(text: str, at: int, mark: str) -> int:
    at = _skip(text, at)
    if text[at : at + 1] != mark:
        raise ValueError(f"no {mark!r} at character {at}")
    return _skip(text, at + 1)


def _expect_end(text: str, at: int) -> None:
    if _skip(text, at) != len(text):
        raise ValueError(f"more text behind the object at character {at}")


def _refuse_constant(name: str) -> Literal[0]:
    raise ValueError(f"{name} is not JSON")


def _field(values: Mapping[str, Any], name: str) -> Any:
    if name not in values:
        raise ArbiterError(f"the record has no field {name}")
    return values[name]


def _text(values: Mapping[str, Any], name: str) -> str:
    value = _field(values, name)
    if not isinstance(value, str):
        raise ArbiterError(f"the record's {name} is not a text")
    return value


def _number(values: Mapping[str, Any], name: str) -> int:
    value = _field(values, name)
    if type(value) is not int or not 0 <= value <= NUMBER_MAX:
        raise ArbiterError(f"the record's {name} is not a whole number in range")
    return value


def _choice(values: Mapping[str, Any], name: str, choices: Mapping[str, object]) -> str:
    value = _text(values, name)
    if value not in choices:
        raise ArbiterError(f"the record's {name} is {value!r}, which is none of {', '.join(choices)}")
    return value


def _members(values: Mapping[str, Any]) -> tuple[str, ...]:
    value = _field(values, "members")
    if not isinstance(value, list) or not value or not all(isinstance(member, str) for member in value):
        raise ArbiterError("the record's members are not a list of at least one name")
    if value != sorted(set(value)):
        raise ArbiterError("the record's members are not sorted, or one comes twice")
    return tuple(value)


def _ancestors(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Empty in a record of a pair in which nothing was ever forced, and of versions that cannot force."""
    value = values.get("ancestors", [])
    if not isinstance(value, list) or not all(isinstance(lineage, str) for lineage in value):
        raise ArbiterError("the record's ancestors are not a list of lineages")
    return tuple(value)
