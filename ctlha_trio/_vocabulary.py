"""The names of FreeBSD's ``ctl_ha.h``: enums with their numeric values, records and function types.

One vocabulary for the whole package: every layer uses these names, spelled as in C. The values are those that a C
compiler gives the header's enumerators; where the header writes them out (``ctl_ha_state``) they are the same.
"""

from collections.abc import Awaitable, Callable
from enum import IntEnum, IntFlag
from typing import Final, Generic, TypeVar

import attrs

Context = TypeVar("Context")


class ctl_ha_mode(IntEnum):
    """How commands reach the other node: serialised only, or with their data."""

    CTL_HA_MODE_SER_ONLY = 0
    CTL_HA_MODE_XFER = 1


CTL_HA_MODE_SER_ONLY: Final = ctl_ha_mode.CTL_HA_MODE_SER_ONLY
CTL_HA_MODE_XFER: Final = ctl_ha_mode.CTL_HA_MODE_XFER


class ctl_ha_channel(IntEnum):
    """The channels of the system's components. ``NONE`` and ``MAX`` are bounds, never channels."""

    CTL_HA_CHAN_NONE = 0
    CTL_HA_CHAN_CTL = 1
    CTL_HA_CHAN_ZFS = 2
    CTL_HA_CHAN_MAX = 3


CTL_HA_CHAN_NONE: Final = ctl_ha_channel.CTL_HA_CHAN_NONE
CTL_HA_CHAN_CTL: Final = ctl_ha_channel.CTL_HA_CHAN_CTL
CTL_HA_CHAN_ZFS: Final = ctl_ha_channel.CTL_HA_CHAN_ZFS
CTL_HA_CHAN_MAX: Final = ctl_ha_channel.CTL_HA_CHAN_MAX


class ctl_ha_event(IntEnum):
    """What a channel reports. ``NONE`` and ``MAX`` are bounds, never reported."""

    CTL_HA_EVT_NONE = 0
    CTL_HA_EVT_MSG_RECV = 1
    CTL_HA_EVT_MSG_SENT = 2
    CTL_HA_EVT_DISCONNECT = 3
    CTL_HA_EVT_DMA_SENT = 4
    CTL_HA_EVT_DMA_RECEIVED = 5
    CTL_HA_EVT_MAX = 6


CTL_HA_EVT_NONE: Final = ctl_ha_event.CTL_HA_EVT_NONE
CTL_HA_EVT_MSG_RECV: Final = ctl_ha_event.CTL_HA_EVT_MSG_RECV
CTL_HA_EVT_MSG_SENT: Final = ctl_ha_event.CTL_HA_EVT_MSG_SENT
CTL_HA_EVT_DISCONNECT: Final = ctl_ha_event.CTL_HA_EVT_DISCONNECT
CTL_HA_EVT_DMA_SENT: Final = ctl_ha_event.CTL_HA_EVT_DMA_SENT
CTL_HA_EVT_DMA_RECEIVED: Final = ctl_ha_event.CTL_HA_EVT_DMA_RECEIVED
CTL_HA_EVT_MAX: Final = ctl_ha_event.CTL_HA_EVT_MAX


class ctl_ha_status(IntEnum):
    """Answer of an operation: ``WAIT`` and ``SUCCESS`` mean accepted, whatever is above ``SUCCESS`` is a failure.

    Never test it for truth: ``WAIT`` is 0.
    """

    CTL_HA_STATUS_WAIT = 0
    CTL_HA_STATUS_SUCCESS = 1
    CTL_HA_STATUS_ERROR = 2
    CTL_HA_STATUS_INVALID = 3
    CTL_HA_STATUS_DISCONNECT = 4
    CTL_HA_STATUS_BUSY = 5
    CTL_HA_STATUS_MAX = 6


CTL_HA_STATUS_WAIT: Final = ctl_ha_status.CTL_HA_STATUS_WAIT
CTL_HA_STATUS_SUCCESS: Final = ctl_ha_status.CTL_HA_STATUS_SUCCESS
CTL_HA_STATUS_ERROR: Final = ctl_ha_status.CTL_HA_STATUS_ERROR
CTL_HA_STATUS_INVALID: Final = ctl_ha_status.CTL_HA_STATUS_INVALID
CTL_HA_STATUS_DISCONNECT: Final = ctl_ha_status.CTL_HA_STATUS_DISCONNECT
CTL_HA_STATUS_BUSY: Final = ctl_ha_status.CTL_HA_STATUS_BUSY
CTL_HA_STATUS_MAX: Final = ctl_ha_status.CTL_HA_STATUS_MAX


class ctl_ha_dtid(IntEnum):
    """Whose data a transfer carries."""

    CTL_HA_DATA_CTL = 0
    CTL_HA_DATA_ZFS = 1
    CTL_HA_DATA_MAX = 2


CTL_HA_DATA_CTL: Final = ctl_ha_dtid.CTL_HA_DATA_CTL
CTL_HA_DATA_ZFS: Final = ctl_ha_dtid.CTL_HA_DATA_ZFS
CTL_HA_DATA_MAX: Final = ctl_ha_dtid.CTL_HA_DATA_MAX


class ctl_ha_dt_cmd(IntEnum):
    """Direction of a transfer, seen from the requester: ``READ`` pulls, ``WRITE`` pushes."""

    CTL_HA_DT_CMD_READ = 0
    CTL_HA_DT_CMD_WRITE = 1


CTL_HA_DT_CMD_READ: Final = ctl_ha_dt_cmd.CTL_HA_DT_CMD_READ
CTL_HA_DT_CMD_WRITE: Final = ctl_ha_dt_cmd.CTL_HA_DT_CMD_WRITE


class ctl_ha_state(IntFlag):
    """What a component is asked to run as.

    The low nibble, ``MASK``, is the state; ``SLAVE`` and ``MASTER`` are the component's own notes and change no answer.
    """

    CTL_HA_STATE_UNKNOWN = 0x00
    CTL_HA_STATE_SINGLE = 0x01
    CTL_HA_STATE_HA = 0x02
    CTL_HA_STATE_MASK = 0x0F
    CTL_HA_STATE_SLAVE = 0x10
    CTL_HA_STATE_MASTER = 0x20

    @property
    def name(self) -> str:
        """Of a combination those of its members between ``|``. What has no name at all is its number, never None."""
        return self._name_ or f"{int(self):#x}"


CTL_HA_STATE_UNKNOWN: Final = ctl_ha_state.CTL_HA_STATE_UNKNOWN
CTL_HA_STATE_SINGLE: Final = ctl_ha_state.CTL_HA_STATE_SINGLE
CTL_HA_STATE_HA: Final = ctl_ha_state.CTL_HA_STATE_HA
CTL_HA_STATE_MASK: Final = ctl_ha_state.CTL_HA_STATE_MASK
CTL_HA_STATE_SLAVE: Final = ctl_ha_state.CTL_HA_STATE_SLAVE
CTL_HA_STATE_MASTER: Final = ctl_ha_state.CTL_HA_STATE_MASTER


class ctl_ha_comp_status(IntEnum):
    """A component's answer: running; not started, but failover may still work; never to be started again."""

    CTL_HA_COMP_STATUS_OK = 0
    CTL_HA_COMP_STATUS_FAILED = 1
    CTL_HA_COMP_STATUS_ERROR = 2


CTL_HA_COMP_STATUS_OK: Final = ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK
CTL_HA_COMP_STATUS_FAILED: Final = ctl_ha_comp_status.CTL_HA_COMP_STATUS_FAILED
CTL_HA_COMP_STATUS_ERROR: Final = ctl_ha_comp_status.CTL_HA_COMP_STATUS_ERROR


def CTL_HA_STATE_IS_SINGLE(state: ctl_ha_state) -> bool:
    """Whether the state's low nibble is ``SINGLE``; ``SLAVE`` and ``MASTER`` do not count."""
    return state & ctl_ha_state.CTL_HA_STATE_MASK == ctl_ha_state.CTL_HA_STATE_SINGLE


def CTL_HA_STATE_IS_HA(state: ctl_ha_state) -> bool:
    """Whether the state's low nibble is ``HA``; ``SLAVE`` and ``MASTER`` do not count."""
    return state & ctl_ha_state.CTL_HA_STATE_MASK == ctl_ha_state.CTL_HA_STATE_HA


def _frozen_key(key: bytes | bytearray | memoryview) -> bytes:
    return memoryview(key).tobytes()


@attrs.frozen
class RemoteBuffer:
    """Where a transfer meets the other node's memory. The header's raw pointer becomes a key, never an address.

    ``TypeError`` for a key that is no buffer. It is copied, so that it may be cut out of the message that brought it.
    """

    key: bytes = attrs.field(repr=False, converter=_frozen_key)
    """128 random bits that name a registered region of the other node."""
    offset: int = 0
    """Bytes from the start of that region."""

    def at(self, offset: int) -> "RemoteBuffer":
        """The place ``offset`` bytes further on in the same region."""
        return attrs.evolve(self, offset=self.offset + offset)


@attrs.define(eq=False)
class ctl_ha_dt_req(Generic[Context]):
    """One transfer of ``size`` bytes between ``local`` memory and the other node's ``remote``.

    Made empty, as the header's allocation does, and filled in field by field or by keyword.
    """

    command: ctl_ha_dt_cmd = ctl_ha_dt_cmd.CTL_HA_DT_CMD_READ
    context: Context | None = None
    """The consumer's own; never read by the framework."""
    callback: "ctl_ha_dt_cb[Context] | None" = None
    id: ctl_ha_dtid = ctl_ha_dtid.CTL_HA_DATA_CTL
    ret: ctl_ha_status = ctl_ha_status.CTL_HA_STATUS_WAIT
    """Set before the callback runs."""
    size: int = 0
    """Bytes."""
    local: bytes | bytearray | memoryview = b""
    """Memory of this node; writable if the transfer reads."""
    remote: RemoteBuffer | None = None
    """Memory of the other node, as it named it."""


ctl_ha_dt_cb = Callable[[ctl_ha_dt_req[Context]], Awaitable[None]]
ctl_evt_handler = Callable[[ctl_ha_channel, ctl_ha_event, int], Awaitable[None]]


@attrs.define(eq=False)
class ctl_ha_component:
    """A part of the system that the supervisor starts, moves between states and quiesces."""

    name: str
    state: ctl_ha_state = attrs.field(default=ctl_ha_state.CTL_HA_STATE_UNKNOWN, kw_only=True)
    """What it runs as, with its own ``SLAVE`` or ``MASTER``."""
    status: ctl_ha_comp_status = attrs.field(default=ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK, kw_only=True)
    """Its last answer."""
    init: "ctl_hacmp_init_t"
    """Called once, before anything else."""
    start: "ctl_hacmp_start_t"
    """Asked to run in a state; called at each change of it."""
    quiesce: "ctl_hacmp_init_t"
    """Asked to stop feeding work and to be ready for another start."""


ctl_hacmp_init_t = Callable[[ctl_ha_component], Awaitable[ctl_ha_comp_status]]
ctl_hacmp_start_t = Callable[[ctl_ha_component, ctl_ha_state], Awaitable[ctl_ha_comp_status]]
