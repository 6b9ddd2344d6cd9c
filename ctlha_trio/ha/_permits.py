"""The permit that this node holds, and reads under it."""

from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import trio

from ctlha_trio.pair import PERMIT_S
from ctlha_trio.pair.messages import Permit, PermitRequest
from ctlha_trio.seams import Clock

RENEW_S: Final = 0.05
"""A quarter of a permit's time: two renewals may be late before reads wait."""
IDLE_S: Final = 1.0
"""Without a read for so long, a node lets its permit run out: a pair that nobody reads says nothing of it."""


@attrs.define(eq=False)
class HeldPermit:
    """What the other member has promised, until when, and which request it answered last.

    Times are of a clock that goes on while the machine is suspended.
    """

    _boottime: Callable[[], float]
    newest: int = attrs.field(default=0, init=False)
    """The number of the newest request."""
    _void: int = attrs.field(default=0, init=False)
    """The number of the newest request of an earlier session."""
    _sent_s: dict[int, float] = attrs.field(factory=dict, init=False)
    """Of the requests whose permit could still be live."""
    _epoch: int = attrs.field(default=0, init=False)
    _granted: int = attrs.field(default=0, init=False)
    """The number of the latest request that was granted."""
    _until_s: float = attrs.field(default=0.0, init=False)

    def request(self, epoch: int) -> PermitRequest:
        """A request to be sent from now on: the permit counts from this moment, whenever it comes."""
        now_s = self._boottime()
        self._sent_s = {number: sent_s for number, sent_s in self._sent_s.items() if now_s < sent_s + PERMIT_S}
        self.newest += 1
        self._sent_s[self.newest] = now_s
        return PermitRequest(epoch, self.newest)

    def take(self, permit: Permit) -> None:
        """A permit came. One that this session did not ask for is worth nothing; one that is over is still proof."""
        if self._void < permit.number <= self.newest:
            self._epoch, self._granted = permit.epoch, permit.number
            sent_s = self._sent_s.pop(permit.number, None)
            self._until_s = 0.0 if sent_s is None else sent_s + PERMIT_S

    def void(self) -> None:
        """The session is over: neither the permit nor any that comes for an earlier request counts."""
        self._void = self.newest
        self._sent_s.clear()
        self._epoch = 0

    def is_live(self, epoch: int) -> bool:
        """Whether it was given for this epoch and is not over."""
        return epoch == self._epoch and self._boottime() < self._until_s

    def covers(self, epoch: int, since: int) -> bool:
        """Whether a read of that epoch may be shown that began when ``since`` was the newest request.

        Under a live permit. Or, however long the two need to hear each other: a request sent after the beginning was
        granted. At that moment, within the time of the read, the other one had acknowledged nothing alone.
        """
        return self.is_live(epoch) or (epoch == self._epoch and self._granted > since)


@attrs.define(eq=False)
class PermittedReads:
    """Reads that need a permit, and its renewal for as long as there are any."""

    _clock: Clock
    _ask: Callable[[PermitRequest], None]
    """Says it to the peer."""
    _epoch_to_ask: Callable[[], int]
    """The epoch acted in while the peer may grant; 0 otherwise."""
    held: HeldPermit = attrs.field(init=False)
    _under_way: int = attrs.field(default=0, init=False)
    _wanted_until_s: float = attrs.field(default=float("-inf"), init=False)
    _asked_s: float = attrs.field(default=float("-inf"), init=False)
    _idle: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    _changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    def __attrs_post_init__(self) -> None:
        self.held = HeldPermit(self._clock.boottime)

    def void(self) -> None:
        """The session began or ended."""
        self.held.void()
        self._asked_s = float("-inf")

    def take(self, permit: Permit) -> None:
        """A permit came."""
        self.held.take(permit)
        self.wake()

    def wake(self) -> None:
        """Let each read that waits look whether it still has to, or has nothing to wait for any more."""
        self._changed.unpark_all()

    async def read(
        self, epoch: int, fetch: Callable[[], Awaitable[bytes]], is_wanted: Callable[[], bool]
    ) -> bytes | None:
        """What ``fetch`` finds, covered by a permit of that epoch; None once it ``is_wanted`` no more. A checkpoint.

        The permit is looked at when the data is there: a machine may have stood still meanwhile.
        """
        since = self.held.newest
        self._under_way += 1
        self._idle.unpark_all()
        try:
            if not self.held.is_live(epoch):
                self._renew()
            data = await fetch()
            while is_wanted():
                if self.held.covers(epoch, since):
                    return data
                self._renew()
                await self._changed.park()
        finally:
            self._under_way -= 1
            self._wanted_until_s = self._clock.now() + IDLE_S
        return None

    def _renew(self) -> None:
        epoch, now_s = self._epoch_to_ask(), self._clock.now()
        if epoch and now_s >= self._asked_s + RENEW_S:
            self._asked_s = now_s
            self._ask(self.held.request(epoch))

    async def run(self) -> None:
        """Renew the permit while there are reads, until cancelled."""
        while True:
            if self._under_way or self._clock.now() < self._wanted_until_s:
                self._renew()
                await self._clock.sleep_until(self._clock.now() + RENEW_S)
            else:
                await self._idle.park()
