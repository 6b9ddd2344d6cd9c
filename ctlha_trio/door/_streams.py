"""Reading what has a size or an end from a local socket, and noticing without reading that it has ended."""

import select

import trio

from ctlha_trio._errors import DisconnectError, RemoteProtocolError


def has_hung_up(stream: trio.SocketStream) -> bool:
    """Whether the other side has closed, or will send nothing more. Not a checkpoint, and it reads nothing."""
    look = select.poll()
    look.register(stream.socket.fileno(), select.POLLRDHUP)  # POLLHUP and POLLERR come unasked
    return bool(look.poll(0))


def has_left(stream: trio.SocketStream) -> bool:
    """Whether the other side has closed: nobody reads an answer. One that only ended its sending may wait for it."""
    look = select.poll()
    look.register(stream.socket.fileno(), 0)  # POLLHUP and POLLERR come unasked
    return bool(look.poll(0))


class PatientReader:
    """Takes bytes from a stream in the pieces that were asked for. One task reads."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def exactly(self, size: int) -> bytes:
        """That many bytes. ``DisconnectError`` if the stream ends first. A checkpoint only if it must wait."""
        while len(self._buffer) < size:
            await self._fill()
        taken = bytes(memoryview(self._buffer)[:size])
        del self._buffer[:size]
        return taken

    async def line(self, limit_bytes: int) -> bytes:
        """All up to the next newline, without it. ``RemoteProtocolError`` if it is longer than the limit."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0 and len(self._buffer) <= limit_bytes:
            searched = len(self._buffer)
            await self._fill()
        if end < 0 or end > limit_bytes:
            raise RemoteProtocolError("line too long")
        taken = bytes(memoryview(self._buffer)[:end])
        del self._buffer[: end + 1]
        return taken

    async def _fill(self) -> None:
        try:
            received = await self._stream.receive_some()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise DisconnectError("the other side is gone") from error
        if not received:
            raise DisconnectError("the other side closed the connection")
        self._buffer += received
