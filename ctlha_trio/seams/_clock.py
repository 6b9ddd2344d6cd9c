"""Protocol time on Trio's clock."""

import time

import attrs
import trio

_COUNTS_SUSPENSION = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""FreeBSD and macOS have no CLOCK_BOOTTIME; what they call monotonic goes on while the machine is suspended."""


@attrs.frozen
class TrioClock:
    """Trio's clock: CLOCK_MONOTONIC in production, virtual in a test that installs a mock clock."""

    def now(self) -> float:
        """Seconds, only inside ``trio.run``."""
        return trio.current_time()

    def boottime(self) -> float:
        """CLOCK_BOOTTIME, whatever clock Trio has."""
        return time.clock_gettime(_COUNTS_SUSPENSION)

    async def sleep_until(self, deadline_s: float) -> None:
        """Return once ``now()`` is ``deadline_s`` or later. Always a checkpoint."""
        await trio.sleep_until(deadline_s)
