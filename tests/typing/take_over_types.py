"""Checked by mypy and pyright, never run: a component that runs on one node at a time, and what its hooks answer."""

from typing import assert_never, assert_type

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
    may_start_t,
    released_t,
)


def every_answer(answer: StartAnswer) -> str:
    match answer:
        case Yes():
            return ""
        case NotYet(reason, estimate_s):
            assert_type(estimate_s, float | None)
            return reason
        case NeedsFence(reason):
            return reason
        case _:
            assert_never(answer)


def every_proof(answer: Released) -> bool:
    match answer:
        case Released.PROOF:
            return True
        case Released.UNKNOWN:
            return False
        case _:
            assert_never(answer)


async def agree(_: ctl_ha_component) -> ctl_ha_comp_status:
    return ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK


async def start(_: ctl_ha_component, __: ctl_ha_state) -> ctl_ha_comp_status:
    return ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK


async def may_start(record: Record) -> StartAnswer:
    return Yes() if record.fence == "confirmed" else NeedsFence(f"{record.members} may have it")


async def released() -> Released:
    return Released.PROOF


# The hooks are of the types that the page names; it is a component of the header's, in a list with others.

asks: may_start_t = may_start
lets_go: released_t = released
components: list[ctl_ha_component] = [
    TakeOverComponent("pool", init=agree, start=start, quiesce=agree, may_start=asks, released=lets_go)
]

# Neither hook may be left out, and an answer is no truth value.

TakeOverComponent("pool", init=agree, start=start, quiesce=agree, may_start=may_start)  # type: ignore[call-arg]


async def forgets(record: Record) -> bool:
    return record.primary == "a"


wrong: may_start_t = forgets  # type: ignore[assignment]
