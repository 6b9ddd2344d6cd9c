"""The functions of ``ctl_ha.h``, one to one, on the current node: that of the ``with node.current():`` around the call.

They return a ``ctl_ha_status`` where the header's do. Each status above SUCCESS stands for one error class of the
native operations, which are the methods of ``Node`` and ``MessageChannel``.
"""

from typing import Any, Literal

import trio

from ctlha_trio._errors import CtlHaError, InvalidError
from ctlha_trio._vocabulary import (
    CTL_HA_CHAN_CTL,
    CTL_HA_CHAN_MAX,
    CTL_HA_CHAN_NONE,
    CTL_HA_CHAN_ZFS,
    CTL_HA_COMP_STATUS_ERROR,
    CTL_HA_COMP_STATUS_FAILED,
    CTL_HA_COMP_STATUS_OK,
    CTL_HA_DATA_CTL,
    CTL_HA_DATA_MAX,
    CTL_HA_DATA_ZFS,
    CTL_HA_DT_CMD_READ,
    CTL_HA_DT_CMD_WRITE,
    CTL_HA_EVT_DISCONNECT,
    CTL_HA_EVT_DMA_RECEIVED,
    CTL_HA_EVT_DMA_SENT,
    CTL_HA_EVT_MAX,
    CTL_HA_EVT_MSG_RECV,
    CTL_HA_EVT_MSG_SENT,
    CTL_HA_EVT_NONE,
    CTL_HA_MODE_SER_ONLY,
    CTL_HA_MODE_XFER,
    CTL_HA_STATE_HA,
    CTL_HA_STATE_IS_HA,
    CTL_HA_STATE_IS_SINGLE,
    CTL_HA_STATE_MASK,
    CTL_HA_STATE_MASTER,
    CTL_HA_STATE_SINGLE,
    CTL_HA_STATE_SLAVE,
    CTL_HA_STATE_UNKNOWN,
    CTL_HA_STATUS_BUSY,
    CTL_HA_STATUS_DISCONNECT,
    CTL_HA_STATUS_ERROR,
    CTL_HA_STATUS_INVALID,
    CTL_HA_STATUS_MAX,
    CTL_HA_STATUS_SUCCESS,
    CTL_HA_STATUS_WAIT,
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
from ctlha_trio.ha import MessageChannel, current_node
from ctlha_trio.seams import Buffer, byte_view

__all__ = [
    "CTL_HA_CHAN_CTL",
    "CTL_HA_CHAN_MAX",
    "CTL_HA_CHAN_NONE",
    "CTL_HA_CHAN_ZFS",
    "CTL_HA_COMP_STATUS_ERROR",
    "CTL_HA_COMP_STATUS_FAILED",
    "CTL_HA_COMP_STATUS_OK",
    "CTL_HA_DATA_CTL",
    "CTL_HA_DATA_MAX",
    "CTL_HA_DATA_ZFS",
    "CTL_HA_DT_CMD_READ",
    "CTL_HA_DT_CMD_WRITE",
    "CTL_HA_EVT_DISCONNECT",
    "CTL_HA_EVT_DMA_RECEIVED",
    "CTL_HA_EVT_DMA_SENT",
    "CTL_HA_EVT_MAX",
    "CTL_HA_EVT_MSG_RECV",
    "CTL_HA_EVT_MSG_SENT",
    "CTL_HA_EVT_NONE",
    "CTL_HA_MODE_SER_ONLY",
    "CTL_HA_MODE_XFER",
    "CTL_HA_STATE_HA",
    "CTL_HA_STATE_IS_HA",
    "CTL_HA_STATE_IS_SINGLE",
    "CTL_HA_STATE_MASK",
    "CTL_HA_STATE_MASTER",
    "CTL_HA_STATE_SINGLE",
    "CTL_HA_STATE_SLAVE",
    "CTL_HA_STATE_UNKNOWN",
    "CTL_HA_STATUS_BUSY",
    "CTL_HA_STATUS_DISCONNECT",
    "CTL_HA_STATUS_ERROR",
    "CTL_HA_STATUS_INVALID",
    "CTL_HA_STATUS_MAX",
    "CTL_HA_STATUS_SUCCESS",
    "CTL_HA_STATUS_WAIT",
    "ctl_dt_req_alloc",
    "ctl_dt_req_free",
    "ctl_dt_single",
    "ctl_evt_handler",
    "ctl_ha_channel",
    "ctl_ha_comp_status",
    "ctl_ha_component",
    "ctl_ha_dt_cb",
    "ctl_ha_dt_cmd",
    "ctl_ha_dt_req",
    "ctl_ha_dtid",
    "ctl_ha_event",
    "ctl_ha_mode",
    "ctl_ha_msg_create",
    "ctl_ha_msg_recv",
    "ctl_ha_msg_send",
    "ctl_ha_register_evthandler",
    "ctl_ha_state",
    "ctl_ha_status",
    "ctl_hacmp_init_t",
    "ctl_hacmp_start_t",
]

_WAIT = ctl_ha_status.CTL_HA_STATUS_WAIT
_SUCCESS = ctl_ha_status.CTL_HA_STATUS_SUCCESS
_INVALID = ctl_ha_status.CTL_HA_STATUS_INVALID


def ctl_ha_register_evthandler(channel: ctl_ha_channel, handler: ctl_evt_handler) -> None:
    """Replace the handler of an open channel, from its next event on. Does nothing for a channel that is not open.

    Source: ``ctl_ha.h``, ``ctl_ha_register_evthandler``, which FreeBSD declares and never calls. Not a checkpoint.
    """
    node = current_node()
    _require(channel, ctl_ha_channel, "channel")
    _require_callable(handler)
    try:
        node.channel(channel).set_handler(handler)
    except InvalidError:
        return  # the header's function has no way to tell


def ctl_ha_msg_create(channel: ctl_ha_channel, handler: ctl_evt_handler) -> ctl_ha_status:
    """Open a channel with its handler: SUCCESS; INVALID for one that is open already, NONE or MAX. Not a checkpoint.

    Source: ``ctl_ha.h``, ``ctl_ha_msg_create``; FreeBSD 9's CTL tests for exactly SUCCESS.
    """
    node = current_node()
    _require(channel, ctl_ha_channel, "channel")
    _require_callable(handler)
    try:
        node.open_channel(channel, handler)
    except CtlHaError as error:
        return error.status
    return _SUCCESS


async def ctl_ha_msg_recv(
    channel: ctl_ha_channel, buffer: bytearray | memoryview, size: int, wait: Literal[0, 1]
) -> ctl_ha_status:
    """Receive the oldest message into ``buffer``: SUCCESS only when it was filled. ``size`` is in bytes.

    ``wait=0``: WAIT when there is no message; a checkpoint only then, or when it is refused. ``wait=1``: always a
    checkpoint; takes the next message also beside a handler, which gets no MSG_RECV for it; DISCONNECT if there is no
    message and no session, or the session ends first; cancelled: no message is lost. INVALID, never a truncation, for a
    ``size`` that is not the channel's, a buffer that is smaller, and a channel that is not open.
    """
    opened = _opened(channel, size, wait)
    try:
        # Nobody holds a buffer's memory longer than the call that fills it needs: a view only to wait for a message.
        target = buffer if type(buffer) is bytearray and not wait else _writable_view(buffer)
        if opened is None or size != opened.message_size_bytes or len(target) < size or wait not in {0, 1}:
            raise InvalidError("channel, size, buffer or wait")
        if wait:
            target[:size] = await opened.receive()
        else:
            opened.receive_into_nowait(target)
    except CtlHaError as error:
        await trio.lowlevel.checkpoint()
        return error.status
    return _SUCCESS


async def ctl_ha_msg_send(channel: ctl_ha_channel, buffer: Buffer, size: int, wait: Literal[0, 1]) -> ctl_ha_status:
    """Send the first ``size`` bytes of ``buffer``. ``size`` must be the channel's.

    ``wait=0``: WAIT; the bytes were copied, nothing has blocked, and exactly one MSG_SENT with a status follows, also
    when the link falls. BUSY: no slot or credit. A checkpoint only when nothing was sent. ``wait=1``: SUCCESS once the
    peer has the message, and no MSG_SENT; always a checkpoint; cancelled: it may have been sent. DISCONNECT: no
    session, or it ended before the message was acknowledged. INVALID: another size, here or at the peer, or a channel
    that is not open.
    """
    opened = _opened(channel, size, wait)
    try:
        message = buffer if type(buffer) is bytes and len(buffer) == size else byte_view(buffer)[:size]
        if opened is None or size != opened.message_size_bytes or len(message) < size or wait not in {0, 1}:
            raise InvalidError("channel, size, buffer or wait")
        if wait:
            await opened.send(message)
            return _SUCCESS
        opened.post_nowait(message)
    except CtlHaError as error:
        await trio.lowlevel.checkpoint()
        return error.status
    return _WAIT


def ctl_dt_req_alloc() -> ctl_ha_dt_req[Any]:
    """A new request, the consumer's until it frees it. ``BusyError`` when too many are: never a NULL to trip over.

    Source: ``ctl_ha.h``, ``ctl_dt_req_alloc``. Not a checkpoint.
    """
    return current_node().transfers.allocate()


def ctl_dt_req_free(req: ctl_ha_dt_req[Any]) -> None:
    """Give a request back. Not a checkpoint.

    ``InvalidError`` if it is in flight, was freed before, or was never allocated by this node. Works after the node's
    end too, so that clean-up needs no care.
    """
    node = current_node(even_ended=True)
    _require(req, ctl_ha_dt_req, "req")
    node.transfers.free(req)


def ctl_dt_single(req: ctl_ha_dt_req[Any]) -> ctl_ha_status:
    """Start one piece of a transfer. WAIT: go on with the next; any other value: not started, and no callback for it.

    The fields are read now. The callback, if the piece has one, runs after every piece started before it on the same
    request has ended, never inside this call, with ``req.ret`` SUCCESS or the first failure: ERROR if the peer refused,
    DISCONNECT if the session ended. INVALID, DISCONNECT and BUSY are returned at once. Not a checkpoint.
    """
    node = current_node()
    _require(req, ctl_ha_dt_req, "req")
    _require(req.command, ctl_ha_dt_cmd, "req.command")
    _require(req.id, ctl_ha_dtid, "req.id")
    _require(req.size, int, "req.size")
    try:
        node.transfers.start(req)
    except CtlHaError as error:
        return error.status
    return _WAIT


def _opened(channel: object, size: object, wait: object) -> MessageChannel | None:
    """The current node's channel, if it is open; all three are of the right types."""
    node = current_node()
    if isinstance(channel, ctl_ha_channel) and isinstance(size, int) and isinstance(wait, int):
        return node.channels.get(channel)
    _require(channel, ctl_ha_channel, "channel")
    _require(size, int, "size")
    _require(wait, int, "wait")
    raise AssertionError("one of them was not")


def _writable_view(buffer: Buffer) -> memoryview:
    """``InvalidError`` for memory that cannot be written."""
    view = byte_view(buffer)
    if view.readonly:
        raise InvalidError("the buffer is read-only")
    return view


def _require(value: object, kind: type, name: str) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be of type {kind.__name__}, not {value!r}")


def _require_callable(handler: object) -> None:
    if not callable(handler):
        raise TypeError(f"handler must be an async callable, not {handler!r}")
