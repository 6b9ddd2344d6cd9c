"""One session on one stream: a reader, a writer and a watchdog."""

from collections.abc import Callable

import attrs
import trio

from ctlha_trio._errors import BusyError, CtlHaError, DisconnectError, RemoteProtocolError
from ctlha_trio.link._answers import Answers
from ctlha_trio.link._bulk import BulkTurns
from ctlha_trio.link._channel import Channel
from ctlha_trio.link._deadline import finish_by
from ctlha_trio.link._deadlines import Deadlines
from ctlha_trio.link._events import Connected, LossReason, SessionInfo
from ctlha_trio.link._intake import Intake
from ctlha_trio.link._requests import Requests
from ctlha_trio.link._statistics import LinkCounters
from ctlha_trio.link._transfer import MessagePush, Placement
from ctlha_trio.link._writing import FrameWriter
from ctlha_trio.seams import Clock, Stream
from ctlha_trio.wire import FrameDecoder, FrameType, SessionCore, decode_reason

GOODBYE_TIMEOUT_S = 1.0
"""For everything queued and the farewell to leave, and the peer to hang up. A planned stop must stay quicker than a
crash is noticed."""
BROKEN_GRACE_S = 0.05
"""After a failed send the reader may still find the peer's goodbye in what arrived before."""


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
    _woken: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    _channels: dict[int, Channel] = attrs.field(factory=dict, init=False)
    deadlines: Deadlines = attrs.field(init=False)
    """Of what belongs to the session."""
    _requests: Requests = attrs.field(init=False)
    _answers: Answers = attrs.field(init=False)
    _writer: FrameWriter = attrs.field(init=False)
    _bulk: BulkTurns = attrs.field(init=False)
    _intake: Intake = attrs.field(init=False)
    _farewell: str | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.deadlines = Deadlines(self.clock)
        self._requests = Requests(self.wake, self.deadlines)
        self._answers = Answers(self.core, self.placement)
        self._writer = FrameWriter(self.core, self.counters)
        self._bulk = BulkTurns(self._writer, self._requests, self._answers)
        self._intake = Intake(
            core=self.core,
            channels=self._channels,
            requests=self._requests,
            answers=self._answers,
            placement=self.placement,
            counters=self.counters,
            has_ended=self._ended.is_set,
            wake_writer=self.wake,
        )

    @property
    def info(self) -> SessionInfo:
        """The session as it stands."""
        return SessionInfo(
            session=self.core.session,
            peer_incarnation=self.peer_incarnation,
            peer_epoch=self.core.peer_epoch,
            peer_revision=self.peer_revision,
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
        channel.join(connected, flow, self.wake)
        self._channels[channel.number] = channel
        self._writer.open(channel)
        self.wake()

    def wake(self) -> None:
        """There is something to write."""
        self._has_work = True
        self._woken.unpark_all()

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
        self._bulk.lose()
        self._requests.lose(reason.value)
        for channel in self._channels.values():
            channel.lose(reason, detail)

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
            await finish_by(self.clock, self.clock.now() + GOODBYE_TIMEOUT_S, self._ended.wait)
        except trio.TooSlowError:
            pass  # the peer got what it was ready to take, and will find the connection closed
        finally:
            self.end(LossReason.CLOSED, "")

    def push_message_nowait(self, push: MessagePush) -> None:
        """Queue a push. ``BusyError`` without room for it or credit for its message; ``DisconnectError`` on loss."""
        self._check_joined(push.channel)
        if not self._bulk.has_room(push):
            raise BusyError(f"too much is on its way by channel {push.channel.number}")
        self._bulk.queue(push)
        self.wake()

    async def push_message(self, push: MessagePush) -> None:
        """Queue a push once there is room for it and credit for its message; ``DisconnectError`` on loss."""
        self._check_joined(push.channel)
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._bulk.wait_for_room(push)
        self._bulk.queue(push)
        self.wake()
        await trio.lowlevel.cancel_shielded_checkpoint()

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
        try:
            while not self._ended.is_set():
                if self._has_work:
                    self._has_work = False
                    await self._write_gathered()
                else:
                    await self._woken.park()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await self.clock.sleep_until(self.clock.now() + BROKEN_GRACE_S)
            self.end(LossReason.CLOSED, "the connection broke while sending")

    async def _write_gathered(self) -> None:
        """Send what can be written now. Holds no consumer's memory once it has returned."""
        pieces = self._gather()
        for piece in pieces:
            await self.stream.send_all(piece)
            self.counters.bytes_out += len(piece)
        if pieces:
            self._requests.sent()

    def _gather(self) -> list[bytes | bytearray | memoryview]:
        """Everything that can be written now, but at most one fragment of bulk data."""
        if self._writer.has_said_goodbye:
            return []
        self._writer.write_control(self._channels.values(), self.clock.now())
        for verdict in self._answers.take_verdicts():
            self._writer.write_verdict(verdict)
        for pull in self._requests.take_pulls():
            self._writer.write_pull(pull)
        for request in self._requests.take_withdrawals():
            self._writer.write_withdrawal(request)
        if self._bulk.write_next():
            self._has_work = True
        elif self._farewell is not None:
            self._writer.write_goodbye(self._farewell)
        return self._writer.take()

    async def _read(self) -> None:
        try:
            while True:
                self._take_frames()
                try:
                    size_bytes = await self.stream.receive_into(self.decoder.space())
                except ValueError:
                    if not self.decoder.is_space_gone:
                        raise
                    continue
                if size_bytes == 0:
                    break
                self.decoder.received(size_bytes)
                self.counters.bytes_in += size_bytes
        except RemoteProtocolError as error:
            self.report(error)
            self.end(LossReason.CLOSED, str(error))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.end(LossReason.CLOSED, "the connection broke")
        else:
            self.end(LossReason.CLOSED, "the peer closed the connection")

    def _take_frames(self) -> None:
        now = self.clock.now()
        while not self._ended.is_set():
            frame = self.decoder.next_frame()
            if frame is None:
                return
            if frame.data_size:
                self.decoder.place(self._intake.open(frame, now))
                continue
            self.counters.frames_in += 1
            self._intake.take(frame, now)
            if frame.kind is FrameType.HEARTBEAT:
                self._heard.unpark_all()
            if frame.kind is FrameType.GOODBYE:
                self.end(LossReason.GOODBYE, decode_reason(frame.payload))

    async def _watch(self) -> None:
        while True:
            planned_s = self.core.next_deadline_s
            await self.clock.sleep_until(planned_s)
            now = self.clock.now()
            if self.core.is_silent(now, planned_s=planned_s):
                self.end(LossReason.SILENT, f"nothing received for {now - self.core.last_received_s:.2f} s")
                return
            if self.core.take_heartbeat_due(now) and self.alive():
                self._writer.ask_heartbeat()
                self.wake()
