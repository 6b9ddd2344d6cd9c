"""When a node whose component does not run gives its role away, and when it holds it: not to and fro, however often.

A component that is stuck, has a bug or has answered ERROR is mended by another process, so that of two nodes that are
broken in turn each begins anew before the role comes back, and knows nothing. The one of the two that lives tells it.
"""

from typing import Final

import attrs

from ctlha_trio.ha._component_faults import ComponentFault, FaultKind
from ctlha_trio.pair import Record

RETRIES: Final = 1
"""That a component which answered FAILED has before the role goes: what passes by itself moves nothing."""
COMPONENT_HOLD_DOWN_S: Final = 10.0
"""After a handover to this node, or one that did not come about or last, the role is not given away for so long."""
HOLD_DOWN_MAX_S: Final = 600.0
STABLE_HOLD_DOWNS: Final = 10.0
"""For so many hold-downs the other node must keep the role before the way it went is called a success."""


@attrs.define(eq=False)
class ComponentFailover:
    """When a primary gives its role away for a component. Pure: it is told how much time the node has seen pass.

    Two nodes of which each is broken in turn do not hand the role to and fro: each time that it comes back soon, be it
    because the other one died, the one that gave it away keeps it for twice as long.
    """

    _me: str
    hold_down_s: float = attrs.field(default=COMPONENT_HOLD_DOWN_S, init=False)
    """For which a role is held that came here last."""
    taken_s: float = attrs.field(default=float("inf"), init=False)
    """Since the role came to this process from the peer."""
    _held_s: float = attrs.field(default=float("inf"), init=False)
    """Since the role was handed to this node, or was not taken from it."""
    _given_s: float = attrs.field(default=float("inf"), init=False)
    """Since this node gave it away for a component, or the peer had it from a process before."""

    def recorded(self, before: Record | None, after: Record) -> None:
        """This node acts on another record."""
        if before is None or before.primary == self._me or after.primary != self._me:
            return
        self.taken_s = 0.0
        soon = self._is_soon(self._given_s, self.hold_down_s)
        if len(after.members) > 1 or soon:
            self._held_s = 0.0
        self.hold_down_s = min(2 * self.hold_down_s, HOLD_DOWN_MAX_S) if soon else COMPONENT_HOLD_DOWN_S

    def told(self, taken_s: float, hold_down_s: float) -> None:
        """What the peer knows of itself: since when it has had the role from this node, and how long it holds one."""
        if self._is_soon(taken_s, hold_down_s):
            self._given_s = min(self._given_s, taken_s)
            self.hold_down_s = max(self.hold_down_s, min(hold_down_s, HOLD_DOWN_MAX_S))

    def look(self, faults: tuple[ComponentFault, ...], seen_s: float, *, possible: bool) -> ComponentFault | None:
        """For which fault the role is to be given away now. ``possible``: nothing stands in the way.

        One who is told so calls ``ended`` when it is over.
        """
        self.taken_s += seen_s
        self._held_s += seen_s
        self._given_s += seen_s
        if not possible or self._held_s < self.hold_down_s:
            return None
        return next((fault for fault in faults if fault.kind is not FaultKind.FAILED or fault.times > RETRIES), None)

    def ended(self, *, well: bool) -> None:
        """The handover is over."""
        self._held_s = 0.0
        if well:
            self._given_s = 0.0

    def _is_soon(self, away_s: float, hold_down_s: float) -> bool:
        return away_s < STABLE_HOLD_DOWNS * hold_down_s
