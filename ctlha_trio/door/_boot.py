"""The status socket of a node that does not come to start, because its disk does not answer."""

import logging
from pathlib import Path
from typing import Final

import attrs
import trio

from ctlha_trio._errors import ConfigError
from ctlha_trio.door._jsonable import jsonable
from ctlha_trio.door._sockets import STATUS_SOCKET, BoundSocket
from ctlha_trio.door._status import StatusSocket, request_of
from ctlha_trio.seams import Clock

BOOT_S: Final = 8.0
"""A node has started by then, even if the arbiter is silent, which takes 3 s of it, unless its disk hangs. Not protocol
time."""

_LOG: Final = logging.getLogger(__name__)


@attrs.define(eq=False)
class BootDoor:
    """Stands in for the door, until that is there."""

    folder: Path
    """The node's own, mode 0700."""
    clock: Clock
    status: attrs.AttrsInstance
    """What is said of the node."""
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _bound: BoundSocket | None = attrs.field(default=None, init=False)

    async def run(self) -> None:
        """Answer from ``BOOT_S`` after the call until ``close``."""
        with self._scope:
            await self.clock.sleep_until(self.clock.now() + BOOT_S)
            _LOG.error("the node has not started for %.0f s: its disk does not answer", BOOT_S)
            try:
                self._bound = BoundSocket.bind(self.folder / STATUS_SOCKET)
            except ConfigError as error:
                _LOG.error("%s", error)
                return
            try:
                await StatusSocket(self._answer).serve(self._bound.listener)
            finally:
                self.close()

    def close(self) -> None:
        """The name of the socket is free when this returns. May be called twice."""
        self._scope.cancel()
        if self._bound is not None:
            self._bound.close()

    async def _answer(self, line: bytes) -> dict[str, object]:
        await trio.lowlevel.checkpoint()
        match request_of(line):
            case {"request": "status"}:
                return {"ok": True, "status": jsonable(self.status)}
            case _:
                return {"ok": False, "error": "the node has not started yet: its disk does not answer"}
