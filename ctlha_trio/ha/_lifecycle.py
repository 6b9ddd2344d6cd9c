"""The legal life of a component, as a table, and how the supervisor asks for each step of it."""

from typing import Final

from ctlha_trio._errors import ComponentError
from ctlha_trio._vocabulary import ctl_ha_comp_status, ctl_ha_component, ctl_ha_state

UNKNOWN: Final = ctl_ha_state.CTL_HA_STATE_UNKNOWN
SINGLE: Final = ctl_ha_state.CTL_HA_STATE_SINGLE
HA: Final = ctl_ha_state.CTL_HA_STATE_HA

LEGAL_STARTS: Final = frozenset({(UNKNOWN, HA), (UNKNOWN, SINGLE), (HA, SINGLE), (SINGLE, HA)})
"""From the state that the component runs in to the one that it is asked for. SINGLE to HA is the return of the peer."""


async def init(component: ctl_ha_component) -> None:
    """Once, before anything else. ``ComponentError`` unless it answers OK."""
    component.status = _answer(component, "init", await component.init(component))
    _check(component, "init")


async def start(component: ctl_ha_component, state: ctl_ha_state) -> bool:
    """Ask it to run in ``state``; whether it does. One that answers FAILED runs in none, and may be asked again.

    ``ComponentError`` if the transition is illegal, and nothing was asked then, or if it answers ERROR, which is final.
    """
    running = component.state & ctl_ha_state.CTL_HA_STATE_MASK
    if (running, state) not in LEGAL_STARTS:
        raise ComponentError(f"{component.name} cannot go from {running!r} to {state!r}")
    component.status = _answer(component, "start", await component.start(component, state))
    if component.status is ctl_ha_comp_status.CTL_HA_COMP_STATUS_ERROR:
        _check(component, "start")
    # SLAVE and MASTER are the component's own, whatever it set.
    own = component.state & ~ctl_ha_state.CTL_HA_STATE_MASK
    runs = component.status is ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK
    component.state = own | (state if runs else UNKNOWN)
    return runs


async def quiesce(component: ctl_ha_component) -> None:
    """Ask it to stop feeding work. ``ComponentError`` unless it answers OK."""
    component.status = _answer(component, "quiesce", await component.quiesce(component))
    _check(component, "quiesce")


def _answer(component: ctl_ha_component, step: str, answer: object) -> ctl_ha_comp_status:
    """What a hook returned. ``TypeError`` for no status: a forgotten ``return`` must not pass for an answer."""
    if not isinstance(answer, ctl_ha_comp_status):
        raise TypeError(f"{component.name}: {step} answers a ctl_ha_comp_status, not {answer!r}")
    return answer


def _check(component: ctl_ha_component, step: str) -> None:
    if component.status is not ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK:
        raise ComponentError(f"{component.name}: {step} answered {component.status.name}")
