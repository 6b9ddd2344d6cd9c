"""The state of one session: what may be received in it, and when silence means loss."""

import struct
from typing import Final

import attrs

from ctlha_trio._errors import LocalProtocolError, RemoteProtocolError
from ctlha_trio.wire._flow import ChannelFlow, ChannelOffer, check_offer
from ctlha_trio.wire._frame import (
    CHANNEL_OPEN_BODY,
    HEARTBEAT_BODY,
    LATE_HEARTBEAT_BODY,
    PUSH_PREFIX,
    Fault,
    Frame,
    FrameType,
)
from ctlha_trio.wire._lateness import Lateness
from ctlha_trio.wire._terms import TERMS_OF_VERSION_1, Feature, Terms

_MESSAGES: Final = FrameType.MESSAGES

HEARTBEAT_INTERVAL_S = 0.1
"""Eight of them may be lost or late before the peer is believed dead."""
SILENCE_S = 0.9
"""Since the last frame was received. Under the second that failover has for noticing."""
LATE_S = 0.05
"""A watchdog that woke later than this slept through what may be waiting in the socket."""
GRACE_S = 0.05
"""What the reader then gets to catch up: many turns of the loop, and the verdict still comes within a second."""
MICROSECONDS = 1_000_000
LATENESS_MAX = 0xFFFF_FFFF
"""Microseconds that a heartbeat can say."""


@attrs.define(eq=False)
class SessionCore:
    """Judges the frames of one agreed session. ``RemoteProtocolError`` ends it. Times are seconds of one clock."""

    session: int
    epoch: int
    """Announced by this side; goes into every frame."""
    peer_epoch: int
    """The latest that the peer announced; never falls within a session."""
    last_received_s: float
    heartbeat_due_s: float
    version: int = 1
    """Of the protocol, which both sides speak."""
    terms: Terms = TERMS_OF_VERSION_1
    """What both sides keep."""
    round_trip_s: float | None = None
    """Of the last heartbeat that came back; None before the first."""
    answered_s: float = 0.0
    """When the latest heartbeat that the peer has answered was written: the peer lived after that."""
    own_lateness: Lateness = attrs.field(factory=Lateness)
    """Of this side's heartbeats, and of its watchdog."""
    peer_lateness: Lateness = attrs.field(factory=Lateness)
    """Of the peer's heartbeats, as these say."""
    _flows: dict[int, ChannelFlow] = attrs.field(factory=dict)
    _offers: dict[int, ChannelOffer] = attrs.field(factory=dict)
    _shared: dict[int, ChannelFlow] = attrs.field(factory=dict)
    """Of the channels that both sides have opened."""
    _grace_until_s: float = 0.0
    _is_grace_spent: bool = False
    """The one that a silence may be granted once it has lasted long enough."""
    _peer_stamp: int = 0
    _peer_stamp_s: float = 0.0
    _first_stamp: int = 0
    """Of this side's heartbeats, and the last one likewise."""
    _last_stamp: int = 0
    _echoed: int = 0
    """The latest of them that the peer has answered."""

    @classmethod
    def begin(
        cls,
        *,
        session: int,
        epoch: int,
        peer_epoch: int,
        now: float,
        version: int = 1,
        terms: Terms = TERMS_OF_VERSION_1,
    ) -> "SessionCore":
        """A session that was agreed at ``now``: its first heartbeat is due at once."""
        return cls(
            session=session,
            epoch=epoch,
            peer_epoch=peer_epoch,
            last_received_s=now,
            heartbeat_due_s=now,
            version=version,
            terms=terms,
        )

    def open_channel(
        self, number: int, *, slot_size: int, slots: int, free_slots: int, answered: bool = False
    ) -> ChannelFlow:
        """This side opens a channel; the caller sends CHANNEL_OPEN before anything else on it."""
        if number in self._flows:
            raise LocalProtocolError(f"channel {number} is open in this session")
        flow = ChannelFlow(slot_size=slot_size, slots=slots, receive_limit=free_slots, answered=answered)
        self._flows[number] = flow
        offer = self._offers.get(number)
        if offer is not None:
            self._share(number, flow, offer)
        return flow

    def receive(self, frame: Frame, now: float) -> None:
        """Check a frame against the session and take in what it says of the peer, its channels and their flows.

        Messages and the data and requests of transfers are the caller's to deliver. So is that something came: see
        ``hear``.
        """
        if frame.session != self.session:
            raise RemoteProtocolError(Fault.SESSION.value, "frame of another session")
        if frame.epoch < self.peer_epoch:
            raise RemoteProtocolError(Fault.EPOCH.value, f"{frame.epoch} after {self.peer_epoch}")
        self.peer_epoch = frame.epoch
        if frame.kind is _MESSAGES:  # most are, and each look into the enum costs
            self._take_flow(frame)
        elif frame.kind is FrameType.HEARTBEAT:
            self._take_heartbeat(frame, now)
        elif frame.kind is FrameType.CHANNEL_OPEN:
            self._take_offer(frame)
        elif frame.channel:
            self._take_flow(frame)
        elif frame.kind is FrameType.DROP and not self.terms.has(Feature.DROP_REASONS):
            raise RemoteProtocolError(Fault.TYPE.value, "DROP, which was not agreed on")

    def hear(self, now: float) -> None:
        """Something came of the peer, be it a part of a frame."""
        self.last_received_s = now
        self._is_grace_spent = False

    def _take_flow(self, frame: Frame) -> None:
        flow = self._shared.get(frame.channel)
        if flow is None:
            raise RemoteProtocolError(Fault.CHANNEL.value, f"{frame.channel} is not open on both sides")
        flow.learn_acknowledgement(frame.acknowledged, frame.credit)
        if frame.count:
            size = len(frame.payload)
            if frame.kind is _MESSAGES:
                if size != frame.count * flow.slot_size:
                    raise RemoteProtocolError(Fault.SIZE.value, f"{size} bytes for {frame.count} messages")
            elif size < PUSH_PREFIX.size + flow.slot_size:
                raise RemoteProtocolError(Fault.SIZE.value, "no room for the attached message")
            flow.receive(frame.first_sequence, frame.count)

    def _take_offer(self, frame: Frame) -> None:
        if frame.channel in self._offers:
            raise RemoteProtocolError(Fault.CHANNEL.value, f"{frame.channel} opened twice")
        if frame.acknowledged:
            raise RemoteProtocolError(Fault.ACKNOWLEDGEMENT.value, "before the channel is open")
        slot_size, slots = CHANNEL_OPEN_BODY.unpack(frame.payload)
        offer = check_offer(slot_size, slots, frame.credit)
        self._offers[frame.channel] = offer
        flow = self._flows.get(frame.channel)
        if flow is not None:
            self._share(frame.channel, flow, offer)

    def _share(self, number: int, flow: ChannelFlow, offer: ChannelOffer) -> None:
        flow.learn_offer(offer)
        self._shared[number] = flow

    def _take_heartbeat(self, frame: Frame, now: float) -> None:
        layout = self._heartbeat_layout
        if len(frame.payload) != layout.size:
            raise RemoteProtocolError(Fault.SIZE.value, f"{len(frame.payload)} bytes of HEARTBEAT, not {layout.size}")
        stamp, echo, held, *late = layout.unpack(frame.payload)
        self._peer_stamp, self._peer_stamp_s = stamp, now
        if late:
            self.peer_lateness.note(late[0] / MICROSECONDS, now)
        if echo or self._echoed:
            if not (self._echoed or self._first_stamp) <= echo <= self._last_stamp:
                raise RemoteProtocolError(Fault.HEARTBEAT.value, f"an answer to {echo}, after {self._echoed}")
            self._echoed = echo
            self.answered_s = echo / MICROSECONDS
            self.round_trip_s = max(0.0, now - (echo + held) / MICROSECONDS)

    @property
    def _heartbeat_layout(self) -> struct.Struct:
        return LATE_HEARTBEAT_BODY if self.terms.has(Feature.HEARTBEAT_LATENESS) else HEARTBEAT_BODY

    def heartbeat(self, now: float, *, due_s: float) -> bytes:
        """The payload of a heartbeat that is written now, and was due then.

        A stamp of 0 means none, so clocks are shifted by one.
        """
        late_s = max(0.0, now - due_s)
        self.own_lateness.note(late_s, now)
        held = now - self._peer_stamp_s if self._peer_stamp else 0.0
        stamp = max(1, int(now * MICROSECONDS))
        self._first_stamp, self._last_stamp = self._first_stamp or stamp, stamp
        fields = [stamp, self._peer_stamp, max(0, int(held * MICROSECONDS))]
        layout = self._heartbeat_layout
        if layout is LATE_HEARTBEAT_BODY:
            fields.append(min(int(late_s * MICROSECONDS), LATENESS_MAX))
        return layout.pack(*fields)

    def take_heartbeat_due(self, now: float) -> bool:
        """Whether a heartbeat is due; the next one is then due an interval after now."""
        if now < self.heartbeat_due_s:
            return False
        self.heartbeat_due_s = now + HEARTBEAT_INTERVAL_S
        return True

    @property
    def next_deadline_s(self) -> float:
        """When the watchdog has to look again."""
        return min(self.heartbeat_due_s, self._verdict_s)

    @property
    def _verdict_s(self) -> float:
        return max(self.last_received_s + SILENCE_S, self._grace_until_s)

    def is_silent(self, now: float, *, planned_s: float) -> bool:
        """Whether the peer is lost, asked by a watchdog that meant to wake at ``planned_s``.

        A watchdog that woke late grants the reader a grace: its own loop stood still, and the peer's frames may be
        waiting. A silence that has lasted long enough is granted one and no more: the peer may be dead.
        """
        late_s = max(0.0, now - planned_s)
        self.own_lateness.note(late_s, now)
        is_overdue = now >= self.last_received_s + SILENCE_S
        if late_s > LATE_S and not self._is_grace_spent:
            self._grace_until_s, self._is_grace_spent = now + GRACE_S, is_overdue
        return now >= self._verdict_s

    def describe_silence(self, now: float, *, planned_s: float) -> str:
        """For a person who has to tell a dead peer from one that stood still, and both from a stall of this side."""
        last_s, most_s = self.peer_lateness.last_s, self.peer_lateness.most_s(now)
        if last_s is None or most_s is None:
            told = "its heartbeats say nothing of delays"
        else:
            told = f"its last heartbeat was {last_s:.2f} s late, and of the recent ones the latest {most_s:.2f} s"
        own_most_s = self.own_lateness.most_s(now) or 0.0
        woke = f"this side looked {max(0.0, now - planned_s):.2f} s late, and lately at most {own_most_s:.2f} s"
        return f"nothing received for {now - self.last_received_s:.2f} s; {told}; {woke}"
