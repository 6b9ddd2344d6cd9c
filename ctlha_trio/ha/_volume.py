"""The volume of a node: what its clients read and write, gated by the supervisor as a component."""

from typing import Final

import attrs
import trio

from ctlha_trio._errors import (
    FailedError,
    InvalidError,
    MediumError,
    MiscompareError,
    NotPrimaryError,
    UnknownOutcomeError,
)
from ctlha_trio._vocabulary import ctl_ha_comp_status, ctl_ha_component, ctl_ha_state
from ctlha_trio.ha._client_requests import Answer
from ctlha_trio.ha._pair_driver import PairDriver
from ctlha_trio.ha._pieces import execute_pieces
from ctlha_trio.pair import (
    READING,
    WRITE_BYTES_MAX,
    WRITING,
    ZEROING,
    CarriedRecord,
    Operation,
    OperationKind,
    Outcome,
    Records,
    check_record,
    decode_records,
)
from ctlha_trio.seams import Buffer

ZEROES_BYTES_MAX: Final = 256 * WRITE_BYTES_MAX
"""Of one write-zeroes or unmap: a few seconds of a slow disk, so that an initiator's patience lasts for it."""
COMPARE_BYTES_MAX: Final = 128 * 1024
"""Of one compare-and-write: more than the 255 blocks of 512 bytes that a SCSI command can name."""

_NAMES: Final = 1 << 64
"""How many clients, and numbers of one, can be told apart."""
_OF_CLIENTS = WRITING | READING | {OperationKind.FLUSH}
_OK = ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK
_WITHOUT_RANGE: Final = frozenset({OperationKind.FLUSH, OperationKind.PUT_RECORD, OperationKind.READ_RECORDS})
_SIZES_MAX: Final = dict.fromkeys(ZEROING, ZEROES_BYTES_MAX) | {OperationKind.COMPARE_AND_WRITE: COMPARE_BYTES_MAX}
_CONTENTS: Final = {OperationKind.WRITE: 1, OperationKind.COMPARE_AND_WRITE: 2}
"""How many times its size in data comes with an operation."""


@attrs.define(eq=False, repr=False)
class Volume:
    """Operations on the mirrored volume. Between ``quiesce`` and ``start`` new ones wait, if it takes any."""

    size_bytes: int
    _driver: PairDriver
    _client: int
    """The id of the local user, for operations that no other client names."""
    _numbers: int = attrs.field(default=0, init=False)
    _is_started: bool = attrs.field(default=False, init=False)

    def __repr__(self) -> str:
        return f"<Volume of {self.size_bytes} bytes>"

    async def read(self, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset``. A checkpoint. Errors as for ``write``."""
        answer = await self._operate(OperationKind.READ, offset, size, b"")
        return answer.data

    async def write(self, offset: int, data: Buffer) -> None:
        """Return once ``data`` is durable on every member. A checkpoint.

        ``InvalidError`` outside the volume or beyond ``WRITE_BYTES_MAX``; ``NotPrimaryError``: not executed, try the
        other node; ``UnknownOutcomeError``: executed or not; ``MediumError``: not executed, a block of it is lost on
        every copy that counts. Cancelled: the answer is abandoned, not the operation.
        """
        await self._operate(OperationKind.WRITE, offset, memoryview(data).nbytes, data)

    async def write_zeroes(self, offset: int, size: int) -> None:
        """Return once ``size`` bytes from ``offset`` are zeros, durably on every member. A checkpoint.

        Up to ``ZEROES_BYTES_MAX``. What goes beyond a multiple of ``WRITE_BYTES_MAX`` is an operation of its own, so
        that others may see some done and some not yet. Errors as for ``write``; ``UnknownOutcomeError`` also if only
        some were done. Cancelled: what was begun is executed, the rest is not.
        """
        await self._operate(OperationKind.WRITE_ZEROES, offset, size, b"")

    async def unmap(self, offset: int, size: int) -> None:
        """The range is not needed any more. As ``write_zeroes`` in all: the room stays the volume's. A checkpoint."""
        await self._operate(OperationKind.UNMAP, offset, size, b"")

    async def compare_and_write(self, offset: int, expected: Buffer, data: Buffer) -> None:
        """Write ``data``, as ``write`` does, if the volume holds ``expected`` there; nothing comes in between.

        A checkpoint. ``MiscompareError`` if it holds something else: nothing was written then. ``InvalidError`` also
        beyond ``COMPARE_BYTES_MAX``, or if the two are not of the same size. Else as ``write``.
        """
        both = bytes(expected) + bytes(data)
        if len(both) != 2 * memoryview(data).nbytes:
            raise InvalidError(f"{len(both)} bytes are not as many to compare as to write")
        await self._operate(OperationKind.COMPARE_AND_WRITE, offset, len(both) // 2, both)

    async def put_record(self, key: str, value: Buffer) -> None:
        """Put a record: return once it is durable on every member, which carries it wherever the role goes.

        Small state of the layers above, such as reservations. An empty value takes the record away. A checkpoint.
        ``InvalidError`` for a key that is empty, no text, or has more than ``KEY_BYTES_MAX`` bytes in UTF-8, and for a
        value that would not even fit alone; ``FailedError`` if all records together would take more than
        ``RECORDS_BYTES_MAX``. Else as ``write``.
        """
        await self._operate(OperationKind.PUT_RECORD, 0, 0, value, key=key)

    async def records(self) -> Records:
        """All records, by key, none older than what was told of any of them. A checkpoint. Errors as for ``write``."""
        answer = await self._operate(OperationKind.READ_RECORDS, 0, 0, b"")
        return decode_records(answer.data)

    async def get_record(self, key: str) -> CarriedRecord | None:
        """One record, with its version; None if there is none. As ``records``."""
        return (await self.records()).get(key)

    async def flush(self) -> None:
        """Return once everything written before is complete. A checkpoint. Errors as for ``write``."""
        await self._operate(OperationKind.FLUSH, 0, 0, b"")

    async def submit(
        self,
        kind: OperationKind,
        *,
        client: int,
        number: int,
        offset: int = 0,
        size: int = 0,
        data: Buffer = b"",
        key: str = "",
    ) -> Answer:
        """One operation of a client that numbers its own. ``InvalidError`` if it cannot be one. A checkpoint.

        ``data`` of a compare-and-write is what it expects and, behind it, what it writes. Only a record has a ``key``.
        """
        _check_name(client, number)
        self._check(kind, offset, size, data, key)
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._is_started and self._driver.accepts:
            await self._driver.changed.park()
        operation = Operation(kind, client, number, offset, size, key)
        if kind in ZEROING:
            return await execute_pieces(operation, lambda piece: self._driver.submit(piece, b""))
        return await self._driver.submit(operation, bytes(data))

    def component(self) -> ctl_ha_component:
        """This volume, for the supervisor."""
        return ctl_ha_component(name="volume", init=self._init, start=self._start, quiesce=self._quiesce)

    async def _operate(self, kind: OperationKind, offset: int, size: int, data: Buffer, *, key: str = "") -> Answer:
        self._numbers += 1
        answer = await self.submit(
            kind, client=self._client, number=self._numbers, offset=offset, size=size, data=data, key=key
        )
        match answer.outcome:
            case Outcome.DONE:
                return answer
            case Outcome.NOT_PRIMARY:
                raise NotPrimaryError("this node does not serve the volume now")
            case Outcome.UNKNOWN:
                raise UnknownOutcomeError("the role was lost while the operation was under way")
            case Outcome.FAILED:
                raise FailedError("the operation failed")
            case Outcome.MEDIUM_ERROR:
                raise MediumError("a block is damaged on every copy that counts; writing the whole block heals it")
            case Outcome.SUPERSEDED:
                raise FailedError("whoever asked has asked for something newer through the other node meanwhile")
            case Outcome.MISCOMPARE:
                raise MiscompareError(offset + (answer.miscompare_at or 0))

    def _check(self, kind: OperationKind, offset: int, size: int, data: Buffer, key: str) -> None:
        if kind not in _OF_CLIENTS:
            raise InvalidError(f"{kind.name} is the pair's own")
        data_bytes = memoryview(data).nbytes
        if kind is OperationKind.PUT_RECORD:
            check_record(key, data_bytes)
        elif key:
            raise InvalidError("only a record has a key")
        if kind in _WITHOUT_RANGE:
            return
        numbers: tuple[object, ...] = offset, size
        if not all(isinstance(each, int) for each in numbers):
            # What the layers below make of another number, they make of it in the node's own tasks.
            raise InvalidError(f"{size} bytes at {offset}: whole numbers are possible")
        size_max = _SIZES_MAX.get(kind, WRITE_BYTES_MAX)
        if not 0 < size <= size_max or offset < 0 or offset + size > self.size_bytes:
            raise InvalidError(
                f"{size} bytes at {offset}: 1 to {size_max} within a volume of {self.size_bytes} are possible"
            )
        wanted = size * _CONTENTS.get(kind, 0)
        if wanted and data_bytes != wanted:
            raise InvalidError(f"an operation on {size} bytes with {data_bytes} bytes of data")

    async def _init(self, _: ctl_ha_component) -> ctl_ha_comp_status:
        await trio.lowlevel.checkpoint()
        return _OK

    async def _start(self, _: ctl_ha_component, __: ctl_ha_state) -> ctl_ha_comp_status:
        await trio.lowlevel.checkpoint()
        self._is_started = True
        self._driver.changed.unpark_all()
        return _OK

    async def _quiesce(self, _: ctl_ha_component) -> ctl_ha_comp_status:
        await trio.lowlevel.checkpoint()
        self._is_started = False
        return _OK


def _check_name(client: object, number: object) -> None:
    """What the link and the pair's core make of another name, they make of it in the node's own tasks."""
    for each in (client, number):
        if not isinstance(each, int) or isinstance(each, bool) or not 0 <= each < _NAMES:
            raise InvalidError(f"number {number!r} of client {client!r}: whole numbers of 64 bits are possible")
