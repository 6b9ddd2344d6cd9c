"""Trials of disks that lose blocks: what one copy has whole is not lost, whenever the other one lost it."""

from typing import Final

from ctlha_trio.pair import OperationKind, Phase, events as ev
from ctlha_trio.testing._core.atlas import block_may_decay
from ctlha_trio.testing._core.node import BLOCKS, NODES, SimulatedNode
from ctlha_trio.testing._core.trial_parts import SERVE_S, is_in, one_serves_alone
from ctlha_trio.testing._core.trouble import CALM, NodePace, Pace
from ctlha_trio.testing._core.world import CoreWorld

DECAYS_MAX: Final = 120
STEPS_BETWEEN: Final = 6
"""At the most: a repair takes as many."""
DECAYING_BLOCKS: Final = 3
"""So few that repairs meet."""
RETRIES_S: Final = 300.0
"""Simulated: twenty times the mean of the timer, whose rate knows no deadline."""
_ASKED: Final = (OperationKind.READ, OperationKind.READ, OperationKind.WRITE)


def blocks_decay_while_others_are_repaired(world: CoreWorld) -> bool:
    """Blocks decay on either disk, one copy being whole, while clients and a comparison meet them: none is lost.

    The comparison reads several blocks and the clients one: repairs overlap, and what one has made whole another still
    waits for.
    """
    world.heal()
    pair = world.pair
    asking = NodePace(link=250.0, disk=250.0, clients=500.0, kinds=_ASKED)
    world.go_at(Pace(nodes=dict.fromkeys(NODES, asking), relief=0.0))
    decays = 0
    for _ in range(world.random.randint(1, DECAYS_MAX)):
        for _ in range(world.random.randint(1, STEPS_BETWEEN)):
            world.step()
        node, block = world.random.choice(list(pair.nodes.values())), world.random.randrange(DECAYING_BLOCKS)
        if block_may_decay(pair, node, block):
            pair.note(node.name, f"block {block} decays")
            node.damaged[block] = "bit_rot"
            decays += 1
        if is_in(node, Phase.MIRRORING) and "verification" not in node.requests:
            world.request(node, ev.VerifyAsked())
    world.go_at(Pace(nodes=dict.fromkeys(NODES, NodePace()), relief=0.0))
    world.go_on_until(lambda: not pair.clients.asked, SERVE_S, "I12: what met a damaged block does not end")
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
