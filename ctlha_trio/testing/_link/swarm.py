"""What a seed gives its links to work with, and how often which fault strikes them."""

from collections.abc import Mapping
from random import Random
from typing import Final

import attrs

from ctlha_trio.testing._drivers.chance import happens
from ctlha_trio.testing._link.atlas import Situation
from ctlha_trio.testing._pairs.pair_faults import NAMES

FAULTS: Final = (
    Situation.CUT,
    Situation.ONE_WAY,
    Situation.CLOG,
    Situation.DELAY,
    Situation.RESET,
    Situation.CRASH,
    Situation.KILL,
    Situation.STOP,
    Situation.REST,
    Situation.DROP,
    Situation.FLAP,
    Situation.JUMP,
    Situation.HANG,
    Situation.EPOCH,
)
"""What strikes by itself, each in some seeds."""
BUFFERS_BYTES: Final = 900, 6_000, 64 * 1024, 256 * 1024
"""Of a socket: from one that takes a message in parts to one that holds a fragment."""
PACE_BYTES_S: Final = 3_000_000
"""At the least, so that a fragment is there before its sender is believed dead."""


@attrs.frozen(kw_only=True)
class ChannelPlan:
    """One channel, as both ends open it."""

    number: int
    slot_size: int
    slots: Mapping[str, int]
    """By the name of the end."""
    answered: bool
    hears: bool
    """Whether its events go straight to its consumer."""
    stays_stopped: bool
    """Whether nobody takes its messages in the end, while all others must get on."""


@attrs.frozen(kw_only=True)
class LinkSwarm:
    """Drawn from a seed, before anything happens."""

    buffer_bytes: int
    latency_s: float
    trouble_s: float
    channels: tuple[ChannelPlan, ...]
    intervals_s: Mapping[Situation, float]
    """Mean time between two of a kind; a kind that is not here does not happen."""
    send_s: float
    """Mean time between two bursts of a sender."""
    move_s: float
    """Mean time between two transfers of an end."""
    sizes: tuple[int, ...]
    """Of memories that are registered."""
    drifts: Mapping[str, float]

    @property
    def faults(self) -> str:
        """The kinds, in words."""
        return ", ".join(fault.name.lower() for fault in self.intervals_s) or "none"


def draw_link_swarm(seed: int) -> LinkSwarm:
    """The same for the same seed, on any machine."""
    random = Random(f"link swarm {seed}")
    buffer_bytes = random.choice(BUFFERS_BYTES)
    share = random.choice([0.15, 0.3, 0.5])
    gap_s = random.choice([0.5, 1.0, 2.0])
    kinds = [fault for fault in FAULTS if happens(random, share)]
    large = 300_000 if buffer_bytes < BUFFERS_BYTES[2] else 600_000
    return LinkSwarm(
        buffer_bytes=buffer_bytes,
        latency_s=min(0.02, buffer_bytes / PACE_BYTES_S) * random.uniform(0.2, 1.0),
        trouble_s=random.uniform(5, 9),
        channels=tuple(_draw_channel(random, number) for number in range(1, random.randint(2, 4) + 1)),
        intervals_s={fault: gap_s * len(kinds) * random.choice([0.5, 1.0, 2.0]) for fault in kinds},
        send_s=random.choice([0.05, 0.2, 0.5]),
        move_s=random.choice([0.05, 0.15, 0.4]),
        sizes=random.choice([(1, 16, 4096), (4096, large), (7, 70_000, large)]),
        drifts={name: random.choice([1.0, random.uniform(0.98, 1.02)]) for name in NAMES},
    )


def _draw_channel(random: Random, number: int) -> ChannelPlan:
    most = random.choice([2, 4, 16])
    return ChannelPlan(
        number=number,
        slot_size=random.choice([8, 33, 256, 3000]),
        slots={name: random.randint(1, most) for name in NAMES},
        answered=happens(random, 0.3),
        hears=happens(random, 0.3),
        # The first one never is: what all seeds must show needs one that goes on.
        stays_stopped=number > 1 and happens(random, 0.4),
    )
