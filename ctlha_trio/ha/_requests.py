"""Operations that clients of this node have asked for, with their data, until each has its answer."""

from collections.abc import Callable, Iterator

import attrs
import trio

from ctlha_trio.pair import (
    FLIGHTS_LIMIT,
    READING,
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


@attrs.frozen
class Answer:
    """How an operation ended, and for a read that is DONE its data."""

    outcome: Outcome
    data: bytes = b""
    miscompare_at: int | None = None
    """With MISCOMPARE, in bytes from the operation's offset, the first that is not what the client expects."""


@attrs.define(eq=False)
class Request:
    """One operation that is not answered."""

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
class Requests:
    """By ticket. ``FLIGHTS_LIMIT`` at the most; whoever comes then waits."""

    _feed: Callable[[events.Event], None]
    _takes: Callable[[Operation, bytes], bool]
    _tickets: int = attrs.field(default=0, init=False)
    _requests: dict[int, Request] = attrs.field(factory=dict, init=False)
    _places: trio.Semaphore = attrs.field(factory=lambda: trio.Semaphore(FLIGHTS_LIMIT), init=False)

    def __getitem__(self, ticket: int) -> Request:
        return self._requests[ticket]

    def records(self) -> Iterator[tuple[str, bytes]]:
        """Keys and values of those that are to be put."""
        for request in self._requests.values():
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

    async def execute(self, operation: Operation, data: bytes) -> Answer:
        """Hand an operation to the core, wait for its answer. A checkpoint. Cancelled: it is executed even so."""
        await self._places.acquire()
        if not self._takes(operation, data):
            self._places.release()
            return Answer(Outcome.FAILED)
        self._tickets += 1
        request = self._requests[self._tickets] = Request(operation, data)
        self._feed(events.Submitted(self._tickets, operation))
        await request.ended.wait()
        assert request.answer is not None
        return request.answer

    def end(self, action: actions.Answer) -> None:
        """The core has answered."""
        request = self._requests.pop(action.ticket)
        found = action.outcome is Outcome.DONE and request.operation.kind in READING
        request.answer = Answer(action.outcome, request.data if found else b"", action.miscompare_at)
        request.ended.set()
        self._places.release()
