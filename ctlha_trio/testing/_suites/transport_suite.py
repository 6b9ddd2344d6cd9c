"""What every transport must do, as checks that take one. Run in real time: sockets know no other."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress

import attrs
import trio
import trio.testing

from ctlha_trio._errors import DisconnectError
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


async def check_echo(make_pair: PairFactory) -> None:
    """What is sent comes back, in order, whatever the sizes; both streams have a description."""
    async with _connected(make_pair(), _echo) as stream:
        for size in (1, 2, 1000, 65_537):
            await stream.send_all(_pattern(size))
            _require(await _receive_exactly(stream, size) == _pattern(size), f"{size} bytes came back unchanged")
        await stream.send_all(b"")
        await stream.send_all(memoryview(bytearray(b"view")))
        _require(await _receive_exactly(stream, 4) == b"view", "nothing is sent as nothing, and any buffer is taken")
        _require(bool(stream.description), "the stream is described")


async def check_large_transfers_both_ways(make_pair: PairFactory) -> None:
    """Both sides send much at the same time, and each receives it unchanged."""
    data = _pattern(LARGE_BYTES)
    done = trio.Event()

    async def exchange(stream: Stream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, data)
            _require(await _receive_exactly(stream, LARGE_BYTES) == data, "all bytes came, unchanged")

    async def serve(stream: Stream) -> None:
        await exchange(stream)
        done.set()

    async with _connected(make_pair(), serve) as stream:
        await exchange(stream)
        await done.wait()


async def check_back_pressure(make_pair: PairFactory) -> None:
    """A sender whose data nobody reads waits, soon; when it is read, nothing is missing."""
    may_read, arrived = trio.Event(), trio.Event()
    total = 8 * LARGE_BYTES
    sent = 0

    async def read_late(stream: Stream) -> None:
        await may_read.wait()
        await _receive_exactly(stream, total)
        arrived.set()

    async def send(stream: Stream) -> None:
        nonlocal sent
        chunk = bytes(CHUNK_BYTES)
        while sent < total:
            await stream.send_all(chunk)
            sent += CHUNK_BYTES

    async with _connected(make_pair(), read_late) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(send, stream)
        await trio.testing.wait_all_tasks_blocked(SETTLE_S)
        _require(0 < sent < total, "the sender waits while nobody reads")
        may_read.set()
        await arrived.wait()


async def check_close_wakes_readers(make_pair: PairFactory) -> None:
    """Closing ends a wait for data: here with ``ClosedResourceError``, there with the end of the stream."""
    there, here = trio.Event(), trio.Event()

    async def serve(stream: Stream) -> None:
        # A broken connection is also an end, if a ruder one.
        with suppress(trio.BrokenResourceError):
            _require(await stream.receive_into(_room(10)) == 0, "the other side sees the end")
        there.set()

    async def wait_for_data(stream: Stream) -> None:
        await _expect_closed(stream.receive_into, _room(10))
        here.set()

    async with _connected(make_pair(), serve) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(wait_for_data, stream)
        await trio.testing.wait_all_tasks_blocked(SETTLE_S)
        stream.close()
        stream.close()
        await here.wait()
        await there.wait()
        await _expect_closed(stream.receive_into, _room(10))
        await _expect_closed(stream.send_all, b"x")


async def check_close_wakes_writers(make_pair: PairFactory) -> None:
    """Closing ends a send that waits: here with ``ClosedResourceError``, there with ``BrokenResourceError``."""
    there, here = trio.Event(), trio.Event()
    data = bytes(8 * LARGE_BYTES)

    async def serve(stream: Stream) -> None:
        try:
            await stream.send_all(data)
        except trio.BrokenResourceError:
            there.set()

    async def send(stream: Stream) -> None:
        await _expect_closed(stream.send_all, data)
        here.set()

    async with _connected(make_pair(), serve) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(send, stream)
        await trio.testing.wait_all_tasks_blocked(SETTLE_S)
        _require(not here.is_set() and not there.is_set(), "both sides wait")
        stream.close()
        await here.wait()
        await there.wait()


async def check_end_of_stream(make_pair: PairFactory) -> None:
    """What was sent before a close arrives; then a receive returns 0, each time."""
    done = trio.Event()

    async def serve(stream: Stream) -> None:
        _require(await _receive_exactly(stream, 6) == b"last 6", "the last bytes arrive")
        for _ in range(2):
            _require(await stream.receive_into(_room(10)) == 0, "the end is 0")
        done.set()

    async with _connected(make_pair(), serve) as stream:
        await stream.send_all(b"last 6")
        stream.close()
        await done.wait()


async def check_one_task_per_direction(make_pair: PairFactory) -> None:
    """A second reader is refused and leaves the first alone; an empty buffer is refused too."""
    async with _connected(make_pair(), _echo) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(_receive_exactly, stream, 1)
        await trio.testing.wait_all_tasks_blocked(SETTLE_S)
        await _expect(trio.BusyResourceError, stream.receive_into, _room(1))
        await _expect(ValueError, stream.receive_into, memoryview(b""))
        await stream.send_all(b"1")


async def check_cancelled_receive_loses_nothing(make_pair: PairFactory) -> None:
    """A receive that is cancelled has taken nothing."""
    async with _connected(make_pair(), _echo) as stream:
        with trio.move_on_after(SETTLE_S) as scope:
            await stream.receive_into(_room(1))
        _require(scope.cancelled_caught, "nothing came that was not sent")
        await stream.send_all(b"whole")
        _require(await _receive_exactly(stream, 5) == b"whole", "nothing is lost")


async def check_released_memory_is_left_alone(make_pair: PairFactory) -> None:
    """Memory that is taken back while a receive waits is its owner's again at once; what comes is not lost."""
    async with _connected(make_pair(), _echo) as stream:
        memory = bytearray(5)
        view = memoryview(memory)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_expect, ValueError, stream.receive_into, view)
            await trio.testing.wait_all_tasks_blocked(SETTLE_S)
            view.release()
            memory.append(0)
            await stream.send_all(b"whole")
        _require(memory == bytes(6), "nothing is written into memory that was taken back")
        _require(await _receive_exactly(stream, 5) == b"whole", "nothing is lost")


async def check_dial_to_nobody(make_pair: PairFactory) -> None:
    """Where nobody listens, ``dial`` raises ``DisconnectError``."""
    pair = make_pair()
    with trio.fail_after(CHECK_DEADLINE_S):
        listener = await pair.server.listen(pair.address)
        listener.close()
        await _expect(DisconnectError, pair.client.dial, listener.address)


async def check_failing_handlers(make_pair: PairFactory) -> None:
    """A handler that ends with the error of a connection, alone or in a group, ends neither the listener nor others."""
    pair = make_pair()
    errors: list[Exception] = [
        DisconnectError("made by the check"),
        trio.BrokenResourceError("made by the check"),
        ExceptionGroup("made by the check", [trio.BrokenResourceError(), DisconnectError()]),
    ]

    async def serve(stream: Stream) -> None:
        if errors:
            raise errors.pop()
        await _echo(stream)

    async with _listening(pair, serve) as address:
        for _ in range(3):
            failing = await pair.client.dial(address)
            with closing(failing):
                _require(await failing.receive_into(_room(1)) == 0, "the stream is closed when its handler ends")
        stream = await pair.client.dial(address)
        with closing(stream):
            await stream.send_all(b"alive")
            _require(await _receive_exactly(stream, 5) == b"alive", "the listener goes on")


async def check_address_is_free_after_close(make_pair: PairFactory) -> None:
    """Nobody else can listen on an address in use; anybody can once it is closed."""
    pair = make_pair()
    async with _listening(pair, _echo) as address:
        await _expect(OSError, pair.server.listen, address)
    listener = await pair.server.listen(address)
    _require(listener.address == address, "the same address was bound again")
    listener.close()
    listener.close()
    (await pair.server.listen(address)).close()


TRANSPORT_CHECKS = (
    check_echo,
    check_large_transfers_both_ways,
    check_back_pressure,
    check_close_wakes_readers,
    check_close_wakes_writers,
    check_end_of_stream,
    check_one_task_per_direction,
    check_cancelled_receive_loses_nothing,
    check_released_memory_is_left_alone,
    check_dial_to_nobody,
    check_failing_handlers,
    check_address_is_free_after_close,
)
"""All of the above, for ``pytest.mark.parametrize``."""


@asynccontextmanager
async def _listening(pair: TransportPair, handler: Handler) -> AsyncIterator[str]:
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
async def _connected(pair: TransportPair, handler: Handler) -> AsyncIterator[Stream]:
    async with _listening(pair, handler) as address:
        stream = await pair.client.dial(address)
        try:
            yield stream
        finally:
            stream.close()


async def _echo(stream: Stream) -> None:
    buffer = _room(CHUNK_BYTES)
    while count := await stream.receive_into(buffer):
        await stream.send_all(buffer[:count])


async def _receive_exactly(stream: Stream, size: int) -> bytes:
    content = bytearray(size)
    filled = 0
    while filled < size:
        count = await stream.receive_into(memoryview(content)[filled:])
        _require(count > 0, f"{size} bytes come, not only {filled}")
        filled += count
    return bytes(content)


async def _expect_closed(function: Callable[..., Awaitable[object]], *arguments: object) -> None:
    await _expect(trio.ClosedResourceError, function, *arguments)


async def _expect(kind: type[Exception], function: Callable[..., Awaitable[object]], *arguments: object) -> None:
    try:
        await function(*arguments)
    except kind:
        return
    raise AssertionError(f"expected {kind.__name__}")


def _room(size: int) -> memoryview:
    return memoryview(bytearray(size))


def _pattern(size: int) -> bytes:
    # A prime number of different bytes: a lost or doubled piece of any round size shows.
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def _require(condition: bool, expectation: str) -> None:
    if not condition:
        raise AssertionError(f"not so: {expectation}")
