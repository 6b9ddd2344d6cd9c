"""Messages of the pair as fixed-size slots: a byte for the kind, the fields little-endian in order, zeros behind.

Besides the core's messages there are those that the drivers exchange: ``Grant``, where pushed data may be placed,
``Kept``, ``ComponentsReady``, ``ResyncLeft`` and ``Setting``. A pushed message carries the place of its data in front
of the core's fields; pushes alone arrive in the order of their sending.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, get_args

import attrs

from ctlha_trio._errors import LocalProtocolError, RemoteProtocolError
from ctlha_trio.pair import messages as msg
from ctlha_trio.pair._carried_records import RECORDS_BYTES_MAX
from ctlha_trio.pair._operation import WRITING, Operation, OperationKind, Outcome
from ctlha_trio.pair._phase import Phase
from ctlha_trio.pair._state import COPY_CHUNK_BYTES

SLOT_BYTES: Final = 128
"""The largest message has 121; a slot is two cache lines and leaves later versions room."""
WRITE_BYTES_MAX: Final = COPY_CHUNK_BYTES
"""Of one pushed write or copy."""
SECONDS_MAX: Final = (1 << 32) - 1
"""Of a time in a message."""
SETTING_NAME_MAX: Final = 40
"""Characters of the name of a setting, and below of its value: each is printable ASCII."""
SETTING_VALUE_MAX: Final = 80
_OFFSET_MAX: Final = 1 << 56
"""Beyond any volume, far below where offset + size could wrap."""


@attrs.frozen
class Grant:
    """The peer may push data of this epoch into this node's ring."""

    epoch: int
    key: bytes = attrs.field(repr=False)
    """16 bytes."""
    size: int
    """Of the ring, bytes."""


@attrs.frozen
class Kept:
    """The data of the peer's proposal of that number is kept: its place in this node's ring is free."""

    epoch: int
    number: int


@attrs.frozen
class ComponentsReady:
    """What the sender has to tell of its components, and of the role that moves for them."""

    ready: bool
    """Every one runs beside the receiver, so that the sender could take over at once."""
    taken_s: int
    """Since the role came from the receiver to the sender's process; ``SECONDS_MAX`` for never, or that long ago."""
    hold_down_s: int
    """For how long the sender holds a role that came to it last."""


@attrs.frozen
class ResyncLeft:
    """Source to target: how much of the resync in this epoch is left, and how fast it went lately."""

    epoch: int
    left_bytes: int
    """To be compared, and to be copied where it differs."""
    bytes_per_s: int
    """0: not known."""
    blocked: bool
    """Some of it is damaged at the source: until clients have written that anew, the receiver cannot be a member."""


@attrs.frozen
class Setting:
    """What the sender's configuration says of something that both are to say alike. Needs ``Feature.SETTINGS``."""

    name: str
    """As the configuration has it. One that the receiver does not know is of a later version, or of an earlier one."""
    value: str
    """Empty where the configuration says nothing and there is no default."""


PushedMessage = (
    msg.MirrorWrite
    | msg.MirrorZeroes
    | msg.MirrorRecord
    | msg.Propose
    | msg.Assigned
    | msg.CopyData
    | msg.RepairData
    | msg.Seal
    | msg.HandoverReady
)
_WithoutData = msg.MirrorZeroes | msg.Assigned | msg.HandoverReady


def pushed_bytes(message: PushedMessage) -> int:
    """How much data goes with a message. Never none: by a byte, what has no data keeps its place among the pushes."""
    return 1 if isinstance(message, _WithoutData) else max(1, message.size)


@attrs.frozen
class Pushed:
    """A message whose data lies in the ring granted to its sender."""

    message: PushedMessage
    ring_offset: int


OfDrivers = Grant | Kept | ComponentsReady | ResyncLeft | Setting
Spoken = msg.Message | OfDrivers | Pushed

_LAYOUTS: Final[dict[int, tuple[Callable[..., msg.Message | OfDrivers], struct.Struct]]] = {
    1: (msg.Standing, struct.Struct("<QQBQ32s?")),
    2: (msg.Resumed, struct.Struct("<QQ")),
    3: (msg.MirrorWrite, struct.Struct("<QQQQQI")),
    4: (msg.Applied, struct.Struct("<QQ")),
    5: (msg.PermitRequest, struct.Struct("<QQ")),
    6: (msg.Permit, struct.Struct("<QQ")),
    7: (msg.ResyncStart, struct.Struct("<Q32s")),
    8: (msg.ResyncReady, struct.Struct("<QQ")),
    9: (msg.Compare, struct.Struct("<QQQI32s")),
    10: (msg.Compared, struct.Struct("<QQ?")),
    11: (msg.CopyData, struct.Struct("<QQQI")),
    12: (msg.Seal, struct.Struct("<QI")),
    13: (msg.Sealed, struct.Struct("<Q")),
    14: (msg.Admitted, struct.Struct("<QQ32s")),
    15: (msg.Joined, struct.Struct("<Q")),
    16: (msg.HandoverPrepare, struct.Struct("<QQ32s32s")),
    17: (msg.HandoverReady, struct.Struct("<QQ")),
    18: (msg.HandoverDone, struct.Struct("<QQ32s")),
    19: (msg.Refused, struct.Struct("<QQ")),
    20: (Grant, struct.Struct("<Q16sI")),
    21: (msg.OwnRange, struct.Struct("<QQQ")),
    22: (msg.ResyncBase, struct.Struct("<QQ")),
    23: (msg.SettledAsked, struct.Struct("<QQ")),
    24: (msg.Settled, struct.Struct("<QQ")),
    25: (msg.Propose, struct.Struct("<QQBQQQII")),
    26: (msg.Assigned, struct.Struct("<QQQQQ")),
    27: (msg.Completed, struct.Struct("<QQ")),
    28: (msg.Unexecuted, struct.Struct("<QQBI")),
    29: (Kept, struct.Struct("<QQ")),
    30: (ComponentsReady, struct.Struct("<?II")),
    31: (ResyncLeft, struct.Struct("<QQQ?")),
    32: (msg.Fetch, struct.Struct("<QQQI")),
    33: (msg.RepairData, struct.Struct("<QQQI")),
    34: (msg.Damaged, struct.Struct("<QQQI")),
    35: (Setting, struct.Struct(f"<{SETTING_NAME_MAX}s{SETTING_VALUE_MAX}s")),
    40: (msg.MirrorZeroes, struct.Struct("<QQQQQI")),
    41: (msg.MirrorRecord, struct.Struct("<QQQQI")),
    42: (msg.RecordsDiffer, struct.Struct("<QQ")),
    43: (msg.InDoubt, struct.Struct("<Q")),
}
_KINDS: Final = {kind: (number, layout) for number, (kind, layout) in _LAYOUTS.items()}
_PUSHED: Final = get_args(PushedMessage)
_STANDING: Final = 1
_PROPOSE: Final = 25
_UNEXECUTED: Final = 28
_SETTING: Final = 35
_NO_EFFECT: Final = frozenset({Outcome.NOT_PRIMARY, Outcome.FAILED, Outcome.MEDIUM_ERROR, Outcome.MISCOMPARE})
_DATA_TIMES: Final = {OperationKind.WRITE: 1, OperationKind.COMPARE_AND_WRITE: 2}
"""How many times its size in data goes with a proposal of an operation."""
_PROPOSAL_AT: Final = {7: 1, 14: 2, 16: 2, 18: 2}
_HEXADECIMAL: Final = frozenset("0123456789abcdef")
_RING_OFFSET: Final = struct.Struct("<I")


def encode(spoken: Spoken) -> bytes:
    """One slot."""
    place = b""
    message: msg.Message | OfDrivers
    if isinstance(spoken, Pushed):
        message, place = spoken.message, _RING_OFFSET.pack(spoken.ring_offset)
    else:
        message = spoken
        if isinstance(message, _PUSHED):
            raise LocalProtocolError("data is pushed, its message is not sent alone")
    number, layout = _KINDS[type(message)]
    fields = [field for value in attrs.astuple(message, recurse=False) for field in _to_wire(value)]
    return (bytes([number]) + place + layout.pack(*fields)).ljust(SLOT_BYTES, b"\0")


def decode(slot: bytes) -> Spoken:
    """The message in a slot. ``RemoteProtocolError`` for anything that ``encode`` cannot have made."""
    if len(slot) != SLOT_BYTES:
        raise RemoteProtocolError("malformed", f"a pair message of {len(slot)} bytes")
    if slot[0] not in _LAYOUTS:
        raise RemoteProtocolError("unknown-type", f"pair message {slot[0]}")
    kind, layout = _LAYOUTS[slot[0]]
    pushed = kind in _PUSHED
    start = 1 + (_RING_OFFSET.size if pushed else 0)
    if any(slot[start + layout.size :]):
        raise RemoteProtocolError("reserved", f"bytes behind pair message {slot[0]}")
    fields = layout.unpack_from(slot, start)
    if layout.pack(*fields) != slot[start : start + layout.size]:
        raise RemoteProtocolError("malformed", f"pair message {slot[0]}: a truth value that is neither 0 nor 1")
    try:
        message = kind(*_from_wire(slot[0], fields))
    except (ValueError, UnicodeDecodeError) as error:
        raise RemoteProtocolError("malformed", f"pair message {slot[0]}: {error}") from error
    if isinstance(message, msg.MirrorRecord | msg.Seal):
        _check_records(message)
    elif isinstance(message, msg.Propose):
        _check_proposal(message)
    elif isinstance(message, msg.Assigned | msg.HandoverReady):
        pass
    elif isinstance(message, PushedMessage):
        _check_range(message.offset, message.size)
    if isinstance(message, PushedMessage):
        return Pushed(message, _RING_OFFSET.unpack_from(slot, 1)[0])
    if isinstance(message, msg.Compare | msg.Fetch | msg.Damaged):
        _check_range(message.offset, message.size)
    if isinstance(message, msg.OwnRange):
        _check_range(message.offset, message.size, size_max=_OFFSET_MAX)
    return message


def _check_range(offset: int, size: int, *, size_max: int = WRITE_BYTES_MAX) -> None:
    if not 0 < size <= size_max or offset > _OFFSET_MAX:
        raise RemoteProtocolError("out-of-range", f"{size} bytes at {offset}")


def _check_records(message: msg.MirrorRecord | msg.Propose | msg.Seal) -> None:
    least = 0 if isinstance(message, msg.Seal) else 1
    if not least <= message.size <= RECORDS_BYTES_MAX:
        raise RemoteProtocolError("out-of-range", f"records of {message.size} bytes")


def _check_proposal(message: msg.Propose) -> None:
    operation = message.operation
    if operation.kind is OperationKind.PUT_RECORD:
        _check_records(message)
        expected = message.size
    else:
        _check_range(operation.offset, operation.size)
        expected = operation.size * _DATA_TIMES.get(operation.kind, 0)
    if message.size != expected or message.size > WRITE_BYTES_MAX:
        raise RemoteProtocolError("out-of-range", f"{message.size} bytes of data with {operation}")


def _to_wire(value: object) -> tuple[object, ...]:
    match value:
        case Operation():
            return value.kind.value, value.client, value.number, value.offset, value.size
        case Phase() | Outcome():
            return (value.value,)
        case str():
            return (value.encode("ascii"),)
        case _:
            return (value,)


def _operation(kind: int, client: int, number: int, offset: int, size: int) -> Operation:
    """What a proposal may be of."""
    operation = Operation(OperationKind(kind), client, number, offset, size)
    if operation.kind not in WRITING:
        raise ValueError(f"{operation.kind.name} is not proposed")
    return operation


def _text(padded: object) -> str:
    if not isinstance(padded, bytes):
        raise LocalProtocolError("a text is bytes")
    text = padded.rstrip(b"\0").decode("ascii")
    if not text.isprintable():
        raise ValueError("a text is printable")
    return text


def _from_wire(number: int, fields: Sequence[Any]) -> list[object]:
    values = list(fields)
    if number == _PROPOSE:
        epoch, proposal, *named, size = fields
        return [epoch, proposal, _operation(*named), size]
    if number == _UNEXECUTED:
        values[2] = Outcome(values[2])
        if values[2] not in _NO_EFFECT:
            raise ValueError(f"{values[2]} is no end without an effect")
    if number == _STANDING:
        values[2] = Phase(values[2])
        values[4] = _text(values[4])
    if number == _SETTING:
        values = [_text(each) for each in fields]
        if not values[0]:
            raise ValueError("a setting has a name")
    place = _PROPOSAL_AT.get(number)
    if place is not None and isinstance(encoded := values[place], bytes):
        proposal = values[place] = encoded.decode("ascii")
        if not _HEXADECIMAL.issuperset(proposal):
            raise ValueError("a proposal is written in hexadecimal digits")
    return values
