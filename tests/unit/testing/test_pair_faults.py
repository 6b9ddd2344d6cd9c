"""The faults around a pair: each does what it says, both ways or one way, and lasts until it is undone."""

import math
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from ctlha_trio._errors import InvalidError
from ctlha_trio.store import BLOCK_BYTES
from ctlha_trio.testing import MemoryPair, open_mirrors, open_pair


async def warm_up(pair: MemoryPair) -> None:
    """The first write into an extent costs its entry in the activity log."""
    await pair.nodes["a"].volume.write(0, bytes(BLOCK_BYTES))


async def write_s(pair: MemoryPair, name: str) -> float:
    """How long a mirrored write takes that this node, the primary, is asked for, once what was under way is there."""
    await trio.sleep(1.0)
    began = trio.current_time()
    await pair.nodes[name].volume.write(0, b"x" * BLOCK_BYTES)
    return trio.current_time() - began


def arrives(pair: MemoryPair) -> dict[str, bool]:
    return {"a": not pair.network.is_cut("a", "b"), "b": not pair.network.is_cut("b", "a")}


async def test_partition_leaves_one_node_serving_and_heals(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        pair.partition()
        assert arrives(pair) == {"a": False, "b": False}
        await pair.wait_until(lambda: len(pair.record.members) == 1)
        (survivor,) = pair.record.members
        await pair.wait_alone(survivor)
        await pair.nodes[survivor].volume.write(0, b"alone")
        pair.heal()
        assert arrives(pair) == {"a": True, "b": True}
        await pair.wait_protected()
        assert pair.copy("a") == pair.copy("b")
        assert not pair.failures


@pytest.mark.parametrize("name", ["a", "b"])
async def test_one_way_partition_is_one_way(name: str, autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        pair.partition(name)
        assert arrives(pair) == {name: False, "ab".replace(name, ""): True}
        await pair.wait_until(lambda: len(pair.record.members) == 1)
        pair.heal("ab".replace(name, ""))
        assert not arrives(pair)[name], "the other way is healed, which was open"
        pair.heal(name)
        await pair.wait_protected()


async def test_heal_does_not_reach_a_node_without_power(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        pair.partition("b")
        pair.crash("a", silently=True)
        pair.heal()
        assert arrives(pair) == {"a": False, "b": False}
        await pair.wait_alone("b")
        await pair.restart("a")
        assert arrives(pair) == {"a": True, "b": True}
        await pair.wait_protected()


async def test_partition_outlasts_a_restart(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        pair.crash("a")
        await pair.wait_alone("b")
        pair.partition("a")
        await pair.restart("a")
        assert arrives(pair) == {"a": False, "b": True}
        await trio.sleep(10.0)
        assert pair.record.members == ("b",)
        pair.heal()
        await pair.wait_protected()


@pytest.mark.parametrize("first", ["a", "b"])
async def test_both_crash_and_return_in_either_order(first: str, autojump_clock: MockClock) -> None:
    second = "ab".replace(first, "")
    async with open_pair() as pair:
        await pair.nodes["a"].volume.write(0, b"kept")
        pair.crash("b")
        pair.crash("a")
        await pair.restart(first)
        await pair.restart(second)
        await pair.wait_protected()
        assert pair.durable_copy("a")[:4] == pair.durable_copy("b")[:4] == b"kept"
        assert not pair.failures


async def test_slow_network_delays_each_way_by_itself(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        assert await write_s(pair, "a") == 0
        pair.slow(network_s=0.01)
        assert await write_s(pair, "a") == pytest.approx(0.02)
        pair.slow("b", network_s=0)
        assert await write_s(pair, "a") == pytest.approx(0.01)
        pair.slow(network_s=0)
        assert await write_s(pair, "a") == 0


async def test_slow_disk_of_one_node_and_of_both(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        await warm_up(pair)
        pair.slow("b", disk_call_s=0.02)
        assert await write_s(pair, "a") == pytest.approx(0.04), "a write and a flush"
        pair.slow(disk_call_s=0.01)
        assert await write_s(pair, "a") == pytest.approx(0.02)
        pair.slow(network_s=0.1)
        assert await write_s(pair, "a") == pytest.approx(0.22), "what was left out stays"
        pair.slow(network_s=0, disk_call_s=0)
        assert await write_s(pair, "a") == 0


async def test_slowness_outlasts_a_restart(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        pair.slow("b", network_s=0.01, disk_call_s=0.01)
        pair.crash("b")
        await pair.wait_alone("a")
        await pair.restart("b")
        await pair.wait_protected()
        await warm_up(pair)
        assert await write_s(pair, "a") == pytest.approx(0.03)


FAULTS: list[Callable[[MemoryPair], None]] = [
    lambda pair: pair.partition("c"),
    lambda pair: pair.heal("c"),
    lambda pair: pair.slow("c", network_s=1.0),
    lambda pair: pair.slow(network_s=-1.0),
    lambda pair: pair.slow(disk_call_s=math.nan),
    lambda pair: pair.slow("a", network_s=1.0, disk_call_s=math.inf),
    lambda pair: pair.decay("c", 0),
    lambda pair: pair.decay("a", -1),
    lambda pair: pair.decay("a", pair.size_bytes),
    lambda pair: pair.disks["a"].decay("no file", 0),
    lambda pair: pair.disks["a"].decay("volume", -1),
    lambda pair: pair.disks["a"].lose_sector("volume", 1 << 40),
]


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_makes_no_sense_is_refused_and_changes_nothing(
    fault: Callable[[MemoryPair], None], autojump_clock: MockClock
) -> None:
    async with open_mirrors() as mirrors:
        with pytest.raises(InvalidError):
            fault(mirrors.pair)
        assert arrives(mirrors.pair) == {"a": True, "b": True}
        assert await write_s(mirrors.pair, "a") == 0


def beginning(pair: MemoryPair) -> list[bytes]:
    return [pair.disks[name].content("volume") for name in ("a", "b")]


async def test_a_fault_of_no_byte_changes_none(autojump_clock: MockClock) -> None:
    """Before the volume lies what the node knows of itself."""
    async with open_pair() as pair:
        before = beginning(pair)
        with pytest.raises(InvalidError, match="the volume has 1048576"):
            pair.decay("a", -1)
        assert beginning(pair) == before


async def test_protected_means_nothing_while_the_nodes_are_parted_and_have_not_noticed(
    autojump_clock: MockClock,
) -> None:
    async with open_pair() as pair:
        pair.partition()
        assert {node.status().verdict for node in pair.nodes.values()} == {"protected"}
        with pytest.raises(trio.TooSlowError, match="nothing that it sends arrives"):
            await pair.wait_protected()
        pair.heal()
        await pair.wait_protected()


async def test_a_partition_that_ended_before_anybody_noticed_has_changed_nothing(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        epoch = pair.record.epoch
        pair.partition()
        pair.heal()
        await pair.wait_protected()
        await trio.sleep(10.0)
        assert pair.record.epoch == epoch


@pytest.mark.parametrize("name", ["a", "b", None])
async def test_unprotected_is_what_a_partition_comes_to(name: str | None, autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        pair.partition(name)
        began = trio.current_time()
        await pair.wait_unprotected()
        assert 0 < trio.current_time() - began < 5.0
        assert "protected" not in {node.status().verdict for node in pair.nodes.values()}
        pair.heal()
        await pair.wait_protected()
