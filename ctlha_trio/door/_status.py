"""The status socket: one JSON object a line, asked and answered."""

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import trio

from ctlha_trio._errors import (
    CtlHaError,
    DisconnectError,
    RemoteProtocolError,
    RoleStaysError,
    StoreError,
    UnknownOutcomeError,
)
from ctlha_trio._parsed_json import parse_json
from ctlha_trio.door._decisions import DecisionLog
from ctlha_trio.door._forcing import Forcing
from ctlha_trio.door._jsonable import jsonable
from ctlha_trio.door._node import DoorNode
from ctlha_trio.door._protocol import TurnedAway, too_many
from ctlha_trio.door._sockets import is_own_user
from ctlha_trio.door._streams import PatientReader, has_left
from ctlha_trio.door._visitors import VisitorLog, send_last
from ctlha_trio.ha import REFUSED, Note, Notice
from ctlha_trio.pair import Setback

MAX_CONNECTIONS: Final = 8
"""People and monitors that ask at once; each asks and leaves."""
MAX_LINE_BYTES: Final = 4096
"""A request names one of a few things, and at most a node, a revision and whether to fence."""
LINE_S: Final = 3.0
"""From one request to the next over a local socket. Not protocol time."""

_REQUESTS: Final = ("status", "plan-switchover", "plan-failover", "switchover", "verify", "plan-force", "force-primary")
_CLOSED: Final = "closed a connection to the status socket"


@attrs.define(eq=False)
class StatusSocket:
    """Serves the status socket of one node: each line is answered with what ``answer`` says to it."""

    _answer: Callable[[bytes], Awaitable[dict[str, object]]]
    _connections: int = attrs.field(default=0, init=False)
    _log: VisitorLog = attrs.field(factory=VisitorLog, init=False)

    async def serve(self, listener: trio.SocketListener) -> None:
        """Accept until cancelled; then the listener is closed."""
        await trio.serve_listeners(self._handle, [listener])

    async def _handle(self, stream: trio.SocketStream) -> None:
        """Answer one connection. One that is not taken is told why and closed at once, whatever it has sent."""
        if not is_own_user(stream):
            self._turn_away(stream, TurnedAway.ANOTHER_USER, "the socket is for the node's own user")
            return
        if self._connections >= MAX_CONNECTIONS:
            self._turn_away(stream, TurnedAway.TOO_MANY_CONNECTIONS, too_many(MAX_CONNECTIONS))
            return
        self._connections += 1
        try:
            await self._converse(stream)
        except (DisconnectError, trio.BrokenResourceError, trio.TooSlowError):
            # It has its answer, or does not want it.
            self._log.tell("a connection to the status socket ended", level=logging.DEBUG)
        except RemoteProtocolError as error:
            self._log.tell(f"{_CLOSED}: {error}")
        finally:
            self._connections -= 1

    def _turn_away(self, stream: trio.SocketStream, why: TurnedAway, detail: str) -> None:
        self._log.tell(f"{_CLOSED}: {detail}")
        send_last(stream, _line_of({"ok": False, "turned_away": str(why), "error": detail}))

    async def _converse(self, stream: trio.SocketStream) -> None:
        reader = PatientReader(stream)
        while True:
            with trio.fail_after(LINE_S):
                line = await reader.line(MAX_LINE_BYTES)
            if has_left(stream):
                # As after the node was frozen. What a person gave up waiting for is not to happen behind their back.
                what = "a request to the status socket was not looked at: whoever asked has left"
                self._log.tell(what, level=logging.INFO)
                return
            answer = await self._answer(line)
            with trio.fail_after(LINE_S):
                await stream.send_all(_line_of(answer))


def _line_of(answer: dict[str, object]) -> bytes:
    return json.dumps(answer).encode() + b"\n"


@attrs.frozen(eq=False)
class CommandRefusals:
    """Commands that were refused before anything was begun, for the log of decisions."""

    _node: DoorNode
    _notice: Callable[[Notice], None]

    def tell(self, what: str, why: str) -> None:
        """Of one, in the epoch in which the node is."""
        plan = self._node.rehearse_switchover().plan
        epoch = 0 if plan.before is None else plan.before.epoch
        self._notice(Notice(what=what, outcome=REFUSED, why=why, epoch=epoch, revision=plan.revision))


@attrs.frozen(eq=False)
class StatusDoor:
    """What a node says and does when it is asked. It answers in every state."""

    _node: DoorNode
    _decisions: DecisionLog
    _forcing: Forcing
    _refused: CommandRefusals

    async def answer(self, line: bytes) -> dict[str, object]:
        """To one request. A checkpoint if something is to be done."""
        try:
            match request_of(line):
                case {"request": "status"}:
                    return {"ok": True, "status": self._status()}
                case {"request": "plan-switchover"}:
                    return {"ok": True, "plan": jsonable(self._node.rehearse_switchover())}
                case {"request": "plan-failover"}:
                    return {"ok": True, "plan": jsonable(self._node.rehearse_failover())}
                case {"request": "switchover"}:
                    await self._switch_over()
                    return {"ok": True}
                case {"request": "verify"}:
                    return {"ok": True, "number": self._verify()}
                case {"request": "plan-force", "abandon": str(abandon)}:
                    plan = jsonable(self._node.plan_force(abandon))
                    return {"ok": True, "plan": plan | {"fence_command": self._forcing.fence}}
                case {
                    "request": "force-primary",
                    "abandon": str(abandon),
                    "revision": int(revision),
                    "fence": bool(fenced),
                }:
                    await self._forcing.force(abandon, revision, fenced=fenced, refused=self._refused.tell)
                    return {"ok": True}
                case _:
                    return {"ok": False, "error": f"unknown request; there are {', '.join(_REQUESTS)}"}
        except RoleStaysError as error:
            return {"ok": False, "error": str(error), "causes": error.causes}
        except UnknownOutcomeError as error:
            return {"ok": False, "error": str(error), "unknown": True}
        except CtlHaError as error:
            return {"ok": False, "error": str(error)}

    def _status(self) -> dict[str, object]:
        """What the node says, and what its door remembers."""
        status, owed = self._node.status(), self._forcing.fence_owed
        if owed is not None:
            status = attrs.evolve(status, fence_owed=owed, notes=(*status.notes, Note.FENCE_OWED.value))
        return jsonable(status)

    def _verify(self) -> int:
        try:
            return self._node.verify()
        except CtlHaError as error:
            self._refused.tell("verify", str(error))
            raise

    async def _switch_over(self) -> None:
        """Between two lines of the log. ``RoleStaysError``, or another ``CtlHaError`` of the node."""
        plan = self._node.rehearse_switchover().plan
        if plan.obstacles:
            error = RoleStaysError(tuple(each.value for each in plan.obstacles))
            self._refused.tell("switchover", str(error))
            raise error
        epoch = 0 if plan.before is None else plan.before.epoch
        decision = {"decision": "switchover", "revision": plan.revision, "epoch": epoch, "before": plan.before}
        try:
            await self._decisions.append(outcome="asked", **decision)
        except StoreError as error:
            raise RoleStaysError((Setback.NOT_LOGGED.value,), str(error)) from error
        try:
            await self._node.switchover()
        except UnknownOutcomeError as error:
            await self._decisions.append_end(outcome=f"unknown: {error}", **decision)
            raise
        except CtlHaError as error:
            await self._decisions.append_end(outcome=f"failed: {error}", **decision)
            raise
        await self._decisions.append_end(outcome="done", **decision)


def request_of(line: bytes) -> object:
    """What a line asks for; None if it is no JSON."""
    try:
        return parse_json(line)
    except ValueError:
        return None
