"""Giving the role back to the node that is preferred: when, and when not.

A role that came here by a handover was given by a person, or by the other node's policy. It stays until this node has
had to go on alone, so that two nodes that prefer each other do not hand it to and fro.
"""

from enum import Enum
from typing import Final

import attrs

from ctlha_trio._errors import InvalidError
from ctlha_trio.pair import PairState, Record, handover_obstacles

GIVE_BACK_LOOK_S: Final = 1.0
"""Between two looks, and so the unit of a hold-down."""
HOLD_DOWN_S: Final = 60.0
"""Unless the configuration says otherwise: a node that is going to fail again has mostly done so by then."""
BACKOFF_MAX_S: Final = 3600.0
"""The longest that a hold-down grows to by what went wrong; one that is configured longer stays as it is."""
STABLE_HOLD_DOWNS: Final = 10.0
"""For so many hold-downs the preferred node must keep the role before the one that gave it back is called a success."""


@attrs.frozen(kw_only=True)
class GiveBackPolicy:
    """That the role is to go back by itself."""

    preferred: str
    """The node that is to have it."""
    hold_down_s: float = HOLD_DOWN_S
    """For how long everything must have been well, without a break. ``InvalidError`` if it is below 0, or no number."""

    def __attrs_post_init__(self) -> None:
        if not self.hold_down_s >= 0:
            raise InvalidError(f"a hold-down of {self.hold_down_s} s")


class GiveBackStand(Enum):
    """Where it stands, for the status."""

    NOTHING_TO_DO = "nothing-to-do"
    WAITING = "give-back-waits"
    """The hold-down runs, or cannot begin."""
    BACKED_OFF = "give-back-backed-off"
    """As WAITING, with a longer hold-down: the last one failed, or the role came back."""


@attrs.define(eq=False)
class GiveBack:
    """Pure: it is told what it looks at, and how much of the time before the look the node has seen pass."""

    _me: str
    _policy: GiveBackPolicy
    _hold_down_s: float = attrs.field(init=False)
    _well_s: float = attrs.field(default=0.0, init=False)
    """For how long all has been well."""
    _seen: tuple[int, int] = attrs.field(default=(0, 0), init=False)
    """Sessions and epoch at the last look: a change between two looks is a break too."""
    _was_given: bool = attrs.field(default=False, init=False)
    _since_success_s: float | None = attrs.field(default=None, init=False)
    """Since a role was given back of which it is not known yet whether it stays."""
    _wanted: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._hold_down_s = self._policy.hold_down_s

    def recorded(self, before: Record | None, after: Record) -> None:
        """This node acts on another record. One that it only now finds says nothing of how the role came here."""
        if before is None or after.primary != self._me:
            return
        if len(after.members) == 1:
            self._was_given = False
            if before.primary != self._me and self._since_success_s is not None:
                self._since_success_s = None
                self._back_off()
        elif before.primary != self._me:
            self._was_given = True

    def look(self, state: PairState, seen_s: float, *, trusted: bool) -> bool:
        """Whether the role is to be given back now. ``trusted``: nothing else gives cause for doubt.

        One who is told so calls ``ended`` when it is over.
        """
        self._count_stability(seen_s)
        seen = state.sessions, state.epoch
        unbroken, self._seen = seen == self._seen, seen
        self._wanted = state.primary and state.peer == self._policy.preferred and not self._was_given
        well = self._wanted and trusted and unbroken and not handover_obstacles(state)
        self._well_s = self._well_s + seen_s if well else 0.0
        return self._well_s >= self._hold_down_s

    def ended(self, *, well: bool) -> None:
        """The handover is over."""
        self._well_s = 0.0
        if well:
            self._since_success_s = 0.0
        else:
            self._back_off()

    def _back_off(self) -> None:
        longest_s = max(BACKOFF_MAX_S, self._policy.hold_down_s)
        self._hold_down_s = min(2 * self._hold_down_s, longest_s)

    def _count_stability(self, seen_s: float) -> None:
        if self._since_success_s is not None:
            self._since_success_s += seen_s
            if self._since_success_s >= STABLE_HOLD_DOWNS * self._hold_down_s:
                self._since_success_s = None
                self._hold_down_s = self._policy.hold_down_s

    @property
    def stand(self) -> GiveBackStand:
        """As of the last look."""
        if not self._wanted:
            return GiveBackStand.NOTHING_TO_DO
        backed_off = self._hold_down_s > self._policy.hold_down_s
        return GiveBackStand.BACKED_OFF if backed_off else GiveBackStand.WAITING

    @property
    def left_s(self) -> float | None:
        """Of the hold-down, if all stays well from now on, in seconds; None if there is nothing to give back."""
        return max(0.0, self._hold_down_s - self._well_s) if self._wanted else None
