"""Counted returns of the peer, and for how long a node waits before it takes it in again.

A flap is a session that was lost and begins anew between the same two processes: the link's fault, unless one of them
ended it on purpose, so that a resync begins anew. A restart is one that begins with another process of the peer's: one
that dies again and again has a fault of its own. Each is counted for itself.

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

RETURNS_LIMIT: Final = 4
"""Of one kind within the window. A switch that restarts makes one or two flaps, an upgrade one or two restarts."""
RETURN_WINDOW_S: Final = 300.0
"""A peer that was not lost for so long is trusted again."""
FIRST_QUIET_S: Final = 5.0
"""For how long the session must have held when the limit is reached; twice that for each return more."""
QUIET_MAX_S: Final = 30.0
"""However often it returns: for that long the pair may have one member less than it could."""
RETURNS_KEPT: Final = 32
"""More do not change the wait."""


@attrs.define(eq=False)
class ReturnCount:
    """Of one kind. Pure: it is told the time, in seconds of one clock."""

    _returns_s: deque[float] = attrs.field(factory=lambda: deque(maxlen=RETURNS_KEPT), init=False)

    def note(self, now_s: float) -> None:
        """One more."""
        self._returns_s.append(now_s)

    def count(self, now_s: float) -> int:
        """How many there were within the window."""
        return sum(return_s > now_s - RETURN_WINDOW_S for return_s in self._returns_s)

    def too_many(self, now_s: float) -> bool:
        """Whether what causes them is not to be trusted for now."""
        return self.count(now_s) >= RETURNS_LIMIT

    def quiet_at_s(self, now_s: float) -> float:
        """When the peer may be taken in if there is no other one; ``now_s`` or earlier for at once."""
        above = self.count(now_s) - RETURNS_LIMIT
        if above < 0:
            return now_s
        return self._returns_s[-1] + min(FIRST_QUIET_S * 2.0**above, QUIET_MAX_S)

    def waits(self, now_s: float) -> bool:
        """Whether that time is not yet."""
        return self.quiet_at_s(now_s) > now_s


@attrs.define(eq=False)
class PeerReturns:
    """Both kinds."""

    flaps: ReturnCount = attrs.field(factory=ReturnCount, init=False)
    restarts: ReturnCount = attrs.field(factory=ReturnCount, init=False)
    _peer_incarnation: int = attrs.field(default=0, init=False)

    def returned(self, now_s: float, peer_incarnation: int, *, on_purpose: bool = False) -> None:
        """A session begins. The first is no return; nor is one if the last was ended ``on_purpose``, by either node."""
        before, self._peer_incarnation = self._peer_incarnation, peer_incarnation
        if before and before != peer_incarnation:
            self.restarts.note(now_s)
        elif before and not on_purpose:
            self.flaps.note(now_s)

    def quiet_at_s(self, now_s: float) -> float:
        """When the peer may be taken in by both."""
        return max(kind.quiet_at_s(now_s) for kind in (self.flaps, self.restarts))
