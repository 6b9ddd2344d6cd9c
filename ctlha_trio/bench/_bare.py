"""Sockets with nothing around them, to compare with: plain or TLS, blocking or Trio's.

Each use has a connection of its own, with the link's keys. The measuring side listens at its node's own address and the
serving side dials it: so no address is needed that the nodes do not need.
"""

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final

import attrs
import trio

from ctlha_trio._errors import DisconnectError
from ctlha_trio.bench import _bare_blocking as blocking, _bare_trio as on_trio
from ctlha_trio.bench._node import Side
from ctlha_trio.seams import load_key, make_context, parse_address

CONNECT_S: Final = 5.0
"""For a connection and its handshake, in the middle of a run."""
STALL_S: Final = 10
"""After which a blocking call gives up, so that its thread ends, which nobody can cancel."""

Half = Callable[[Any, int], Any]


@attrs.frozen
class Use:
    """What a connection is used for: what either side does with it."""

    measuring: Half
    serving: Half
    blocks: bool
    """In a thread, on a blocking socket; otherwise on Trio."""


PLAIN_USES: Final[Mapping[str, Use]] = {
    "ping": Use(on_trio.ping_socket, on_trio.pong_socket, blocks=False),
    "push": Use(blocking.send_chunks, blocking.receive_chunks, blocks=True),
    "pull": Use(blocking.receive_chunks, blocking.send_chunks, blocks=True),
}
TLS_USES: Final[Mapping[str, Use]] = {
    "ping": Use(on_trio.ping_stream, on_trio.pong_stream, blocks=False),
    "push": Use(blocking.send_chunks, blocking.receive_chunks, blocks=True),
    "pull": Use(blocking.receive_chunks, blocking.send_chunks, blocks=True),
    "stream-push": Use(on_trio.send_chunks, on_trio.receive_chunks, blocks=False),
    "stream-pull": Use(on_trio.receive_chunks, on_trio.send_chunks, blocks=False),
}


@attrs.frozen
class BareSockets:
    """Of one side."""

    _side: Side
    _context: ssl.SSLContext | None
    _server_side: bool

    @classmethod
    def of(cls, side: Side, *, server_side: bool) -> "BareSockets":
        """With the keys of the link. ``ConfigError`` if they cannot be used."""
        if side.key is None:
            return cls(side, None, server_side)
        return cls(side, make_context(load_key(side.key), side.pins, server_side=server_side), server_side)

    def use(self, kind: str) -> Use:
        """``KeyError`` for one that there is not."""
        return (PLAIN_USES if self._context is None else TLS_USES)[kind]

    async def serve(self, kind: str, count: int) -> None:
        """Dial the other side, and do this side's half. ``OSError`` or ``DisconnectError`` if that fails."""
        host, port = parse_address(self._side.peer_address)
        use = self.use(kind)
        with trio.fail_after(CONNECT_S):
            stream = await trio.open_tcp_stream(host, port)
        await self._carry_out(use, use.serving, stream, count)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["BareListener"]:
        """Bound to the address of this side's link. ``OSError`` if that cannot be had."""
        host, port = parse_address(self._side.listen)
        listeners = await trio.open_tcp_listeners(port, host=host)
        try:
            yield BareListener(self, listeners)
        finally:
            for each in listeners:
                each.socket.close()

    async def measure(self, kind: str, stream: trio.SocketStream, count: int) -> Any:
        """This side's half: seconds of all, or of each message."""
        use = self.use(kind)
        return await self._carry_out(use, use.measuring, stream, count)

    async def _carry_out(self, use: Use, half: Half, stream: trio.SocketStream, count: int) -> Any:
        try:
            if use.blocks:
                return await self._in_thread(half, stream, count)
            return await self._on_trio(half, stream, count)
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
            raise DisconnectError(f"a connection to compare with failed: {error!r}") from error
        finally:
            stream.socket.close()

    async def _on_trio(self, half: Callable[[Any, int], Awaitable[Any]], stream: trio.SocketStream, count: int) -> Any:
        if self._context is None:
            return await half(stream.socket, count)
        secure = trio.SSLStream(stream, self._context, server_side=self._server_side, https_compatible=True)
        with trio.fail_after(CONNECT_S):
            await secure.do_handshake()
        return await half(secure, count)

    async def _in_thread(self, half: Half, stream: trio.SocketStream, count: int) -> Any:
        connection = socket.socket(fileno=stream.socket.detach())
        try:
            connection.setblocking(True)
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                connection.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", STALL_S, 0))
            # Cancelled, it is left behind, and the shutdown below ends it.
            return await trio.to_thread.run_sync(partial(self._block, half, connection, count), abandon_on_cancel=True)
        finally:
            with suppress(OSError):  # it is down already
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _block(self, half: Half, connection: socket.socket, count: int) -> Any:
        if self._context is None:
            return half(connection, count)
        secure = self._context.wrap_socket(connection.dup(), server_side=self._server_side)
        with secure:
            return half(secure, count)


@attrs.frozen
class BareListener:
    """Of the measuring side."""

    sockets: BareSockets
    _listeners: list[trio.SocketListener]

    async def accept(self) -> trio.SocketStream:
        """The next connection, at whichever address it comes. ``trio.TooSlowError`` if none does."""
        accepted: list[trio.SocketStream] = []
        with trio.fail_after(CONNECT_S):
            async with trio.open_nursery() as nursery:

                async def accept_at(listener: trio.SocketListener) -> None:
                    accepted.append(await listener.accept())
                    nursery.cancel_scope.cancel()

                for each in self._listeners:
                    nursery.start_soon(accept_at, each)
        return accepted[0]
