"""Protocol time on Trio's clock."""

import time

import attrs
import trio

_COUNTS_SUSPENSION = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux has a clock of its own for it, and macOS counts suspension in CLOCK_MONOTONIC. FreeBSD has none that does: its
CLOCK_BOOTTIME is another name of one that stands. None is right in a virtual machine whose clock is saved with it."""


@attrs.frozen
class TrioClock:
    """Trio's clock: CLOCK_MONOTONIC in production, virtual in a test that installs a mock clock."""

    def now(self) -> float:
        """Seconds, only inside ``trio.run``."""
        return trio.current_time()

    def boottime(self) -> float:
        """CLOCK_BOOTTIME, or what comes nearest, whatever clock Trio has."""
        return time.clock_gettime(_COUNTS_SUSPENSION)

    async def sleep_until(self, deadline_s: float) -> None:
        """Return once ``now()`` is ``deadline_s`` or later. Always a checkpoint."""
        await trio.sleep_until(deadline_s)
