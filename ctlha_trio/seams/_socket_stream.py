"""What TCP with and without TLS have in common."""

import socket
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import attrs
import trio

from ctlha_trio.seams._one_at_a_time import OneAtATime
from ctlha_trio.seams._sending import Sending
from ctlha_trio.seams._turn import Turn
from ctlha_trio.seams._types import Buffer

SocketT = TypeVar("SocketT", bound=socket.socket)


@attrs.define(eq=False)
class SocketStream(ABC, Generic[SocketT]):
    """A connection on a socket of its own that does not block.

    Trio's sockets make each call a checkpoint, which costs a turn of the loop; this one asks the kernel first, and
    waits only if it must.
    """

    _socket: SocketT
    description: str
    """The other side's address."""
    _sending: Sending = attrs.field(init=False)
    _receiving: OneAtATime = attrs.field(factory=lambda: OneAtATime("receiving"), init=False)
    _turn: Turn = attrs.field(factory=Turn, init=False)
    """Of receiving."""

    def __attrs_post_init__(self) -> None:
        """Give the sending half its calls."""
        self._sending = Sending(self._send, self._wait_for_room)

    def send_nowait(self, data: Buffer) -> bool:
        """Send without waiting; False if ``flush`` must send a rest that was kept."""
        return self._sending.send_nowait(data)

    async def flush(self) -> None:
        """Send what ``send_nowait`` kept. Cancelled: the rest is still kept."""
        await self._sending.flush()

    async def send_all(self, *pieces: Buffer) -> None:
        """Send everything. Cancelled: an unknown part was sent, and nothing can be sent any more."""
        await self._sending.send_all(*pieces)

    async def receive_into(self, buffer: memoryview) -> int:
        """Wait for at least one byte, fill up to the buffer's size with what has come; 0 at the end of the stream.

        The end is the end of the TCP connection: nobody says farewell, and whoever uses the stream must know from its
        contents whether it is whole.
        """
        if not len(buffer):
            raise ValueError("the buffer has no room: 0 would read as the end of the stream")
        with self._receiving:
            if self._turn.is_over:
                await self._turn.end()
            while True:
                try:
                    count = self._read_into(buffer)
                except TypeError as error:
                    # It is a view, and had room before the wait: so a socket calls one that was released meanwhile.
                    raise ValueError("the buffer was released") from error
                except OSError as error:
                    self._raise_if_closed()
                    raise trio.BrokenResourceError(f"{self.description}: {error}") from error
                if count is not None:
                    self._turn.spend(count)
                    return count
                await self._wait_for_data()
                self._turn.begin()

    def close(self) -> None:
        """Close at once."""
        if self._socket.fileno() != -1:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    def _send(self, pieces: list[memoryview]) -> int:
        if not pieces:
            self._raise_if_closed()
            return 0
        try:
            return self._write(pieces)
        except OSError as error:
            self._raise_if_closed()
            raise trio.BrokenResourceError(f"{self.description}: {error}") from error

    @abstractmethod
    def _write(self, pieces: list[memoryview]) -> int:
        """Send of the pieces what there is room for; how many bytes. ``OSError`` if the connection is gone."""

    @abstractmethod
    def _read_into(self, buffer: memoryview) -> int | None:
        """Take what has come: how many bytes, 0 at the end, ``None`` if there are none yet. ``OSError`` as above."""

    async def _wait_for_room(self) -> None:
        await trio.lowlevel.wait_writable(self._socket)

    async def _wait_for_data(self) -> None:
        await trio.lowlevel.wait_readable(self._socket)

    def _raise_if_closed(self) -> None:
        if self._socket.fileno() == -1:
            raise trio.ClosedResourceError(f"{self.description}: this side has closed")
