"""Simulated clients ask for parts of blocks and for several; a write of a part of a damaged block is refused."""

from collections import Counter

import attrs
import pytest

from ctlha_trio.pair import (
    COPY_CHUNK_BYTES,
    Operation,
    OperationKind,
    Outcome,
    Phase,
    actions as act,
    events as ev,
)
from ctlha_trio.pair._state import RANGE_UNIT_BYTES
from ctlha_trio.testing._core.clients import blocks_read
from ctlha_trio.testing._core.damage import meet_damage
from ctlha_trio.testing._core.damage_trials import (
    blocks_decay_while_a_copy_returns,
    parts_of_what_both_copies_lost_are_written,
    the_only_member_crashes_behind_what_it_refused,
)
from ctlha_trio.testing._core.disk_calls import DiskCall, UnderWay
from ctlha_trio.testing._core.node import SimulatedNode
from ctlha_trio.testing._core.pair import SimulatedPair
from ctlha_trio.testing._core.situations import CORE_SITUATIONS
from ctlha_trio.testing._core.trial_parts import Trial
from ctlha_trio.testing._core.volume import (
    BLOCK_BYTES,
    BLOCKS,
    SECTORS,
    VOLUME_BYTES,
    blocks_of,
    first_run,
    place_blocks,
    place_sectors,
    sectors_of,
)
from ctlha_trio.testing._core.world import CoreWorld


def pair_of_nodes() -> tuple[SimulatedPair, SimulatedNode]:
    world = CoreWorld(1)
    world.heal()
    return world.pair, world.pair.nodes["a"]


def call(order: DiskCall, *sectors: int) -> UnderWay:
    return UnderWay(order, 1, slow=False, tracked=False, data=dict.fromkeys(sectors, 7))


def test_a_block_is_the_unit_of_a_resync_and_chunks_have_several() -> None:
    """So whole blocks are copied, as of any store."""
    assert BLOCK_BYTES == RANGE_UNIT_BYTES
    chunks = [blocks_of(start, COPY_CHUNK_BYTES) for start in range(0, VOLUME_BYTES, COPY_CHUNK_BYTES)]
    assert chunks == [(0, 1, 2), (3,), (4, 5)]
    assert sum(place_blocks(2)) == place_blocks(3)[0], "one pair lies in two chunks"


def test_every_sector_and_block_is_found_where_it_lies() -> None:
    assert [sectors_of(*place_sectors(sector)) for sector in range(SECTORS)] == [(each,) for each in range(SECTORS)]
    assert [blocks_of(*place_blocks(block)) for block in range(BLOCKS)] == [(each,) for each in range(BLOCKS)]
    assert sectors_of(*place_sectors(3, 5)) == (3, 4, 5, 6, 7)
    assert blocks_of(*place_sectors(3, 5)) == (1, 2, 3)
    assert blocks_of(2 * BLOCK_BYTES, BLOCK_BYTES) == ()


def test_damaged_blocks_that_lie_apart_are_no_run() -> None:
    assert first_run([1, 0]) == (0, 2 * BLOCK_BYTES)
    assert first_run([1, 2]) == place_blocks(1)
    assert first_run([3, 2, 5]) == (place_blocks(2)[0], 2 * BLOCK_BYTES)


@pytest.mark.parametrize(
    ("kind", "read"),
    [(OperationKind.WRITE, [1, 3]), (OperationKind.UNMAP, [1, 3]), (OperationKind.COMPARE_AND_WRITE, [1, 2, 3])],
)
def test_a_write_reads_the_blocks_that_it_covers_in_part(kind: OperationKind, read: list[int]) -> None:
    assert blocks_read(Operation(kind, 1, 1, *place_sectors(3, 4))) == read
    assert blocks_read(Operation(OperationKind.READ, 1, 1, *place_sectors(3, 4))) == [1, 2, 3]


def test_a_write_of_a_part_of_a_damaged_block_is_refused_and_one_of_all_of_it_mends_it() -> None:
    pair, node = pair_of_nodes()
    node.damaged = {1: "bit_rot", 2: "bit_rot"}
    order = act.StoreMirrored(9, *place_sectors(3, 2))
    assert meet_damage(pair, node, call(order, 3, 4)) == ev.Damaged(9, *place_blocks(1))
    assert meet_damage(pair, node, call(order, 2, 3, 4)) == ev.Damaged(9, *place_blocks(2))
    whole = call(order, 2, 3)
    assert meet_damage(pair, node, whole) is None
    node.apply(whole)
    assert node.damaged.keys() == {2}
    assert pair.faults_done == Counter(bit_rot=2)


def test_zeros_and_writes_of_a_client_of_the_node_are_refused_too() -> None:
    pair, node = pair_of_nodes()
    node.damaged = {0: "bit_rot"}
    write = Operation(OperationKind.WRITE, 1, 1, *place_sectors(1))
    for order in (act.StoreZeroes(4, *place_sectors(1)), act.StoreWrite(4, 1, write)):
        assert meet_damage(pair, node, call(order, 1)) == ev.Damaged(4, *place_blocks(0))


@pytest.mark.parametrize("seed", range(12))
def test_of_a_write_on_a_damaged_block_a_crash_leaves_all_of_that_or_nothing(seed: int) -> None:
    _, node = pair_of_nodes()
    node.random.seed(seed)
    before, node.damaged = list(node.sectors), {0: "bit_rot"}
    part = call(act.StoreMirrored(1, *place_sectors(1, 2)), 1, 2)
    whole = call(act.StoreMirrored(2, *place_sectors(0, 3)), 0, 1, 2)
    node.disk = [attrs.evolve(part, slow=True)]
    node.crash()
    assert node.sectors == before, "it would have been refused"
    node.disk = [whole]
    node.crash()
    assert (node.sectors[:2] == [7, 7]) is (0 not in node.damaged)
    assert node.sectors[:2] in ([7, 7], before[:2])


def test_a_node_may_stop_for_a_block_that_it_has_just_repaired_only_while_another_one_counts() -> None:
    pair, node = pair_of_nodes()
    assert node.state is not None
    asked = pair.clients.ask_for(node, OperationKind.READ, 0)
    pair.feed(node, asked)
    (flight,) = node.state.flights
    mended = flight.but(mended=attrs.evolve(flight.mended, here=place_blocks(0)))
    fetch = act.FetchRead(flight.fetch, asked.ticket, asked.operation, 1)
    node.damaged = {0: "bit_rot"}
    for phase, excused in ((Phase.MIRRORING, {"store-failed"}), (Phase.ALONE, set[str]())):
        node.excused.clear()
        node.state = attrs.evolve(node.state, phase=phase, flights=(mended,))
        assert meet_damage(pair, node, UnderWay(fetch, 1, slow=False, tracked=False)) is not None
        assert node.excused == excused


def test_of_a_compare_and_write_on_several_sectors_the_first_that_differs_is_told() -> None:
    world = CoreWorld(1)
    world.heal()
    pair = world.pair
    node = next(each for each in pair.nodes.values() if each.state and each.state.phase is Phase.MIRRORING)
    asked = pair.clients.ask_of(node, OperationKind.COMPARE_AND_WRITE, 3, 4)
    pair.clients.expected[asked.ticket] = {3: 0, 4: 0, 5: 99, 6: 99}
    before, held = pair.clients.done, list(node.sectors)
    world.feed(node, asked)
    world.go_on_until(lambda: not pair.clients.asked, 10.0, "it is not answered")
    assert pair.clients.done == before + 1
    assert node.sectors == held
    outcomes = [each.outcome for each in pair.clients.history.operations() if each.ticket == asked.ticket]
    assert outcomes.count(Outcome.MISCOMPARE) == 1


def test_an_operation_that_is_refused_has_written_nothing_anywhere() -> None:
    pair, node = pair_of_nodes()
    asked = pair.clients.ask_of(node, OperationKind.WRITE, 3, 4)
    pair.clients.answered(node, act.Answer(asked.ticket, Outcome.MEDIUM_ERROR))
    for sector in range(3, 7):
        with pytest.raises(AssertionError, match="was found, although it was not to be written"):
            pair.clients.history.check(sector, asked.ticket)


@pytest.mark.parametrize(
    "trial",
    [
        blocks_decay_while_a_copy_returns,
        parts_of_what_both_copies_lost_are_written,
        the_only_member_crashes_behind_what_it_refused,
    ],
)
def test_what_disks_refuse_is_nowhere_taken_for_executed(trial: Trial) -> None:
    situations: set[str] = set()
    acted = 0
    for seed in range(20):
        world = CoreWorld(seed, ())
        acted += trial(world)
        world.heal()
        situations |= world.pair.coverage.situations
    assert acted > 5
    refused = {"the primary refuses a write", "the only member refuses a write"}
    assert {*refused, "a resync begins anew, in another session"} & situations
    assert situations <= CORE_SITUATIONS
