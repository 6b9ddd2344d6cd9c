"""Two benchmarks know each other before either speaks the link's protocol, and a node that runs hears none of it.

A node that is waiting for its peer takes a hello of another pair for a wrong configuration and ends. So what comes
first is no hello: a node answers that as malformed, and goes on.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import trio

from ctlha_trio._errors import DisconnectError, RefusedError
from ctlha_trio.seams import Listener, Stream, Transport

GREETING: Final = b"ctlha bench 1".ljust(64)
"""As long as any header, so that a node need not wait for more to see that it is none."""
GREET_S: Final = 3.0
A_NODE: Final = "foreign-cluster"
"""The reason for which a node that has taken no part ends: here it is the benchmark that does."""


@attrs.frozen
class GreetingTransport:
    """Connections to other benchmarks, over those of another transport."""

    _carrier: Transport

    async def dial(self, address: str) -> Stream:
        """As the other's. ``RefusedError`` if it is no benchmark that answers."""
        stream = await self._carrier.dial(address)
        try:
            await _greet(stream)
        except BaseException:
            stream.close()
            raise
        return stream

    async def listen(self, address: str) -> "GreetingListener":
        """As the other's."""
        return GreetingListener(await self._carrier.listen(address))


@attrs.frozen
class GreetingListener:
    """Of a ``GreetingTransport``."""

    _carrier: Listener

    @property
    def address(self) -> str:
        """As the other's."""
        return self._carrier.address

    async def serve(self, handler: Callable[[Stream], Awaitable[None]]) -> None:
        """As the other's; who is no benchmark is not handled."""

        async def greet_first(stream: Stream) -> None:
            await _greet(stream)
            await handler(stream)

        await self._carrier.serve(greet_first)

    def close(self) -> None:
        """As the other's."""
        self._carrier.close()


async def _greet(stream: Stream) -> None:
    try:
        with trio.fail_after(GREET_S):
            await stream.send_all(GREETING)
            heard = bytearray(len(GREETING))
            await _hear(stream, memoryview(heard))
    except (trio.TooSlowError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
        raise DisconnectError(f"{stream.description}: no benchmark there: {error!r}") from error


async def _hear(stream: Stream, heard: memoryview) -> None:
    filled = 0
    while filled < len(heard):
        count = await stream.receive_into(heard[filled:])
        if not count:
            raise DisconnectError(f"{stream.description}: closed before it said who it is")
        filled += count
        if heard[:filled] != GREETING[:filled]:
            raise RefusedError(A_NODE, "what answers there is no benchmark")
