"""Which reasons of their verdict the nodes give."""

import attrs

from ctlha_trio.ha import Reason
from ctlha_trio.testing._drivers.demands import Demands


@attrs.define(eq=False)
class ReasonWatch:
    """Keeps all that were ever given."""

    demands: Demands
    seen: frozenset[str] = attrs.field(default=frozenset(), init=False)

    def look(self, name: str) -> frozenset[str]:
        """What that node gives now; nothing if it is down."""
        nodes = self.demands.pair.nodes
        given = frozenset(nodes[name].status().reasons if name in nodes else ())
        self.seen |= given
        return given

    def check(self, name: str, reason: Reason, *, given: bool) -> None:
        """It is a problem if the node does not give it now, or does."""
        if (reason.value in self.look(name)) is not given:
            self.demands.problem(f"I10: {name} {'does not say' if given else 'says'} {reason.value}")

    async def demand_given(self, name: str, reason: Reason, within_s: float) -> None:
        """The node must give it in time. A checkpoint."""
        await self.demands.require(
            lambda: reason.value in self.look(name), within_s, f"I10: {name} does not say {reason.value}"
        )

    async def demand_gone(self, name: str, reason: Reason, within_s: float) -> None:
        """The node must run and give it no more, in time. A checkpoint."""
        await self.demands.require(
            lambda: name in self.demands.pair.nodes and reason.value not in self.look(name),
            within_s,
            f"I10: {name} says {reason.value}",
        )
