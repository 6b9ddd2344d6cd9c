"""What ``status`` tells of changes of phase, and how many of them."""

from typing import Final

import attrs

from ctlha_trio.pair import actions

TRANSITIONS_KEPT: Final = 64
"""A failover and a return have about ten."""


@attrs.frozen
class Transition:
    """One change of phase or epoch."""

    at_s: float
    """On the node's monotonic clock, which every process of one machine shares."""
    what: str
    epoch: int


def describe_move(action: actions.Moved) -> str:
    """The phase and why."""
    return f"{action.phase.name.lower().replace('_', '-')}: {action.why}"
