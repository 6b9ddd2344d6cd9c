"""``ctlha`` with a component that takes its time to start, while its node is a member already and shows reads."""

from collections.abc import Sequence
from typing import Final

from ctlha_trio import ctl_ha_comp_status, ctl_ha_component, ctl_ha_state
from ctlha_trio.cli import main
from ctlha_trio.cli._node import _Running
from ctlha_trio.ha import Node
from ctlha_trio.seams import TrioClock

START_S: Final = 0.3
"""Long enough for a dozen reads."""

_CLOCK: Final = TrioClock()
_remember = _Running._remember


async def agree(_: ctl_ha_component) -> ctl_ha_comp_status:
    return ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK


async def start(_: ctl_ha_component, __: ctl_ha_state) -> ctl_ha_comp_status:
    await _CLOCK.sleep_until(_CLOCK.now() + START_S)
    return ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK


def remember(self: _Running, node: Node) -> Sequence[ctl_ha_component]:
    return [*_remember(self, node), ctl_ha_component("slow", init=agree, start=start, quiesce=agree)]


_Running._remember = remember  # type: ignore[method-assign]
main(prog_name="ctlha")
