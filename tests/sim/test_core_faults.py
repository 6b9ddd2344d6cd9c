"""Each fault by itself is survived; what the atlas does not let two copies survive ends in a halt that says why."""

from random import Random

import attrs
import pytest

from ctlha_trio.ha import judge
from ctlha_trio.pair import Copy, OperationKind, Phase, actions as act, events as ev
from ctlha_trio.testing._core.atlas import (
    disk_may_fail,
    may_be_forced,
    may_be_forced_blindly,
    may_be_put_back,
    outlived,
)
from ctlha_trio.testing._core.clock import SimulatedClock
from ctlha_trio.testing._core.disk_calls import UnderWay
from ctlha_trio.testing._core.faults import FAULTS
from ctlha_trio.testing._core.node import SimulatedNode
from ctlha_trio.testing._core.restore_trials import an_abandoned_node_remembers_the_later_line
from ctlha_trio.testing._core.trials import (
    dead_copies_halt,
    false_record_meets_a_return,
    outsider_does_not_serve,
    pair_serves_without_arbiter,
    survivor_serves,
)
from ctlha_trio.testing._core.trouble import CALM, NodePace, Pace
from ctlha_trio.testing._core.volume import BLOCKS
from ctlha_trio.testing._core.world import CoreWorld

BUSY = Pace(nodes=dict.fromkeys(("a", "b"), NodePace(clients=100.0)), relief=0.0)


def world_after(*faults: str, seed: int = 1, steps: int = 450) -> CoreWorld:
    world = CoreWorld(seed, faults)
    world.run(steps)
    return world


def a_alone() -> tuple[CoreWorld, SimulatedNode, SimulatedNode]:
    """``a`` serves alone, ``b`` is down."""
    world = CoreWorld(1)
    world.heal()
    a, b = world.pair.nodes.values()
    b.kept_down = True
    world.pair.take_down(b, "is switched off")
    world.go_on_until(lambda: a.state is not None and a.state.phase is Phase.ALONE, 60.0, "not alone")
    return world, a, b


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_by_itself_is_survived(fault: str) -> None:
    served = 0
    for seed in range(4):
        world = world_after(fault, seed=seed)
        world.heal()
        served += world.pair.clients.done
        assert world.pair.coverage.faults <= {fault}
    assert served


@pytest.mark.parametrize(
    ("fault", "reasons"),
    [("restore_arbiter", {"arbiter-went-back"}), ("change_arbiter", {"foreign-record", "foreign-lineage"})],
)
def test_a_wrong_record_halts_both_and_the_right_one_heals_them(fault: str, reasons: set[str]) -> None:
    world = world_after("crash")
    world.heal()
    pair = world.pair
    FAULTS[fault].do(pair)
    assert pair.arbiter.newest is not None
    for node in pair.nodes.values():
        node.kept_down = False
    world.go_at(BUSY)
    world.go_on_until(lambda: all(node.ended for node in pair.nodes.values()), 60.0, "a node goes on")
    for node in pair.nodes.values():
        assert node.state is not None
        verdict, given = judge(node.state)
        assert verdict == "stopped"
        assert {reason.value for reason in given} <= reasons
    served = pair.clients.done
    world.go_on_until(lambda: pair.clients.tickets > 1000, 600.0, "no client asks")
    assert pair.clients.done == served
    world.heal()


def test_the_atlas_spares_the_last_whole_copy() -> None:
    world = CoreWorld(1)
    world.heal()
    pair = world.pair
    a, b = pair.nodes.values()
    assert disk_may_fail(pair, a)
    assert disk_may_fail(pair, b)
    world, a, b = a_alone()
    pair = world.pair
    assert pair.arbiter.truth.members == ("a",)
    assert not disk_may_fail(pair, a)
    assert disk_may_fail(pair, b)


def test_the_atlas_restores_only_what_both_nodes_have_outlived() -> None:
    world, a, b = a_alone()
    pair = world.pair
    known = b.metadata.revision
    assert a.metadata.revision > known
    assert [kept.revision for kept in outlived(pair)] == [
        kept.revision for kept in pair.arbiter.past if kept.revision < known
    ]
    assert known in {kept.revision for kept in pair.arbiter.past}, "this one would make b serve what it has missed"


def test_of_a_line_that_a_force_has_ended_the_atlas_may_restore_every_record() -> None:
    """Also the newest that the disk of the abandoned node has, for that knows of the later line."""
    world = CoreWorld(0, ())
    assert an_abandoned_node_remembers_the_later_line(world)
    pair = world.pair
    (abandoned,) = (node.metadata for node in pair.nodes.values() if node.metadata.later_line)
    ended = [kept for kept in pair.arbiter.past if kept.record.lineage == abandoned.lineage]
    assert abandoned.revision in {kept.revision for kept in ended}
    assert [kept for kept in outlived(pair) if kept.record.lineage == abandoned.lineage] == ended


def test_the_atlas_puts_no_disk_back_from_the_epoch_from_which_the_newest_disk_of_the_other_counts() -> None:
    """Nor while that one is away, and an older one in its place, which counts from another epoch."""
    world, a, b = a_alone()
    pair = world.pair
    b.kept_down = False
    world.go_at(CALM)
    world.go_on_until(lambda: b.metadata.copy is Copy.RESYNCING, 60.0, "b is not overwritten")
    pair.take_down(b, "crashes")
    pair.take_down(a, "crashes")
    pair.arbiter.late.clear()
    old, base_epoch = b.backups[-1], a.metadata.base_epoch
    assert old.metadata.synced_epoch == base_epoch
    assert not may_be_put_back(pair, b, old)
    a.put_back(a.backups[0], missed=True)
    assert base_epoch not in {a.metadata.base_epoch, a.metadata.synced_epoch}
    assert not may_be_put_back(pair, b, old)


def test_who_is_forced_serves_its_own_copy_and_the_other_becomes_that() -> None:
    """The last writes of the one that is lost were never on the one that is forced: they are gone, and nothing else."""
    world, a, b = a_alone()
    pair = world.pair
    old = list(b.sectors)
    world.go_at(BUSY)
    world.go_on_until(
        lambda: all(mine != theirs for mine, theirs in zip(a.sectors, old, strict=True)), 60.0, "no writes"
    )
    a.kept_down, b.kept_down = True, False
    pair.take_down(a, "is switched off")
    world.go_at(CALM)
    world.go_on_until(lambda: b.state is not None and b.state.phase is Phase.OUTDATED, 60.0, "b counts")
    assert may_be_forced(pair, b)
    FAULTS["force_primary"].do(pair)
    world.go_on_until(lambda: b.state is not None and b.state.phase is Phase.ALONE, 60.0, "b does not serve")
    assert (pair.arbiter.record.ancestors, pair.arbiter.record.members) == (("l",), ("b",))
    assert b.sectors == old
    world.come_together()
    assert a.sectors == b.sectors == old


def test_the_atlas_knows_what_is_true_of_a_node_that_a_person_says_is_off() -> None:
    world = CoreWorld(1)
    world.heal()
    pair = world.pair
    a, b = pair.nodes.values()
    assert may_be_forced(pair, a), "they hear each other, and it is refused"
    assert not may_be_forced_blindly(pair, a)
    pair.link.partition()
    world.go_on_until(lambda: a.state is not None and not a.state.session, 60.0, "still connected")
    assert not may_be_forced(pair, a)
    assert may_be_forced_blindly(pair, a)
    pair.take_down(b, "crashes")
    assert may_be_forced(pair, a)
    assert not may_be_forced_blindly(pair, a)


@pytest.mark.parametrize("seed", range(6))
def test_what_is_left_of_a_pair_serves(seed: int) -> None:
    world = world_after("crash", "cut", "part", seed=seed)
    assert survivor_serves(world)
    world.heal()
    assert pair_serves_without_arbiter(world)
    world.heal()


def test_an_outsider_is_left_alone_and_does_not_serve() -> None:
    tried = 0
    for seed in range(6):
        world = world_after("crash", "cut", "part", seed=seed)
        tried += outsider_does_not_serve(world)
        world.heal()
    assert tried


def test_a_false_record_that_meets_a_return_is_survived() -> None:
    moves: set[tuple[str, str]] = set()
    for seed in range(16):
        world = CoreWorld(seed, ())
        false_record_meets_a_return(world)
        world.heal()
        moves |= world.pair.coverage.moves
    assert {("ADMITTING", "WAITING"), ("RESYNCING", "CLAIMING")} <= moves


def test_damaged_blocks_are_read_by_nobody_and_repaired_from_the_other_copy() -> None:
    world = CoreWorld(1)
    world.heal()
    pair = world.pair
    primary = next(node for node in pair.nodes.values() if node.state and node.state.phase is Phase.MIRRORING)
    primary.damaged = dict.fromkeys(range(BLOCKS), "bit_rot")
    world.go_at(Pace(nodes={primary.name: NodePace(clients=100.0, kinds=(OperationKind.READ,))}))
    world.go_on_until(lambda: not primary.damaged, 60.0, "the damage is not repaired")
    assert primary.state is not None
    assert primary.state.phase is Phase.MIRRORING
    assert pair.faults_done["bit_rot"] >= BLOCKS
    assert not pair.clients.medium_errors
    world.heal()


def test_damage_that_is_met_on_the_last_copy_is_named_and_no_end_of_it() -> None:
    world, a, _ = a_alone()
    a.damaged[0] = "bit_rot"
    clients = world.pair.clients
    done = clients.done
    world.go_at(Pace(nodes={"a": NodePace(clients=100.0, kinds=(OperationKind.READ,))}, relief=0.0))
    world.go_on_until(lambda: clients.medium_errors > 1 and clients.done > done, 60.0, "nobody reads the blocks")
    assert not a.ended
    assert a.damaged
    world.heal()


@pytest.mark.parametrize("seed", range(8))
def test_the_last_word_on_a_copy_comes_after_all_that_the_disk_was_asked_before(seed: int) -> None:
    world, a, _ = a_alone()
    world.pair.random.seed(seed)
    a.excused.add("store-failed")
    a.begin_disk_call(act.Persist(a.metadata.intend("a claim")))
    world.pair.feed(a, ev.StoreFailed())
    was_marked = a.metadata.copy is Copy.FAILED
    a.crash()
    assert (a.metadata.copy is Copy.FAILED) is was_marked


@pytest.mark.parametrize("seed", range(4))
def test_records_that_come_again_before_the_first_are_stored_are_the_ones_that_stay(seed: int) -> None:
    world, a, _ = a_alone()
    world.pair.random.seed(seed)
    (place, first), *_ = a.records.items()
    for value in (first + 1, first + 2):
        a.begin_disk_call(act.ReplaceRecords(), {place: value})
    while a.disk:
        a.apply(a.pick_disk_call())
    assert a.records[place] == first + 2


@pytest.mark.parametrize("comes_later", [True, False])
def test_a_record_that_is_put_beside_all_that_come_is_written_twice_at_once(comes_later: bool) -> None:
    _, a, _ = a_alone()
    (place, first), *_ = a.records.items()
    put, replace = act.StoreMirroredRecord(sequence=1), act.ReplaceRecords()
    calls = (replace, put) if comes_later else (put, replace)
    a.begin_disk_call(calls[0], {place: first + 1})
    with pytest.raises(AssertionError, match="writes a block twice at once"):
        a.begin_disk_call(calls[1], {place: first + 2})


def test_a_node_that_was_named_on_an_older_disk_may_refuse_that_on_its_newest_one() -> None:
    world, a, b = a_alone()
    pair = world.pair
    old = attrs.evolve(b.backup(), metadata=attrs.evolve(b.metadata, copy=Copy.RESYNCING))
    b.put_back(old, missed=True)
    assert FAULTS["force_wrong_copy"].do(pair)
    assert pair.arbiter.record.members == ("b",)
    b.give_back()
    a.kept_down, b.kept_down = True, False
    world.go_at(CALM)
    world.go_on_until(lambda: b.ended, 60.0, "b goes on")
    assert b.state is not None
    assert b.state.why == "copy-went-back"


def test_a_write_that_goes_astray_damages_two_blocks_until_they_are_written() -> None:
    node = CoreWorld(1).pair.nodes["a"]
    node.misdirects = 4
    node.apply(UnderWay(act.StoreMirrored(1, 0, 0), 0, slow=False, tracked=False, data={4: 7, 5: 7}))
    assert node.damaged.keys() == {2, 4}
    node.apply(UnderWay(act.StoreMirrored(2, 0, 0), 0, slow=False, tracked=False, data={4: 8, 5: 8}))
    assert node.damaged.keys() == {4}


@pytest.mark.parametrize("seed", range(8))
def test_without_a_whole_copy_both_nodes_halt(seed: int) -> None:
    world = CoreWorld(seed)
    dead_copies_halt(world)
    assert {node.metadata.copy for node in world.pair.nodes.values()} == {Copy.FAILED, Copy.MEMBER}


def test_times_between_happenings_have_the_mean_that_their_rate_says() -> None:
    clock = SimulatedClock(Random(1))
    for _ in range(20_000):
        clock.advance(1000.0)
    assert clock.now_s == pytest.approx(20.0, rel=0.03)
