"""The link of a node: finds the peer, keeps one session with it, and brings the channels into it."""

from collections.abc import Callable
from typing import Literal

import attrs
import trio

from ctlha_trio._errors import CtlHaError, DisconnectError, InvalidError
from ctlha_trio._vocabulary import RemoteBuffer
from ctlha_trio.link._channel import Channel
from ctlha_trio.link._config import LinkConfig
from ctlha_trio.link._connection import Connection
from ctlha_trio.link._deadlines import Deadlines
from ctlha_trio.link._events import LossReason, SessionInfo
from ctlha_trio.link._handshake import Agreed, Handshake
from ctlha_trio.link._meeting import Meeting
from ctlha_trio.link._places import TransferPlaces
from ctlha_trio.link._statistics import Heartbeats, LinkCounters, LinkStatistics
from ctlha_trio.link._transfer import (
    MessagePush,
    OnDone,
    Placement,
    Transfer,
    check_remote,
    incoming_bytes,
    outgoing_bytes,
)
from ctlha_trio.seams import Buffer, Clock, Entropy, Transport, byte_view
from ctlha_trio.wire import (
    CHANNEL_MAX,
    KEY_SIZE,
    SLOT_SIZE_MAX,
    Hello,
    KnownRecord,
    Refusal,
    ResourceState,
    SessionCore,
    Terms,
)

SLOTS_MAX = 4096
"""Per channel and direction."""
CHANNEL_SIZE_MAX = 4 * 1024 * 1024
"""Bytes of slots per channel and direction: what one write of the link may have to gather."""


def check_channel_size(slot_size: int, slots: int) -> None:
    """``InvalidError`` if no channel can have so many slots of that size."""
    if not 1 <= slot_size <= SLOT_SIZE_MAX or not 1 <= slots <= SLOTS_MAX or slot_size * slots > CHANNEL_SIZE_MAX:
        raise InvalidError(
            f"a channel cannot have {slots} slots of {slot_size} bytes: up to {SLOTS_MAX} slots,"
            f" {SLOT_SIZE_MAX} bytes each, {CHANNEL_SIZE_MAX} in all"
        )


def _message_push(remote: RemoteBuffer, data: Buffer, channel: Channel, message: Buffer) -> MessagePush:
    check_remote(remote)
    copied = bytes(channel.check_message(message))
    return MessagePush(key=remote.key, offset=remote.offset, data=byte_view(data), channel=channel, message=copied)


@attrs.define(eq=False)
class Link:
    """Both nodes listen and dial; a hello that is accepted and confirmed replaces the session before it.

    ``report`` gets a ``RefusedError`` or ``UntrustedPeerError`` for each try that failed on one, dialled or accepted,
    except when two dials met or the network made one slow, which is no fault; and the ``RemoteProtocolError`` that ends
    a session.
    """

    config: LinkConfig
    _clock: Clock = attrs.field(kw_only=True)
    _entropy: Entropy = attrs.field(kw_only=True)
    _transport: Transport = attrs.field(kw_only=True)
    _incarnation: int = attrs.field(kw_only=True)
    _alive: Callable[[], bool] = attrs.field(kw_only=True)
    _report: Callable[[CtlHaError], None] = attrs.field(kw_only=True)
    _heard: Callable[[KnownRecord], None] = attrs.field(kw_only=True, default=lambda _: None)
    """Told what the peer's hello says that it knows, before the session that may follow."""
    _knows: Callable[[], KnownRecord | None] = attrs.field(kw_only=True, default=lambda: None)
    """What each hello says that this node knows."""
    _epoch: int = attrs.field(default=0, init=False)
    _revision: int = attrs.field(default=0, init=False)
    _channels: dict[int, Channel] = attrs.field(factory=dict, init=False)
    _placement: Placement | None = attrs.field(default=None, init=False)
    _counters: LinkCounters = attrs.field(factory=LinkCounters, init=False)
    _connection: Connection | None = attrs.field(default=None, init=False)
    _meeting: Meeting = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._meeting = Meeting(
            config=self.config,
            clock=self._clock,
            entropy=self._entropy,
            transport=self._transport,
            incarnation=self._incarnation,
            report=self._report,
            known=lambda: ResourceState(
                self.config.resource, self._epoch, self._revision, self.config.size_bytes, self._knows()
            ),
            live=lambda: self._connection,
            begin=self._begin,
            heard=self._take_hello,
        )

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Bind, call ``started()``, keep a session with the peer until cancelled. ``OSError`` if it cannot bind."""
        listener = await self._transport.listen(self.config.listen)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listener.serve, self._meeting.welcome)
                nursery.start_soon(self._meeting.dial_for_ever)
                task_status.started()
        finally:
            listener.close()
            self._end_session("the link was stopped")

    def open_channel(self, number: int, *, slot_size: int, slots: int, answered: bool = False) -> Channel:
        """Open a channel for good: it takes part in this session and in those to come.

        Where messages are ``answered`` by messages, the peer learns from these which of its own have arrived, so that
        none costs a frame more: its MSG_SENT may wait until half of its slots do.
        Nothing can be sent before the peer has opened the same number with the same slot size. ``InvalidError`` for a
        number that is open already, or sizes beyond the bounds.
        """
        if not 1 <= number <= CHANNEL_MAX or number in self._channels:
            raise InvalidError(f"channel number {number} is taken or not in 1..{CHANNEL_MAX}")
        check_channel_size(slot_size, slots)
        channel = Channel(number, slot_size, slots, on_drained=self._bring_in, answered=answered)
        self._channels[number] = channel
        self._bring_in(channel)
        return channel

    def announce(self, *, epoch: int, revision: int) -> None:
        """Tell the peer from now on that this node is at ``epoch``. Memory keys of another epoch die."""
        if epoch < self._epoch or revision < self._revision:
            raise InvalidError(f"epoch {epoch}, revision {revision} after {self._epoch}, {self._revision}")
        if epoch != self._epoch and self._placement is not None:
            self._placement.expire()
        self._epoch, self._revision = epoch, revision
        if self._connection is not None:
            self._connection.core.epoch = epoch

    @property
    def epoch(self) -> int:
        """As last announced."""
        return self._epoch

    @property
    def session(self) -> SessionInfo | None:
        """The live session, None without one."""
        return None if self._connection is None else self._connection.info

    @property
    def session_id(self) -> int:
        """Of the live session, 0 without one."""
        return 0 if self._connection is None else self._connection.core.session

    @property
    def state(self) -> Literal["online", "unknown"]:
        """For status: whether there is a session. Without one nothing is known of the peer."""
        return "unknown" if self._connection is None else "online"

    def statistics(self) -> LinkStatistics:
        """What the link has carried so far."""
        connection = self._connection
        told = Heartbeats() if connection is None else Heartbeats.told(connection.core, self._clock.now())
        return self._counters.snapshot(told)

    async def goodbye(self, reason: str) -> None:
        """Leave for good: send GOODBYE behind everything queued, within ``GOODBYE_TIMEOUT_S``, then refuse sessions.

        Channels here see the session end as CLOSED. Cancelled: the session is ended at once.
        """
        self._meeting.stop()
        await self._end_with_goodbye(reason)

    async def rest(self, why: Refusal) -> None:
        """As ``goodbye``, until ``go_on``. The peer is told why, now and whenever it asks for a session."""
        self._meeting.rest(why)
        await self._end_with_goodbye(why.value)

    def go_on(self) -> None:
        """After ``rest``: find the peer again. Nothing follows if the link was left for good."""
        self._meeting.go_on()

    async def _end_with_goodbye(self, reason: str) -> None:
        if self._connection is None:
            await trio.lowlevel.checkpoint()
        else:
            await self._connection.goodbye(reason)

    def drop(self, reason: str) -> None:
        """End the current session, if any, at once as CLOSED; the link goes on and finds the peer again.

        The peer is told the reason, if that can be sent at once: to it the session is DROPPED.
        """
        if self._connection is not None:
            self._connection.drop(reason)

    def attach_placement(self, placement: Placement) -> None:
        """Let pushed data go to ``placement``. Before the first session, once."""
        if self._placement is not None or self._connection is not None:
            raise InvalidError("memory is attached once, before the first session")
        self._placement = placement

    async def push(self, remote: RemoteBuffer, data: Buffer, channel: Channel, message: Buffer) -> None:
        """Queue data for the peer's memory and a message that is delivered after its last byte is placed.

        Waits for credit and for room in the queue; returns when queued. Pushes keep their order, messages sent later on
        the same channel may overtake. ``data`` must stay unchanged until MSG_SENT. ``DisconnectError`` if the session
        ends before; cancelled: nothing was queued.
        """
        push = _message_push(remote, data, channel, message)
        await self._live_connection.push_message(push)

    def push_nowait(self, remote: RemoteBuffer, data: Buffer, channel: Channel, message: Buffer) -> None:
        """As ``push``; ``BusyError`` without credit or room. Not a checkpoint."""
        self._live_connection.push_message_nowait(_message_push(remote, data, channel, message))

    def start_push(
        self,
        remote: RemoteBuffer,
        data: Buffer,
        on_done: OnDone,
        *,
        deadline_s: float | None = None,
        places: TransferPlaces | None = None,
    ) -> Transfer:
        """Begin to put ``data`` into the peer's memory, as ``Dma.start_push`` says."""
        check_remote(remote)
        view = outgoing_bytes(data)
        return self._live_connection.open_requests().push(remote, view, on_done, deadline_s=deadline_s, places=places)

    def start_pull(
        self,
        remote: RemoteBuffer,
        into: memoryview,
        on_done: OnDone,
        *,
        deadline_s: float | None = None,
        places: TransferPlaces | None = None,
    ) -> Transfer:
        """Begin to get the peer's memory into ``into``, as ``Dma.start_pull`` says."""
        check_remote(remote)
        view = incoming_bytes(into)
        requests = self._live_connection.open_requests()
        return requests.pull(remote, view, self._entropy(KEY_SIZE), on_done, deadline_s=deadline_s, places=places)

    def now(self) -> float:
        """By the clock of its deadlines, in seconds."""
        return self._clock.now()

    @property
    def deadlines(self) -> Deadlines:
        """Of what belongs to the live session. ``DisconnectError`` without one."""
        return self._live_connection.deadlines

    @property
    def _live_connection(self) -> Connection:
        if self._connection is None:
            raise DisconnectError("there is no session")
        return self._connection

    def _bring_in(self, channel: Channel) -> None:
        if self._connection is not None:
            self._connection.join(channel)

    def _end_session(self, detail: str) -> None:
        if self._connection is not None:
            self._connection.end(LossReason.CLOSED, detail)

    def _begin(self, handshake: Handshake, agreed: Agreed, terms: Terms) -> Connection:
        """Make an agreed session the current one, in one step."""
        if self._connection is not None:
            self._connection.end(LossReason.REPLACED, "a newer connection took over")
        known = agreed.peer.resource(self.config.resource)
        assert known is not None, "judged"
        connection = Connection(
            stream=handshake.stream,
            decoder=handshake.decoder,
            core=SessionCore.begin(
                session=agreed.session,
                epoch=self._epoch,
                peer_epoch=known.epoch,
                now=self._clock.now(),
                version=agreed.version,
                terms=terms,
            ),
            clock=self._clock,
            alive=self._alive,
            report=self._report,
            counters=self._counters,
            placement=self._placement,
            peer_incarnation=agreed.peer.incarnation,
            peer_revision=known.revision,
            same_version=agreed.peer.speaks_own_versions,
            on_end=self._forget_session,
        )
        self._connection = connection
        self._counters.sessions += 1
        try:
            for channel in self._channels.values():
                connection.join(channel)
        except BaseException:
            # Nobody will run it.
            connection.end(LossReason.CLOSED, "it did not begin")
            raise
        return connection

    def _take_hello(self, hello: Hello) -> None:
        state = hello.resource(self.config.resource)
        if state is not None and state.knows is not None:
            self._heard(state.knows)

    def _forget_session(self) -> None:
        self._connection = None
        self._meeting.notice_loss()
