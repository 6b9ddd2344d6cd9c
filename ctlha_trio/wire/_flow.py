"""Sequences, acknowledgements and credit of one channel in one session."""

import attrs

from ctlha_trio._errors import BusyError, InvalidError, LocalProtocolError, RemoteProtocolError
from ctlha_trio.wire._frame import SLOT_SIZE_MAX, Fault

NEVER = 1 << 64
"""No limit is as high: sequences and credit have fewer bits."""


@attrs.frozen
class ChannelOffer:
    """A channel as the peer opened it."""

    slot_size: int
    slots: int
    credit: int
    """Free slots at that time: the first credit."""


def check_offer(slot_size: int, slots: int, credit: int) -> ChannelOffer:
    """The offer, if it can be. ``RemoteProtocolError`` otherwise."""
    if not 1 <= slot_size <= SLOT_SIZE_MAX:
        raise RemoteProtocolError(Fault.SIZE.value, f"slots of {slot_size} bytes")
    if slots < 1:
        raise RemoteProtocolError(Fault.COUNT.value, "a channel without slots")
    if credit > slots:
        raise RemoteProtocolError(Fault.CREDIT.value, f"{credit} of {slots} slots free")
    return ChannelOffer(slot_size, slots, credit)


@attrs.define(eq=False)
class ChannelFlow:
    """Sequences count messages from 1 in each session and direction; a gap is an error, never mended.

    Sending: ``acknowledged <= written <= accepted <= limit``. A message holds one of this side's ``slots`` from its
    acceptance to its acknowledgement, and needs one of the peer's, which ``limit`` counts: the highest sequence that
    the peer has room for. It never falls.
    """

    slot_size: int
    slots: int
    receive_limit: int
    """Highest sequence that there is room for here: at first the free slots."""
    answered: bool = False
    """Messages are answered by messages: acknowledgements travel with these, and seldom alone."""
    accepted: int = 0
    reserved: int = 0
    """Messages that ride on pushes: accepted, and sequenced when their last fragment is written."""
    written: int = 0
    acknowledged: int = 0
    limit: int = 0
    open_until: int = 0
    """What ``accepted`` may reach: room on both sides, less what is reserved. For whoever accepts without a call."""
    received: int = 0
    told_received: int = 0
    told_limit: int = 0
    room_due: int = NEVER
    """The ``receive_limit`` from which on freed room is to be told. For whoever frees a slot without a call."""
    _peer_slots: int = 0
    _peer_slot_size: int = 0
    """0 until the peer has opened the channel."""
    _is_usable: bool = False
    """It has, and the slots of both sides have one size."""
    _peer_limit: int = 0
    """What the peer granted, usable or not."""

    def learn_offer(self, offer: ChannelOffer) -> None:
        """The peer opened the channel. With another slot size it stays without credit."""
        self._peer_slots = offer.slots
        self._peer_slot_size = offer.slot_size
        self._peer_limit = offer.credit
        self._is_usable = offer.slot_size == self.slot_size
        if self._is_usable:
            self.limit = offer.credit
            self._reckon()
        self._reckon_room()

    def _reckon(self) -> None:
        self.open_until = min(self.limit, self.acknowledged + self.slots) - self.reserved

    def check_size(self) -> None:
        """``InvalidError`` if the peer has opened the channel with another slot size: credit will never come."""
        if self._peer_slot_size and not self._is_usable:
            raise InvalidError(f"messages have {self.slot_size} bytes here and {self._peer_slot_size} at the peer")

    @property
    def has_credit(self) -> bool:
        """Whether one more message can be accepted."""
        return self.accepted < self.open_until

    def accept(self) -> int:
        """Sequence for one more message. ``BusyError`` without a free slot on both sides.

        ``InvalidError`` if there can be none, for the two have slots of different sizes.
        """
        self.check_room()
        self.accepted += 1
        return self.accepted

    def check_room(self) -> None:
        """``BusyError`` or ``InvalidError`` if no message can be accepted."""
        if self.accepted >= self.open_until:
            self.check_size()
            raise BusyError("no credit" if self.accepted + self.reserved >= self.limit else "no free slot")

    def reserve(self) -> None:
        """Keep the place of a message that a push will carry. ``BusyError`` as for ``accept``."""
        if not self.has_credit:
            raise BusyError("no credit")
        self.reserved += 1
        self._reckon()

    def redeem(self) -> int:
        """Sequence for a reserved message, to be written now. Everything accepted before must be written."""
        if self.reserved == 0 or self.written != self.accepted:
            raise LocalProtocolError("a reserved message may not overtake the accepted ones")
        self.reserved -= 1
        self._reckon()
        self.accepted += 1
        self.written += 1
        return self.written

    def write(self, count: int) -> int:
        """The next ``count`` accepted messages go into a frame; the sequence of the first."""
        before = self.written
        if not 1 <= count <= self.accepted - before:
            raise LocalProtocolError("more messages written than accepted")
        self.written = before + count
        return before + 1

    @property
    def unsettled(self) -> int:
        """Messages accepted here that the peer has not acknowledged."""
        return self.accepted + self.reserved - self.acknowledged

    def learn_acknowledgement(self, acknowledged: int, credit: int) -> None:
        """What the peer has received and has room for."""
        if not self.acknowledged <= acknowledged <= self.written:
            raise RemoteProtocolError(
                Fault.ACKNOWLEDGEMENT.value, f"{acknowledged} is not in {self.acknowledged}..{self.written}"
            )
        limit = acknowledged + credit
        if credit > self._peer_slots or limit < self._peer_limit:
            raise RemoteProtocolError(
                Fault.CREDIT.value, f"{credit} of {self._peer_slots} slots, {self._peer_limit} after {limit}"
            )
        self.acknowledged = acknowledged
        self._peer_limit = limit
        if self._is_usable:
            self.limit = limit
        self._reckon()

    def receive(self, first_sequence: int, count: int) -> None:
        """The peer sent ``count`` messages."""
        before = self.received
        if first_sequence != before + 1:
            raise RemoteProtocolError(Fault.SEQUENCE.value, f"{first_sequence} after {before}")
        received, limit = before + count, self.told_limit
        if received >= limit:
            if received > limit:
                raise RemoteProtocolError(Fault.CREDIT.value, f"{count} more than the {limit} granted")
            # The peer has no room left, which alone is what messages change of ``_reckon_room``.
            self.room_due = limit + 1
        self.received = received

    def release(self, count: int) -> None:
        """So many slots became free here."""
        self.receive_limit += count

    @property
    def has_news(self) -> bool:
        """Whether the peer must be told: of messages received, or of room that it may be waiting for.

        Freed room alone is told once it is half of the slots, or at once if the peer has none left. So are messages
        that will be answered: each holds one of the peer's slots until then.
        """
        if self.receive_limit >= self.room_due:
            return True
        untold = self.received - self.told_received
        return untold > 0 and (not self.answered or 2 * untold >= self._peer_slots)

    @property
    def has_room_to_tell(self) -> bool:
        """The part of it that is room."""
        return self.receive_limit >= self.room_due

    def _reckon_room(self) -> None:
        if self._peer_slots:  # nobody may be told of it who has not opened the channel yet
            told = self.told_limit
            self.room_due = told + (1 if told == self.received else (self.slots + 1) // 2)

    def tell(self) -> tuple[int, int]:
        """Acknowledgement and credit for a frame that is written now."""
        self.told_received = received = self.received
        self.told_limit = limit = self.receive_limit
        self._reckon_room()
        return received, limit - received
