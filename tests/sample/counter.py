"""A counter that both nodes of a pair can serve: it goes on from where the other one was lost."""

from ctlha_trio import Node
from ctlha_trio.ctl_ha import ctl_ha_comp_status, ctl_ha_component, ctl_ha_state


class Counter:
    """Counts in the first eight bytes of the volume."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.state = ctl_ha_state.CTL_HA_STATE_UNKNOWN

    async def add(self) -> int:
        count = int.from_bytes(await self.node.volume.read(0, 8)) + 1
        await self.node.volume.write(0, count.to_bytes(8))
        return count

    async def start(self, component: ctl_ha_component, state: ctl_ha_state) -> ctl_ha_comp_status:
        self.state = state
        return ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK

    async def pause(self, component: ctl_ha_component) -> ctl_ha_comp_status:
        self.state = ctl_ha_state.CTL_HA_STATE_UNKNOWN
        return ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK


def counting(node: Node, counters: dict[str, Counter]) -> ctl_ha_component:
    """The component of a node, whose counter is kept under the name of the node."""
    counter = counters[node.config.node] = Counter(node)
    return ctl_ha_component("counter", init=counter.pause, start=counter.start, quiesce=counter.pause)
