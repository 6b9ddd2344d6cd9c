"""``ctlha`` with a component that opens what both nodes reach: a file beside their folders that names who has it."""

from collections.abc import Sequence

from ctlha_trio import (
    NeedsFence,
    NotYet,
    Record,
    Released,
    StartAnswer,
    TakeOverComponent,
    Yes,
    ctl_ha_comp_status,
    ctl_ha_component,
    ctl_ha_state,
)
from ctlha_trio.cli import main
from ctlha_trio.cli._node import _Running
from ctlha_trio.ha import Node

_remember = _Running._remember


def pool(running: _Running, node: Node) -> TakeOverComponent:
    me, file = node.config.node, running.loaded.folder.parent / "pool"

    async def agree(_: ctl_ha_component) -> ctl_ha_comp_status:
        return ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK

    async def may_start(record: Record) -> StartAnswer:
        owner = file.read_text() if file.exists() else ""
        if owner in {"", me} or record.fence == "confirmed":
            return Yes()
        return NeedsFence(f"{owner} has it") if len(record.members) == 1 else NotYet(f"{owner} lets go of it", 0.1)

    async def start(_: ctl_ha_component, __: ctl_ha_state) -> ctl_ha_comp_status:
        file.write_text(me)
        return ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK

    async def released() -> Released:
        file.write_text("")
        return Released.PROOF

    return TakeOverComponent("pool", init=agree, start=start, quiesce=agree, may_start=may_start, released=released)


def remember(self: _Running, node: Node) -> Sequence[ctl_ha_component]:
    return [*_remember(self, node), pool(self, node)]


_Running._remember = remember  # type: ignore[method-assign]
main(prog_name="ctlha")
