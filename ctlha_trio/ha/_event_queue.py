"""What a channel's handler has not been given yet, in the order in which it is to hear of it."""

from collections import deque

import attrs
import trio

from ctlha_trio._vocabulary import ctl_ha_event

_DISCONNECT = ctl_ha_event.CTL_HA_EVT_DISCONNECT
_MSG_RECV = ctl_ha_event.CTL_HA_EVT_MSG_RECV
_OF_TRANSFERS = frozenset({ctl_ha_event.CTL_HA_EVT_DMA_SENT, ctl_ha_event.CTL_HA_EVT_DMA_RECEIVED})


@attrs.define
class PendingEvents:
    """Equal events in a row."""

    event: ctl_ha_event
    param: int
    count: int
    callbacks_before: int
    """Of a DISCONNECT: that many callbacks, and their events, come before it."""


@attrs.define(eq=False)
class EventQueue:
    """Nobody waits to put an event here, and none is lost, for each kind is bounded where it comes from.

    There are no more MSG_RECV than unread messages, no more MSG_SENT than send slots, and no more events of transfers
    than may be unheard; losses in a row share an entry, so that any number of them needs no more room.
    """

    _ranges: deque[PendingEvents] = attrs.field(factory=deque, init=False)
    receipts: int = attrs.field(default=0, init=False)
    """MSG_RECV that the handler has not been given."""
    transfers: int = attrs.field(default=0, init=False)
    """The same of DMA_SENT and DMA_RECEIVED."""
    _news: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    def __len__(self) -> int:
        """Entries, of which each stands for one event or several."""
        return len(self._ranges)

    def add(self, event: ctl_ha_event, param: int, count: int = 1, *, callbacks_before: int = 0) -> None:
        """Behind all others."""
        if not count:
            return
        if event is _MSG_RECV:
            self.receipts += count
        elif event in _OF_TRANSFERS:
            self.transfers += count
        last = self._ranges[-1] if self._ranges else None
        if last is not None and (last.event, last.param, last.callbacks_before) == (event, param, callbacks_before):
            last.count += count
        else:
            self._ranges.append(PendingEvents(event, param, count, callbacks_before))
        self.wake()

    def add_of_callback(self, event: ctl_ha_event, param: int, ordinal: int) -> None:
        """The event of that callback: before the loss that waits for it, if one does."""
        for place, pending in enumerate(self._ranges):
            if pending.event is _DISCONNECT and pending.callbacks_before >= ordinal:
                self.transfers += 1
                self._ranges.insert(place, PendingEvents(event, param, 1, 0))
                self.wake()
                return
        self.add(event, param)

    def keep_receipts(self, unread: int) -> None:
        """No more MSG_RECV than unread messages: the latest are for messages that somebody took meanwhile."""
        surplus = self.receipts - unread
        if surplus <= 0:
            return
        self.receipts = unread
        for pending in reversed(self._ranges):
            if pending.event is _MSG_RECV:
                dropped = min(surplus, pending.count)
                pending.count -= dropped
                surplus -= dropped
        self._ranges = deque(pending for pending in self._ranges if pending.count)

    @property
    def first(self) -> PendingEvents | None:
        """What is to be heard next."""
        return self._ranges[0] if self._ranges else None

    def take(self) -> PendingEvents:
        """The first event, one of its range."""
        first = self._ranges[0]
        if first.event is _MSG_RECV:
            self.receipts -= 1
        elif first.event in _OF_TRANSFERS:
            self.transfers -= 1
        first.count -= 1
        if not first.count:
            self._ranges.popleft()
        return first

    def clear(self) -> None:
        """Nobody will hear of it."""
        self._ranges.clear()
        self.receipts = self.transfers = 0

    async def wait(self) -> None:
        """Return when something was added, or ``wake`` was called."""
        await self._news.park()

    def wake(self) -> None:
        """Let whoever waits look again."""
        self._news.unpark_all()
