"""What clients wait for: each operation under its ticket, from when it is asked until it is answered."""

from collections.abc import Callable

import attrs
import trio

from ctlha_trio.pair import FLIGHTS_LIMIT, Operation, OperationKind, Outcome, events


@attrs.frozen
class Answer:
    """How an operation ended, and for a read that is DONE its data."""

    outcome: Outcome
    data: bytes = b""


@attrs.define(eq=False)
class ClientRequest:
    """An operation that somebody waits for."""

    operation: Operation
    data: bytes
    """That a write carries, or that a read has found."""
    outcome: Outcome = Outcome.UNKNOWN
    ended: trio.Event = attrs.field(factory=trio.Event, init=False)


@attrs.define(eq=False)
class ClientRequests:
    """Of one process. Once it has ended none is executed any more."""

    _feed: Callable[[events.Event], None]
    _under_way: dict[int, ClientRequest] = attrs.field(factory=dict, init=False)
    _tickets: int = attrs.field(default=0, init=False)
    _places: trio.Semaphore = attrs.field(factory=lambda: trio.Semaphore(FLIGHTS_LIMIT), init=False)
    has_ended: bool = attrs.field(default=False, init=False)

    def __getitem__(self, ticket: int) -> ClientRequest:
        return self._under_way[ticket]

    async def submit(self, operation: Operation, data: bytes) -> Answer:
        """Execute one operation. Waits while ``FLIGHTS_LIMIT`` are under way. Cancelled: it is executed even so."""
        await self._places.acquire()
        if self.has_ended:
            self._places.release()
            return Answer(Outcome.NOT_PRIMARY)
        self._tickets += 1
        request = self._under_way[self._tickets] = ClientRequest(operation, data)
        self._feed(events.Submitted(self._tickets, operation))
        await request.ended.wait()
        return Answer(request.outcome, request.data if request.outcome is Outcome.DONE else b"")

    def answer(self, ticket: int, outcome: Outcome) -> None:
        """That operation is over."""
        request = self._under_way.pop(ticket)
        request.outcome = outcome
        request.ended.set()
        self._places.release()

    def end(self) -> None:
        """The process is over: what it wrote may last or not, and what it was to read it did not."""
        self.has_ended = True
        for ticket, request in tuple(self._under_way.items()):
            is_write = request.operation.kind is OperationKind.WRITE
            self.answer(ticket, Outcome.UNKNOWN if is_write else Outcome.NOT_PRIMARY)
