"""The supervisor: drives the components of a node as the pair core's phase demands."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeVar

import attrs
import trio

from ctlha_trio._errors import ComponentError
from ctlha_trio._vocabulary import ctl_ha_component, ctl_ha_state
from ctlha_trio.ha import _lifecycle as lifecycle
from ctlha_trio.ha._seen_time import finish_in_seen_time
from ctlha_trio.pair import Phase
from ctlha_trio.seams import Clock

STEP_LIMIT_S: Final = 10.0
"""For each step of each component, of the time that this process has seen pass: a machine that was suspended takes none
of it. A step that takes longer holds up a failover that clients are waiting for."""

_STATES: Final = {
    Phase.ALONE: lifecycle.SINGLE,
    Phase.ADMITTING: lifecycle.SINGLE,
    Phase.MIRRORING: lifecycle.HA,
    Phase.FOLLOWING: lifecycle.HA,
    Phase.HANDING_OVER: lifecycle.HA,
}
"""In the phases that are not here but between them, a component keeps the state that it has."""
_OUT: Final = frozenset({Phase.OUTDATED, Phase.RESYNCING, Phase.STOPPED, Phase.LEFT})
"""This node has no part in the service: its components are quiesced."""

Result = TypeVar("Result")

_LOG: Final = logging.getLogger(__name__)


@attrs.define(eq=False)
class Supervisor:
    """Components in the order in which they start; they are quiesced in the reverse."""

    _clock: Clock
    _components: Sequence[ctl_ha_component]
    _phase: Callable[[], Phase]
    _changed: trio.lowlevel.ParkingLot
    """Unparked whenever the phase may have changed."""
    state: ctl_ha_state = attrs.field(default=lifecycle.UNKNOWN, init=False)
    """That the components were last brought to."""
    _asked: list[ctl_ha_component] = attrs.field(factory=list, init=False)
    """To start since they were last quiesced, whatever they answered, or if they have not yet."""
    failed: frozenset[str] = attrs.field(default=frozenset(), init=False)
    """Names of the components that answered FAILED when they were last asked to start."""

    async def init(self) -> None:
        """Initialise all, in order. ``ComponentError`` if one does not answer OK in time."""
        for component in self._components:
            await self._limited(component, "init", partial(lifecycle.init, component))

    async def run(self) -> None:
        """Follow the phase until cancelled. ``ComponentError`` as soon as a component fails a step."""
        while True:
            wanted = self._wanted()
            if wanted is self.state:
                await self._changed.park()
            else:
                await self._bring_to(wanted)

    async def quiesce(self) -> None:
        """Quiesce what was asked to start, in reverse order; the first failure is raised when all were asked."""
        failures: list[ComponentError] = []
        while self._asked:
            component = self._asked[-1]
            try:
                await self._limited(component, "quiesce", partial(lifecycle.quiesce, component))
            except ComponentError as error:
                failures.append(error)
            self._asked.pop()
        if failures:
            raise failures[0]

    def _wanted(self) -> ctl_ha_state:
        phase = self._phase()
        return lifecycle.UNKNOWN if phase in _OUT else _STATES.get(phase, self.state)

    async def _bring_to(self, state: ctl_ha_state) -> None:
        await self.quiesce()
        failed: list[str] = []
        for component in self._components:
            if state is lifecycle.UNKNOWN:
                # The header has no hook for this: a component that was quiesced and has no part may start from scratch.
                component.state &= ~ctl_ha_state.CTL_HA_STATE_MASK
                continue
            self._asked.append(component)
            if not await self._limited(component, "start", partial(lifecycle.start, component, state)):
                _LOG.error("%s cannot start in %s", component.name, state.name)
                failed.append(component.name)
        self.failed = frozenset(failed)
        _LOG.info("components run in %s", state.name)
        self.state = state

    async def _limited(self, component: ctl_ha_component, step: str, call: Callable[[], Awaitable[Result]]) -> Result:
        try:
            return await finish_in_seen_time(self._clock, STEP_LIMIT_S, call)
        except trio.TooSlowError as error:
            raise ComponentError(f"{component.name}: {step} took more than {STEP_LIMIT_S:.0f} s") from error
