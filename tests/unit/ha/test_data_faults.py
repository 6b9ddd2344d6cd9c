"""What one node knows is wrong with the data, the other one says too, and goes on with when the role comes to it."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import attrs
import pytest
import trio
from trio.testing import MockClock

from ctlha_trio._errors import MediumError, NotPrimaryError
from ctlha_trio.ha import Node
from ctlha_trio.ha._data_faults import TOLD_RUNS_MAX, DataFaults
from ctlha_trio.ha._medium import DAMAGED_KEPT, REPAIRED_MAX, MediumLog
from ctlha_trio.link import _handshake
from ctlha_trio.pair import Copy, DataFault, DataFaultTold, Verification
from ctlha_trio.store import BLOCK_BYTES, image
from ctlha_trio.testing import MemoryPair, PowerDisk, open_pair
from ctlha_trio.wire import OWN_TERMS, Feature, Terms
from tests.unit.ha.test_node_repair import SIZE_BYTES, filled, verified

LOST = 2 * SIZE_BYTES - BLOCK_BYTES
"""Far from what is written, and so copied, in any other way."""
WHOLE = bytes(BLOCK_BYTES)
READS = 40


async def lose(pair: MemoryPair, *blocks: int) -> None:
    """Blocks of both copies decay, and a client of the primary meets each."""
    for block in blocks:
        for name in ("a", "b"):
            pair.decay(name, block)
        with pytest.raises(MediumError):
            await pair.nodes[pair.record.primary].volume.read(block, 1)


def says(pair: MemoryPair, *reasons: str) -> bool:
    """Whether both nodes give these reasons, and no others."""
    verdict = "degraded" if reasons else "protected"
    return all((each.status().verdict, each.status().reasons) == (verdict, reasons) for each in pair.nodes.values())


async def wait_said(pair: MemoryPair, *reasons: str) -> None:
    with trio.move_on_after(10.0):
        await pair.wait_until(lambda: says(pair, *reasons))
    assert says(pair, *reasons), {name: node.status().reasons for name, node in pair.nodes.items()}


async def lose_more_than_are_told(pair: MemoryPair) -> list[int]:
    """Where each of the blocks begins. Node b comes back to them, and so is told as many by place as it may be."""
    await filled(pair)
    blocks = [SIZE_BYTES + 2 * number * BLOCK_BYTES for number in range(TOLD_RUNS_MAX + 1)]
    await lose(pair, *blocks)
    await wait_said(pair, "medium-error")
    await pair.stop("b")
    await pair.wait_alone("a")
    await pair.restart("b")
    await wait_said(pair, "medium-error")
    return blocks


def damaged(node: Node) -> int:
    return node.status().damaged_bytes


@pytest.mark.parametrize("through", ["a", "b"])
async def test_both_say_that_a_block_is_lost_until_it_is_written_anew(
    through: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pair(size_bytes=2 * SIZE_BYTES) as pair:
        await filled(pair)
        await lose(pair, LOST)
        await wait_said(pair, "medium-error")
        assert [damaged(node) for node in pair.nodes.values()] == [BLOCK_BYTES] * 2
        line = f"damaged on every copy that counts: {BLOCK_BYTES} bytes at {LOST}"
        assert caplog.messages.count(line) == 2, "the log of each node names the block, once"
        pair.break_link()
        await trio.sleep(30.0)
        assert says(pair, "medium-error")
        assert caplog.messages.count(line) == 2
        await pair.nodes[through].volume.write(LOST, WHOLE)
        await wait_said(pair)
        assert [damaged(node) for node in pair.nodes.values()] == [0, 0]


async def test_who_takes_over_knows_what_is_lost(autojump_clock: MockClock) -> None:
    """The other process, which met it, is gone: once it is back both say so, by the word of the new primary."""
    async with open_pair(size_bytes=2 * SIZE_BYTES) as pair:
        await filled(pair)
        await lose(pair, LOST)
        await wait_said(pair, "medium-error")
        pair.crash("a")
        b = await pair.wait_alone("b")
        assert b.status().reasons == ("peer-lost", "medium-error")
        await pair.restart("a")
        await wait_said(pair, "medium-error")
        await pair.nodes["a"].volume.write(LOST, WHOLE)
        await wait_said(pair)


async def test_who_is_handed_the_role_knows_what_was_found_just_before(autojump_clock: MockClock) -> None:
    """It hears of it in the epoch that ends, ahead of the role: nobody else would tell it later."""
    async with open_pair(size_bytes=2 * SIZE_BYTES) as pair:
        await filled(pair)
        pair.slow(network_s=0.05)
        await lose(pair, LOST)
        assert [damaged(node) for node in pair.nodes.values()] == [BLOCK_BYTES, 0]
        await pair.nodes["a"].switchover()
        await pair.wait_serving("b")
        await wait_said(pair, "medium-error")
        await trio.sleep(10.0)
        assert says(pair, "medium-error")


async def test_what_is_lost_on_its_way_with_the_role_is_told_again_once_it_is_met(autojump_clock: MockClock) -> None:
    """No data are at stake: whoever reads it is told, by either node."""
    async with open_pair(size_bytes=2 * SIZE_BYTES) as pair:
        await filled(pair)
        pair.slow(network_s=0.05)
        await lose(pair, LOST)
        pair.arbiters["a"].unavailable = True
        pair.partition()
        pair.break_link()
        b = await pair.wait_alone("b")
        assert damaged(b) == 0
        pair.arbiters["a"].unavailable = False
        pair.heal()
        await wait_said(pair)
        with pytest.raises(MediumError):
            await b.volume.read(LOST, 1)
        await wait_said(pair, "medium-error")


async def test_who_was_primary_forgets_what_the_other_one_had_written_anew(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=2 * SIZE_BYTES) as pair:
        await filled(pair)
        await lose(pair, LOST)
        await wait_said(pair, "medium-error")
        await pair.nodes["a"].switchover()
        b = await pair.wait_serving("b")
        assert says(pair, "medium-error")
        pair.partition("a")
        await pair.wait_until(lambda: b.status().role == "primary" and not b.pair.session)
        await b.volume.write(LOST, WHOLE)
        pair.heal("a")
        await wait_said(pair)


async def test_what_a_primary_of_before_tells_counts_for_nothing(autojump_clock: MockClock) -> None:
    """It was cut off with its role, and comes back with what it knew, before it hears that another one has the role."""
    async with open_pair(size_bytes=2 * SIZE_BYTES) as pair:
        await filled(pair)
        await lose(pair, LOST)
        await wait_said(pair, "medium-error")
        pair.arbiters["a"].unavailable = True
        pair.partition("a")
        b = await pair.wait_alone("b")
        await b.volume.write(LOST, WHOLE)
        assert [damaged(node) for node in pair.nodes.values()] == [BLOCK_BYTES, 0]
        assert pair.nodes["a"].status().role == "primary"
        pair.heal("a")
        await pair.wait_until(lambda: bool(b.pair.session))
        assert damaged(b) == 0
        pair.arbiters["a"].unavailable = False
        await wait_said(pair)


async def test_a_block_that_the_other_copy_has_is_lost_for_neither_once_it_is_repaired(
    autojump_clock: MockClock,
) -> None:
    async with open_pair(size_bytes=2 * SIZE_BYTES) as pair:
        await filled(pair)
        await pair.stop("b")
        a = await pair.wait_alone("a")
        pair.decay("a", LOST)
        with pytest.raises(MediumError):
            await a.volume.read(LOST, 1)
        await pair.start("b")
        await wait_said(pair, "medium-error")
        await a.volume.read(LOST, 1)
        await wait_said(pair)


async def test_what_only_the_secondary_reads_both_say(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=2 * SIZE_BYTES) as pair:
        await filled(pair)
        for name in ("a", "b"):
            pair.decay(name, LOST)
        with pytest.raises(NotPrimaryError):
            await pair.nodes["b"].volume.read(LOST, 1)
        await wait_said(pair, "medium-error")


async def test_copies_that_differ_do_so_at_both_nodes(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=2 * SIZE_BYTES) as pair:
        await filled(pair)
        await pair.nodes["b"]._driver._store.write(9 * BLOCK_BYTES, b"another")
        await verified(pair)
        await wait_said(pair, "copies-differ")
        await pair.nodes["a"].switchover()
        b = await pair.wait_serving("b")
        assert says(pair, "copies-differ")
        await b.volume.write(8 * BLOCK_BYTES, bytes(3 * BLOCK_BYTES))
        assert (await verified(pair, "b")).differing_bytes == 0
        await wait_said(pair)


async def test_copies_differ_until_a_comparison_that_was_complete_finds_nothing(autojump_clock: MockClock) -> None:
    """One that has only begun, or ends before it comes to what differs, tells nothing of that."""
    async with open_pair(size_bytes=2 * SIZE_BYTES) as pair:
        await filled(pair)
        await pair.nodes["b"]._driver._store.write(LOST, b"another")
        await verified(pair)
        await wait_said(pair, "copies-differ")
        pair.slow(disk_call_s=0.01)
        pair.nodes["a"].verify()
        await pair.wait_until(lambda: is_comparing(pair.nodes["a"]))
        assert says(pair, "copies-differ")
        pair.crash("b")
        await pair.wait_alone("a")
        await pair.restart("b")
        await wait_said(pair, "copies-differ")
        await pair.nodes["a"].volume.write(LOST, WHOLE)
        assert (await verified(pair)).differing_bytes == 0
        await wait_said(pair)


def is_comparing(node: Node) -> bool:
    """Whether it has begun, and found nothing."""
    verification = node.status().verification
    return verification is not None and (verification.state, verification.differing_bytes) == ("running", 0)


async def test_copies_of_which_one_is_made_anew_differ_no_more(autojump_clock: MockClock) -> None:
    """What was found was told by a process that is gone, of a copy that is gone."""
    async with open_pair(size_bytes=2 * SIZE_BYTES) as pair:
        await filled(pair)
        await pair.nodes["b"]._driver._store.write(9 * BLOCK_BYTES, b"another")
        await verified(pair)
        await wait_said(pair, "copies-differ")
        await pair.stop("a")
        b = await pair.wait_alone("b")
        assert b.status().reasons == ("peer-lost", "copies-differ")
        empty = attrs.evolve(pair.durable_metadata("a"), copy=Copy.FAILED)
        pair.disks["a"] = PowerDisk({"volume": image(empty, 2 * SIZE_BYTES)})
        await pair.start("a")
        await wait_said(pair)


async def test_who_found_that_copies_differ_forgets_it_once_its_own_is_made_anew(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No peer has to tell it so: one of an earlier version could not."""
    hear_of_no_faults(monkeypatch)
    async with open_pair(size_bytes=2 * SIZE_BYTES) as pair:
        await filled(pair)
        a, b = pair.nodes["a"], pair.nodes["b"]
        await b._driver._store.write(9 * BLOCK_BYTES, b"another")
        await verified(pair)
        assert a.status().reasons == ("copies-differ",)
        pair.partition()
        await pair.wait_alone("a")
        await pair.wait_until(lambda: b.status().role == "outdated")
        await b.force_primary(b.plan_force("a"))
        await pair.wait_until(lambda: a.status().role == "outdated")
        assert "copies-differ" in a.status().reasons
        pair.heal()
        await wait_said(pair)
        assert pair.copy("a") == pair.copy("b")


def hear_of_no_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes of before: each would end the session over a message that it does not know."""
    before = Terms(OWN_TERMS.features & ~Feature.DATA_FAULTS, OWN_TERMS.fragment_size)
    monkeypatch.setattr(_handshake, "OWN_TERMS", before)


async def test_a_disk_that_fails_is_said_by_both_each_in_its_words(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=2 * SIZE_BYTES) as pair:
        await filled(pair)
        a, b = pair.nodes["a"], pair.nodes["b"]
        for block in range(REPAIRED_MAX + 1):
            assert (a.status().verdict, b.status().verdict) == ("protected", "protected")
            pair.decay("b", block * BLOCK_BYTES)
            await a.volume.write(block * BLOCK_BYTES, b"part")
        await pair.wait_until(lambda: a.status().verdict != "protected")
        assert (a.status().verdict, a.status().reasons) == ("degraded", ("peer-disk-failing",))
        assert (b.status().verdict, b.status().reasons) == ("degraded", ("disk-failing",))
        pair.break_link()
        await trio.sleep(10.0)
        assert a.status().reasons == ("peer-disk-failing",)
        await pair.stop("b")
        assert (await pair.wait_alone("a")).status().reasons == ("peer-lost",)


async def test_a_peer_that_does_not_state_that_it_hears_such_is_told_nothing(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[DataFaultTold] = []
    hear_of_no_faults(monkeypatch)
    monkeypatch.setattr(DataFaults, "take", lambda _, told: taken.append(told))
    async with open_pair(size_bytes=2 * SIZE_BYTES) as pair:
        await filled(pair)
        await lose(pair, LOST)
        assert pair.nodes["a"].status().reasons == ("medium-error",)
        await trio.sleep(10.0)
        assert taken == []
        assert pair.nodes["a"].status().flaps == 0


# Many of them


async def test_who_reads_a_lost_block_again_and_again_costs_the_peer_no_message(autojump_clock: MockClock) -> None:
    """So many could not be sent in time, and the session would be dropped for that."""
    async with open_pair(size_bytes=2 * SIZE_BYTES) as pair:
        await filled(pair)
        await pair.stop("b")
        a = await pair.wait_alone("a")
        await a.volume.write(LOST, WHOLE)
        pair.decay("a", LOST)
        await pair.start("b")
        await pair.wait_until(lambda: a.status().reasons == ("resync-blocked", "medium-error"))
        pair.slow(network_s=0.05)

        async def read() -> None:
            for _ in range(READS):
                with pytest.raises(MediumError):
                    await a.volume.read(LOST, 1)

        async with trio.open_nursery() as nursery:
            for _ in range(READS):
                nursery.start_soon(read)
        await trio.sleep(1.0)
        assert (a.status().flaps, a.status().link) == (0, "online")


async def test_of_many_lost_blocks_the_first_are_told_by_place_and_that_there_are_more(
    autojump_clock: MockClock,
) -> None:
    async with open_pair(size_bytes=2 * SIZE_BYTES) as pair:
        blocks = await lose_more_than_are_told(pair)
        a, b = pair.nodes["a"], pair.nodes["b"]
        assert (damaged(a), damaged(b)) == (len(blocks) * BLOCK_BYTES, TOLD_RUNS_MAX * BLOCK_BYTES)
        for block in blocks[:-1]:
            await a.volume.write(block, WHOLE)
        assert (damaged(a), damaged(b)) == (BLOCK_BYTES, 0)
        assert says(pair, "medium-error")
        await a.volume.write(blocks[-1], WHOLE)
        await wait_said(pair)


async def test_that_there_are_more_is_taken_away_by_a_comparison_that_finds_none(autojump_clock: MockClock) -> None:
    """Who took over does not know where they were, and so not that all were written anew."""
    async with open_pair(size_bytes=2 * SIZE_BYTES) as pair:
        blocks = await lose_more_than_are_told(pair)
        pair.crash("a")
        b = await pair.wait_alone("b")
        await pair.restart("a")
        await wait_said(pair, "medium-error")
        for block in blocks[:-1]:
            await b.volume.write(block, WHOLE)
        assert (await verified(pair, "b")).unreadable_bytes == BLOCK_BYTES
        await wait_said(pair, "medium-error")
        await b.volume.write(blocks[-1], WHOLE)
        assert (await verified(pair, "b")).unreadable_bytes == 0
        await wait_said(pair)


async def test_that_there_are_more_stays_after_a_comparison_that_finds_one(autojump_clock: MockClock) -> None:
    """It names no more blocks than a node keeps by place."""
    async with open_pair(size_bytes=2 * SIZE_BYTES) as pair:
        await filled(pair)
        pair.nodes["a"]._driver.data_faults.medium.has_more = True
        await lose(pair, LOST)
        assert (await verified(pair, "a")).unreadable_bytes == BLOCK_BYTES
        await pair.nodes["a"].volume.write(LOST, WHOLE)
        await wait_said(pair, "medium-error")
        assert (await verified(pair, "a")).unreadable_bytes == 0
        await wait_said(pair)


BEGUN, INTERRUPTED = Verification(1, partner=9), Verification(1, partner=9, running=False, why="cut", cursor=1 << 20)
GONE_ON = attrs.evolve(INTERRUPTED, number=2, running=True, why="")
ENDED = attrs.evolve(GONE_ON, running=False, cursor=2 << 20)


def has_more(faults: DataFaults) -> bool:
    return faults.medium.has_more


def copies_differ(faults: DataFaults) -> bool:
    return faults.copies_differ


def lose_one_without_a_place(faults: DataFaults) -> None:
    faults.medium.add_damaged(0, DAMAGED_KEPT * BLOCK_BYTES)
    faults.lost(DAMAGED_KEPT * BLOCK_BYTES, BLOCK_BYTES)


def be_told(fault: DataFault, faults: DataFaults) -> None:
    faults._take_of_data(DataFaultTold(1, fault, True, 0, 0))


@pytest.mark.parametrize(
    ("find", "is_found"),
    [
        (lose_one_without_a_place, has_more),
        (partial(be_told, DataFault.MORE_BLOCKS_LOST), has_more),
        (partial(be_told, DataFault.COPIES_DIFFER), copies_differ),
    ],
    ids=["lost", "told that more are lost", "told that copies differ"],
)
async def test_a_comparison_says_nothing_of_what_was_found_behind_it(
    find: Callable[[DataFaults], None], is_found: Callable[[DataFaults], bool], autojump_clock: MockClock
) -> None:
    async with open_pair() as pair:
        driver = pair.nodes["a"]._driver
        faults, state = driver.data_faults, driver.state

        def compare(*steps: Verification) -> None:
            for before, after in pairwise(attrs.evolve(state, verification=each) for each in (None, *steps)):
                faults.stepped(before, after)

        find(faults)
        compare(BEGUN, INTERRUPTED, GONE_ON, ENDED)
        assert not is_found(faults), "it has looked everywhere since"
        compare(BEGUN, INTERRUPTED)
        find(faults)
        compare(GONE_ON, ENDED)
        assert is_found(faults)
        compare(BEGUN)
        find(faults)
        compare(attrs.evolve(ENDED, number=1))
        assert is_found(faults)
        compare(BEGUN, attrs.evolve(ENDED, number=1))
        assert not is_found(faults)


def test_runs_are_in_order_and_each_in_one_piece() -> None:
    medium = MediumLog()
    for block in (9, 3, 4, 10, 6, 5):
        medium.add_damaged(block * BLOCK_BYTES, BLOCK_BYTES)
    assert list(medium.runs()) == [(3 * BLOCK_BYTES, 4 * BLOCK_BYTES), (9 * BLOCK_BYTES, 2 * BLOCK_BYTES)]


def test_more_than_are_kept_by_place_are_told_as_such() -> None:
    medium = MediumLog()
    medium.add_damaged(0, DAMAGED_KEPT * BLOCK_BYTES)
    assert not medium.has_more
    assert medium.add_damaged(DAMAGED_KEPT * BLOCK_BYTES, BLOCK_BYTES), "news too"
    assert medium.has_more
