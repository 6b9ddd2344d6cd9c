"""The supervisor: drives the components of a node as the pair core's phase demands, and asks again what fails.

A component that fails a step, or raises in one, ends nothing here. Whether the other node shall take over is for
``_component_policy``.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import attrs
import trio

from ctlha_trio._errors import ComponentError
from ctlha_trio._repeats import Repeats
from ctlha_trio._vocabulary import ctl_ha_comp_status, ctl_ha_component, ctl_ha_state
from ctlha_trio.ha import _lifecycle as lifecycle
from ctlha_trio.ha._component_faults import ComponentFaults, FaultKind
from ctlha_trio.ha._seen_time import finish_in_seen_time
from ctlha_trio.link import finish_by
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
_KINDS: Final = {
    ctl_ha_comp_status.CTL_HA_COMP_STATUS_FAILED: FaultKind.FAILED,
    ctl_ha_comp_status.CTL_HA_COMP_STATUS_ERROR: FaultKind.ERROR,
}
_STEPS: Final = ("init", "start", "quiesce")
_OUT: Final = frozenset({Phase.OUTDATED, Phase.RESYNCING, Phase.STOPPED, Phase.LEFT})
"""This node has no part in the service: its components are quiesced."""

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
    _initialised: list[ctl_ha_component] = attrs.field(factory=list, init=False)
    _asked: list[ctl_ha_component] = attrs.field(factory=list, init=False)
    """To start since they were last quiesced, whatever they answered, or if they have not yet."""
    faults: ComponentFaults = attrs.field(factory=ComponentFaults, init=False)
    _repeats: Repeats = attrs.field(factory=Repeats, init=False)
    """By component and step: one that is asked again and again for a night fills no log."""
    on_ready: Callable[[], None] = attrs.field(default=lambda: None, init=False)
    """Told when ``ready`` may be another."""

    async def init(self) -> None:
        """Initialise all, in order. One that fails is initialised again by ``run``, and not started before."""
        for component in self._components:
            await self._init(component)

    async def run(self) -> None:
        """Follow the phase, and ask again what has failed, until cancelled."""
        while True:
            wanted, now_s = self._wanted(), self._clock.now()
            if wanted is not self.state:
                await self._bring_to(wanted)
            elif due := self.faults.due(now_s):
                await self._restart_unless_changed(due[0])
            else:
                await self._wait_until(self.faults.next_s)
            self.on_ready()

    async def quiesce(self) -> None:
        """Quiesce what was asked to start, in reverse order.

        ``ComponentError`` when all were asked: of the first that has not done it, or that had raised or answered ERROR
        before.
        """
        failures = [*self.faults.errors(FaultKind.ERROR, FaultKind.RAISED), *await self._quiesce_asked()]
        if failures:
            raise failures[0]

    @property
    def ready(self) -> bool:
        """Whether every component runs beside the other node, so that this one could take over at once."""
        return self._wanted() is self.state is lifecycle.HA and not self.faults.all

    def _wanted(self) -> ctl_ha_state:
        phase = self._phase()
        return lifecycle.UNKNOWN if phase in _OUT else _STATES.get(phase, self.state)

    async def _wait_until(self, due_s: float) -> None:
        """For a change, until then at most."""
        if due_s == float("inf"):
            await self._changed.park()
        else:
            with suppress(trio.TooSlowError):
                await finish_by(self._clock, due_s, self._changed.park)

    async def _bring_to(self, state: ctl_ha_state) -> None:
        await self._quiesce_asked()
        for component in self._components:
            if component in self._asked:
                # It has not quiesced: nobody knows what it does. It is restarted when it is asked again.
                lifecycle.forget_state(component)
                continue
            if state is lifecycle.UNKNOWN:
                lifecycle.forget_state(component)
                if component in self._initialised and self.faults.may_start(component):
                    self._mended(component)
            else:
                await self._start(component, state)
        _LOG.info("components run in %s", state.name)
        self.state = state

    async def _restart_unless_changed(self, component: ctl_ha_component) -> None:
        """Give it up for a change of state: the others must not wait for one that hangs, and it is asked with them."""

        async def give_up() -> None:
            while self._wanted() is self.state:
                await self._changed.park()
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(give_up)
            await self._restart(component)
            nursery.cancel_scope.cancel()

    async def _restart(self, component: ctl_ha_component) -> None:
        """Alone: those above it go on, as they did when it failed."""
        if component in self._asked and await self._quiesce(component) is not None:
            return
        lifecycle.forget_state(component)
        if self.state is not lifecycle.UNKNOWN:
            await self._start(component, self.state)
        elif await self._init(component):
            self._mended(component)

    async def _init(self, component: ctl_ha_component) -> bool:
        """Until it has done it, and never again; whether it has."""
        if component not in self._initialised:
            if await self._ask(component, "init", partial(lifecycle.init, component)) is not None:
                return False
            self._initialised.append(component)
        return True

    async def _start(self, component: ctl_ha_component, state: ctl_ha_state) -> None:
        if self.faults.may_start(component) and await self._init(component):
            self._asked.append(component)
            if await self._ask(component, "start", partial(lifecycle.start, component, state)) is None:
                self._mended(component)

    async def _quiesce_asked(self) -> list[ComponentError]:
        """Everything, in reverse order; what failed."""
        asked = [each for each in reversed(self._components) if each in self._asked]
        errors = [await self._quiesce(component) for component in asked]
        return [error for error in errors if error is not None]

    async def _quiesce(self, component: ctl_ha_component) -> ComponentError | None:
        error = await self._ask(component, "quiesce", partial(lifecycle.quiesce, component))
        if error is None or not self.faults.may_start(component):
            self._asked.remove(component)
        return error

    async def _ask(
        self, component: ctl_ha_component, step: str, call: Callable[[], Awaitable[ctl_ha_comp_status]]
    ) -> ComponentError | None:
        """What is wrong, noted, or nothing."""
        raised: list[Exception] = []

        async def answered() -> ctl_ha_comp_status:
            try:
                return await call()
            except BaseExceptionGroup as group:
                # Of a hook with a nursery of its own that is cancelled: who cancelled it knows that by itself.
                bugs = group.split(trio.Cancelled)[1]
                if not isinstance(bugs, ExceptionGroup):
                    raise
                raised.append(bugs)
                raise bugs from None
            except Exception as error:
                raised.append(error)
                raise

        try:
            answer = await finish_in_seen_time(self._clock, STEP_LIMIT_S, answered)
        except Exception as error:
            if raised:
                kind, problem = FaultKind.RAISED, f"raised {raised[0]!r}"
            elif isinstance(error, trio.TooSlowError):
                kind, problem = FaultKind.STUCK, f"took more than {STEP_LIMIT_S:.0f} s"
            else:
                raise
        else:
            if answer is ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK:
                return None
            kind, problem = _KINDS[answer], f"answered {answer.name}"
        return self._note(component, kind, step, problem, cause=raised[0] if raised else None)

    def _note(
        self, component: ctl_ha_component, kind: FaultKind, step: str, problem: str, *, cause: Exception | None
    ) -> ComponentError:
        error = ComponentError(f"{component.name}: {step} {problem}")
        error.__cause__ = cause
        if kind is not FaultKind.FAILED:
            lifecycle.forget_state(component)
        now_s = self._clock.now()
        line = self._repeats.came(now_s, str(error), kind=(component, step))
        if line is not None:
            _LOG.error("%s", line, exc_info=cause)
        self.faults.note(component, kind, error, now_s)
        return error

    def _mended(self, component: ctl_ha_component) -> None:
        self.faults.mended(component)
        for step in _STEPS:
            self._repeats.ended((component, step))
