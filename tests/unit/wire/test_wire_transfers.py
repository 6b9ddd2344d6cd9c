"""Requests, fragments and verdicts: their bytes, and the order in which they may come."""

import attrs
import pytest
from crc32c import crc32c
from hypothesis import given, strategies as st

from ctlha_trio._errors import RemoteProtocolError
from ctlha_trio._vocabulary import ctl_ha_status
from ctlha_trio.wire import (
    CHECKSUM,
    DONE_PREFIX,
    FRAGMENT_PREFIX,
    KEY_SIZE,
    PULL_BODY,
    Denial,
    Fault,
    Flag,
    Fragment,
    Frame,
    FrameType,
    PullRequest,
    PushOrder,
    Verdict,
    decode_fragment,
    decode_pull,
    decode_verdict,
    encode_pull,
    encode_verdict,
    fragment_prefix,
)

KEY = bytes(range(16))
SUCCESS, ERROR, BUSY = (
    ctl_ha_status.CTL_HA_STATUS_SUCCESS,
    ctl_ha_status.CTL_HA_STATUS_ERROR,
    ctl_ha_status.CTL_HA_STATUS_BUSY,
)
numbers = st.integers(1, 2**64 - 1)
u64 = st.integers(0, 2**64 - 1)
keys = st.binary(min_size=KEY_SIZE, max_size=KEY_SIZE)


def a_push(payload: bytes, flags: Flag) -> Frame:
    """The head of one."""
    head, size = memoryview(payload)[: FRAGMENT_PREFIX.size], len(payload) - FRAGMENT_PREFIX.size
    return Frame(kind=FrameType.PUSH, flags=flags, session=1, payload=head, data_size=size)


@given(numbers, keys, u64, st.binary(min_size=1, max_size=50), st.integers(0, 2**40))
def test_a_fragment_survives_the_way(request_: int, key: bytes, offset: int, data: bytes, more: int) -> None:
    fragment = Fragment(request_, key, offset, len(data) + more, data)
    flags = Flag.REPLY | (Flag.NONE if more else Flag.LAST)
    assert decode_fragment(a_push(fragment_prefix(fragment) + data, flags)) == attrs.evolve(
        fragment, data=b"", size=len(data)
    )


@pytest.mark.parametrize(
    ("request_", "left", "flags", "fault"),
    [
        (0, 4, Flag.LAST, Fault.REQUEST),
        (1, 3, Flag.LAST, Fault.SIZE),
        (1, 0, Flag.LAST, Fault.SIZE),
        (1, 3, Flag.NONE, Fault.SIZE),
        (1, 4, Flag.NONE, Fault.FLAGS),
        (1, 5, Flag.LAST, Fault.FLAGS),
        (1, 2**64 - 1, Flag.LAST, Fault.FLAGS),
    ],
)
def test_a_fragment_that_contradicts_itself(request_: int, left: int, flags: Flag, fault: Fault) -> None:
    payload = FRAGMENT_PREFIX.pack(request_, KEY, 0, left, 0) + b"data"
    with pytest.raises(RemoteProtocolError) as caught:
        decode_fragment(a_push(payload, Flag.REQUEST | flags))
    assert caught.value.reason == fault


@given(numbers, keys, u64, numbers, keys)
def test_a_pull_survives_the_way(request_: int, key: bytes, offset: int, size: int, reply_key: bytes) -> None:
    pull = PullRequest(request_, key, offset, size, reply_key)
    assert decode_pull(encode_pull(pull)) == pull


@pytest.mark.parametrize(("request_", "size", "fault"), [(0, 1, Fault.REQUEST), (1, 0, Fault.SIZE)])
def test_a_pull_that_cannot_be(request_: int, size: int, fault: Fault) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_pull(PULL_BODY.pack(request_, KEY, 0, size, KEY))
    assert caught.value.reason == fault


@given(numbers, st.sampled_from([None, *Denial]))
def test_a_verdict_survives_the_way(request_: int, denial: Denial | None) -> None:
    verdict = Verdict(request_, denial)
    assert decode_verdict(encode_verdict(verdict)) == verdict


def test_each_verdict_has_its_status() -> None:
    assert Verdict(1).status is SUCCESS
    for denial in Denial:
        assert Verdict(1, denial).status is (BUSY if denial is Denial.BUSY else ERROR)


@pytest.mark.parametrize(
    ("request_", "status", "reason", "fault"),
    [
        (0, 1, b"", Fault.REQUEST),
        (1, 0, b"", Fault.REASON),
        (1, 3, b"rights", Fault.REASON),
        (1, 4, b"", Fault.REASON),
        (1, 6, b"", Fault.REASON),
        (1, 255, b"", Fault.REASON),
        (1, SUCCESS, b"rights", Fault.REASON),
        (1, ERROR, b"", Fault.REASON),
        (1, ERROR, b"busy", Fault.REASON),
        (1, BUSY, b"", Fault.REASON),
        (1, BUSY, b"rights", Fault.REASON),
        (1, ERROR, b"because", Fault.REASON),
        (1, ERROR, b"\xff", Fault.REASON),
    ],
)
def test_a_verdict_that_cannot_be(request_: int, status: int, reason: bytes, fault: Fault) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_verdict(DONE_PREFIX.pack(request_, status) + reason)
    assert caught.value.reason == fault


@given(st.binary(min_size=DONE_PREFIX.size, max_size=40))
def test_any_bytes_give_a_verdict_or_a_remote_error(data: bytes) -> None:
    try:
        verdict = decode_verdict(data)
    except RemoteProtocolError as error:
        reason = error.reason
    else:
        assert encode_verdict(verdict) == data
        return
    assert reason in {Fault.REASON, Fault.REQUEST}


@given(
    st.binary(min_size=FRAGMENT_PREFIX.size + 1, max_size=60),
    st.sampled_from([Flag.REQUEST, Flag.REPLY]),
    st.booleans(),
)
def test_any_bytes_give_a_fragment_or_a_remote_error(data: bytes, way: Flag, is_last: bool) -> None:
    try:
        fragment = decode_fragment(a_push(data, way | Flag.LAST if is_last else way))
    except RemoteProtocolError as error:
        reason = error.reason
    else:
        behind = data[FRAGMENT_PREFIX.size :]
        written = fragment_prefix(attrs.evolve(fragment, data=behind))
        assert written[: -CHECKSUM.size] == data[: FRAGMENT_PREFIX.size - CHECKSUM.size]
        assert written[-CHECKSUM.size :] == CHECKSUM.pack(crc32c(behind))
        return
    assert reason in {Fault.REQUEST, Fault.SIZE, Fault.FLAGS}


# The order of pushes


def piece(request: int, offset: int, left: int, size: int, key: bytes = KEY) -> Fragment:
    return Fragment(request, key, offset, left, bytes(size))


def test_pushes_come_one_after_the_other() -> None:
    order = PushOrder()
    for fragment in (piece(1, 10, 8, 4), piece(1, 14, 4, 4), piece(3, 0, 1, 1), piece(9, 0, 1, 1)):
        order.take(fragment)


@pytest.mark.parametrize(
    ("fragment", "fault"),
    [
        (piece(2, 0, 1, 1), Fault.REQUEST),
        (piece(0, 0, 1, 1), Fault.REQUEST),
        (piece(1, 10, 8, 4), Fault.FRAGMENT),
        (piece(1, 15, 4, 4), Fault.FRAGMENT),
        (piece(1, 14, 5, 5), Fault.FRAGMENT),
        (piece(1, 14, 3, 3), Fault.FRAGMENT),
        (piece(1, 14, 4, 4, bytes(16)), Fault.FRAGMENT),
    ],
)
def test_a_push_goes_on_where_it_was(fragment: Fragment, fault: Fault) -> None:
    order = PushOrder()
    order.take(piece(1, 10, 8, 4))
    with pytest.raises(RemoteProtocolError) as caught:
        order.take(fragment)
    assert caught.value.reason == fault


@pytest.mark.parametrize("request_", [1, 2])
def test_the_number_of_a_push_is_not_used_again(request_: int) -> None:
    order = PushOrder()
    order.take(piece(2, 0, 4, 4))
    with pytest.raises(RemoteProtocolError, match="request"):
        order.take(piece(request_, 0, 4, 4))


def test_only_a_denied_push_may_be_cut_short() -> None:
    order = PushOrder()
    order.take(piece(1, 0, 8, 4))
    order.is_denied = True
    order.take(piece(1, 4, 4, 2))
    order.take(piece(2, 0, 8, 4))
    is_denied = order.is_denied
    assert not is_denied, "each push is judged anew"
    with pytest.raises(RemoteProtocolError, match="request"):
        order.take(piece(3, 0, 8, 4))


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 9)), max_size=20))
def test_an_honest_sequence_passes(pushes: list[tuple[int, int]]) -> None:
    order = PushOrder()
    for number, (count, size) in enumerate(pushes, start=1):
        for index in range(count):
            order.take(piece(number, 100 + index * size, (count - index) * size, size))


@given(st.integers(3, 9), st.data())
def test_a_lost_fragment_is_noticed_with_the_next(count: int, data: st.DataObject) -> None:
    fragments = [piece(1, index, count - index, 1) for index in range(count)] + [piece(2, 0, 1, 1)]
    del fragments[data.draw(st.integers(1, count - 1))]
    order = PushOrder()
    with pytest.raises(RemoteProtocolError):  # noqa: PT012 - whichever comes behind the gap
        for fragment in fragments:
            order.take(fragment)
