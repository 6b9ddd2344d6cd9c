"""A good session, frame by frame, of which something is changed: that is taken in, or noticed by name.

Frames are dropped, sent twice, in another order, cut, and changed in a bit or a field, with a checksum that is right
again or not. So many are enough to reach every type of frame and every fault; where one cannot be reached any more, the
fuzzer has become blind. ``test_link_fuzz.py`` invents sessions; a longer run of both, by ``CTLHA_FUZZ_EXAMPLES``.
"""

import os
import random
import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

import attrs
import pytest
from crc32c import crc32c

from ctlha_trio._errors import DisconnectError, RefusedError, RemoteProtocolError
from ctlha_trio._vocabulary import ctl_ha_status
from ctlha_trio.link._handshake import Handshake
from ctlha_trio.seams import Buffer
from ctlha_trio.wire import (
    CHANNEL_OPEN_BODY,
    DONE_PREFIX,
    HEADER_SIZE,
    OWN_TERMS,
    PULL_BODY,
    WITHDRAW_BODY,
    Denial,
    Fault,
    Flag,
    Fragment,
    Frame,
    FrameType,
    Hello,
    KnownRecord,
    Refusal,
    ResourceState,
    encode_header,
    encode_hello,
    encode_refusal,
    encode_terms,
    fragment_prefix,
    push_prefix,
    session_id,
)
from ctlha_trio.wire._frame import FRAME_RULES, LATE_HEARTBEAT_BODY, PUSH_RULES
from tests.unit.link.test_link_fuzz import MEMORY_BYTES, SESSION, SLOT, SLOTS, Receiver, make_receiver

EXAMPLES: Final = 4 * int(os.environ.get("CTLHA_FUZZ_EXAMPLES", "500"))
"""Of each kind; the default is the least that reaches everything, and half as much again."""
HALF: Final = MEMORY_BYTES // 2
FIELDS: Final = [
    (3, 1),
    (8, 1),
    (9, 1),
    (10, 2),
    (12, 2),
    (14, 2),
    (16, 8),
    (24, 8),
    (32, 8),
    (40, 8),
    (48, 4),
    (52, 4),
]
"""Offset and size of those of a header, but for magic and checksum."""
OWN: Final = Hello(cluster="c", node="a", incarnation=1, session_half=2, resources=(ResourceState("r", 0, 0),))
KNOWN: Final = KnownRecord("line", 4, 4, leads=True, ancestors=("older",))
THEIRS: Final = attrs.evolve(OWN, node="b", session_half=3, resources=(ResourceState("r", 4, 4, 0, KNOWN),))


def frame(kind: FrameType, *payload: bytes, flags: Flag = Flag.NONE, session: int = SESSION, **fields: int) -> bytes:
    epoch = 3 if session == SESSION else 0
    header = encode_header(kind, payload, flags=flags, session=session, epoch=epoch, **fields)
    return header + b"".join(payload)


def push(data: bytes, prefix: bytes, *behind: bytes, flags: Flag, **fields: int) -> bytes:
    return frame(FrameType.PUSH, prefix, data, *behind, flags=flags, **fields)


def fragment(part: Fragment, way: Flag) -> bytes:
    return push(bytes(part.data), fragment_prefix(part), flags=way | (Flag.LAST if part.is_last else Flag.NONE))


def session_of(receiver: Receiver) -> list[bytes]:
    """All that a peer may say, each kind of it at least once, as the receiver expects it."""
    write, read = receiver.keys
    offer, data, message = CHANNEL_OPEN_BODY.pack(SLOT, SLOTS), bytes(range(8)), b"m" * SLOT
    return [
        *(frame(FrameType.CHANNEL_OPEN, offer, channel=channel, credit=SLOTS) for channel in (1, 0x80)),
        frame(FrameType.HEARTBEAT, LATE_HEARTBEAT_BODY.pack(5, 0, 0, 0)),
        frame(FrameType.MESSAGES, message * 2, channel=1, count=2, first_sequence=1, credit=SLOTS),
        push(data, push_prefix(write, 0, data), flags=Flag.NONE),
        push(
            data,
            push_prefix(write, 8, data, message),
            message,
            flags=Flag.MESSAGE_ATTACHED,
            channel=0x80,
            count=1,
            first_sequence=1,
            credit=SLOTS,
        ),
        fragment(Fragment(1, write, 16, 16, data), Flag.REQUEST),
        fragment(Fragment(1, write, 24, 8, data), Flag.REQUEST),
        frame(FrameType.PULL, PULL_BODY.pack(2, read, 0, 8, bytes(16))),
        fragment(Fragment(3, write, 32, 16, data), Flag.REQUEST),
        frame(FrameType.WITHDRAW, WITHDRAW_BODY.pack(3)),
        frame(FrameType.TRANSFER_DONE, DONE_PREFIX.pack(1, ctl_ha_status.CTL_HA_STATUS_SUCCESS, 0)),
        fragment(Fragment(2, receiver.reply_keys[0], 0, HALF, bytes(HALF // 2)), Flag.REPLY),
        fragment(Fragment(2, receiver.reply_keys[0], HALF // 2, HALF // 2, bytes(HALF // 2)), Flag.REPLY),
        frame(FrameType.TRANSFER_DONE, DONE_PREFIX.pack(3, ctl_ha_status.CTL_HA_STATUS_ERROR, HALF), b"rights"),
        frame(FrameType.ACKNOWLEDGE, channel=1, credit=SLOTS),
        push(data, push_prefix(bytes(16), 0, data), flags=Flag.NONE),
        frame(FrameType.GOODBYE, b"stopped"),
    ]


REFUSED: Final = -2
"""Where a push is that is denied: nothing behind it counts."""


def resealed(data: bytearray) -> bytes:
    """With the checksum that belongs to it, over as much as the type and the flags say."""
    end = len(data)
    if data[8] == FrameType.PUSH:
        rule = next((rule for flags, rule in PUSH_RULES.items() if int(flags) == data[9]), PUSH_RULES[Flag.NONE])
        end = HEADER_SIZE + rule.prefix_size
    data[4:8] = bytes(4)
    data[4:8] = crc32c(bytes(data[:end])).to_bytes(4, "little")
    return bytes(data)


def damaged(rng: random.Random, whole: bytes) -> bytes:
    data = bytearray(whole)
    if len(data) < HEADER_SIZE:
        return whole  # it was cut before
    match rng.randrange(4):
        case 0:
            return whole[: rng.randrange(len(whole))]
        case 1:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            return bytes(data)
        case 2:
            place = rng.randrange(HEADER_SIZE, len(data)) if len(data) > HEADER_SIZE else 14
            data[place] ^= 1 << rng.randrange(8)
        case _:
            offset, size = rng.choice(FIELDS)
            top = (1 << 8 * size) - 1
            old = int.from_bytes(data[offset : offset + size], "little")
            new = rng.choice((0, 1, 2, top, top // 2 + 1, old + 1, old - 1)) & top
            data[offset : offset + size] = new.to_bytes(size, "little")
    return resealed(data)


def mutated(rng: random.Random, frames: Sequence[bytes]) -> list[bytes]:
    """Something of it is different, once or twice."""
    frames = list(frames)
    for _ in range(rng.choice((1, 1, 1, 2))):
        place, other = rng.randrange(len(frames)), rng.randrange(len(frames))
        match rng.randrange(6):
            case 0 if len(frames) > 1:
                del frames[place]
            case 1:
                frames.insert(other, frames[place])
            case 2:
                frames[place], frames[other] = frames[other], frames[place]
            case _:
                frames[place] = damaged(rng, frames[place])
    return frames


def pieces(rng: random.Random, frames: Sequence[bytes]) -> list[bytes]:
    """As they come: with all that is ready, or a few bytes at a time."""
    data, size = b"".join(frames), rng.choice((7, 60, 300, 1 << 20))
    return [data[start : start + size] for start in range(0, len(data), size)]


def receive(receiver: Receiver, coming: Sequence[bytes]) -> str:
    """Until the session ends; the fault, empty without one."""
    connection, decoder = receiver.connection, receiver.connection.decoder
    try:
        for piece in coming:
            left = memoryview(piece)
            while left and not connection._ended.is_set():
                space = decoder.space()
                size = min(len(space), len(left))
                space[:size] = left[:size]
                left = left[size:]
                connection._take(size)
                receiver.check()
    except RemoteProtocolError as error:
        return error.reason
    finally:
        receiver.check()
    return ""


def test_the_session_is_good_until_its_last_push_but_one() -> None:
    receiver = make_receiver()
    frames = session_of(receiver)
    assert receive(receiver, frames[:REFUSED]) == ""
    assert [transfer.status.name for transfer in receiver.done] == ["CTL_HA_STATUS_SUCCESS"] * 2 + [
        "CTL_HA_STATUS_ERROR"
    ]
    assert [len(channel.receive_all_nowait()) for channel in receiver.channels] == [2, 1]
    assert receive(receiver, frames[REFUSED:]) == Denial.UNKNOWN_KEY


def test_whatever_is_changed_of_a_good_session_is_taken_or_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, faults, taken = random.Random(1), Counter[str](), Counter[FrameType]()
    core = type(make_receiver().connection.core)
    plain = core.receive

    def count(session: object, frame: Frame, now: float) -> None:
        plain(session, frame, now)  # type: ignore[arg-type]
        taken[frame.kind] += 1

    monkeypatch.setattr(core, "receive", count)
    for _ in range(EXAMPLES):
        receiver = make_receiver()
        frames = session_of(receiver)
        if rng.randrange(8):
            del frames[REFUSED]
        if rng.randrange(2):
            frames[-1] = frame(FrameType.DROP, b"checksum")
        faults[receive(receiver, pieces(rng, mutated(rng, frames)))] += 1
    assert taken.keys() == {kind for kind, rule in FRAME_RULES.items() if not rule.hello}
    assert faults.keys() <= {"", *Fault, *Denial}
    assert set(Fault) - faults.keys() <= {Fault.HELLO, Fault.TERMS}, "of the frames before a session"
    assert faults.keys() >= {"", Denial.UNKNOWN_KEY, Denial.OUT_OF_RANGE}


# Before the session


@attrs.define(eq=False)
class Recorded:
    """The other side has sent this, and hangs up."""

    coming: list[bytes]
    description: str = "recorded"

    def send_nowait(self, *pieces: Buffer) -> bool:
        """It listens to nothing."""
        return True

    async def flush(self) -> None:
        """Nothing is kept."""

    async def send_all(self, *pieces: Buffer) -> None:
        """It listens to nothing."""

    async def receive_into(self, buffer: memoryview) -> int:
        """What was recorded, 0 behind it."""
        if not self.coming:
            return 0
        piece = self.coming[0][: len(buffer)]
        buffer[: len(piece)] = piece
        self.coming[0] = self.coming[0][len(piece) :]
        if not self.coming[0]:
            del self.coming[0]
        return len(piece)

    def close(self) -> None:
        """Nothing to close."""


def hello_frames(role: str) -> list[bytes]:
    theirs = encode_hello(THEIRS)
    if role == "acceptor":
        session = session_id(dialler_half=THEIRS.session_half, acceptor_half=OWN.session_half)
        return [
            frame(FrameType.HELLO, theirs, session=0),
            frame(FrameType.TERMS, encode_terms(OWN_TERMS), session=session),
            frame(FrameType.HELLO_CONFIRM, session=session),
        ]
    if role == "refused":
        return [frame(FrameType.HELLO_REFUSE, encode_refusal(Refusal.STOPPING, THEIRS), session=0)]
    session = session_id(dialler_half=OWN.session_half, acceptor_half=THEIRS.session_half)
    return [
        frame(FrameType.HELLO_ACCEPT, theirs, session=session),
        frame(FrameType.TERMS, encode_terms(OWN_TERMS), session=session),
    ]


async def outcome(role: str, coming: list[bytes]) -> str:
    handshake = Handshake(Recorded(coming))
    try:
        if role == "acceptor":
            agreed = await handshake.accept(OWN, await handshake.receive_hello())
            await handshake.hear_terms(agreed)
            await handshake.hear_confirmation(agreed)
        else:
            agreed = await handshake.propose(OWN)
            await handshake.hear_terms(agreed)
    except RemoteProtocolError as error:
        return error.reason
    except RefusedError as error:
        return "refused" if re.fullmatch("[a-z][a-z0-9-]{,31}", error.reason) else error.reason
    except DisconnectError:
        return "cut short"
    return "agreed"


@pytest.mark.parametrize(
    ("role", "good", "terms"),
    [("acceptor", "agreed", {Fault.TERMS}), ("dialler", "agreed", {Fault.TERMS}), ("refused", "refused", set())],
)
async def test_whatever_is_changed_of_a_good_hello_exchange_is_agreed_or_refused_by_name(
    role: str, good: str, terms: set[str]
) -> None:
    rng, outcomes = random.Random(2), Counter[str]()
    assert await outcome(role, hello_frames(role)) == good
    for _ in range(EXAMPLES):
        outcomes[await outcome(role, pieces(rng, mutated(rng, hello_frames(role))))] += 1
    assert outcomes.keys() <= {"agreed", "refused", "cut short", *Fault}
    everywhere = {Fault.MAGIC, Fault.FRAME_VERSION, Fault.CHECKSUM, Fault.TYPE, Fault.FLAGS, Fault.SIZE, Fault.RESERVED}
    reached = {good, "cut short", Fault.HELLO, Fault.SESSION, Fault.EPOCH, Fault.CHANNEL} | terms | everywhere
    assert outcomes.keys() >= reached
