"""The other side of both sockets: for the command line, the demo and tests."""

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs
import trio

from ctlha_trio._errors import (
    BusyError,
    ConfigError,
    DisconnectError,
    FailedError,
    InvalidError,
    RemoteProtocolError,
    RoleStaysError,
    UnknownOutcomeError,
)
from ctlha_trio.door._protocol import (
    MAX_IN_FLIGHT,
    OUTCOME_OF,
    REPLY_BYTES,
    Reply,
    Request,
    RequestKind,
    decode_reply_head,
    encode_hello,
    encode_whole_request,
)
from ctlha_trio.door._streams import PatientReader
from ctlha_trio.pair import OperationKind, Outcome, Records, decode_records
from ctlha_trio.seams import Buffer

STATUS_S: Final = 2.0
"""For an answer to ``status``, which a node gives without asking anybody."""
FORCE_S: Final = 60.0
"""For a forced change, of which an arbiter that leaves the node in doubt has no bound. A fence has its own."""
SWITCHOVER_S: Final = 60.0
"""For a switchover; each of its steps is bounded by the node itself."""
_MAX_ANSWER_BYTES: Final = 256 * 1024
"""A status with its whole list of transitions."""


@attrs.define(eq=False)
class SentRequest:
    """An operation that was sent and may be under way."""

    number: int
    _answered: trio.Event = attrs.field(factory=trio.Event, init=False)
    _reply: Reply | None = attrs.field(default=None, init=False)

    async def wait_reply(self) -> Reply:
        """How it ended. ``DisconnectError`` if the connection ended first: it may have been executed or not."""
        await self._answered.wait()
        if self._reply is None:
            raise DisconnectError("the connection to the node ended")
        return self._reply

    def settle(self, reply: Reply | None) -> None:
        """Wake who waits, without a reply if there will be none."""
        self._reply = reply
        self._answered.set()


@attrs.define(eq=False)
class DoorClient:
    """One connection to a data socket. Many tasks may have an operation under way, at most ``MAX_IN_FLIGHT``."""

    _stream: trio.SocketStream
    _waiting: dict[int, SentRequest] = attrs.field(factory=dict, init=False)
    _sending: trio.StrictFIFOLock = attrs.field(factory=trio.StrictFIFOLock, init=False)
    _broken: bool = attrs.field(default=False, init=False)

    async def send(
        self, kind: RequestKind, *, number: int, offset: int = 0, size: int = 0, data: Buffer = b""
    ) -> SentRequest:
        """Send one operation; its end is waited for with what this returns.

        Numbers must rise in the order of calls, but for one that was answered NOT_PRIMARY and is given again.
        ``size`` is that of the range; without one it is that of the data.
        ``InvalidError`` for what no node could execute, such as data of another size, and for a number that is in
        flight: nothing was sent. ``DisconnectError`` if the connection ended, ``BusyError`` if too many are in flight.
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
        """Put a record, or take it away with an empty value; wait for the end."""
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
        try:
            while True:
                number, outcome, size = decode_reply_head(await reader.exactly(REPLY_BYTES))
                reply = Reply(number=number, outcome=outcome, data=await reader.exactly(size))
                if (sent := self._waiting.pop(number, None)) is not None:
                    sent.settle(reply)
        except (DisconnectError, RemoteProtocolError):
            return
        finally:
            self.close()

    def close(self) -> None:
        """End the connection; what waits ends with ``DisconnectError``. May be called twice."""
        self._broken = True
        self._stream.socket.close()
        while self._waiting:
            self._waiting.popitem()[1].settle(None)

    async def _send(self, whole: bytes) -> None:
        async with self._sending:
            if self._broken:
                raise DisconnectError("the connection to the node ended")
            sent = False
            try:
                await self._stream.send_all(whole)
                sent = True
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise DisconnectError("the connection to the node ended") from error
            finally:
                if not sent:
                    self.close()


async def open_door_client(path: Path | str, *, client: int) -> DoorClient:
    """Connect to a data socket as ``client``. ``DisconnectError`` if nobody listens there.

    Whoever opens it runs its ``receive_replies`` in a task, and closes it.
    """
    stream = await _connect(path)
    try:
        await stream.send_all(encode_hello(client))
    except BaseException as error:
        stream.socket.close()
        if isinstance(error, trio.BrokenResourceError):
            raise DisconnectError(f"{path}: closed the connection") from error
        raise
    return DoorClient(stream)


async def status_of(path: Path, *, timeout_s: float = STATUS_S) -> dict[str, object]:
    """What the node behind a status socket says. ``DisconnectError`` if it does not answer in time."""
    return _table(path, await _ask(path, {"request": "status"}, timeout_s), "status")


async def switchover_of(path: Path, *, timeout_s: float = SWITCHOVER_S) -> None:
    """Ask a node to hand its role over.

    ``RoleStaysError`` with its causes if it did not, another ``FailedError`` if it knows none; ``DisconnectError`` if
    it could not be asked, ``UnknownOutcomeError`` if it was and does not answer.
    """
    await _ask_for_change(path, {"request": "switchover"}, timeout_s)


async def switchover_plan_of(path: Path, *, timeout_s: float = STATUS_S) -> dict[str, object]:
    """What ``switchover_of`` would lead to: the fields of ``Rehearsal``.

    ``FailedError`` with the reason if the node cannot tell, ``DisconnectError`` if it does not answer.
    """
    answer = await _ask(path, {"request": "plan-switchover"}, timeout_s)
    _require_ok(answer)
    return _table(path, answer, "plan")


async def failover_plan_of(path: Path, *, timeout_s: float = STATUS_S) -> dict[str, object]:
    """What would follow if the other node died now: the fields of ``FailoverPlan``. Errors as of ``switchover_of``."""
    answer = await _ask(path, {"request": "plan-failover"}, timeout_s)
    _require_ok(answer)
    return _table(path, answer, "plan")


async def verify_of(path: Path, *, timeout_s: float = STATUS_S) -> int:
    """Have a node begin to compare both copies; its number, by which ``status_of`` tells how it goes.

    ``FailedError`` with the reason if it does not, ``DisconnectError`` if it does not answer.
    """
    answer = await _ask(path, {"request": "verify"}, timeout_s)
    _require_ok(answer)
    number = answer.get("number")
    if not isinstance(number, int):
        raise DisconnectError(f"{path}: the answer is no number")
    return number


async def force_plan_of(path: Path, abandon: str, *, timeout_s: float = STATUS_S) -> dict[str, object]:
    """What ``force_primary_of`` would change: the fields of ``Plan``. Errors as of ``switchover_plan_of``.

    And ``fence_command``, which is empty if the node has no way to fence the other one.
    """
    answer = await _ask(path, {"request": "plan-force", "abandon": abandon}, timeout_s)
    _require_ok(answer)
    return _table(path, answer, "plan")


async def force_primary_of(
    path: Path, abandon: str, *, revision: int, fence: bool = False, timeout_s: float = FORCE_S
) -> None:
    """Make the node the only one that counts, if its record still is of that revision, and have the other one fenced.

    ``FailedError`` with the reason if it did not come about; else as ``switchover_of``.
    """
    request = {"request": "force-primary", "abandon": abandon, "revision": revision, "fence": fence}
    await _ask_for_change(path, request, timeout_s)


def _require_ok(answer: dict[str, object]) -> None:
    if answer.get("ok") is True:
        return
    problem, causes = str(answer.get("error", "no reason given")), answer.get("causes")
    if answer.get("unknown") is True:
        raise UnknownOutcomeError(problem)
    if isinstance(causes, list):
        raise RoleStaysError(tuple(map(str, causes)), problem)
    raise FailedError(problem)


def _table(path: Path, answer: dict[str, object], key: str) -> dict[str, object]:
    table = answer.get(key)
    if not isinstance(table, dict):
        raise DisconnectError(f"{path}: the answer is no {key}")
    return table


async def _ask(path: Path, request: Mapping[str, object], timeout_s: float) -> dict[str, object]:
    stream = await _reach(path, timeout_s)
    with stream.socket:
        return await _converse(path, stream, request, timeout_s)


async def _ask_for_change(path: Path, request: Mapping[str, object], timeout_s: float) -> None:
    """Only of a node that answers: a frozen one would be waited for, and do it later.

    From the first byte of the request on, only the node can say that nothing was done.
    """
    stream = await _reach(path, timeout_s)
    with stream.socket:
        await _converse(path, stream, {"request": "status"}, STATUS_S)
        try:
            answer = await _converse(path, stream, request, timeout_s)
        except DisconnectError as error:
            raise UnknownOutcomeError(str(error)) from error
    _require_ok(answer)


async def _reach(path: Path, timeout_s: float) -> trio.SocketStream:
    """For an answer within that time. ``InvalidError`` if it is none."""
    if not timeout_s >= 0:
        raise InvalidError(f"{timeout_s} s for an answer")
    try:
        with trio.fail_after(STATUS_S):
            return await _connect(path)
    except trio.TooSlowError as error:
        raise DisconnectError(f"{path}: takes no connection within {STATUS_S:g} s") from error


async def _converse(
    path: Path, stream: trio.SocketStream, request: Mapping[str, object], timeout_s: float
) -> dict[str, object]:
    try:
        with trio.fail_after(timeout_s):
            await stream.send_all(json.dumps(request).encode() + b"\n")
            answer = json.loads(await PatientReader(stream).line(_MAX_ANSWER_BYTES))
    except trio.TooSlowError as error:
        raise DisconnectError(f"{path}: no answer within {timeout_s:g} s") from error
    except (trio.BrokenResourceError, RemoteProtocolError, ValueError) as error:
        raise DisconnectError(f"{path}: no usable answer: {error}") from error
    if not isinstance(answer, dict):
        raise DisconnectError(f"{path}: the answer is no object")
    return answer


async def _connect(path: Path | str) -> trio.SocketStream:
    try:
        return await trio.open_unix_socket(os.fspath(path))
    except (OSError, ValueError) as error:
        if await _is_foreign(path):
            raise ConfigError(path, "", "exists and is not a socket") from error
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DisconnectError(f"{path}: no node listens there: {reason or error}") from error


async def _is_foreign(path: Path | str) -> bool:
    """Whether something else lies where a socket is to be. One look: a node that starts removes an old one."""
    try:
        return not stat.S_ISSOCK((await trio.Path(path).stat()).st_mode)
    except (OSError, ValueError):
        return False
