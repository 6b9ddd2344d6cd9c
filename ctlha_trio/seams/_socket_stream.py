"""What TCP with and without TLS have in common."""

import socket
from abc import abstractmethod
from typing import Final

import attrs
import trio

from ctlha_trio.seams._polled_stream import PolledStream

FEW_BYTES: Final = 4096
"""Of bulk data much more has come by the time that it is looked for."""


@attrs.define(eq=False)
class SocketStream(PolledStream):
    """A connection on a socket of its own that does not block.

    Trio's sockets make each call a checkpoint, which costs a turn of the loop; this one asks the kernel first, and
    waits only if it must.

    The end of the stream is the end of the TCP connection: nobody says farewell, and whoever uses the stream must know
    from its contents whether it is whole.
    """

    _socket: socket.socket
    description: str
    """The other side's address."""
    _is_empty: bool = attrs.field(default=False, init=False)
    """So little came last that nothing can be left: to wait is cheaper than to look."""

    def close(self) -> None:
        """Close at once."""
        if self._socket.fileno() != -1:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    def _put(self, pieces: list[memoryview]) -> int:
        if not pieces:
            self._raise_if_closed()
            return 0
        try:
            return self._write(pieces)
        except OSError as error:
            self._raise_if_closed()
            raise trio.BrokenResourceError(f"{self.description}: {error}") from error

    def _take(self, buffer: memoryview) -> int | None:
        try:
            return self._read_into(buffer)
        except TypeError as error:
            # It is a view, and had room before the wait: so a socket calls one that was released meanwhile.
            raise ValueError("the buffer was released") from error
        except OSError as error:
            self._raise_if_closed()
            raise trio.BrokenResourceError(f"{self.description}: {error}") from error

    def _take_from_kernel(self, buffer: memoryview) -> int | None:
        """Take what the kernel has: how many bytes, 0 at the end, ``None`` if there are none yet. ``OSError``."""
        if self._is_empty:
            self._is_empty = False
            return None
        try:
            count = self._socket.recv_into(buffer)
        except BlockingIOError:
            return None
        self._is_empty = 0 < count < FEW_BYTES and count < len(buffer)
        return count

    @abstractmethod
    def _write(self, pieces: list[memoryview]) -> int:
        """Send of the pieces what there is room for; how many bytes. ``OSError`` if the connection is gone."""

    @abstractmethod
    def _read_into(self, buffer: memoryview) -> int | None:
        """Take what has come: how many bytes, 0 at the end, ``None`` if there are none yet. ``OSError`` as above."""

    async def _wait_for_room(self) -> None:
        self._raise_if_closed()
        await trio.lowlevel.wait_writable(self._socket)

    async def _wait_for_data(self) -> None:
        self._raise_if_closed()
        await trio.lowlevel.wait_readable(self._socket)

    def _raise_if_closed(self) -> None:
        if self._socket.fileno() == -1:
            raise trio.ClosedResourceError(f"{self.description}: this side has closed")
