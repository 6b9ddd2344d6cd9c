"""What goes wrong in a simulated pair, and how often relative to other faults. Each fault stays within the atlas.

A fault says whether it acted: one that finds nothing to act on has not happened. Whatever gives a node a good reason to
end names that reason to the node, which may end for no other.
"""

from collections.abc import Callable
from typing import Final

import attrs

from ctlha_trio.pair import Copy, Phase, events as ev
from ctlha_trio.testing._core.atlas import (
    disk_may_fail,
    is_the_only_one,
    may_be_forced,
    may_be_made_the_only_one,
    may_be_named_too,
    outlived,
)
from ctlha_trio.testing._core.invariants import FALSIFIED, OVERWRITTEN
from ctlha_trio.testing._core.node import BLOCKS, NODES, SimulatedNode
from ctlha_trio.testing._core.pair import FALSIFIED_EXCUSES, SimulatedPair
from ctlha_trio.testing._core.words import told

FLAPS_MAX: Final = 4
LEAP_NOTICED_CHANCE: Final = 0.5
"""That a clock's leap also makes the link think that it heard nothing for too long."""
FOREIGN_REVISIONS_MAX: Final = 3

HANDOVER_CHANCE: Final = 0.3
"""That who uses a member's name gives its role away."""

WRONG_COPY_EXCUSES: Final = ("copy-incomplete", "copy-failed", "arbiter-went-back", "twin")
"""Its disk may fail as well, as that of any copy which does not count."""

FALSE_PRIMARY_CHANCE: Final = 0.1
"""That a record is falsified which names no copy that is being made whole: more often, none would become so."""

Do = Callable[[SimulatedPair], bool]
"""Whether it acted."""


@attrs.frozen(eq=False)
class Fault:
    """One kind of fault."""

    weight: int
    """How often it comes, relative to others."""
    do: Do


FAULTS: Final[dict[str, Fault]] = {}


def _fault(weight: int) -> Callable[[Do], Do]:
    def enter(do: Do) -> Do:
        FAULTS[do.__name__] = Fault(weight, do)
        return do

    return enter


def _some(pair: SimulatedPair, condition: Callable[[SimulatedNode], bool]) -> SimulatedNode | None:
    nodes = [node for node in pair.nodes.values() if condition(node)]
    return pair.random.choice(nodes) if nodes else None


def _runs(node: SimulatedNode) -> bool:
    return node.state is not None and not node.paused


# The link.


@_fault(100)
def cut(pair: SimulatedPair) -> bool:
    """The connection ends."""
    if not pair.link.live:
        return False
    pair.happened["cuts"] += 1
    pair.note("-", "the connection is cut")
    pair.link.cut()
    return True


@_fault(10)
def flap(pair: SimulatedPair) -> bool:
    """The connection ends and comes back, several times in a row."""
    times = 0
    for _ in range(pair.random.randint(2, FLAPS_MAX)):
        times += cut(pair)
        pair.connect()
    return times > 1


@_fault(20)
def part(pair: SimulatedPair) -> bool:
    """The nodes are cut off each other."""
    if pair.link.partitioned:
        return False
    pair.happened["partitions"] += 1
    pair.note("-", "the nodes are partitioned")
    pair.link.partition()
    return True


@_fault(20)
def clog(pair: SimulatedPair) -> bool:
    """One way of the link stops: for a moment, or until the deaf end gives the session up."""
    node = _some(pair, lambda each: not each.link.clogged)
    if node is None:
        return False
    pair.happened["clogs"] += 1
    pair.note(node.name, "hears nothing")
    node.link.clogged = True
    return True


@_fault(20)
def silence(pair: SimulatedPair) -> bool:
    """Both ways stop, and no end is told: each finds out by its own clock."""
    if not pair.link.live:
        return False
    pair.happened["silences"] += 1
    pair.note("-", "neither node hears the other")
    for node in pair.nodes.values():
        node.link.clogged = True
    return True


# Nodes.


@_fault(20)
def crash(pair: SimulatedPair) -> bool:
    """A process ends."""
    node = _some(pair, lambda each: each.state is not None)
    return node is not None and _crash(pair, node)


@_fault(2)
def crash_both(pair: SimulatedPair) -> bool:
    """The power fails."""
    return sum([node.state is not None and _crash(pair, node) for node in pair.nodes.values()]) == len(NODES)


def _crash(pair: SimulatedPair, node: SimulatedNode) -> bool:
    pair.happened["crashes"] += 1
    pair.take_down(node)
    return True


@_fault(20)
def pause(pair: SimulatedPair) -> bool:
    """A process stands still."""
    node = _some(pair, _runs)
    if node is None:
        return False
    pair.pause(node)
    return True


@_fault(20)
def leap(pair: SimulatedPair) -> bool:
    """A clock jumps forward: everything that waits on it is due."""
    node = _some(pair, lambda each: _runs(each) and bool(each.timers))
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


@_fault(5)
def fail_disk(pair: SimulatedPair) -> bool:
    """A disk is lost."""
    node = _some(pair, _runs)
    if node is None or not disk_may_fail(pair, node):
        return False
    pair.fail_disk(node, "the disk fails")
    return True


@_fault(15)
def bit_rot(pair: SimulatedPair) -> bool:
    """A block decays, as the next read that meets it finds out. That is when the fault acts."""
    node = _some(pair, lambda each: disk_may_fail(pair, each))
    if node is not None:
        block = pair.random.randrange(BLOCKS)
        pair.note(node.name, f"block {block} decays")
        node.damaged[block] = "bit_rot"
    return False


@_fault(25)
def misdirect(pair: SimulatedPair) -> bool:
    """A write goes to another block: neither is what its checksum says. It acts when a read meets one of them."""
    node = _some(pair, lambda each: each.state is not None and disk_may_fail(pair, each))
    if node is not None:
        node.misdirects = pair.random.randrange(BLOCKS)
    return False


# The arbiter.


@_fault(25)
def fail_arbiter(pair: SimulatedPair) -> bool:
    """The arbiter goes down."""
    if not pair.arbiter.up:
        return False
    pair.happened["arbiter_outages"] += 1
    pair.note("-", "the arbiter is down")
    pair.arbiter.up = False
    return True


@_fault(10)
def slow_arbiter(pair: SimulatedPair) -> bool:
    """The arbiter takes very long."""
    if pair.arbiter.slow:
        return False
    pair.note("-", "the arbiter is slow")
    pair.arbiter.slow = True
    return True


@_fault(50)
def apply_late(pair: SimulatedPair) -> bool:
    """A swap that nobody waits for takes effect."""
    record = pair.arbiter.apply_late()
    if record is None:
        return False
    pair.note("-", f"the arbiter takes a late swap: {told(record)}, r{pair.arbiter.revision}")
    return True


def _displaced(pair: SimulatedPair, what: str, *reasons: str) -> bool:
    pair.happened["arbiter_displacements"] += 1
    pair.note("-", f"the arbiter {what}")
    pair.excuse_all(*reasons)
    return True


@_fault(3)
def restore_arbiter(pair: SimulatedPair) -> bool:
    """The arbiter is restored from an old copy."""
    copies = outlived(pair)
    if not copies or pair.arbiter.newest is not None:
        return False
    old = pair.random.choice(copies)
    pair.arbiter.displace(old.record, old.revision)
    return _displaced(pair, f"is restored to epoch {old.record.epoch} r{old.revision}", "arbiter-went-back")


@_fault(1)
def change_arbiter(pair: SimulatedPair) -> bool:
    """The nodes are pointed at another pair's record, or at one that somebody forced."""
    if pair.arbiter.newest is not None:
        return False
    reason = pair.random.choice(["foreign-record", "foreign-lineage"])
    record = pair.arbiter.record.succeed(primary="b", members=NODES, proposal="foreign")
    if reason == "foreign-record":
        record = attrs.evolve(record, cluster="foreign")
    else:
        record = attrs.evolve(record, lineage="foreign")
    pair.arbiter.displace(record, pair.arbiter.revision + pair.random.randint(1, FOREIGN_REVISIONS_MAX))
    # An answer that is heard late may have the revision that the node has come to know meanwhile, with another content.
    return _displaced(pair, f"answers with a {reason}", reason, "arbiter-went-back")


@_fault(10)
def force_wrong_copy(pair: SimulatedPair) -> bool:
    """Somebody switches a node off whose copy is half overwritten, and makes it primary."""
    node = _some(pair, may_be_named_too)
    if node is None or pair.arbiter.newest is not None:
        return False
    _switch_off(pair, node)
    record = pair.arbiter.record.succeed(primary=node.name, members=(node.name,), proposal="forced")
    pair.arbiter.displace(record, pair.arbiter.revision + 1)
    return _displaced(pair, f"is made to name {node.name}", *WRONG_COPY_EXCUSES)


@_fault(2)
def impersonate(pair: SimulatedPair) -> bool:
    """A copy of a member runs elsewhere under its name, and changes the record as that member could."""
    members = pair.arbiter.truth.members
    node = _some(pair, lambda each: each.name in members and each.metadata.copy in {Copy.MEMBER, Copy.SEALED})
    if node is None or pair.arbiter.newest is not None or not pair.arbiter.up:
        return False
    primary, left = node.name, [node.name]
    both_whole = len(members) == len(NODES) and pair.nodes[node.peer].metadata.copy not in OVERWRITTEN
    if both_whole and pair.random.random() < HANDOVER_CHANCE:
        primary, left = node.peer, list(NODES)
    pair.nodes[primary].excused.add("twin")
    pair.note(node.name, f"is impersonated and makes {primary} primary of {'+'.join(left)}")
    pair.arbiter.impose(pair.arbiter.record.succeed(primary=primary, members=tuple(left), proposal="f" * 32))
    return True


# What people do.


@_fault(100)
def hand_over(pair: SimulatedPair) -> bool:
    """An operator wants the other node to be primary."""
    node = _some(pair, lambda each: _runs(each) and each.state is not None and each.state.phase is Phase.MIRRORING)
    if node is None:
        return False
    pair.feed(node, ev.HandoverAsked())
    return True


@_fault(10)
def verify(pair: SimulatedPair) -> bool:
    """An operator wants the copies compared."""
    node = _some(pair, lambda each: _runs(each) and bool(each.state and each.state.phase is Phase.MIRRORING))
    if node is None:
        return False
    pair.feed(node, ev.VerifyAsked())
    return True


@_fault(40)
def force_primary(pair: SimulatedPair) -> bool:
    """An operator wants a node that does not serve to serve, and says that the other one is powered off."""
    node = _some(pair, lambda each: _runs(each) and may_be_forced(pair, each))
    if node is None or node.state is None:
        return False
    pair.feed(node, ev.ForceAsked(node.peer, f"{pair.random.getrandbits(64):016x}", node.state.revision))
    return node.state.forcing


@_fault(5)
def leave(pair: SimulatedPair) -> bool:
    """An operator stops a node."""
    node = _some(pair, lambda each: _runs(each) and each.state is not None and each.state.phase is not Phase.LEFT)
    if node is None:
        return False
    node.excused.add("asked")
    pair.feed(node, ev.StopAsked("asked"))
    return True


@_fault(10)
def falsify(pair: SimulatedPair) -> bool:
    """Somebody writes into the record what no node would: that a node is primary whose copy does not count.

    The members that it names are the one that counts, or both, which the other one's disk denies, or a copy that was
    about to be admitted and holds everything.
    """
    if pair.arbiter.newest is not None or not pair.arbiter.up:
        return False
    sealed = _some(pair, lambda each: may_be_made_the_only_one(pair, each))
    if sealed is not None:
        _switch_off_silently(pair, pair.nodes[sealed.peer])
        return _write(pair, sealed.peer, (sealed.name,))
    node = _some(pair, lambda each: is_the_only_one(pair, each))
    if node is None:
        return False
    other = pair.nodes[node.peer]
    if may_be_named_too(other) and pair.random.getrandbits(1):
        _switch_off_silently(pair, other)
        return _write(pair, other.name, NODES)
    if pair.random.random() >= FALSE_PRIMARY_CHANCE:
        return False
    return _write(pair, other.name, (node.name,))


def _switch_off(pair: SimulatedPair, node: SimulatedNode) -> None:
    if node.state is not None:
        _crash(pair, node)


def _switch_off_silently(pair: SimulatedPair, node: SimulatedNode) -> None:
    """So that the other node may read the record before it misses this one."""
    pair.nodes[node.peer].link.clogged = True
    _switch_off(pair, node)


def _write(pair: SimulatedPair, primary: str, members: tuple[str, ...]) -> bool:
    pair.note("-", f"somebody writes that {primary} is primary of {'+'.join(members)}")
    pair.arbiter.impose(pair.arbiter.record.succeed(primary=primary, members=members, proposal=FALSIFIED))
    pair.nodes[primary].excused.update(FALSIFIED_EXCUSES)
    return True


CORE_FAULTS: Final = frozenset(FAULTS)
"""Names of all that are drawn."""
