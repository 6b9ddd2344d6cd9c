"""Draws from a seeded source."""

from random import Random

import attrs


def happens(random: Random, share: float = 0.5) -> bool:
    """True for that share of all draws."""
    return random.random() < share


@attrs.frozen
class Latency:
    """Of one kind of call: usually around the mean, sometimes a spike."""

    mean_s: float
    spike_s: float
    spike_chance: float

    def draw(self, random: Random) -> float:
        """Seconds for the next call."""
        if happens(random, self.spike_chance):
            return random.uniform(0, self.spike_s)
        return random.expovariate(1 / self.mean_s)
