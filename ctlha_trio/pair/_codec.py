"""Messages of the pair as fixed-size slots: a byte for the kind, the fields little-endian in order, zeros behind.

A pushed message carries the place of its data in front of the core's fields; pushes alone arrive in the order of their
sending.
"""

import struct
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, Final, get_args

import attrs

from ctlha_trio._errors import LocalProtocolError, RemoteProtocolError
from ctlha_trio.pair import messages as msg
from ctlha_trio.pair._carried_records import RECORDS_BYTES_MAX
from ctlha_trio.pair._operation import WRITING, Operation, OperationKind, Outcome
from ctlha_trio.pair._phase import Phase
from ctlha_trio.pair._spoken import (
    SETTING_NAME_MAX,
    SETTING_VALUE_MAX,
    ComponentsReady,
    DataFault,
    DataFaultTold,
    Grant,
    Kept,
    OfDrivers,
    Pushed,
    PushedMessage,
    ResyncLeft,
    Setting,
    Spoken,
)
from ctlha_trio.pair._state import COPY_CHUNK_BYTES

SLOT_BYTES: Final = 128
"""The largest message has 121; a slot is two cache lines and leaves later versions room."""
WRITE_BYTES_MAX: Final = COPY_CHUNK_BYTES
"""Of one pushed write or copy."""
_OFFSET_MAX: Final = 1 << 56
"""Beyond any volume, far below where offset + size could wrap."""
_RING_OFFSET: Final = struct.Struct("<I")
_PUSHED: Final = get_args(PushedMessage)
_NO_EFFECT: Final = frozenset(Outcome) - {Outcome.DONE, Outcome.UNKNOWN}
_DATA_TIMES: Final = {OperationKind.WRITE: 1, OperationKind.COMPARE_AND_WRITE: 2}
"""How many times its size in data goes with a proposal of an operation."""
_HEXADECIMAL: Final = frozenset("0123456789abcdef")

_OfRange = msg.MirrorWrite | msg.MirrorZeroes | msg.CopyData | msg.RepairData | msg.Compare | msg.Fetch | msg.Damaged


@attrs.frozen(kw_only=True)
class _Layout:
    """How a kind of message lies in a slot."""

    number: bytes
    kind: type[Any]
    body: struct.Struct
    fields_of: Callable[[Any], Sequence[Any]]
    is_pushed: bool
    from_wire: Callable[..., Sequence[Any]] | None
    """Where fields are no numbers, truth values or bytes: makes them of what was unpacked. ``ValueError``."""
    check: Callable[[Any], None] | None
    start: int
    end: int
    """Of the body in the slot."""
    has_truths: bool


def encode(spoken: Spoken) -> bytes:
    """One slot."""
    message: msg.Message | OfDrivers
    if isinstance(spoken, Pushed):
        message, place = spoken.message, _RING_OFFSET.pack(spoken.ring_offset)
    else:
        message, place = spoken, b""
    layout = _KINDS[type(message)]
    if layout.is_pushed != bool(place):
        raise LocalProtocolError("data is pushed, its message is not sent alone")
    fields = layout.fields_of(message)
    if layout.from_wire is not None:
        fields = [field for value in fields for field in _to_wire(value)]
    return (layout.number + place + layout.body.pack(*fields)).ljust(SLOT_BYTES, b"\0")


def decode(slot: bytes) -> Spoken:
    """The message in a slot. ``RemoteProtocolError`` for anything that ``encode`` cannot have made."""
    if len(slot) != SLOT_BYTES:
        raise RemoteProtocolError("malformed", f"a pair message of {len(slot)} bytes")
    layout = _LAYOUTS.get(slot[0])
    if layout is None:
        raise RemoteProtocolError("unknown-type", f"pair message {slot[0]}")
    if len(slot.rstrip(b"\0")) > layout.end:
        raise RemoteProtocolError("reserved", f"bytes behind pair message {slot[0]}")
    fields: Sequence[Any] = layout.body.unpack_from(slot, layout.start)
    if layout.has_truths and layout.body.pack(*fields) != slot[layout.start : layout.end]:
        raise RemoteProtocolError("malformed", f"pair message {slot[0]}: a truth value that is neither 0 nor 1")
    if layout.from_wire is not None:
        try:
            fields = layout.from_wire(*fields)
        except (ValueError, UnicodeDecodeError) as error:
            raise RemoteProtocolError("malformed", f"pair message {slot[0]}: {error}") from error
    message = layout.kind(*fields)
    if layout.check is not None:
        layout.check(message)
    spoken: Spoken = Pushed(message, _RING_OFFSET.unpack_from(slot, 1)[0]) if layout.is_pushed else message
    return spoken


# What a message that can be decoded may not say.


def _check_range(offset: int, size: int, *, size_max: int = WRITE_BYTES_MAX) -> None:
    if not 0 < size <= size_max or offset > _OFFSET_MAX:
        raise RemoteProtocolError("out-of-range", f"{size} bytes at {offset}")


def _check_data(message: _OfRange) -> None:
    _check_range(message.offset, message.size)


def _check_own_range(message: msg.OwnRange) -> None:
    _check_range(message.offset, message.size, size_max=_OFFSET_MAX)


def _check_data_fault(message: DataFaultTold) -> None:
    if message.fault is DataFault.BLOCKS_LOST:
        _check_range(message.offset, message.size, size_max=_OFFSET_MAX)
    elif message.offset or message.size:
        raise RemoteProtocolError("out-of-range", f"{message.fault.name} of {message.size} bytes at {message.offset}")


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


# Fields that are no numbers, truth values or bytes.


def _to_wire(value: object) -> tuple[object, ...]:
    match value:
        case Operation():
            return value.kind.value, value.client, value.number, value.offset, value.size
        case Phase() | Outcome() | DataFault():
            return (value.value,)
        case str():
            return (value.encode("ascii"),)
        case _:
            return (value,)


def _of_standing(*fields: Any) -> Sequence[Any]:
    values = list(fields)
    values[2], values[4] = Phase(values[2]), _text(values[4])
    return values


def _of_proposal(epoch: int, number: int, *rest: int) -> Sequence[Any]:
    *operation, size = rest
    return epoch, number, _operation(*operation), size


def _operation(kind: int, client: int, number: int, offset: int, size: int) -> Operation:
    """What a proposal may be of."""
    operation = Operation(OperationKind(kind), client, number, offset, size)
    if operation.kind not in WRITING:
        raise ValueError(f"{operation.kind.name} is not proposed")
    return operation


def _of_no_effect(epoch: int, number: int, outcome: int, at: int) -> Sequence[Any]:
    if Outcome(outcome) not in _NO_EFFECT:
        raise ValueError(f"{Outcome(outcome)} is no end without an effect")
    return epoch, number, Outcome(outcome), at


def _of_data_fault(epoch: int, fault: int, *rest: int) -> Sequence[Any]:
    return epoch, DataFault(fault), *rest


def _of_setting(name: bytes, value: bytes) -> Sequence[Any]:
    if not (text := _text(name)):
        raise ValueError("a setting has a name")
    return text, _text(value)


def _text(padded: bytes) -> str:
    text = padded.rstrip(b"\0").decode("ascii")
    if not text.isprintable():
        raise ValueError("a text is printable")
    return text


def _with_proposal(*fields: Any, at: int) -> Sequence[Any]:
    values = list(fields)
    values[at] = proposal = values[at].decode("ascii")
    if not _HEXADECIMAL.issuperset(proposal):
        raise ValueError("a proposal is written in hexadecimal digits")
    return values


# The kinds.


def _fields_of(kind: type[attrs.AttrsInstance]) -> Callable[[Any], Sequence[Any]]:
    names = [field.name for field in attrs.fields(kind)]
    get = attrgetter(*names)
    return get if len(names) > 1 else lambda message: (get(message),)


def _layout(
    number: int,
    kind: type[msg.Message | OfDrivers],
    fields: str,
    *,
    from_wire: Callable[..., Sequence[Any]] | None = None,
    check: Callable[[Any], None] | None = None,
) -> _Layout:
    is_pushed, body = kind in _PUSHED, struct.Struct(f"<{fields}")
    start = 1 + (_RING_OFFSET.size if is_pushed else 0)
    return _Layout(
        number=bytes([number]),
        kind=kind,
        body=body,
        fields_of=_fields_of(kind),
        is_pushed=is_pushed,
        from_wire=from_wire,
        check=check,
        start=start,
        end=start + body.size,
        has_truths="?" in fields,
    )


_KINDS: Final[dict[type[msg.Message | OfDrivers], _Layout]] = {
    layout.kind: layout
    for layout in (
        _layout(1, msg.Standing, "QQBQ32s?", from_wire=_of_standing),
        _layout(2, msg.Resumed, "QQ"),
        _layout(3, msg.MirrorWrite, "QQQQQI", check=_check_data),
        _layout(4, msg.Applied, "QQ"),
        _layout(5, msg.PermitRequest, "QQ"),
        _layout(6, msg.Permit, "QQ"),
        _layout(7, msg.ResyncStart, "Q32sQ", from_wire=partial(_with_proposal, at=1)),
        _layout(8, msg.ResyncReady, "QQ"),
        _layout(9, msg.Compare, "QQQI32s", check=_check_data),
        _layout(10, msg.Compared, "QQ?"),
        _layout(11, msg.CopyData, "QQQI", check=_check_data),
        _layout(12, msg.Seal, "QI", check=_check_records),
        _layout(13, msg.Sealed, "Q"),
        _layout(14, msg.Admitted, "QQ32s", from_wire=partial(_with_proposal, at=2)),
        _layout(15, msg.Joined, "Q"),
        _layout(16, msg.HandoverPrepare, "QQ32s32s", from_wire=partial(_with_proposal, at=2)),
        _layout(17, msg.HandoverReady, "QQ"),
        _layout(18, msg.HandoverDone, "QQ32s", from_wire=partial(_with_proposal, at=2)),
        _layout(19, msg.Refused, "QQ"),
        _layout(20, Grant, "Q16sI"),
        _layout(21, msg.OwnRange, "QQQ", check=_check_own_range),
        _layout(22, msg.ResyncBase, "QQ"),
        _layout(23, msg.SettledAsked, "QQ"),
        _layout(24, msg.Settled, "QQ"),
        _layout(25, msg.Propose, "QQBQQQII", from_wire=_of_proposal, check=_check_proposal),
        _layout(26, msg.Assigned, "QQQQQ"),
        _layout(27, msg.Completed, "QQ"),
        _layout(28, msg.Unexecuted, "QQBI", from_wire=_of_no_effect),
        _layout(29, Kept, "QQ"),
        _layout(30, ComponentsReady, "?II"),
        _layout(31, ResyncLeft, "QQQ?"),
        _layout(32, msg.Fetch, "QQQI", check=_check_data),
        _layout(33, msg.RepairData, "QQQI", check=_check_data),
        _layout(34, msg.Damaged, "QQQI", check=_check_data),
        _layout(35, Setting, f"{SETTING_NAME_MAX}s{SETTING_VALUE_MAX}s", from_wire=_of_setting),
        _layout(36, DataFaultTold, "QB?QQ", from_wire=_of_data_fault, check=_check_data_fault),
        _layout(40, msg.MirrorZeroes, "QQQQQI", check=_check_data),
        _layout(41, msg.MirrorRecord, "QQQQI", check=_check_records),
        _layout(42, msg.RecordsDiffer, "QQ"),
        _layout(43, msg.InDoubt, "Q"),
    )
}
_LAYOUTS: Final = {layout.number[0]: layout for layout in _KINDS.values()}
