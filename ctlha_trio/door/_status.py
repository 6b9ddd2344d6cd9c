"""The status socket: one JSON object a line, asked and answered."""

import json
import logging
from enum import Enum, Flag
from typing import Final

import attrs
import trio

from ctlha_trio._errors import CtlHaError, DisconnectError, RemoteProtocolError
from ctlha_trio.door._node import DoorNode
from ctlha_trio.door._sockets import is_own_user
from ctlha_trio.door._streams import PatientReader

MAX_CONNECTIONS: Final = 8
"""People and monitors that ask at once; each asks and leaves."""
MAX_LINE_BYTES: Final = 4096
"""A request names one of two things."""
LINE_S: Final = 3.0
"""From one request to the next over a local socket. Not protocol time."""

_LOG: Final = logging.getLogger(__name__)


@attrs.define(eq=False)
class StatusDoor:
    """Serves the status socket of one node. It answers in every state."""

    _node: DoorNode
    _connections: int = attrs.field(default=0, init=False)

    async def serve(self, listener: trio.SocketListener) -> None:
        """Accept until cancelled; then the listener is closed."""
        await trio.serve_listeners(self._handle, [listener])

    async def _handle(self, stream: trio.SocketStream) -> None:
        if not is_own_user(stream):
            _LOG.warning("closed a connection of another user to the status socket")
            return
        if self._connections >= MAX_CONNECTIONS:
            _LOG.warning("closed a connection to the status socket: there are %d already", MAX_CONNECTIONS)
            return
        self._connections += 1
        try:
            await self._converse(stream)
        except (DisconnectError, trio.BrokenResourceError, trio.TooSlowError):
            _LOG.debug("a connection to the status socket ended")  # it has its answer, or does not want it
        except RemoteProtocolError as error:
            _LOG.warning("closed a connection to the status socket: %s", error)
        finally:
            self._connections -= 1

    async def _converse(self, stream: trio.SocketStream) -> None:
        reader = PatientReader(stream)
        while True:
            with trio.fail_after(LINE_S):
                line = await reader.line(MAX_LINE_BYTES)
            answer = await self._answer(line)
            with trio.fail_after(LINE_S):
                await stream.send_all(json.dumps(answer).encode() + b"\n")

    async def _answer(self, line: bytes) -> dict[str, object]:
        match _request_of(line):
            case "status":
                return {"ok": True, "status": _jsonable(self._node.status())}
            case "switchover":
                try:
                    await self._node.switchover()
                except CtlHaError as error:
                    return {"ok": False, "error": str(error)}
                return {"ok": True}
            case _:
                return {"ok": False, "error": 'unknown request; there are "status" and "switchover"'}


def _request_of(line: bytes) -> object:
    try:
        asked = json.loads(line)
    except ValueError:
        return None
    return asked.get("request") if isinstance(asked, dict) else None


def _jsonable(record: attrs.AttrsInstance) -> dict[str, object]:
    """The record as JSON knows it; enums by their value, flags by the names in them."""

    def serialize(_: type, __: "attrs.Attribute[object]", value: object) -> object:
        if isinstance(value, Flag):
            return value.name
        return value.value if isinstance(value, Enum) else value

    return attrs.asdict(record, value_serializer=serialize)
