"""What is asked of etcd and what its answers say, in the JSON of its gateway.

There keys and values are base64, 64-bit numbers are texts, and whatever is false, zero or empty is left out. Everything
is a transaction over both keys, also a read, so that what is found was there in one instant. None of the ranges in them
is serializable: etcd answers only after it has made sure that it still follows the leader of a majority.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import TypeVar

import attrs

from ctlha_trio._errors import ArbiterError
from ctlha_trio.arbiter._codec import NUMBER_MAX

Json = Mapping[str, object]
Kind = TypeVar("Kind")

CLUSTER_ID_MAX = 2**64 - 1


@attrs.frozen
class Keys:
    """Where one resource is kept."""

    record: str
    identity: str
    """Beside the record, made with it: a random id, by which another record in its place is noticed."""

    @staticmethod
    def of(cluster: str, resource: str) -> "Keys":
        """The names are those that a configuration allows, which have no slash."""
        return Keys(f"/ctlha/{cluster}/{resource}/record", f"/ctlha/{cluster}/{resource}/identity")


@attrs.frozen
class Found:
    """Both keys as they were at one moment."""

    identity: str
    body: str
    revision: int
    """The store's when the record was changed last (``mod_revision``).

    The store's revision rises with each change of any key and is never set back, so the record's only rises too, even
    past its deletion. A store that was restored from an older copy shows an older one.
    """


@attrs.frozen
class Answer:
    """What etcd says of one transaction."""

    cluster_id: int
    revision: int
    """The store's after the transaction: that of the record, if the transaction has put it."""
    succeeded: bool
    """Whether all comparisons held."""
    found: Found | None
    """None if nothing was asked for, or if either key is not there."""


def reading(keys: Keys) -> Json:
    """Both keys."""
    return {"success": _both(keys)}


def creating(keys: Keys, identity: str, body: str) -> Json:
    """Put both keys if neither is there."""
    return {
        "compare": [_compare(key, "CREATE", create_revision="0") for key in (keys.record, keys.identity)],
        "success": [_put(keys.record, body), _put(keys.identity, identity)],
        "failure": _both(keys),
    }


def swapping(keys: Keys, identity: str, expected_revision: int, body: str) -> Json:
    """Put the record if it is there, still has this revision, and the identity beside it is this one."""
    return {
        "compare": [
            _compare(keys.record, "CREATE", "GREATER", create_revision="0"),
            _compare(keys.record, "MOD", mod_revision=str(expected_revision)),
            _compare(keys.identity, "VALUE", value=_encode(identity)),
        ],
        "success": [_put(keys.record, body)],
        "failure": _both(keys),
    }


def probing(keys: Keys, identity: str) -> Json:
    """Put the identity again, if it is this one and beside a record. A key of its own would need rights of its own."""
    return {
        "compare": [
            _compare(keys.record, "CREATE", "GREATER", create_revision="0"),
            _compare(keys.identity, "VALUE", value=_encode(identity)),
        ],
        "success": [_put(keys.identity, identity)],
    }


def removing(keys: Keys, identity: str) -> Json:
    """Delete both keys if the identity is this one."""
    return {
        "compare": [_compare(keys.identity, "VALUE", value=_encode(identity))],
        "success": [{"request_delete_range": {"key": _encode(key)}} for key in (keys.record, keys.identity)],
    }


def parse_answer(answer: Json, keys: Keys) -> Answer:
    """``ArbiterError`` for what no etcd says."""
    header = _member(answer, "header", dict)
    succeeded = answer.get("succeeded", False)
    if not isinstance(succeeded, bool):
        raise _unusable("succeeded is neither true nor false")
    values = {key: (value, revision) for key, value, revision in _values(answer)}
    record, identity = values.get(_encode(keys.record)), values.get(_encode(keys.identity))
    found = None
    if record is not None and identity is not None:
        found = Found(_decode(identity[0]), _decode(record[0]), record[1])
    return Answer(
        _number(header, "cluster_id", CLUSTER_ID_MAX), _number(header, "revision", NUMBER_MAX), succeeded, found
    )


def _both(keys: Keys) -> list[Json]:
    return [{"request_range": {"key": _encode(key)}} for key in (keys.record, keys.identity)]


def _compare(key: str, target: str, result: str = "EQUAL", **against: str) -> Json:
    return {"key": _encode(key), "target": target, "result": result, **against}


def _put(key: str, value: str) -> Json:
    return {"request_put": {"key": _encode(key), "value": _encode(value)}}


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _decode(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise _unusable("a value is not text in base64") from error


def _values(answer: Json) -> Iterator[tuple[str, str, int]]:
    """Key, value and revision of all that was found, key and value in base64."""
    for response in _objects(_member(answer, "responses", list)):
        if "response_range" not in response:
            continue
        found = _member(response, "response_range", dict)
        for pair in _objects(_member(found, "kvs", list) if "kvs" in found else []):
            yield _member(pair, "key", str), _member(pair, "value", str), _number(pair, "mod_revision", NUMBER_MAX)


def _objects(items: list[object]) -> Iterator[Json]:
    for item in items:
        if not isinstance(item, dict):
            raise _unusable("an object is missing")
        yield item


def _member(holder: Json, name: str, kind: type[Kind]) -> Kind:
    value = holder.get(name)
    if not isinstance(value, kind):
        raise _unusable(f"{name} is missing or of the wrong kind")
    return value


def _number(holder: Json, name: str, largest: int) -> int:
    text = _member(holder, name, str)
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(largest)) and 0 < int(text) <= largest):
        raise _unusable(f"{name} is not a number above zero")
    return int(text)


def _unusable(problem: str) -> ArbiterError:
    return ArbiterError(f"not an answer of etcd: {problem}")
