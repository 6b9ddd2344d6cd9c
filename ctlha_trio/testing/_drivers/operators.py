"""What people ask of a pair, each of whom must be told what became of it."""

from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Final

import attrs
import trio

from ctlha_trio._errors import DisconnectError, FailedError
from ctlha_trio.ha import Node
from ctlha_trio.testing._drivers.atlas import Fault
from ctlha_trio.testing._drivers.chance import happens
from ctlha_trio.testing._drivers.demands import SERVES_S, TOGETHER_S, Demands
from ctlha_trio.testing._drivers.scene import Scene, Strike
from ctlha_trio.testing._drivers.time import let_pass
from ctlha_trio.testing._pairs.pair_faults import NAMES, other

ANSWERED_S: Final = 30.0
"""For a change of roles that nothing disturbs: five seconds until both nodes are ready, and an arbiter that is slow."""
_LOOK_S: Final = 0.5
_FORCE_LOOKS: Final = 40
"""For a node to be left alone, for that long an operator looks."""


@attrs.define(eq=False)
class Operators:
    """They ask at any time, whatever else goes wrong, and wait for as long as the node that they asked lives."""

    _scene: Scene
    _demands: Demands
    _nursery: trio.Nursery
    _waiting: dict[trio.Event, str] = attrs.field(factory=dict, init=False)
    """What was asked of whom, while nobody was told what became of it."""

    @property
    def strikes(self) -> Mapping[Fault, Strike]:
        """What each of them does."""
        return {Fault.SWITCHOVER: self._switch_over, Fault.FORCE: self._force}

    async def _switch_over(self, _: Random) -> None:
        ended = self._ask_for_switchover()
        calm_s = 0.0
        while not ended.is_set() and calm_s < ANSWERED_S:
            await let_pass(_LOOK_S)
            calm_s = 0.0 if self._scene.is_disturbed else calm_s + _LOOK_S
        if not ended.is_set():
            self._demands.problem(f"I12: {self._waiting[ended]}, and is not told what became of it")

    async def _force(self, random: Random) -> None:
        """Of a node that needs it, as soon as one does."""
        for _ in range(_FORCE_LOOKS):
            name = random.choice(NAMES)
            if self._scene.pair.may_be_forced(name):
                await self._ask_for_force(name, has_evidence=happens(random)).wait()
                return
            await let_pass(_LOOK_S)

    def _ask_for_force(self, name: str, *, has_evidence: bool) -> trio.Event:
        async def force(node: Node) -> None:
            plan = node.plan_force(other(name))
            await node.force_primary(plan.fenced("outlet 7 is off") if has_evidence else plan)

        return self._ask(name, f"be primary, since {other(name)} is off", force)

    def _ask_for_switchover(self) -> trio.Event:
        name = self._scene.pair.record.primary
        return self._ask(name, "hand over", lambda node: node.switchover())

    def _ask(self, name: str, what: str, question: Callable[[Node], Awaitable[None]]) -> trio.Event:
        """Ask a node something; the event is set when it is answered, or has died."""
        ended = trio.Event()
        self._waiting[ended] = f"{name} is asked to {what}"
        self._scene.timeline.note(name, f"is asked to {what}")
        self._nursery.start_soon(self._await_answer, name, what, question, ended)
        return ended

    async def _await_answer(
        self, name: str, what: str, question: Callable[[Node], Awaitable[None]], ended: trio.Event
    ) -> None:
        try:
            await self._scene.pair.ask(name, question)
            self._scene.timeline.note(name, f"was asked to {what}, and has done it")
        except (FailedError, DisconnectError) as error:
            self._scene.timeline.note(name, f"was asked to {what}, and has not done it: {error}")
        del self._waiting[ended]
        ended.set()

    async def demand_answers(self) -> None:
        """All that was asked of nodes that live must have been answered, in time. A checkpoint."""
        asked = "; ".join(self._waiting.values())
        await self._demands.require(
            lambda: not self._waiting, SERVES_S, f"I12: nobody is told what became of it: {asked}"
        )

    async def demand_force(self, name: str) -> None:
        """A node must take what it is told by whoever knows that the other one is off. A checkpoint."""
        ended = self._ask_for_force(name, has_evidence=False)
        await self._demands.require(ended.is_set, ANSWERED_S, f"I12: {name} does not end a forced change")

    async def demand_switchover(self) -> None:
        """A pair that is healthy must change its roles when it is asked to. A checkpoint."""
        pair, before = self._scene.pair, self._scene.pair.record.primary
        ended = self._ask_for_switchover()
        await self._demands.require(ended.is_set, ANSWERED_S, f"I12: {before} does not end a change of roles")
        if pair.record.primary == before:
            self._demands.problem(f"I12: {before} was asked to hand over, all is well, and it has not")
        await self._demands.require(pair.is_settled, TOGETHER_S, "I12: the pair does not stay protected")
        await self._demands.service(other(before))
