"""What was asked of each sector of a volume and what the nodes answered, at the instants at which they did."""

from collections.abc import Callable

import attrs

from ctlha_trio.pair import Operation, OperationKind, Outcome
from ctlha_trio.testing._history.block_content import number_of
from ctlha_trio.testing._history.block_history import BlockHistory
from ctlha_trio.testing._history.linearizability_records import NOT_EXECUTED
from ctlha_trio.testing._power.medium import SECTOR_BYTES


@attrs.define(eq=False)
class VolumeCall:
    """One operation of a client."""

    client: str
    kind: OperationKind
    first: int
    """Sector."""
    count: int
    """Sectors."""
    called_s: float
    outcome: Outcome | None = None
    """That the node answered, whether or not the client heard it."""
    data: bytes = b""

    @property
    def sectors(self) -> range:
        """Those that it covers."""
        return range(self.first, self.first + self.count)


@attrs.define(eq=False)
class VolumeHistory:
    """Each sector is a register of its own; what covers several promises nothing about them together."""

    _now_s: Callable[[], float]
    calls: dict[int, VolumeCall] = attrs.field(factory=dict, init=False)
    """By number, from 1."""
    written: dict[int, None] = attrs.field(factory=dict, init=False)
    """Every sector that somebody asked to write."""
    done: int = attrs.field(default=0, init=False)
    """Operations that ended well."""
    acknowledged: int = attrs.field(default=0, init=False)
    """Writes among them."""
    medium_errors: int = attrs.field(default=0, init=False)
    """Operations that met damage that nothing could repair."""
    _sectors: BlockHistory = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Begin with nothing asked."""
        self._sectors = BlockHistory(self._now_s)

    def call(self, client: str, kind: OperationKind, first: int, count: int) -> int:
        """A client is about to ask; return the operation's number, which a write writes."""
        number = len(self.calls) + 1
        call = self.calls[number] = VolumeCall(client, kind, first, count, self._now_s())
        for sector in call.sectors:
            self._sectors.called(number, kind, sector, client)
            if kind is OperationKind.WRITE:
                self.written[sector] = None
        return number

    def answered(self, operation: Operation, outcome: Outcome, data: bytes) -> None:
        """A node answers. ``AssertionError`` if that cannot be true."""
        call = self.calls[operation.number]
        if call.outcome is not None:
            raise AssertionError(f"operation {operation.number} was answered twice")
        call.outcome = outcome
        call.data = data if call.kind is OperationKind.READ and outcome is Outcome.DONE else b""
        if outcome is Outcome.DONE:
            self._ended_well(operation.number, call)
        self.medium_errors += outcome is Outcome.MEDIUM_ERROR
        for sector in call.sectors:
            if outcome in NOT_EXECUTED:
                self._sectors.not_executed(operation.number, call.kind, sector)
            elif outcome is Outcome.UNKNOWN:
                self._sectors.lost(operation.number)

    def _ended_well(self, number: int, call: VolumeCall) -> None:
        self.done += 1
        self.acknowledged += call.kind is OperationKind.WRITE
        for place, sector in enumerate(call.sectors):
            value = number
            if call.kind is OperationKind.READ:
                value = number_of(call.data[place * SECTOR_BYTES : (place + 1) * SECTOR_BYTES])
            self._sectors.done(number, call.kind, sector, value)

    def was_told(self, number: int, outcome: Outcome, data: bytes) -> bool:
        """Whether a client got the answer that the node gave."""
        call = self.calls[number]
        return call.outcome is outcome and (call.kind is not OperationKind.READ or call.data == data)

    def check_sector(self, sector: int, content: bytes) -> None:
        """``AssertionError`` if a copy that counts cannot hold this now."""
        self._sectors.check(sector, number_of(content))

    def check_whole(self) -> None:
        """``AssertionError`` unless one order of all operations explains every answer: I3, at the end of a run."""
        self._sectors.verdict().require()
