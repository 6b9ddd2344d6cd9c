"""What components have not done of what they were asked, and when they are asked again."""

from enum import Enum
from typing import Final

import attrs

from ctlha_trio._errors import ComponentError
from ctlha_trio._vocabulary import ctl_ha_component

FIRST_RETRY_S: Final = 1.0
"""After the first failure; twice that after each further one in a row."""
DOUBLINGS_MAX: Final = 8
"""More than it takes to the bound below. A thousand of them are no number, and a component may fail for a day."""
RETRY_MAX_S: Final = 15.0
"""However often it failed: to ask costs little, and whoever has mended it shall not wait for long."""


def retry_wait_s(times: int) -> float:
    """Seconds until one that was asked so many times in a row is asked again."""
    return min(FIRST_RETRY_S * 2.0 ** min(times - 1, DOUBLINGS_MAX), RETRY_MAX_S)


class FaultKind(Enum):
    """How a component has failed a step."""

    FAILED = "failed"
    """It answered FAILED."""
    STUCK = "stuck"
    """It did not answer in time, and was cancelled."""
    RAISED = "raised"
    """It has a bug: what it has done of the step, nobody knows. ``error`` has the exception as its cause."""
    ERROR = "error"
    """It answered ERROR, and must never be started again."""


@attrs.frozen
class ComponentFault:
    """The latest of one component, while it does not run as it should."""

    kind: FaultKind
    error: ComponentError
    """What is to be said of it."""
    times: int
    """In a row."""
    again_s: float
    """When it is to be asked again; never, if that would be of no use."""


@attrs.define(eq=False)
class ComponentFaults:
    """Of all components of one node. Pure: it is told the time."""

    _faults: dict[ctl_ha_component, ComponentFault] = attrs.field(factory=dict, init=False)
    raised: dict[ctl_ha_component, ComponentError] = attrs.field(factory=dict, init=False)
    """The latest bug of each component that had one, whether it runs or not."""

    def note(self, component: ctl_ha_component, kind: FaultKind, error: ComponentError, now_s: float) -> None:
        """It has failed a step. ERROR is for ever."""
        if kind is FaultKind.RAISED:
            self.raised[component] = error
        before = self._faults.get(component)
        if before is not None and before.kind is FaultKind.ERROR:
            return
        times = 1 if before is None else before.times + 1
        again_s = float("inf") if kind is FaultKind.ERROR else now_s + retry_wait_s(times)
        self._faults[component] = ComponentFault(kind, error, times, again_s)

    def mended(self, component: ctl_ha_component) -> None:
        """It runs as it should."""
        self._faults.pop(component, None)

    def may_start(self, component: ctl_ha_component) -> bool:
        """Whether it has not answered ERROR."""
        fault = self._faults.get(component)
        return fault is None or fault.kind is not FaultKind.ERROR

    def due(self, now_s: float) -> list[ctl_ha_component]:
        """Those that are to be asked again now."""
        return [component for component, fault in self._faults.items() if fault.again_s <= now_s]

    @property
    def next_s(self) -> float:
        """When the next one is due; infinity if none will be."""
        return min((fault.again_s for fault in self._faults.values()), default=float("inf"))

    @property
    def all(self) -> tuple[ComponentFault, ...]:
        """The oldest first."""
        return tuple(self._faults.values())

    @property
    def failing(self) -> bool:
        """Whether one has no bug that is known of, and is to be asked again."""
        return any(fault.kind in {FaultKind.FAILED, FaultKind.STUCK} for fault in self._faults.values())

    def errors(self, *kinds: FaultKind) -> list[ComponentError]:
        """Of those that have failed so."""
        return [fault.error for fault in self._faults.values() if fault.kind in kinds]
