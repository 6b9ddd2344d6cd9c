"""What the faults of a run act on, and which of them have acted."""

from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random

import attrs

from ctlha_trio.testing._drivers.arbiter import Way
from ctlha_trio.testing._drivers.atlas import Fault
from ctlha_trio.testing._drivers.pair import DriverPair
from ctlha_trio.testing._drivers.time import let_pass
from ctlha_trio.testing._drivers.timeline import EVERYWHERE, Timeline
from ctlha_trio.testing._pairs.pair_faults import NAMES

Strike = Callable[[Random], Awaitable[None]]
"""Lets a fault happen, from its beginning to its end."""


@attrs.define(eq=False)
class Scene:
    """A pair as whoever makes trouble sees it."""

    pair: DriverPair
    timeline: Timeline
    done: Counter[Fault] = attrs.field(factory=Counter, init=False)
    """How often each fault has acted: what finds nothing to act on has not happened."""

    def acted(self, fault: Fault) -> None:
        """It has had an effect."""
        self.done[fault] += 1

    @property
    def is_linked(self) -> bool:
        """Whether both nodes run."""
        return len(self.pair.nodes) == len(NAMES)

    @property
    def is_in_touch(self) -> bool:
        """Whether there is a session, whose beats are never far: what happens to the network happens to them."""
        return all(self.is_up(name) and self.pair.nodes[name].pair.session for name in NAMES)

    def is_up(self, name: str) -> bool:
        """Whether that node runs, on a machine that does not stand still."""
        return name in self.pair.nodes and not self.pair.is_paused(name)

    @property
    def is_disturbed(self) -> bool:
        """Whether nodes are cut off each other or the arbiter, or a machine stands still or has no power."""
        pair = self.pair
        cut_off = any(machine.arbiter.way is not Way.OPEN for machine in pair.machines.values())
        return cut_off or pair.is_parted or not all(map(self.is_up, NAMES))

    async def block(self, ways: list[tuple[str, str]], fault: Fault, what: str, seconds: float) -> None:
        """Let nothing arrive on these ways for so long. A checkpoint."""
        path = " and ".join(f"from {source} to {target}" for source, target in ways)
        self.timeline.counts["partitions"] += self.is_in_touch
        self.timeline.counts["partitions_one_way"] += self.is_in_touch and len(ways) == 1
        self.timeline.note(EVERYWHERE, f"{what} {path} for {seconds:.3f} s")
        self.pair.block(ways, fault.name)
        await let_pass(seconds)
        self.pair.unblock(ways, fault.name)
