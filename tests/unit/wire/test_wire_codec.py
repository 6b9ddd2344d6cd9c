"""Frames: what is written is read again, and nothing else gets through."""

from collections.abc import Iterator

import attrs
import pytest
from crc32c import crc32c
from hypothesis import given, strategies as st

from ctlha_trio._errors import LocalProtocolError, RemoteProtocolError
from ctlha_trio.wire import (
    CHANNEL_MAX,
    FRAGMENT_SIZE_MAX,
    FRAME_SIZE_MAX,
    HEAD_SIZE_MAX,
    HEADER_SIZE,
    HELLO_SIZE_MAX,
    MESSAGES_SIZE_MAX,
    PLACED,
    SLOT_SIZE_MAX,
    Fault,
    Flag,
    Fragment,
    Frame,
    FrameDecoder,
    FrameType,
    Landing,
    encode_header,
    fragment_prefix,
    push_prefix,
)
from ctlha_trio.wire._codec import SPARED_FRAMES
from ctlha_trio.wire._frame import FRAME_RULES, REASON_SIZE_MAX

SESSION = 0x1122334455667788


def encode(frame: Frame) -> bytes:
    header = encode_header(
        frame.kind,
        (frame.payload,),
        flags=frame.flags,
        channel=frame.channel,
        count=frame.count,
        session=frame.session,
        epoch=frame.epoch,
        first_sequence=frame.first_sequence,
        acknowledged=frame.acknowledged,
        credit=frame.credit,
    )
    return header + frame.payload


def decode(data: bytes, *, in_session: bool, chunk: int = 1 << 20) -> list[Frame]:
    """Every frame in ``data``, fed in chunks; payloads copied out, as the buffer is used again, and data behind."""
    return list(feed(FrameDecoder(), data, in_session=in_session, chunk=chunk))


def feed(decoder: FrameDecoder, data: bytes, *, in_session: bool, chunk: int) -> Iterator[Frame]:
    if in_session:
        decoder.admit()
    head, data_of_push = PLACED, bytearray()
    while data:
        space = decoder.space()
        size = min(chunk, len(space), len(data))
        space[:size] = data[:size]
        data = data[size:]
        decoder.received(size)
        while (frame := decoder.next_frame()) is not None:
            if frame.data_size:
                head = attrs.evolve(frame, payload=memoryview(bytes(frame.payload)))
                data_of_push = bytearray(frame.data_size)
                decoder.place(Landing(memoryview(data_of_push)))
                continue
            payload = bytes(frame.payload)
            if frame is PLACED:
                frame, payload = head, bytes(head.payload) + data_of_push
            yield attrs.evolve(frame, payload=memoryview(payload), data_size=0)


def decode_or_fault(data: bytes, *, in_session: bool, chunk: int = 1 << 20) -> list[Frame] | Fault:
    try:
        return decode(data, in_session=in_session, chunk=chunk)
    except RemoteProtocolError as error:
        return Fault(error.reason)


def reseal(data: bytearray) -> bytes:
    """Make the checksum right again after a change."""
    data[4:8] = bytes(4)
    data[4:8] = crc32c(bytes(data)).to_bytes(4, "little")
    return bytes(data)


SESSION_FRAMES = [
    Frame(kind=FrameType.HEARTBEAT, session=SESSION, epoch=7, payload=memoryview(bytes(24))),
    Frame(
        kind=FrameType.MESSAGES,
        channel=0x80,
        count=3,
        session=SESSION,
        epoch=2**64 - 1,
        first_sequence=2**64 - 1,
        acknowledged=5,
        credit=2**32 - 1,
        payload=memoryview(b"abc" * 16),
    ),
    Frame(kind=FrameType.PUSH, session=SESSION, payload=memoryview(push_prefix(bytes(16), 0, b"data") + b"data")),
    Frame(
        kind=FrameType.PUSH,
        flags=Flag.MESSAGE_ATTACHED,
        channel=1,
        count=1,
        session=SESSION,
        first_sequence=1,
        payload=memoryview(push_prefix(bytes(16), 0, b"data" + bytes(16)) + b"data" + bytes(16)),
    ),
    Frame(kind=FrameType.ACKNOWLEDGE, channel=CHANNEL_MAX, session=SESSION, acknowledged=9, credit=3),
    Frame(kind=FrameType.CHANNEL_OPEN, channel=2, session=SESSION, credit=4, payload=memoryview(bytes(8))),
    Frame(kind=FrameType.PULL, session=SESSION, payload=memoryview(bytes(56))),
    Frame(
        kind=FrameType.PUSH,
        flags=Flag.REQUEST,
        session=SESSION,
        payload=memoryview(fragment_prefix(Fragment(1, bytes(16), 0, 9, b"data")) + b"data"),
    ),
    Frame(
        kind=FrameType.PUSH,
        flags=Flag.REPLY | Flag.LAST,
        session=SESSION,
        payload=memoryview(fragment_prefix(Fragment(1, bytes(16), 0, 1, b"d")) + b"d"),
    ),
    Frame(kind=FrameType.WITHDRAW, session=SESSION, payload=memoryview(bytes(8))),
    Frame(kind=FrameType.TRANSFER_DONE, session=SESSION, payload=memoryview(bytes(17) + b"unknown-key")),
    Frame(kind=FrameType.HEARTBEAT, session=SESSION, epoch=7, payload=memoryview(bytes(28))),
    Frame(kind=FrameType.GOODBYE, session=SESSION, payload=memoryview(b"stopping")),
    Frame(kind=FrameType.DROP, session=SESSION, payload=memoryview(b"checksum")),
]
HELLO_FRAMES = [
    Frame(kind=FrameType.HELLO, payload=memoryview(b"hello")),
    Frame(kind=FrameType.HELLO_ACCEPT, session=SESSION, payload=memoryview(b"hello")),
    Frame(kind=FrameType.HELLO_REFUSE, payload=memoryview(b"version")),
    Frame(kind=FrameType.HELLO_CONFIRM, session=SESSION),
    Frame(kind=FrameType.TERMS, session=SESSION, payload=memoryview(bytes(12))),
]
MESSAGES = SESSION_FRAMES[1]


@pytest.mark.parametrize("chunk", [1, 7, HEADER_SIZE, 1 << 20])
@pytest.mark.parametrize(("frames", "in_session"), [(HELLO_FRAMES, False), (SESSION_FRAMES, True)])
def test_frames_survive_the_way_whatever_the_pieces(frames: list[Frame], in_session: bool, chunk: int) -> None:
    data = b"".join(map(encode, frames))
    assert decode(data, in_session=in_session, chunk=chunk) == frames


@pytest.mark.parametrize("frame", HELLO_FRAMES + SESSION_FRAMES, ids=lambda frame: frame.kind.name)
def test_a_truncated_frame_is_never_handed_out(frame: Frame) -> None:
    data = encode(frame)
    in_session = frame in SESSION_FRAMES
    for size in range(len(data)):
        assert decode(data[:size], in_session=in_session) == []


def test_the_largest_frames_pass_in_a_row() -> None:
    largest = bytes(FRAGMENT_SIZE_MAX + SLOT_SIZE_MAX)
    frame = Frame(
        kind=FrameType.PUSH,
        flags=Flag.MESSAGE_ATTACHED,
        channel=1,
        count=1,
        session=SESSION,
        first_sequence=1,
        payload=memoryview(push_prefix(bytes(16), 0, largest) + largest),
    )
    assert len(encode(frame)) == FRAME_SIZE_MAX
    assert decode(encode(frame) * 8, in_session=True, chunk=100_000) == [frame] * 8


@pytest.mark.parametrize("position", range(8, HEADER_SIZE + 48))
def test_a_flipped_bit_anywhere_is_noticed(position: int) -> None:
    data = bytearray(encode(MESSAGES))
    data[position] ^= 0x10
    decoder = FrameDecoder()
    with pytest.raises(RemoteProtocolError) as caught:
        assert list(feed(decoder, bytes(data) + bytes(MESSAGES_SIZE_MAX), in_session=True, chunk=1 << 20)) == []
    assert caught.value.reason in {Fault.CHECKSUM, Fault.TYPE, Fault.FLAGS, Fault.SIZE}


@pytest.mark.parametrize("position", range(-20, 0))
def test_damage_behind_the_prefix_of_a_push_with_a_message_is_noticed(position: int) -> None:
    (frame,) = (frame for frame in SESSION_FRAMES if frame.flags is Flag.MESSAGE_ATTACHED)
    data = bytearray(encode(frame))
    data[position] ^= 0x10
    with pytest.raises(RemoteProtocolError, match="checksum"):
        decode(bytes(data), in_session=True, chunk=1 << 20)


@pytest.mark.parametrize(
    ("position", "value", "fault"),
    [
        (0, b"X", Fault.MAGIC),
        (3, b"\x02", Fault.FRAME_VERSION),
        (8, b"\x00", Fault.TYPE),
        (8, b"\x0e", Fault.TYPE),
        (8, b"\x01", Fault.TYPE),
        (9, b"\x01", Fault.FLAGS),
        (9, b"\x80", Fault.FLAGS),
        (10, b"\x00\x00", Fault.CHANNEL),
        (10, b"\x00\x01", Fault.CHANNEL),
        (12, b"\x00\x00", Fault.COUNT),
        (14, b"\x01\x00", Fault.RESERVED),
        (16, bytes(8), Fault.SESSION),
        (32, bytes(8), Fault.SEQUENCE),
        (52, bytes(4), Fault.SIZE),
        (52, (MESSAGES_SIZE_MAX + 1).to_bytes(4, "little"), Fault.SIZE),
        (52, b"\xff\xff\xff\xff", Fault.SIZE),
    ],
)
def test_each_wrong_field_has_its_name(position: int, value: bytes, fault: Fault) -> None:
    data = bytearray(encode(MESSAGES))
    data[position : position + len(value)] = value
    with pytest.raises(RemoteProtocolError) as caught:
        decode(reseal(data), in_session=True)
    assert caught.value.reason == fault


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("channel", 1, Fault.CHANNEL),
        ("count", 1, Fault.COUNT),
        ("first_sequence", 1, Fault.SEQUENCE),
        ("acknowledged", 1, Fault.ACKNOWLEDGEMENT),
        ("credit", 1, Fault.CREDIT),
        ("session", 0, Fault.SESSION),
    ],
)
def test_a_field_that_its_type_has_not_must_be_zero(field: str, value: int, fault: Fault) -> None:
    goodbye = attrs.evolve(SESSION_FRAMES[-1], **{field: value})  # type: ignore[arg-type]
    with pytest.raises(RemoteProtocolError) as caught:
        decode(encode(goodbye), in_session=True)
    assert caught.value.reason == fault


def a_frame(kind: FrameType, flags: Flag, size: int) -> Frame:
    return Frame(kind=kind, flags=flags, session=SESSION, payload=memoryview(bytes(size)))


@pytest.mark.parametrize(
    ("frame", "fault"),
    [
        (a_frame(FrameType.PUSH, Flag.LAST, 45), Fault.FLAGS),
        (a_frame(FrameType.PUSH, Flag.REQUEST | Flag.REPLY, 45), Fault.FLAGS),
        (a_frame(FrameType.PUSH, Flag.REQUEST | Flag.MESSAGE_ATTACHED, 45), Fault.FLAGS),
        (a_frame(FrameType.PUSH, Flag.MESSAGE_ATTACHED | Flag.LAST, 45), Fault.FLAGS),
        (a_frame(FrameType.PULL, Flag.REQUEST, 56), Fault.FLAGS),
        (a_frame(FrameType.TRANSFER_DONE, Flag.LAST, 17), Fault.FLAGS),
        (a_frame(FrameType.PUSH, Flag.REQUEST, 44), Fault.SIZE),
        (a_frame(FrameType.PUSH, Flag.REPLY | Flag.LAST, 44), Fault.SIZE),
        (a_frame(FrameType.PUSH, Flag.REQUEST, 44 + FRAGMENT_SIZE_MAX + 1), Fault.SIZE),
        (a_frame(FrameType.PULL, Flag.NONE, 55), Fault.SIZE),
        (a_frame(FrameType.PULL, Flag.NONE, 57), Fault.SIZE),
        (a_frame(FrameType.WITHDRAW, Flag.NONE, 7), Fault.SIZE),
        (a_frame(FrameType.WITHDRAW, Flag.NONE, 9), Fault.SIZE),
        (a_frame(FrameType.TRANSFER_DONE, Flag.NONE, 16), Fault.SIZE),
        (a_frame(FrameType.TRANSFER_DONE, Flag.NONE, 50), Fault.SIZE),
        (attrs.evolve(a_frame(FrameType.PUSH, Flag.REQUEST, 45), channel=1), Fault.CHANNEL),
        (attrs.evolve(a_frame(FrameType.PUSH, Flag.REPLY, 45), count=1), Fault.COUNT),
        (attrs.evolve(a_frame(FrameType.PULL, Flag.NONE, 56), credit=1), Fault.CREDIT),
        (attrs.evolve(a_frame(FrameType.TRANSFER_DONE, Flag.NONE, 17), first_sequence=1), Fault.SEQUENCE),
    ],
)
def test_frames_of_transfers_keep_their_layout(frame: Frame, fault: Fault) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode(encode(frame), in_session=True)
    assert caught.value.reason == fault


@pytest.mark.parametrize("frame", HELLO_FRAMES, ids=lambda frame: frame.kind.name)
def test_there_is_no_epoch_before_the_session(frame: Frame) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode(encode(attrs.evolve(frame, epoch=1)), in_session=False)
    assert caught.value.reason == Fault.EPOCH


@pytest.mark.parametrize("field", ["session", "epoch"])
def test_a_hello_has_neither_session_nor_epoch(field: str) -> None:
    hello = attrs.evolve(HELLO_FRAMES[0], **{field: 1})  # type: ignore[arg-type]
    with pytest.raises(RemoteProtocolError) as caught:
        decode(encode(hello), in_session=False)
    assert caught.value.reason == field


def test_a_push_carries_at_most_one_message() -> None:
    push = attrs.evolve(SESSION_FRAMES[3], count=2)
    with pytest.raises(RemoteProtocolError, match="count"):
        decode(encode(push), in_session=True)


@pytest.mark.parametrize("frame", SESSION_FRAMES, ids=lambda frame: frame.kind.name)
def test_nothing_but_a_hello_is_accepted_before_the_session(frame: Frame) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode(encode(frame), in_session=False)
    assert caught.value.reason == Fault.TYPE


@pytest.mark.parametrize("frame", HELLO_FRAMES, ids=lambda frame: frame.kind.name)
def test_no_hello_is_accepted_within_a_session(frame: Frame) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode(encode(frame), in_session=True)
    assert caught.value.reason == Fault.TYPE


def test_a_large_hello_is_refused_from_its_header_alone() -> None:
    header = encode_header(FrameType.HELLO, (bytes(HELLO_SIZE_MAX + 1),))
    with pytest.raises(RemoteProtocolError, match="size"):
        decode(header, in_session=False)


def test_the_buffer_before_the_session_holds_one_refusal_with_a_hello_and_no_more() -> None:
    decoder = FrameDecoder()
    assert len(decoder.space()) == HEADER_SIZE + REASON_SIZE_MAX + HELLO_SIZE_MAX


@pytest.mark.parametrize("kind", [kind for kind, rule in FRAME_RULES.items() if rule.hello])
def test_the_largest_frame_before_the_session_fits_however_it_comes(kind: FrameType) -> None:
    rule = FRAME_RULES[kind]
    body = bytes(rule.size_max)
    data = encode_header(kind, (body,), session=int(rule.in_session)) + body
    for chunk in (1000, len(data)):
        (frame,) = decode(data, in_session=False, chunk=chunk)
        assert (frame.kind, len(frame.payload)) == (kind, rule.size_max)


def test_bytes_behind_the_confirmation_belong_to_the_session() -> None:
    decoder = FrameDecoder()
    confirm, heartbeat = encode(HELLO_FRAMES[3]), encode(SESSION_FRAMES[0])
    data = confirm + heartbeat[:30]
    decoder.space()[: len(data)] = data
    decoder.received(len(data))
    first = decoder.next_frame()
    assert first is not None
    assert first.kind is FrameType.HELLO_CONFIRM
    decoder.admit()
    assert decoder.next_frame() is None
    rest = heartbeat[30:]
    decoder.space()[: len(rest)] = rest
    decoder.received(len(rest))
    assert decoder.next_frame() == SESSION_FRAMES[0]


def test_payloads_are_not_copied() -> None:
    decoder = FrameDecoder()
    decoder.admit()
    data = encode(MESSAGES)
    space = decoder.space()
    space[: len(data)] = data
    decoder.received(len(data))
    frame = decoder.next_frame()
    assert frame is not None
    space[HEADER_SIZE] = 0xEE
    assert frame.payload[0] == 0xEE


def put(decoder: FrameDecoder, data: bytes) -> memoryview:
    """Receive it, at once; the space that there was."""
    space = decoder.space()
    space[: len(data)] = data
    decoder.received(len(data))
    return space


PUSHED = bytes(range(200))
PUSH = encode(
    Frame(
        kind=FrameType.PUSH,
        flags=Flag.REQUEST | Flag.LAST,
        session=SESSION,
        payload=memoryview(fragment_prefix(Fragment(1, bytes(16), 0, 200, PUSHED)) + PUSHED),
    )
)


def test_the_data_of_a_push_is_received_where_it_belongs() -> None:
    decoder, memory = FrameDecoder(), bytearray(200)
    decoder.admit()
    put(decoder, PUSH[: HEAD_SIZE_MAX + 10])
    head = decoder.next_frame()
    assert head is not None
    assert head.data_size == 200
    decoder.place(Landing(memoryview(memory)))
    assert memory == PUSHED[:10] + bytes(190), "what had come was moved there"
    assert decoder.next_frame() is None
    assert len(put(decoder, PUSHED[10:150])) == 190, "never more than belongs there"
    assert memory == PUSHED[:150] + bytes(50)
    assert decoder.next_frame() is None
    put(decoder, PUSHED[150:])
    assert memory == PUSHED
    assert decoder.next_frame() is PLACED


def test_pushes_seldom_come_alone_so_little_is_received_behind_one() -> None:
    decoder = FrameDecoder()
    decoder.admit()
    everything = len(decoder.space())
    for _ in range(3):
        put(decoder, PUSH[:HEAD_SIZE_MAX])
        assert decoder.next_frame() is not None
        decoder.place(Landing(memoryview(bytearray(200))))
        put(decoder, PUSHED)
        assert decoder.next_frame() is not None
        assert len(decoder.space()) == HEAD_SIZE_MAX
    heartbeat = encode(SESSION_FRAMES[0])
    for _ in range(SPARED_FRAMES):
        assert len(decoder.space()) == HEAD_SIZE_MAX
        put(decoder, heartbeat)
        assert decoder.next_frame() is not None
    assert len(decoder.space()) == everything


@pytest.mark.parametrize("came", [0, 150])
def test_memory_that_is_taken_back_gets_nothing_more_and_the_stream_stays_in_step(came: int) -> None:
    decoder, memory = FrameDecoder(), bytearray(200)
    decoder.admit()
    put(decoder, PUSH[:HEAD_SIZE_MAX])
    decoder.next_frame()
    landing = Landing(memoryview(memory))
    decoder.place(landing)
    put(decoder, PUSHED[:came])
    space = decoder.space()
    landing.release()
    landing.release()
    gone = [decoder.is_space_gone]
    with pytest.raises(ValueError, match="released"):
        space[:1] = b"x"
    memory.extend(b"resizable")
    put(decoder, bytes(200 - came))
    gone.append(decoder.is_space_gone)
    assert gone == [True, False]
    frame = decoder.next_frame()
    assert frame is PLACED, "what is not kept is not looked at"
    put(decoder, encode(SESSION_FRAMES[0]))
    assert decoder.next_frame() == SESSION_FRAMES[0]
    assert memory == PUSHED[:came] + bytes(200 - came) + b"resizable"


def test_data_that_nobody_wants_goes_nowhere() -> None:
    decoder = FrameDecoder()
    decoder.admit()
    put(decoder, PUSH[:-7])
    assert decoder.next_frame() is not None
    decoder.place(None)
    put(decoder, PUSHED[-7:])
    assert decoder.next_frame() is not None
    put(decoder, encode(SESSION_FRAMES[0]))
    assert decoder.next_frame() == SESSION_FRAMES[0]


def test_damaged_data_is_noticed_where_it_was_put() -> None:
    decoder = FrameDecoder()
    decoder.admit()
    put(decoder, PUSH[:HEAD_SIZE_MAX])
    decoder.next_frame()
    decoder.place(Landing(memoryview(bytearray(200))))
    put(decoder, PUSHED[:-1] + b"x")
    with pytest.raises(RemoteProtocolError, match="checksum"):
        decoder.next_frame()


def test_a_place_of_another_size_is_a_local_error() -> None:
    decoder = FrameDecoder()
    decoder.admit()
    with pytest.raises(LocalProtocolError):
        decoder.place(None)
    put(decoder, PUSH[:HEAD_SIZE_MAX])
    decoder.next_frame()
    with pytest.raises(LocalProtocolError):
        decoder.place(Landing(memoryview(bytearray(199))))


def test_misuse_here_is_a_local_error() -> None:
    decoder = FrameDecoder()
    with pytest.raises(LocalProtocolError):
        decoder.received(len(decoder.space()) + 1)
    decoder.admit()
    with pytest.raises(LocalProtocolError):
        decoder.admit()


@given(st.binary(max_size=300), st.booleans(), st.integers(1, 300))
def test_any_bytes_give_frames_or_a_remote_error(data: bytes, in_session: bool, chunk: int) -> None:
    assert decode_or_fault(data, in_session=in_session, chunk=chunk) in [[], *Fault]


@given(
    st.sampled_from(HELLO_FRAMES + SESSION_FRAMES),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4),
    st.booleans(),
)
def test_sealed_but_damaged_frames_give_frames_or_a_remote_error(
    frame: Frame, damage: list[tuple[int, int]], in_session: bool
) -> None:
    data = bytearray(encode(frame))
    for position, value in damage:
        data[position % len(data)] = value
    result = decode_or_fault(reseal(data), in_session=in_session)
    for decoded in [] if isinstance(result, Fault) else result:
        assert (decoded.session != 0) == (decoded.kind not in {FrameType.HELLO, FrameType.HELLO_REFUSE})
