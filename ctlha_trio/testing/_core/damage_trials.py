"""Trials of disks that lose blocks: what one copy has whole is not lost, whenever the other one lost it."""

from typing import Final

import attrs

from ctlha_trio.pair import OperationKind, Phase, actions as act, events as ev
from ctlha_trio.testing._core.atlas import block_may_decay
from ctlha_trio.testing._core.faults import FAULTS
from ctlha_trio.testing._core.node import NODES, SimulatedNode
from ctlha_trio.testing._core.trial_parts import SERVE_S, is_in, keep_down, must_serve, one_serves_alone
from ctlha_trio.testing._core.trouble import CALM, NodePace, Pace
from ctlha_trio.testing._core.volume import BLOCKS, SECTORS, VOLUME_BYTES, blocks_of
from ctlha_trio.testing._core.world import CoreWorld

DECAYS_MAX: Final = 120
STEPS_BETWEEN: Final = 6
"""At the most: a repair takes as many."""
DECAYING_BLOCKS: Final = 3
"""So few that repairs meet."""
RETRIES_S: Final = 300.0
"""Simulated: twenty times the mean of the timer, whose rate knows no deadline."""
CUT_CHANCE: Final = 0.1
"""While a node reads what the other one lacks: that the connection is cut."""
MOMENTS: Final = 300
DECAY_CHANCE: Final = 0.1
"""At each of these moments: that a block decays of which the other copy is whole."""
FOLLOWS_CHANCE: Final = 0.3
"""That the other copy loses a block, too, for which a write waits that is on one disk alone."""
REFUSES_CHANCE: Final = 0.5
"""While copies come to differ for good: that the arbiter takes no change."""
LATENT_CHANCE: Final = 0.3
"""Of a block of the source: it has decayed before the other node leaves."""
_ASKED: Final = (OperationKind.READ, OperationKind.READ, OperationKind.WRITE)
_ASKING: Final = NodePace(link=250.0, disk=250.0, clients=500.0, kinds=(*[OperationKind.WRITE] * 4, OperationKind.READ))
_STALLED: Final = 1e-3
"""Of a disk: nothing ends there before anything else has happened."""
_LINKS: Final = (25.0, 250.0)
"""Of the target: slow, so that much of what was pushed is on its way when a write is refused."""


def blocks_decay_while_others_are_repaired(world: CoreWorld) -> bool:
    """Blocks decay on either disk, one copy being whole, while clients and a comparison meet them: none is lost.

    The comparison reads several blocks and the clients one: repairs overlap, and what one has made whole another still
    waits for.
    """
    world.heal()
    world.go_at(Pace(nodes=dict.fromkeys(NODES, attrs.evolve(_ASKING, kinds=_ASKED)), relief=0.0))
    decays = 0
    for _ in range(world.random.randint(1, DECAYS_MAX)):
        node, block = _go_on(world)
        if block_may_decay(world.pair, node, block):
            decays += _decay(world, node, block)
        _have_compared(world, node)
    _end(world)
    return decays > 0


def a_sector_cannot_be_read_for_a_while(world: CoreWorld) -> bool:
    """The only member cannot read what is to be copied, and then can again: that is copied, though nobody writes it."""
    away, member = one_serves_alone(world)
    pair = world.pair
    lost = world.random.sample(range(BLOCKS), world.random.randint(1, BLOCKS))
    pair.note(member.name, f"blocks {', '.join(map(str, sorted(lost)))} cannot be read")
    member.damaged.update(dict.fromkeys(lost, "bit_rot"))
    away.kept_down = False
    world.go_at(CALM)
    world.go_on_until(
        lambda: _waits_to_retry(member) or is_in(member, Phase.MIRRORING), SERVE_S, f"{away.name} is not filled"
    )
    acted = _waits_to_retry(member)
    pair.note(member.name, "all blocks can be read again")
    member.damaged.clear()
    world.go_on_until(
        lambda: is_in(member, Phase.MIRRORING), RETRIES_S, f"I12: what {member.name} can read again is not copied"
    )
    return acted


def _waits_to_retry(node: SimulatedNode) -> bool:
    """Whether there is nothing left to copy but what could not be read."""
    resync = node.state.resync if node.state is not None else None
    return resync is not None and resync.retry_set


def parts_of_what_both_copies_lost_are_written(world: CoreWorld) -> bool:
    """While a write waits that one disk alone has executed, the other copy loses the block as well.

    The connection is cut at times before that is found out. What is on one disk alone is marked, and the two are not
    paired again before it is undone, whether the arbiter takes a change then or not.
    """
    world.heal()
    pair = world.pair
    pair.arbiter.refuses = world.random.random() < REFUSES_CHANCE
    world.go_at(Pace(nodes=dict.fromkeys(NODES, _ASKING), relief=0.0))
    lost = 0
    for _ in range(MOMENTS):
        world.step()
        node, block = world.random.choice(list(pair.nodes.values())), world.random.randrange(DECAYING_BLOCKS)
        half_done = _half_done(node)
        if half_done and world.random.random() < FOLLOWS_CHANCE:
            for each in pair.nodes.values():
                lost += sum(_decay(world, each, block) for block in sorted(half_done - each.damaged.keys()))
        elif any(isinstance(each.call, act.PushRange) for each in node.disk) and world.random.random() < CUT_CHANCE:
            FAULTS["cut"].do(pair)
        elif world.random.random() < DECAY_CHANCE and block_may_decay(pair, node, block):
            _decay(world, node, block)
    pair.arbiter.refuses = False
    _end(world)
    return lost > 0


def blocks_decay_while_a_copy_returns(world: CoreWorld) -> bool:
    """Of the target always, of the source before: what clients write to parts of them is refused, and begun anew."""
    world.heal()
    pair = world.pair
    target, source = world.random.sample(list(pair.nodes.values()), 2)
    for block in range(BLOCKS):
        if world.random.random() < LATENT_CHANCE and block_may_decay(pair, source, block):
            _decay(world, source, block)
    keep_down(world, target)
    must_serve(world, source, f"I12: {source.name} is a member and has the arbiter, but does not serve")
    target.kept_down = False
    returning = NodePace(link=world.random.choice(_LINKS), disk=250.0)
    world.go_at(Pace(nodes={source.name: _ASKING, target.name: returning}, relief=0.0))
    decays = 0
    for _ in range(world.random.randint(1, DECAYS_MAX)):
        _, block = _go_on(world)
        if is_in(target, Phase.RESYNCING) and block_may_decay(pair, target, block):
            decays += _decay(world, target, block)
    _end(world)
    return decays > 0


def the_only_member_crashes_behind_what_it_refused(world: CoreWorld) -> bool:
    """Its target has executed that, and remembers only what came later: what the member has marked must be durable."""
    away, member = _fills_and_admits_not(world)
    pair = world.pair
    _refuse_a_part(world, member)
    world.go_on_until(lambda: _looks_again(member), SERVE_S, f"{member.name} does not refuse a part of a block")
    assert member.state is not None
    behind = member.state.next_sequence
    pair.feed(member, pair.clients.ask_of(member, OperationKind.WRITE, 0, 1))
    world.go_at(Pace(nodes={member.name: NodePace(disk=_STALLED)}, relief=0.0))
    world.go_on_until(lambda: _remembers_only(away, behind), SERVE_S, f"{away.name} is sent nothing more")
    pair.take_down(member, "crashes")
    pair.note(member.name, "all blocks can be read again")
    member.damaged.clear()
    _end(world)
    return True


def what_the_only_member_refused_is_copied_again(world: CoreWorld) -> bool:
    """Its target has executed that, and has had the rest for long: it is no member before it has the member's block."""
    _, member = _fills_and_admits_not(world)
    pair = world.pair
    _refuse_a_part(world, member)
    world.go_on_until(lambda: not pair.clients.asked, SERVE_S, f"I12: {member.name} does not refuse a part of a block")
    pair.note(member.name, "all blocks can be read again")
    member.damaged.clear()
    pair.feed(member, ev.AdmissionHeld(held=False))
    world.go_on_until(lambda: is_in(member, Phase.MIRRORING), SERVE_S, f"{member.name} admits nobody")
    return True


def _fills_and_admits_not(world: CoreWorld) -> tuple[SimulatedNode, SimulatedNode]:
    """The node that returns and has all that the only member has, and that one, which does not trust the link yet."""
    away, member = one_serves_alone(world)
    world.pair.feed(member, ev.AdmissionHeld(held=True))
    away.kept_down = False
    world.go_at(CALM)
    world.go_on_until(lambda: _has_copied(member), SERVE_S, f"{away.name} is not filled")
    return away, member


def _refuse_a_part(world: CoreWorld, member: SimulatedNode) -> None:
    """It loses a block, and a client writes a part of that."""
    pair = world.pair
    pair.note(member.name, f"block {BLOCKS - 1} cannot be read, and is in the activity log no more")
    member.damaged[BLOCKS - 1] = "bit_rot"
    member.written.discard(BLOCKS - 1)
    pair.feed(member, pair.clients.ask_of(member, OperationKind.WRITE, SECTORS - 1, 1))


def _has_copied(node: SimulatedNode) -> bool:
    """Whether its target has all, nothing is under way, and what is written goes to both."""
    state = node.state
    resync = state.resync if state is not None and not state.flights else None
    return resync is not None and resync.cursor == VOLUME_BYTES


def _looks_again(node: SimulatedNode) -> bool:
    resync = node.state.resync if node.state is not None else None
    return resync is not None and resync.cursor < VOLUME_BYTES


def _remembers_only(node: SimulatedNode, sequence: int) -> bool:
    """Whether a target has taken writes, and need remember none before this one."""
    unsettled = node.state.unsettled if node.state is not None else ()
    return bool(unsettled) and unsettled[0].sequence >= sequence


def _go_on(world: CoreWorld) -> tuple[SimulatedNode, int]:
    """For a moment. Some node, and one of the blocks that decay."""
    for _ in range(world.random.randint(1, STEPS_BETWEEN)):
        world.step()
    return world.random.choice(list(world.pair.nodes.values())), world.random.randrange(DECAYING_BLOCKS)


def _decay(world: CoreWorld, node: SimulatedNode, block: int) -> bool:
    world.pair.note(node.name, f"block {block} decays")
    node.damaged[block] = "bit_rot"
    return True


def _have_compared(world: CoreWorld, node: SimulatedNode) -> None:
    if is_in(node, Phase.MIRRORING) and "verification" not in node.requests:
        world.request(node, ev.VerifyAsked())


def _half_done(node: SimulatedNode) -> set[int]:
    """Damaged blocks for which writes wait that one disk alone has executed."""
    flights = node.state.flights if node.state is not None else ()
    hurt = (run for flight in flights if flight.tried for run in (flight.hurt.here, flight.hurt.there) if run)
    return {block for run in hurt for block in blocks_of(*run)}


def _end(world: CoreWorld) -> None:
    world.go_at(Pace(nodes=dict.fromkeys(NODES, NodePace()), relief=0.0))
    world.go_on_until(lambda: not world.pair.clients.asked, SERVE_S, "I12: what met a damaged block does not end")
