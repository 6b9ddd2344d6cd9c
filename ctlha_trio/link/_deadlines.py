"""What ends at a certain time unless it has ended before."""

import math
from collections.abc import Callable
from contextlib import suppress

import attrs
import trio

from ctlha_trio.link._deadline import finish_by
from ctlha_trio.seams import Clock


@attrs.define(eq=False)
class Deadlines:
    """Of one session: its transfers' and its keys'. They are kept only as long as what they belong to."""

    _clock: Clock
    _due: dict[object, tuple[float, Callable[[], None]]] = attrs.field(factory=dict, init=False)
    """When, and what then, by what it belongs to."""
    _awaited_s: float = attrs.field(default=math.inf, init=False)
    _sooner: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    """Unparked when one is due before what is awaited. A cancellation would keep the frames of whoever adds that one,
    and the memory that lies in them, until the next step of ``run``."""

    def __len__(self) -> int:
        """How many there are."""
        return len(self._due)

    def add(self, whose: object, due_s: float, end: Callable[[], None]) -> None:
        """Call ``end`` at ``due_s``, from the session's tasks. It must not raise."""
        self._due[whose] = due_s, end
        if due_s < self._awaited_s:
            self._sooner.unpark_all()

    def discard(self, whose: object) -> None:
        """It has ended, or has no deadline."""
        self._due.pop(whose, None)

    async def run(self) -> None:
        """Keep time until cancelled."""
        while True:
            self._awaited_s = min((due_s for due_s, _ in self._due.values()), default=math.inf)
            if self._awaited_s <= self._clock.now():
                self._end_all_due(self._clock.now())
                await trio.lowlevel.checkpoint()  # who is told may begin another one that is due already
            elif self._due:
                with suppress(trio.TooSlowError):
                    await finish_by(self._clock, self._awaited_s, self._sooner.park)
            else:
                await self._sooner.park()

    def _end_all_due(self, now: float) -> None:
        for whose, (due_s, end) in sorted(self._due.items(), key=lambda each: each[1][0]):
            # One that has ended may have ended others.
            if due_s <= now and self._due.pop(whose, None) is not None:
                end()
