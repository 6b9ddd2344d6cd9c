"""One TCP connection."""

import socket

import attrs
from trio.socket import SocketType

from ctlha_trio.seams._kernel_queue import bound_unsent
from ctlha_trio.seams._socket_stream import SocketStream

MAX_PIECES = 64
"""Handed to the kernel at once; it takes 1024, but a list of so many would be cut again for each part that went."""


@attrs.define(eq=False)
class TcpStream(SocketStream):
    """A connection whose bytes go as they are."""

    def detach(self) -> socket.socket:
        """Hand the socket over. This stream is closed."""
        return own_socket(self._socket.detach())

    def _write(self, pieces: list[memoryview]) -> int:
        try:
            if len(pieces) == 1:
                return self._socket.send(pieces[0])
            return self._socket.sendmsg(pieces[:MAX_PIECES])
        except BlockingIOError:
            return 0

    _read_into = SocketStream._take_from_kernel


def take_over(trio_socket: SocketType, description: str) -> TcpStream:
    """Make a stream of a connected socket of trio's, which is detached. Nothing is delayed to be sent together."""
    own = own_socket(trio_socket.detach())
    own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    bound_unsent(own)
    return TcpStream(own, description)


def own_socket(descriptor: int) -> socket.socket:
    """Make a socket that does not block of its descriptor."""
    own = socket.socket(fileno=descriptor)
    own.setblocking(False)
    return own
