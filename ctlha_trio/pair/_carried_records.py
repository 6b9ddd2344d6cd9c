"""Records: small state of the layers above that both copies carry beside the volume, as values and as bytes. No I/O.

A record is written whole, by its key. Its version is the epoch and the sequence of the operation that put it, so that
the later of two is known by that alone, and the same table on both nodes is the same bytes.
"""

import struct
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Final

import attrs

from ctlha_trio._errors import InvalidError, RemoteProtocolError

KEY_BYTES_MAX: Final = 64
"""Of a key in UTF-8: a path of a few names."""
RECORDS_BYTES_MAX: Final = 64 * 1024
"""Of all records of a resource as they are encoded: registrations of hundreds of initiators, and yet one piece, that a
returning node is sent while clients wait."""

_HEAD: Final = struct.Struct("<HIQQ")
"""Sizes of key and value, epoch, sequence."""


@attrs.frozen
class CarriedRecord:
    """One record."""

    key: str
    epoch: int
    sequence: int
    value: bytes = attrs.field(repr=False)
    """Empty to take the record away: no record is empty."""


Records = Mapping[str, CarriedRecord]
"""By key."""


def encode_record(record: CarriedRecord) -> bytes:
    """One record in bytes."""
    key = record.key.encode()
    return _HEAD.pack(len(key), len(record.value), record.epoch, record.sequence) + key + record.value


def encode_records(records: Records) -> bytes:
    """All of them, the same for the same records."""
    return b"".join(encode_record(records[key]) for key in sorted(records))


def decode_record(data: bytes) -> CarriedRecord:
    """One record. ``RemoteProtocolError`` for anything that ``encode_record`` cannot have made, here and below."""
    record, *more = _records_in(data)
    if more:
        raise _malformed("more than one")
    return record


def decode_records(data: bytes) -> dict[str, CarriedRecord]:
    """All of them."""
    if len(data) > RECORDS_BYTES_MAX:
        raise _malformed(f"{len(data)} bytes")
    records = list(_records_in(data)) if data else []
    if any(not record.value for record in records):
        raise _malformed("an empty one")
    if any(one.key >= other.key for one, other in pairwise(records)):
        raise _malformed("not in order")
    return {record.key: record for record in records}


def with_record(records: Records, record: CarriedRecord) -> dict[str, CarriedRecord]:
    """The records after one was put."""
    others = {key: other for key, other in records.items() if key != record.key}
    return others | {record.key: record} if record.value else others


def encoded_bytes(key: str, value: bytes) -> int:
    """How much room a record takes."""
    return _HEAD.size + len(key.encode()) + len(value)


def check_record(key: str, value_bytes: int) -> None:
    """``InvalidError`` with the limit for a key that cannot be, and for a value that no copy has room for."""
    try:
        key_bytes = len(key.encode())
    except UnicodeEncodeError:
        key_bytes = 0  # a surrogate without its other half is no text
    if not 0 < key_bytes <= KEY_BYTES_MAX:
        raise InvalidError(f"a record has a key of 1 to {KEY_BYTES_MAX} bytes in UTF-8, not {key!r}")
    most = RECORDS_BYTES_MAX - _HEAD.size - key_bytes
    if value_bytes > most:
        raise InvalidError(f"a record of {value_bytes} bytes, and one of this key can have {most}")


def _records_in(data: bytes) -> Iterator[CarriedRecord]:
    if not data:
        raise _malformed("none")
    place = 0
    while place < len(data):
        if len(data) - place < _HEAD.size:
            raise _malformed("cut short")
        key_bytes, value_bytes, epoch, sequence = _HEAD.unpack_from(data, place)
        place += _HEAD.size
        if not 0 < key_bytes <= KEY_BYTES_MAX or key_bytes + value_bytes > len(data) - place:
            raise _malformed("a size that cannot be")
        try:
            key = data[place : place + key_bytes].decode()
        except UnicodeDecodeError as error:
            raise _malformed("a key that is no text") from error
        place += key_bytes
        yield CarriedRecord(key, epoch, sequence, data[place : place + value_bytes])
        place += value_bytes


def _malformed(what: str) -> RemoteProtocolError:
    return RemoteProtocolError("malformed", f"records: {what}")
