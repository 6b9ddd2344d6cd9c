"""What stands between a node and the world while its machine is paused."""

import attrs
import trio


@attrs.define(eq=False)
class Gate:
    """Open at first."""

    is_open: bool = attrs.field(default=True, init=False)
    _opened: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    async def wait_open(self) -> None:
        """Return at once, or when it is opened again. A checkpoint only if it is closed."""
        while not self.is_open:
            await self._opened.park()

    def close(self) -> None:
        """Let nobody pass."""
        self.is_open = False

    def open(self) -> None:
        """Let everybody pass who waits, and whoever comes."""
        self.is_open = True
        self._opened.unpark_all()
