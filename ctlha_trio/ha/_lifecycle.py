"""The legal life of a component, as a table, and how the supervisor asks for each step of it."""

from typing import Final

from ctlha_trio._errors import ComponentError
from ctlha_trio._vocabulary import ctl_ha_comp_status, ctl_ha_component, ctl_ha_state

UNKNOWN: Final = ctl_ha_state.CTL_HA_STATE_UNKNOWN
SINGLE: Final = ctl_ha_state.CTL_HA_STATE_SINGLE
HA: Final = ctl_ha_state.CTL_HA_STATE_HA

LEGAL_STARTS: Final = frozenset({(UNKNOWN, HA), (UNKNOWN, SINGLE), (HA, SINGLE), (SINGLE, HA)})
"""From the state that the component runs in to the one that it is asked for. SINGLE to HA is the return of the peer."""


async def init(component: ctl_ha_component) -> ctl_ha_comp_status:
    """Ask it to get ready, before anything else; what it answers."""
    component.status = _answer(component, "init", await component.init(component))
    return component.status


async def start(component: ctl_ha_component, state: ctl_ha_state) -> ctl_ha_comp_status:
    """Ask it to run in ``state``; what it answers. Unless that is OK it runs in none.

    ``ComponentError`` if the transition is illegal, and nothing was asked then.
    """
    running = component.state & ctl_ha_state.CTL_HA_STATE_MASK
    if (running, state) not in LEGAL_STARTS:
        raise ComponentError(f"{component.name} cannot go from {running!r} to {state!r}")
    component.status = _answer(component, "start", await component.start(component, state))
    forget_state(component)
    if component.status is ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK:
        component.state |= state
    return component.status


async def quiesce(component: ctl_ha_component) -> ctl_ha_comp_status:
    """Ask it to stop feeding work; what it answers."""
    component.status = _answer(component, "quiesce", await component.quiesce(component))
    return component.status


def forget_state(component: ctl_ha_component) -> None:
    """It runs in none: from there it may be started in any. SLAVE and MASTER are the component's own, whatever it set.

    The header has no hook for this.
    """
    component.state &= ~ctl_ha_state.CTL_HA_STATE_MASK


def _answer(component: ctl_ha_component, step: str, answer: object) -> ctl_ha_comp_status:
    """What a hook returned. ``TypeError`` for no status: a forgotten ``return`` must not pass for an answer."""
    if not isinstance(answer, ctl_ha_comp_status):
        raise TypeError(f"{component.name}: {step} answers a ctl_ha_comp_status, not {answer!r}")
    return answer
