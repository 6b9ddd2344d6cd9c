"""Callbacks of the transfers of one data id: in order, and what waits for them."""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import trio

from ctlha_trio._vocabulary import ctl_ha_dt_req, ctl_ha_event, ctl_ha_status

Request = ctl_ha_dt_req[Any]
Callback = Callable[[Request], Awaitable[None]]


@attrs.frozen(eq=False)
class Ended:
    """A piece that has ended and has a callback."""

    request: Request
    callback: Callback
    event: ctl_ha_event
    status: ctl_ha_status
    """SUCCESS, or the first failure of the request's pieces up to this one."""


@attrs.define(eq=False)
class CallbackQueue:
    """First come, first served; one runs at a time."""

    queued: int = attrs.field(default=0, init=False)
    """All that ever were."""
    ended: int = attrs.field(default=0, init=False)
    """Those of them that have returned, and whose event is with the handler."""
    _waiting: deque[Ended] = attrs.field(factory=deque, init=False)
    _changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    @property
    def waiting(self) -> int:
        """Those that have not begun."""
        return len(self._waiting)

    def add(self, ended: Ended) -> None:
        """The next one."""
        self._waiting.append(ended)
        self.queued += 1
        self._changed.unpark_all()

    async def take(self) -> Ended:
        """The oldest that has not begun, to be run now; ``end`` tells that it has been."""
        while not self._waiting:
            await self._changed.park()
        return self._waiting.popleft()

    def end(self) -> None:
        """The one that was taken last has returned."""
        self.ended += 1
        self._changed.unpark_all()

    async def wait_ended(self, count: int) -> None:
        """Return once the first ``count`` have returned."""
        while self.ended < count:
            await self._changed.park()
