"""What every transport must do, as checks that take one. Run in real time: sockets know no other."""

from contextlib import closing, suppress

import trio
import trio.testing

from ctlha_trio._errors import DisconnectError
from ctlha_trio.seams import Stream
from ctlha_trio.testing._suites.sending_suite import SENDING_CHECKS
from ctlha_trio.testing._suites.transport_parts import (
    CHECK_DEADLINE_S,
    CHUNK_BYTES,
    LARGE_BYTES,
    SETTLE_S,
    PairFactory,
    connected,
    echo,
    expect,
    expect_closed,
    expect_refusal,
    listening,
    pattern,
    receive_exactly,
    require,
    room,
)


async def check_echo(make_pair: PairFactory) -> None:
    """What is sent comes back, in order, whatever the sizes; both streams have a description."""
    async with connected(make_pair(), echo) as stream:
        for size in (1, 2, 1000, 65_537):
            await stream.send_all(pattern(size))
            require(await receive_exactly(stream, size) == pattern(size), f"{size} bytes came back unchanged")
        await stream.send_all(b"")
        await stream.send_all(memoryview(bytearray(b"view")))
        require(await receive_exactly(stream, 4) == b"view", "nothing is sent as nothing, and any buffer is taken")
        require(bool(stream.description), "the stream is described")


async def check_large_transfers_both_ways(make_pair: PairFactory) -> None:
    """Both sides send much at the same time, and each receives it unchanged."""
    data = pattern(LARGE_BYTES)
    done = trio.Event()

    async def exchange(stream: Stream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, data)
            require(await receive_exactly(stream, LARGE_BYTES) == data, "all bytes came, unchanged")

    async def serve(stream: Stream) -> None:
        await exchange(stream)
        done.set()

    async with connected(make_pair(), serve) as stream:
        await exchange(stream)
        await done.wait()


async def check_back_pressure(make_pair: PairFactory) -> None:
    """A sender whose data nobody reads waits, soon; when it is read, nothing is missing."""
    may_read, arrived = trio.Event(), trio.Event()
    total = 8 * LARGE_BYTES
    sent = 0

    async def read_late(stream: Stream) -> None:
        await may_read.wait()
        await receive_exactly(stream, total)
        arrived.set()

    async def send(stream: Stream) -> None:
        nonlocal sent
        chunk = bytes(CHUNK_BYTES)
        while sent < total:
            await stream.send_all(chunk)
            sent += CHUNK_BYTES

    async with connected(make_pair(), read_late) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(send, stream)
        await trio.testing.wait_all_tasks_blocked(SETTLE_S)
        require(0 < sent < total, "the sender waits while nobody reads")
        may_read.set()
        await arrived.wait()


async def check_close_wakes_readers(make_pair: PairFactory) -> None:
    """Closing ends a wait for data: here with ``ClosedResourceError``, there with the end of the stream."""
    there, here = trio.Event(), trio.Event()

    async def serve(stream: Stream) -> None:
        # A broken connection is also an end, if a ruder one.
        with suppress(trio.BrokenResourceError):
            require(await stream.receive_into(room(10)) == 0, "the other side sees the end")
        there.set()

    async def wait_for_data(stream: Stream) -> None:
        await expect_closed(stream.receive_into, room(10))
        here.set()

    async with connected(make_pair(), serve) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(wait_for_data, stream)
        await trio.testing.wait_all_tasks_blocked(SETTLE_S)
        stream.close()
        stream.close()
        await here.wait()
        await there.wait()
        await expect_closed(stream.receive_into, room(10))
        await expect_closed(stream.send_all, b"x")
        await expect_closed(stream.flush)
        expect_refusal(trio.ClosedResourceError, stream)


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
        await expect_closed(stream.send_all, data)
        here.set()

    async with connected(make_pair(), serve) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(send, stream)
        await trio.testing.wait_all_tasks_blocked(SETTLE_S)
        require(not here.is_set() and not there.is_set(), "both sides wait")
        stream.close()
        await here.wait()
        await there.wait()


async def check_end_of_stream(make_pair: PairFactory) -> None:
    """What was sent before a close arrives; then a receive returns 0, each time."""
    done = trio.Event()

    async def serve(stream: Stream) -> None:
        require(await receive_exactly(stream, 6) == b"last 6", "the last bytes arrive")
        for _ in range(2):
            require(await stream.receive_into(room(10)) == 0, "the end is 0")
        done.set()

    async with connected(make_pair(), serve) as stream:
        await stream.send_all(b"last 6")
        stream.close()
        await done.wait()


async def check_one_task_per_direction(make_pair: PairFactory) -> None:
    """A second reader is refused and leaves the first alone; an empty buffer is refused too."""
    async with connected(make_pair(), echo) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(receive_exactly, stream, 1)
        await trio.testing.wait_all_tasks_blocked(SETTLE_S)
        await expect(trio.BusyResourceError, stream.receive_into, room(1))
        await expect(ValueError, stream.receive_into, memoryview(b""))
        await stream.send_all(b"1")


async def check_cancelled_receive_loses_nothing(make_pair: PairFactory) -> None:
    """A receive that is cancelled has taken nothing."""
    async with connected(make_pair(), echo) as stream:
        with trio.move_on_after(SETTLE_S) as scope:
            await stream.receive_into(room(1))
        require(scope.cancelled_caught, "nothing came that was not sent")
        await stream.send_all(b"whole")
        require(await receive_exactly(stream, 5) == b"whole", "nothing is lost")


async def check_released_memory_is_left_alone(make_pair: PairFactory) -> None:
    """Memory that is taken back while a receive waits is its owner's again at once; what comes is not lost."""
    async with connected(make_pair(), echo) as stream:
        memory = bytearray(5)
        view = memoryview(memory)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect, ValueError, stream.receive_into, view)
            await trio.testing.wait_all_tasks_blocked(SETTLE_S)
            view.release()
            memory.append(0)
            await stream.send_all(b"whole")
        require(memory == bytes(6), "nothing is written into memory that was taken back")
        require(await receive_exactly(stream, 5) == b"whole", "nothing is lost")


async def check_dial_to_nobody(make_pair: PairFactory) -> None:
    """Where nobody listens, ``dial`` raises ``DisconnectError``."""
    pair = make_pair()
    with trio.fail_after(CHECK_DEADLINE_S):
        listener = await pair.server.listen(pair.address)
        listener.close()
        await expect(DisconnectError, pair.client.dial, listener.address)


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
        await echo(stream)

    async with listening(pair, serve) as address:
        for _ in range(3):
            failing = await pair.client.dial(address)
            with closing(failing):
                require(await failing.receive_into(room(1)) == 0, "the stream is closed when its handler ends")
        stream = await pair.client.dial(address)
        with closing(stream):
            await stream.send_all(b"alive")
            require(await receive_exactly(stream, 5) == b"alive", "the listener goes on")


async def check_address_is_free_after_close(make_pair: PairFactory) -> None:
    """Nobody else can listen on an address in use; anybody can once it is closed."""
    pair = make_pair()
    async with listening(pair, echo) as address:
        await expect(OSError, pair.server.listen, address)
    listener = await pair.server.listen(address)
    require(listener.address == address, "the same address was bound again")
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
    *SENDING_CHECKS,
)
"""All of the above, for ``pytest.mark.parametrize``."""
