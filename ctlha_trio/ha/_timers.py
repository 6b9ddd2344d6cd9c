"""The core's named timers on the node's clocks."""

from collections.abc import Callable
from typing import Final

import attrs
import trio

from ctlha_trio.pair.events import Timer
from ctlha_trio.seams import Clock

SHORTEST_S: Final = 0.001
"""Of a sleep: the two clocks may differ by less than either can tell."""


@attrs.define(eq=False)
class Timers:
    """One task sleeps until the earliest of the timers that are set.

    Permits are counted by one clock on both sides, all else by the one that stands still with the machine.
    """

    _clock: Clock
    _fire: Callable[[Timer], None]
    _deadlines_s: dict[Timer, float] = attrs.field(factory=dict, init=False)
    _sleep: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    def set(self, timer: Timer, delay_s: float) -> None:
        """Start or restart."""
        self._deadlines_s[timer] = self._now_s(timer) + delay_s
        self._sleep.cancel()

    def cancel(self, timer: Timer) -> None:
        """Make sure that it does not fire."""
        if self._deadlines_s.pop(timer, None) is not None:
            self._sleep.cancel()

    async def run(self) -> None:
        """Fire what is due, until cancelled."""
        while True:
            await trio.lowlevel.checkpoint()
            self._fire_due()
            self._sleep = trio.CancelScope()
            with self._sleep:
                if self._deadlines_s:
                    left_s = min(self._left_s(timer) for timer in self._deadlines_s)
                    await self._clock.sleep_until(self._clock.now() + max(left_s, SHORTEST_S))
                else:
                    await trio.sleep_forever()

    def _fire_due(self) -> None:
        left_s = {timer: self._left_s(timer) for timer in self._deadlines_s}
        for timer in sorted((each for each in left_s if left_s[each] <= 0), key=left_s.__getitem__):
            # A timer that fires may cancel another, or start it anew.
            if timer in self._deadlines_s and self._left_s(timer) <= 0:
                del self._deadlines_s[timer]
                self._fire(timer)

    def _now_s(self, timer: Timer) -> float:
        return self._clock.boottime() if timer is Timer.PERMIT_OUT else self._clock.now()

    def _left_s(self, timer: Timer) -> float:
        return self._deadlines_s[timer] - self._now_s(timer)
