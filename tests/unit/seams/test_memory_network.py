from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from ctlha_trio._errors import DisconnectError
from ctlha_trio.seams import MemoryNetwork, Stream
from ctlha_trio.seams._memory_network import MAX_BACKLOG
from ctlha_trio.seams._serve import DIAL_DEADLINE_S, MAX_CONNECTIONS


@asynccontextmanager
async def connected(network: MemoryNetwork) -> AsyncIterator[tuple[Stream, Stream]]:
    """Both ends of a connection that ``a`` dialled to ``b``."""
    accepted, take = trio.open_memory_channel[Stream](1)

    async def keep(stream: Stream) -> None:
        await accepted.send(stream)
        await trio.sleep_forever()

    listener = await network.transport("b").listen("b's")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.serve, keep)
        yield await network.transport("a").dial("b's"), await take.receive()
        nursery.cancel_scope.cancel()
    listener.close()


async def receive(stream: Stream, size: int = 1000) -> bytes:
    buffer = bytearray(size)
    count = await stream.receive_into(memoryview(buffer))
    return bytes(buffer[:count])


async def nothing_comes(stream: Stream) -> bool:
    with trio.move_on_after(1000) as scope:
        await receive(stream)
    return scope.cancelled_caught


async def test_a_cut_holds_one_direction_until_it_heals(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with connected(network) as (a, b):
        network.cut("a", "b")
        await a.send_all(b"late, ")
        await b.send_all(b"the other way")
        assert await nothing_comes(b)
        assert await receive(a) == b"the other way"
        await a.send_all(b"but whole")
        network.heal("a", "b")
        assert await receive(b) == b"late, but whole"


async def test_of_a_dead_machine_nothing_more_gets_out(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with connected(network) as (a, b):
        await a.send_all(b"alive")
        network.silence("a")
        await a.send_all(b"dead" * network.buffer_bytes)
        a.close()
        assert await receive(b) == b"alive"
        assert await nothing_comes(b)
        await b.send_all(b"to nobody")


async def test_a_dead_machine_does_not_break_who_waits_for_its_listener(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    listener = await network.transport("b").listen("b's")
    a = await network.transport("a").dial("b's")
    network.silence("b")
    listener.close()
    assert await nothing_comes(a)


async def test_healing_wakes_a_waiting_receiver(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with connected(network) as (a, b), trio.open_nursery() as nursery:
        network.cut("a", "b")
        network.cut("b", "a")
        await a.send_all(b"x")

        async def expect_x() -> None:
            assert await receive(b) == b"x"
            nursery.cancel_scope.cancel()

        nursery.start_soon(expect_x)
        await trio.testing.wait_all_tasks_blocked()
        network.heal("b", "a")
        await trio.testing.wait_all_tasks_blocked()
        assert network.is_cut("a", "b")
        network.heal()
        await trio.sleep(1000)
        pytest.fail("the receiver was not woken")


async def test_behind_a_cut_a_sender_waits_when_the_buffer_is_full(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(buffer_bytes=100)
    async with connected(network) as (a, b):
        network.cut("a", "b")
        await a.send_all(bytes(100))
        with trio.move_on_after(1000) as scope:
            await a.send_all(b"one more")
        assert scope.cancelled_caught
        network.heal()
        assert await receive(b) == bytes(100)


async def test_a_cut_hides_the_end_of_a_stream_too(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with connected(network) as (a, b):
        await a.send_all(b"last words")
        network.cut("a", "b")
        a.close()
        await b.send_all(b"are you there?")
        assert await nothing_comes(b)
        network.heal()
        assert await receive(b) == b"last words"
        assert await receive(b) == b""
        with pytest.raises(trio.BrokenResourceError):
            await b.send_all(b"?")


@pytest.mark.parametrize("cut", [("a", "b"), ("b", "a")])
async def test_a_dial_through_a_cut_waits_and_gives_up(cut: tuple[str, str], autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    listener = await network.transport("b").listen("b's")
    network.cut(*cut)
    began = trio.current_time()
    with pytest.raises(DisconnectError, match="no answer"):
        await network.transport("a").dial("b's")
    assert trio.current_time() - began == DIAL_DEADLINE_S
    listener.close()
    with pytest.raises(DisconnectError, match="no answer"):
        await network.transport("a").dial("b's")


async def test_a_dial_goes_on_when_the_cut_heals(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    await network.transport("b").listen("b's")
    network.cut("b", "a")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(network.transport("a").dial, "b's")
        await trio.sleep(DIAL_DEADLINE_S / 2)
        network.heal()
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks


async def test_a_reset_breaks_both_ends_at_once_even_behind_a_cut(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with connected(network) as (a, b):
        await a.send_all(b"lost")
        network.cut("a", "b")
        network.reset("b", "a")
        for end in (a, b):
            with pytest.raises(trio.BrokenResourceError):
                await receive(end)
            with pytest.raises(trio.BrokenResourceError):
                await end.send_all(b"x")
            end.close()
            with pytest.raises(trio.ClosedResourceError):
                await receive(end)


async def test_a_reset_leaves_other_nodes_alone(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with connected(network) as (a, b):
        network.reset("a", "c")
        network.cut("a", "c")
        await a.send_all(b"x")
        assert await receive(b) == b"x"


async def test_a_delay_holds_one_direction_that_long(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with connected(network) as (a, b):
        network.delay("a", "b", 2.0)
        began = trio.current_time()
        await a.send_all(b"late")
        await b.send_all(b"the other way")
        assert await receive(a) == b"the other way"
        assert trio.current_time() == began
        assert await receive(b) == b"late"
        assert trio.current_time() == began + 2.0


async def test_a_sender_does_not_wait_for_a_delay(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with connected(network) as (a, b):
        network.delay("a", "b", 2.0)
        began = trio.current_time()
        for part in (b"1", b"2", b"3"):
            await a.send_all(part)
            await trio.sleep(0.5)
        assert [await receive(b, 1) for _ in range(3)] == [b"1", b"2", b"3"]
        assert trio.current_time() == began + 3.0


async def test_nothing_overtakes_what_was_delayed(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with connected(network) as (a, b):
        network.delay("a", "b", 2.0)
        began = trio.current_time()
        await a.send_all(b"first, ")
        network.delay("a", "b", 0)
        await a.send_all(b"second")
        a.close()
        assert await receive(b) == b"first, second"
        assert trio.current_time() == began + 2.0
        assert await receive(b) == b""
        assert trio.current_time() == began + 2.0


async def test_the_end_of_a_stream_is_delayed_too(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(buffer_bytes=1)
    async with connected(network) as (a, b):
        network.delay("a", "b", 2.0)
        began = trio.current_time()
        a.close()
        await b.send_all(b"x")
        with pytest.raises(trio.BrokenResourceError):
            await b.send_all(b"no room for this until the end is known")
        assert trio.current_time() == began + 2.0
        assert await receive(b) == b""


async def test_a_reset_loses_what_is_delayed_at_once(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with connected(network) as (a, b), trio.open_nursery() as nursery:
        network.delay("a", "b", 2.0)
        began = trio.current_time()
        await a.send_all(b"lost")

        async def expect_the_reset() -> None:
            with pytest.raises(trio.BrokenResourceError):
                await receive(b)

        nursery.start_soon(expect_the_reset)
        await trio.testing.wait_all_tasks_blocked()
        network.reset("a", "b")
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks
        assert trio.current_time() == began


async def test_a_cut_holds_what_was_delayed_as_well(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with connected(network) as (a, b):
        network.delay("a", "b", 2.0)
        await a.send_all(b"late")
        network.cut("a", "b")
        assert await nothing_comes(b)
        healed = trio.current_time()
        network.heal()
        assert await receive(b) == b"late"
        assert trio.current_time() == healed


async def test_a_dial_takes_the_delay_of_both_ways(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    listener = await network.transport("b").listen("b's")
    network.delay("a", "b", 0.25)
    network.delay("b", "a", 0.5)
    began = trio.current_time()
    await network.transport("a").dial("b's")
    assert trio.current_time() == began + 0.75
    listener.close()
    with pytest.raises(DisconnectError, match="refused"):
        await network.transport("a").dial("b's")


async def test_a_dial_that_the_answer_reaches_too_late_leaves_no_connection(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    ended = trio.Event()

    async def wait_for_the_end(stream: Stream) -> None:
        assert await receive(stream) == b""
        ended.set()

    async with trio.open_nursery() as nursery:
        listener = await network.transport("b").listen("b's")
        nursery.start_soon(listener.serve, wait_for_the_end)
        network.delay("b", "a", 2 * DIAL_DEADLINE_S)
        with pytest.raises(DisconnectError, match="no answer"):
            await network.transport("a").dial("b's")
        await ended.wait()
        nursery.cancel_scope.cancel()


async def test_more_than_the_backlog_is_refused_and_the_rest_broken_at_close(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    listener = await network.transport("b").listen("b's")
    streams = [await network.transport("a").dial("b's") for _ in range(MAX_BACKLOG)]
    with pytest.raises(DisconnectError, match="refused"):
        await network.transport("a").dial("b's")
    listener.close()
    for stream in streams:
        with pytest.raises(trio.BrokenResourceError):
            await receive(stream)


async def test_connections_above_the_bound_are_closed_at_once(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    listener = await network.transport("b").listen("b's")

    async def hold(stream: Stream) -> None:
        await receive(stream)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.serve, hold)
        held = [await network.transport("a").dial("b's") for _ in range(MAX_CONNECTIONS)]
        await trio.testing.wait_all_tasks_blocked()
        assert await receive(await network.transport("a").dial("b's")) == b""
        held[0].close()
        await trio.testing.wait_all_tasks_blocked()
        assert await nothing_comes(await network.transport("a").dial("b's"))
        nursery.cancel_scope.cancel()


async def test_serving_a_closed_listener_ends(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    listener = await network.transport("b").listen("b's")

    async def serve() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            await listener.serve(receive_nothing)
        assert caught.group_contains(trio.ClosedResourceError)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await trio.testing.wait_all_tasks_blocked()
        listener.close()


async def receive_nothing(_: Stream) -> None:
    await trio.sleep_forever()


async def test_a_bug_in_a_handler_is_not_hidden(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    listener = await network.transport("b").listen("b's")

    async def fail(_: Stream) -> None:
        raise KeyError("a bug")

    await network.transport("a").dial("b's")
    with pytest.raises(ExceptionGroup) as caught:
        await listener.serve(fail)
    assert caught.group_contains(KeyError)
