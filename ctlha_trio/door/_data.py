"""The data socket: who may execute what, and in which order, over all connections of a client."""

import logging
import math
from collections import OrderedDict
from functools import partial
from typing import Final

import attrs
import trio

from ctlha_trio._errors import CtlHaError, DisconnectError, InvalidError, RemoteProtocolError
from ctlha_trio.door._connection import Connection
from ctlha_trio.door._ledger import UNKNOWN, Known, NumberLedger
from ctlha_trio.door._node import DoorNode
from ctlha_trio.door._protocol import (
    HELLO_BYTES,
    Question,
    Reply,
    Request,
    TurnedAway,
    decode_hello,
    encode_turned_away,
    miscompare_reply,
    split_record,
    too_many,
)
from ctlha_trio.door._sockets import is_own_user
from ctlha_trio.door._streams import PatientReader, has_hung_up
from ctlha_trio.door._visitors import VisitorLog, send_last
from ctlha_trio.pair import OperationKind, Outcome

MAX_CONNECTIONS: Final = 8
"""Enough for a few initiators that each reconnect before their last connection has ended."""
MAX_CLIENTS: Final = 64
"""Clients whose numbers are remembered; the one that has been away for longest is forgotten first."""
HELLO_S: Final = 3.0
"""For the first 18 bytes over a local socket. Not protocol time: no promise to the other node depends on it."""
HOLD_S: Final = 2.0
"""How long a request is held while the node is between two states: longer than most changes, and short enough for a
client to turn to the other node in time if this one has lost its part."""

_CLOSED: Final = "closed a connection to the data socket"


@attrs.define(eq=False)
class _Client:
    """One client id, over all its connections."""

    number: int
    """The id."""
    ledger: NumberLedger = attrs.field(factory=NumberLedger)
    connection: Connection | None = None
    """The newest one."""
    drained: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    @property
    def is_idle(self) -> bool:
        """Whether nothing of it can still arrive or end."""
        return self.connection is None and not self.ledger.executing


@attrs.define(eq=False)
class DataDoor:
    """Serves the data socket of one node."""

    _node: DoorNode
    _clients: OrderedDict[int, _Client] = attrs.field(factory=OrderedDict, init=False)
    """The one that connected last is last."""
    _connections: int = attrs.field(default=0, init=False)
    _opened: trio.Event = attrs.field(factory=trio.Event, init=False)
    _held_until: float = attrs.field(default=-math.inf, init=False)
    _log: VisitorLog = attrs.field(factory=VisitorLog, init=False)

    def open(self) -> None:
        """Let requests in; before the first time they are answered ``not primary``."""
        self._opened.set()

    def hold(self) -> None:
        """Hold new requests until the next ``open``; after ``HOLD_S`` they are answered ``not primary``."""
        if self._opened.is_set():
            self._opened = trio.Event()
            self._held_until = trio.current_time() + HOLD_S

    async def serve(self, listener: trio.SocketListener) -> None:
        """Accept until cancelled; then the listener is closed."""
        async with trio.open_nursery() as nursery:
            await trio.serve_listeners(partial(self._handle, nursery), [listener])

    async def _handle(self, nursery: trio.Nursery, stream: trio.SocketStream) -> None:
        """Serve one connection. It keeps its place among the connections until what came through it has ended.

        One that is not taken is told why and closed at once, whatever it has sent, or has not.
        """
        if not is_own_user(stream):
            self._turn_away(stream, TurnedAway.ANOTHER_USER, "the socket is for the node's own user")
            return
        if self._connections >= MAX_CONNECTIONS:
            self._turn_away(stream, TurnedAway.TOO_MANY_CONNECTIONS, too_many(MAX_CONNECTIONS))
            return
        self._connections += 1
        try:
            await self._converse(nursery, stream)
        except RemoteProtocolError as error:
            self._log.tell(f"{_CLOSED}: {error}")
        except DisconnectError:
            self._log.tell("a client left before it said who it is", level=logging.DEBUG)
        except trio.TooSlowError:
            self._log.tell(f"{_CLOSED}: no hello within {HELLO_S:.0f} s")
        finally:
            self._connections -= 1

    def _turn_away(self, stream: trio.SocketStream, why: TurnedAway, detail: str) -> None:
        self._log.tell(f"{_CLOSED}: {detail}")
        send_last(stream, encode_turned_away(why, detail))

    async def _converse(self, nursery: trio.Nursery, stream: trio.SocketStream) -> None:
        reader = PatientReader(stream)
        with trio.fail_after(HELLO_S):
            client = self._client(decode_hello(await reader.exactly(HELLO_BYTES)))
        connection = Connection(stream, reader, client.ledger.may_repeat)
        if client.connection is not None:
            client.connection.scope.cancel()
        client.connection = connection
        try:
            with connection.scope:
                while client.ledger.executing:
                    await client.drained.park()
                await connection.run(partial(self._admit, nursery, client))
        finally:
            if client.connection is connection:
                client.connection = None
            stream.socket.close()
        while connection.is_executing:
            await client.drained.park()

    def _client(self, number: int) -> _Client:
        client = self._clients.setdefault(number, _Client(number))
        self._clients.move_to_end(number)
        if len(self._clients) > MAX_CLIENTS:
            del self._clients[next(key for key, other in self._clients.items() if other.is_idle)]
        return client

    async def _admit(
        self, nursery: trio.Nursery, client: _Client, connection: Connection, request: Request, data: bytes
    ) -> None:
        """Answer at once what must not run, else start it. In order: the next request waits until this one started."""
        if isinstance(request.kind, Question):
            connection.answer(_reply(request.number, client.ledger.outcome(request.offset)))
            return
        refusal = client.ledger.replay(request.number, request.kind)
        if refusal is None and not await self._wait_opened():
            refusal = Known(Outcome.NOT_PRIMARY)
            client.ledger.refuse(request.number)
        if refusal is not None:
            connection.answer(_reply(request.number, refusal))
            return
        await connection.wait_no_conflict(request)
        if client.connection is not connection:
            return  # a newer one waits for the end of what this one started: nothing may be added to it
        if has_hung_up(connection.stream):
            raise DisconnectError("the client left before its request could begin")
        client.ledger.begin(request.number)
        connection.begin(request)
        with trio.CancelScope(shield=True):  # what has begun belongs to the door, not to the connection
            await nursery.start(self._execute, client, connection, request, data)

    async def _wait_opened(self) -> bool:
        """Whether the door is open; waits for it as long as requests are held."""
        opened = self._opened
        if not opened.is_set():
            with trio.move_on_at(self._held_until):
                await opened.wait()
        return opened.is_set()

    async def _execute(
        self,
        client: _Client,
        connection: Connection,
        request: Request,
        data: bytes,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run one operation to its end, whatever becomes of the connection. ``start`` returns when the node has it."""
        assert isinstance(request.kind, OperationKind)
        known, found = UNKNOWN, b""
        try:
            task_status.started()  # no checkpoint: this task goes on into the node before the reader does
            key, offset, size = "", request.offset, request.size
            if request.kind is OperationKind.PUT_RECORD:
                (key, data), offset, size = split_record(request, data), 0, 0
            answer = await self._node.submit(
                request.kind,
                client=client.number,
                number=request.number,
                offset=offset,
                size=size,
                data=data,
                key=key,
            )
            known, found = Known(answer.outcome, answer.miscompare_at), bytes(answer.data)
        except InvalidError as error:
            self._log.tell("refused an operation", f"{request.number} of client {client.number:x}: {error}")
            known = Known(Outcome.FAILED)
        except CtlHaError as error:
            self._log.tell("an operation ended unknown", f"{request.number} of client {client.number:x}: {error}")
        finally:
            client.ledger.settle(request.number, request.kind, known)
            connection.answer(_reply(request.number, known, found))
            client.drained.unpark_all()


def _reply(number: int, known: Known, found: bytes = b"") -> Reply:
    if known.miscompare_at is not None:
        return miscompare_reply(number, known.miscompare_at)
    return Reply(number=number, outcome=known.outcome, data=found)
