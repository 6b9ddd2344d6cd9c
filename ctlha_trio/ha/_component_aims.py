"""What the components of a node are brought to in each phase: a state, and for some of them only where the role is."""

from typing import Final

import attrs

from ctlha_trio._vocabulary import ctl_ha_component, ctl_ha_state
from ctlha_trio.ha._lifecycle import HA, SINGLE, UNKNOWN
from ctlha_trio.ha._take_over import TakeOverComponent
from ctlha_trio.pair import Phase


@attrs.frozen
class Aim:
    """Of all components of one node."""

    state: ctl_ha_state
    has_role: bool
    """Whether what runs on one node at a time runs on this one."""

    def of(self, component: ctl_ha_component) -> ctl_ha_state:
        """The state in which it is to run; UNKNOWN: in none."""
        return UNKNOWN if isinstance(component, TakeOverComponent) and not self.has_role else self.state

    def leaves(self, component: ctl_ha_component, before: "Aim") -> bool:
        """Whether it goes on as it is: a change of the role alone is nothing to what runs on both nodes."""
        return self.state is before.state and self.of(component) is before.of(component)


AT_REST: Final = Aim(UNKNOWN, has_role=False)
AIMS: Final = {
    Phase.ALONE: Aim(SINGLE, has_role=True),
    Phase.ADMITTING: Aim(SINGLE, has_role=True),
    Phase.MIRRORING: Aim(HA, has_role=True),
    Phase.HANDING_OVER: Aim(HA, has_role=True),
    Phase.FOLLOWING: Aim(HA, has_role=False),
    # This node has no part in the service.
    Phase.OUTDATED: AT_REST,
    Phase.RESYNCING: AT_REST,
    Phase.STOPPED: AT_REST,
    Phase.LEFT: AT_REST,
}
"""In the phases that are not here but between them, a component keeps the state that it has."""
