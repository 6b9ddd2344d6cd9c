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
    """What the other member has promised, and until when.

    Times are of a clock that goes on while the machine is suspended.
    """

    _boottime: Callable[[], float]
    _number: int = attrs.field(default=0, init=False)
    _sent_s: dict[int, float] = attrs.field(factory=dict, init=False)
    """Of the requests whose permit could still be of use."""
    _epoch: int = attrs.field(default=0, init=False)
    _until_s: float = attrs.field(default=0.0, init=False)

    def request(self, epoch: int) -> PermitRequest:
        """A request to be sent from now on: the permit counts from this moment, whenever it comes."""
        now_s = self._boottime()
        self._sent_s = {number: sent_s for number, sent_s in self._sent_s.items() if now_s < sent_s + PERMIT_S}
        self._number += 1
        self._sent_s[self._number] = now_s
        return PermitRequest(epoch, self._number)

    def take(self, permit: Permit) -> None:
        """A permit came. One that nobody waits for any more is worth nothing."""
        sent_s = self._sent_s.pop(permit.number, None)
        if sent_s is not None:
            self._epoch, self._until_s = permit.epoch, sent_s + PERMIT_S

    def void(self) -> None:
        """The session is over: neither the permit nor any that comes for an earlier request counts."""
        self._sent_s.clear()
        self._epoch = 0

    def is_live(self, epoch: int) -> bool:
        """Whether it was given for this epoch and is not over."""
        return epoch == self._epoch and self._boottime() < self._until_s


@attrs.define(eq=False)
class PermittedReads:
    """Reads that wait for a permit, and its renewal for as long as there are any."""

    _clock: Clock
    _ask: Callable[[PermitRequest], None]
    """Says it to the peer."""
    _epoch_to_ask: Callable[[], int]
    """The epoch acted in while the peer may grant; 0 otherwise."""
    held: HeldPermit = attrs.field(init=False)
    _waiting: int = attrs.field(default=0, init=False)
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
        """What ``fetch`` finds under a permit of that epoch; None once it ``is_wanted`` no more. A checkpoint.

        The permit is looked at again when the data is there: a machine may have stood still in between.
        """
        while is_wanted():
            self._wanted_until_s = self._clock.now() + IDLE_S
            self._idle.unpark_all()
            if not self.held.is_live(epoch):
                await self._wait()
                continue
            data = await fetch()
            if self.held.is_live(epoch):
                return data
        return None

    async def _wait(self) -> None:
        self._renew()
        self._waiting += 1
        try:
            await self._changed.park()
        finally:
            self._waiting -= 1

    def _renew(self) -> None:
        epoch, now_s = self._epoch_to_ask(), self._clock.now()
        if epoch and now_s >= self._asked_s + RENEW_S:
            self._asked_s = now_s
            self._ask(self.held.request(epoch))

    async def run(self) -> None:
        """Renew the permit while there are reads, until cancelled."""
        while True:
            if self._waiting or self._clock.now() < self._wanted_until_s:
                self._renew()
                await self._clock.sleep_until(self._clock.now() + RENEW_S)
            else:
                await self._idle.park()
