"""What stays wrong with simulated machines while nodes come and go, and what of it the nodes must put right."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random

import attrs
import trio
from trio.testing import MockClock

from ctlha_trio.pair import OperationKind
from ctlha_trio.store import BLOCK_BYTES, DIRTY_BYTES
from ctlha_trio.testing._drivers.machine_faults import CALM
from ctlha_trio.testing._drivers.pair import DriverPair
from ctlha_trio.testing._drivers.swarm import draw_swarm
from ctlha_trio.testing._pairs.memory_pair import no_components
from ctlha_trio.testing._pairs.open_pair import opened
from ctlha_trio.testing._pairs.pair_faults import NAMES
from ctlha_trio.testing._power.medium import SECTOR_BYTES

SIZE_BYTES = 4 * DIRTY_BYTES


def driver_pair() -> AbstractAsyncContextManager[DriverPair]:
    """On machines without trouble."""
    swarm = attrs.evolve(draw_swarm(0, NAMES), disks=dict.fromkeys(NAMES, CALM), arbiter=CALM)

    def make(nursery: trio.Nursery) -> DriverPair:
        return DriverPair(SIZE_BYTES, Random(1), no_components, nursery, swarm=swarm)

    return opened(make)


@asynccontextmanager
async def damaged_pair() -> AsyncIterator[DriverPair]:
    """Both copies were written, the last unit last, and the first block of b has decayed since."""
    async with driver_pair() as pair:
        for offset in range(0, SIZE_BYTES, DIRTY_BYTES):
            await pair.nodes["a"].volume.write(offset, b"w" * DIRTY_BYTES)
        pair.damage.let_decay("b", 0)
        yield pair


async def verified(pair: DriverPair) -> int:
    """Bytes that a comparison has repaired."""
    node = pair.nodes["a"]
    node.verify()

    def is_complete() -> bool:
        status = node.status().verification
        return status is not None and status.state == "complete"

    await pair.wait_until(is_complete)
    status = node.status().verification
    assert status is not None
    return status.repaired_bytes


async def test_a_block_that_has_decayed_meets_the_next_process_and_is_repaired(autojump_clock: MockClock) -> None:
    async with damaged_pair() as pair:
        await pair.stop("b")
        await pair.restart("b")
        await pair.wait_protected()
        assert pair.damage.blocks("b") == {0}
        assert await verified(pair) == BLOCK_BYTES
        assert not pair.damage.blocks("b")


async def test_a_power_cut_seals_what_decayed_in_an_extent_that_was_open(autojump_clock: MockClock) -> None:
    """On a copy that does not count, which is made equal again; on one that does, nothing has decayed there."""
    async with damaged_pair() as pair:
        pair.crash("b")
        await pair.wait_alone("a")
        await pair.restart("b")
        assert not pair.damage.blocks("b")
        assert pair.durable_copy("b") != pair.durable_copy("a")
        await pair.wait_protected()
        assert pair.durable_copy("b") == pair.durable_copy("a")
        pair.damage.let_decay("a", 0)
        for name in NAMES:
            pair.crash(name)
        await pair.restart("a")
        assert not pair.damage.blocks("a")
        assert pair.durable_copy("a") == b"w" * SIZE_BYTES


async def test_only_the_last_copy_of_a_block_is_made_whole_from_outside(autojump_clock: MockClock) -> None:
    async with damaged_pair() as pair:
        assert pair.damage.mend_last_copies("b") == set()
        assert pair.damage.blocks("b") == {0}
        pair.damage.let_decay("a", 1)
        pair.damage.let_decay("a", BLOCK_BYTES // SECTOR_BYTES)
        assert pair.damage.mend_last_copies("a") == {0}
        assert [set(pair.damage.blocks(name)) for name in NAMES] == [{BLOCK_BYTES}, {0}]
        assert await verified(pair) == 2 * BLOCK_BYTES


async def test_a_block_decays_only_where_the_other_copy_is_whole(autojump_clock: MockClock) -> None:
    async with damaged_pair() as pair:
        assert pair.damage.may_strike("a", {BLOCK_BYTES})
        assert not pair.damage.may_strike("a", {0, BLOCK_BYTES})
        assert pair.damage.may_strike("b", {0})
        pair.crash("a")
        await pair.wait_alone("b")
        assert not pair.damage.may_strike("b", {BLOCK_BYTES})
        assert pair.damage.may_strike("a", {BLOCK_BYTES})


async def test_a_way_is_open_when_nothing_blocks_it_any_more(autojump_clock: MockClock) -> None:
    async with driver_pair() as pair:
        for reason in ("one", "another"):
            pair.block([("a", "b")], reason)
        pair.pause("a")
        pair.pause("b")
        pair.unblock([("a", "b")], "one")
        pair.go_on("a", jumps=True)
        assert sorted({reason for *_, reason in pair._blocked}) == ["another", "b is paused"]
        pair.unblock_machines()
        assert sorted({reason for *_, reason in pair._blocked}) == ["b is paused"]
        pair.go_on("b", jumps=True)
        await pair.wait_protected()
        answer = await pair.nodes["a"].submit(OperationKind.WRITE, client=1, number=1, size=1, data=b"x")
        assert answer.outcome.name == "DONE"
