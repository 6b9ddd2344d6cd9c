"""What nodes say of the program that uses them: that a component does not start, and that a handler has raised."""

from functools import partial
from random import Random
from typing import Final

import attrs
import trio

from ctlha_trio.ha import COMPONENT_HOLD_DOWN_S, RETURNS_LIMIT, Node, Reason
from ctlha_trio.testing._drivers.demands import SERVES_S, TOGETHER_S, Demands
from ctlha_trio.testing._drivers.keeper import Keeper
from ctlha_trio.testing._drivers.programs import Programs
from ctlha_trio.testing._drivers.reasons import ReasonWatch
from ctlha_trio.testing._drivers.time import let_pass
from ctlha_trio.testing._drivers.timeline import Timeline
from ctlha_trio.testing._pairs.pair_faults import NAMES, other

_STAYS_S: Final = 5.0
"""For which a node that is alone must go on without its component: far more than it takes to decide that."""
_ASKED_MAX: Final = 3
"""Times in that, of a component that does not start: more is no back-off."""
_HELD_S: Final = 0.8 * COMPONENT_HOLD_DOWN_S
"""By a clock that may go slower, for how long a role stays that was handed over."""


@attrs.define(eq=False)
class FailingPrograms:
    """Trials of a pair that is healthy otherwise. Neither failure may cost its service or its copies anything."""

    programs: Programs
    keeper: Keeper
    timeline: Timeline
    demands: Demands
    reasons: ReasonWatch
    random: Random

    async def run(self) -> None:
        """Every trial, up to the first problem. A checkpoint."""
        self.timeline.counts["trials"] += 1
        for fail in (self._fail_a_component, self._end_a_component, self._break_a_component):
            await self._forget_the_role()
            await fail(self.random.choice(NAMES))
        await self._fail_a_handler(self.random.choice(NAMES))
        await self._die_again_and_again(self.random.choice(NAMES))

    async def _fail_a_component(self, name: str) -> None:
        """It does not start: not when its node goes on alone, nor when the other one is back, which gets the role.

        Then that of the other one does not, and the role comes back, but not at once.
        """
        peer, pair = other(name), self.demands.pair
        self.timeline.note(name, "its component will not start")
        self.programs.broken = frozenset({name})
        self.keeper.held = frozenset({peer})
        pair.crash(peer)
        await self.reasons.demand_given(name, Reason.COMPONENT_FAILED, SERVES_S)
        await self.demands.service(name)
        await self.demand_patience(name)
        self.keeper.held = frozenset()
        await self._demand_role(peer)
        handed_s = trio.current_time()
        await self.demands.service(peer)
        await self.reasons.demand_given(peer, Reason.PEER_COMPONENTS, SERVES_S)
        self.timeline.note(peer, "its component will not start, and that of the other one will")
        self.programs.broken = frozenset({peer})
        pair.crash(name)
        await self._demand_role(name)
        self.check_held(peer, trio.current_time() - handed_s)
        await self.demands.service(name)
        self.timeline.note(peer, "its component is mended")
        self.programs.broken = frozenset()
        await self._demand_return(peer, Reason.COMPONENT_FAILED)

    async def _forget_the_role(self) -> None:
        """Two nodes between which it has just gone to and fro would hold it for longer than a trial lasts."""
        for name in NAMES:
            self.demands.pair.crash(name)
        await self.demands.require(
            self.demands.pair.is_settled, TOGETHER_S, "I12: the pair does not become protected again"
        )

    async def _demand_role(self, name: str) -> None:
        await self.demands.require(
            lambda: self.demands.pair.record.primary == name,
            TOGETHER_S,
            f"I12: the role stays at {other(name)}, whose component does not run",
        )

    def check_held(self, name: str, held_s: float) -> None:
        """Whether a node has kept a role that was handed to it for long enough."""
        if held_s < _HELD_S:
            self.demands.problem(f"I12: {name} gives the role away {held_s:.1f} s after it was handed to it")

    async def demand_patience(self, name: str) -> None:
        """A component that does not start is asked later and later."""
        before = self.programs.asked.get(name, 0)
        await let_pass(_STAYS_S)
        asked = self.programs.asked.get(name, 0) - before
        if asked > _ASKED_MAX:
            self.demands.problem(f"I12: the component of {name} is asked {asked} times in {_STAYS_S:g} s")

    async def _end_a_component(self, name: str) -> None:
        """It answers ERROR when its node goes on alone, which serves, and ends when the other one can take over."""
        self.timeline.note(name, "its component will answer ERROR")
        self.programs.erring = frozenset({name})
        node = await self._serve_alone_without_component(name, Reason.COMPONENT_ERROR)
        self.timeline.note(name, "its component is mended, and must not be asked")
        self.programs.erring = frozenset()
        await self._demand_end(node, "goes on although its component answers ERROR")

    async def _break_a_component(self, name: str) -> None:
        """It raises whenever its node starts it. All else is the same."""
        self.timeline.note(name, "its component will raise")
        self.programs.buggy = frozenset({name})
        node = await self._serve_alone_without_component(name, Reason.COMPONENT_RAISED)
        await self._demand_end(node, "goes on although its component raises")

    async def _serve_alone_without_component(self, name: str, reason: Reason) -> Node:
        peer, pair = other(name), self.demands.pair
        self.keeper.held = frozenset({peer})
        pair.crash(peer)
        await self.reasons.demand_given(name, reason, SERVES_S)
        node = pair.nodes[name]
        await let_pass(_STAYS_S)
        await self.demands.service(name)
        await self.demands.require(
            lambda: pair.nodes.get(name) is node,
            SERVES_S,
            f"I12: {name} ends for its component, although nobody else could serve",
        )
        return node

    async def _demand_end(self, node: Node, otherwise: str) -> None:
        """As soon as the other node is back. Whoever starts this one again has another program."""
        name, pair = node.config.node, self.demands.pair
        self.keeper.held = frozenset()
        # Whoever starts it again may be quick.
        await self.demands.require(lambda: pair.nodes.get(name) is not node, TOGETHER_S, f"I12: {name} {otherwise}")
        self.programs.buggy = frozenset()
        await self.demands.require(pair.is_settled, TOGETHER_S, "I12: the pair does not become protected again")

    async def _fail_a_handler(self, name: str) -> None:
        """It raises at a message. Its channel is closed then, and only a process that runs anew has another one."""
        peer, pair = other(name), self.demands.pair
        self.programs.puzzled = frozenset({name})
        self.programs.say(pair.nodes[peer], understood=False)
        self.timeline.note(name, "is sent a message at which its handler raises")
        await self.reasons.demand_given(name, Reason.HANDLER_FAILED, SERVES_S)
        await self.demands.service(pair.record.primary)
        self.timeline.note(name, "its handler is mended")
        self.programs.puzzled = frozenset()
        self.keeper.stop(name)
        await self.demands.require(
            lambda: pair.record.members == (peer,), SERVES_S, f"I12: {peer} does not go on alone"
        )
        await self._demand_return(name, Reason.HANDLER_FAILED)
        before = self.programs.taken.get(name, 0)
        self.programs.say(pair.nodes[peer], understood=False)
        await self.demands.require(
            lambda: self.programs.taken.get(name, 0) > before, SERVES_S, f"I12: the handler of {name} takes nothing"
        )

    async def _die_again_and_again(self, name: str) -> None:
        """A node whose process ends as soon as it is back becomes a member later, and the other one says why."""
        peer, pair = other(name), self.demands.pair
        self.timeline.note(name, "dies again and again")
        for _ in range(RETURNS_LIMIT):
            sessions = pair.nodes[peer].pair.sessions
            pair.crash(name)
            await self.demands.require(
                partial(self._has_met_again, peer, sessions), TOGETHER_S, f"I12: {name} does not come back to {peer}"
            )
        await self.reasons.demand_given(peer, Reason.PEER_RESTARTS, SERVES_S)
        await self.demands.service(peer)
        await self.demands.require(pair.is_settled, TOGETHER_S, "I12: the pair does not become protected again")

    def _has_met_again(self, name: str, sessions: int) -> bool:
        return name in self.demands.pair.nodes and self.demands.pair.nodes[name].pair.sessions > sessions

    async def _demand_return(self, name: str, reason: Reason) -> None:
        pair = self.demands.pair
        await self.demands.require(
            lambda: len(pair.record.members) == len(pair.nodes) == len(NAMES),
            TOGETHER_S,
            "I12: the pair does not come together",
        )
        await self.reasons.demand_gone(name, reason, SERVES_S)
        await self.demands.require(pair.is_settled, TOGETHER_S, "I12: the pair does not become protected again")
