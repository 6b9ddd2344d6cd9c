"""One connection of the data socket: a reader that admits requests in order, a writer of replies, and their bounds."""

from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import trio

from ctlha_trio._errors import DisconnectError
from ctlha_trio.door._protocol import (
    MAX_IN_FLIGHT,
    MAX_IN_FLIGHT_BYTES,
    REQUEST_BYTES,
    Malformed,
    Reply,
    Request,
    decode_request,
    encode_reply_head,
    malformed,
)
from ctlha_trio.door._streams import PatientReader

Admit = Callable[["Connection", Request, bytes], Awaitable[None]]
"""Takes a request that came in order and within the bounds; returns once the next one may follow it."""

_JOINED_REPLY_BYTES: Final = 64 * 1024
"""Up to here a copy costs less than a second call to send."""


@attrs.define(eq=False)
class Connection:
    """Requests of one client, as long as its connection stands. Each admitted request must be answered once."""

    stream: trio.SocketStream
    reader: PatientReader
    _may_repeat: Callable[[int], bool]
    """Whether a number may come again although it does not rise."""
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    """Cancelled to close the connection at once."""
    _in_flight: dict[int, Request] = attrs.field(factory=dict, init=False)
    _in_flight_bytes: int = attrs.field(default=0, init=False)
    _changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    _executing: dict[int, Request] = attrs.field(factory=dict, init=False)
    _last_number: int = attrs.field(default=-1, init=False)
    _replies: trio.MemorySendChannel[Reply] = attrs.field(init=False)
    _replies_out: trio.MemoryReceiveChannel[Reply] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._replies, self._replies_out = trio.open_memory_channel[Reply](MAX_IN_FLIGHT)

    async def run(self, admit: Admit) -> None:
        """Serve until the client leaves or ``scope`` is cancelled. ``RemoteProtocolError`` if it breaks the rules."""
        failures: list[Exception] = []

        async def read() -> None:
            try:
                while True:
                    await self._read_one(admit)
            except Exception as error:  # raised again below, without the nursery's group around it
                failures.append(error)
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await self._write()
            nursery.cancel_scope.cancel()
        for failure in failures:
            if not isinstance(failure, DisconnectError):
                raise failure

    @property
    def is_executing(self) -> bool:
        """Whether an operation that came through this connection is under way."""
        return bool(self._executing)

    def begin(self, request: Request) -> None:
        """The request is being executed from now on."""
        self._executing[request.number] = request

    def answer(self, reply: Reply) -> None:
        """Queue the reply to a request in flight; it leaves the bounds when it was sent. Never waits."""
        self._executing.pop(reply.number, None)
        self._replies.send_nowait(reply)  # there is room for each request in flight
        self._changed.unpark_all()

    async def wait_no_conflict(self, request: Request) -> None:
        """Return once nothing is being executed on this connection whose order with ``request`` could be seen."""
        while any(request.conflicts_with(other) for other in self._executing.values()):
            await self._changed.park()

    async def _read_one(self, admit: Admit) -> None:
        request = decode_request(await self.reader.exactly(REQUEST_BYTES))
        if request.number > self._last_number:
            self._last_number = request.number
        elif request.number in self._in_flight or not self._may_repeat(request.number):
            raise malformed(Malformed.NUMBER)
        while len(self._in_flight) >= MAX_IN_FLIGHT or self._in_flight_bytes + request.held_bytes > MAX_IN_FLIGHT_BYTES:
            await self._changed.park()
        self._in_flight[request.number] = request
        self._in_flight_bytes += request.held_bytes
        await admit(self, request, await self.reader.exactly(request.data_bytes))

    async def _write(self) -> None:
        try:
            async for reply in self._replies_out:
                await self._send(reply)
                self._in_flight_bytes -= self._in_flight.pop(reply.number).held_bytes
                self._changed.unpark_all()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the client left with replies under way; it asks again for what it did not get

    async def _send(self, reply: Reply) -> None:
        head = encode_reply_head(reply)
        if len(reply.data) <= _JOINED_REPLY_BYTES:
            await self.stream.send_all(head + reply.data)
        else:
            await self.stream.send_all(head)
            await self.stream.send_all(reply.data)
