"""The layout of a frame: one header of fixed size, little-endian, then the payload.

======  ====  ==============================================================================
offset  size  field
======  ====  ==============================================================================
0       3     magic
3       1     version of this layout
4       4     CRC32C over header and payload, this field taken as zero; of a push only up to its prefix
8       1     type
9       1     flags
10      2     channel, 0 where the frame belongs to none
12      2     count of message slots in the payload
14      2     reserved, zero
16      8     session, 0 before it is agreed
24      8     epoch of the sender's resource
32      8     sequence of the first message, 0 without one
40      8     highest sequence of this channel that the sender has received
48      4     credit: messages beyond the acknowledged one that the sender has room for
52      4     size of the payload in bytes
======  ====  ==============================================================================

The prefix of a push ends with a CRC32C of the rest of its payload: where the data belongs is known to be right before
the first byte of it is put there.
"""

import struct
from enum import IntEnum, IntFlag, StrEnum

import attrs

Bytes = bytes | bytearray | memoryview

MAGIC = b"CHA"
FRAME_VERSION = 1
"""Of the layout above. The hello agrees on what is said in it."""
PREFIX = struct.Struct("<4sI")
"""Magic with version, checksum: the part that the checksum takes as constant."""
BODY = struct.Struct("<BBHHHQQQQII")
"""Everything behind the checksum."""
HEADER = struct.Struct(PREFIX.format + BODY.format.removeprefix("<"))
HEADER_SIZE = HEADER.size
CHECKSUM = struct.Struct("<I")
"""At the end of either prefix of a push."""
PUSH_PREFIX = struct.Struct("<16sQI")
"""Key, offset, checksum of what follows: before the data of a push that belongs to no request."""
FRAGMENT_PREFIX = struct.Struct("<Q16sQQI")
"""Request, key, offset, bytes left of the transfer from there on, checksum of what follows: before the data of a
request's push or reply."""
PULL_BODY = struct.Struct("<Q16sQQ16s")
"""Request, key, offset, size, key of the reply."""
DONE_PREFIX = struct.Struct("<QBQ")
"""Request, status, bytes left undone, before the reason."""
WITHDRAW_BODY = struct.Struct("<Q")
"""Request."""
HEARTBEAT_BODY = struct.Struct("<QQQ")
"""Own stamp, the peer's last stamp, how long that one was held; microseconds."""
LATE_HEARTBEAT_BODY = struct.Struct("<QQQI")
"""The same, and how late it was written; microseconds, of more than fit as many as do. Where both sides said so."""
TERMS_BODY = struct.Struct("<QI")
"""Features, largest fragment."""
CHANNEL_OPEN_BODY = struct.Struct("<II")
"""Slot size in bytes, slots."""
KEY_SIZE = 16
NOTHING = memoryview(b"")

CHANNEL_MAX = 0xFF
"""Highest channel number: consumers below 0x80, the framework's own from there. Bounds what a peer can make us keep."""
HELLO_SIZE_MAX = 4096
"""A hello of one resource has under 200 bytes; this leaves room and costs a stranger nothing worth having."""
REASON_SIZE_MAX = 256
"""One line for a person."""
DENIAL_SIZE_MAX = 32
"""A name out of a closed list."""
COUNT_MAX = 0xFFFF
"""Messages in a frame: the field has 16 bits."""
SLOT_SIZE_MAX = 64 * 1024
"""Messages are short; anything larger is pushed."""
MESSAGES_SIZE_MAX = 64 * 1024
"""A frame is written whole, so this bounds how long a control frame waits for it."""
FRAGMENT_SIZE_MAX = 256 * 1024
"""Half a millisecond at 500 MB/s of TLS: bulk data that a control frame may have to wait for. Measured, half of it
costs a fifth more of the processor for each byte, twice of it spares a twentieth."""


class FrameType(IntEnum):
    """What a frame says."""

    HELLO = 1
    HELLO_ACCEPT = 2
    HELLO_REFUSE = 3
    HELLO_CONFIRM = 4
    HEARTBEAT = 5
    MESSAGES = 6
    PUSH = 7
    ACKNOWLEDGE = 8
    CHANNEL_OPEN = 9
    GOODBYE = 10
    PULL = 11
    TRANSFER_DONE = 12
    WITHDRAW = 13
    TERMS = 14
    DROP = 15


class Flag(IntFlag):
    """What varies within a type."""

    NONE = 0
    MESSAGE_ATTACHED = 1
    """A push whose payload ends with one message slot, delivered once the data is placed."""
    REQUEST = 2
    """A fragment of a push that the peer has to answer."""
    REPLY = 4
    """A fragment of what the peer has asked for by PULL."""
    LAST = 8
    """The last fragment of its request."""


class Fault(StrEnum):
    """Why bytes of the peer were refused: the closed list of ``RemoteProtocolError.reason``.

    A push that belongs to no request adds ``Denial`` to it, as nothing else can be answered to it.
    """

    MAGIC = "magic"
    FRAME_VERSION = "frame-version"
    CHECKSUM = "checksum"
    TYPE = "type"
    FLAGS = "flags"
    RESERVED = "reserved"
    CHANNEL = "channel"
    COUNT = "count"
    SIZE = "size"
    SESSION = "session"
    EPOCH = "epoch"
    SEQUENCE = "sequence"
    ACKNOWLEDGEMENT = "acknowledgement"
    CREDIT = "credit"
    HELLO = "hello"
    REASON = "reason"
    REQUEST = "request"
    FRAGMENT = "fragment"
    TERMS = "terms"
    HEARTBEAT = "heartbeat"


@attrs.define
class Frame:
    """One received frame, which nobody changes: to freeze it would cost more than all else that makes it.

    ``payload`` lies in the receive buffer and is gone with the next ``FrameDecoder.space``.

    Of a push without a message it is the prefix: what follows goes to where ``FrameDecoder.place`` says.
    """

    kind: FrameType
    flags: Flag = Flag.NONE
    channel: int = 0
    count: int = 0
    session: int = 0
    epoch: int = 0
    first_sequence: int = 0
    acknowledged: int = 0
    credit: int = 0
    payload: memoryview = NOTHING
    data_size: int = 0
    """Bytes that follow the prefix of a push, and go where they are told to."""


@attrs.frozen
class FrameRule:
    """What a type allows in the header."""

    size_min: int
    size_max: int
    in_session: bool
    """Whether the session is set."""
    hello: bool = False
    """Whether it may come before the session is agreed."""
    channel: bool = False
    """Whether it belongs to a channel, with acknowledgement and credit."""
    messages: bool = False
    """Whether it carries messages, with their count and sequence."""
    prefix_size: int = 0
    """Of a push: what the checksum in the header covers of its payload."""
    is_direct: bool = False
    """Whether what follows the prefix is received where it belongs."""
    count_max: int = attrs.field(init=False)
    channel_max: int = attrs.field(init=False)

    @count_max.default
    def _count_max(self) -> int:
        if not self.messages:
            return 0
        return 1 if self.prefix_size else COUNT_MAX

    @channel_max.default
    def _channel_max(self) -> int:
        return CHANNEL_MAX if self.channel else 0


FRAME_RULES = {
    FrameType.HELLO: FrameRule(1, HELLO_SIZE_MAX, in_session=False, hello=True),
    FrameType.HELLO_ACCEPT: FrameRule(1, HELLO_SIZE_MAX, in_session=True, hello=True),
    FrameType.HELLO_REFUSE: FrameRule(1, REASON_SIZE_MAX + HELLO_SIZE_MAX, in_session=False, hello=True),
    FrameType.HELLO_CONFIRM: FrameRule(0, 0, in_session=True, hello=True),
    FrameType.TERMS: FrameRule(TERMS_BODY.size, TERMS_BODY.size, in_session=True, hello=True),
    FrameType.HEARTBEAT: FrameRule(HEARTBEAT_BODY.size, LATE_HEARTBEAT_BODY.size, in_session=True),
    FrameType.MESSAGES: FrameRule(1, MESSAGES_SIZE_MAX, in_session=True, channel=True, messages=True),
    FrameType.PUSH: FrameRule(
        PUSH_PREFIX.size + 1,
        PUSH_PREFIX.size + FRAGMENT_SIZE_MAX,
        in_session=True,
        prefix_size=PUSH_PREFIX.size,
        is_direct=True,
    ),
    FrameType.ACKNOWLEDGE: FrameRule(0, 0, in_session=True, channel=True),
    FrameType.CHANNEL_OPEN: FrameRule(CHANNEL_OPEN_BODY.size, CHANNEL_OPEN_BODY.size, in_session=True, channel=True),
    FrameType.GOODBYE: FrameRule(0, REASON_SIZE_MAX, in_session=True),
    FrameType.DROP: FrameRule(0, REASON_SIZE_MAX, in_session=True),
    FrameType.PULL: FrameRule(PULL_BODY.size, PULL_BODY.size, in_session=True),
    FrameType.TRANSFER_DONE: FrameRule(DONE_PREFIX.size, DONE_PREFIX.size + DENIAL_SIZE_MAX, in_session=True),
    FrameType.WITHDRAW: FrameRule(WITHDRAW_BODY.size, WITHDRAW_BODY.size, in_session=True),
}
PUSH_WITH_MESSAGE = FrameRule(
    PUSH_PREFIX.size + 1,
    PUSH_PREFIX.size + FRAGMENT_SIZE_MAX + SLOT_SIZE_MAX,
    in_session=True,
    channel=True,
    messages=True,
    prefix_size=PUSH_PREFIX.size,
)
PUSH_OF_REQUEST = FrameRule(
    FRAGMENT_PREFIX.size + 1,
    FRAGMENT_PREFIX.size + FRAGMENT_SIZE_MAX,
    in_session=True,
    prefix_size=FRAGMENT_PREFIX.size,
    is_direct=True,
)
PUSH_RULES: dict[Flag, FrameRule] = {
    Flag.NONE: FRAME_RULES[FrameType.PUSH],
    Flag.MESSAGE_ATTACHED: PUSH_WITH_MESSAGE,
    Flag.REQUEST: PUSH_OF_REQUEST,
    Flag.REQUEST | Flag.LAST: PUSH_OF_REQUEST,
    Flag.REPLY: PUSH_OF_REQUEST,
    Flag.REPLY | Flag.LAST: PUSH_OF_REQUEST,
}
"""By the flags that a push may carry."""
FLAGS = {int(flags): flags for flags in (Flag.NONE, *PUSH_RULES)}
"""All that are received. A look into this, or one of the sets below, costs a tenth of what the enum's operators do."""
Known = tuple[FrameType, Flag, FrameRule]
RULES: dict[int, Known] = {int(kind): (kind, Flag.NONE, rule) for kind, rule in FRAME_RULES.items()} | {
    FrameType.PUSH | flags << 8: (FrameType.PUSH, flags, rule) for flags, rule in PUSH_RULES.items()
}
"""All that a frame may be: by its type, with its flags above that."""
RULES_OF_HELLO, RULES_IN_SESSION = (
    {number: known for number, known in RULES.items() if known[2].hello is hello} for hello in (True, False)
)
REQUESTS = frozenset(flags for flags in FLAGS.values() if flags & Flag.REQUEST)
REPLIES = frozenset(flags for flags in FLAGS.values() if flags & Flag.REPLY)
LAST_ONES = frozenset(flags for flags in FLAGS.values() if flags & Flag.LAST)
FRAME_SIZE_MAX = HEADER_SIZE + PUSH_WITH_MESSAGE.size_max
HEAD_SIZE_MAX = HEADER_SIZE + FRAGMENT_PREFIX.size
"""Of a push: all that must be known before its data is received."""
