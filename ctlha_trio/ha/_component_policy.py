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
from ctlha_trio.ha._component_failover import ComponentFailover
from ctlha_trio.ha._component_faults import ComponentFault, FaultKind
from ctlha_trio.ha._pair_driver import PairDriver
from ctlha_trio.ha._seen_time import seen_after_look
from ctlha_trio.ha._supervisor import Supervisor
from ctlha_trio.pair import Phase
from ctlha_trio.seams import Clock

COMPONENTS_LOOK_S: Final = 1.0
"""Between two looks, and so the unit of a hold-down."""

_LOG: Final = logging.getLogger(__name__)


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
        self._failover = self._driver.readiness.failover
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
