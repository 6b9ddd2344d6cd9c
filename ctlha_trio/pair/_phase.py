"""The phases of a node in the pair, and every legal step from one to another.

This table is the machine: no phase changes but along it, and the diagram of the documentation is made from it.
"""

from enum import Enum
from typing import TYPE_CHECKING


class Phase(Enum):
    """Where a node stands. The numbers are those on the wire."""

    BOOTING = 1
    """Asks the arbiter; knows nothing yet."""
    WAITING = 2
    """The record names both nodes, but this one runs anew: waits for the peer, a bounded time."""
    CLAIMING = 3
    """Has proposed to be the sole member; acknowledges nothing until the outcome is known."""
    SECURING = 4
    """Won; persists it and drains what it still writes before it serves."""
    ALONE = 5
    """Sole member and primary: serves, and brings a returning peer up to date."""
    ADMITTING = 6
    """Sole member and primary, holding operations while the peer becomes a member."""
    MIRRORING = 7
    """Primary of two members, with a live session: serves."""
    FOLLOWING = 8
    """Secondary of two members, with a live session: writes what the primary sends, and serves reads."""
    HANDING_OVER = 9
    """Primary of two members, holding operations while the peer becomes primary."""
    SUSPENDED = 10
    """A member that may not serve: one of two without a usable session, or a sole one whose peer has told of a later
    record. Acknowledges nothing, will claim or resume."""
    OUTDATED = 11
    """No member: serves nothing, waits for a source."""
    RESYNCING = 12
    """No member: its copy is being overwritten from the source."""
    STOPPED = 13
    """Will not go on without a person."""
    LEFT = 14
    """Said goodbye; acknowledges nothing any more."""

    if not TYPE_CHECKING:
        # As good as that of Enum, which is a Python function: phases are looked up at every step.
        __hash__ = object.__hash__


_ANY_END = frozenset({Phase.STOPPED, Phase.LEFT})
_DECIDED = frozenset({Phase.WAITING, Phase.CLAIMING, Phase.OUTDATED})
"""What a record that was read afresh can lead to."""

TRANSITIONS: dict[Phase, frozenset[Phase]] = {
    Phase.BOOTING: _DECIDED | _ANY_END,
    Phase.WAITING: _DECIDED | _ANY_END,
    Phase.CLAIMING: _DECIDED | {Phase.SECURING, Phase.SUSPENDED} | _ANY_END,
    Phase.SECURING: _DECIDED | {Phase.ALONE, Phase.SUSPENDED} | _ANY_END,
    Phase.ALONE: _DECIDED | {Phase.ADMITTING, Phase.SUSPENDED} | _ANY_END,
    Phase.ADMITTING: _DECIDED | {Phase.ALONE, Phase.MIRRORING, Phase.SUSPENDED} | _ANY_END,
    Phase.MIRRORING: _DECIDED | {Phase.HANDING_OVER, Phase.SUSPENDED} | _ANY_END,
    Phase.FOLLOWING: _DECIDED | {Phase.MIRRORING, Phase.SUSPENDED} | _ANY_END,
    Phase.HANDING_OVER: _DECIDED | {Phase.FOLLOWING, Phase.MIRRORING, Phase.SUSPENDED} | _ANY_END,
    Phase.SUSPENDED: _DECIDED | {Phase.MIRRORING, Phase.FOLLOWING} | _ANY_END,
    Phase.OUTDATED: _DECIDED | {Phase.RESYNCING} | _ANY_END,
    Phase.RESYNCING: _DECIDED | {Phase.FOLLOWING} | _ANY_END,
    Phase.STOPPED: frozenset({Phase.LEFT}),
    Phase.LEFT: frozenset(),
}

MEMBERS = frozenset({Phase.MIRRORING, Phase.FOLLOWING, Phase.HANDING_OVER})
"""One of two members in a live session with the other."""
SERVING = frozenset({Phase.MIRRORING, Phase.ALONE})
"""Operations start and are answered."""
HOLDING = frozenset({Phase.SECURING, Phase.ADMITTING, Phase.HANDING_OVER})
"""Operations are accepted and wait; so they do in SUSPENDED and CLAIMING where this node was primary."""
ACCEPTING = frozenset({Phase.FOLLOWING, Phase.RESYNCING})
"""The peer's writes are executed."""
