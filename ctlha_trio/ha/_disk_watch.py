"""Tells a disk that hangs from a machine that stood still."""

from collections.abc import Callable
from typing import Final

import attrs

from ctlha_trio.ha._seen_time import seen_after_look
from ctlha_trio.seams import Clock

DISK_STALL_S: Final = 5.0
"""A disk call that takes longer counts as hung. Virtual disks pause for a second or two and come back;
initiators give up after 30."""


@attrs.define(eq=False)
class DiskWatch:
    """Looks at the oldest call again and again, and counts only time in which it could have looked.

    A machine that was suspended finds its clock far ahead, and the call that was under way then about to return.
    """

    _clock: Clock
    _oldest_call_s: Callable[[], float | None]
    """When the oldest call that is under way began."""
    _call_s: float | None = attrs.field(default=None, init=False)
    """When the one began that was the oldest at the last look."""
    _seen_s: float = attrs.field(default=0.0, init=False)
    """How long it has been seen to run."""

    @property
    def hangs(self) -> bool:
        """Whether a call has been running for so long that it may never end."""
        return self._seen_s >= DISK_STALL_S

    async def run(self) -> None:
        """Return once a call hangs."""
        while not self.hangs:
            self._look(await seen_after_look(self._clock))

    def _look(self, seen_s: float) -> None:
        call_s = self._oldest_call_s()
        if call_s is None or call_s != self._call_s:
            self._call_s, self._seen_s = call_s, 0.0
        else:
            self._seen_s += seen_s
