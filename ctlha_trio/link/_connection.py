"""One session on one stream: a reader, a writer and a watchdog."""

from collections.abc import Callable
from contextlib import ExitStack, suppress

import attrs
import trio

from ctlha_trio._errors import BusyError, CtlHaError, DisconnectError, RemoteProtocolError
from ctlha_trio.link._acknowledging import LateAcknowledgements
from ctlha_trio.link._answers import Answers
from ctlha_trio.link._bulk import BulkTurns
from ctlha_trio.link._channel import Channel
from ctlha_trio.link._deadline import finish_by
from ctlha_trio.link._deadlines import Deadlines
from ctlha_trio.link._events import Connected, LossReason, SessionInfo
from ctlha_trio.link._intake import Intake
from ctlha_trio.link._pace import Pace
from ctlha_trio.link._reading import Reading
from ctlha_trio.link._requests import Requests
from ctlha_trio.link._statistics import LinkCounters
from ctlha_trio.link._streams import BROKEN_GRACE_S, STREAM_IS_GONE, flush
from ctlha_trio.link._transfer import MessagePush, Placement
from ctlha_trio.link._watchdog import Watchdog
from ctlha_trio.link._writing import FrameWriter
from ctlha_trio.seams import Clock, Stream
from ctlha_trio.wire import NEVER, Bytes, FrameDecoder, FrameType, SessionCore, decode_reason

GOODBYE_TIMEOUT_S = 1.0
"""For everything queued and the farewell to leave, and the peer to hang up. A planned stop must stay quicker than a
crash is noticed."""


@attrs.define(eq=False, kw_only=True)
class Connection:
    """A live session. ``begin`` and ``end`` are synchronous, so channels never see two sessions overlap."""

    stream: Stream
    decoder: FrameDecoder
    core: SessionCore
    clock: Clock
    alive: Callable[[], bool]
    report: Callable[[CtlHaError], None]
    counters: LinkCounters
    placement: Placement | None
    peer_incarnation: int
    peer_revision: int
    same_version: bool
    on_end: Callable[[], None]
    _ended: trio.Event = attrs.field(factory=trio.Event, init=False)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _heard: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    """Unparked when a heartbeat came, and at the end."""
    _has_work: bool = attrs.field(default=False, init=False)
    """Something may have come to be written since the writer last looked."""
    _late: LateAcknowledgements = attrs.field(factory=LateAcknowledgements, init=False)
    _sending: bool = attrs.field(default=False, init=False)
    """The stream is in the writer's hands."""
    _is_full: bool = attrs.field(default=False, init=False)
    """What was sent last had to be kept, or could not be."""
    _taking: bool = attrs.field(default=False, init=False)
    """The reader is at a frame, of which more may count as received than has been delivered."""
    _woken: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    _channels: dict[int, Channel] = attrs.field(factory=dict, init=False)
    deadlines: Deadlines = attrs.field(init=False)
    """Of what belongs to the session."""
    _requests: Requests = attrs.field(init=False)
    _answers: Answers = attrs.field(init=False)
    _writer: FrameWriter = attrs.field(init=False)
    _bulk: BulkTurns = attrs.field(init=False)
    _pace: Pace = attrs.field(factory=Pace, init=False)
    _intake: Intake = attrs.field(init=False)
    _watchdog: Watchdog = attrs.field(init=False)
    _reading: Reading = attrs.field(init=False)
    _farewell: str | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.deadlines = Deadlines(self.clock)
        self._requests = Requests(self.wake, self.deadlines)
        self._answers = Answers(self.core, self.placement)
        self._writer = FrameWriter(self.core, self.counters)
        self._bulk = BulkTurns(self._writer, self._requests, self._answers, self.core.terms.fragment_size)
        self._intake = Intake(
            core=self.core,
            channels=self._channels,
            requests=self._requests,
            answers=self._answers,
            placement=self.placement,
            counters=self.counters,
            has_ended=self._ended.is_set,
            wake_writer=self.wake,
            tell_news=self._late.note,
        )
        self._watchdog = Watchdog(core=self.core, clock=self.clock, alive=self.alive, ask_heartbeat=self._ask_heartbeat)
        self._reading = Reading(
            stream=self.stream,
            decoder=self.decoder,
            late=self._late,
            take=self._take,
            has_ended=self._ended.is_set,
            wake_writer=self._woken.unpark_all,
        )

    @property
    def info(self) -> SessionInfo:
        """The session as it stands."""
        return SessionInfo(
            session=self.core.session,
            peer_incarnation=self.peer_incarnation,
            peer_epoch=self.core.peer_epoch,
            peer_revision=self.peer_revision,
            version=self.core.version,
            terms=self.core.terms,
            same_version=self.same_version,
            address=self.stream.description,
        )

    def join(self, channel: Channel) -> None:
        """Bring a channel into the session, if its consumer has left the ones before."""
        if self._ended.is_set() or self._farewell is not None or not channel.can_join:
            return
        flow = self.core.open_channel(
            channel.number,
            slot_size=channel.slot_size,
            slots=channel.slots,
            free_slots=channel.free_slots,
            answered=channel.answered,
        )
        connected = Connected(
            session=self.core.session,
            peer_incarnation=self.peer_incarnation,
            peer_epoch=self.core.peer_epoch,
            peer_revision=self.peer_revision,
        )
        # First, for whoever is told that it has joined may send.
        self._channels[channel.number] = channel
        self._writer.open(channel)
        channel.join(connected, flow, send_due=self._send_due, tell_room=self._tell_room, lead=self._reading.lead)
        self.wake()

    def wake(self) -> None:
        """There is something to write."""
        self._has_work = True
        if self._woken:
            self._woken.unpark_all()

    def _send_due(self, channel: Channel) -> None:
        """A message was accepted: send it at once, or see to it that the writer gathers it with those behind it.

        At once goes the first after a silence: nothing is there that could share its frame. So does a burst: the peer
        takes it in while whoever sends goes on.
        """
        flow = channel.session_flow
        if (not self._has_work and flow.written == flow.acknowledged) or flow.accepted - flow.written >= channel.burst:
            if self._can_send:
                self._send_at_once(self._writer.join_messages(channel))
                return
            channel.due = NEVER
        else:
            channel.due = flow.written + channel.burst
        self.wake()

    def _tell_room(self, channel: Channel) -> None:
        """Half of the slots are free, or the peer has none: who sends a burst is told while the consumer goes on."""
        flow = channel.session_flow
        if flow.receive_limit - flow.told_limit >= channel.burst and self._can_send:
            self._writer.write_messages(channel)
            self._send_written()
        else:
            self.wake()

    @property
    def _can_send(self) -> bool:
        """Whether a channel's messages may be sent by another than the writer, which then finds them gone."""
        busy = self._sending or self._taking or self._is_full or self._writer.is_opening
        return not busy and self._farewell is None

    def _send_written(self) -> None:
        self._send_at_once(self._writer.take_joined())

    def _send_at_once(self, written: Bytes) -> None:
        """Send frames. What the stream has no room for, or why it cannot, the writer meets."""
        self.counters.bytes_out += len(written)
        try:
            self._is_full = not self.stream.send_nowait(written)
        except STREAM_IS_GONE:
            self._is_full = True
        if self._is_full:
            self.wake()

    async def run(self) -> None:
        """Carry the session until it ends."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._watch)
                    nursery.start_soon(self.deadlines.run)
                    nursery.start_soon(self._read)
        finally:
            self.end(LossReason.CLOSED, "the link was stopped")

    def end(self, reason: LossReason, detail: str) -> None:
        """End the session at once: keys die, transfers end, then channels are told. Later calls do nothing.

        First of all it leaves the link, so whoever is told finds no session to start anything in.
        """
        if self._ended.is_set():
            return
        self._ended.set()
        if self._farewell is not None and reason is LossReason.CLOSED:
            detail = f"goodbye said here: {self._farewell}"
        self.stream.close()
        self._scope.cancel()
        self._heard.unpark_all()
        self.on_end()
        if self.placement is not None:
            self.placement.expire()
        for channel in self._channels.values():
            channel.close_for_sending()
        with ExitStack() as told:  # in reverse, and each, whatever the others raise
            for channel in reversed(self._channels.values()):
                told.callback(channel.lose, reason, detail)
            told.callback(self._requests.lose, reason.value)
            told.callback(self._bulk.lose)

    def drop(self, why: str) -> None:
        """End the session at once as CLOSED. The peer is told why, if it takes that and nothing is being sent."""
        if not (self._ended.is_set() or self._sending or self._is_full):
            self._writer.write_drop(why)
            self._send_written()
        self.end(LossReason.CLOSED, why)

    async def outlives(self, moment_s: float) -> bool:
        """Whether the peer answers a heartbeat that was written after ``moment_s``, or the session ends before that."""
        while not self._ended.is_set() and self.core.answered_s <= moment_s:
            await self._heard.park()
        return not self._ended.is_set()

    async def goodbye(self, reason: str) -> None:
        """Send a farewell behind everything queued, wait for the peer to hang up, at most ``GOODBYE_TIMEOUT_S``.

        Ends the session in any case, cancelled too.
        """
        if self._farewell is None:
            self._farewell = reason
            for channel in self._channels.values():
                channel.close_for_sending()
            self.wake()
        try:
            with suppress(trio.TooSlowError):  # the peer got what it was ready to take, and will find it closed
                await finish_by(self.clock, self.clock.now() + GOODBYE_TIMEOUT_S, self._ended.wait)
        finally:
            self.end(LossReason.CLOSED, "")

    def push_message_nowait(self, push: MessagePush) -> None:
        """Queue a push. ``BusyError`` without room for it or credit for its message; ``DisconnectError`` on loss."""
        self._check_joined(push.channel)
        if not self._bulk.has_room(push):
            raise BusyError(f"too much is on its way by channel {push.channel.number}")
        self._queue(push)

    async def push_message(self, push: MessagePush) -> None:
        """Queue a push once there is room for it and credit for its message; ``DisconnectError`` on loss."""
        self._check_joined(push.channel)
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._bulk.wait_for_room(push)
        self._queue(push)
        await trio.lowlevel.cancel_shielded_checkpoint()

    def _queue(self, push: MessagePush) -> None:
        """Send it at once if it is small, one fragment, and alone, for the reasons of ``_send_due``.

        Without work for the writer nothing waits to be written, on no channel, so it overtakes nothing.
        """
        flow = push.channel.session_flow
        self._bulk.queue(push)
        if push.is_small and flow.written == flow.acknowledged and self._can_send and not self._has_work:
            self._bulk.write_message_pushes()
            self._send_written()
        else:
            self.wake()

    def _check_joined(self, channel: Channel) -> None:
        if self._channels.get(channel.number) is not channel:
            raise DisconnectError(f"channel {channel.number} is not in the session")

    def open_requests(self) -> Requests:
        """Where a transfer may be started, to be written next. ``DisconnectError`` at the end of the session."""
        if self._ended.is_set() or self._farewell is not None:
            raise DisconnectError("the session is ending")
        self.wake()
        return self._requests

    async def _write(self) -> None:
        while not self._ended.is_set():
            if not (self._has_work or self._late.is_any()):
                self._late.clear()
                await self._woken.park()
            elif not await self._write_gathered():
                await self.clock.sleep_until(self.clock.now() + BROKEN_GRACE_S)
                self.end(LossReason.CLOSED, "the connection broke while sending")

    async def _write_gathered(self) -> bool:
        """Send what can be written now; False if the stream is gone. Holds no consumer's memory afterwards."""
        self._sending = True
        if (lends := self._answers.owes_replies) and (not await flush(self.stream) or self._ended.is_set()):
            return False  # others may change that memory: none runs from its checksum to its sending
        self._has_work = False
        self._late.clear()
        began_s = self.clock.now()
        fragments = self._gather(began_s)
        pieces = self._writer.take()
        self.counters.bytes_out += sum(map(len, pieces))
        try:
            is_sent = not lends or self.stream.send_nowait(*pieces)
            if not lends:
                await self.stream.send_all(*pieces)
        except STREAM_IS_GONE:
            return False
        pieces.clear()  # from here on whoever owns that memory may resize it
        self._sending = self._is_full = not is_sent
        transfers = self._bulk.sent()
        if not is_sent:
            if not await flush(self.stream):
                return False
            self._sending = self._is_full = False
        if fragments and self._pace.end_turn(fragments, self.clock.now() - began_s) and transfers:
            await trio.lowlevel.checkpoint()
        return True

    def _gather(self, now: float) -> int:
        """Write everything that can be, but of bulk data only what is in its pace: how many fragments.

        Nothing if the reader failed within a frame, on which its own task is about to act: more counts as received, and
        would be acknowledged, than was delivered.
        """
        if self._writer.has_said_goodbye or self._taking:
            return 0
        self._writer.write_control(self._channels.values(), now)
        self._bulk.write_orders()
        room = self._pace.begin_turn(self.counters.messages_in + self.counters.messages_out, now)
        fragments = self._bulk.write_next(room, self._pace.fragment_bytes)
        if fragments:
            self._has_work = True
        elif self._farewell is not None and not self._requests.has_unwritten:
            self._writer.write_goodbye(self._farewell)
        return fragments

    async def _read(self) -> None:
        fault: str | None = None
        try:
            await self._reading.run()
        except RemoteProtocolError as error:
            self.report(error)
            fault = str(error)
        if fault is not None:
            self.drop(fault)
        else:
            why = "the connection broke" if self._reading.is_broken else "the peer closed the connection"
            self.end(LossReason.CLOSED, why)

    def _take(self, size_bytes: int) -> None:
        """Take in so many bytes that came; with 0 what came behind the hello, or nothing."""
        now = self.clock.now()
        if size_bytes:
            self.decoder.received(size_bytes)
            self.core.hear(now)
            self.counters.bytes_in += size_bytes
        self._take_frames(now)

    def _take_frames(self, now: float) -> None:
        self._taking = True
        while not self._ended.is_set():
            frame = self.decoder.next_frame()
            if frame is None:
                self._taking = False
                return
            if frame.data_size:
                self.decoder.place(self._intake.open(frame, now))
                continue
            self.counters.frames_in += 1
            self._intake.take(frame, now)
            if frame.channel:
                continue
            if frame.kind is FrameType.HEARTBEAT:
                self._heard.unpark_all()
                if self.core.round_trip_s is not None:
                    self._requests.learn_round_trip(self.core.round_trip_s)
            elif frame.kind is FrameType.GOODBYE:
                self.end(LossReason.GOODBYE, decode_reason(frame.payload))
            elif frame.kind is FrameType.DROP:
                self.end(LossReason.DROPPED, decode_reason(frame.payload))

    async def _watch(self) -> None:
        self.end(LossReason.SILENT, await self._watchdog.run())

    def _ask_heartbeat(self, due_s: float) -> None:
        self._writer.ask_heartbeat(due_s)
        self.wake()
