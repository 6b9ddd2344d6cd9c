"""One channel: slots for messages both ways, and the events of its sessions in order."""

import struct
from collections import deque
from collections.abc import Awaitable, Callable

import attrs
import trio

from ctlha_trio._errors import DisconnectError, EmptyError, InvalidError
from ctlha_trio._vocabulary import ctl_ha_event, ctl_ha_status
from ctlha_trio.link._events import (
    ChannelEvent,
    Connected,
    Disconnected,
    EventRange,
    Hear,
    HearReceived,
    LossReason,
    OnSettled,
    unwatched,
)
from ctlha_trio.seams import Buffer, byte_view
from ctlha_trio.wire import COUNT_MAX, MESSAGES_SIZE_MAX, NEVER, ChannelFlow

BURST_BYTES = MESSAGES_SIZE_MAX
"""Of messages in a row, and a quarter of the slots: worth the calls that sending them while more come costs."""


@attrs.define(eq=False)
class Channel:
    """Messages of ``slot_size`` bytes, ``slots`` of them preallocated in each direction. Made by ``Link.open_channel``.

    Every session gives the channel one ``Connected``, then what happens in it, then one ``Disconnected``. Messages of
    an ended session stay readable. The queue of events is bounded: a received message keeps its slot, and so the
    peer's credit, until it was taken and its event too; equal events share one entry; and the channel does not enter a
    second session while its consumer has not yet taken the ``Connected`` of the one before.
    """

    number: int
    slot_size: int
    slots: int
    _on_drained: Callable[["Channel"], None] = attrs.field(kw_only=True)
    """Called when a channel without session has become able to join one."""
    answered: bool = attrs.field(default=False, kw_only=True)
    """Both sides answer messages by messages, and need no prompt MSG_SENT."""
    _flow: ChannelFlow | None = attrs.field(default=None, init=False)
    session_flow: ChannelFlow = attrs.field(init=False)
    """The flow of the current session, for its connection, which knows that there is one."""
    due: int = attrs.field(default=NEVER, init=False)
    """The sequence of this session from which on acceptance is to be told to the connection, which sets it anew."""
    burst: int = attrs.field(init=False)
    """Messages that are sent while more are being accepted."""
    _send_due: "Callable[[Channel], None]" = attrs.field(default=lambda _: None, init=False)
    _tell_room: "Callable[[Channel], None]" = attrs.field(default=lambda _: None, init=False)
    lead: Callable[[], Awaitable[None]] | None = attrs.field(default=None, init=False)
    """Receives once for the current session, for whoever would wait for a message: ``Reading.lead``."""
    _closing: bool = attrs.field(default=False, init=False)
    _send_ring: memoryview = attrs.field(init=False)
    """The message of sequence ``s`` lies in slot ``(s - 1) % slots`` until it is acknowledged."""
    _receive_ring: memoryview = attrs.field(init=False)
    """Filled and emptied in a circle, over all sessions."""
    _received: int = attrs.field(default=0, init=False)
    _consumed: int = attrs.field(default=0, init=False)
    _settled: int = attrs.field(default=0, init=False)
    """Messages of this session that have been reported as sent or lost."""
    _runs: deque[tuple[int, OnSettled | None]] = attrs.field(factory=deque, init=False)
    """Who is told of the messages of this session from that sequence on, None for an event. At most ``slots`` + 1."""
    _newest: OnSettled | None = attrs.field(default=None, init=False)
    """Of the last run."""
    _queued_receipts: int = attrs.field(default=0, init=False)
    """MSG_RECV events that wait to be taken; they belong to the newest messages."""
    _events: deque[ChannelEvent] = attrs.field(factory=deque, init=False)
    _hear: Hear | None = attrs.field(default=None, init=False)
    _hear_received: HearReceived = attrs.field(default=lambda _: None, init=False)
    _connected_waits: bool = attrs.field(default=False, init=False)
    _slot: struct.Struct = attrs.field(init=False)
    _frame_messages: int = attrs.field(init=False)
    """The most that one frame carries."""
    _news: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    _room: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    def __attrs_post_init__(self) -> None:
        self._send_ring = memoryview(bytearray(self.slots * self.slot_size))
        self._receive_ring = memoryview(bytearray(self.slots * self.slot_size))
        self._slot = struct.Struct(f"{self.slot_size}s")
        self._frame_messages = min(MESSAGES_SIZE_MAX // self.slot_size, COUNT_MAX)
        self.burst = max(self.slots // 4, BURST_BYTES // self.slot_size)

    # For the consumer

    async def receive_events(self) -> list[ChannelEvent]:
        """Wait for at least one event and take all that are queued, in order. Cancelled: none is taken."""
        if self._events:
            await trio.lowlevel.checkpoint()
        while not self._events:
            await self._news.park()
        events = self._clear_events()
        if self._flow is None:
            self._on_drained(self)
        return events

    def _clear_events(self) -> list[ChannelEvent]:
        events = list(self._events)
        self._events.clear()
        occupied = self._occupied
        self._queued_receipts = 0
        self._release(occupied - self._occupied)
        self._connected_waits = False
        return events

    def receive_nowait(self) -> bytes:
        """Take the oldest message. ``EmptyError`` if there is none."""
        if self._consumed == self._received:
            raise EmptyError(f"channel {self.number} has no message")
        message: bytes
        (message,) = self._slot.unpack_from(self._receive_ring, self._consumed % self.slots * self.slot_size)
        self._free_oldest()
        return message

    def receive_into_nowait(self, buffer: bytearray | memoryview) -> None:
        """As ``receive_nowait``, into the beginning of ``buffer``. ``InvalidError`` if it is smaller: none is taken."""
        if self._consumed == self._received:
            raise EmptyError(f"channel {self.number} has no message")
        oldest = self._consumed % self.slots * self.slot_size
        try:
            self._slot.pack_into(buffer, 0, *self._slot.unpack_from(self._receive_ring, oldest))
        except struct.error as error:
            raise InvalidError(f"a message of channel {self.number} has {self.slot_size} bytes") from error
        self._free_oldest()

    def _free_oldest(self) -> None:
        self._consumed = consumed = self._consumed + 1
        flow = self._flow
        if flow is not None and self._received - consumed >= self._queued_receipts:
            flow.receive_limit = limit = flow.receive_limit + 1
            if limit >= flow.room_due:
                self._tell_room(self)

    def receive_all_nowait(self) -> list[bytes]:
        """Take all messages that are here, the oldest first; there may be none."""
        count = self._received - self._consumed
        first = self._consumed % self.slots
        head = min(count, self.slots - first)
        size = self.slot_size
        messages: list[bytes] = []
        for view in (
            self._receive_ring[first * size : (first + head) * size],
            self._receive_ring[: (count - head) * size],
        ):
            messages += [message for (message,) in self._slot.iter_unpack(view)]
        occupied = self._occupied
        self._consumed += count
        self._release(occupied - self._occupied)
        return messages

    def hear(self, hear: Hear, hear_received: HearReceived) -> None:
        """From here on each event is given to one of the two at once, those that wait first; nobody receives them."""
        assert self._hear is None, "events go to one consumer"
        self._hear, self._hear_received = hear, hear_received
        for event in self._clear_events():
            if isinstance(event, EventRange) and event.event is ctl_ha_event.CTL_HA_EVT_MSG_RECV:
                hear_received(event.count)
            else:
                hear(event)
        if self._flow is None:
            self._on_drained(self)

    def send_nowait(self, message: Buffer, on_settled: OnSettled | None = None) -> None:
        """Copy a message out; it arrives in order, and MSG_SENT tells that it did, or that the session ended first.

        With ``on_settled`` that is called in place of the event, once: with SUCCESS when the peer has acknowledged the
        message, or with DISCONNECT at the end of the session, before ``Disconnected``; never within this call.
        ``InvalidError`` if it is not ``slot_size`` bytes long, or the peer opened the channel with another size,
        ``DisconnectError`` without session, ``BusyError`` while no slot is free on both sides, or the peer has not
        opened the channel.
        """
        size = self.slot_size
        if len(message) != size or type(message) is memoryview:
            message = self.check_message(message)
        flow = self._flow
        if flow is None or self._closing:
            flow = self.live_flow
        accepted = flow.accepted
        if accepted >= flow.open_until:
            flow.check_room()
        if on_settled is not self._newest:
            self._begin_run(accepted + 1, on_settled)
        start = accepted % self.slots * size
        self._send_ring[start : start + size] = message
        flow.accepted = accepted + 1
        if accepted + 1 >= self.due:
            self._send_due(self)

    def _begin_run(self, sequence: int, on_settled: OnSettled | None) -> None:
        self._newest = on_settled
        self._runs.append((sequence, on_settled))

    async def send(self, message: Buffer) -> None:
        """As ``send_nowait``, but waits for a free slot; ``DisconnectError`` if the session ends first.

        Cancelled: nothing was sent.
        """
        self.check_message(message)
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.live_flow.has_credit:
            self.send_nowait(message)
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        await self.wait_for_credit()
        self.send_nowait(message)

    @property
    def has_credit(self) -> bool:
        """Whether a message could be sent at once."""
        return self._flow is not None and not self._closing and self._flow.has_credit

    @property
    def has_session(self) -> bool:
        """Whether the channel takes part in a session now."""
        return self._flow is not None

    # For the link

    def check_message(self, message: Buffer) -> Buffer:
        """The message as bytes of a slot. ``InvalidError`` if it has another size."""
        if isinstance(message, memoryview):
            message = byte_view(message)
        if len(message) != self.slot_size:
            raise InvalidError(f"a message of channel {self.number} has {self.slot_size} bytes, not {len(message)}")
        return message

    @property
    def live_flow(self) -> ChannelFlow:
        """The flow of the current session. ``DisconnectError`` without one."""
        if self._flow is None or self._closing:
            raise DisconnectError(f"channel {self.number} has no session")
        return self._flow

    async def wait_for_credit(self) -> None:
        """Return once one more message can be accepted. ``DisconnectError`` if the session ends first.

        ``InvalidError`` as soon as it is known that the peer's slots have another size.
        """
        flow = self.live_flow
        while not flow.has_credit:
            flow.check_size()
            await self._room.park()
            if self.live_flow is not flow:
                raise DisconnectError(f"the session of channel {self.number} ended")

    @property
    def can_join(self) -> bool:
        """Whether the channel is free to enter a session."""
        return self._flow is None and not self._connected_waits

    @property
    def free_slots(self) -> int:
        """Receive slots that the peer may be told of."""
        return self.slots - self._occupied

    def join(
        self,
        connected: Connected,
        flow: ChannelFlow,
        *,
        send_due: "Callable[[Channel], None]",
        tell_room: "Callable[[Channel], None]",
        lead: Callable[[], Awaitable[None]],
    ) -> None:
        """Enter a session. ``send_due`` is told when the message that is ``due`` was accepted."""
        assert self.can_join, "the channel is in a session"
        self._flow = self.session_flow = flow
        self._settled = 0
        self._runs.clear()
        self._begin_run(1, None)
        self.due = 1
        self._send_due, self._tell_room, self.lead = send_due, tell_room, lead
        self._connected_waits = self._hear is None
        self._post(connected)

    def close_for_sending(self) -> None:
        """Nothing more is accepted in this session."""
        self._closing = True
        self._room.unpark_all()

    def lose(self, reason: LossReason, detail: str) -> None:
        """The session ended: each message that was accepted and not reported is reported, then the loss."""
        flow = self._flow
        if flow is None:
            return
        self._closing = True
        if self._newest is not None:
            # Messages that ride on pushes which were not written come last, and belong to nobody who sent another.
            self._begin_run(flow.accepted + 1, None)
        self._report(flow.acknowledged, ctl_ha_status.CTL_HA_STATUS_SUCCESS)
        self._report(flow.acknowledged + flow.unsettled, ctl_ha_status.CTL_HA_STATUS_DISCONNECT)
        self._flow = None
        del self.session_flow
        self._closing = False
        self._send_due = self._tell_room = lambda _: None
        self.lead = None
        self._post(Disconnected(reason, detail))
        self._room.unpark_all()

    def deliver(self, messages: memoryview, count: int) -> None:
        """Take ``count`` messages in; the flow has made sure that there are slots for them."""
        first = self._received % self.slots
        start = first * self.slot_size
        if first + count <= self.slots:
            self._receive_ring[start : start + len(messages)] = messages
        else:
            split = (self.slots - first) * self.slot_size
            self._receive_ring[start:] = messages[:split]
            self._receive_ring[: len(messages) - split] = messages[split:]
        self._received += count
        if self._hear is None:
            self._queued_receipts += count
            self._post_range(ctl_ha_event.CTL_HA_EVT_MSG_RECV, count, self.slot_size)
        else:
            self._hear_received(count)

    def settle(self) -> bool:
        """The peer may have received more, or told of new room. Whether anybody was told, who may end the session."""
        if self._room:
            self._room.unpark_all()
        acknowledged = self.session_flow.acknowledged
        if self._settled == acknowledged:
            return False
        if self._newest is unwatched and len(self._runs) == 1:
            self._settled = acknowledged
            return False
        self._report(acknowledged, ctl_ha_status.CTL_HA_STATUS_SUCCESS)
        return True

    def _report(self, last: int, status: ctl_ha_status) -> None:
        """Say of the messages up to sequence ``last`` what became of them, in their order.

        Who is told may send more, or end the session, which reports all the others from within.
        """
        runs = self._runs
        while self._settled < last:
            while len(runs) > 1 and runs[1][0] <= self._settled + 1:
                runs.popleft()
            on_settled = runs[0][1]
            end = min(last, runs[1][0] - 1) if len(runs) > 1 else last
            if on_settled is None or on_settled is unwatched:
                count = end - self._settled
                self._settled = end
                if on_settled is None:
                    self._post_range(ctl_ha_event.CTL_HA_EVT_MSG_SENT, count, status)
            else:
                self._settled += 1
                on_settled(status)

    def redeem(self) -> int:
        """Sequence for a message that rides on a push, to be written now; MSG_SENT reports it."""
        sequence = self.session_flow.redeem()
        if self._newest is not None:
            self._begin_run(sequence, None)
        return sequence

    def next_messages(self) -> tuple[memoryview, int]:
        """Accepted messages for one frame, as they lie in the slots, and their count. There must be some."""
        flow = self.session_flow
        written, size = flow.written, self.slot_size
        first = written % self.slots
        left = flow.accepted - written
        count = left if left == 1 else min(left, self.slots - first, self._frame_messages)
        return self._send_ring[first * size : (first + count) * size], count

    @property
    def _occupied(self) -> int:
        return max(self._received - self._consumed, self._queued_receipts)

    def _release(self, count: int) -> None:
        if count and self._flow is not None:
            self._flow.release(count)
            if self._flow.has_room_to_tell:
                self._tell_room(self)

    def _post_range(self, event: ctl_ha_event, count: int, param: int) -> None:
        if count == 0:
            return
        if self._hear is not None:
            self._hear(EventRange(event, count, param))
            return
        last = self._events[-1] if self._events else None
        if isinstance(last, EventRange) and last.event is event and last.param == param:
            self._events[-1] = EventRange(event, last.count + count, param)
        else:
            self._post(EventRange(event, count, param))

    def _post(self, event: ChannelEvent) -> None:
        if self._hear is not None:
            self._hear(event)
            return
        self._events.append(event)
        if self._news:
            self._news.unpark_all()
