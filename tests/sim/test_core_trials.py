"""Trials of the simulated pair: each acts, the core passes, and the transitions that they are for are reached."""

import pytest

from ctlha_trio.pair import PROPOSED_MAX, OperationKind, Phase, _repair as repair, events as ev
from ctlha_trio.pair._operation import REPAIRS
from ctlha_trio.pair._range import Range
from ctlha_trio.pair._step import Step
from ctlha_trio.testing._core.claim_trials import a_claim_that_was_won_is_not_forgotten
from ctlha_trio.testing._core.damage_trials import (
    _fills_and_admits_not,
    a_sector_cannot_be_read_for_a_while,
    blocks_decay_while_others_are_repaired,
)
from ctlha_trio.testing._core.faults import _write
from ctlha_trio.testing._core.force_trials import (
    a_forced_swap_may_come_late,
    an_abandoned_node_finds_out,
    another_line_passes,
)
from ctlha_trio.testing._core.hang_trials import both_disks_hang_and_answer, the_disk_of_the_only_member_hangs
from ctlha_trio.testing._core.restore_trials import (
    a_node_remembers_what_it_has_read,
    a_returning_node_is_told,
    an_abandoned_node_remembers_the_later_line,
)
from ctlha_trio.testing._core.trial_parts import SERVE_S, Trial, must_serve
from ctlha_trio.testing._core.trials import (
    _is_admitting,
    _is_member,
    _let_return,
    another_hand_moves_the_record,
    pair_serves_without_arbiter,
)
from ctlha_trio.testing._core.trouble import Pace
from ctlha_trio.testing._core.world import CoreWorld

SEEDS = 16


def test_a_record_that_another_hand_moved_is_followed_from_every_phase() -> None:
    moves: set[tuple[str, str]] = set()
    acted = 0
    for seed in range(SEEDS):
        world = CoreWorld(seed, ())
        for _ in range(3):
            acted += another_hand_moves_the_record(world)
            world.heal()
        moves |= world.pair.coverage.moves
    left = {Phase.MIRRORING, Phase.FOLLOWING, Phase.HANDING_OVER, Phase.SUSPENDED, Phase.WAITING}
    assert acted > SEEDS
    assert {(phase.name, Phase.WAITING.name) for phase in left} <= moves
    assert (Phase.HANDING_OVER.name, Phase.CLAIMING.name) in moves


@pytest.mark.parametrize("seed", range(8))
def test_a_flap_while_the_arbiter_is_silent_is_got_over(seed: int) -> None:
    world = CoreWorld(seed, ())
    assert pair_serves_without_arbiter(world)
    moves = world.pair.coverage.moves
    assert {("SUSPENDED", "MIRRORING"), ("SUSPENDED", "FOLLOWING")} <= moves
    assert world.pair.totals.failovers == 0
    world.heal()


@pytest.mark.parametrize("seed", range(8))
def test_the_only_member_serves_on_beside_a_copy_that_is_ready_while_the_arbiter_is_silent(seed: int) -> None:
    world = CoreWorld(seed, ())
    _, member = _fills_and_admits_not(world)
    world.pair.arbiter.up = False
    world.go_at(Pace(relief=0.0))
    world.go_on_until(lambda: not (member.state and member.state.arbiter_answers), SERVE_S, "nobody asks the arbiter")
    world.feed(member, ev.AdmissionHeld(held=False))
    must_serve(world, member, "I12: the only member holds its clients for an arbiter that is silent")
    world.heal()


def test_another_line_that_was_shown_for_a_while_is_followed_by_nobody() -> None:
    acted, ends = 0, set()
    for seed in range(SEEDS):
        world = CoreWorld(seed, ())
        acted += another_line_passes(world)
        ends |= {node.state.why for node in world.pair.nodes.values() if node.state is not None and node.ended}
        world.heal()
    assert acted > SEEDS // 2
    assert ends == {"arbiter-went-back"}


def test_a_node_that_was_abandoned_while_it_serves_finds_out_by_itself() -> None:
    """Until then it answers its clients, by its own copy."""
    acted = 0
    for seed in range(SEEDS):
        world = CoreWorld(seed, ())
        acted += an_abandoned_node_finds_out(world)
        world.heal()
    assert acted > SEEDS // 2


@pytest.mark.parametrize("trial", [both_disks_hang_and_answer, the_disk_of_the_only_member_hangs])
def test_disks_that_hang_cost_nobody_a_copy(trial: Trial) -> None:
    for seed in range(SEEDS // 2):
        world = CoreWorld(seed, ())
        assert trial(world)
        assert not any(node.ended for node in world.pair.nodes.values())
        world.heal()
        assert world.pair.totals.disk_failures == 0


@pytest.mark.parametrize(
    "trial",
    [a_returning_node_is_told, a_node_remembers_what_it_has_read, an_abandoned_node_remembers_the_later_line],
)
def test_a_node_that_knows_of_a_later_record_than_the_arbiter_shows_halts_and_heals_with_it(trial: Trial) -> None:
    acted, ends = 0, set()
    for seed in range(SEEDS):
        world = CoreWorld(seed, ())
        acted += trial(world)
        ends |= {node.state.why for node in world.pair.nodes.values() if node.state is not None and node.ended}
        world.heal()
    assert acted == SEEDS
    assert ends == {"arbiter-went-back"}


def test_a_source_that_cannot_move_the_record_for_a_target_that_was_forced_serves_on() -> None:
    acted = 0
    for seed in range(SEEDS):
        world = CoreWorld(seed, ())
        acted += a_forced_swap_may_come_late(world)
        lineage = world.pair.arbiter.truth.lineage
        world.heal()
        assert world.pair.arbiter.truth.lineage == lineage, "what was forced has not come about"
    assert acted > SEEDS // 2


def test_the_only_member_serves_although_it_crashed_behind_more_claims_than_its_disk_remembers() -> None:
    for seed in range(SEEDS):
        world = CoreWorld(seed, ())
        assert a_claim_that_was_won_is_not_forgotten(world)
        assert world.pair.incarnations > PROPOSED_MAX
        world.heal()


def is_forestalled(world: CoreWorld) -> bool:
    """Another hand names the target primary beside its source, just before that one makes it a member."""
    source, target = _let_return(world)
    world.go_on_until(
        lambda: _is_admitting(source, target) or _is_member(world, target), SERVE_S, f"{target.name} does not return"
    )
    if not _is_admitting(source, target):
        return False
    _write(world.pair, target.name, (source.name,))
    return True


def test_a_source_whose_admission_another_hand_forestalls_claims_and_the_pair_heals() -> None:
    acted, moves = 0, set[tuple[str, str]]()
    for seed in range(SEEDS):
        world = CoreWorld(seed, ())
        acted += is_forestalled(world)
        world.heal()
        moves |= world.pair.coverage.moves
    assert acted > SEEDS // 4
    assert (Phase.ADMITTING.name, Phase.CLAIMING.name) in moves


def test_repairs_whose_source_is_damaged_take_place_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    ways: set[OperationKind] = set()
    plain = repair._have_source_repaired

    def have_source_repaired(step: Step, kind: OperationKind, run: Range) -> None:
        ways.add(kind)
        plain(step, kind, run)

    monkeypatch.setattr(repair, "_have_source_repaired", have_source_repaired)
    for seed in range(8 * SEEDS):
        world = CoreWorld(seed, ())
        assert blocks_decay_while_others_are_repaired(world)
        world.heal()
        if ways == REPAIRS:
            return
    pytest.fail(f"of a repair whose source is damaged there were but these: {ways}")


def test_what_the_source_could_not_read_is_tried_again() -> None:
    acted = 0
    for seed in range(SEEDS):
        world = CoreWorld(seed, ())
        acted += a_sector_cannot_be_read_for_a_while(world)
        world.heal()
    assert acted > SEEDS // 2
