"""What happened in simulated pairs, in numbers, and what of the machine was reached: frozen, and can be added."""

from collections.abc import Iterable
from typing import Final

import attrs

from ctlha_trio.ha import Reason
from ctlha_trio.pair import TRANSITIONS

Move = tuple[str, str]
"""Names of the phases."""

NOT_OF_THE_PAIR: Final = frozenset(
    reason.value
    for reason in (
        Reason.HANDLER_FAILED,
        Reason.COMPONENT_FAILED,
        Reason.MEDIUM_ERROR,
        Reason.DISK_FAILING,
        Reason.COPIES_DIFFER,
        Reason.LINK_FLAPS,
    )
)
"""Reasons that the node gives, around its core: no state of that alone shows them."""
ALL_MOVES: Final = frozenset((phase.name, other.name) for phase, others in TRANSITIONS.items() for other in others)
ALL_REASONS: Final = frozenset(reason.value for reason in Reason) - NOT_OF_THE_PAIR


@attrs.frozen(kw_only=True)
class Totals:
    """Sums over seeds."""

    seeds: int = 0
    events: int = 0
    """Steps of a core."""
    simulated_s: float = 0.0
    idle_s: float = 0.0
    """Of these, jumped over in one step each: nothing but polls of an unchanged record, and the end of permits, could
    happen."""
    operations: int = 0
    done: int = 0
    acknowledged_writes: int = 0
    arbiter_calls: int = 0
    crashes: int = 0
    pauses: int = 0
    partitions: int = 0
    clogs: int = 0
    """Times that one way of the link stopped."""
    silences: int = 0
    """Times that both ways stopped and no end was told."""
    cuts: int = 0
    disk_failures: int = 0
    disks_put_back: int = 0
    arbiter_outages: int = 0
    arbiter_displacements: int = 0
    """Restored from an old copy, or another's record in its place."""
    failovers: int = 0
    handovers: int = 0
    resyncs: int = 0
    faults: int = 0
    """All that acted, whatever they did."""
    verifications: int = 0
    """That compared everything."""
    medium_errors: int = 0
    """Operations that met a block of which no copy that counted was whole."""
    trials: int = 0
    """Times that a part of the pair had to serve, or to halt, by itself."""

    def __add__(self, other: "Totals") -> "Totals":
        """Sum of each."""
        names = [field.name for field in attrs.fields(Totals)]
        return Totals(**{name: getattr(self, name) + getattr(other, name) for name in names})


@attrs.frozen
class Coverage:
    """Transitions of the core and reasons of the verdict that were reached, and faults that acted."""

    moves: frozenset[Move] = frozenset()
    reasons: frozenset[str] = frozenset()
    faults: frozenset[str] = frozenset()

    def __or__(self, other: "Coverage") -> "Coverage":
        """Reached by either."""
        return Coverage(self.moves | other.moves, self.reasons | other.reasons, self.faults | other.faults)

    @property
    def moves_missing(self) -> list[Move]:
        """Legal transitions that did not happen, in order."""
        return sorted(ALL_MOVES - self.moves)

    def faults_missing(self, faults: Iterable[str]) -> list[str]:
        """Those that never acted, in order."""
        return sorted(set(faults) - self.faults)

    @property
    def reasons_missing(self) -> list[str]:
        """Reasons that no node gave, in order."""
        return sorted(ALL_REASONS - self.reasons)
