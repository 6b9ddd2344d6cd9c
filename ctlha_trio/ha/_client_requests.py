"""What clients wait for: each operation under its ticket, with its data, from when it is asked until it is answered."""

from collections.abc import Callable, Iterator

import attrs
import trio

from ctlha_trio.pair import (
    FLIGHTS_LIMIT,
    READING,
    WRITING,
    ZEROING,
    CarriedRecord,
    Operation,
    OperationKind,
    Outcome,
    PushedMessage,
    actions,
    encode_record,
    events,
    messages,
    pushed_bytes,
)
from ctlha_trio.seams import acquire


@attrs.frozen
class Answer:
    """How an operation ended, and for a read that is DONE its data."""

    outcome: Outcome
    data: bytes = b""
    miscompare_at: int | None = None
    """With MISCOMPARE, in bytes from the operation's offset, the first that is not what the client expects."""


@attrs.define(eq=False)
class ClientRequest:
    """An operation that somebody waits for."""

    operation: Operation
    data: bytes
    """What it writes, or has read; of a compare-and-write what it expects, and behind it what it writes."""
    answer: Answer | None = None
    ended: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def content(self) -> bytes:
        """What it writes."""
        size = self.operation.size
        if self.operation.kind in ZEROING:
            return bytes(size)
        return self.data[size:] if self.operation.kind is OperationKind.COMPARE_AND_WRITE else self.data

    @property
    def expected(self) -> bytes:
        """What a compare-and-write must find."""
        return self.data[: self.operation.size]


@attrs.define(eq=False)
class ClientRequests:
    """Of one process. Once it has ended none is executed any more."""

    _feed: Callable[[events.Event], None]
    _takes: Callable[[Operation, bytes], bool]
    """Whether such an operation can be executed at all."""
    _under_way: dict[int, ClientRequest] = attrs.field(factory=dict, init=False)
    _tickets: int = attrs.field(default=0, init=False)
    _places: trio.Semaphore = attrs.field(factory=lambda: trio.Semaphore(FLIGHTS_LIMIT), init=False)
    has_ended: bool = attrs.field(default=False, init=False)

    def __getitem__(self, ticket: int) -> ClientRequest:
        return self._under_way[ticket]

    def records(self) -> Iterator[tuple[str, bytes]]:
        """Keys and values of those that are to be put."""
        for request in self._under_way.values():
            if request.operation.kind is OperationKind.PUT_RECORD:
                yield request.operation.key, request.data

    def record(self, action: actions.PushWrite | actions.StoreRecord) -> CarriedRecord:
        """That is put, with the version that its operation gives it."""
        return CarriedRecord(action.operation.key, action.epoch, action.sequence, self[action.ticket].data)

    def pushed(self, action: actions.PushWrite) -> tuple[PushedMessage, bytes]:
        """What the peer is sent of an operation that changes something: the message, and the data that goes with it."""
        operation = action.operation
        head = action.epoch, action.sequence, action.previous, action.settled
        if operation.kind is OperationKind.PUT_RECORD:
            record = encode_record(self.record(action))
            return messages.MirrorRecord(*head, len(record)), record
        if operation.kind in ZEROING:
            zeroes = messages.MirrorZeroes(*head, operation.offset, operation.size)
            return zeroes, bytes(pushed_bytes(zeroes))
        return messages.MirrorWrite(*head, operation.offset, operation.size), self[action.ticket].content

    async def submit(self, operation: Operation, data: bytes) -> Answer:
        """Execute one operation. Waits while ``FLIGHTS_LIMIT`` are under way. Cancelled: it is executed even so."""
        await acquire(self._places)
        refusal = Outcome.NOT_PRIMARY if self.has_ended else None
        if refusal is None and not self._takes(operation, data):
            refusal = Outcome.FAILED
        if refusal is not None:
            self._places.release()
            await trio.lowlevel.checkpoint()
            return Answer(refusal)
        self._tickets += 1
        request = self._under_way[self._tickets] = ClientRequest(operation, data)
        self._feed(events.Submitted(self._tickets, operation))
        await request.ended.wait()
        assert request.answer is not None
        return request.answer

    def answer(self, action: actions.Answer) -> None:
        """That operation is over."""
        request = self._under_way.pop(action.ticket)
        found = action.outcome is Outcome.DONE and request.operation.kind in READING
        request.answer = Answer(action.outcome, request.data if found else b"", action.miscompare_at)
        request.ended.set()
        self._places.release()

    def end(self) -> None:
        """The process is over: what it wrote may last or not, and what it was to read it did not."""
        self.has_ended = True
        for ticket, request in tuple(self._under_way.items()):
            writes = request.operation.kind in WRITING
            self.answer(actions.Answer(ticket, Outcome.UNKNOWN if writes else Outcome.NOT_PRIMARY))
