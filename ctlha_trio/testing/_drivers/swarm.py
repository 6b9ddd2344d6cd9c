"""What a seed lets go wrong, and how often: each run has its own selection of faults, as a swarm has."""

from collections.abc import Mapping
from random import Random
from typing import Final

import attrs

from ctlha_trio.store import GROUP_BYTES
from ctlha_trio.testing._drivers.atlas import DRAWN, FATAL_TO_COPY, Fault
from ctlha_trio.testing._drivers.chance import Latency, happens
from ctlha_trio.testing._power.medium import SECTOR_BYTES

SMALL_BYTES: Final = 64 * 1024
LARGE_BYTES: Final = 2_500 * 1024
"""Three ranges of a resync, so that writes come before, into and behind the one that is being copied."""

_SELDOM: Final = frozenset({Fault.CRASH_BOTH, *FATAL_TO_COPY})
"""After these most of a run is a return, in which little else can be seen."""
_FORCE_S: Final = 5.0, 30.0
"""Mean time from one forced change to an operator who looks for the next node that needs it."""


@attrs.frozen(kw_only=True)
class Swarm:
    """Drawn from a seed, before anything happens."""

    size_bytes: int
    safety_s: float
    """Length of the phase in which faults happen."""
    intervals_s: Mapping[Fault, float]
    """Mean time between two of a kind; a kind that is not here does not happen."""
    clients: int
    think_s: float
    """Mean time between a client's answer and its next operation."""
    patience_s: float
    """After which a client gives an answer up."""
    sectors: tuple[int, ...]
    """Where operations begin: few, so that they meet."""
    reads: float
    """Share of all operations."""
    flushes: float
    zeroes: float
    """Share of operations that write zeros or unmap."""
    compares: float
    records: float
    """Share of those that put records or read them."""
    disks: Mapping[str, Latency]
    arbiter: Latency
    drifts: Mapping[str, float]
    """Rate of each node's clock at the start."""
    core_first: bool
    """Whether, before everything is healed, one member and the arbiter are, and must serve."""
    halts: bool
    """Whether the run ends with a fault that two copies do not survive."""
    wears_out: bool
    """Whether, before that, blocks decay of which no copy is whole, or more than a healthy disk loses."""
    copies_differ: bool
    """Whether, before that, a copy changes without a trace, and is compared with the other one."""
    forces: bool
    """Whether, before that, the only member is said to be off for good, and the other node is forced."""
    restores: bool
    """Whether, before that, the arbiter is restored from an old copy, until its newest record is back."""
    gives_back: bool
    """Whether, before that, the role is to go back by itself to a node that is preferred."""
    programs_fail: bool
    """Whether nodes have a component and a handler, which fail now and then, and once the pair is together."""

    def alone(self) -> "Swarm":
        """The same without what is tried beside the faults of a run."""
        return attrs.evolve(
            self,
            core_first=False,
            halts=False,
            wears_out=False,
            copies_differ=False,
            forces=False,
            restores=False,
            gives_back=False,
            programs_fail=False,
        )

    @property
    def faults(self) -> str:
        """The kinds, in words."""
        return ", ".join(fault.name.lower().replace("_", "-") for fault in self.intervals_s) or "none"


def draw_swarm(seed: int, names: tuple[str, ...]) -> Swarm:
    """The same for the same seed, on any machine."""
    random = Random(f"swarm {seed}")
    large = happens(random, 0.15)
    size_bytes = LARGE_BYTES if large else SMALL_BYTES
    share = random.choice([0.1, 0.3, 0.5])
    weights = {fault: _weight(random, fault) for fault in (*DRAWN, *FATAL_TO_COPY) if happens(random, share)}
    gap_s = random.choice([0.7, 2.0, 5.0])
    intervals_s = {fault: gap_s * sum(weights.values()) / weight for fault, weight in weights.items()}
    # Apart from all else, which stays what it is for a seed.
    of_operators = Random(f"operators {seed}")
    if happens(of_operators, share):
        intervals_s[Fault.FORCE] = of_operators.uniform(*_FORCE_S)
    return Swarm(
        size_bytes=size_bytes,
        safety_s=random.uniform(20, 60),
        intervals_s=intervals_s,
        clients=random.randint(2, 6),
        think_s=random.choice([0.05, 0.2, 0.5]),
        patience_s=random.choice([1.0, 5.0, 20.0]),
        sectors=_draw_sectors(random, size_bytes),
        reads=random.choice([0.2, 0.5]),
        flushes=random.choice([0.0, 0.05, 0.2]),
        disks={name: _draw_latency(random, 0.01) for name in names},
        arbiter=_draw_latency(random, 0.05),
        drifts={name: random.choice([1.0, 1.0, random.uniform(0.95, 1.05)]) for name in names},
        core_first=happens(random, 0.4),
        halts=happens(random, 0.1),
        wears_out=happens(random, 0.1),
        zeroes=random.choice([0.0, 0.05, 0.2]),
        compares=random.choice([0.0, 0.05, 0.2]),
        records=random.choice([0.0, 0.05, 0.2]),
        copies_differ=happens(random, 0.15),
        programs_fail=happens(random, 0.15),
        forces=happens(of_operators, 0.2),
        restores=happens(of_operators, 0.2),
        gives_back=happens(of_operators, 0.15),
    )


def _draw_sectors(random: Random, size_bytes: int) -> tuple[int, ...]:
    """The same ones in each group: there lies what a write that goes astray was to overwrite."""
    group_sectors, count = GROUP_BYTES // SECTOR_BYTES, size_bytes // SECTOR_BYTES
    groups = range(0, count, group_sectors)
    within = random.sample(range(min(count, group_sectors) - 4), random.choice([3, 8, 20]) // len(groups))
    return tuple(sorted(first + at for first in groups for at in within if first + at <= count - 4))


def _weight(random: Random, fault: Fault) -> float:
    """Against the other kinds."""
    return random.choice([1.0, 4.0]) * (0.25 if fault in _SELDOM else 1.0)


def _draw_latency(random: Random, slow_s: float) -> Latency:
    mean_s = random.choice([slow_s / 100, slow_s / 10, slow_s])
    return Latency(mean_s, spike_s=random.choice([10, 50]) * slow_s, spike_chance=random.choice([0.0, 0.01, 0.05]))
