"""Simulated time: it passes by chance, in seconds, and only where something happens."""

import math
from collections.abc import Callable
from random import Random
from typing import Final

import attrs

_BITS: Final = 10
_SPACINGS: Final = tuple(round(-math.log((i + 0.5) / 2**_BITS), 9) for i in range(2**_BITS))
"""Times between happenings of which one comes a second, each as likely as the others. Rounded, so that they and all
that follows from them are the same on every machine; its mathematical library need not be."""


@attrs.frozen(eq=False)
class RunningTimer:
    """A timer that runs."""

    delay_s: float
    """On the node's clock."""
    rate: float
    """At which it fires, in times a second of the node's clock."""
    fire: Callable[[], None]


@attrs.define(eq=False)
class SimulatedClock:
    """Of the world; what a node takes for a second is the node's affair."""

    random: Random
    now_s: float = 0.0

    def advance(self, rate: float) -> float:
        """Wait for the next of happenings that come at this rate a second. Returns for how long, in seconds."""
        waited_s = _SPACINGS[self.random.getrandbits(_BITS)] / rate
        self.now_s += waited_s
        return waited_s
