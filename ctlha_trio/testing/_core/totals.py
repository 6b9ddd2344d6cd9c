"""What happened in simulated pairs, in numbers, and what of the machine was reached: frozen, and can be added."""

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any, Final

import attrs

from ctlha_trio.ha import Reason
from ctlha_trio.pair import TRANSITIONS, Record

Move = tuple[str, str]
"""Names of the phases."""

NOT_OF_THE_PAIR: Final = frozenset(
    reason.value
    for reason in (
        Reason.HANDLER_FAILED,
        Reason.COMPONENT_FAILED,
        Reason.COMPONENT_RAISED,
        Reason.COMPONENT_ERROR,
        Reason.COMPONENT_STARTING,
        Reason.PEER_COMPONENTS,
        Reason.MEDIUM_ERROR,
        Reason.FILE_GONE,
        Reason.DISK_FAILING,
        Reason.PEER_DISK_FAILING,
        Reason.COPIES_DIFFER,
        Reason.LINK_FLAPS,
        Reason.PEER_RESTARTS,
        Reason.DISK_HANGS,
    )
)
"""Reasons that the node gives, around its core: no state of that alone shows them."""
ALL_MOVES: Final = frozenset((phase.name, other.name) for phase, others in TRANSITIONS.items() for other in others)
_OF_TAKE_OVERS: Final = frozenset(
    reason.value for reason in (Reason.COMPONENT_WAITS, Reason.COMPONENT_NEEDS_FENCE, Reason.COMPONENT_NOT_RELEASED)
)
"""Reasons of a component that runs where the role is. No simulated node has one."""
ALL_REASONS: Final = frozenset(reason.value for reason in Reason) - NOT_OF_THE_PAIR - _OF_TAKE_OVERS


_TOLD: Final = "told"
_DEPTHS: Final = "depths"


class Depth(Enum):
    """How much of the code runs in a simulated world."""

    CORES = "cores"
    NODES = "whole nodes"
    LINKS = "links"


_PAIRS: Final = Depth.CORES, Depth.NODES


def _summed(told: str, zero: Any = 0, *, of: tuple[Depth, ...] = _PAIRS) -> Any:
    """A total, what it counts in words, and at which depths there is such a thing."""
    return attrs.field(default=zero, metadata={_TOLD: told, _DEPTHS: of})


@attrs.frozen(kw_only=True)
class Totals:
    """Sums over seeds. ``told`` has what each is of."""

    seeds: int = _summed("runs, each from one number", of=tuple(Depth))
    events: int = _summed(
        "steps of a node's pair core; of links, whatever happens to a message or a transfer", of=tuple(Depth)
    )
    simulated_s: float = _summed("seconds on the clock of the simulated world", 0.0, of=tuple(Depth))
    idle_s: float = _summed(
        "of these, jumped over: only looks at an unchanged record, and the end of permits, could happen",
        0.0,
        of=(Depth.CORES,),
    )
    operations: int = _summed("operations that clients asked for")
    done: int = _summed("of these, answered as done; others were refused, or their node ended")
    acknowledged_writes: int = _summed("of these, writes: none of them may be lost")
    arbiter_calls: int = _summed("reads of the record, and swaps of it")
    crashes: int = _summed(
        "processes that ended without a goodbye: killed, without power, switched off", of=tuple(Depth)
    )
    stops: int = _summed("processes that an operator asked to end")
    pauses: int = _summed("processes that stood still")
    partitions: int = _summed("times that a node, or both, did not hear the other any more")
    partitions_one_way: int = _summed("of these, one node alone; some end before anybody notices")
    cuts: int = _summed("connections that broke, and could be made again at once")
    disk_failures: int = _summed("disks that failed in a call")
    damage_met: int = _summed("reads, and writes of parts, that met a block which had decayed, or another's write")
    disks_put_back: int = _summed("disks that were put back as they were in an earlier epoch", of=(Depth.CORES,))
    arbiter_outages: int = _summed("times that the arbiter answered nobody, or one node not")
    arbiter_displacements: int = _summed("times that it was restored from an old copy, or had another's record")
    failovers: int = _summed("changes of the primary by a node that went on alone")
    handovers: int = _summed("changes of the primary in which both nodes stayed members")
    resyncs: int = _summed("copies that had been left behind and became members again")
    verifications: int = _summed("comparisons of the copies that came to their end", of=(Depth.CORES,))
    medium_errors: int = _summed("operations that met a block of which no copy that counts was whole")
    messages: int = _summed("messages that links accepted", of=(Depth.LINKS,))
    keys: int = _summed("keys that were given for memory", of=(Depth.LINKS,))
    transfers: int = _summed("pushes and pulls that were started", of=(Depth.LINKS,))
    transfers_done: int = _summed("of these, done", of=(Depth.LINKS,))
    denials: int = _summed("of these, denied by the owner of the memory", of=(Depth.LINKS,))
    sessions: int = _summed("sessions that links had", of=(Depth.LINKS,))
    faults: int = _summed("faults that acted, of all kinds together", of=tuple(Depth))
    trials: int = _summed("times that a part of the pair had to serve, or to halt, by itself")

    @staticmethod
    def told(depth: Depth) -> dict[str, str]:
        """By the name of each total that a world of that depth can come to, what it is of."""
        return {each.name: each.metadata[_TOLD] for each in attrs.fields(Totals) if depth in each.metadata[_DEPTHS]}

    def __add__(self, other: "Totals") -> "Totals":
        """Sum of each."""
        names = [field.name for field in attrs.fields(Totals)]
        return Totals(**{name: getattr(self, name) + getattr(other, name) for name in names})


def changes_of(before: Record, record: Record) -> Iterator[str]:
    """Names of the totals that a new record of the arbiter adds one to."""
    together = len(record.members) > 1
    if before.primary != record.primary:
        yield "handovers" if together else "failovers"
    if len(before.members) < len(record.members):
        yield "resyncs"


@attrs.frozen
class Coverage:
    """What was reached: transitions of the core, reasons of the verdict, situations; and faults that acted."""

    moves: frozenset[Move] = frozenset()
    reasons: frozenset[str] = frozenset()
    faults: frozenset[str] = frozenset()
    situations: frozenset[str] = frozenset()
    """Of cores alone."""

    def __or__(self, other: "Coverage") -> "Coverage":
        """Reached by either."""
        return Coverage(
            self.moves | other.moves,
            self.reasons | other.reasons,
            self.faults | other.faults,
            self.situations | other.situations,
        )

    @property
    def moves_missing(self) -> list[Move]:
        """Legal transitions that did not happen, in order."""
        return sorted(ALL_MOVES - self.moves)

    def faults_missing(self, faults: Iterable[str]) -> list[str]:
        """Those that never acted, in order."""
        return sorted(set(faults) - self.faults)

    def situations_missing(self, situations: Iterable[str]) -> list[str]:
        """Those in which no core was, in order."""
        return sorted(set(situations) - self.situations)

    @property
    def reasons_missing(self) -> list[str]:
        """Reasons of the pair's state that no node gave, in order."""
        return sorted(ALL_REASONS - self.reasons)

    @property
    def node_reasons_missing(self) -> list[str]:
        """Reasons of what is around the pair's core that no node gave, in order."""
        return sorted(NOT_OF_THE_PAIR - self.reasons)
