import struct

import pytest
from hypothesis import given, strategies as st

from ctlha_trio._errors import RemoteProtocolError
from ctlha_trio.door._protocol import (
    HELLO_BYTES,
    MAX_REQUEST_BYTES,
    REPLY_BYTES,
    REQUEST_BYTES,
    Reply,
    Request,
    decode_hello,
    decode_reply_head,
    decode_request,
    encode_hello,
    encode_reply_head,
    encode_request,
    miscompare_reply,
)
from ctlha_trio.ha import COMPARE_BYTES_MAX, ZEROES_BYTES_MAX
from ctlha_trio.pair import CHANGING, KEY_BYTES_MAX, RECORDS_BYTES_MAX, OperationKind, Outcome

U64 = st.integers(0, 2**64 - 1)


def request(kind: OperationKind, offset: int, size: int) -> Request:
    return Request(number=1, kind=kind, offset=offset, size=size)


@given(U64)
def test_hello_carries_the_client(client: int) -> None:
    assert decode_hello(encode_hello(client)) == client


@given(st.binary(min_size=HELLO_BYTES, max_size=HELLO_BYTES))
def test_a_hello_of_anything_else_is_refused(head: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_hello(head)


def test_a_hello_of_another_version_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="version"):
        decode_hello(struct.pack("<8sHQ", b"ctlhadat", 2, 7))


@given(
    number=U64,
    kind=st.sampled_from(sorted(CHANGING | {OperationKind.READ}, key=str)),
    offset=U64,
    size=st.integers(1, COMPARE_BYTES_MAX),
)
def test_requests_survive_the_wire(number: int, kind: OperationKind, offset: int, size: int) -> None:
    sent = Request(number=number, kind=kind, offset=offset, size=size)
    assert decode_request(encode_request(sent)) == sent


def test_layout_of_a_request() -> None:
    assert encode_request(Request(number=3, kind=OperationKind.WRITE, offset=4096, size=512)) == struct.pack(
        "<QBQI", 3, 2, 4096, 512
    )


@given(st.binary(min_size=REQUEST_BYTES, max_size=REQUEST_BYTES))
def test_any_bytes_are_a_request_or_refused(head: bytes) -> None:
    try:
        decoded = decode_request(head)
    except RemoteProtocolError:
        return
    assert encode_request(decoded) == head


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        *((1, 0), (2, 0), (3, 1), (1, MAX_REQUEST_BYTES + 1), (2, MAX_REQUEST_BYTES + 1), (0, 1), (255, 1)),
        *((4, 0), (5, 0), (4, ZEROES_BYTES_MAX + 1), (5, ZEROES_BYTES_MAX + 1), (6, 0), (6, COMPARE_BYTES_MAX + 1)),
        *((7, 1), (7, RECORDS_BYTES_MAX + 1), (8, 1), (9, 1), (63, 1), (64, 1), (65, 0)),
    ],
)
def test_requests_that_nobody_can_execute_are_refused(kind: int, size: int) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_request(struct.pack("<QBQI", 1, kind, 0, size))


@pytest.mark.parametrize("outcome", Outcome)
def test_replies_survive_the_wire(outcome: Outcome) -> None:
    assert decode_reply_head(encode_reply_head(Reply(number=9, outcome=outcome, data=b"8 bytes."))) == (9, outcome, 8)


def test_a_miscompare_says_where() -> None:
    assert miscompare_reply(9, 4097).miscompare_at == 4097


@pytest.mark.parametrize("size", [0, 7, 9])
def test_a_miscompare_that_does_not_say_where_is_refused(size: int) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_reply_head(struct.pack("<QBI", 9, 6, size))


@given(st.binary(min_size=REPLY_BYTES, max_size=REPLY_BYTES))
def test_any_bytes_are_a_reply_or_refused(head: bytes) -> None:
    try:
        _, _, size = decode_reply_head(head)
    except RemoteProtocolError:
        return
    assert size <= MAX_REQUEST_BYTES


def test_the_order_of_two_requests_shows_only_where_one_writes_and_they_overlap() -> None:
    write = request(OperationKind.WRITE, 100, 10)
    assert write.conflicts_with(request(OperationKind.READ, 109, 1))
    assert request(OperationKind.READ, 109, 1).conflicts_with(write)
    for kind in CHANGING:
        assert write.conflicts_with(request(kind, 0, 101))
        assert request(kind, 109, 1).conflicts_with(request(OperationKind.READ, 100, 10))
    assert not write.conflicts_with(request(OperationKind.WRITE, 110, 1))
    assert not write.conflicts_with(request(OperationKind.READ, 99, 1))
    assert not request(OperationKind.READ, 0, 10).conflicts_with(request(OperationKind.READ, 0, 10))


@pytest.mark.parametrize(("key_bytes", "size"), [(0, 5), (6, 5), (KEY_BYTES_MAX + 1, KEY_BYTES_MAX + 5)])
def test_a_record_has_a_key_within_its_data(key_bytes: int, size: int) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_request(struct.pack("<QBQI", 1, 7, key_bytes, size))


def test_records_are_put_one_after_the_other_and_hold_nothing_else_up() -> None:
    put = request(OperationKind.PUT_RECORD, 3, 10)
    assert put.conflicts_with(request(OperationKind.PUT_RECORD, 1, 2))
    assert put.conflicts_with(request(OperationKind.READ_RECORDS, 0, 0))
    assert not put.conflicts_with(request(OperationKind.WRITE, 0, 100))
