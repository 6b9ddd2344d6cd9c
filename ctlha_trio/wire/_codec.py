"""Bytes to frames and back."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
from crc32c import crc32c

from ctlha_trio._errors import LocalProtocolError, RemoteProtocolError
from ctlha_trio.wire._frame import (
    BODY,
    CHECKSUM,
    FRAME_RULES,
    FRAME_SIZE_MAX,
    FRAME_VERSION,
    HEAD_SIZE_MAX,
    HEADER,
    HEADER_SIZE,
    MAGIC,
    PREFIX,
    PUSH_RULES,
    REPLIES,
    RULES,
    RULES_IN_SESSION,
    RULES_OF_HELLO,
    Bytes,
    Fault,
    Flag,
    Frame,
    FrameRule,
    FrameType,
    Known,
)
from ctlha_trio.wire._landing import Landing

PLACED = Frame(kind=FrameType.PUSH)
"""What stands for a push whose head was handed out before, when its data is where it belongs."""
CHANGED = Frame(kind=FrameType.PUSH)
"""The same of a reply whose data is there, but not as it was when its checksum was made."""
_PUSH: Final = FrameType.PUSH
_MESSAGES: Final = int(FrameType.MESSAGES)
_BODY_START: Final = PREFIX.size
START = MAGIC + bytes([FRAME_VERSION])
CHECKSUM_OF_START = crc32c(PREFIX.pack(START, 0))
HELLO_BUFFER_SIZE = HEADER_SIZE + max(rule.size_max for rule in FRAME_RULES.values() if rule.hello)
"""What a connection may make us keep before its session is agreed: the largest of these frames, and no more."""
SESSION_BUFFER_SIZE = 1024 * 1024
"""Three of the largest frames, so that a partial one is seldom moved."""
SPARED_FRAMES = 8
"""Between two pieces of bulk data go a heartbeat and a frame of each channel at most; then the large reads return."""
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
    """The header of a frame whose payload is ``payload``, piece after piece. The caller sends those behind it.

    The first piece of a push begins with its whole prefix.
    """
    size = len(payload[0]) if len(payload) == 1 else sum(map(len, payload))
    body = BODY.pack(kind, flags, channel, count, 0, session, epoch, first_sequence, acknowledged, credit, size)
    checksum = crc32c(body, CHECKSUM_OF_START)
    if kind is _PUSH:
        # Which flags a push may carry, its receiver judges.
        rule = PUSH_RULES.get(flags, FRAME_RULES[kind])
        checksum = crc32c(payload[0][: rule.prefix_size], checksum)
    else:
        for piece in payload:
            checksum = crc32c(piece, checksum)
    return PREFIX.pack(START, checksum) + body


def encode_messages(  # noqa: PLR0917 (see below)
    messages: memoryview,
    channel: int,
    count: int,
    session: int,
    epoch: int,
    first_sequence: int,
    acknowledged: int,
    credit: int,
    /,
) -> bytes:
    """The frame that most are, whole. Without keywords, which would cost as much as one of its checksums."""
    body = BODY.pack(
        _MESSAGES, 0, channel, count, 0, session, epoch, first_sequence, acknowledged, credit, len(messages)
    )
    prefix = PREFIX.pack(START, crc32c(messages, crc32c(body, CHECKSUM_OF_START)))
    return b"".join((prefix, body, messages))


def _refuse(fault: Fault, detail: str) -> RemoteProtocolError:
    return RemoteProtocolError(fault.value, detail)


@attrs.define(eq=False)
class FrameDecoder:
    """Cuts received bytes into frames, in place, over one buffer of fixed size.

    The data of a push without a message does not go through it: once its head is there, ``space`` is the memory that
    ``place`` was given. Before ``admit`` only the frames of a hello are allowed and the buffer is small. A
    ``RemoteProtocolError`` is the end: what follows a refused frame means nothing.
    """

    _view: memoryview = attrs.field(factory=lambda: memoryview(bytearray(HELLO_BUFFER_SIZE)))
    _start: int = 0
    _end: int = 0
    _frame_size: int = 0
    """Bytes of the frame that begins at ``_start`` that the buffer must hold, 0 until its header is there."""
    _known: Known = RULES[FrameType.HELLO]
    """What that frame is, once it is measured."""
    _header: tuple[Any, ...] = ()
    """Its fields."""
    _in_session: bool = False
    _rules: Mapping[int, Known] = RULES_OF_HELLO
    """What may come."""
    _head: Frame | None = None
    """Of the push whose data is being received."""
    _checksum: int = 0
    """What the head says of the data."""
    _landing: Landing | None = None
    _landed: int = 0
    """Bytes of the data that have come."""
    _is_lent: bool = False
    """The space given out last is not the buffer's."""
    _sparing: int = 0
    """So many frames more are received without a byte that lies behind them: pushes seldom come alone."""

    def admit(self) -> None:
        """The session is agreed: allow its frames. Keeps what is already received."""
        if self._in_session:
            raise LocalProtocolError("admitted twice")
        view = memoryview(bytearray(SESSION_BUFFER_SIZE))
        held = self._end - self._start
        view[:held] = self._view[self._start : self._end]
        self._view, self._start, self._end = view, 0, held
        self._frame_size = 0
        self._in_session, self._rules = True, RULES_IN_SESSION

    def space(self) -> memoryview:
        """Where the next bytes are to be received, never empty. Frames handed out before are gone."""
        self._is_lent = False
        if self._head is not None:
            return self._space_for_data(self._head.data_size - self._landed)
        held = self._end - self._start
        if not held:
            self._start = self._end = 0
            if not self._sparing:
                return self._view
        needed = self._frame_size or (HEAD_SIZE_MAX if self._sparing else HEADER_SIZE)
        if self._start + needed > len(self._view):
            self._view[:held] = self._view[self._start : self._end]
            self._start, self._end = 0, held
        room = self._view[self._end : self._start + needed] if self._sparing else self._view[self._end :]
        if not room:
            raise LocalProtocolError("frames were not taken before more bytes were asked for")
        return room

    def _space_for_data(self, left: int) -> memoryview:
        if not left:
            raise LocalProtocolError("frames were not taken before more bytes were asked for")
        if self._landing is None or self._landing.is_released:
            return self._view[:left]
        self._is_lent = True
        return self._landing.part_from(self._landed)

    @property
    def is_space_gone(self) -> bool:
        """Whether what ``space`` gave last was taken back. Nothing was received into it then: ask for another."""
        return self._is_lent and self._landing is not None and self._landing.is_released

    def received(self, size_bytes: int) -> None:
        """So many bytes were put at the beginning of ``space()``."""
        head = self._head
        room = len(self._view) - self._end if head is None else head.data_size - self._landed
        if not 0 <= size_bytes <= room:
            raise LocalProtocolError("more bytes received than there was space for")
        if head is None:
            self._end += size_bytes
        else:
            self._landed += size_bytes

    def place(self, landing: Landing | None) -> None:
        """The data of the push whose head was handed out goes there; None: nowhere, it is not wanted.

        From then on ``landing`` is only looked at, and may be released at any moment: the rest goes nowhere.
        """
        head = self._head
        if head is None or self._landed or (landing is not None and len(landing.memory) != head.data_size):
            raise LocalProtocolError("no data of that size is to be placed")
        held = min(self._end - self._start, head.data_size)
        if landing is not None:
            landing.memory[:held] = self._view[self._start : self._start + held]
        self._landing, self._landed = landing, held
        self._start += held
        if self._start == self._end:
            self._start = self._end = 0

    def next_frame(self) -> Frame | None:
        """The next whole frame, or None until more bytes come.

        A push with ``data_size`` is only the head of one: ``place`` must be called at once. When all of its data has
        come and is found whole, ``PLACED`` is handed out for it; for a reply that is not, ``CHANGED``.
        """
        if self._head is not None:
            return self._take_data(self._head)
        held = self._end - self._start
        if held < HEADER_SIZE:
            return None
        size = self._frame_size or self._measure()
        if held < size:
            return None
        frame = self._cut(size)
        self._start += size
        self._frame_size = 0
        if frame.data_size:
            self._head, self._landing, self._landed, self._sparing = frame, None, 0, SPARED_FRAMES
        elif self._sparing:
            self._sparing -= 1
        return frame

    def _take_data(self, head: Frame) -> Frame | None:
        """``PLACED`` or ``CHANGED`` when its data has come. What went nowhere is not looked at."""
        if self._landed < head.data_size:
            return None
        landing, self._head = self._landing, None
        if landing is not None and not landing.is_released and crc32c(landing.memory) != self._checksum:
            if head.flags in REPLIES:
                return CHANGED
            raise _refuse(Fault.CHECKSUM, "data damaged on its way")
        return PLACED

    def _measure(self) -> int:
        """Bytes that the buffer must hold of the frame whose header is there; refuses what need not be waited for."""
        self._header = header = HEADER.unpack_from(self._view, self._start)
        size = int(header[12])
        known = self._rules.get(header[2] | header[3] << 8)
        if header[0] != START or known is None or not known[2].size_min <= size <= known[2].size_max:
            raise self._refuse_header()
        self._known = known
        rule = known[2]
        self._frame_size = HEADER_SIZE + (rule.prefix_size if rule.is_direct else size)
        return self._frame_size

    def _refuse_header(self) -> RemoteProtocolError:
        beginning, number, flags, size = self._header[0], self._header[2], self._header[3], self._header[12]
        if not beginning.startswith(MAGIC):
            return _refuse(Fault.MAGIC, "not a frame")
        if beginning != START:
            return _refuse(Fault.FRAME_VERSION, str(beginning[len(MAGIC)]))
        kind = KINDS.get(number)
        if kind is None:
            return _refuse(Fault.TYPE, str(number))
        if FRAME_RULES[kind].hello == self._in_session:
            return _refuse(Fault.TYPE, f"{kind.name} {'in' if self._in_session else 'before'} the session")
        if number | flags << 8 not in RULES:
            return _refuse(Fault.FLAGS, f"{flags:#x} on {kind.name}")
        return _refuse(Fault.SIZE, f"{size} bytes of {kind.name}")

    def _cut(self, frame_size: int) -> Frame:
        view, start, end = self._view, self._start, self._start + frame_size
        kind, flags, rule = self._known
        _, checksum, _, _, channel, count, reserved, session, epoch, first, acknowledged, credit, size = self._header
        covered = start + HEADER_SIZE + rule.prefix_size if rule.prefix_size else end
        if checksum != crc32c(view[start + _BODY_START : covered], CHECKSUM_OF_START):
            raise _refuse(Fault.CHECKSUM, "frame damaged on its way")
        if rule.prefix_size:
            (self._checksum,) = CHECKSUM.unpack_from(view, covered - CHECKSUM.size)
            if covered < end and self._checksum != crc32c(view[covered:end]):
                raise _refuse(Fault.CHECKSUM, "data damaged on its way")
        payload, left = view[start + HEADER_SIZE : end], start + HEADER_SIZE + size - end
        # By position: eleven keywords take longer than all that is done with them.
        frame = Frame(kind, flags, channel, count, session, epoch, first, acknowledged, credit, payload, left)
        # A field that is set where its type has none, or missing where it needs one: then 1 is the least. In one
        # expression, for each message comes by here.
        if (
            reserved
            or (session != 0) != rule.in_session
            or not rule.channel <= channel <= rule.channel_max
            or not rule.messages <= count <= rule.count_max
            or (first != 0) != rule.messages
            or (rule.hello and epoch)
            or not (rule.channel or acknowledged == credit == 0)
        ):
            raise _refuse_fields(frame, rule, reserved)
        return frame


def _refuse_fields(frame: Frame, rule: FrameRule, reserved: int) -> RemoteProtocolError:
    """For the first of them that is not as the frame's type has it."""
    kind = frame.kind.name
    if reserved:
        return _refuse(Fault.RESERVED, f"{reserved:#x}")
    if (frame.session != 0) != rule.in_session:
        return _refuse(Fault.SESSION, f"{frame.session:#x} on {kind}")
    if rule.hello and frame.epoch:
        return _refuse(Fault.EPOCH, f"{frame.epoch} on {kind}")
    if not rule.channel <= frame.channel <= rule.channel_max:
        return _refuse(Fault.CHANNEL, f"{frame.channel} on {kind}")
    if not rule.messages <= frame.count <= rule.count_max:
        return _refuse(Fault.COUNT, f"{frame.count} on {kind}")
    if (frame.first_sequence != 0) != rule.messages:
        return _refuse(Fault.SEQUENCE, f"{frame.first_sequence} on {kind}")
    if frame.acknowledged:
        return _refuse(Fault.ACKNOWLEDGEMENT, f"{frame.acknowledged} on {kind}")
    return _refuse(Fault.CREDIT, f"{frame.credit} on {kind}")


assert FRAME_SIZE_MAX <= SESSION_BUFFER_SIZE, "the largest frame must fit the receive buffer"
