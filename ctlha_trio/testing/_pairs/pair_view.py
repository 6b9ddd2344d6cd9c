"""What can be seen of a pair of whole nodes in one process, and waited for."""

from collections.abc import Callable
from typing import Final

import attrs
import trio

from ctlha_trio._errors import InvalidError
from ctlha_trio.arbiter import MemoryArbiter
from ctlha_trio.ha import Node
from ctlha_trio.pair import Metadata, Record
from ctlha_trio.seams import TrioClock
from ctlha_trio.store import choose_slot, volume_in
from ctlha_trio.testing._pairs.pair_faults import NAMES, PairFaults, named

VOLUME: Final = "volume"
LOOK_S: Final = 0.01
"""Between two looks at a condition: a tenth of the shortest time in the protocol."""

WAIT_LIMIT_S: Final = 120.0
"""For a condition to come true: far more than the protocol's longest wait, and no time at all on a mock clock."""


@attrs.define(eq=False)
class PairView(PairFaults):
    """Two nodes, whether they run or not, for a ``MemoryPair``, which starts and ends them."""

    size_bytes: int
    look_s: float = attrs.field(default=LOOK_S, kw_only=True)
    """Between two looks at a condition that is waited for."""
    arbiter: MemoryArbiter = attrs.field(init=False)
    """The arbiter's own client; each node has another one in ``arbiters``."""
    nodes: dict[str, Node] = attrs.field(factory=dict, init=False)
    """Those that run."""
    _closed: bool = attrs.field(default=False, init=False)

    @property
    def record(self) -> Record:
        """What the arbiter has at this moment."""
        return self.arbiter.record

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Return once the condition holds. A checkpoint. Under a mock clock the time until then passes at once.

        ``trio.TooSlowError``, with where the nodes stand, if it does not hold within ``WAIT_LIMIT_S``.
        """
        clock = TrioClock()
        give_up_s = clock.now() + WAIT_LIMIT_S
        await trio.lowlevel.checkpoint()
        while not condition():
            self._check_open(NAMES[0])
            if clock.now() >= give_up_s:
                raise trio.TooSlowError(f"not so after {WAIT_LIMIT_S:g} s; {'; '.join(map(self._stand_of, NAMES))}")
            await clock.sleep_until(clock.now() + self.look_s)

    async def wait_serving(self, name: str) -> Node:
        """Return that node once it serves the volume, alone or as primary of two."""
        self._check_open(name)
        await self.wait_until(lambda: self._serves(name, "protected", "degraded"))
        return self.nodes[name]

    async def wait_alone(self, name: str) -> Node:
        """Return that node once it serves the volume without its peer."""
        self._check_open(name)
        await self.wait_until(lambda: self._serves(name, "degraded") and self.record.members == (name,))
        return self.nodes[name]

    def _serves(self, name: str, *verdicts: str) -> bool:
        if name not in self.nodes:
            return False
        status = self.nodes[name].status()
        return status.role == "primary" and status.verdict in verdicts

    def copy(self, name: str) -> bytes:
        """The volume as that node's disk would give it now, flushed or not."""
        return volume_in(self.disks[name].content(VOLUME), self.size_bytes)

    def durable_copy(self, name: str) -> bytes:
        """The volume as that node's disk would give it after a power cut now that keeps only what was flushed."""
        return volume_in(self._durable(name), self.size_bytes)

    def durable_metadata(self, name: str) -> Metadata:
        """The metadata that would be found after such a cut."""
        return choose_slot(VOLUME, self._durable(name))[1].metadata

    def _durable(self, name: str) -> bytes:
        return self.disks[name].durable_content(VOLUME)

    def close(self) -> None:
        """Its block has ended: nothing of it is of use any more."""
        self._closed = True

    def _check_open(self, name: str) -> None:
        """``InvalidError`` for a name that is no node's, or when the block of the pair has ended."""
        named(name)
        if self._closed:
            raise InvalidError("the pair is closed: its block has ended")

    def _stand_of(self, name: str) -> str:
        """One node in a line."""
        if name not in self.nodes:
            return f"{name} is down"
        status = self.nodes[name].status()
        return f"{name} is {status.role}, {status.verdict}: {', '.join(status.reasons) or 'no reason'}"

    def _is_protected(self) -> bool:
        verdicts = [node.status().verdict for node in self.nodes.values()]
        return verdicts == ["protected"] * len(NAMES)
