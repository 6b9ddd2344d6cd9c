"""What clients wait for: each operation under its ticket, with its data, from when it is asked until it is answered."""

from collections.abc import Callable, Collection, Iterator
from itertools import chain

import attrs
import trio

from ctlha_trio.ha._newest_numbers import NewestNumbers
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
    proposals: dict[int, ClientRequest] = attrs.field(factory=dict, init=False)
    """Of the peer, by number, while they are under way here."""
    _ended_here: NewestNumbers = attrs.field(factory=NewestNumbers, init=False)
    """But for what this node, when it did not serve, has not executed."""
    _asked_there: NewestNumbers = attrs.field(factory=NewestNumbers, init=False)
    """Of what the peer proposed, and this node has kept."""
    _tickets: int = attrs.field(default=0, init=False)
    _places: trio.Semaphore = attrs.field(factory=lambda: trio.Semaphore(FLIGHTS_LIMIT), init=False)
    has_ended: bool = attrs.field(default=False, init=False)

    def __getitem__(self, ticket: int) -> ClientRequest:
        return self._under_way[ticket]

    def of(self, action: actions.StoreWrite | actions.StoreRecord | actions.FetchRead) -> ClientRequest:
        """That the core orders something for: of a client of this node, or proposed by the peer."""
        return self.proposals[action.taken] if action.taken else self._under_way[action.ticket]

    def has_turned_here(self, operation: Operation) -> bool:
        """Whether the client has asked this node for something newer, so that it does not wait for that any more.

        What this node did not take when it did not serve does not count: its client may give all of that again.
        """
        waiting = (request.operation for request in self._under_way.values())
        return self._ended_here.has_newer(operation) or any(
            each.client == operation.client and each.number > operation.number for each in waiting
        )

    def keep_proposal(self, number: int, operation: Operation, data: bytes) -> None:
        """The peer proposes it, and this node may execute it."""
        self._asked_there.note(operation)
        self.proposals[number] = ClientRequest(operation, data)

    def records(self, *, but: Collection[int] = ()) -> Iterator[tuple[str, bytes]]:
        """Keys and values of those that are to be put, but for those of some tickets."""
        own = (request for ticket, request in self._under_way.items() if ticket not in but)
        for request in chain(own, self.proposals.values()):
            if request.operation.kind is OperationKind.PUT_RECORD:
                yield request.operation.key, request.data

    def record(self, action: actions.PushWrite | actions.StoreRecord) -> CarriedRecord:
        """That is put, with the version that its operation gives it."""
        request = self._under_way[action.ticket] if isinstance(action, actions.PushWrite) else self.of(action)
        return CarriedRecord(request.operation.key, action.epoch, action.sequence, request.data)

    def pushed(
        self, action: actions.PushWrite | actions.PushProposal | actions.PushAssigned | actions.PushReady
    ) -> tuple[PushedMessage, bytes]:
        """What the peer is sent of operations that change something: the message, and the data that goes with it."""
        if isinstance(action, actions.PushAssigned | actions.PushReady):
            return action.message, bytes(pushed_bytes(action.message))
        if isinstance(action, actions.PushProposal):
            return self._proposed(action)
        operation = action.operation
        head = action.epoch, action.sequence, action.previous, action.settled
        if operation.kind is OperationKind.PUT_RECORD:
            record = encode_record(self.record(action))
            return messages.MirrorRecord(*head, len(record)), record
        if operation.kind in ZEROING:
            zeroes = messages.MirrorZeroes(*head, operation.offset, operation.size)
            return zeroes, bytes(pushed_bytes(zeroes))
        return messages.MirrorWrite(*head, operation.offset, operation.size), self[action.ticket].content

    def _proposed(self, action: actions.PushProposal) -> tuple[messages.Propose, bytes]:
        operation, data = action.operation, self[action.ticket].data
        if operation.kind is OperationKind.PUT_RECORD:
            data = encode_record(CarriedRecord(operation.key, 0, 0, data))
            operation = attrs.evolve(operation, key="")
        propose = messages.Propose(action.epoch, action.number, operation, len(data))
        return propose, data.ljust(pushed_bytes(propose), b"\0")

    async def submit(self, operation: Operation, data: bytes) -> Answer:
        """Execute one operation. Waits while ``FLIGHTS_LIMIT`` are under way. Cancelled: it is executed even so.

        ``SUPERSEDED`` if its client has turned to the peer meanwhile, and has asked for something newer there.
        """
        await acquire(self._places)
        refusal = self._refusal(operation, data)
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

    def _refusal(self, operation: Operation, data: bytes) -> Outcome | None:
        if self.has_ended:
            return Outcome.NOT_PRIMARY
        if self._asked_there.has_newer(operation):
            return Outcome.SUPERSEDED
        return None if self._takes(operation, data) else Outcome.FAILED

    def answer(self, action: actions.Answer) -> None:
        """That operation is over."""
        request = self._under_way.pop(action.ticket)
        if action.outcome is not Outcome.NOT_PRIMARY:
            self._ended_here.note(request.operation)
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
