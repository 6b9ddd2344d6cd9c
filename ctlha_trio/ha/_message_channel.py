"""One channel of a consumer: messages both ways, and for whoever wants them as callbacks the header's events."""

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

import attrs
import trio

from ctlha_trio._errors import DisconnectError, EmptyError, InvalidError
from ctlha_trio._vocabulary import ctl_evt_handler, ctl_ha_channel, ctl_ha_event, ctl_ha_status
from ctlha_trio.ha._callbacks import CallbackQueue
from ctlha_trio.ha._receivers import Receivers
from ctlha_trio.link import TRANSFERS_IN_FLIGHT_MAX, Channel, Connected, Disconnected, EventRange
from ctlha_trio.seams import Buffer

_TRANSFER_EVENTS: Final = frozenset({ctl_ha_event.CTL_HA_EVT_DMA_SENT, ctl_ha_event.CTL_HA_EVT_DMA_RECEIVED})


@attrs.define
class _Pending:
    """Equal events in a row, for the handler."""

    event: ctl_ha_event
    param: int
    count: int = 1
    callbacks_before: int = 0
    """Of a DISCONNECT: that many callbacks, and their events, come before it."""


@attrs.define(eq=False, kw_only=True)
class MessageChannel:
    """Messages of a fixed size to and from the same channel of the other node. Made by ``Node.open_channel``.

    With a handler, each received message, each message sent by ``post_nowait``, each transfer and each loss of the link
    is an event that the handler is awaited with, one after the other, in a task of the node's own. Without one,
    messages are received by methods or ``async for`` alone.
    """

    number: ctl_ha_channel
    message_size_bytes: int
    _channel: Channel
    _enter: Callable[[], AbstractContextManager[None]]
    _callbacks: CallbackQueue
    """Of the transfers of this channel's data."""
    _handler_failed: Callable[[ctl_ha_channel, Exception], None]
    _handler: ctl_evt_handler | None = attrs.field(default=None, init=False)
    _available: int = attrs.field(default=0, init=False)
    """Messages that were announced and not taken."""
    _receivers: Receivers = attrs.field(factory=Receivers, init=False)
    _events: deque[_Pending] = attrs.field(factory=deque, init=False)
    _news: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    _room: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    _online: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    _connected: bool = attrs.field(default=False, init=False)
    _failed: bool = attrs.field(default=False, init=False)
    _closed: bool = attrs.field(default=False, init=False)
    """The node has ended."""
    _handling: bool = attrs.field(default=False, init=False)
    """Whether the handler runs."""
    _idle: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    # Sending.

    def send_nowait(self, message: Buffer) -> None:
        """Copy a message out; nothing tells when it arrives. Not a checkpoint.

        ``InvalidError`` for another size, ``DisconnectError`` without a session, ``BusyError`` without credit: then
        nothing was done.
        """
        self._check_usable()
        self._channel.send_nowait(message, on_settled=_nobody)

    def post_nowait(self, message: Buffer) -> None:
        """As ``send_nowait``, and the handler gets exactly one MSG_SENT with the status, also when the link falls."""
        self._check_usable()
        self._channel.send_nowait(message)

    async def send(self, message: Buffer) -> None:
        """Return once the peer has the message. Always a checkpoint. Cancelled: it may have been sent.

        ``InvalidError`` for another size, ``DisconnectError`` if there is no session or it ends first.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check_usable()
        self._channel.check_message(message)
        settled = trio.Event()
        statuses: list[ctl_ha_status] = []

        def on_settled(status: ctl_ha_status) -> None:
            statuses.append(status)
            settled.set()

        flow = self._channel.live_flow
        if not flow.has_credit:
            await self._channel.wait_for_credit()
        self._channel.send_nowait(message, on_settled=on_settled)
        await settled.wait()
        if statuses[0] is not ctl_ha_status.CTL_HA_STATUS_SUCCESS:
            raise DisconnectError(f"the session of {self.number.name} ended before the message was acknowledged")

    # Receiving.

    def receive_nowait(self) -> bytes:
        """The oldest message. ``EmptyError`` if there is none. Not a checkpoint."""
        self._check_usable()
        if not self._available:
            raise EmptyError(f"{self.number.name} has no message")
        self._available -= 1
        return self._channel.receive_nowait()

    async def receive(self) -> bytes:
        """The next message, also beside a handler, which then gets no MSG_RECV for it. Always a checkpoint.

        ``DisconnectError`` if there is no message and no session, or the session ends first. Cancelled: none is lost.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check_usable()
        if self._available and not self._receivers:
            message = self.receive_nowait()
            await trio.lowlevel.cancel_shielded_checkpoint()
            return message
        if self._closed or not (self._connected or self._channel.has_session):
            await trio.lowlevel.checkpoint()
            raise DisconnectError(f"{self.number.name} has no session")
        return await self._receivers.wait()

    async def receive_many(self) -> list[bytes]:
        """Wait for one message and take all that are there. Always a checkpoint. Errors as for ``receive``."""
        messages = [await self.receive()]
        while self._available:
            messages.append(self.receive_nowait())
        return messages

    def __aiter__(self) -> "MessageChannel":
        """Iterate over messages until the session ends. ``trio.BusyResourceError`` if a handler is set."""
        if self._handler is not None:
            raise trio.BusyResourceError(f"{self.number.name} has a handler that receives its messages")
        return self

    async def __anext__(self) -> bytes:
        """The next message. ``DisconnectError`` when the session ends."""
        if self._handler is not None:
            raise trio.BusyResourceError(f"{self.number.name} has a handler that receives its messages")
        return await self.receive()

    async def wait_connected(self) -> None:
        """Return once there is a session. ``DisconnectError`` if the node ends first. Always a checkpoint."""
        await trio.lowlevel.checkpoint()
        while not self._connected:
            self._check_usable()
            if self._closed:
                raise DisconnectError(f"the node of {self.number.name} has ended")
            await self._online.park()

    # Events.

    def set_handler(self, handler: ctl_evt_handler | None) -> None:
        """Who is awaited with the events from now on. One that runs is not interrupted."""
        self._check_usable()
        if handler is not None and self._handler is None and self._available:
            self._post(ctl_ha_event.CTL_HA_EVT_MSG_RECV, self._available, self.message_size_bytes, handler)
        self._handler = handler

    def report_transfer(self, event: ctl_ha_event, status: ctl_ha_status) -> None:
        """The oldest callback that has not ended has returned: tell the handler, before a loss that came later."""
        if self._handler is None or self._failed:
            return
        self._callbacks.unheard += 1
        ordinal = self._callbacks.ended + 1
        for index, pending in enumerate(self._events):
            if pending.event is ctl_ha_event.CTL_HA_EVT_DISCONNECT and pending.callbacks_before >= ordinal:
                self._events.insert(index, _Pending(event, status))
                return
        self._post(event, 1, status, self._handler)

    async def run_intake(self) -> None:
        """Take what the link tells, until cancelled. Stops taking while the handler is too far behind."""
        while True:
            while len(self._events) >= self._events_max:
                await self._room.park()
            for event in await self._channel.receive_events():
                self._take(event)

    async def run_handler(self) -> None:
        """Await the handler with one event after the other, until cancelled or it raises."""
        with self._enter():
            while not self._failed:
                if not self._events:
                    self._idle.unpark_all()
                    await self._news.park()
                elif self._callbacks.ended < self._events[0].callbacks_before:
                    await self._callbacks.wait_ended(self._events[0].callbacks_before)
                else:
                    await self._handle(self._next_event())
            self._idle.unpark_all()

    async def wait_told(self) -> None:
        """Return once the handler knows all, the end of the session included. For a node that has left its peer."""
        await trio.lowlevel.checkpoint()
        while not self._failed and (self._connected or self._events or self._handling):
            await self._idle.park()

    async def _handle(self, pending: _Pending) -> None:
        if self._handler is None:
            return
        self._handling = True
        try:
            await self._handler(self.number, pending.event, pending.param)
        except Exception as error:
            self.fail(error)
        finally:
            self._handling = False

    @property
    def _events_max(self) -> int:
        return 2 * self._channel.slots + TRANSFERS_IN_FLIGHT_MAX + 1

    def _next_event(self) -> _Pending:
        first = self._events[0]
        if first.event in _TRANSFER_EVENTS:
            self._callbacks.unheard -= 1
        if first.count == 1:
            self._events.popleft()
            self._room.unpark_all()
        else:
            first.count -= 1
        return first

    def _take(self, event: Connected | EventRange | Disconnected) -> None:
        match event:
            case Connected():
                self._connected = True
                self._online.unpark_all()
            case EventRange(event=ctl_ha_event.CTL_HA_EVT_MSG_RECV):
                self._received(event.count)
            case EventRange():
                self._post(event.event, event.count, event.param, self._handler)
            case Disconnected():
                self._connected = False
                self._receivers.fail(DisconnectError(f"the session of {self.number.name} ended: {event.reason.value}"))
                self._lost()

    def _lost(self) -> None:
        if self._handler is None or self._failed:
            self._idle.unpark_all()
            return
        self._events.append(_Pending(ctl_ha_event.CTL_HA_EVT_DISCONNECT, 0, callbacks_before=self._callbacks.queued))
        self._news.unpark_all()

    def _received(self, count: int) -> None:
        if self._failed:
            return  # they keep their slots: the peer runs out of credit instead of sending to nobody
        taken = 0
        while taken < count and self._receivers:
            self._receivers.give(self._channel.receive_nowait())
            taken += 1
        self._available += count - taken
        self._post(ctl_ha_event.CTL_HA_EVT_MSG_RECV, count - taken, self.message_size_bytes, self._handler)

    def _post(self, event: ctl_ha_event, count: int, param: int, handler: ctl_evt_handler | None) -> None:
        if not count or handler is None or self._failed:
            return
        last = self._events[-1] if self._events else None
        if last is not None and (last.event, last.param) == (event, param):
            last.count += count
        else:
            self._events.append(_Pending(event, param, count))
        self._news.unpark_all()

    def fail(self, error: Exception) -> None:
        """The handler, or a callback of this channel's data, raised: close this channel, tell the node.

        Messages that come are left where they are.
        """
        self._handler_failed(self.number, error)
        self._failed = True
        self._events.clear()
        self._callbacks.unheard = 0
        self._receivers.fail(InvalidError(f"{self.number.name} is closed: its handler raised"))
        for parked in (self._online, self._room, self._news, self._idle):
            parked.unpark_all()

    def close(self) -> None:
        """The node has ended: whoever still waits, in a task that is not the node's, learns that no session is."""
        self._closed = True
        self._connected = False
        self._receivers.fail(DisconnectError(f"the node of {self.number.name} has ended"))
        self._online.unpark_all()

    def _check_usable(self) -> None:
        if self._failed:
            raise InvalidError(f"{self.number.name} is closed: its handler raised")


def _nobody(_: ctl_ha_status) -> None:
    """The sender does not want to know."""
