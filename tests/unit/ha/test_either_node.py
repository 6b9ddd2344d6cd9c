"""Operations that enter at either node: the same volume through both, in one order."""

import pytest
import trio
from trio.testing import MockClock

from ctlha_trio.testing import open_pair

BLOCK = 4096


async def test_what_is_written_through_either_node_is_read_through_both(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        for number in range(30):
            for name in ("a", "b"):
                data = bytes([number]) * BLOCK
                await pair.nodes[name].volume.write(BLOCK * (number % 3), data)
                for node in pair.nodes.values():
                    assert await node.volume.read(BLOCK * (number % 3), BLOCK) == data
                    await node.volume.flush()


async def test_conflicting_writes_through_both_nodes_end_in_one_order(autojump_clock: MockClock) -> None:
    async with open_pair() as pair, trio.open_nursery() as nursery:

        async def write(name: str, client: int) -> None:
            for number in range(20):
                await pair.nodes[name].volume.write(BLOCK * (number % 3), bytes([8 * number + client]) * BLOCK)

        async with trio.open_nursery() as writers:
            for client in range(8):
                writers.start_soon(write, ("a", "b")[client % 2], client)
        found = [await node.volume.read(0, 3 * BLOCK) for node in pair.nodes.values()]
        assert found[0] == found[1] == pair.durable_copy("a")[: 3 * BLOCK] == pair.durable_copy("b")[: 3 * BLOCK]
        nursery.cancel_scope.cancel()


async def test_writes_through_both_nodes_go_on_through_a_switchover(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        await pair.nodes["b"].volume.write(0, b"b" * BLOCK)
        await pair.nodes["a"].switchover()
        await pair.nodes["a"].volume.write(0, b"a" * BLOCK)
        await pair.nodes["b"].volume.write(BLOCK, b"b" * BLOCK)
        for node in pair.nodes.values():
            assert await node.volume.read(0, 2 * BLOCK) == b"a" * BLOCK + b"b" * BLOCK


@pytest.mark.parametrize("flaps", [1, 3])
async def test_a_flap_loses_and_repeats_nothing(flaps: int, autojump_clock: MockClock) -> None:
    async with open_pair() as pair, trio.open_nursery() as nursery:
        written: list[int] = []

        async def write(name: str, place: int) -> None:
            for number in range(50):
                await pair.nodes[name].volume.write(place, bytes([number]) * BLOCK)
                written.append(number)

        nursery.start_soon(write, "b", 0)
        nursery.start_soon(write, "a", BLOCK)
        for _ in range(flaps):
            await trio.sleep(0.005)
            pair.break_link()
        await pair.wait_until(lambda: len(written) == 100)
        last = bytes([49]) * BLOCK
        assert [await node.volume.read(0, 2 * BLOCK) for node in pair.nodes.values()] == [2 * last] * 2


async def test_after_a_takeover_the_survivor_ends_what_its_clients_had_under_way(autojump_clock: MockClock) -> None:
    async with open_pair() as pair, trio.open_nursery() as nursery:
        b = pair.nodes["b"]
        await b.volume.write(0, b"0" * BLOCK)
        nursery.start_soon(b.volume.write, 0, b"1" * BLOCK)
        await trio.lowlevel.checkpoint()
        pair.crash("a")
        await pair.wait_alone("b")
        assert await b.volume.read(0, BLOCK) == b"1" * BLOCK
