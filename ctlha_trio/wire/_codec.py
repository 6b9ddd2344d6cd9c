"""Bytes to frames and back."""

from collections.abc import Sequence

import attrs
from crc32c import crc32c

from ctlha_trio._errors import LocalProtocolError, RemoteProtocolError
from ctlha_trio.wire._frame import (
    BODY,
    CHANNEL_MAX,
    FRAME_RULES,
    FRAME_SIZE_MAX,
    FRAME_VERSION,
    HEADER_SIZE,
    HELLO_SIZE_MAX,
    MAGIC,
    PREFIX,
    PUSH_RULES,
    Bytes,
    Fault,
    Flag,
    Frame,
    FrameRule,
    FrameType,
)

START = MAGIC + bytes([FRAME_VERSION])
CHECKSUM_OF_START = crc32c(PREFIX.pack(START, 0))
HELLO_BUFFER_SIZE = HEADER_SIZE + HELLO_SIZE_MAX
"""What a connection may make us keep before its session is agreed."""
SESSION_BUFFER_SIZE = 1024 * 1024
"""Three of the largest frames, so that a partial one is seldom moved."""
KINDS = {kind.value: kind for kind in FrameType}


def encode_header(
    kind: FrameType,
    payload: Sequence[Bytes] = (),
    *,
    flags: Flag = Flag.NONE,
    channel: int = 0,
    count: int = 0,
    session: int = 0,
    epoch: int = 0,
    first_sequence: int = 0,
    acknowledged: int = 0,
    credit: int = 0,
) -> bytes:
    """The header of a frame whose payload is ``payload``, piece after piece. The caller sends those behind it."""
    size = sum(map(len, payload))
    body = BODY.pack(kind, flags, channel, count, 0, session, epoch, first_sequence, acknowledged, credit, size)
    checksum = crc32c(body, CHECKSUM_OF_START)
    for piece in payload:
        checksum = crc32c(piece, checksum)
    return PREFIX.pack(START, checksum) + body


def _refuse(fault: Fault, detail: str) -> RemoteProtocolError:
    return RemoteProtocolError(fault.value, detail)


@attrs.define(eq=False)
class FrameDecoder:
    """Cuts received bytes into frames, in place, over one buffer of fixed size.

    Before ``admit`` only the frames of a hello are allowed and the buffer is small. A ``RemoteProtocolError`` is the
    end: what follows a refused frame means nothing.
    """

    _view: memoryview = attrs.field(factory=lambda: memoryview(bytearray(HELLO_BUFFER_SIZE)))
    _start: int = 0
    _end: int = 0
    _frame_size: int = 0
    """Size of the frame that begins at ``_start``, 0 until its header is there."""
    _in_session: bool = False

    def admit(self) -> None:
        """The session is agreed: allow its frames. Keeps what is already received."""
        if self._in_session:
            raise LocalProtocolError("admitted twice")
        view = memoryview(bytearray(SESSION_BUFFER_SIZE))
        held = self._end - self._start
        view[:held] = self._view[self._start : self._end]
        self._view, self._start, self._end = view, 0, held
        self._frame_size = 0
        self._in_session = True

    def space(self) -> memoryview:
        """Where the next bytes are to be received, never empty. Frames handed out before are gone."""
        held = self._end - self._start
        if held == 0:
            self._start = self._end = 0
        elif self._start + max(self._frame_size, HEADER_SIZE) > len(self._view):
            self._view[:held] = self._view[self._start : self._end]
            self._start, self._end = 0, held
        room = self._view[self._end :]
        if not room:
            raise LocalProtocolError("frames were not taken before more bytes were asked for")
        return room

    def received(self, size_bytes: int) -> None:
        """So many bytes were put at the beginning of ``space()``."""
        if not 0 <= size_bytes <= len(self._view) - self._end:
            raise LocalProtocolError("more bytes received than there was space for")
        self._end += size_bytes

    def next_frame(self) -> Frame | None:
        """The next whole frame, or None until more bytes come."""
        held = self._end - self._start
        if held < HEADER_SIZE:
            return None
        if self._frame_size == 0:
            self._frame_size = self._measure()
        if held < self._frame_size:
            return None
        frame = self._cut()
        self._start += self._frame_size
        self._frame_size = 0
        return frame

    def _measure(self) -> int:
        """Size of the frame whose header is there; refuses what need not be waited for."""
        start = self._start
        if self._view[start : start + len(MAGIC)] != MAGIC:
            raise _refuse(Fault.MAGIC, "not a frame")
        if self._view[start + len(MAGIC)] != FRAME_VERSION:
            raise _refuse(Fault.FRAME_VERSION, str(self._view[start + len(MAGIC)]))
        number, flags, _, _, _, _, _, _, _, _, size = BODY.unpack_from(self._view, start + PREFIX.size)
        kind = KINDS.get(number)
        if kind is None:
            raise _refuse(Fault.TYPE, str(number))
        if FRAME_RULES[kind].hello == self._in_session:
            raise _refuse(Fault.TYPE, f"{kind.name} {'in' if self._in_session else 'before'} the session")
        rule = _rule_of(kind, flags)
        if rule is None:
            raise _refuse(Fault.FLAGS, f"{flags:#x} on {kind.name}")
        if not rule.size_min <= size <= rule.size_max:
            raise _refuse(Fault.SIZE, f"{size} bytes of {kind.name}")
        return HEADER_SIZE + int(size)

    def _cut(self) -> Frame:
        start, end = self._start, self._start + self._frame_size
        _, checksum = PREFIX.unpack_from(self._view, start)
        if checksum != crc32c(self._view[start + PREFIX.size : end], CHECKSUM_OF_START):
            raise _refuse(Fault.CHECKSUM, "frame damaged on its way")
        number, flags, channel, count, reserved, session, epoch, first, acknowledged, credit, _ = BODY.unpack_from(
            self._view, start + PREFIX.size
        )
        if reserved:
            raise _refuse(Fault.RESERVED, f"{reserved:#x}")
        frame = Frame(
            kind=KINDS[number],
            flags=Flag(flags),
            channel=channel,
            count=count,
            session=session,
            epoch=epoch,
            first_sequence=first,
            acknowledged=acknowledged,
            credit=credit,
            payload=self._view[start + HEADER_SIZE : end],
        )
        _check_fields(frame)
        return frame


def _rule_of(kind: FrameType, flags: int) -> FrameRule | None:
    """What a frame of that type with those flags must keep; None if it may not carry them."""
    if kind is FrameType.PUSH:
        return PUSH_RULES.get(flags)
    return None if flags else FRAME_RULES[kind]


def _check_fields(frame: Frame) -> None:
    """Refuse a field that is set where its type has none, or missing where it needs one."""
    rule = _rule_of(frame.kind, frame.flags)
    assert rule is not None, "measured"
    name = frame.kind.name
    if (frame.session != 0) != rule.in_session:
        raise _refuse(Fault.SESSION, f"{frame.session:#x} on {name}")
    if not rule.in_session and frame.epoch:
        raise _refuse(Fault.EPOCH, f"{frame.epoch} on {name}")
    if not (1 <= frame.channel <= CHANNEL_MAX if rule.channel else frame.channel == 0):
        raise _refuse(Fault.CHANNEL, f"{frame.channel} on {name}")
    attached = frame.kind is FrameType.PUSH
    if not (1 <= frame.count <= (1 if attached else 0xFFFF) if rule.messages else frame.count == 0):
        raise _refuse(Fault.COUNT, f"{frame.count} on {name}")
    if (frame.first_sequence != 0) != rule.messages:
        raise _refuse(Fault.SEQUENCE, f"{frame.first_sequence} on {name}")
    if not rule.channel and frame.acknowledged:
        raise _refuse(Fault.ACKNOWLEDGEMENT, f"{frame.acknowledged} on {name}")
    if not rule.channel and frame.credit:
        raise _refuse(Fault.CREDIT, f"{frame.credit} on {name}")


assert FRAME_SIZE_MAX <= SESSION_BUFFER_SIZE, "the largest frame must fit the receive buffer"
