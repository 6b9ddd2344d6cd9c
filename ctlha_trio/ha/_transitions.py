"""What ``status`` and the program's log tell of changes of phase, and how many of them."""

from collections import deque
from typing import Final

import attrs

from ctlha_trio._repeats import Repeats
from ctlha_trio.pair import PairState, Phase, actions

TRANSITIONS_KEPT: Final = 64
"""A failover and a return have about ten."""
_GOES_ON: Final = frozenset({Phase.MIRRORING, Phase.FOLLOWING, Phase.OUTDATED})
"""Phases that end a row of tries."""


@attrs.frozen
class Transition:
    """One change of phase or epoch."""

    at_s: float
    """On the node's monotonic clock, which every process of one machine shares."""
    what: str
    epoch: int


def tries_again(state: PairState) -> bool:
    """Whether the node moves to and fro to have the arbiter take what it did not."""
    return state.untaken > 0 and state.phase not in _GOES_ON


@attrs.define(eq=False)
class Transitions:
    """The latest, oldest first. Tries of what the arbiter refuses again and again are told once, and then rarely."""

    kept: deque[Transition] = attrs.field(factory=lambda: deque(maxlen=TRANSITIONS_KEPT), init=False)
    _repeats: Repeats = attrs.field(factory=Repeats, init=False)

    def note(self, now_s: float, action: actions.Moved, *, again: bool) -> str | None:
        """The line for the log; None if it is another try of what was told. ``again``: a try before was not taken."""
        what = describe_move(action)
        if not again:
            self._repeats.forget()
        line = self._repeats.came(now_s, f"{what}, epoch {action.epoch}", kind=what)
        if line is not None:
            self.kept.append(Transition(now_s, what, action.epoch))
        return line


def describe_move(action: actions.Moved) -> str:
    """The phase and why."""
    return f"{action.phase.name.lower().replace('_', '-')}: {action.why}"
