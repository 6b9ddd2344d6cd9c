"""Checked by mypy and pyright, never run: enums and their names, records, function types, macros."""

from typing import assert_never, assert_type

from ctlha_trio import RemoteBuffer, ctl_ha
from ctlha_trio.ctl_ha import (
    CTL_HA_STATE_IS_HA,
    CTL_HA_STATE_IS_SINGLE,
    ctl_evt_handler,
    ctl_ha_channel,
    ctl_ha_comp_status,
    ctl_ha_component,
    ctl_ha_dt_cb,
    ctl_ha_dt_cmd,
    ctl_ha_dt_req,
    ctl_ha_dtid,
    ctl_ha_event,
    ctl_ha_mode,
    ctl_ha_state,
    ctl_ha_status,
    ctl_hacmp_init_t,
    ctl_hacmp_start_t,
)

# A match is exhaustive over the members, and over the header's bare names.


def every_mode(mode: ctl_ha_mode) -> str:
    match mode:
        case ctl_ha.CTL_HA_MODE_SER_ONLY:
            return "orders"
        case ctl_ha.CTL_HA_MODE_XFER:
            return "orders and data"
        case _:
            assert_never(mode)


def every_channel(channel: ctl_ha_channel) -> int:
    match channel:
        case ctl_ha.CTL_HA_CHAN_CTL | ctl_ha.CTL_HA_CHAN_ZFS:
            return 1
        case ctl_ha.CTL_HA_CHAN_NONE | ctl_ha.CTL_HA_CHAN_MAX:
            return 0
        case _:
            assert_never(channel)


def every_event(event: ctl_ha_event) -> str:
    match event:
        case ctl_ha.CTL_HA_EVT_MSG_RECV | ctl_ha.CTL_HA_EVT_MSG_SENT:
            return "message"
        case ctl_ha.CTL_HA_EVT_DMA_SENT | ctl_ha.CTL_HA_EVT_DMA_RECEIVED:
            return "transfer"
        case ctl_ha.CTL_HA_EVT_DISCONNECT:
            return "loss"
        case ctl_ha.CTL_HA_EVT_NONE | ctl_ha.CTL_HA_EVT_MAX:
            return "never"
        case _:
            assert_never(event)


def every_status(status: ctl_ha_status) -> str:
    match status:
        case ctl_ha.CTL_HA_STATUS_WAIT:
            return "accepted"
        case ctl_ha.CTL_HA_STATUS_SUCCESS:
            return "done"
        case ctl_ha.CTL_HA_STATUS_ERROR | ctl_ha.CTL_HA_STATUS_INVALID:
            return "failed"
        case ctl_ha.CTL_HA_STATUS_DISCONNECT | ctl_ha.CTL_HA_STATUS_BUSY:
            return "not now"
        case ctl_ha.CTL_HA_STATUS_MAX:
            return "never"
        case _:
            assert_never(status)


def every_member(status: ctl_ha_status) -> str:
    match status:
        case ctl_ha_status.CTL_HA_STATUS_WAIT | ctl_ha_status.CTL_HA_STATUS_SUCCESS:
            return "accepted"
        case ctl_ha_status.CTL_HA_STATUS_ERROR | ctl_ha_status.CTL_HA_STATUS_INVALID:
            return "failed"
        case ctl_ha_status.CTL_HA_STATUS_DISCONNECT | ctl_ha_status.CTL_HA_STATUS_BUSY:
            return "not now"
        case ctl_ha_status.CTL_HA_STATUS_MAX:
            return "never"
        case _:
            assert_never(status)


def a_forgotten_status(status: ctl_ha_status) -> str:
    match status:
        case ctl_ha.CTL_HA_STATUS_WAIT | ctl_ha.CTL_HA_STATUS_SUCCESS:
            return "accepted"
        case _:
            assert_never(status)  # type: ignore[arg-type]


def every_data_id(data_id: ctl_ha_dtid) -> str:
    match data_id:
        case ctl_ha.CTL_HA_DATA_CTL:
            return "commands"
        case ctl_ha.CTL_HA_DATA_ZFS:
            return "file system"
        case ctl_ha.CTL_HA_DATA_MAX:
            return "never"
        case _:
            assert_never(data_id)


def every_direction(command: ctl_ha_dt_cmd) -> str:
    match command:
        case ctl_ha.CTL_HA_DT_CMD_READ:
            return "pull"
        case ctl_ha.CTL_HA_DT_CMD_WRITE:
            return "push"
        case _:
            assert_never(command)


def every_component_status(status: ctl_ha_comp_status) -> str:
    match status:
        case ctl_ha.CTL_HA_COMP_STATUS_OK:
            return "runs"
        case ctl_ha.CTL_HA_COMP_STATUS_FAILED:
            return "may be asked again"
        case ctl_ha.CTL_HA_COMP_STATUS_ERROR:
            return "final"
        case _:
            assert_never(status)


# Flags are a set: no match over them is exhaustive, and their union is one of them.

assert_type(ctl_ha.CTL_HA_STATE_HA | ctl_ha.CTL_HA_STATE_MASTER, ctl_ha_state)
assert_type(ctl_ha.CTL_HA_STATE_SINGLE & ctl_ha.CTL_HA_STATE_MASK, ctl_ha_state)
assert_type(ctl_ha.CTL_HA_STATE_HA.name, str)
assert_type((ctl_ha.CTL_HA_STATE_HA | ctl_ha.CTL_HA_STATE_MASTER).name, str)
assert_type(~ctl_ha.CTL_HA_STATE_SLAVE, ctl_ha_state)
assert_type(CTL_HA_STATE_IS_HA(ctl_ha.CTL_HA_STATE_UNKNOWN), bool)
assert_type(CTL_HA_STATE_IS_SINGLE(ctl_ha.CTL_HA_STATE_UNKNOWN), bool)
CTL_HA_STATE_IS_HA(ctl_ha_status.CTL_HA_STATUS_SUCCESS)  # type: ignore[arg-type]

# No name of the header can be given another meaning.

ctl_ha_status.CTL_HA_STATUS_WAIT = ctl_ha_status.CTL_HA_STATUS_SUCCESS  # type: ignore[misc]


# The request is generic in what the consumer keeps with it.


async def of_a_command(request: ctl_ha_dt_req[str]) -> None:
    assert_type(request.context, str | None)
    assert_type(request.ret, ctl_ha_status)
    assert_type(request.command, ctl_ha_dt_cmd)
    assert_type(request.id, ctl_ha_dtid)
    assert_type(request.size, int)
    assert_type(request.local, bytes | bytearray | memoryview)
    assert_type(request.remote, RemoteBuffer | None)


async def of_a_number(request: ctl_ha_dt_req[int]) -> None:
    """A callback for requests that keep something else."""


request = ctl_ha_dt_req[str]()
request.context = "command 7"
request.context = 7  # type: ignore[assignment]
request.callback = of_a_command
request.callback = of_a_number  # type: ignore[assignment]
request.local = bytearray(8)
request.local = memoryview(bytearray(8))
request.local = b"12345678"
request.local = "12345678"  # type: ignore[assignment]
request.remote = RemoteBuffer(b"k" * 16).at(8)
request.remote = 0xDEADBEEF  # type: ignore[assignment]
RemoteBuffer(b"k" * 16).offset = 8  # type: ignore[misc]

callback: ctl_ha_dt_cb[str] = of_a_command
assert_type(ctl_ha_dt_req(context="command 7"), ctl_ha_dt_req[str])


# Everything that C would call through a pointer is awaited.


async def handler(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
    """What a channel's events are given to."""


def not_async(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
    """What C would take."""


async def init(component: ctl_ha_component) -> ctl_ha_comp_status:
    assert_type(component.name, str)
    assert_type(component.state, ctl_ha_state)
    assert_type(component.status, ctl_ha_comp_status)
    return ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK


async def start(component: ctl_ha_component, state: ctl_ha_state) -> ctl_ha_comp_status:
    return ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK if CTL_HA_STATE_IS_HA(state) else component.status


handle: ctl_evt_handler = handler
handle_at_once: ctl_evt_handler = not_async  # type: ignore[assignment]
first: ctl_hacmp_init_t = init
next_state: ctl_hacmp_start_t = start
wrong_state: ctl_hacmp_start_t = init  # type: ignore[assignment]

component = ctl_ha_component("mine", init=init, start=start, quiesce=init)
assert_type(component.init, ctl_hacmp_init_t)
assert_type(component.start, ctl_hacmp_start_t)
assert_type(component.quiesce, ctl_hacmp_init_t)
ctl_ha_component("mine", init=init, start=init, quiesce=init)  # type: ignore[arg-type]
