"""One channel of a consumer: messages both ways, and for whoever wants them as callbacks the header's events."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

import attrs
import trio

from ctlha_trio._errors import BusyError, DisconnectError, InvalidError
from ctlha_trio._vocabulary import ctl_evt_handler, ctl_ha_channel, ctl_ha_event, ctl_ha_status
from ctlha_trio.ha._callbacks import CallbackQueue
from ctlha_trio.ha._event_queue import EventQueue, PendingEvents
from ctlha_trio.ha._receivers import Receivers
from ctlha_trio.link import Channel, Connected, Disconnected, EventRange, unwatched
from ctlha_trio.seams import Buffer

_MSG_RECV: Final = ctl_ha_event.CTL_HA_EVT_MSG_RECV
_MSG_SENT: Final = ctl_ha_event.CTL_HA_EVT_MSG_SENT


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
    """Messages that have come and were not taken."""
    _untold: int = attrs.field(default=0, init=False)
    """Those of them that came without a handler."""
    _receivers: Receivers = attrs.field(factory=Receivers, init=False)
    _events: EventQueue = attrs.field(factory=EventQueue, init=False)
    _posted: int = attrs.field(default=0, init=False)
    """Messages of which the handler has still to hear."""
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
        if self._failed:
            self._check_usable()
        self._channel.send_nowait(message, unwatched)

    def post_nowait(self, message: Buffer) -> None:
        """As ``send_nowait``, and the handler gets exactly one MSG_SENT with the status, also when the link falls.

        ``BusyError`` too while it has not heard of as many as there are slots.
        """
        if self._failed or self._posted >= self._channel.slots:
            self._check_usable()
            self._channel.check_message(message)
            raise BusyError(f"the handler of {self.number.name} has not heard of {self._posted} messages")
        self._channel.send_nowait(message)
        self._posted += 1

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

        if not self._channel.live_flow.has_credit:
            await self._wait_for_room()
        self._channel.send_nowait(message, on_settled=on_settled)
        await settled.wait()
        if statuses[0] is not ctl_ha_status.CTL_HA_STATUS_SUCCESS:
            raise DisconnectError(f"the session of {self.number.name} ended before the message was acknowledged")

    async def wait_for_credit(self) -> None:
        """Return once ``send_nowait`` may succeed again, after its ``BusyError``. Always a checkpoint.

        ``InvalidError`` if the peer's messages have another size, ``DisconnectError`` if there is no session or it ends
        first.
        """
        await trio.lowlevel.checkpoint()
        self._check_usable()
        await self._wait_for_room()

    async def _wait_for_room(self) -> None:
        try:
            await self._channel.wait_for_credit()
        except DisconnectError:
            self._check_usable()
            raise
        self._check_usable()

    # Receiving.

    def receive_nowait(self) -> bytes:
        """The oldest message. ``EmptyError`` if there is none. Not a checkpoint."""
        if self._failed:
            self._check_usable()
        message = self._channel.receive_nowait()
        self._note_taken()
        return message

    def receive_into_nowait(self, buffer: bytearray | memoryview) -> None:
        """As ``receive_nowait``, into the beginning of ``buffer``. ``InvalidError`` if it is smaller than a message."""
        if self._failed:
            self._check_usable()
        self._channel.receive_into_nowait(buffer)
        self._note_taken()

    def _note_taken(self) -> None:
        self._available = left = self._available - 1
        if self._untold > left:  # noqa: PLR1730 (a call of min costs four times as much, for each message)
            self._untold = left
        if self._events.receipts > left:
            self._events.keep_receipts(left)

    async def receive(self) -> bytes:
        """The next message, also beside a handler, which then gets no MSG_RECV for it. Always a checkpoint.

        ``DisconnectError`` if there is no message and no session, or the session ends first. Cancelled: none is lost.
        """
        if self._available or self._failed:
            await trio.lowlevel.checkpoint_if_cancelled()
            message = self.receive_nowait()
            await trio.lowlevel.cancel_shielded_checkpoint()
            return message
        if self._closed or not (self._connected or self._channel.has_session):
            await trio.lowlevel.checkpoint()
            raise DisconnectError(f"{self.number.name} has no session")
        # Whoever leads hears of a handler that raised with the next that comes: too late, if there may be one.
        return await self._receivers.wait(self._channel.lead if self._handler is None else None)

    async def receive_many(self) -> list[bytes]:
        """Wait for one message and take all that are there. Always a checkpoint. Errors as for ``receive``."""
        if self._available:
            await trio.lowlevel.checkpoint()
        if not self._available:
            return [await self.receive(), *self._take_all()]
        self._check_usable()
        return self._take_all()

    def _take_all(self) -> list[bytes]:
        if not self._available:
            return []
        self._available = self._untold = 0
        self._events.keep_receipts(0)
        return self._channel.receive_all_nowait()

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
        """Who is awaited with the events from now on. One that runs ends undisturbed before."""
        self._check_usable()
        if handler is not None:
            self._tell(_MSG_RECV, self.message_size_bytes, self._untold)
            self._untold = 0
        self._handler = handler

    @property
    def transfers_unheard(self) -> int:
        """Ended transfers of which the handler has still to hear."""
        return self._events.transfers

    def report_transfer(self, event: ctl_ha_event, status: ctl_ha_status) -> None:
        """The oldest callback that has not ended has returned: tell the handler, before a loss that came later."""
        if self._handler is not None and not self._failed:
            self._events.add_of_callback(event, status, self._callbacks.ended + 1)

    def begin(self) -> None:
        """From here on take what the link tells."""
        self._channel.hear(self._take, self._received)

    async def run_handler(self) -> None:
        """Await the handler with one event after the other, until cancelled or it raises."""
        with self._enter():
            while not self._failed:
                first = self._events.first
                if first is None:
                    self._idle.unpark_all()
                    await self._events.wait()
                elif self._callbacks.ended < first.callbacks_before:
                    # One by one, for the event of each comes before this one.
                    await self._callbacks.wait_ended(self._callbacks.ended + 1)
                else:
                    await self._handle(first)
            self._idle.unpark_all()

    async def wait_told(self) -> None:
        """Return once the handler knows all, the end of the session included. For a node that has left its peer."""
        await trio.lowlevel.checkpoint()
        while not self._failed and (self._connected or self._events or self._handling):
            await self._idle.park()

    async def _handle(self, run: PendingEvents) -> None:
        """Await the handler with each of the equal events that come first, as long as it is the handler.

        Nothing comes before them meanwhile: events of transfers are put in front of a loss only if it waits for them.
        """
        handler = self._handler
        is_sent, is_received = run.event is _MSG_SENT, run.event is _MSG_RECV
        take, number, event, param = self._events.take, self.number, run.event, run.param
        self._handling = handler is not None
        try:
            while run.count and self._handler is handler and not self._failed:
                take()
                if is_sent:
                    self._posted -= 1
                if handler is None:
                    self._untold += is_received
                else:
                    await handler(number, event, param)
        except Exception as error:
            self.fail(error)
        finally:
            self._handling = False

    def _take(self, event: Connected | EventRange | Disconnected) -> None:
        match event:
            case Connected():
                self._connected = True
                self._online.unpark_all()
            case EventRange():
                self._tell(event.event, event.param, event.count)
            case Disconnected():
                self._connected = False
                why = f"{event.reason.value}: {event.detail}"
                self._receivers.fail(DisconnectError(f"the session of {self.number.name} ended: {why}"))
                self._tell(ctl_ha_event.CTL_HA_EVT_DISCONNECT, 0, callbacks_before=self._callbacks.queued)

    def _tell(self, event: ctl_ha_event, param: int, count: int = 1, *, callbacks_before: int = 0) -> None:
        """Queue it even without a handler: what is counted until it is heard of is counted down in one place."""
        if not self._failed:
            self._events.add(event, param, count, callbacks_before=callbacks_before)

    def _received(self, count: int) -> None:
        if self._failed:
            return  # they keep their slots: the peer runs out of credit instead of sending to nobody
        taken = 0
        while taken < count and self._receivers.tasks:
            self._receivers.give(self._channel.receive_nowait())
            taken += 1
        left = count - taken
        if not left:
            return
        self._available += left
        if self._handler is None:
            self._untold += left
        else:
            self._tell(_MSG_RECV, self.message_size_bytes, left)

    def fail(self, error: Exception) -> None:
        """The handler, or a callback of this channel's data, raised: close this channel, tell the node.

        Messages that come are left where they are.
        """
        self._handler_failed(self.number, error)
        self._failed = True
        self._events.clear()
        self._receivers.fail(InvalidError(f"{self.number.name} is closed: its handler raised"))
        self._channel.close_for_sending()
        self._events.wake()
        for parked in (self._online, self._idle):
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
