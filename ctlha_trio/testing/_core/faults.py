"""What goes wrong in a simulated pair, and how often relative to other faults. Each fault stays within the atlas."""

from collections.abc import Callable
from typing import Final

import attrs

from ctlha_trio.pair import Copy, Phase, events as ev
from ctlha_trio.testing._core.atlas import disk_may_fail, may_be_forced, may_be_put_back, outlived
from ctlha_trio.testing._core.invariants import OVERWRITTEN
from ctlha_trio.testing._core.node import SimulatedNode
from ctlha_trio.testing._core.pair import NODES, SimulatedPair

FLAPS_MAX: Final = 4
LEAP_NOTICED_CHANCE: Final = 0.5
"""That a clock's leap also makes the link think that it heard nothing for too long."""
FOREIGN_REVISIONS_MAX: Final = 3

Do = Callable[[SimulatedPair], None]


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
def cut(pair: SimulatedPair) -> None:
    """The connection ends."""
    if pair.link.live:
        pair.happened["cuts"] += 1
        pair.note("-", "the connection is cut")
        pair.link.cut()


@_fault(10)
def flap(pair: SimulatedPair) -> None:
    """The connection ends and comes back, several times in a row."""
    for _ in range(pair.random.randint(2, FLAPS_MAX)):
        cut(pair)
        pair.connect()


@_fault(20)
def part(pair: SimulatedPair) -> None:
    """The nodes are cut off each other."""
    if not pair.link.partitioned:
        pair.happened["partitions"] += 1
        pair.note("-", "the nodes are partitioned")
        pair.link.partition()


@_fault(20)
def clog(pair: SimulatedPair) -> None:
    """One way of the link stops: for a moment, or until the deaf end gives the session up."""
    node = _some(pair, lambda each: not each.link.clogged)
    if node is not None:
        pair.happened["partitions"] += 1
        pair.note(node.name, "hears nothing")
        node.link.clogged = True


@_fault(20)
def silence(pair: SimulatedPair) -> None:
    """Both ways stop, and no end is told: each finds out by its own clock."""
    if pair.link.live:
        pair.happened["partitions"] += 1
        pair.note("-", "neither node hears the other")
        for node in pair.nodes.values():
            node.link.clogged = True


# Nodes.


@_fault(20)
def crash(pair: SimulatedPair) -> None:
    """A process ends."""
    node = _some(pair, lambda each: each.state is not None)
    if node is not None:
        pair.happened["crashes"] += 1
        pair.take_down(node)


@_fault(2)
def crash_both(pair: SimulatedPair) -> None:
    """The power fails."""
    for node in pair.nodes.values():
        if node.state is not None:
            pair.happened["crashes"] += 1
            pair.take_down(node)


@_fault(20)
def pause(pair: SimulatedPair) -> None:
    """A process stands still."""
    node = _some(pair, _runs)
    if node is not None:
        pair.pause(node)


@_fault(20)
def leap(pair: SimulatedPair) -> None:
    """A clock jumps forward: everything that waits on it is due."""
    node = _some(pair, _runs)
    if node is None:
        return
    pair.note(node.name, "the clock leaps")
    for timer in sorted(node.timers, key=lambda each: (node.timers[each], each.value)):
        if timer in node.timers:
            pair.fire_timer(node, timer)
    if pair.link.live and pair.random.random() < LEAP_NOTICED_CHANCE:
        pair.link.suspect(node.link)


@_fault(5)
def fail_disk(pair: SimulatedPair) -> None:
    """A disk is lost."""
    node = _some(pair, _runs)
    if node is not None and disk_may_fail(pair, node):
        pair.happened["disk_failures"] += 1
        node.lose_disk_calls()
        pair.feed(node, ev.StoreFailed())


@_fault(10)
def put_back(pair: SimulatedPair) -> None:
    """Somebody puts the disk of a node that is down back as it was in an earlier epoch."""
    node = _some(pair, lambda each: each.state is None and bool(each.backups))
    if node is None:
        return
    old = pair.random.choice(node.backups)
    if may_be_put_back(pair, node, old):
        pair.happened["disks_put_back"] += 1
        pair.note(node.name, f"has its disk of epoch {old.metadata.epoch} again")
        node.put_back(old, missed=pair.arbiter.truth.members == (node.name,))


# The arbiter.


@_fault(25)
def fail_arbiter(pair: SimulatedPair) -> None:
    """The arbiter goes down."""
    if pair.arbiter.up:
        pair.happened["arbiter_outages"] += 1
        pair.note("-", "the arbiter is down")
        pair.arbiter.up = False


@_fault(10)
def slow_arbiter(pair: SimulatedPair) -> None:
    """The arbiter takes very long."""
    pair.note("-", "the arbiter is slow")
    pair.arbiter.slow = True


@_fault(50)
def apply_late(pair: SimulatedPair) -> None:
    """A swap that nobody waits for takes effect."""
    pair.arbiter.apply_late()


def _displaced(pair: SimulatedPair, what: str, *reasons: str) -> None:
    pair.happened["arbiter_displacements"] += 1
    pair.note("-", f"the arbiter {what}")
    pair.excuse_all(*reasons)


@_fault(3)
def restore_arbiter(pair: SimulatedPair) -> None:
    """The arbiter is restored from an old copy."""
    copies = outlived(pair)
    if copies and pair.arbiter.newest is None:
        old = pair.random.choice(copies)
        pair.arbiter.displace(old.record, old.revision)
        _displaced(pair, f"is restored to epoch {old.record.epoch} r{old.revision}", "arbiter-went-back")


@_fault(1)
def change_arbiter(pair: SimulatedPair) -> None:
    """The nodes are pointed at another pair's record, or at one that somebody forced."""
    if pair.arbiter.newest is not None:
        return
    reason = pair.random.choice(["foreign-record", "foreign-lineage"])
    record = pair.arbiter.record.succeed(primary="b", members=NODES, proposal="foreign")
    if reason == "foreign-record":
        record = attrs.evolve(record, cluster="foreign")
    else:
        record = attrs.evolve(record, lineage="foreign")
    pair.arbiter.displace(record, pair.arbiter.revision + pair.random.randint(1, FOREIGN_REVISIONS_MAX))
    # An answer that is heard late may have the revision that the node has come to know meanwhile, with another content.
    _displaced(pair, f"answers with a {reason}", reason, "arbiter-went-back")


@_fault(2)
def force_wrong_copy(pair: SimulatedPair) -> None:
    """Somebody makes the node primary whose copy is half overwritten."""
    node = _some(pair, lambda each: each.state is None and each.metadata.copy in OVERWRITTEN)
    if node is None or pair.arbiter.newest is not None:
        return
    record = pair.arbiter.record.succeed(primary=node.name, members=(node.name,), proposal="forced")
    pair.arbiter.displace(record, pair.arbiter.revision + 1)
    _displaced(pair, f"is made to name {node.name}", "copy-incomplete", "arbiter-went-back", "twin")


@_fault(2)
def impersonate(pair: SimulatedPair) -> None:
    """A copy of a member runs elsewhere under its name and claims, until a person takes that back."""
    members = pair.arbiter.truth.members
    node = _some(pair, lambda each: each.name in members and each.metadata.copy in {Copy.MEMBER, Copy.SEALED})
    if node is None or pair.arbiter.newest is not None:
        return
    record = pair.arbiter.record.succeed(primary=node.name, members=(node.name,), proposal="f" * 32)
    pair.arbiter.displace(record, pair.arbiter.revision + 1)
    _displaced(
        pair, f"took a claim in {node.name}'s name", "twin", "copy-went-back", "copy-failed", "arbiter-went-back"
    )


@_fault(5)
def disown(pair: SimulatedPair) -> None:
    """A copy of a node is in session with the peer, which refuses this one, until that copy is ended."""
    node = _some(pair, lambda each: _runs(each) and not each.link.session and not each.ended)
    if node is None or node.state is None:
        return
    pair.note(node.name, "is refused for another process with its identity")
    if node.state.phase in {Phase.BOOTING, Phase.WAITING, Phase.OUTDATED}:
        node.excused.add("twin")
    pair.feed(node, ev.Disowned())


# What people do.


@_fault(100)
def hand_over(pair: SimulatedPair) -> None:
    """An operator wants the other node to be primary."""
    node = _some(pair, lambda each: _runs(each) and each.state is not None and each.state.phase is Phase.MIRRORING)
    if node is not None:
        pair.feed(node, ev.HandoverAsked())


@_fault(20)
def force_primary(pair: SimulatedPair) -> None:
    """An operator wants a node that does not serve to serve, and says that the other one is powered off."""
    node = _some(pair, lambda each: _runs(each) and may_be_forced(each, pair.nodes[each.peer]))
    if pair.arbiter.newest is None and node is not None and node.state is not None:
        pair.feed(node, ev.ForceAsked(node.peer, f"{pair.random.getrandbits(64):016x}", node.state.revision))


@_fault(5)
def leave(pair: SimulatedPair) -> None:
    """An operator stops a node."""
    node = _some(pair, _runs)
    if node is not None:
        pair.feed(node, ev.StopAsked("asked"))
