"""The other side of the data socket: for the command line, the demo and tests."""

from pathlib import Path

import attrs
import trio

from ctlha_trio._errors import (
    BusyError,
    DisconnectError,
    InvalidError,
    RemoteProtocolError,
    TurnedAwayError,
)
from ctlha_trio.door._connect import connect
from ctlha_trio.door._protocol import (
    MAX_IN_FLIGHT,
    OUTCOME_OF,
    REPLY_BYTES,
    Reply,
    Request,
    RequestKind,
    decode_reply_head,
    decode_turned_away,
    encode_hello,
    encode_whole_request,
)
from ctlha_trio.door._streams import PatientReader
from ctlha_trio.pair import OperationKind, Outcome, Records, check_record, decode_records
from ctlha_trio.seams import Buffer


@attrs.define(eq=False)
class SentRequest:
    """An operation that was sent and may be under way."""

    number: int
    _answered: trio.Event = attrs.field(factory=trio.Event, init=False)
    _end: Reply | DisconnectError | None = attrs.field(default=None, init=False)

    async def wait_reply(self) -> Reply:
        """How it ended. ``DisconnectError`` if the connection ended first: it may have been executed or not.

        ``TurnedAwayError``, which is one, if the node never took the connection: it was not.
        """
        await self._answered.wait()
        if not isinstance(self._end, Reply):
            assert self._end is not None
            raise self._end
        return self._end

    def settle(self, end: Reply | DisconnectError) -> None:
        """Wake who waits, with an error if there will be no reply."""
        self._end = end
        self._answered.set()


@attrs.define(eq=False)
class DoorClient:
    """One connection to a data socket. Many tasks may have an operation under way, at most ``MAX_IN_FLIGHT``."""

    _stream: trio.SocketStream
    _waiting: dict[int, SentRequest] = attrs.field(factory=dict, init=False)
    _sending: trio.StrictFIFOLock = attrs.field(factory=trio.StrictFIFOLock, init=False)
    _broken: bool = attrs.field(default=False, init=False)
    _turned_away: TurnedAwayError | None = attrs.field(default=None, init=False)
    _receiving: trio.Event | None = attrs.field(default=None, init=False)
    """Set once nothing is received any more; None before anything is."""

    async def send(
        self, kind: RequestKind, *, number: int, offset: int = 0, size: int = 0, data: Buffer = b""
    ) -> SentRequest:
        """Send one operation; its end is waited for with what this returns.

        Numbers must rise in the order of calls, but for one that was answered NOT_PRIMARY and is given again.
        ``size`` is that of the range; without one it is that of the data.
        ``InvalidError`` for what no node could execute, such as data of another size, and for a number that is in
        flight: nothing was sent. ``DisconnectError`` if the connection ended, which is ``TurnedAwayError`` if the node
        never took it; ``BusyError`` if too many are in flight.
        Cancelled: it was sent or not, and the connection ends if a part of it was.
        """
        size_bytes = size or memoryview(data).nbytes
        whole = encode_whole_request(Request(number=number, kind=kind, offset=offset, size=size_bytes), data)
        if len(self._waiting) >= MAX_IN_FLIGHT:
            raise BusyError(f"{MAX_IN_FLIGHT} operations are in flight")
        if number in self._waiting:
            raise InvalidError(f"an operation of number {number} is in flight")
        sent = self._waiting[number] = SentRequest(number)
        try:
            await self._send(whole)
        except BaseException:
            self._waiting.pop(number, None)
            raise
        return sent

    async def execute(
        self, kind: OperationKind, *, number: int, offset: int = 0, size: int = 0, data: Buffer = b""
    ) -> Reply:
        """``send`` and wait for the end."""
        return await (await self.send(kind, number=number, offset=offset, size=size, data=data)).wait_reply()

    async def put_record(self, key: str, value: bytes, *, number: int) -> Reply:
        """Put a record, or take it away with an empty value; wait for the end. ``InvalidError`` as of ``send``."""
        check_record(key, memoryview(value).nbytes)
        name = key.encode()
        sent = await self.send(OperationKind.PUT_RECORD, number=number, offset=len(name), data=name + value)
        return await sent.wait_reply()

    async def read_records(self, *, number: int) -> Records | Outcome:
        """All records by key, or the outcome if it is another than DONE."""
        reply = await self.execute(OperationKind.READ_RECORDS, number=number)
        return decode_records(bytes(reply.data)) if reply.outcome is Outcome.DONE else reply.outcome

    async def outcome_of(self, asked: int, *, number: int) -> Reply:
        """How this client's operation ``asked`` ended, as far as the node knows; the question has a number too.

        DONE it was done; MISCOMPARE, FAILED or SUPERSEDED it was not, and will not be. UNKNOWN the node does not know:
        it is under way, or came to the other node, or to an earlier life of this one, or may be given again after
        NOT_PRIMARY, or read only.
        """
        return await (await self.send(OUTCOME_OF, number=number, offset=asked)).wait_reply()

    async def receive_replies(self) -> None:
        """Give each reply to the call that waits for it, until the connection ends; if cancelled, end it."""
        reader = PatientReader(self._stream)
        self._receiving = trio.Event()
        try:
            while True:
                reply = await _next_reply(reader)
                if (sent := self._waiting.pop(reply.number, None)) is not None:
                    sent.settle(reply)
        except TurnedAwayError as error:
            self._turned_away = error
        except (DisconnectError, RemoteProtocolError):
            return
        finally:
            self.close()
            self._receiving.set()

    def close(self) -> None:
        """End the connection; what waits ends with ``DisconnectError``. May be called twice."""
        self._broken = True
        self._stream.socket.close()
        while self._waiting:
            self._waiting.popitem()[1].settle(self._ended())

    def _ended(self) -> DisconnectError:
        """A new one for each who is told."""
        if self._turned_away is not None:
            return TurnedAwayError(self._turned_away.reason, str(self._turned_away))
        return DisconnectError("the connection to the node ended")

    async def _send(self, whole: bytes) -> None:
        async with self._sending:
            if self._broken:
                raise self._ended()
            sent = False
            try:
                await self._stream.send_all(whole)
                sent = True
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                if self._receiving is not None:
                    await self._receiving.wait()  # what the node said before it closed stands before its end
                raise self._ended() from error
            finally:
                if not sent:
                    self.close()


async def open_door_client(path: Path | str, *, client: int) -> DoorClient:
    """Connect to a data socket as ``client``. ``DisconnectError`` if nobody listens there.

    ``ConfigError`` for what is no socket, and for one that is kept from this user. ``InvalidError`` if ``client`` is no
    number of 64 bits.

    ``TurnedAwayError``, which is one, if the node does not take the connection, as it takes 8 at a time, over all
    clients, and none of another user, be it root; it may come to say so only to the first operation. Whoever opens it
    runs its ``receive_replies`` in a task, and closes it.
    """
    hello = encode_hello(client)
    return await greet(await connect(path), path, hello)


async def greet(stream: trio.SocketStream, path: Path | str, hello: bytes) -> DoorClient:
    """The first words on a connection, which is closed if they find nobody. Errors as of ``open_door_client``."""
    try:
        await stream.send_all(hello)
    except trio.BrokenResourceError as error:
        with stream.socket:
            try:
                await _next_reply(PatientReader(stream))  # it has closed: there is nothing to wait for
            except TurnedAwayError:
                raise
            except (DisconnectError, RemoteProtocolError):
                pass
        raise DisconnectError(f"{path}: closed the connection") from error
    except BaseException:
        stream.socket.close()
        raise
    return DoorClient(stream)


async def _next_reply(reader: PatientReader) -> Reply:
    """``TurnedAwayError`` if the node does not take the connection, ``RemoteProtocolError`` for what is no reply."""
    number, outcome, size = decode_reply_head(await reader.exactly(REPLY_BYTES))
    data = await reader.exactly(size)
    if outcome is None:
        raise decode_turned_away(number, data)
    return Reply(number=number, outcome=outcome, data=data)
