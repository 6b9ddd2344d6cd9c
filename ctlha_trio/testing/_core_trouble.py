"""How fast everything goes in a simulated pair, and what goes wrong how often: drawn anew for each episode."""

from collections.abc import Callable
from random import Random

import attrs

from ctlha_trio.pair import OperationKind

EPISODE_STEPS = 150
"""Long enough for a failover, or for a return, with all that can go wrong in it."""

LANES = ("link", "disk", "arbiter")
_LANE_RATES = (0.05, 5.0, 20.0, 20.0)
"""The first is as good as stalled while anything else can happen."""
FAULTS = {
    "cut": 2.0,
    "crash": 0.4,
    "part": 0.4,
    "fail_arbiter": 0.5,
    "apply_late": 1.0,
    "hand_over": 2.0,
    "leave": 0.1,
    "fail_disk": 0.1,
}
"""Rates against each other: after the last ones it takes a whole return until much can go wrong again."""
_WRITE, _READ, _FLUSH = OperationKind.WRITE, OperationKind.READ, OperationKind.FLUSH
_KINDS = ((_WRITE, _WRITE, _READ, _FLUSH), (_WRITE, _READ), (_READ,))
"""A flush holds up everything behind it, and a write the reads of its block: some clients ask for none."""
TIMER_RATES = (0.02, 0.2, 5.0)
"""Late: a session that was cut is nearly always resumed. Early: hardly ever."""
_FAULT_RATES = (0.0, 0.0, 0.2, 1.0)

Choices = list[tuple[float, Callable[[], None]]]
"""What may happen next, with its weight."""


@attrs.frozen
class Pace:
    """Weights of what may happen, relative to each other. The default is a pair without trouble or clients."""

    lanes: dict[tuple[str, str], float] = attrs.Factory(dict)
    timers: float = 0.2
    clients: dict[str, float] = attrs.Factory(dict)
    """By node; none asks a node that is not here."""
    kinds: dict[str, tuple[OperationKind, ...]] = attrs.Factory(dict)
    """By node, what its clients ask for."""
    connect: float = 20.0
    faults: dict[str, float] = attrs.Factory(dict)

    def lane(self, node: str, lane: str) -> float:
        """Of one lane of one node."""
        return self.lanes.get((node, lane), _LANE_RATES[-1])


CALM = Pace()


def troubled_pace(
    random: Random, nodes: tuple[str, ...], faults: tuple[str, ...], timers: tuple[float, ...] = TIMER_RATES
) -> Pace:
    """Some lanes all but stalled, one of these rates of timers, some of these faults."""
    return Pace(
        lanes={(node, lane): random.choice(_LANE_RATES) for node in nodes for lane in LANES},
        timers=random.choice(timers),
        clients={node: random.choice([0.5, 2.0, 10.0]) for node in nodes},
        kinds={node: random.choice(_KINDS) for node in nodes},
        connect=random.choice([1.0, 20.0]),
        faults={fault: FAULTS[fault] * random.choice(_FAULT_RATES) for fault in faults},
    )
