"""Two whole nodes that lose each other: who notices when, who goes on, and what a flap costs."""

from functools import partial

import pytest
import trio
from trio.testing import MockClock

from ctlha_trio._errors import NotPrimaryError
from ctlha_trio.ha import Node
from ctlha_trio.testing import MemoryPair, open_pair

BLOCK = 4096


def entered(node: Node, phase: str) -> float:
    """When the node last entered a phase."""
    return [t.at_s for t in node.status().transitions if t.what.startswith(f"{phase}:")][-1]


async def settle(seconds: float) -> None:
    """Let virtual time pass."""
    await trio.sleep(seconds)


async def test_silent_death_of_the_primary_is_noticed_in_time_and_served(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        await pair.nodes["a"].volume.write(0, b"x" * BLOCK)
        await settle(0.05)
        began = trio.current_time()
        pair.crash("a", silently=True)
        b = await pair.wait_alone("b")
        assert 0.8 <= entered(b, "suspended") - began <= 1.0
        assert entered(b, "claiming") - entered(b, "suspended") == pytest.approx(0.25)
        assert trio.current_time() - began < 2.0
        assert await b.volume.read(0, BLOCK) == b"x" * BLOCK


async def test_silence_both_ways_is_noticed_by_both_and_the_primary_wins(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        a, b = pair.nodes["a"], pair.nodes["b"]
        pair.network.cut("a", "b")
        pair.network.cut("b", "a")
        began = trio.current_time()
        await pair.wait_alone("a")
        await pair.wait_until(lambda: b.status().role == "outdated")
        for node in (a, b):
            # The last heartbeat may have come up to 0.1 s before the cut.
            assert 0.8 <= entered(node, "suspended") - began <= 1.0
        assert entered(a, "claiming") == entered(a, "suspended")
        assert pair.record.members == ("a",)
        with pytest.raises(NotPrimaryError):
            await b.volume.read(0, BLOCK)


@pytest.mark.parametrize(("dead", "survivor", "delay_s"), [("b", "a", 0.1), ("a", "b", 0.25)])
async def test_closed_connection_is_waited_out(
    dead: str, survivor: str, delay_s: float, autojump_clock: MockClock
) -> None:
    async with open_pair() as pair:
        began = trio.current_time()
        pair.crash(dead)
        node = await pair.wait_alone(survivor)
        assert entered(node, "suspended") == pytest.approx(began)
        assert entered(node, "claiming") - began == pytest.approx(delay_s)
        assert pair.record.members == (survivor,)


@pytest.mark.parametrize(("deaf", "speaker"), [("b", "a"), ("a", "b")])
async def test_one_way_cut_leaves_one_node_serving_and_heals(
    deaf: str, speaker: str, autojump_clock: MockClock
) -> None:
    async with open_pair() as pair:
        pair.network.cut(speaker, deaf)
        await pair.wait_alone("a")
        assert pair.nodes["b"].status().role != "primary"
        await pair.nodes["a"].volume.write(0, b"y" * BLOCK)
        pair.network.heal()
        await pair.wait_protected()
        assert pair.copy("a") == pair.copy("b")


@pytest.mark.parametrize(("leaver", "other"), [("a", "b"), ("b", "a")])
async def test_goodbye_swaps_at_once(leaver: str, other: str, autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        began = trio.current_time()
        await pair.stop(leaver)
        node = await pair.wait_alone(other)
        assert entered(node, "alone") - began < 0.05
        assert not pair.failures
        await pair.start(leaver)
        await pair.wait_protected()


async def write_all(pair: MemoryPair, rounds: int) -> None:
    """Several clients, each rewriting its own block with one operation after the other."""

    async def client(block: int) -> None:
        for number in range(rounds):
            await pair.nodes["a"].volume.write(block * BLOCK, bytes([number + 1]) * BLOCK)

    async with trio.open_nursery() as nursery:
        for block in range(8):
            nursery.start_soon(client, block)


def has_resumed(node: Node, flaps: int) -> bool:
    """Whether the node has lost its peer and found it again at least so many times, each time in its old role."""
    told = [t.what.partition(": ") for t in node.status().transitions]
    lost = sum(phase == "suspended" for phase, _, _ in told)
    found = sum(why == "resumed after a flap" for _, _, why in told)
    return lost == found >= flaps


@pytest.mark.parametrize("call_s", [0.3, 2.0])
async def test_a_flap_moves_no_role_although_the_disk_of_the_secondary_is_slow(
    call_s: float, autojump_clock: MockClock
) -> None:
    """It resumes only when its disk has ended what runs there, which may take longer than it waits before it claims."""
    async with open_pair(disk_call_s={"b": call_s}) as pair:
        a = pair.nodes["a"]
        epoch = a.status().epoch
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.volume.write, 0, b"w" * BLOCK)
            await settle(0.05)
            assert a.pair.flights
            pair.network.reset("a", "b")
        assert has_resumed(a, 1)
        assert (a.status().epoch, a.status().role) == (epoch, "primary")
        assert await pair.nodes["b"].volume.read(0, BLOCK) == b"w" * BLOCK


@pytest.mark.parametrize("seed", range(6))
async def test_flap_resumes_with_operations_in_flight(seed: int, autojump_clock: MockClock) -> None:
    async with open_pair(seed=seed, disk_call_s={"a": 0.003, "b": 0.004}) as pair:
        a, b = pair.nodes["a"], pair.nodes["b"]
        epoch = a.status().epoch
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write_all, pair, 40)
            for flap in range(1, 4):
                await settle(0.0531 + seed / 1000)
                assert a.pair.flights
                pair.network.reset("a", "b")
                await pair.wait_until(partial(has_resumed, a, flap))
        await pair.wait_protected()
        assert a.status().epoch == epoch
        for node in (a, b):
            assert has_resumed(node, 3)
        expected = bytes([40]) * BLOCK * 8
        assert pair.copy("a")[: 8 * BLOCK] == expected
        assert pair.copy("a") == pair.copy("b")


@pytest.mark.parametrize("first", ["a", "b"])
@pytest.mark.parametrize("pause_s", [0.0, 1.0, 5.0])
async def test_both_cut_and_started_in_either_order(first: str, pause_s: float, autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        await pair.nodes["a"].volume.write(0, b"z" * BLOCK)
        pair.crash("a")
        pair.crash("b")
        await pair.restart(first)
        await settle(pause_s)
        # Both were members: whoever waited for the other in vain serves alone.
        assert (pair.nodes[first].status().verdict == "degraded") == (pause_s > 3.0)
        second = "b" if first == "a" else "a"
        await pair.restart(second)
        await pair.wait_protected()
        serving = next(node for node in pair.nodes.values() if node.status().role == "primary")
        assert serving.config.node == ("a" if pause_s < 3.0 else first)
        assert await serving.volume.read(0, BLOCK) == b"z" * BLOCK
        assert pair.copy("a") == pair.copy("b")


async def test_node_that_is_no_member_serves_nothing_alone(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        pair.crash("b")
        a = await pair.wait_alone("a")
        await a.volume.write(0, b"new" + bytes(BLOCK - 3))
        pair.crash("a")
        b = await pair.restart("b")
        await settle(10.0)
        assert b.status().verdict == "at-risk"
        assert set(b.status().reasons) == {"outdated", "peer-lost"}
        with pytest.raises(NotPrimaryError):
            await b.volume.read(0, BLOCK)
        await pair.restart("a")
        await pair.wait_protected()
        assert pair.copy("b")[:3] == b"new"


async def test_a_read_that_was_asked_before_the_primary_was_lost_waits_for_the_takeover(
    autojump_clock: MockClock,
) -> None:
    async with open_pair() as pair:
        b = pair.nodes["b"]
        await b.volume.write(0, b"kept")
        pair.crash("a")
        # In the same turn of the loop: b has not noticed yet.
        assert await b.volume.read(0, 4) == b"kept"
        assert pair.record.members == ("b",)


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_secondary_without_a_session_takes_no_read_and_serves_once_it_has_taken_over(
    restarts: bool, autojump_clock: MockClock
) -> None:
    """The primary may be serving; a program asks there. At the primary itself a read waits."""
    async with open_pair() as pair, trio.open_nursery() as nursery:
        b = pair.nodes["b"]
        await b.volume.write(0, b"kept")
        pair.crash("a")
        if restarts:
            nursery.start_soon(pair.restart, "a")
        await settle(0.01)
        with pytest.raises(NotPrimaryError):
            await b.volume.read(0, 4)
        await pair.wait_serving("b")
        assert await b.volume.read(0, 4) == b"kept"


async def test_a_primary_without_a_session_takes_reads_and_answers_once_it_goes_on_alone(
    autojump_clock: MockClock,
) -> None:
    async with open_pair() as pair:
        a = pair.nodes["a"]
        await a.volume.write(0, b"kept")
        pair.crash("b")
        await settle(0.01)
        assert await a.volume.read(0, 4) == b"kept"
        assert pair.record.members == ("a",)
