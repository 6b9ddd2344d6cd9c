"""Bulk data: what is on its way, and who owns the memory that the peer may reach."""

from collections.abc import Callable
from operator import index
from typing import Protocol

import attrs

from ctlha_trio._errors import InvalidError
from ctlha_trio._vocabulary import RemoteBuffer, ctl_ha_status
from ctlha_trio.link._channel import Channel
from ctlha_trio.link._places import TransferPlaces
from ctlha_trio.seams import Buffer, byte_view
from ctlha_trio.wire import FRAGMENT_SIZE_MAX, KEY_SIZE, Bytes, Denial, Landing

OFFSET_MAX = (1 << 63) - 1
"""Of a place in the peer's memory: no memory is as large, and an offset plus a size still fits the wire's field."""
INLINE_BYTES = 32 * 1024
"""Data of a push that may be sent by whoever pushes: what the stream finds no room for is copied."""


class Placement(Protocol):
    """Owner of the memory that the peer may reach. Denied means that nothing was touched.

    ``span`` is the size of all that the transfer still wants from ``offset`` on, and must fit.
    """

    def open(self, key: bytes, offset: int, size: int, *, span: int, epoch: int) -> Landing | Denial:
        """Where the next ``size`` bytes of a push go. Released as soon as the key dies."""

    def close(self, landing: Landing, *, is_last: bool) -> Denial | None:
        """All of it was received, unless that is denied because the key has died meanwhile."""

    def fetch(self, key: bytes, offset: int, size: int, *, span: int, epoch: int) -> Bytes | Denial:
        """Where the next bytes of a pull lie, to be sent or copied before anything else runs; or a copy of them."""

    def lend_no_more(self, key: bytes) -> None:
        """What was fetched by it may have changed as it was sent: only copies from here on."""

    def expire(self) -> None:
        """Forget every key: the session ended or the epoch changed."""


@attrs.define(eq=False, kw_only=True)
class MessagePush:
    """A push that belongs to no request: its message tells that it was placed."""

    key: bytes = attrs.field(repr=False)
    offset: int
    data: memoryview = attrs.field(repr=False)
    channel: Channel
    message: bytes = attrs.field(repr=False)
    fragment_size: int = FRAGMENT_SIZE_MAX
    """At most; of the session that it is queued in."""
    _written: int = 0

    @property
    def next_size(self) -> int:
        """Bytes of data in the next fragment."""
        return min(len(self.data) - self._written, self.fragment_size)

    @property
    def is_last_fragment(self) -> bool:
        """Whether the next fragment ends it."""
        return len(self.data) - self._written <= self.fragment_size

    @property
    def is_small(self) -> bool:
        """Whether it may be sent by whoever pushes, in one fragment."""
        return self.is_last_fragment and len(self.data) <= INLINE_BYTES

    def next_fragment(self) -> tuple[int, memoryview]:
        """Offset in the region and data of the next fragment."""
        start = self._written
        fragment = self.data[start : start + self.fragment_size]
        self._written += len(fragment)
        return self.offset + start, fragment


@attrs.define(eq=False)
class Transfer:
    """A push or pull of this node, as its starter sees it."""

    request: int
    """Its number in the session, from 1."""
    size: int
    """Bytes."""
    _on_done: "Callable[[Transfer], None]" = attrs.field(repr=False)
    _cancel: "Callable[[Transfer, str], None]" = attrs.field(repr=False)
    places: TransferPlaces = attrs.field(repr=False)
    """One of which it has."""
    status: ctl_ha_status = attrs.field(default=ctl_ha_status.CTL_HA_STATUS_WAIT, init=False)
    """WAIT until it is done; then SUCCESS, ERROR or BUSY as the peer said, or DISCONNECT."""
    reason: str = attrs.field(default="", init=False)
    """Why it failed: a ``Denial`` of the peer, the ``LossReason`` of the session, ``cancelled``, ``deadline``, or
    ``changed``: the peer's memory changed while a part of it was being sent."""
    left_bytes: int = attrs.field(init=False)
    """The residual count: all of it until it is done, 0 only with SUCCESS. Of a push that failed, what the peer has not
    placed if it said so, else all; of a pull, what has not come."""

    def __attrs_post_init__(self) -> None:
        self.left_bytes = self.size

    @property
    def is_waiting(self) -> bool:
        """Whether it is not done."""
        return self.status is ctl_ha_status.CTL_HA_STATUS_WAIT

    def cancel(self) -> None:
        """End it with ERROR and the reason ``cancelled``; nothing if it is done. Not a checkpoint.

        Done within the call, and its memory is neither read nor written any more, but for one case: while a fragment
        of a push is in the sender's hands, it is done as soon as that has left. The peer may have placed any part of a
        push, even all.
        """
        self._cancel(self, "cancelled")

    def finish(self, status: ctl_ha_status, reason: str, left_bytes: int) -> None:
        """It is done; tell the starter. For the link, once."""
        assert self.is_waiting, "a transfer is done once"
        self.status, self.reason, self.left_bytes = status, reason, left_bytes
        self._on_done(self)


OnDone = Callable[[Transfer], None]


def check_remote(remote: RemoteBuffer) -> RemoteBuffer:
    """A place that can be named on the wire. ``InvalidError`` otherwise, ``TypeError`` for what is no place at all."""
    if len(remote.key) != KEY_SIZE or not 0 <= index(remote.offset) <= OFFSET_MAX:
        raise InvalidError("not a remote buffer")
    return remote


def outgoing_bytes(data: Buffer) -> memoryview:
    """The bytes of ``data``, at least one. ``InvalidError`` otherwise."""
    view = byte_view(data)
    if not len(view):
        raise InvalidError("a transfer has at least one byte")
    return view


def incoming_bytes(into: memoryview) -> memoryview:
    """The bytes of ``into``, at least one, to be written. ``InvalidError`` otherwise."""
    view = outgoing_bytes(into)
    if view.readonly:
        raise InvalidError("memory to pull into must be writable")
    return view
