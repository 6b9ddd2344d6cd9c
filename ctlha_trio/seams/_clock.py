"""Protocol time on Trio's clock."""

import attrs
import trio


@attrs.frozen
class TrioClock:
    """Trio's clock: CLOCK_MONOTONIC in production, virtual in a test that installs a mock clock."""

    def now(self) -> float:
        """Seconds, only inside ``trio.run``."""
        return trio.current_time()

    async def sleep_until(self, deadline_s: float) -> None:
        """Return once ``now()`` is ``deadline_s`` or later. Always a checkpoint."""
        await trio.sleep_until(deadline_s)
