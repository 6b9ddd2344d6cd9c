"""What the checks of transports are made of."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import attrs
import trio

from ctlha_trio.seams import Stream, Transport

CHECK_DEADLINE_S = 30.0
"""For one check. Generous: it only decides how long a transport that hangs is waited for."""

SETTLE_S = 0.05
"""Without a step of any task, after which all that can move has moved, kernel buffers included."""

LARGE_BYTES = 8 * 1024 * 1024
"""More than the buffers of any transport hold, so that a large send depends on its reader."""

CHUNK_BYTES = 64 * 1024


@attrs.frozen(kw_only=True)
class TransportPair:
    """Two ends that trust each other, and an address that the server may listen on."""

    server: Transport
    client: Transport
    address: str


PairFactory = Callable[[], TransportPair]
Handler = Callable[[Stream], Awaitable[None]]


@asynccontextmanager
async def listening(pair: TransportPair, handler: Handler) -> AsyncIterator[str]:
    """Serve with the handler; yields the address."""
    with trio.fail_after(CHECK_DEADLINE_S):
        listener = await pair.server.listen(pair.address)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listener.serve, handler)
                yield listener.address
                nursery.cancel_scope.cancel()
        finally:
            listener.close()


@asynccontextmanager
async def connected(pair: TransportPair, handler: Handler) -> AsyncIterator[Stream]:
    """Serve with the handler; yields a connection to it."""
    async with listening(pair, handler) as address:
        stream = await pair.client.dial(address)
        try:
            yield stream
        finally:
            stream.close()


async def echo(stream: Stream) -> None:
    """Send back what comes, to its end."""
    buffer = room(CHUNK_BYTES)
    while count := await stream.receive_into(buffer):
        await stream.send_all(buffer[:count])


async def receive_exactly(stream: Stream, size: int) -> bytes:
    """So many bytes, or a failed check."""
    content = bytearray(size)
    filled = 0
    while filled < size:
        count = await stream.receive_into(memoryview(content)[filled:])
        require(count > 0, f"{size} bytes come, not only {filled}")
        filled += count
    return bytes(content)


async def expect_closed(function: Callable[..., Awaitable[object]], *arguments: object) -> None:
    """Whether the call says that this side has closed."""
    await expect(trio.ClosedResourceError, function, *arguments)


async def expect(kind: type[Exception], function: Callable[..., Awaitable[object]], *arguments: object) -> None:
    """Whether the call raises that error."""
    try:
        await function(*arguments)
    except kind:
        return
    raise AssertionError(f"expected {kind.__name__}")


def room(size: int) -> memoryview:
    """Memory to receive into."""
    return memoryview(bytearray(size))


def pattern(size: int) -> bytes:
    """Bytes of which any that are lost, doubled or moved show."""
    # A prime number of different bytes: a lost or doubled piece of any round size shows.
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def require(condition: bool, expectation: str) -> None:
    """Fail the check unless so."""
    if not condition:
        raise AssertionError(f"not so: {expectation}")


def expect_refusal(kind: type[Exception] | tuple[type[Exception], ...], stream: Stream) -> None:
    """Whether a send without waiting raises that error."""
    try:
        stream.send_nowait(b"x")
    except kind:
        return
    raise AssertionError(f"expected {kind}")
