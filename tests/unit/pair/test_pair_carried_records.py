"""Records in bytes: what was encoded comes back, and nothing else is taken."""

import struct

import pytest
from hypothesis import given, strategies as st

from ctlha_trio._errors import RemoteProtocolError
from ctlha_trio.pair import (
    RECORDS_BYTES_MAX,
    CarriedRecord,
    decode_record,
    decode_records,
    encode_record,
    encode_records,
    encoded_bytes,
    with_record,
)

u64 = st.integers(0, 2**64 - 1)
keys = st.text(min_size=1, max_size=15)
records = st.builds(CarriedRecord, key=keys, epoch=u64, sequence=u64, value=st.binary(min_size=1, max_size=50))
tables = st.lists(records, max_size=8).map(lambda found: {record.key: record for record in found})
ONE = CarriedRecord("one", 1, 2, b"value")


@given(st.builds(CarriedRecord, key=keys, epoch=u64, sequence=u64, value=st.binary(max_size=50)))
def test_a_record_comes_back(record: CarriedRecord) -> None:
    encoded = encode_record(record)
    assert decode_record(encoded) == record
    assert len(encoded) == encoded_bytes(record.key, record.value)


@given(tables)
def test_a_table_comes_back_and_is_the_same_bytes_in_any_order(table: dict[str, CarriedRecord]) -> None:
    encoded = encode_records(table)
    assert decode_records(encoded) == table
    assert encode_records(dict(reversed(list(table.items())))) == encoded


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_a_table(data: bytes) -> None:
    try:
        table = decode_records(data)
    except RemoteProtocolError:
        return
    assert encode_records(table) == data


def test_a_table_cut_short_is_refused() -> None:
    encoded = encode_records({"one": ONE, "two": CarriedRecord("two", 3, 4, b"x")})
    whole = {0, len(encode_record(ONE)), len(encoded)}
    for size in set(range(len(encoded))) - whole:
        with pytest.raises(RemoteProtocolError):
            decode_records(encoded[:size])


@pytest.mark.parametrize(
    "data",
    [
        encode_record(ONE) + encode_record(ONE),
        encode_record(CarriedRecord("b", 1, 1, b"x")) + encode_record(CarriedRecord("a", 1, 1, b"x")),
        encode_record(CarriedRecord("gone", 1, 1, b"")),
        struct.pack("<HIQQ", 0, 1, 1, 1) + b"x",
        struct.pack("<HIQQ", 1, 1, 1, 1) + b"\xffx",
        encode_record(CarriedRecord("big", 1, 1, bytes(RECORDS_BYTES_MAX))),
    ],
    ids=["twice", "out of order", "empty", "no key", "no text", "too large"],
)
def test_what_no_table_says_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="malformed"):
        decode_records(data)


@pytest.mark.parametrize("data", [b"", encode_record(ONE) + encode_record(CarriedRecord("two", 1, 1, b"x"))])
def test_one_record_is_one(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="malformed"):
        decode_record(data)


def test_a_record_replaces_that_of_its_key_and_an_empty_one_takes_it_away() -> None:
    table = with_record({"one": ONE}, CarriedRecord("one", 1, 3, b"newer"))
    assert table == {"one": CarriedRecord("one", 1, 3, b"newer")}
    assert with_record(table, CarriedRecord("two", 1, 4, b"x")).keys() == {"one", "two"}
    assert with_record(table, CarriedRecord("one", 1, 5, b"")) == {}
    assert with_record({}, CarriedRecord("one", 1, 5, b"")) == {}
