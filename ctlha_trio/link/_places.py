"""How many transfers each consumer may have: one that has all of its own leaves the others theirs."""

import attrs
import trio

from ctlha_trio._errors import BusyError

TRANSFERS_IN_FLIGHT_MAX = 256
"""Pushes and pulls together, of one consumer. Four 64-piece scatter/gather lists; their memory is the callers', so this
bounds bookkeeping."""


@attrs.define(eq=False)
class TransferPlaces:
    """Of one consumer. A transfer has its place until the peer has answered it, or cannot any more.

    One that was cancelled, and that the peer knows of, has ended before.
    """

    taken: int = attrs.field(default=0, init=False)
    _freed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    def take(self) -> None:
        """For one that begins. ``BusyError`` if none is free."""
        if self.taken >= TRANSFERS_IN_FLIGHT_MAX:
            raise BusyError(f"{TRANSFERS_IN_FLIGHT_MAX} transfers are in flight")
        self.taken += 1

    def give_back(self) -> None:
        """That one is over. Those who wait are woken when whoever calls this next waits himself."""
        self.taken -= 1
        if self._freed:
            self._freed.unpark_all()

    async def wait_freed(self) -> None:
        """Return when one has become free, which may be taken again by then. Always a checkpoint."""
        await self._freed.park()
