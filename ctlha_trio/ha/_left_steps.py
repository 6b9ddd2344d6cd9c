"""Steps that take no heed of being cancelled, such as an import in a thread: left to themselves, and never forgotten.

Whoever waited for one learns that it is stuck, so that the node can go on, give its role away, and say goodbye. Nothing
else is asked of its component before the step has ended, and no process ends before it: it may still write.
"""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, Generic, TypeVar

import attrs
import trio

from ctlha_trio._vocabulary import ctl_ha_component
from ctlha_trio.ha._lifecycle import forget_state
from ctlha_trio.ha._seen_time import finish_in_seen_time
from ctlha_trio.seams import Clock

HEED_S: Final = 1.0
"""For a step that was cancelled, to end."""

_LOG: Final = logging.getLogger(__name__)

Result = TypeVar("Result")


@attrs.define(eq=False)
class _Step(Generic[Result]):
    call: Callable[[], Awaitable[Result]]
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    ended: trio.Event = attrs.field(factory=trio.Event, init=False)
    results: list[Result] = attrs.field(factory=list, init=False)
    error: Exception | None = attrs.field(default=None, init=False)
    is_left: bool = attrs.field(default=False, init=False)
    """Nobody waits for it any more."""

    async def run(self) -> None:
        try:
            with self.scope:
                self.results.append(await self.call())
        except Exception as error:
            self.error = error
        finally:
            self.ended.set()


@attrs.define(eq=False)
class LeftSteps:
    """Of the components of one node."""

    _clock: Clock
    _start_soon: Callable[[Callable[[], Awaitable[None]]], object]
    """Starts a task that outlives whoever waits for the step, but not the node."""
    _under_way: dict[ctl_ha_component, _Step[Any]] = attrs.field(factory=dict, init=False)

    def goes_on(self, component: ctl_ha_component) -> bool:
        """Whether a step of it has not ended."""
        return component in self._under_way

    async def finish(
        self, component: ctl_ha_component, limit_s: float, call: Callable[[], Awaitable[Result]]
    ) -> Result:
        """As ``finish_in_seen_time``, of a component of which no step goes on; but does not wait for ever.

        ``trio.TooSlowError`` too if the step does not end within ``HEED_S`` of being cancelled; it ``goes_on`` then.
        Cancelled: it leaves the step after that time likewise.
        """
        step = _Step(call)
        self._under_way[component] = step
        self._start_soon(partial(self._run, component, step))
        try:
            with suppress(trio.TooSlowError):
                await finish_in_seen_time(self._clock, limit_s, step.ended.wait)
        finally:
            if not step.ended.is_set():
                step.scope.cancel()
                with trio.CancelScope(shield=True), suppress(trio.TooSlowError):
                    await finish_in_seen_time(self._clock, HEED_S, step.ended.wait)
            step.is_left = not step.ended.is_set()
            if step.error is not None:
                raise step.error
        if not step.results:
            raise trio.TooSlowError(f"not finished within {limit_s} s")
        return step.results[0]

    async def _run(self, component: ctl_ha_component, step: _Step[Any]) -> None:
        try:
            await step.run()
        finally:
            del self._under_way[component]
            if step.is_left:
                # Whatever it answered comes too late: nobody knows what it runs as.
                forget_state(component)
                _LOG.warning("%s: a step that was stuck has ended", component.name, exc_info=step.error)
