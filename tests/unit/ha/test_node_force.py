"""A whole node that is forced to be primary, and what becomes of the other one."""

import pytest
import trio
from trio.testing import MockClock

from ctlha_trio._errors import FailedError, InvalidError, NotPrimaryError, UnknownOutcomeError
from ctlha_trio.arbiter import SwapFault
from ctlha_trio.ha import Node
from ctlha_trio.pair import RECORD_POLL_S
from ctlha_trio.testing import MemoryPair, open_pair

BLOCK = 4096
OLD, NEW, FORCED = b"old!" * 1024, b"new!" * 1024, b"fork" * 1024


async def left_behind(pair: MemoryPair) -> Node:
    """``b``, which has missed a write, alone; ``a`` is down."""
    await pair.nodes["a"].volume.write(0, OLD)
    await pair.nodes["a"].volume.write(BLOCK, OLD)
    pair.crash("b")
    a = await pair.wait_alone("a")
    await a.volume.write(0, NEW)
    pair.crash("a")
    b = await pair.restart("b")
    await pair.wait_until(lambda: b.status().reasons == ("outdated", "peer-lost"))
    return b


async def write_on(node: Node, *, before_epoch: int) -> None:
    """Until an error; what is acknowledged must be so in an earlier epoch."""
    while True:
        await node.volume.write(0, NEW)
        assert node.status().epoch < before_epoch
        await trio.sleep(0.01)


async def test_a_forced_node_serves_its_copy_and_the_abandoned_one_becomes_that(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        b = await left_behind(pair)
        before = pair.record
        plan = b.plan_force("a")
        assert pair.record == plan.before == before
        assert plan.copy_epoch == pair.durable_metadata("b").epoch < before.epoch
        await b.force_primary(plan)
        assert pair.record == plan.after
        await pair.wait_alone("b")
        assert await b.volume.read(0, BLOCK) == OLD
        await b.volume.write(BLOCK, FORCED)
        assert pair.durable_metadata("b").lineage == plan.after.lineage != before.lineage
        a = await pair.restart("a")
        with pytest.raises(NotPrimaryError):
            await a.volume.read(0, BLOCK)
        await pair.wait_protected()
        assert pair.copy("a") == pair.copy("b")
        assert pair.copy("a")[: 2 * BLOCK] == OLD + FORCED
        assert pair.durable_metadata("a").lineage == plan.after.lineage
        assert pair.failures == {}


async def test_a_node_that_was_said_to_be_off_and_is_not_stops_within_a_poll(autojump_clock: MockClock) -> None:
    """It may acknowledge until then, in its own epoch; nothing of that counts any more."""
    async with open_pair() as pair:
        await pair.nodes["a"].volume.write(0, OLD)
        pair.network.cut("a", "b")
        pair.network.cut("b", "a")
        a = await pair.wait_alone("a")
        b = pair.nodes["b"]
        await pair.wait_until(lambda: b.status().role == "outdated")
        await a.volume.write(0, NEW)
        forced_s = trio.current_time()
        await b.force_primary(b.plan_force("a"))
        epoch = pair.record.epoch
        with pytest.raises(NotPrimaryError):
            await write_on(a, before_epoch=epoch)
        assert trio.current_time() - forced_s <= RECORD_POLL_S + 0.1
        assert (a.status().role, a.status().epoch) == ("outdated", epoch)
        await pair.wait_alone("b")
        assert await b.volume.read(0, BLOCK) == OLD
        pair.network.heal()
        await pair.wait_protected()
        assert pair.copy("a") == pair.copy("b")


async def test_a_node_that_hears_the_other_is_not_forced(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        before = pair.record
        for node, abandon in (("a", "b"), ("b", "a")):
            with pytest.raises(FailedError, match="cannot be forced while it is"):
                pair.nodes[node].plan_force(abandon)
        with pytest.raises(InvalidError, match="the other node is a, not c"):
            pair.nodes["b"].plan_force("c")
        assert pair.record == before


async def test_without_an_arbiter_nothing_is_forced_then_or_later(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        b = await left_behind(pair)
        before, plan = pair.record, b.plan_force("a")
        pair.arbiters["b"].unavailable = True
        with pytest.raises(FailedError, match="the arbiter did not take what was forced"):
            await b.force_primary(plan)
        pair.arbiters["b"].unavailable = False
        await trio.sleep(30.0)
        assert (pair.record, b.status().role) == (before, "outdated")
        await pair.restart("a")
        await pair.wait_protected()
        assert pair.copy("b")[:BLOCK] == NEW


async def test_the_only_member_serves_on_beside_a_copy_that_may_be_forced_while_the_arbiter_takes_no_swap(
    autojump_clock: MockClock,
) -> None:
    async with open_pair() as pair:
        pair.network.cut("a", "b")
        pair.network.cut("b", "a")
        a, b = await pair.wait_alone("a"), pair.nodes["b"]
        await pair.wait_until(lambda: b.status().role == "outdated")
        for arbiter in pair.arbiters.values():
            arbiter.takes_swaps = False
        with pytest.raises(FailedError, match="the arbiter did not take what was forced"):
            await b.force_primary(b.plan_force("a"))
        pair.network.heal()
        await pair.wait_until(lambda: a.pair.session != 0)
        swaps = sum(arbiter.swaps for arbiter in pair.arbiters.values())
        for _ in range(20):
            with trio.fail_after(1.0):
                await a.volume.write(0, NEW)
            await trio.sleep(0.5)
        assert sum(arbiter.swaps for arbiter in pair.arbiters.values()) == swaps, "clients would be held for it"
        assert 2 < pair.arbiters["a"].probes < 60, "looked again, and not at once"
        assert "arbiter-refuses" in a.status().reasons
        for arbiter in pair.arbiters.values():
            arbiter.takes_swaps = True
        await pair.wait_protected()
        assert pair.copy("a") == pair.copy("b")


@pytest.mark.parametrize("fault", [SwapFault.UNKNOWN_APPLIED, SwapFault.UNKNOWN_NOT_APPLIED])
async def test_an_arbiter_that_leaves_it_open_is_asked_until_it_is_known(
    fault: SwapFault, autojump_clock: MockClock
) -> None:
    async with open_pair() as pair:
        b = await left_behind(pair)
        plan = b.plan_force("a")
        pair.arbiters["b"].next_cas(fault)
        await b.force_primary(plan)
        await pair.wait_alone("b")
        assert pair.record == plan.after


async def test_a_node_that_crashes_behind_the_swap_serves_what_it_was_forced_to(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        b = await left_behind(pair)
        plan = b.plan_force("a")
        pair.arbiters["b"].next_cas(SwapFault.UNKNOWN_APPLIED)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(b.force_primary, plan)
            await pair.wait_until(lambda: pair.record == plan.after)
            assert pair.durable_metadata("b").lineage == plan.before.lineage
            pair.crash("b")
            nursery.cancel_scope.cancel()
        await pair.restart("b")
        b = await pair.wait_alone("b")
        assert await b.volume.read(0, BLOCK) == OLD
        assert pair.record.ancestors == (plan.before.lineage,)


async def test_the_evidence_of_a_fence_is_forgotten_when_the_node_is_a_member_again(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        b = await left_behind(pair)
        await b.force_primary(b.plan_force("a").fenced("outlet 7 is off"))
        assert (pair.record.fence, pair.record.evidence) == ("confirmed", "outlet 7 is off")
        await pair.wait_alone("b")
        await pair.restart("a")
        await pair.wait_protected()
        assert (pair.record.members, pair.record.fence, pair.record.evidence) == (("a", "b"), "none", "")
        await b.switchover()
        await pair.wait_serving("a")
        assert pair.nodes["a"].pair.record == pair.record


async def test_one_forced_change_at_a_time(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        b = await left_behind(pair)
        plan = b.plan_force("a")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(b.force_primary, plan)
            with trio.fail_after(5):
                while not b.pair.forcing:
                    await trio.lowlevel.checkpoint()
            with pytest.raises(FailedError, match="a forced change is under way"):
                await b.force_primary(plan)
        await pair.wait_alone("b")


async def test_a_node_that_ends_behind_the_swap_does_not_say_that_nothing_was_forced(
    autojump_clock: MockClock,
) -> None:
    async with open_pair() as pair:
        b = await left_behind(pair)
        plan = b.plan_force("a")
        pair.arbiters["b"].next_cas(SwapFault.UNKNOWN_APPLIED)

        async def force() -> None:
            with pytest.raises(UnknownOutcomeError, match="while the arbiter was asked"):
                await b.force_primary(plan)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(force)
            await pair.wait_until(lambda: pair.record == plan.after)
            await pair.stop("b")
