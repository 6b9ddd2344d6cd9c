"""What happened in simulated pairs, in numbers, and what of the machine was reached: frozen, and can be added."""

from typing import Final

import attrs

from ctlha_trio.ha import Reason
from ctlha_trio.pair import TRANSITIONS

Move = tuple[str, str]
"""Names of the phases."""

NOT_OF_THE_PAIR: Final = frozenset({Reason.HANDLER_FAILED.value, Reason.COMPONENT_FAILED.value})
"""Reasons that the supervisor gives: no state of the core alone shows them."""
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
    """Of these, jumped over in one step each: nothing but polls of an unchanged record could happen."""
    operations: int = 0
    done: int = 0
    acknowledged_writes: int = 0
    arbiter_calls: int = 0
    crashes: int = 0
    pauses: int = 0
    partitions: int = 0
    cuts: int = 0
    disk_failures: int = 0
    disks_put_back: int = 0
    arbiter_outages: int = 0
    arbiter_displacements: int = 0
    """Restored from an old copy, or another's record in its place."""
    failovers: int = 0
    handovers: int = 0
    resyncs: int = 0
    trials: int = 0
    """Times that a part of the pair had to serve, or to halt, by itself."""

    def __add__(self, other: "Totals") -> "Totals":
        """Sum of each."""
        names = [field.name for field in attrs.fields(Totals)]
        return Totals(**{name: getattr(self, name) + getattr(other, name) for name in names})


@attrs.frozen
class Coverage:
    """Transitions of the core and reasons of the verdict that were reached, and faults that were done."""

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

    @property
    def reasons_missing(self) -> list[str]:
        """Reasons that no node gave, in order."""
        return sorted(ALL_REASONS - self.reasons)
