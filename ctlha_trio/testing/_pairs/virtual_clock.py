"""A clock for nodes that share one process and, under a mock clock, one time."""

import attrs
import trio

from ctlha_trio.seams import TrioClock


@attrs.frozen
class VirtualClock(TrioClock):
    """No machine under it is ever suspended, so its two times are one."""

    def boottime(self) -> float:
        """As ``now``."""
        return trio.current_time()
