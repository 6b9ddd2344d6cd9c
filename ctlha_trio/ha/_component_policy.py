"""What becomes of the role, and of the node, when a component does not run as it should.

Data first: a node without which nobody could serve goes on, says why it is in need of help, and asks its component
again. Where the other one is in sync and its own components run, the role goes there, by a handover. A node that has
no role to lose, and a component that only another process can mend, ends: whoever starts it again has a component
that was never asked.
"""

import logging
from collections.abc import Callable
from typing import Final

import attrs

from ctlha_trio._errors import ComponentError, FailedError
from ctlha_trio.ha._component_faults import ComponentFault, FaultKind
from ctlha_trio.ha._pair_driver import PairDriver
from ctlha_trio.ha._seen_time import seen_after_look
from ctlha_trio.ha._supervisor import Supervisor
from ctlha_trio.pair import Phase, Record
from ctlha_trio.seams import Clock

COMPONENTS_LOOK_S: Final = 1.0
"""Between two looks, and so the unit of a hold-down."""
RETRIES: Final = 1
"""That a component which answered FAILED has before the role goes: what passes by itself moves nothing."""
HOLD_DOWN_S: Final = 10.0
"""After a handover to this node, or one that did not come about, the role is not given away for so long."""
HOLD_DOWN_MAX_S: Final = 600.0
STABLE_HOLD_DOWNS: Final = 10.0
"""For so many hold-downs the other node must keep the role before the way it went is called a success."""

_LOG: Final = logging.getLogger(__name__)


@attrs.define(eq=False)
class ComponentFailover:
    """When a primary gives its role away for a component. Pure: it is told how much time the node has seen pass.

    Two nodes of which each is broken in turn do not hand the role to and fro: each time that it comes back soon, the
    one that gave it away keeps it for twice as long.
    """

    _me: str
    _hold_down_s: float = attrs.field(default=HOLD_DOWN_S, init=False)
    _held_s: float = attrs.field(default=float("inf"), init=False)
    """Since the role was handed to this node, or was not taken from it."""
    _since_given_s: float = attrs.field(default=float("inf"), init=False)

    def recorded(self, before: Record | None, after: Record) -> None:
        """This node acts on another record."""
        if before is None or before.primary == self._me or after.primary != self._me or len(after.members) == 1:
            return
        self._held_s = 0.0
        soon = self._since_given_s < STABLE_HOLD_DOWNS * self._hold_down_s
        self._hold_down_s = min(2 * self._hold_down_s, HOLD_DOWN_MAX_S) if soon else HOLD_DOWN_S

    def look(self, faults: tuple[ComponentFault, ...], seen_s: float, *, possible: bool) -> ComponentFault | None:
        """For which fault the role is to be given away now. ``possible``: nothing stands in the way.

        One who is told so calls ``ended`` when it is over.
        """
        self._held_s += seen_s
        self._since_given_s += seen_s
        if not possible or self._held_s < self._hold_down_s:
            return None
        return next((fault for fault in faults if fault.kind is not FaultKind.FAILED or fault.times > RETRIES), None)

    def ended(self, *, well: bool) -> None:
        """The handover is over."""
        self._held_s = 0.0
        if well:
            self._since_given_s = 0.0


@attrs.define(eq=False)
class ComponentWatch:
    """Looks at the faults of one node's components, and does what follows from them."""

    _clock: Clock
    _driver: PairDriver
    _supervisor: Supervisor
    _stop: Callable[[str], None]
    ended_by: tuple[ComponentError, ...] = attrs.field(default=(), init=False)
    """What it has stopped the node for."""
    _failover: ComponentFailover = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._failover = ComponentFailover(self._driver.state.me)
        self._driver.record_followers.append(self._failover.recorded)

    async def run(self) -> None:
        """Until cancelled, or the node is stopped for a component."""
        while not self.ended_by:
            seen_s = await seen_after_look(self._clock, COMPONENTS_LOOK_S)
            faults = self._supervisor.faults.all
            grave = [fault for fault in faults if fault.kind is not FaultKind.FAILED]
            possible = bool(faults) and not self._driver.roles.plan_handover().obstacles
            fault = self._failover.look(faults, seen_s, possible=possible)
            if grave and self._is_spare:
                self.ended_by = (grave[0].error,)
                self._stop(f"component failed: {grave[0].error}")
            elif fault is not None:
                await self._give_away(fault)

    @property
    def _is_spare(self) -> bool:
        """Whether the other node serves, and goes on without this one."""
        return self._driver.state.phase is Phase.FOLLOWING

    async def _give_away(self, fault: ComponentFault) -> None:
        _LOG.warning("the role goes to node %s: %s", self._driver.state.peer, fault.error)
        try:
            await self._driver.roles.hand_over(f"component-{fault.kind.value}: {fault.error}")
        except FailedError as error:
            _LOG.warning("the role stays here: %s", error)
            self._failover.ended(well=False)
        else:
            self._failover.ended(well=True)
