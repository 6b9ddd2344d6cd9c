"""A node's own clock over Trio's: it drifts, jumps and stands still, but never goes back."""

import math

import attrs
import trio


@attrs.define(eq=False)
class NodeClock:
    """Made at some moment of Trio's clock; from then on it goes at its own rate."""

    _base_s: float
    """What it shows at ``_since_s``."""
    _rate: float = 1.0
    """Its seconds in one of Trio's."""
    _since_s: float = attrs.field(factory=trio.current_time, init=False)
    _made_s: float = attrs.field(factory=trio.current_time, init=False)
    _true_rate: float = attrs.field(init=False)
    """Of the time that nothing but time moves."""
    _stands: bool = attrs.field(default=False, init=False)
    _set: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    def __attrs_post_init__(self) -> None:
        self._true_rate = self._rate

    def boottime(self) -> float:
        """Seconds: on while the machine stands still, and no faster for what makes ``now`` jump or drift."""
        return (trio.current_time() - self._made_s) * self._true_rate

    def now(self) -> float:
        """Seconds."""
        return self._base_s if self._stands else self._at(trio.current_time())

    async def sleep_until(self, deadline_s: float) -> None:
        """Return once ``now()`` is ``deadline_s`` or later; while it stands still, not even then. A checkpoint."""
        await trio.lowlevel.checkpoint()
        while self._stands or self.now() < deadline_s:
            with trio.move_on_at(math.inf if self._stands else self._shows_at(deadline_s)):
                await self._set.park()

    def drift(self, rate: float) -> None:
        """Go on at another rate."""
        self._set_to(self.now())
        self._rate = rate

    def jump(self, seconds: float) -> None:
        """Go forward at once, as after the suspension of a machine."""
        self._set_to(self.now() + seconds)

    def stop(self) -> None:
        """Stand still."""
        self._set_to(self.now())
        self._stands = True

    def go_on(self, *, jumps: bool) -> None:
        """Go again: with the time that has passed, as for a process that was stopped, or without it."""
        self._stands = False
        self._set_to(self.now() if jumps else self._base_s)

    def _set_to(self, now_s: float) -> None:
        self._base_s, self._since_s = now_s, trio.current_time()
        self._set.unpark_all()

    def _at(self, trio_s: float) -> float:
        return self._base_s + (trio_s - self._since_s) * self._rate

    def _shows_at(self, deadline_s: float) -> float:
        """The first moment of Trio's clock that rounding does not leave before the deadline."""
        trio_s = self._since_s + (deadline_s - self._base_s) / self._rate
        late_s = math.ulp(trio_s) if math.isfinite(trio_s) else 0.0
        while self._at(trio_s) < deadline_s:
            trio_s += late_s
            late_s *= 2
        return trio_s
