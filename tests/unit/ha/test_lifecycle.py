"""The legal life of one component."""

from itertools import product

import pytest
import trio

from ctlha_trio._errors import ComponentError
from ctlha_trio._vocabulary import ctl_ha_comp_status, ctl_ha_component, ctl_ha_state
from ctlha_trio.ha import _lifecycle as lifecycle

UNKNOWN, SINGLE, HA = lifecycle.UNKNOWN, lifecycle.SINGLE, lifecycle.HA
MASTER, SLAVE = ctl_ha_state.CTL_HA_STATE_MASTER, ctl_ha_state.CTL_HA_STATE_SLAVE
FAILED = ctl_ha_comp_status.CTL_HA_COMP_STATUS_FAILED
OK = ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK
ERROR = ctl_ha_comp_status.CTL_HA_COMP_STATUS_ERROR
LEGAL = {(UNKNOWN, SINGLE), (UNKNOWN, HA), (SINGLE, HA), (HA, SINGLE)}


def component(state: ctl_ha_state = UNKNOWN, answer: ctl_ha_comp_status = OK) -> ctl_ha_component:
    async def step(_: ctl_ha_component) -> ctl_ha_comp_status:
        await trio.lowlevel.checkpoint()
        return answer

    async def start(own: ctl_ha_component, _: ctl_ha_state) -> ctl_ha_comp_status:
        own.name += " started"
        return await step(own)

    return ctl_ha_component(name="part", state=state, init=step, start=start, quiesce=step)


@pytest.mark.parametrize("bits", [UNKNOWN, MASTER, SLAVE, MASTER | SLAVE])
@pytest.mark.parametrize(("running", "wanted"), list(product((UNKNOWN, SINGLE, HA), repeat=2)))
async def test_start(running: ctl_ha_state, wanted: ctl_ha_state, bits: ctl_ha_state) -> None:
    part = component(running | bits)
    if (running, wanted) in LEGAL:
        await lifecycle.start(part, wanted)
        assert part.name == "part started"
        assert part.state == wanted | bits
    else:
        with pytest.raises(ComponentError, match="cannot go"):
            await lifecycle.start(part, wanted)
        assert part.name == "part", "it was not even asked"
        assert part.state == running | bits


@pytest.mark.parametrize("answer", [FAILED, ERROR])
async def test_what_does_not_start_runs_in_no_state(answer: ctl_ha_comp_status) -> None:
    part = component(HA | MASTER, answer)
    assert await lifecycle.start(part, SINGLE) is answer
    assert part.state == UNKNOWN | MASTER
    assert part.status is answer


@pytest.mark.parametrize("answer", ctl_ha_comp_status)
async def test_init_and_quiesce_keep_the_answer(answer: ctl_ha_comp_status) -> None:
    part = component(answer=answer)
    assert await lifecycle.quiesce(part) is answer
    assert part.status is answer
    part = component(answer=answer)
    assert await lifecycle.init(part) is answer
    assert part.status is answer


@pytest.mark.parametrize("step", ["init", "start", "quiesce"])
async def test_a_forgotten_return_is_no_answer(step: str) -> None:
    part = component(answer=None)  # type: ignore[arg-type]

    async def take() -> None:
        if step == "start":
            await lifecycle.start(part, HA)
        else:
            await (lifecycle.init if step == "init" else lifecycle.quiesce)(part)

    with pytest.raises(TypeError, match=f"{step} answers a ctl_ha_comp_status, not None"):
        await take()
    assert part.state == UNKNOWN
