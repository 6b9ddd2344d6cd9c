"""Bulk data on its way out, and who places it on its way in."""

from typing import Protocol

import attrs

from ctlha_trio.link._channel import Channel
from ctlha_trio.wire import FRAGMENT_SIZE_MAX


class Placement(Protocol):
    """Owner of the memory that the peer may push into."""

    def place(self, key: bytes, offset: int, data: memoryview, *, epoch: int) -> None:
        """Write pushed data. ``RemoteProtocolError``, and nothing written, if the key does not allow it."""

    def expire(self) -> None:
        """Forget every key: the session ended or the epoch changed."""


@attrs.define(eq=False, kw_only=True)
class Transfer:
    """A push that waits for the writer, or is partly written."""

    key: bytes
    offset: int
    data: memoryview
    channel: Channel
    message: bytes
    _written: int = 0

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
