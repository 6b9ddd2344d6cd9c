"""Tells a disk that hangs from a machine that stood still."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import trio

from ctlha_trio.ha._seen_time import seen_after_look
from ctlha_trio.link import Link
from ctlha_trio.seams import Clock
from ctlha_trio.wire import Refusal

DISK_STALL_S: Final = 5.0
"""A disk call that takes longer counts as hung. Virtual disks pause for a second or two and come back;
initiators give up after 30."""

_LOG: Final = logging.getLogger(__name__)


@attrs.define(eq=False)
class DiskWatch:
    """Looks at the oldest call again and again, and counts only time in which it could have looked.

    A machine that was suspended finds its clock far ahead, and the call that was under way then about to return.
    """

    _clock: Clock
    _oldest_call_s: Callable[[], float | None]
    """When the oldest call that is under way began."""
    _wait_for_calls: Callable[[], Awaitable[None]]
    """Returns once each call that is under way when it is called has ended, however."""
    hangs: bool = attrs.field(default=False, init=False)
    """Whether a call has been running for so long that it may never end."""

    async def run(self, link: Link, told: Callable[[], object]) -> None:
        """Do without a session while the disk hangs, for the peer would wait for it; ``told`` of each change.

        A disk that hangs has not failed. To the core it is slow: what it answers counts, what waits for it is not
        acknowledged, and neither is a claim made before it has answered.
        """
        while True:
            await self.wait_for_hang()
            _LOG.error("a disk call has been running for %.0f s: no session until the disk answers", DISK_STALL_S)
            told()
            await link.rest(Refusal.DISK_HANGS)
            await self.wait_for_answer()
            _LOG.warning("no disk call hangs any more")
            link.go_on()
            told()

    async def wait_for_hang(self) -> None:
        """Return once a call hangs. A checkpoint."""
        watched_s, seen_s = None, 0.0
        while seen_s < DISK_STALL_S:
            passed_s = await seen_after_look(self._clock)
            call_s = self._oldest_call_s()
            if call_s is None or call_s != watched_s:
                watched_s, seen_s = call_s, 0.0
            else:
                seen_s += passed_s
        self.hangs = True

    async def wait_for_answer(self) -> None:
        """Return once the calls that hang have ended, and those that came to hang meanwhile. A checkpoint.

        How they ended is the affair of whoever called: one that failed is no answer that helps.
        """
        await trio.lowlevel.checkpoint()
        while (call_s := self._oldest_call_s()) is not None and self._clock.now() - call_s >= DISK_STALL_S:
            await self._wait_for_calls()
        self.hangs = False
