"""The liveness phase: a part of the pair is made healthy, the rest is not, and that part must serve or must halt.

``I12``: a member with the arbiter, or both nodes without it, serve within ``SERVE_S``. ``I4``: a node that is no member
serves nothing, whatever it is left alone with. ``I15``: where both copies are bad, nobody serves and both say why.
"""

from functools import partial
from typing import Final

import attrs

from ctlha_trio.ha import judge
from ctlha_trio.pair import Copy, OperationKind, Phase, actions as act, events as ev
from ctlha_trio.testing._core.apart_trials import a_copy_that_counted_alone_is_not_made_anew
from ctlha_trio.testing._core.atlas import may_be_made_the_only_one, may_be_named_too
from ctlha_trio.testing._core.claim_trials import a_claim_that_was_won_is_not_forgotten
from ctlha_trio.testing._core.damage_trials import (
    a_sector_cannot_be_read_for_a_while,
    blocks_decay_while_a_copy_returns,
    blocks_decay_while_others_are_repaired,
    parts_of_what_both_copies_lost_are_written,
    the_only_member_crashes_behind_what_it_refused,
    what_the_only_member_refused_is_copied_again,
)
from ctlha_trio.testing._core.false_record import FALSIFIED
from ctlha_trio.testing._core.faults import FAULTS
from ctlha_trio.testing._core.flap_trials import flaps_lose_no_proposal
from ctlha_trio.testing._core.force_trials import (
    a_forced_swap_may_come_late,
    an_abandoned_node_finds_out,
    another_line_passes,
)
from ctlha_trio.testing._core.hang_trials import both_disks_hang_and_answer, the_disk_of_the_only_member_hangs
from ctlha_trio.testing._core.node import NODES, SimulatedNode
from ctlha_trio.testing._core.restore_trials import (
    a_node_remembers_what_it_has_read,
    a_returning_node_is_told,
    an_abandoned_node_remembers_the_later_line,
)
from ctlha_trio.testing._core.trial_parts import (
    SERVE_S,
    STANDING_CLOCK,
    WRITES,
    Trial,
    is_in,
    keep_down,
    must_not_serve,
    must_serve,
)
from ctlha_trio.testing._core.trouble import NodePace, Pace
from ctlha_trio.testing._core.volume import BLOCKS
from ctlha_trio.testing._core.world import CoreWorld

READS: Final = 3
FROZEN_CHANCE: Final = 0.5
"""That a node that is left out stands still as it is, where it could as well be down."""
_QUICK_CLOCK: Final = NodePace(link=250.0, disk=100.0, arbiter=50.0, clock=50.0)
"""Polls of the record overtake what the link brings, and a return takes its time."""
_APART: Final = Pace(nodes=dict.fromkeys(NODES, NodePace(arbiter=1e-3, clock=STANDING_CLOCK)), connect=1e-3)
"""The nodes do not find each other, and the arbiter does not answer, before something else has happened."""


def survivor_serves(world: CoreWorld) -> bool:
    """One member and the arbiter are all that is left: the other node is down, or frozen as it is."""
    pair = world.pair
    whole = [node for node in pair.invariants.living_members() if not node.stale]
    if not whole:
        return False
    survivor = world.random.choice(whole)
    other = pair.nodes[survivor.peer]
    world.relieve()
    if other.state is None or _swaps(other) or world.random.random() >= FROZEN_CHANCE:
        keep_down(world, other)
    else:
        pair.pause(other)
    pair.arbiter.late.clear()
    pair.partition()
    must_serve(world, survivor, f"I12: {survivor.name} is a member and has the arbiter, but does not serve")
    return True


def pair_serves_without_arbiter(world: CoreWorld) -> bool:
    """Both nodes mirror, the arbiter is gone: they go on, also after a flap, and do not call that protected."""
    world.heal()
    pair = world.pair
    pair.arbiter.up = False
    primary = next(node for node in pair.nodes.values() if node.state and node.state.phase is Phase.MIRRORING)
    must_serve(world, primary, "I12: both nodes are connected, but do not serve without the arbiter")
    world.go_on_until(
        lambda: all(node.state and judge(node.state)[0] == "degraded" for node in pair.nodes.values()),
        SERVE_S,
        "I10: a node does not say that the arbiter is silent",
    )
    pair.note("-", "the connection is cut, and comes back before anybody claims")
    pair.link.close()
    enough = pair.clients.acknowledged + WRITES
    world.go_at(Pace(nodes={name: NodePace(clock=STANDING_CLOCK, clients=100.0) for name in NODES}, relief=0.0))
    world.go_on_until(
        lambda: pair.clients.acknowledged >= enough,
        SERVE_S,
        "I12: both nodes are connected again, but do not serve without the arbiter",
    )
    return True


def outsider_does_not_serve(world: CoreWorld) -> bool:
    """The only member is down, and a node that is none has the arbiter for itself."""
    pair = world.pair
    members = pair.arbiter.truth.members
    if len(members) > 1:
        return False
    member = pair.nodes[members[0]]
    outsider = pair.nodes[member.peer].state
    if pair.clients.abandoned or (outsider is not None and outsider.forcing):
        return False
    world.relieve()
    keep_down(world, member)
    pair.arbiter.late.clear()
    must_not_serve(world, f"I4: {member.peer} serves, but is no member")
    return True


def false_record_meets_a_return(world: CoreWorld) -> bool:
    """Somebody falsifies the record just when a copy is being made whole, or is sealed; then the pair heals."""
    source, target = _let_return(world)
    pair = world.pair
    is_sealed, is_admitting = partial(may_be_made_the_only_one, pair, target), partial(_is_admitting, source, target)
    moment = world.random.choice((is_sealed, is_admitting))
    world.go_on_until(lambda: moment() or _is_member(world, target), SERVE_S, f"{target.name} does not return")
    acted = not _is_member(world, target) and FAULTS["falsify"].do(pair)
    pair.faults_done["falsify"] += acted
    return acted


def source_ends_in_an_admission(world: CoreWorld) -> bool:
    """The source crashes, leaves, is cut off or claimed for while the target becomes a member, or has just heard it."""
    source, target = _let_return(world)
    pair, is_told = world.pair, world.random.choice((True, False))

    def is_being_admitted() -> bool:
        return is_in(source, Phase.ADMITTING) and (_knows_that_it_counts(target) or not is_told)

    def has_passed() -> bool:
        return is_in(source, Phase.MIRRORING) or is_in(target, Phase.FOLLOWING)

    world.go_on_until(lambda: is_being_admitted() or has_passed(), SERVE_S, f"{target.name} does not return")
    if has_passed():
        return False
    match world.random.choice(("crash", "leave", "cut", "impersonate")):
        case "crash":
            pair.take_down(source, "crashes")
            return True
        case "cut":
            return FAULTS["cut"].do(pair)
        case "leave":
            source.excused.add("asked")
            world.feed(source, ev.StopAsked("asked"))
            return True
        case fault if not FAULTS[fault].do(pair):
            return False
    pair.fire_timer(source, ev.Timer.RECORD_POLL)
    world.go_on_until(lambda: not is_in(source, Phase.ADMITTING), SERVE_S, f"{source.name} reads no record")
    return True


def _let_return(world: CoreWorld) -> tuple[SimulatedNode, SimulatedNode]:
    """The source and the target of a return that begins."""
    world.heal()
    target, source = world.random.sample(list(world.pair.nodes.values()), 2)
    keep_down(world, target)
    must_serve(world, source, f"I12: {source.name} is a member and has the arbiter, but does not serve")
    target.kept_down = False
    world.go_at(Pace(nodes={target.name: _QUICK_CLOCK, source.name: attrs.evolve(_QUICK_CLOCK, clients=50.0)}))
    return source, target


def _knows_that_it_counts(node: SimulatedNode) -> bool:
    return node.state is not None and node.state.record is not None and node.name in node.state.record.members


def older_copy_does_not_serve(world: CoreWorld) -> bool:
    """The disk of one of two members was put back from an older copy, and that node has the arbiter for itself."""
    pair = world.pair
    stale = [node for node in pair.nodes.values() if node.stale and node.newest is None]
    if len(stale) != 1 or pair.clients.abandoned:
        return False
    (node,) = stale
    if node.state is not None and node.state.forcing:
        return False
    world.relieve()
    keep_down(world, pair.nodes[node.peer])
    pair.arbiter.late.clear()
    must_not_serve(world, f"I4: {node.name} serves from an older copy")
    return True


def another_hand_moves_the_record(world: CoreWorld) -> bool:
    """Somebody writes a new epoch of the same members, or of the primary alone, and both disks know: nobody halts."""
    world.heal()
    pair = world.pair
    primary = pair.nodes[pair.arbiter.truth.primary]
    moment = world.random.choice((Phase.MIRRORING, Phase.SUSPENDED, Phase.WAITING, Phase.HANDING_OVER))
    match moment:
        case Phase.SUSPENDED:
            # Its question is answered while it waits for the other node.
            pair.fire_timer(primary, ev.Timer.RECORD_POLL)
            world.go_at(_APART)
            pair.link.close()
        case Phase.WAITING:
            world.go_at(Pace(connect=1e-3))
            for node in pair.nodes.values():
                pair.take_down(node, "loses its power")
        case Phase.HANDING_OVER:
            world.request(primary, ev.HandoverAsked())
        case _:
            pass
    world.go_on_until(
        lambda: _is_quiet_as(primary, moment) or _has_passed(world, primary, moment),
        SERVE_S,
        f"{primary.name} is not {moment.name}",
    )
    if not _is_quiet_as(primary, moment) or not all(_is_quiet(node) for node in pair.nodes.values()):
        return False
    members = world.random.choice((NODES, (primary.name,)))
    pair.note("-", f"somebody writes that {primary.name} is primary of {'+'.join(members)}, and tells both disks")
    for node in pair.nodes.values():
        node.tell_of(FALSIFIED)
    pair.arbiter.impose(pair.arbiter.record.succeed(primary=primary.name, members=members, proposal=FALSIFIED))
    if moment is Phase.SUSPENDED:
        world.go_at(attrs.evolve(_APART, nodes=dict.fromkeys(NODES, NodePace(clock=STANDING_CLOCK))))
        world.go_on_until(lambda: not _is_quiet_as(primary, moment), SERVE_S, f"{primary.name} reads no record")
    elif moment is Phase.WAITING:
        # Told while it waits, unless its patience ends before.
        pair.fire_timer(primary, ev.Timer.RECORD_POLL)
    return True


def _is_quiet_as(node: SimulatedNode, phase: Phase) -> bool:
    """Whether it is in that phase, with nothing under way that would make its disk forget what it is told."""
    if node.state is None or node.state.phase is not phase:
        return False
    asks = bool(node.calls) and isinstance(node.calls[-1].call, act.Swap) and node.calls[-1].answer is None
    return _is_quiet(node) and asks is (phase is Phase.HANDING_OVER)


def _is_quiet(node: SimulatedNode) -> bool:
    persists = any(isinstance(each.call, act.Persist) for each in node.disk)
    return node.state is not None and node.state.persisting is None and not persists


def _has_passed(world: CoreWorld, primary: SimulatedNode, moment: Phase) -> bool:
    """Whether it comes no more: the record has moved, or a handover was too slow and given up."""
    truth = world.pair.arbiter.truth
    given_up = moment is Phase.HANDING_OVER and "handover" not in primary.requests
    return given_up or truth.members != NODES or truth.primary != primary.name


TRIALS: Final[tuple[Trial, ...]] = (
    survivor_serves,
    pair_serves_without_arbiter,
    outsider_does_not_serve,
    false_record_meets_a_return,
    source_ends_in_an_admission,
    older_copy_does_not_serve,
    both_disks_hang_and_answer,
    the_disk_of_the_only_member_hangs,
    another_hand_moves_the_record,
    another_line_passes,
    an_abandoned_node_finds_out,
    flaps_lose_no_proposal,
    a_returning_node_is_told,
    a_node_remembers_what_it_has_read,
    an_abandoned_node_remembers_the_later_line,
    a_copy_that_counted_alone_is_not_made_anew,
    a_forced_swap_may_come_late,
    a_claim_that_was_won_is_not_forgotten,
    blocks_decay_while_others_are_repaired,
    a_sector_cannot_be_read_for_a_while,
    blocks_decay_while_a_copy_returns,
    the_only_member_crashes_behind_what_it_refused,
    what_the_only_member_refused_is_copied_again,
    parts_of_what_both_copies_lost_are_written,
)


def dead_copies_halt(world: CoreWorld) -> None:
    """The disk of the only member fails, while the other node is down and misses writes. Nothing heals that."""
    world.heal()
    pair = world.pair
    pair.note("-", "trial: the only whole copy dies")
    outsider, member = world.random.sample(list(pair.nodes.values()), 2)
    keep_down(world, outsider)
    must_serve(world, member, f"I12: {member.name} is a member and has the arbiter, but does not serve")
    assert member.state is not None
    failed = attrs.evolve(member.metadata, copy=Copy.FAILED)
    if world.random.getrandbits(1):
        _let_rot(world, member)
    pair.fail_disk(member, "the disk fails")
    member.condemn(failed)
    pair.excuses = frozenset({"store-failed", "copy-failed"})
    pair.take_down(member, "is switched off")
    outsider.kept_down = False
    must_not_serve(world, "I15: somebody serves, although no copy is whole")
    world.go_on_until(
        lambda: _gives(member, "stopped", "copy-failed") and _gives(outsider, "at-risk", "outdated"),
        SERVE_S,
        "I15: the nodes do not say why they serve nothing",
    )


def _let_rot(world: CoreWorld, node: SimulatedNode) -> None:
    """Every block decays: reads that meet one say so, and the node goes on."""
    pair = world.pair
    node.damaged = dict.fromkeys(range(BLOCKS), "bit_rot")
    pair.note(node.name, "all blocks decay")
    world.go_at(Pace(nodes={node.name: NodePace(clients=100.0, kinds=(OperationKind.READ,))}, relief=0.0))
    enough = pair.clients.medium_errors + READS
    world.go_on_until(
        lambda: pair.clients.medium_errors >= enough, SERVE_S, f"I15: {node.name} does not say that blocks have decayed"
    )


def _gives(node: SimulatedNode, verdict: str, reason: str) -> bool:
    if node.state is None:
        return False
    given, reasons = judge(node.state)
    return given == verdict and reason in {each.value for each in reasons}


def _is_admitting(source: SimulatedNode, target: SimulatedNode) -> bool:
    return source.state is not None and source.state.phase is Phase.ADMITTING and may_be_named_too(target)


def _is_member(world: CoreWorld, node: SimulatedNode) -> bool:
    return node.name in world.pair.arbiter.truth.members


def _swaps(node: SimulatedNode) -> bool:
    return any(isinstance(each.call, act.Swap) for each in node.calls)
