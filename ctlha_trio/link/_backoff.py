"""How long to wait before the next dial."""

from ctlha_trio.seams import Entropy

BACKOFF_MIN_S = 0.05
"""A restarted process listens again within this."""
BACKOFF_MAX_S = 1.0
"""A peer that is back is found within a second."""
DOUBLINGS_MAX = 5
"""Enough to reach the maximum from the minimum."""


def backoff_s(failures: int, entropy: Entropy) -> float:
    """Seconds to wait after so many failures in a row: random, between the minimum and a bound that doubles.

    Random, so that two nodes which lost each other do not dial in step for ever.
    """
    bound_s = min(BACKOFF_MAX_S, BACKOFF_MIN_S * (2 << min(failures, DOUBLINGS_MAX)))
    share = int.from_bytes(entropy(2), "little") / 0xFFFF
    return BACKOFF_MIN_S + (bound_s - BACKOFF_MIN_S) * share
