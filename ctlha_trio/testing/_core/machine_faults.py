"""What a fault is, and the faults of the machines: links, nodes and disks.

A fault says whether it acted: one that finds nothing to act on has not happened. Whatever gives a node a good reason to
end names that reason to the node, which may end for no other.
"""

from collections.abc import Callable
from typing import Final

import attrs

from ctlha_trio.testing._core.atlas import block_may_decay, disk_may_fail, may_be_put_back
from ctlha_trio.testing._core.node import NODES, SimulatedNode
from ctlha_trio.testing._core.pair import SimulatedPair
from ctlha_trio.testing._core.volume import BLOCKS

FLAPS_MAX: Final = 4
LEAP_NOTICED_CHANCE: Final = 0.5
"""That a clock's leap also makes the link think that it heard nothing for too long."""

Do = Callable[[SimulatedPair], bool]
"""Whether it acted."""


@attrs.frozen(eq=False)
class Fault:
    """One kind of fault."""

    weight: int
    """How often it comes, relative to others."""
    do: Do


ENTERED: Final[dict[str, Fault]] = {}
"""By name; ``faults`` adds the others."""


def fault(weight: int) -> Callable[[Do], Do]:
    """Enter a function as a fault, by its name."""

    def enter(do: Do) -> Do:
        ENTERED[do.__name__] = Fault(weight, do)
        return do

    return enter


def some_node(pair: SimulatedPair, condition: Callable[[SimulatedNode], bool]) -> SimulatedNode | None:
    """One of the nodes of which that is true."""
    nodes = [node for node in pair.nodes.values() if condition(node)]
    return pair.random.choice(nodes) if nodes else None


def runs(node: SimulatedNode) -> bool:
    """Whether its process could take an event."""
    return node.state is not None and not node.paused


# The link.


@fault(100)
def cut(pair: SimulatedPair) -> bool:
    """The connection ends."""
    if not pair.link.live:
        return False
    pair.happened["cuts"] += 1
    pair.note("-", "the connection is cut")
    pair.link.cut()
    return True


@fault(10)
def flap(pair: SimulatedPair) -> bool:
    """The connection ends and comes back, several times in a row."""
    times = 0
    for _ in range(pair.random.randint(2, FLAPS_MAX)):
        times += cut(pair)
        pair.connect()
    return times > 1


@fault(20)
def part(pair: SimulatedPair) -> bool:
    """The nodes are cut off each other."""
    if pair.link.partitioned:
        return False
    pair.partition()
    return True


@fault(20)
def clog(pair: SimulatedPair) -> bool:
    """One way of the link stops: for a moment, or until the deaf end gives the session up."""
    node = some_node(pair, lambda each: not each.link.clogged)
    if node is None:
        return False
    pair.clog(node)
    return True


@fault(20)
def silence(pair: SimulatedPair) -> bool:
    """Both ways stop, and no end is told: each finds out by its own clock."""
    if not pair.link.live:
        return False
    pair.count_partition("-", "neither node hears the other")
    for node in pair.nodes.values():
        node.link.clogged = True
    return True


# Nodes.


@fault(20)
def crash(pair: SimulatedPair) -> bool:
    """A process ends."""
    node = some_node(pair, lambda each: each.state is not None)
    if node is None:
        return False
    pair.take_down(node, "crashes")
    return True


@fault(2)
def crash_both(pair: SimulatedPair) -> bool:
    """The power fails."""
    running = [node for node in pair.nodes.values() if node.state is not None]
    for node in running:
        pair.take_down(node, "loses its power")
    return len(running) == len(NODES)


@fault(20)
def pause(pair: SimulatedPair) -> bool:
    """A process stands still."""
    node = some_node(pair, runs)
    if node is None:
        return False
    pair.pause(node)
    return True


@fault(20)
def leap(pair: SimulatedPair) -> bool:
    """A clock jumps forward: everything that waits on it is due."""
    node = some_node(pair, lambda each: runs(each) and bool(each.timers))
    if node is None:
        return False
    pair.note(node.name, "the clock leaps")
    for timer in sorted(node.timers, key=lambda each: (node.timers[each].delay_s, each.value)):
        if timer in node.timers:
            pair.fire_timer(node, timer)
    if pair.link.live and pair.random.random() < LEAP_NOTICED_CHANCE:
        pair.link.suspect(node.link)
    return True


# Disks.


@fault(10)
def hang_disk(pair: SimulatedPair) -> bool:
    """A disk answers nothing for a while, and everything after."""
    node = some_node(pair, lambda each: runs(each) and not each.ended and not each.disk_hangs)
    if node is None:
        return False
    pair.hang_disk(node)
    return True


@fault(1)
def hang_both_disks(pair: SimulatedPair) -> bool:
    """What both disks have in common does so."""
    nodes = [node for node in pair.nodes.values() if runs(node) and not node.ended and not node.disk_hangs]
    for node in nodes:
        pair.hang_disk(node)
    return len(nodes) == len(NODES)


@fault(5)
def fail_disk(pair: SimulatedPair) -> bool:
    """A disk is lost."""
    node = some_node(pair, runs)
    if node is None or not disk_may_fail(pair, node):
        return False
    pair.fail_disk(node, "the disk fails")
    return True


@fault(15)
def bit_rot(pair: SimulatedPair) -> bool:
    """A block decays, as the next read that meets it finds out. That is when the fault acts."""
    block = pair.random.randrange(BLOCKS)
    node = some_node(pair, lambda each: block_may_decay(pair, each, block))
    if node is not None:
        pair.note(node.name, f"block {block} decays")
        node.damaged[block] = "bit_rot"
    return False


@fault(25)
def misdirect(pair: SimulatedPair) -> bool:
    """A write goes to another block: neither is what its checksum says. It acts when a read meets one of them."""
    block = pair.random.randrange(BLOCKS)
    node = some_node(pair, lambda each: each.state is not None and block_may_decay(pair, each, block))
    if node is not None:
        node.misdirects = block
    return False


@fault(10)
def put_back(pair: SimulatedPair) -> bool:
    """Somebody puts the disk of a node that is down back as it was in an earlier epoch."""
    node = some_node(pair, lambda each: each.state is None and bool(each.backups))
    if node is None:
        return False
    old = pair.random.choice(node.backups)
    if not may_be_put_back(pair, node, old):
        return False
    pair.happened["disks_put_back"] += 1
    pair.note(node.name, f"has its disk of epoch {old.metadata.epoch} again")
    pair.invariants.put_back(node)
    node.put_back(old, missed=pair.arbiter.truth.members == (node.name,))
    return True
