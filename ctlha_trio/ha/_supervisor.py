"""The supervisor: drives the components of a node as the pair core's phase demands, and asks again what fails.

A component that fails a step, or raises in one, ends nothing here. Whether the other node shall take over is for
``_component_policy``.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

import attrs
import trio

from ctlha_trio._errors import ComponentError
from ctlha_trio._repeats import Repeats
from ctlha_trio._vocabulary import ctl_ha_comp_status, ctl_ha_component, ctl_ha_state
from ctlha_trio.ha import _lifecycle as lifecycle, _take_over as take_over
from ctlha_trio.ha._component_aims import AIMS, AT_REST, Aim
from ctlha_trio.ha._component_faults import ComponentFaults, FaultKind
from ctlha_trio.ha._seen_time import finish_in_seen_time
from ctlha_trio.ha._take_over import TakeOverComponent
from ctlha_trio.ha._take_overs import NOT_SERVING, TakeOvers
from ctlha_trio.link import finish_by
from ctlha_trio.pair import Phase
from ctlha_trio.seams import Clock

STEP_LIMIT_S: Final = 10.0
"""For each step of each component, of the time that this process has seen pass: a machine that was suspended takes none
of it. A step that takes longer holds up a failover that clients are waiting for."""

Result = TypeVar("Result")

_KINDS: Final = {
    ctl_ha_comp_status.CTL_HA_COMP_STATUS_FAILED: FaultKind.FAILED,
    ctl_ha_comp_status.CTL_HA_COMP_STATUS_ERROR: FaultKind.ERROR,
}
_STEPS: Final = ("init", "may_start", "wait", "start", "quiesce", "released")

_LOG: Final = logging.getLogger(__name__)


@attrs.define(eq=False)
class Supervisor:
    """Components in the order in which they start; they are quiesced in the reverse."""

    _clock: Clock
    _components: Sequence[ctl_ha_component]
    _phase: Callable[[], Phase]
    _changed: trio.lowlevel.ParkingLot
    """Unparked whenever the phase may have changed."""
    take_overs: TakeOvers
    _aim: Aim = attrs.field(default=AT_REST, init=False)
    """What the components were last brought to."""
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
        """Follow the phase, and ask again what has failed or waits, until cancelled."""
        if not self.take_overs.fence.is_possible:
            await self._follow()
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.take_overs.fence.run)
            await self._follow()

    async def _follow(self) -> None:
        while True:
            wanted, now_s = self._wanted(), self._clock.now()
            if not self._has_reached(wanted):
                await self._bring_to(wanted)
            elif due := [*self.faults.due(now_s), *self.take_overs.due(now_s)]:
                await self._restart_unless_changed(due[0])
            else:
                await self._wait_until(min(self.faults.next_s, self.take_overs.next_s))
            self.on_ready()

    async def quiesce(self) -> None:
        """Quiesce what was asked to start, in reverse order.

        ``ComponentError`` when all were asked: of the first that has not done it, or that had raised or answered ERROR
        before.
        """
        failures = [*self.faults.errors(FaultKind.ERROR, FaultKind.RAISED), *await self._quiesce_for(AT_REST)]
        if failures:
            raise failures[0]

    @property
    def state(self) -> ctl_ha_state:
        """That the components were last brought to."""
        return self._aim.state

    @property
    def ready(self) -> bool:
        """Whether every component that is to run here runs beside the other node: this one could take over at once."""
        reached = self.state is lifecycle.HA and self._has_reached(self._wanted())
        return reached and not self.faults.all and not self.take_overs.start_waits

    def _wanted(self) -> Aim:
        return AIMS.get(self._phase(), self._aim)

    def _has_reached(self, aim: Aim) -> bool:
        return aim.state is self.state and all(aim.leaves(component, self._aim) for component in self._components)

    async def _wait_until(self, due_s: float) -> None:
        """For a change, until then at most."""
        if due_s == float("inf"):
            await self._changed.park()
        else:
            with suppress(trio.TooSlowError):
                await finish_by(self._clock, due_s, self._changed.park)

    async def _bring_to(self, aim: Aim) -> None:
        await self._quiesce_for(aim)
        for component in self._components:
            state = aim.of(component)
            if state is not lifecycle.UNKNOWN and aim.leaves(component, self._aim):
                continue
            if component in self._asked:
                # It has not quiesced: nobody knows what it does. It is restarted when it is asked again.
                lifecycle.forget_state(component)
                continue
            if state is lifecycle.UNKNOWN:
                lifecycle.forget_state(component)
                if component in self._initialised and not self.take_overs.holds(component):
                    self._mended_unless_error(component)
            else:
                await self._start(component, state)
        _LOG.info("components run in %s", aim.state.name)
        self._aim = aim

    async def _restart_unless_changed(self, component: ctl_ha_component) -> None:
        """Give it up for a change of state: the others must not wait for one that hangs, and it is asked with them."""

        async def give_up() -> None:
            while self._has_reached(self._wanted()):
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
        state = self._aim.of(component)
        if state is not lifecycle.UNKNOWN:
            await self._start(component, state)
        elif await self._init(component) and await self._release(component) is None:
            self._mended_unless_error(component)

    async def _init(self, component: ctl_ha_component) -> bool:
        """Until it has done it, and never again; whether it has."""
        if component not in self._initialised:
            if await self._ask(component, "init", partial(lifecycle.init, component)) is not None:
                return False
            self._initialised.append(component)
        return True

    async def _start(self, component: ctl_ha_component, state: ctl_ha_state) -> None:
        if not (self.faults.may_start(component) and await self._init(component)):
            return
        if isinstance(component, TakeOverComponent) and not await self._may_start(component):
            return
        self._asked.append(component)
        if await self._ask(component, "start", partial(lifecycle.start, component, state)) is None:
            self._mended(component)

    async def _may_start(self, component: TakeOverComponent) -> bool:
        """Ask, each time anew. One that waits runs in no state and has no fault: it is asked again when it has said."""
        record = self.take_overs.question()
        answer: take_over.StartAnswer | ComponentError = NOT_SERVING
        if record is not None:
            answer = await self._call(component, "may_start", partial(take_over.may_start, component, record))
        if isinstance(answer, ComponentError):
            return False
        waits_for = self.take_overs.answered(component, record, answer)
        if waits_for is not None:
            lifecycle.forget_state(component)
            self.faults.mended(component)
            self._log_repeated(logging.WARNING, component, "wait", f"{component.name} may not start yet: {waits_for}")
        return waits_for is None

    async def _quiesce_for(self, aim: Aim) -> list[ComponentError]:
        """Everything that does not stay as it is, in reverse order, and what loses the role lets go; what failed."""
        errors: list[ComponentError | None] = []
        for component in reversed(self._components):
            leaves_role = aim.of(component) is lifecycle.UNKNOWN
            if not leaves_role and aim.leaves(component, self._aim):
                continue
            self.take_overs.forget_wait(component)
            error = await self._quiesce(component) if component in self._asked else None
            if error is not None and leaves_role:
                self.take_overs.not_released(component, str(error))
            elif leaves_role:
                error = await self._release(component)
            errors.append(error)
        return [error for error in errors if error is not None]

    async def _quiesce(self, component: ctl_ha_component) -> ComponentError | None:
        error = await self._ask(component, "quiesce", partial(lifecycle.quiesce, component))
        if error is None or not self.faults.may_start(component):
            self._asked.remove(component)
        return error

    async def _release(self, component: ctl_ha_component) -> ComponentError | None:
        """Ask one that ran here by the role whether it has let go. That it does not know is no fault of it."""
        if not isinstance(component, TakeOverComponent) or not self.take_overs.holds(component):
            return None
        answer = await self._call(component, "released", partial(take_over.released, component))
        if isinstance(answer, ComponentError):
            self.take_overs.not_released(component, str(answer))
            return answer
        self.take_overs.released(component, answer)
        return None

    async def _ask(
        self, component: ctl_ha_component, step: str, call: Callable[[], Awaitable[ctl_ha_comp_status]]
    ) -> ComponentError | None:
        """What is wrong, noted, or nothing."""
        answer = await self._call(component, step, call)
        if isinstance(answer, ComponentError):
            return answer
        if answer is ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK:
            return None
        return self._note(component, _KINDS[answer], step, f"answered {answer.name}", cause=None)

    async def _call(
        self, component: ctl_ha_component, step: str, call: Callable[[], Awaitable[Result]]
    ) -> Result | ComponentError:
        """What it answers, or that it did not, noted. Whatever goes on in spite of its end is not asked on top."""
        steps = self.take_overs.steps
        if steps.goes_on(component):
            return self._note(component, FaultKind.STUCK, step, "has to wait: an earlier step goes on", cause=None)
        raised: list[Exception] = []

        async def answered() -> Result:
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
            if isinstance(component, TakeOverComponent):
                return await steps.finish(component, STEP_LIMIT_S, answered)
            return await finish_in_seen_time(self._clock, STEP_LIMIT_S, answered)
        except Exception as error:
            if raised:
                return self._note(component, FaultKind.RAISED, step, f"raised {raised[0]!r}", cause=raised[0])
            if isinstance(error, trio.TooSlowError):
                problem = f"took more than {STEP_LIMIT_S:.0f} s"
                problem += ", and cannot be cancelled: it goes on" if steps.goes_on(component) else ""
                return self._note(component, FaultKind.STUCK, step, problem, cause=None)
            raise

    def _note(
        self, component: ctl_ha_component, kind: FaultKind, step: str, problem: str, *, cause: Exception | None
    ) -> ComponentError:
        error = ComponentError(f"{component.name}: {step} {problem}")
        error.__cause__ = cause
        if kind is not FaultKind.FAILED:
            lifecycle.forget_state(component)
        self._log_repeated(logging.ERROR, component, step, str(error), cause=cause)
        self.faults.note(component, kind, error, self._clock.now())
        self.take_overs.forget_wait(component)
        return error

    def _log_repeated(
        self, level: int, component: ctl_ha_component, step: str, text: str, *, cause: Exception | None = None
    ) -> None:
        line = self._repeats.came(self._clock.now(), text, kind=(component, step))
        if line is not None:
            _LOG.log(level, "%s", line, exc_info=cause)

    def _mended_unless_error(self, component: ctl_ha_component) -> None:
        if self.faults.may_start(component):
            self._mended(component)

    def _mended(self, component: ctl_ha_component) -> None:
        self.faults.mended(component)
        for step in _STEPS:
            self._repeats.ended((component, step))
