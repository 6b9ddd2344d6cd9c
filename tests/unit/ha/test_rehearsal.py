"""A rehearsal of a switchover by whole nodes: it changes nothing, and foretells what comes of it."""

import pytest
import trio
from trio.testing import MockClock

from ctlha_trio._errors import FailedError
from ctlha_trio.ha import Node, Rehearsal
from ctlha_trio.pair import HANDOVER_LIMIT_S, Obstacle, Phase
from ctlha_trio.testing import MemoryPair, open_pair


def rehearsed(pair: MemoryPair, name: str) -> Rehearsal:
    """And nothing is changed by it."""
    node = pair.nodes[name]
    before = node.pair, pair.record, pair.durable_metadata(name), len(pair.disks[name].calls), node.status().transitions
    rehearsal = node.rehearse_switchover()
    after = node.pair, pair.record, pair.durable_metadata(name), len(pair.disks[name].calls), node.status().transitions
    assert after == before
    assert after[0] is before[0]
    return rehearsal


async def refused(node: Node) -> str:
    """What the switchover itself says."""
    with pytest.raises(FailedError) as refusal:
        await node.switchover()
    return str(refusal.value)


async def test_what_would_be_accepted_comes_about_as_foretold(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        rehearsal = rehearsed(pair, "a")
        assert (rehearsal.accepted, rehearsal.plan.obstacles) == (True, ())
        assert (rehearsal.plan.before, rehearsal.pause_limit_s) == (pair.record, HANDOVER_LIMIT_S)
        await trio.sleep(5.0)
        assert pair.record == rehearsal.plan.before, "nothing comes of it later either"
        await pair.nodes["a"].switchover()
        assert pair.record == rehearsal.plan.after


async def test_the_pause_is_foretold_from_what_was_measured(autojump_clock: MockClock) -> None:
    async with open_pair(start=False) as pair:
        pair.slow(network_s=0.01, disk_call_s=0.02)
        for name in ("a", "b"):
            await pair.start(name)
        await pair.wait_protected()
        await trio.sleep(1.0)
        pause_s = rehearsed(pair, "a").pause_s
        assert pause_s is not None
        began_s = trio.current_time()
        await pair.nodes["a"].switchover()
        await pair.wait_until(lambda: pair.nodes["b"].pair.phase is Phase.MIRRORING)
        assert pause_s / 2 <= trio.current_time() - began_s <= pause_s * 2


@pytest.mark.parametrize(
    ("name", "obstacles"), [("a", (Obstacle.PEER_LOST,)), ("b", (Obstacle.CHANGE_UNDER_WAY, Obstacle.ARBITER_SILENT))]
)
async def test_what_would_be_refused_is_refused_for_the_same_reasons(
    name: str, obstacles: tuple[Obstacle, ...], autojump_clock: MockClock
) -> None:
    async with open_pair() as pair:
        pair.arbiters["b"].unavailable = True
        pair.partition()
        await pair.wait_alone("a")
        await trio.sleep(3.0)
        rehearsal = rehearsed(pair, name)
        assert not rehearsal.accepted
        assert rehearsal.plan.obstacles == obstacles
        assert rehearsal.plan.after is None
        said = await refused(pair.nodes[name])
        assert said == f"nothing was handed over: {', '.join(each.value for each in obstacles)}"


async def test_whoever_follows_has_no_role_to_give(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        assert rehearsed(pair, "b").plan.obstacles == (Obstacle.NOT_PRIMARY,)
        assert await refused(pair.nodes["b"]) == "nothing was handed over: not-primary"


async def test_an_arbiter_that_does_not_answer_keeps_clients_from_waiting_for_nothing(
    autojump_clock: MockClock,
) -> None:
    async with open_pair() as pair:
        a = pair.nodes["a"]
        pair.arbiters["a"].unavailable = True
        await pair.wait_until(lambda: a.status().arbiter == "unknown")
        assert rehearsed(pair, "a").plan.obstacles == (Obstacle.ARBITER_SILENT,)
        assert "arbiter-silent" in await refused(a)
        assert not [each for each in a.status().transitions if each.what.startswith("handing-over")]
        pair.arbiters["a"].unavailable = False
        await pair.wait_until(lambda: a.status().arbiter == "online")
        await a.switchover()
