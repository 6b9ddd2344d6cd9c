"""What ``status`` tells of changes of phase, and how many of them."""

from typing import Final

from ctlha_trio.pair import actions

TRANSITIONS_KEPT: Final = 64
"""A failover and a return have about ten."""


def describe_move(action: actions.Moved) -> str:
    """The phase and why."""
    return f"{action.phase.name.lower().replace('_', '-')}: {action.why}"
