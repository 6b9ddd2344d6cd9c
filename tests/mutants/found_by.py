"""Which check must find each mutant: the kinds of violation, and for each mutant those that are its own."""

import re

I1, I2, I3, I4, I5 = "I1, I4", "I2", "I3", "I4", "I5"
I6, I7, I8, I10, I11, I15 = "I6", "I7", "I8", "I10", "I11", "I15"
ONE_WRITE = "two writes of a block at once"
OVERWRITTEN = "overwritten before it is persisted"
CONVERGENCE = "the pair does not come together"
CORE = "an order that cannot be"
"""The core itself finds that it was asked for what the protocol does not know."""
STUCK = "nobody can go on"
"""The exploration's convergence: no order of what is left leads to a pair that serves."""

_SAID = (
    (r"(I1, I4|I\d+):", r"\1"),
    (r".* writes a block twice at once", ONE_WRITE),
    (r".* is overwritten before it has persisted", OVERWRITTEN),
    (r"the pair did not come together|nothing can happen any more", CONVERGENCE),
    (r".*(LocalProtocolError|KeyError|AttributeError)\(", CORE),
    (r".*(stuck|cannot come together|never)", STUCK),
)


def check_of(problem: str) -> str:
    """The check that said so; the problem itself if none is known for it, and nothing for nothing."""
    said = re.sub(r"^seed \d+: ", "", problem)
    for pattern, check in _SAID:
        found = re.match(pattern, said)
        if found:
            return found.expand(check) if "\\" in check else check
    return said


IN_THE_PAIR: dict[str, set[str]] = {}
