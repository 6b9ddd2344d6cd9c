"""Bulk data: what is on its way, and who owns the memory that the peer may reach."""

from collections.abc import Callable
from operator import index
from typing import Protocol

import attrs

from ctlha_trio._errors import InvalidError
from ctlha_trio._vocabulary import RemoteBuffer, ctl_ha_status
from ctlha_trio.link._channel import Channel
from ctlha_trio.seams import Buffer, byte_view
from ctlha_trio.wire import FRAGMENT_SIZE_MAX, KEY_SIZE, Denial, Landing

OFFSET_MAX = (1 << 63) - 1
"""Of a place in the peer's memory: no memory is as large, and an offset plus a size still fits the wire's field."""


class Placement(Protocol):
    """Owner of the memory that the peer may reach. Denied means that nothing was touched.

    ``span`` is the size of all that the transfer still wants from ``offset`` on, and must fit.
    """

    def open(self, key: bytes, offset: int, size: int, *, span: int, epoch: int) -> Landing | Denial:
        """Where the next ``size`` bytes of a push go. Released as soon as the key dies."""

    def close(self, landing: Landing) -> Denial | None:
        """All of it was received, unless that is denied because the key has died meanwhile."""

    def fetch(self, key: bytes, offset: int, into: memoryview, *, span: int, epoch: int) -> Denial | None:
        """Copy the next bytes of a pull out, as many as ``into`` has."""

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
    _written: int = 0

    @property
    def next_size(self) -> int:
        """Bytes of data in the next fragment."""
        return min(len(self.data) - self._written, FRAGMENT_SIZE_MAX)

    @property
    def is_last_fragment(self) -> bool:
        """Whether the next fragment ends it."""
        return len(self.data) - self._written <= FRAGMENT_SIZE_MAX

    def next_fragment(self) -> tuple[int, memoryview]:
        """Offset in the region and data of the next fragment."""
        start = self._written
        fragment = self.data[start : start + FRAGMENT_SIZE_MAX]
        self._written += len(fragment)
        return self.offset + start, fragment


@attrs.define(eq=False)
class Transfer:
    """A push or pull of this node, as its starter sees it."""

    request: int
    """Its number in the session, from 1."""
    _on_done: "Callable[[Transfer], None]" = attrs.field(repr=False)
    status: ctl_ha_status = attrs.field(default=ctl_ha_status.CTL_HA_STATUS_WAIT, init=False)
    """WAIT until it is done; then SUCCESS, ERROR or BUSY as the peer said, or DISCONNECT."""
    reason: str = attrs.field(default="", init=False)
    """Why it failed: a ``Denial`` of the peer, or the ``LossReason`` of the session."""

    def finish(self, status: ctl_ha_status, reason: str) -> None:
        """It is done; tell the starter. For the link, once."""
        assert self.status is ctl_ha_status.CTL_HA_STATUS_WAIT, "a transfer is done once"
        self.status, self.reason = status, reason
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
