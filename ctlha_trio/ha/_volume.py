"""The volume of a node: what its clients read and write, gated by the supervisor as a component."""

import attrs
import trio

from ctlha_trio._errors import FailedError, InvalidError, MediumError, NotPrimaryError, UnknownOutcomeError
from ctlha_trio._vocabulary import ctl_ha_comp_status, ctl_ha_component, ctl_ha_state
from ctlha_trio.ha._client_requests import Answer
from ctlha_trio.ha._pair_driver import PairDriver
from ctlha_trio.pair import WRITE_BYTES_MAX, Operation, OperationKind, Outcome
from ctlha_trio.seams import Buffer

_OF_CLIENTS = frozenset({OperationKind.READ, OperationKind.WRITE, OperationKind.FLUSH})
_OK = ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK


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
        await self._operate(OperationKind.WRITE, offset, len(data), data)

    async def flush(self) -> None:
        """Return once everything written before is complete. A checkpoint. Errors as for ``write``."""
        await self._operate(OperationKind.FLUSH, 0, 0, b"")

    async def submit(
        self, kind: OperationKind, *, client: int, number: int, offset: int, size: int, data: Buffer = b""
    ) -> Answer:
        """One operation of a client that numbers its own. ``InvalidError`` if it cannot be one. A checkpoint."""
        self._check(kind, offset, size, data)
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._is_started and self._driver.accepts:
            await self._driver.changed.park()
        return await self._driver.submit(Operation(kind, client, number, offset, size), bytes(data))

    def component(self) -> ctl_ha_component:
        """This volume, for the supervisor."""
        return ctl_ha_component(name="volume", init=self._init, start=self._start, quiesce=self._quiesce)

    async def _operate(self, kind: OperationKind, offset: int, size: int, data: Buffer) -> Answer:
        self._numbers += 1
        answer = await self.submit(kind, client=self._client, number=self._numbers, offset=offset, size=size, data=data)
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

    def _check(self, kind: OperationKind, offset: int, size: int, data: Buffer) -> None:
        if kind not in _OF_CLIENTS:
            raise InvalidError(f"{kind.name} is the pair's own")
        if kind is OperationKind.FLUSH:
            return
        if not 0 < size <= WRITE_BYTES_MAX or offset < 0 or offset + size > self.size_bytes:
            raise InvalidError(
                f"{size} bytes at {offset}: 1 to {WRITE_BYTES_MAX} within a volume of {self.size_bytes} are possible"
            )
        if kind is OperationKind.WRITE and memoryview(data).nbytes != size:
            raise InvalidError(f"a write of {size} bytes with {memoryview(data).nbytes} bytes of data")

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
