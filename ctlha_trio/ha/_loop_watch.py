"""The watchdog of the node's own event loop: how late it runs, measured by a task that means to wake on time."""

import logging
from collections import deque
from typing import Final

import attrs

from ctlha_trio.seams import Clock

LOOP_LOOK_S: Final = 0.1
"""As often as heartbeats are sent: what is shorter holds up none of them."""
LOOP_STALL_S: Final = 0.45
"""Half of the silence after which the peer takes a node for lost."""
LATENESS_KEPT_S: Final = 60.0
"""How long a stall is told of: whoever looks within a minute of it finds its cause."""

_LOG: Final = logging.getLogger(__name__)


@attrs.define(eq=False)
class LoopWatch:
    """Measures, and tells; what must not happen after a stall is guarded by the session, the permits and the record.

    A loop that stood still cannot be told from a machine that did: neither could do anything meanwhile.
    """

    _clock: Clock
    _latest: deque[tuple[float, float]] = attrs.field(factory=deque, init=False)
    """When the loop was late and by how much, in seconds: each entry less than those before it."""

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            due_s = self._clock.now() + LOOP_LOOK_S
            await self._clock.sleep_until(due_s)
            self._woke(self._clock.now(), due_s)

    def _woke(self, now_s: float, due_s: float) -> None:
        late_s = now_s - due_s
        if late_s >= LOOP_STALL_S:
            _LOG.warning("the event loop, or the whole machine, stood still for %.2f s", late_s)
        while self._latest and self._latest[-1][1] <= late_s:
            self._latest.pop()
        self._latest.append((now_s, late_s))
        self._forget(now_s)

    def _forget(self, now_s: float) -> None:
        while self._latest and self._latest[0][0] <= now_s - LATENESS_KEPT_S:
            self._latest.popleft()

    @property
    def late_s(self) -> float:
        """The most by which the loop was late in the last ``LATENESS_KEPT_S``, in seconds."""
        self._forget(self._clock.now())
        return max(0.0, self._latest[0][1]) if self._latest else 0.0

    @property
    def stalled(self) -> bool:
        """Whether it stood still long enough to come near to being taken for lost."""
        return self.late_s >= LOOP_STALL_S
