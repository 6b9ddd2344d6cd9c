"""Whatever an admitted peer sends is taken in, or ends the session by a reason of the closed list, and nothing else.

Scripts of frames that mostly make sense, with numbers at their bounds, some of them damaged, cut short, sent twice or
in another order, come in pieces of any size to the receiving half of a session: decoder, session, channels, requests,
answers and registered memory. A longer run:
``CTLHA_FUZZ_EXAMPLES=100000 python -m pytest tests/unit/link/test_link_fuzz.py``.
"""

import os
import random
from collections.abc import Sequence
from typing import Final

import attrs
from crc32c import crc32c
from hypothesis import HealthCheck, given, settings, strategies as st

from ctlha_trio._errors import CtlHaError, RemoteProtocolError
from ctlha_trio._vocabulary import RemoteBuffer, ctl_ha_status
from ctlha_trio.dma import Rights
from ctlha_trio.dma._regions import RegionTable
from ctlha_trio.link import Channel, Transfer
from ctlha_trio.link._connection import Connection
from ctlha_trio.link._statistics import LinkCounters
from ctlha_trio.seams import Buffer
from ctlha_trio.wire import (
    CHANNEL_OPEN_BODY,
    DONE_PREFIX,
    OWN_TERMS,
    PULL_BODY,
    WITHDRAW_BODY,
    Denial,
    Fault,
    Flag,
    Fragment,
    FrameDecoder,
    FrameType,
    SessionCore,
    encode_header,
    encode_reason,
    fragment_prefix,
    push_prefix,
)
from ctlha_trio.wire._frame import FRAME_RULES, LATE_HEARTBEAT_BODY

EXAMPLES: Final = int(os.environ.get("CTLHA_FUZZ_EXAMPLES", "300"))
SESSION: Final = 0x1122334455667788
SLOT, SLOTS = 16, 4
MEMORY_BYTES = 64
RIGHT: Final = 400
"""Times that the right number is drawn for one that each of the others is: a frame has a dozen."""
KINDS: Final = [kind for kind in FrameType for _ in range(1 if FRAME_RULES[kind].hello else 10)]
GUARD = b"\xa5" * 64
REASONS: Final = {reason.value for reason in (*Fault, *Denial)}


class NoStream:
    """Of the connection under test, which only receives."""

    description = "fuzz"

    def send_nowait(self, *pieces: Buffer) -> bool:
        """Gone."""
        return True

    async def flush(self) -> None:
        """Nothing is kept."""

    async def send_all(self, *pieces: Buffer) -> None:
        """Never called: nothing writes."""

    async def receive_into(self, buffer: memoryview) -> int:
        """Never called: the bytes are given to the decoder."""
        raise AssertionError

    def close(self) -> None:
        """Nothing to close."""


class Clock:
    """Stands still."""

    def now(self) -> float:
        """Seconds."""
        return 1.0

    def boottime(self) -> float:
        """Seconds."""
        return 1.0

    async def sleep_until(self, deadline_s: float) -> None:
        """Never called."""
        raise AssertionError


@attrs.define(eq=False)
class Receiver:
    """The receiving half of a session with two channels, registered memory, a push and two pulls under way."""

    connection: Connection
    channels: list[Channel]
    memory: bytearray
    """What the peer may reach, between two guards."""
    into: bytearray
    """What is pulled, between two guards."""
    keys: list[bytes]
    reply_keys: list[bytes]
    done: list[Transfer]

    def check(self) -> None:
        """What holds whatever came."""
        for guarded in (self.memory, self.into):
            assert guarded.startswith(GUARD)
            assert guarded.endswith(GUARD)
        for channel in self.channels:
            assert 0 <= channel._received - channel._consumed <= SLOTS
        assert len({id(transfer) for transfer in self.done}) == len(self.done), "a transfer ends once"


def make_receiver() -> Receiver:
    entropy = random.Random(1).randbytes
    regions = RegionTable(entropy, lambda: 1.0)
    memory = bytearray(GUARD + bytes(MEMORY_BYTES) + GUARD)
    into = bytearray(GUARD + bytes(MEMORY_BYTES) + GUARD)
    reports: list[CtlHaError] = []
    connection = Connection(
        stream=NoStream(),
        decoder=FrameDecoder(),
        core=SessionCore.begin(session=SESSION, epoch=3, peer_epoch=3, now=0.0, terms=OWN_TERMS),
        clock=Clock(),
        alive=lambda: True,
        report=reports.append,
        counters=LinkCounters(),
        placement=regions,
        peer_incarnation=1,
        peer_revision=0,
        same_version=True,
        on_end=lambda: None,
    )
    connection.decoder.admit()
    middle = memoryview(memory)[len(GUARD) : -len(GUARD)]
    keys = [regions.add(middle, epoch=3, rights=rights).key for rights in (Rights.WRITE, Rights.READ)]
    channels = [Channel(number, SLOT, SLOTS, on_drained=lambda _: None) for number in (1, 0x80)]
    for channel in channels:
        connection.join(channel)
    connection._writer.write_control(channels, 1.0)
    done: list[Transfer] = []
    requests = connection.open_requests()
    requests.push(RemoteBuffer(bytes(16)), memoryview(b"data"), done.append)
    reply_keys = [entropy(16), entropy(16)]
    half = len(GUARD) + MEMORY_BYTES // 2
    view = memoryview(into)
    requests.pull(RemoteBuffer(bytes(16)), view[len(GUARD) : half], reply_keys[0], done.append)
    requests.pull(RemoteBuffer(bytes(16)), view[half : -len(GUARD)], reply_keys[1], done.append)
    list(requests.take_pulls())
    requests.next_fragment()
    requests.sent()
    return Receiver(connection, channels, memory, into, keys, reply_keys, done)


@attrs.define
class Script:
    """Draws frames that follow from those before them, but for a number here and there."""

    draw: st.DrawFn
    receiver: Receiver
    received: dict[int, int] = attrs.field(factory=lambda: {1: 0, 0x80: 0})
    requested: int = 0

    def number(self, right: int, *, bits: int = 64) -> int:
        """Mostly the right one."""
        top = (1 << bits) - 1
        others = (right + 1, right - 1, 0, 1, 2, top, top - 1, 1 << (bits - 1), 1 << 31, 1 << 32)
        drawn = self.draw(st.sampled_from((*(right,) * RIGHT, *others)))
        return drawn if 0 <= drawn <= top else right

    def frame(
        self, kind: FrameType, *payload: bytes, flags: Flag = Flag.NONE, channel: int = 0, count: int = 0
    ) -> bytes:
        """A frame whose header fits, mostly."""
        first = self.received.get(channel, 0) + 1 if count else 0
        count = self.number(count, bits=16)
        header = encode_header(
            kind,
            payload,
            flags=flags,
            channel=self.number(channel, bits=16),
            count=count,
            session=self.number(SESSION),
            epoch=self.number(3),
            first_sequence=self.number(first),
            acknowledged=self.number(0),
            credit=self.number(SLOTS if channel else 0, bits=32),
        )
        if channel:
            self.received[channel] = self.received.get(channel, 0) + count
        return header + b"".join(payload)

    def any_frame(self) -> bytes:
        """Of any kind that a session has."""
        channel = self.draw(st.sampled_from((*(1, 0x80) * 8, 2)))
        data = self.draw(st.binary(min_size=1, max_size=MEMORY_BYTES + 8))
        match self.draw(st.sampled_from(KINDS)):
            case FrameType.HEARTBEAT as kind:
                late = self.number(0, bits=32)
                return self.frame(kind, LATE_HEARTBEAT_BODY.pack(self.number(5), self.number(0), self.number(0), late))
            case FrameType.CHANNEL_OPEN as kind:
                body = CHANNEL_OPEN_BODY.pack(self.number(SLOT, bits=32), self.number(SLOTS, bits=32))
                return self.frame(kind, body, channel=channel)
            case FrameType.MESSAGES as kind:
                count = self.draw(st.integers(1, SLOTS + 1))
                return self.frame(kind, bytes(self.number(count * SLOT, bits=12)), channel=channel, count=count)
            case FrameType.ACKNOWLEDGE as kind:
                return self.frame(kind, channel=channel)
            case FrameType.PUSH:
                return self.any_push(data, channel)
            case FrameType.PULL as kind:
                self.requested += 1
                key = self.draw(st.sampled_from((*self.receiver.keys, bytes(16))))
                size = self.number(len(data))
                body = PULL_BODY.pack(self.number(self.requested), key, self.number(0), size, bytes(16))
                return self.frame(kind, body)
            case FrameType.TRANSFER_DONE as kind:
                status = self.draw(st.sampled_from((*(int(each) for each in ctl_ha_status), 255)))
                reason = self.draw(st.sampled_from((b"", b"rights", b"busy", b"withdrawn", b"because", b"\xff\xfe")))
                request = self.number(self.draw(st.integers(1, 3)))
                return self.frame(kind, DONE_PREFIX.pack(request, status, self.number(0)) + reason)
            case FrameType.WITHDRAW as kind:
                return self.frame(kind, WITHDRAW_BODY.pack(self.number(max(1, self.requested))))
            case (FrameType.GOODBYE | FrameType.DROP) as kind:
                return self.frame(kind, self.draw(st.sampled_from((encode_reason("asked"), b"\xff", b""))))
            case kind:
                return self.frame(kind, data)

    def any_push(self, data: bytes, channel: int) -> bytes:
        """By a request, in reply to one, or with a message."""
        key = self.draw(st.sampled_from((*self.receiver.keys, bytes(16))))
        place = self.number(self.draw(st.sampled_from((0, 0, 8, MEMORY_BYTES - 1, MEMORY_BYTES))))
        left = len(data) + self.draw(st.sampled_from((0, 0, 0, 5)))
        last = Flag.NONE if left > len(data) else Flag.LAST
        match self.draw(st.sampled_from((Flag.NONE, Flag.MESSAGE_ATTACHED, Flag.REQUEST, Flag.REPLY))):
            case Flag.NONE:
                return self.frame(FrameType.PUSH, push_prefix(key, place, data), data)
            case Flag.MESSAGE_ATTACHED as flags:
                message = bytes(SLOT)
                prefix = push_prefix(key, place, data, message)
                return self.frame(FrameType.PUSH, prefix, data, message, flags=flags, channel=channel, count=1)
            case Flag.REQUEST as flags:
                self.requested += 1
                fragment = Fragment(self.number(self.requested), key, place, self.number(left), data)
                return self.frame(FrameType.PUSH, fragment_prefix(fragment), data, flags=flags | last)
            case flags:
                which = self.draw(st.integers(0, 1))
                data = data[: MEMORY_BYTES // 2] if self.draw(st.booleans()) else data.ljust(MEMORY_BYTES // 2, b"x")
                left = self.number(MEMORY_BYTES // 2)
                fragment = Fragment(self.number(2 + which), self.receiver.reply_keys[which], self.number(0), left, data)
                last = Flag.LAST if left == len(data) else Flag.NONE
                return self.frame(FrameType.PUSH, fragment_prefix(fragment), data, flags=flags | last)


@st.composite
def scripts(draw: st.DrawFn) -> tuple[Receiver, bytes, Sequence[int]]:
    """A receiver, the bytes that it gets, and the sizes of the pieces in which they come."""
    receiver = make_receiver()
    script = Script(draw, receiver)
    opened = [
        encode_header(FrameType.CHANNEL_OPEN, (body,), session=SESSION, epoch=3, channel=number, credit=SLOTS) + body
        for number in (1, 0x80)
        for body in (CHANNEL_OPEN_BODY.pack(SLOT, SLOTS),)
    ]
    frames = [script.any_frame() for _ in range(draw(st.integers(1, 8)))]
    if draw(st.sampled_from((True, True, True, False))):
        frames = opened + frames
    if draw(st.sampled_from((False, False, True))):
        frames = draw(st.permutations(frames))
    if draw(st.sampled_from((False, False, True))):
        frames.append(draw(st.sampled_from(frames)))
    if draw(st.sampled_from((False, True))):
        place = draw(st.integers(0, len(frames) - 1))
        frames[place] = damage(draw, frames[place])
    return receiver, b"".join(frames), draw(st.lists(st.integers(1, 300), min_size=1, max_size=8))


def damage(draw: st.DrawFn, frame: bytes) -> bytes:
    """Cut, or changed in one byte, with a checksum that is right again or not."""
    place = draw(st.integers(0, len(frame) - 1))
    if draw(st.booleans()):
        return frame[:place]
    changed = bytearray(frame)
    changed[place] ^= 1 << draw(st.integers(0, 7))
    if draw(st.booleans()):
        changed[4:8] = bytes(4)
        changed[4:8] = crc32c(bytes(changed)).to_bytes(4, "little")
    return bytes(changed)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(scripts())
def test_only_what_is_allowed_gets_through(script: tuple[Receiver, bytes, Sequence[int]]) -> None:
    receiver, data, sizes = script
    connection, decoder = receiver.connection, receiver.connection.decoder
    turn, reason = 0, None
    try:
        while data and not connection._ended.is_set():
            space = decoder.space()
            size = min(len(space), len(data), sizes[turn % len(sizes)])
            space[:size] = data[:size]
            data, turn = data[size:], turn + 1
            connection._take(size)
            receiver.check()
    except RemoteProtocolError as error:
        reason = error.reason
    assert reason is None or reason in REASONS
    receiver.check()
