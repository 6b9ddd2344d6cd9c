"""How fast everything goes in a simulated pair, in happenings a second, and what goes wrong: drawn for each episode."""

from random import Random
from typing import Final

import attrs

from ctlha_trio.pair import OperationKind
from ctlha_trio.testing._core.faults import FAULTS

SELDOM: Final = 0.03
"""Of the pace of what changes little: a client at a node that sends it away, a poll of a record that is known, a permit
that no read waits for."""
AT_SECONDARY: Final = 0.3
"""Of the pace of clients at a secondary: what they change takes so many happenings that less else would go wrong."""
LATE_RATE: Final = 50.0
"""At which late swaps arrive, where they do: most try again within a quarter of a second, and then it is too late."""
DRAG: Final = 0.01
"""Of the pace of a disk at which only slow calls are under way, and of an arbiter that is slow."""
SUSPICION_S: Final = 0.9
"""Silence after which an end gives its session up."""
EPISODE_STEPS: Final = 150
"""Long enough for a failover, or for a return, with all that can go wrong in it."""
ROUND_STEPS: Final = 3 * EPISODE_STEPS
"""The longer it lasts, the less of it has two members that could come apart."""

_LANE_RATES: Final = (2.5, 250.0, 1000.0, 1000.0)
"""Of calls and messages. The first is as good as stalled while anything else can happen."""
_CLIENT_RATES: Final = (25.0, 100.0, 500.0)
_CONNECT_RATES: Final = (50.0, 1000.0)
_BOOT_RATES: Final = (2.0, 20.0, 150.0)
_RELIEF_RATES: Final = (10.0, 100.0)
CLOCK_FACTORS: Final = (0.1, 1.0, 100.0)
"""Late: a session that was cut is nearly always resumed. Early: hardly ever."""
_WRITE, _READ, _FLUSH = OperationKind.WRITE, OperationKind.READ, OperationKind.FLUSH
_PUT, _RECORDS = OperationKind.PUT_RECORD, OperationKind.READ_RECORDS
_COMPARE, _ZEROES, _UNMAP = OperationKind.COMPARE_AND_WRITE, OperationKind.WRITE_ZEROES, OperationKind.UNMAP
READS_AND_WRITES: Final = ((_WRITE, _WRITE, _READ, _FLUSH), (_WRITE, _READ), (_READ,))
"""A flush holds up everything behind it, and a write the reads of its block: some clients ask for none."""
KINDS: Final = (
    *READS_AND_WRITES,
    (_WRITE, _COMPARE, _READ),
    (_COMPARE, _READ, _ZEROES, _UNMAP, _WRITE),
    (_PUT, _RECORDS, _WRITE),
)
_FAULT_RATES: Final = (0.0, 10.0, 50.0, 200.0)
"""Of all faults together. Without any, what went wrong before may end, and the pair come together."""
_ACTIVE_CHANCE: Final = 0.5
"""Of each fault, that an episode has it."""
_FAULT_SHARE: Final = 0.4
"""Of all faults, that a seed knows."""


@attrs.frozen
class NodePace:
    """Of one node. The default has no clients."""

    link: float = 1000.0
    disk: float = 1000.0
    arbiter: float = 1000.0
    clock: float = 1.0
    """Seconds that its clock counts in one."""
    clients: float = 0.0
    kinds: tuple[OperationKind, ...] = KINDS[0]


@attrs.frozen
class Pace:
    """Of everything. The default is a pair without trouble."""

    nodes: dict[str, NodePace] = attrs.Factory(dict)
    """A node that is not here has the default."""
    connect: float = 1000.0
    boot: float = 150.0
    relief: float = 50.0
    """At which a partition, a pause or an outage ends, each by itself."""
    faults: dict[str, float] = attrs.Factory(dict)

    def of(self, node: str) -> NodePace:
        """Of one node."""
        return self.nodes.get(node, NodePace())


CALM: Final = Pace()


def some_faults(random: Random) -> tuple[str, ...]:
    """Those that one seed knows: fewer kinds at once go further."""
    return tuple(name for name in FAULTS if random.random() < _FAULT_SHARE)


def troubled_pace(
    random: Random,
    nodes: tuple[str, ...],
    faults: tuple[str, ...],
    clocks: tuple[float, ...] = CLOCK_FACTORS,
    kinds: tuple[tuple[OperationKind, ...], ...] = KINDS,
) -> Pace:
    """Some lanes all but stalled, clocks that run far too slow or too fast, some of these faults and clients."""
    active = [name for name in faults if random.random() < _ACTIVE_CHANCE] or list(faults)
    total = random.choice(_FAULT_RATES) if active else 0.0
    share = total / max(1, sum(FAULTS[name].weight for name in active))
    return Pace(
        nodes={
            name: NodePace(
                link=random.choice(_LANE_RATES),
                disk=random.choice(_LANE_RATES),
                arbiter=random.choice(_LANE_RATES),
                clock=random.choice(clocks),
                clients=random.choice(_CLIENT_RATES),
                kinds=random.choice(kinds),
            )
            for name in nodes
        },
        connect=random.choice(_CONNECT_RATES),
        boot=random.choice(_BOOT_RATES),
        relief=random.choice(_RELIEF_RATES),
        faults={name: FAULTS[name].weight * share for name in active} if total else {},
    )
