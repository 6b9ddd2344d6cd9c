"""Asks for the heartbeats of a session, and says when the peer is believed dead."""

from collections.abc import Callable

import attrs
import trio

from ctlha_trio.seams import Clock
from ctlha_trio.wire import SessionCore

LAST_TURNS = 4
"""Of the loop, before the peer is believed dead: for the socket to be found readable, for the reader to be woken, to
receive, and to come to a frame behind the rest of another."""


@attrs.define(eq=False, kw_only=True)
class Watchdog:
    """Of one session."""

    _core: SessionCore
    _clock: Clock
    _alive: Callable[[], bool]
    """Whether this side may say that it lives."""
    _ask_heartbeat: Callable[[float], None]
    """Given the time at which it was due."""

    async def run(self) -> str:
        """Watch until the peer is silent; what is known of that, for a person."""
        while True:
            planned_s = self._core.next_deadline_s
            await self._clock.sleep_until(planned_s)
            now = self._clock.now()
            if self._core.is_silent(now, planned_s=planned_s) and not await self._hears_after_all():
                return self._core.describe_silence(now, planned_s=planned_s)
            due_s = self._core.heartbeat_due_s
            if self._core.take_heartbeat_due(now) and self._alive():
                self._ask_heartbeat(due_s)

    async def _hears_after_all(self) -> bool:
        """Whether the reader still finds something, given a few turns of the loop.

        Any task may have held the loop up since the reader last looked into the socket, also within a grace.
        """
        heard_s = self._core.last_received_s
        for _ in range(LAST_TURNS):
            await trio.lowlevel.checkpoint()
        return self._core.last_received_s > heard_s
