"""Checked by mypy and pyright, never run: the header's functions and the native operations beneath them."""

from typing import Any, assert_type

from ctlha_trio import MessageChannel, Node
from ctlha_trio.ctl_ha import (
    ctl_dt_req_alloc,
    ctl_dt_req_free,
    ctl_dt_single,
    ctl_ha_channel,
    ctl_ha_dt_req,
    ctl_ha_event,
    ctl_ha_msg_create,
    ctl_ha_msg_recv,
    ctl_ha_msg_send,
    ctl_ha_register_evthandler,
    ctl_ha_status,
)

CTL = ctl_ha_channel.CTL_HA_CHAN_CTL


async def handler(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
    """For the functions below."""


def not_async(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
    """What C would take."""


def channels() -> None:
    assert_type(ctl_ha_msg_create(CTL, handler), ctl_ha_status)
    ctl_ha_msg_create(1, handler)  # type: ignore[arg-type]
    ctl_ha_msg_create(CTL, not_async)  # type: ignore[arg-type]
    ctl_ha_register_evthandler(CTL, handler)
    ctl_ha_register_evthandler(CTL, None)  # type: ignore[arg-type]


async def messages(flag: int) -> None:
    for buffer in (bytes(8), bytearray(8), memoryview(bytearray(8))):
        assert_type(await ctl_ha_msg_send(CTL, buffer, 8, 0), ctl_ha_status)
    assert_type(await ctl_ha_msg_send(CTL, bytes(8), 8, 1), ctl_ha_status)
    assert_type(await ctl_ha_msg_recv(CTL, bytearray(8), 8, 0), ctl_ha_status)
    assert_type(await ctl_ha_msg_recv(CTL, memoryview(bytearray(8)), 8, 1), ctl_ha_status)
    await ctl_ha_msg_recv(CTL, bytes(8), 8, 0)  # type: ignore[arg-type]
    await ctl_ha_msg_send(CTL, "text", 8, 0)  # type: ignore[arg-type]
    await ctl_ha_msg_send(CTL, bytes(8), 8, 2)  # type: ignore[arg-type]
    await ctl_ha_msg_send(CTL, bytes(8), 8, flag)  # type: ignore[arg-type]


async def callback(req: ctl_ha_dt_req[str]) -> None:
    ctl_dt_req_free(req)


def transfers() -> None:
    req: ctl_ha_dt_req[str] = ctl_dt_req_alloc()
    assert_type(ctl_dt_req_alloc(), ctl_ha_dt_req[Any])
    req.callback = callback
    assert_type(ctl_dt_single(req), ctl_ha_status)
    ctl_dt_single(None)  # type: ignore[arg-type]
    ctl_dt_req_free(None)  # type: ignore[arg-type]


async def native(node: Node) -> None:
    channel = node.open_channel(CTL)
    assert_type(channel, MessageChannel)
    assert_type(await channel.receive(), bytes)
    assert_type(await channel.receive_many(), list[bytes])
    assert_type(channel.receive_nowait(), bytes)
    async for message in channel:
        assert_type(message, bytes)
    await channel.send(memoryview(bytearray(8)))
    channel.send_nowait("text")  # type: ignore[arg-type]
    with node.current():
        assert_type(ctl_ha_msg_create(CTL, handler), ctl_ha_status)
