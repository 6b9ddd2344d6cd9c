"""What this node says: messages in their order, pushes of data in theirs, each in the session it was meant for."""

from collections import deque
from contextlib import suppress
from typing import Final

import attrs
import trio

from ctlha_trio._errors import BusyError, DisconnectError
from ctlha_trio._vocabulary import RemoteBuffer
from ctlha_trio.dma import Dma, Ring, TransferCounters
from ctlha_trio.link import Channel, Link, unwatched
from ctlha_trio.pair import FLIGHTS_LIMIT, Grant, Kept, OfDrivers, Pushed, PushedMessage, Spoken, encode, messages
from ctlha_trio.pair.messages import HandoverReady, Message, Propose, ResyncStart, Seal
from ctlha_trio.wire import Feature

MESSAGES_MAX: Final = 4 * FLIGHTS_LIMIT
"""An honest peer has at most one answer to each of its operations waiting here, and a handful besides."""
SEAL: Final = 0
"""In place of a sequence, which neither a seal nor a readiness for the role has: one of them is under way at most."""


@attrs.frozen
class _Push:
    session: int
    message: PushedMessage
    data: bytes


@attrs.define(eq=False)
class Outbox:
    """Two queues with a task each: a push that waits for room in the peer's ring holds up no message.

    What was meant for a session that is over is dropped; the core learns of the loss by its own event. Pushes are
    bounded by the core, which has at most ``FLIGHTS_LIMIT`` operations under way.
    """

    _link: Link
    _channel: Channel
    _dma: Dma
    _counters: TransferCounters = attrs.field(factory=TransferCounters)
    session: int = attrs.field(default=0, init=False)
    """The link's id of the session that the core knows."""
    _messages: deque[tuple[int, Message | OfDrivers]] = attrs.field(factory=deque, init=False)
    _one_waits: bool = attrs.field(default=False, init=False)
    """A message that was taken from the queue waits to be sent: what is said meanwhile goes behind it."""
    _pushes: deque[_Push] = attrs.field(factory=deque, init=False)
    _grant: Grant | None = attrs.field(default=None, init=False)
    _ring: Ring = attrs.field(factory=lambda: Ring(0), init=False)
    _places: dict[int, int] = attrs.field(factory=dict, init=False)
    """Where in the peer's ring the data of each number lies, by ``number_of`` its message."""
    _message_waits: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    _push_waits: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    """Unparked too when the place for one may have come, or its session may be over."""

    def begin(self, session: int) -> None:
        """A session began, or (0) ended."""
        self.session = session
        self._grant = None
        self._places.clear()
        self._push_waits.unpark_all()

    def say(self, message: Message | OfDrivers) -> None:
        """Send a message, or queue it if it must wait. A peer that does not take what it is owed loses its session."""
        if len(self._messages) >= MESSAGES_MAX:
            self._messages.clear()
            self._link.drop("the peer does not take its messages")
        if isinstance(message, ResyncStart) and not self.may_say(Feature.COPY_ORIGINS):
            # Zeros behind a message are what the slot of one without that field has there.
            message = attrs.evolve(message, base_epoch=0)
        if not self._messages and not self._one_waits and self._is_live(self.session) and self._channel.has_credit:
            self._channel.send_nowait(encode(message), unwatched)
        else:
            self._messages.append((self.session, message))
            self._message_waits.unpark_all()

    def may_say(self, feature: Feature) -> bool:
        """Whether there is a session in which the peer hears what belongs to the feature."""
        session = self._link.session
        return session is not None and session.terms.has(feature)

    def push(self, message: PushedMessage, data: bytes) -> None:
        """Push data with its message, or queue it if it must wait."""
        push = _Push(self.session, message, data)
        if self._pushes or not self._push_at_once(push):
            self._pushes.append(push)
            self._push_waits.unpark_all()

    def _push_at_once(self, push: _Push) -> bool:
        """Whether there is nothing to wait for."""
        again = self._place_of_before(push) is not None
        place = self._take_place(push) if self._is_live(push.session) and self._channel.has_credit else None
        if place is None:
            return False
        try:
            self._dma.push_message_nowait(place, push.data, self._channel, encode(Pushed(push.message, place.offset)))
        except BusyError:
            if not again:
                self.placed_no_more(number_of(push.message))
            return False
        self._counters.pushed_bytes_out += len(push.data)
        return True

    def heard(self, spoken: Spoken) -> None:
        """What the peer says may be of its ring."""
        match spoken:
            case Grant():
                self.granted(spoken)
            case messages.Applied() | messages.Damaged():
                self.placed_no_more(spoken.sequence)
            case messages.Sealed():
                self.placed_no_more(SEAL)
            case Pushed(message=messages.Assigned(number=number)) | Kept(number=number):
                self.placed_no_more(_place_of_proposal(number))
            case messages.Unexecuted():
                self.placed_no_more(_place_of_proposal(spoken.number))
            case _:
                pass

    def granted(self, grant: Grant) -> None:
        """The peer has named its ring for the epoch."""
        self._grant = grant
        self._ring = Ring(grant.size)
        self._places.clear()
        self._push_waits.unpark_all()

    def placed_no_more(self, number: int) -> None:
        """The peer has stored the data of that number, keeps it elsewhere or cannot use it: its place is free."""
        start = self._places.pop(number, None)
        if start is not None:
            self._ring.give_back(start)
            if self._pushes:
                self._push_waits.unpark_all()

    async def run_messages(self) -> None:
        """Send messages that had to wait, until cancelled."""
        while True:
            while not self._messages:
                await self._message_waits.park()
            session, message = self._messages.popleft()
            if self._is_live(session):
                self._one_waits = True
                with suppress(DisconnectError):
                    await self._channel.send(encode(message))
                self._one_waits = False

    async def run_pushes(self) -> None:
        """Push data that had to wait, until cancelled."""
        while True:
            while not self._pushes:
                await self._push_waits.park()
            push = self._pushes[0]
            place = await self._wait_for_place(push)
            if place is not None:
                slot = encode(Pushed(push.message, place.offset))
                with suppress(DisconnectError):
                    await self._dma.push_message(place, push.data, self._channel, slot)
                    self._counters.pushed_bytes_out += len(push.data)
            # Until here it stands in the way of those behind it.
            self._pushes.popleft()

    async def _wait_for_place(self, push: _Push) -> RemoteBuffer | None:
        """Wait for the ring of the push's epoch and for room in it; None once the push is stale."""
        while self._is_live(push.session):
            if self._grant is not None and self._grant.epoch > push.message.epoch:
                return None
            place = self._take_place(push)
            if place is not None:
                return place
            await self._push_waits.park()
        return None

    def _take_place(self, push: _Push) -> RemoteBuffer | None:
        """Room in the ring of the push's epoch, if there is."""
        if self._grant is None or self._grant.epoch != push.message.epoch:
            return None
        before = self._place_of_before(push)
        if before is not None:
            return RemoteBuffer(self._grant.key, before)
        start = self._ring.take(len(push.data))
        if start is None:
            return None
        if isinstance(push.message, HandoverReady):
            # Nobody reads its data, and what lies there next is placed behind it.
            self._ring.give_back(start)
        else:
            self._places[number_of(push.message)] = start
        return RemoteBuffer(self._grant.key, start)

    def _place_of_before(self, push: _Push) -> int | None:
        """Where what is pushed again in one session lies: the same bytes, which the peer has there or did not take.

        None if it does not. Of two that have no sequence each has bytes of its own.
        """
        number = number_of(push.message)
        return None if number == SEAL else self._places.get(number)

    def _is_live(self, session: int) -> bool:
        """Whether the session is the one that both the core and the link are in at this moment."""
        return session == self.session == self._link.session_id != 0


def number_of(message: PushedMessage) -> int:
    """What names the data that is pushed with a message, until it is stored."""
    match message:
        case Seal() | HandoverReady():
            return SEAL
        case Propose():
            return _place_of_proposal(message.number)
        case _:
            return message.sequence


def _place_of_proposal(number: int) -> int:
    """The same for a proposal: no sequence."""
    return -number
