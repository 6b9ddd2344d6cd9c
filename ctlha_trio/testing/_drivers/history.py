"""What was asked of each sector of a volume and what the nodes answered, at the instants at which they did."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs

from ctlha_trio.pair import (
    CHANGING,
    READING,
    WRITING,
    ZEROING,
    Operation,
    OperationKind,
    Outcome,
    decode_records,
)
from ctlha_trio.testing._history.block_content import number_of
from ctlha_trio.testing._history.block_history import BlockHistory
from ctlha_trio.testing._history.linearizability_records import NOT_EXECUTED, ZEROS
from ctlha_trio.testing._power.medium import SECTOR_BYTES

RECORDS: Final = 2
"""Few, so that puts meet. Their places are those from -1 down."""


def key_at(place: int) -> str:
    """Of the record that has this place."""
    return f"record {-place}"


def put_by(records: Mapping[str, bytes], place: int) -> int:
    """The number of the operation that put the record; 0 before any."""
    return number_of(records.get(key_at(place), bytes(SECTOR_BYTES)))


@attrs.frozen(eq=False)
class Moment:
    """In what clients were told."""

    history: BlockHistory
    time: float

    def check(self, sector: int, value: int) -> None:
        """``AssertionError`` if a copy that counted until then cannot hold this.

        What was never to be written there at that time came later, when the copy did not count.
        """
        if self.history.knows(sector, value):
            self.history.check(sector, value, self.time)


@attrs.define(eq=False)
class VolumeCall:
    """One operation of a client."""

    client: str
    kind: OperationKind
    first: int
    """Sector; records have the places below 0."""
    count: int
    """Sectors, or records."""
    called_s: float
    expected: Sequence[int] = ()
    """By sector, what a compare-and-write must find."""
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
    put: dict[int, None] = attrs.field(factory=dict, init=False)
    """The place of every record that somebody asked to put."""
    done: int = attrs.field(default=0, init=False)
    """Operations that ended well."""
    told: dict[int, int] = attrs.field(factory=dict, init=False)
    """By sector, the value that a client was told last: it wrote that, or read it."""
    acknowledged: int = attrs.field(default=0, init=False)
    """Writes among them."""
    medium_errors: int = attrs.field(default=0, init=False)
    """Operations that met damage that nothing could repair."""
    _sectors: BlockHistory = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Begin with nothing asked."""
        self._sectors = BlockHistory(self._now_s)

    def call(
        self, client: str, kind: OperationKind, first: int, count: int, expected: Sequence[int] | None = None
    ) -> int:
        """A client is about to ask; return the operation's number, which a write writes.

        ``expected`` is what a compare-and-write must find, a value for each sector.
        """
        number = len(self.calls) + 1
        call = self.calls[number] = VolumeCall(client, kind, first, count, self._now_s(), expected or ())
        for sector in call.sectors:
            self._called(number, call, sector)
            if kind in CHANGING:
                self.written[sector] = None
            elif kind is OperationKind.PUT_RECORD:
                self.put[sector] = None
        return number

    def _called(self, number: int, call: VolumeCall, sector: int) -> None:
        expected = call.expected[sector - call.first] if call.expected else ZEROS
        self._sectors.called(number, call.kind, sector, call.client, expected=expected)

    def answered(self, operation: Operation, outcome: Outcome, data: bytes, miscompare_at: int | None = None) -> None:
        """A node answers. ``AssertionError`` if that cannot be true."""
        call = self.calls[operation.number]
        if call.outcome is not None:
            raise AssertionError(f"operation {operation.number} was answered twice")
        call.outcome = outcome
        call.data = data if call.kind in READING and outcome is Outcome.DONE else b""
        if outcome is Outcome.DONE:
            self._ended_well(operation.number, call)
        self.medium_errors += outcome is Outcome.MEDIUM_ERROR
        if miscompare_at is not None:
            self._miscompared(operation.number, call, miscompare_at // SECTOR_BYTES)
            return
        for sector in call.sectors:
            if outcome in NOT_EXECUTED:
                self._sectors.not_executed(operation.number, call.kind, sector)
            elif outcome is Outcome.UNKNOWN:
                self._sectors.lost(operation.number)

    def _miscompared(self, number: int, call: VolumeCall, place: int) -> None:
        self.done += 1
        for sector in call.sectors[:place]:
            self._sectors.compared_equal(number, sector)
        self._sectors.miscompared(number, call.sectors[place])
        for sector in call.sectors[place + 1 :]:
            self._sectors.not_executed(number, call.kind, sector)

    def _ended_well(self, number: int, call: VolumeCall) -> None:
        self.done += 1
        self.acknowledged += call.kind in WRITING
        for place, sector in enumerate(call.sectors):
            value = number
            if call.kind is OperationKind.READ:
                value = number_of(call.data[place * SECTOR_BYTES : (place + 1) * SECTOR_BYTES])
            elif call.kind is OperationKind.READ_RECORDS:
                value = put_by({key: each.value for key, each in decode_records(call.data).items()}, sector)
            self._sectors.done(number, call.kind, sector, value)
            self.told[sector] = ZEROS if call.kind in ZEROING else value

    def was_told(self, number: int, outcome: Outcome, data: bytes) -> bool:
        """Whether a client got the answer that the node gave."""
        call = self.calls[number]
        return call.outcome is outcome and (call.kind not in READING or call.data == data)

    def check_sector(self, sector: int, content: bytes) -> None:
        """``AssertionError`` if a copy that counts cannot hold this now."""
        self._sectors.check(sector, number_of(content))

    def check_record(self, place: int, records: Mapping[str, bytes]) -> None:
        """``AssertionError`` if a copy that counts cannot hold this record now."""
        self._sectors.check(place, put_by(records, place))

    def moment(self) -> Moment:
        """Now."""
        return Moment(self._sectors, math.nextafter(self._sectors.now, math.inf))

    def forsake(self, held: Mapping[int, int]) -> None:
        """A person chose a copy that holds this, by sector: what else there was is lost, by that person's word.

        ``AssertionError`` if one order does not explain every answer until now.
        """
        self.check_whole()
        self._sectors = BlockHistory(self._now_s)
        self.told = dict(held)
        for sector, value in held.items():
            if value != ZEROS:
                self._sectors.called(value, OperationKind.WRITE, sector, "somebody before a node was forced")
                self._sectors.done(value, OperationKind.WRITE, sector, value)
        for number, call in self.calls.items():
            for sector in call.sectors if call.outcome is None else ():
                if not self._sectors.knows(sector, number):
                    self._called(number, call, sector)

    def check_whole(self) -> None:
        """``AssertionError`` unless one order of all operations explains every answer: I3, at the end of a run."""
        self._sectors.verdict().require()
