"""Counted flaps of the link, and for how long a node waits before it takes the peer in again.

A flap is a session that was lost and begins anew between the same two processes: one that died and runs anew is no
fault of the link.

What is backed off is one step: that a peer which returns becomes a member. Each time that it does and is lost again
costs the clients a pause, the arbiter two swaps, and every component a way from SINGLE to HA and back. What is never
backed off: suspicion, claiming, taking over and going on alone; the session itself; and the copying of what differs,
which goes on meanwhile, so that a peer that is taken in later is taken in at once. A loss while it waits costs nothing:
the node serves alone, and swaps nothing. Its price is that the pair is that much longer without a second member, which
is why the wait is bounded.
"""

from collections import deque
from typing import Final

import attrs

FLAPS_LIMIT: Final = 4
"""Within the window. A switch that restarts makes one or two."""
FLAP_WINDOW_S: Final = 300.0
FIRST_QUIET_S: Final = 5.0
"""For how long the session must have held when the limit is reached; twice that for each flap more."""
QUIET_MAX_S: Final = 30.0
"""However often it flaps: for that long the pair may have one member less than it could."""
FLAPS_KEPT: Final = 32
"""More do not change the wait."""


@attrs.define(eq=False)
class Flaps:
    """Pure: it is told the time, in seconds of one clock."""

    _peer_incarnation: int = attrs.field(default=0, init=False)
    _flaps_s: deque[float] = attrs.field(factory=lambda: deque(maxlen=FLAPS_KEPT), init=False)

    def returned(self, now_s: float, peer_incarnation: int) -> bool:
        """A session begins. Whether that is a flap."""
        same = peer_incarnation == self._peer_incarnation
        self._peer_incarnation = peer_incarnation
        if same:
            self._flaps_s.append(now_s)
        return same

    def count(self, now_s: float) -> int:
        """How many there were within the window."""
        return sum(flap_s > now_s - FLAP_WINDOW_S for flap_s in self._flaps_s)

    def too_many(self, now_s: float) -> bool:
        """Whether the link is not to be trusted for now."""
        return self.count(now_s) >= FLAPS_LIMIT

    def quiet_at_s(self, now_s: float) -> float:
        """When the peer may be taken in if the session is not lost again; ``now_s`` or earlier for at once."""
        above = self.count(now_s) - FLAPS_LIMIT
        if above < 0:
            return now_s
        return self._flaps_s[-1] + min(FIRST_QUIET_S * 2.0**above, QUIET_MAX_S)
