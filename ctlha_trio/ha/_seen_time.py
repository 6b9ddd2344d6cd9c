"""Time as this process has seen it pass: a machine that stood still finds its clock far ahead, and has done nothing."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import trio

from ctlha_trio.link import finish_by
from ctlha_trio.seams import Clock

LOOK_S: Final = 0.5
"""Between two looks at the clock: what passes beyond it between two looks was seen by nobody."""

Result = TypeVar("Result")


async def seen_after_look(clock: Clock, look_s: float = LOOK_S) -> float:
    """Wait for one look; how much of the time that has passed this process could have used. A checkpoint."""
    looked_s = clock.now()
    await clock.sleep_until(looked_s + look_s)
    return min(clock.now() - looked_s, look_s)


async def finish_in_seen_time(clock: Clock, limit_s: float, function: Callable[[], Awaitable[Result]]) -> Result:
    """Call ``function``, cancel it when it has been seen to run for ``limit_s``; ``trio.TooSlowError`` then.

    Raises what ``function`` raises, not in a group. A clock that jumps costs one look at most. Always a checkpoint.
    """
    return await finish_by(_SeenClock(clock), limit_s, function)


class _SeenClock:
    """A clock of its own for each call, which begins at zero and goes only while somebody looks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen_s = 0.0

    def now(self) -> float:
        return self._seen_s

    def boottime(self) -> float:
        return self._clock.boottime()

    async def sleep_until(self, deadline_s: float) -> None:
        await trio.lowlevel.checkpoint()
        while self._seen_s < deadline_s:
            self._seen_s += await seen_after_look(self._clock, min(LOOK_S, deadline_s - self._seen_s))
