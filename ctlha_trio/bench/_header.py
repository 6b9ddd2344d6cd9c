"""The header's functions on their channel: a handler that receives, a handler that hears of what was sent."""

from typing import Final

import attrs
import trio

from ctlha_trio._errors import DisconnectError, FailedError
from ctlha_trio._vocabulary import (
    CTL_HA_CHAN_ZFS,
    CTL_HA_EVT_DISCONNECT,
    CTL_HA_EVT_MSG_RECV,
    CTL_HA_EVT_MSG_SENT,
    CTL_HA_STATUS_BUSY,
    CTL_HA_STATUS_SUCCESS,
    CTL_HA_STATUS_WAIT,
    ctl_ha_channel,
    ctl_ha_event,
    ctl_ha_status,
)
from ctlha_trio.bench._node import MESSAGE_BYTES, SLOTS
from ctlha_trio.bench._orders import MESSAGE
from ctlha_trio.ctl_ha import ctl_ha_msg_create, ctl_ha_msg_recv, ctl_ha_msg_send
from ctlha_trio.ha import Node

_CHANNEL: Final = CTL_HA_CHAN_ZFS
_SENT: Final = frozenset({CTL_HA_STATUS_WAIT, CTL_HA_STATUS_SUCCESS})
_LOW_WATER: Final = SLOTS // 2
"""Messages under way at which a sender that was busy goes on: one that woke for each would mostly wake."""


@attrs.define(eq=False)
class HeaderChannel:
    """A consumer of the header, as C would have it."""

    _node: Node
    _received: int = attrs.field(default=0, init=False)
    _wanted: int = attrs.field(default=0, init=False)
    """Of received messages, at which somebody wants to be told."""
    _under_way: int = attrs.field(default=0, init=False)
    """Sent, and not heard of."""
    _low_water: int = attrs.field(default=-1, init=False)
    """Of those, at which somebody wants to be told."""
    _told: trio.Event = attrs.field(factory=trio.Event, init=False)
    _buffer: bytearray = attrs.field(factory=lambda: bytearray(MESSAGE_BYTES), init=False)

    def open(self) -> None:
        """Once."""
        with self._node.current():
            status = ctl_ha_msg_create(_CHANNEL, self._handle)
        assert status is CTL_HA_STATUS_SUCCESS, "the channel is the benchmark's alone"

    async def _handle(self, channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        if event is CTL_HA_EVT_MSG_RECV:
            status = await ctl_ha_msg_recv(channel, self._buffer, param, 0)
            assert status is CTL_HA_STATUS_SUCCESS, "each event is of one message"
            self._received += 1
            if self._received == self._wanted:
                self._told.set()
        elif event is CTL_HA_EVT_MSG_SENT:
            self._under_way -= 1
            if self._under_way == self._low_water:
                self._told.set()
        elif event is CTL_HA_EVT_DISCONNECT:
            self._told.set()

    def expect(self, count: int) -> None:
        """Count from now on; ``wait_expected`` returns once so many messages have come."""
        self._wanted, self._told = self._received + count, trio.Event()

    async def wait_expected(self) -> None:
        """``DisconnectError`` if the session ends first."""
        await self._told.wait()
        if self._received < self._wanted:
            raise DisconnectError("the session ended")

    async def send(self, count: int) -> None:
        """Send so many messages; where there is no room, wait until the handler has heard of half of the slots.

        ``FailedError`` if the link falls.
        """
        with self._node.current():
            for _ in range(count):
                status = await ctl_ha_msg_send(_CHANNEL, MESSAGE, MESSAGE_BYTES, 0)
                if status is CTL_HA_STATUS_BUSY:
                    status = await self._send_later()
                if status not in _SENT:
                    raise FailedError(f"ctl_ha_msg_send: {status.name}")
                self._under_way += status is CTL_HA_STATUS_WAIT

    async def _send_later(self) -> ctl_ha_status:
        if self._under_way > _LOW_WATER:
            self._low_water = _LOW_WATER
            self._told = trio.Event()
            await self._told.wait()
            self._low_water = -1
        status = await ctl_ha_msg_send(_CHANNEL, MESSAGE, MESSAGE_BYTES, 0)
        if status is CTL_HA_STATUS_BUSY:
            # It is the other side that has no room: no event tells of that, but this call waits for it.
            status = await ctl_ha_msg_send(_CHANNEL, MESSAGE, MESSAGE_BYTES, 1)
        return status

    async def wait_connected(self) -> None:
        """Return once it is in a session."""
        await self._node.channel(_CHANNEL).wait_connected()
