"""What a healthy pair must come to within a bound: the part of I12 that every phase of a run demands."""

from collections.abc import Callable
from typing import Final

import attrs
import trio

from ctlha_trio.ha import VerificationStatus
from ctlha_trio.pair import OperationKind, Outcome
from ctlha_trio.testing._drivers.clients import DriverClients, whole_blocks
from ctlha_trio.testing._drivers.pair import DriverPair
from ctlha_trio.testing._drivers.time import let_pass

SERVES_S: Final = 20.0
"""For a healthy member and the arbiter to serve: all that the protocol waits for in a row, and a margin."""
TOGETHER_S: Final = 40.0
"""For two healthy nodes to be protected: that, a return, and a margin."""

COMPARES_S: Final = 20.0
"""For a comparison of the largest volume that is simulated, on disks without trouble."""


@attrs.define(eq=False)
class Demands:
    """What does not come about in time is a problem, which ends the run."""

    pair: DriverPair
    clients: DriverClients
    problem: Callable[[str], None]

    async def require(self, condition: Callable[[], bool], within_s: float, otherwise: str) -> None:
        """Return once the condition holds. A checkpoint."""
        with trio.move_on_after(within_s):
            await self.pair.wait_until(condition)
            return
        await self._too_late(otherwise, within_s)

    async def service(self, name: str) -> None:
        """A write and a read that begin now must both be done in time: words alone are no service. A checkpoint.

        Of a whole block, so that it may be damaged before.
        """
        write = whole_blocks(self.pair.swarm.sectors[0], 1)
        with trio.move_on_after(SERVES_S):
            for wanted in (write, (OperationKind.READ, *write[1:])):
                while await self.clients.operate(name, 0, wanted) is not Outcome.DONE:
                    await let_pass(self.pair.look_s)
            return
        await self._too_late(f"I12: {name}, a healthy member, does not serve", SERVES_S)

    async def comparison(self) -> VerificationStatus:
        """The copies are compared, as an operator asks for it, in time; what was found. A checkpoint."""
        node = self.pair.nodes[self.pair.record.primary]
        node.verify()

        def found() -> VerificationStatus | None:
            status = node.status().verification
            return status if status is not None and status.state == "complete" else None

        await self.require(lambda: found() is not None, COMPARES_S, "I12: the comparison does not come to its end")
        complete = found()
        assert complete is not None, "it has come to its end"
        return complete

    async def _too_late(self, what: str, within_s: float) -> None:
        stand = "; ".join(f"{name} {node.pair.phase.name} ({node.pair.why})" for name, node in self.pair.nodes.items())
        self.problem(f"{what} within {within_s:g} s: {stand or 'no node runs'}")
        await trio.lowlevel.checkpoint()
