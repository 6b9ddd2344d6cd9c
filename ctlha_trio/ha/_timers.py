"""The core's named timers on the node's clock."""

from collections.abc import Callable

import attrs
import trio

from ctlha_trio.pair.events import Timer
from ctlha_trio.seams import Clock


@attrs.define(eq=False)
class Timers:
    """One task sleeps until the earliest of the timers that are set."""

    _clock: Clock
    _fire: Callable[[Timer], None]
    _deadlines_s: dict[Timer, float] = attrs.field(factory=dict, init=False)
    _sleep: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    def set(self, timer: Timer, delay_s: float) -> None:
        """Start or restart."""
        self._deadlines_s[timer] = self._clock.now() + delay_s
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
                    await self._clock.sleep_until(min(self._deadlines_s.values()))
                else:
                    await trio.sleep_forever()

    def _fire_due(self) -> None:
        now_s = self._clock.now()
        due = [timer for timer, deadline_s in self._deadlines_s.items() if deadline_s <= now_s]
        for timer in sorted(due, key=lambda each: self._deadlines_s[each]):
            # A timer that fires may cancel another.
            if self._deadlines_s.get(timer, now_s + 1) <= now_s:
                del self._deadlines_s[timer]
                self._fire(timer)
