"""What goes wrong in a simulated pair: the faults of its machines, of its arbiter, and what people do.

Each fault stays within the atlas.
"""

from typing import Final

import attrs

from ctlha_trio.pair import Copy, Phase, Record, events as ev
from ctlha_trio.testing._core.atlas import (
    is_the_only_one,
    may_be_forced,
    may_be_forced_blindly,
    may_be_made_the_only_one,
    may_be_named_too,
    outlived,
)
from ctlha_trio.testing._core.false_record import FALSIFIED
from ctlha_trio.testing._core.machine_faults import ENTERED, Fault, fault, runs, some_node
from ctlha_trio.testing._core.node import NODES, SimulatedNode
from ctlha_trio.testing._core.pair import SimulatedPair
from ctlha_trio.testing._core.words import IN_SECTORS

FOREIGN_REVISIONS_MAX: Final = 3

WRONG_COPY_EXCUSES: Final = ("copy-incomplete", "copy-failed", "arbiter-went-back", "twin")
"""Its disk may fail as well, as that of any copy which does not count."""
CLAIMED_EXCUSES: Final = ("twin", "copy-went-back", "copy-failed", "arbiter-went-back")
"""Likewise."""

FALSE_PRIMARY_CHANCE: Final = 0.1
"""That a record is falsified which names no copy that is being made whole: more often, none would become so."""


# The arbiter.


@fault(25)
def fail_arbiter(pair: SimulatedPair) -> bool:
    """The arbiter goes down."""
    if not pair.arbiter.up:
        return False
    pair.happened["arbiter_outages"] += 1
    pair.note("-", "the arbiter is down")
    pair.arbiter.up = False
    return True


@fault(10)
def slow_arbiter(pair: SimulatedPair) -> bool:
    """The arbiter takes very long."""
    if pair.arbiter.slow:
        return False
    pair.note("-", "the arbiter is slow")
    pair.arbiter.slow = True
    return True


@fault(50)
def apply_late(pair: SimulatedPair) -> bool:
    """A swap that nobody waits for takes effect."""
    record = pair.arbiter.apply_late()
    if record is None:
        return False
    pair.note("-", f"the arbiter takes a late swap: {IN_SECTORS.told(record)}, r{pair.arbiter.revision}")
    return True


def _displaced(pair: SimulatedPair, what: str, *reasons: str) -> bool:
    pair.happened["arbiter_displacements"] += 1
    pair.note("-", f"the arbiter {what}")
    pair.excuse_all(*reasons)
    return True


@fault(3)
def restore_arbiter(pair: SimulatedPair) -> bool:
    """The arbiter is restored from an old copy."""
    copies = outlived(pair)
    if not copies or pair.arbiter.newest is not None:
        return False
    old = pair.random.choice(copies)
    pair.arbiter.displace(old.record, old.revision)
    return _displaced(pair, f"is restored to epoch {old.record.epoch} r{old.revision}", "arbiter-went-back")


@fault(1)
def change_arbiter(pair: SimulatedPair) -> bool:
    """The nodes are pointed at another pair's record, or at one of a line that was not begun from theirs."""
    if pair.arbiter.newest is not None:
        return False
    reason = pair.random.choice(["foreign-record", "foreign-lineage"])
    ahead = pair.random.randint(1, FOREIGN_REVISIONS_MAX)
    if reason == "foreign-lineage":
        return show_another_line(pair, ahead)
    record = pair.arbiter.record.succeed(primary="b", members=NODES, proposal="foreign")
    return _show_another(pair, attrs.evolve(record, cluster="foreign"), ahead, reason)


def show_another_line(pair: SimulatedPair, ahead: int) -> bool:
    """The arbiter answers with a record of a line that nobody began, so many revisions later than its own."""
    record = attrs.evolve(
        pair.arbiter.record.succeed(primary="b", members=NODES, proposal="foreign"), lineage="foreign"
    )
    for node in pair.nodes.values():
        if node.metadata.lineage in record.ancestors:
            # To an abandoned copy every later line is the pair's: this one names it, so somebody is in its place.
            node.excused.add("twin")
    return _show_another(pair, record, ahead, "foreign-lineage")


def _show_another(pair: SimulatedPair, record: Record, ahead: int, reason: str) -> bool:
    pair.arbiter.displace(record, pair.arbiter.revision + ahead)
    # An answer that is heard late may have the revision that the node has come to know meanwhile, with another content.
    return _displaced(pair, f"answers with a {reason}", reason, "arbiter-went-back")


@fault(10)
def force_wrong_copy(pair: SimulatedPair) -> bool:
    """Somebody switches a node off whose copy is half overwritten, and makes it primary."""
    node = some_node(pair, may_be_named_too)
    if node is None or pair.arbiter.newest is not None:
        return False
    _switch_off(pair, node)
    record = pair.arbiter.record.succeed(primary=node.name, members=(node.name,), proposal="forced")
    pair.arbiter.displace(record, pair.arbiter.revision + 1)
    # The disk that it missed, which may come back while the record stands, is whole but was not asked either.
    missed = ("copy-went-back",) if node.newest is not None else ()
    return _displaced(pair, f"is made to name {node.name}", *WRONG_COPY_EXCUSES, *missed)


@fault(2)
def impersonate(pair: SimulatedPair) -> bool:
    """A copy of a member runs elsewhere under its name and claims, until a person takes that back."""
    members = pair.arbiter.truth.members
    node = some_node(pair, lambda each: each.name in members and each.metadata.copy in {Copy.MEMBER, Copy.SEALED})
    if node is None or pair.arbiter.newest is not None:
        return False
    record = pair.arbiter.record.succeed(primary=node.name, members=(node.name,), proposal="f" * 32)
    pair.arbiter.displace(record, pair.arbiter.revision + 1)
    return _displaced(pair, f"took a claim in {node.name}'s name", *CLAIMED_EXCUSES)


@fault(5)
def disown(pair: SimulatedPair) -> bool:
    """A copy of a node is in session with the peer, which refuses this one, until that copy is ended."""
    node = some_node(pair, lambda each: runs(each) and not each.link.session and not each.ended)
    if node is None or node.state is None:
        return False
    pair.note(node.name, "is refused for another process with its identity")
    if node.state.phase in {Phase.BOOTING, Phase.WAITING, Phase.OUTDATED}:
        node.excused.add("twin")
    pair.feed(node, ev.Disowned())
    return True


# What people do.


def _ask(pair: SimulatedPair, node: SimulatedNode, event: ev.HandoverAsked | ev.ForceAsked | ev.VerifyAsked) -> None:
    """An operator asks, and must be told what becomes of it."""
    node.request_begun(event)
    pair.feed(node, event)


@fault(100)
def hand_over(pair: SimulatedPair) -> bool:
    """An operator wants the other node to be primary."""
    node = some_node(pair, lambda each: runs(each) and each.state is not None and each.state.phase is Phase.MIRRORING)
    if node is None:
        return False
    _ask(pair, node, ev.HandoverAsked())
    return node.state is not None and node.state.phase is Phase.HANDING_OVER


@fault(10)
def verify(pair: SimulatedPair) -> bool:
    """An operator wants the copies compared."""
    node = some_node(pair, lambda each: runs(each) and bool(each.state and each.state.phase is Phase.MIRRORING))
    if node is None:
        return False
    before = _verifies(node)
    _ask(pair, node, ev.VerifyAsked())
    return not before and _verifies(node)


def _verifies(node: SimulatedNode) -> bool:
    return node.state is not None and node.state.verification is not None and node.state.verification.running


@fault(40)
def force_primary(pair: SimulatedPair) -> bool:
    """An operator wants a node that does not serve to serve, and says, or has evidence, that the other one is off."""
    return _force(pair, some_node(pair, lambda each: runs(each) and may_be_forced(pair, each)))


@fault(5)
def force_blindly(pair: SimulatedPair) -> bool:
    """The same of a node that does not hear the other one, which lives: what is said is false."""
    return _force(pair, some_node(pair, lambda each: runs(each) and may_be_forced_blindly(pair, each)))


def _force(pair: SimulatedPair, node: SimulatedNode | None) -> bool:
    if node is None or node.state is None:
        return False
    before, lineage = node.state, f"{pair.random.getrandbits(64):016x}"
    evidence = "outlet 7 is off" if before.revision % 2 else ""
    _ask(pair, node, ev.ForceAsked(node.peer, lineage, before.revision, evidence))
    if before.forcing or not node.state.forcing:
        return False
    pair.invariants.shown[node.name] = before.revision
    return True


@fault(5)
def leave(pair: SimulatedPair) -> bool:
    """An operator stops a node."""
    node = some_node(pair, lambda each: runs(each) and each.state is not None and each.state.phase is not Phase.LEFT)
    if node is None:
        return False
    pair.happened["stops"] += 1
    node.excused.add("asked")
    pair.feed(node, ev.StopAsked("asked"))
    return True


@fault(10)
def falsify(pair: SimulatedPair) -> bool:
    """Somebody writes into the record what no node would: that a node is primary whose copy does not count.

    The members that it names are the one that counts, or both, which the other one's disk denies, or a copy that was
    about to be admitted and holds everything. The disk of the copy that is to go on is made to know of it, for a record
    of which it knows nothing is one that another process with the node's identity made: that is ``impersonate``.
    """
    if pair.arbiter.newest is not None or not pair.arbiter.up:
        return False
    sealed = some_node(pair, lambda each: may_be_made_the_only_one(pair, each))
    if sealed is not None:
        _switch_off_silently(pair, pair.nodes[sealed.peer])
        return _write(pair, sealed.peer, (sealed.name,))
    node = some_node(pair, lambda each: is_the_only_one(pair, each))
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
        pair.take_down(node, "is switched off")


def _switch_off_silently(pair: SimulatedPair, node: SimulatedNode) -> None:
    """So that the other node may read the record before it misses this one."""
    pair.clog(pair.nodes[node.peer])
    _switch_off(pair, node)


def _write(pair: SimulatedPair, primary: str, members: tuple[str, ...]) -> bool:
    pair.note("-", f"somebody writes that {primary} is primary of {'+'.join(members)}")
    pair.arbiter.impose(pair.arbiter.record.succeed(primary=primary, members=members, proposal=FALSIFIED))
    return True


FAULTS: Final[dict[str, Fault]] = ENTERED
BEHIND_ONE_TOLD: Final = "restore_behind_one_told"
BEHIND_A_READER: Final = "restore_behind_a_reader"
BEHIND_AN_ABANDONED_COPY: Final = "restore_behind_an_abandoned_copy"
"""Restored to what the disk of one node knows to be past for a reason of its own: ``restore_trials`` lead there."""
BEHIND_BOTH: Final = "restore_behind_both"
"""Restored to what one disk knows to be past, and not the other one, whose node goes on from it: ``apart_trials``."""
CORE_FAULTS: Final = frozenset(FAULTS) | {BEHIND_ONE_TOLD, BEHIND_A_READER, BEHIND_AN_ABANDONED_COPY, BEHIND_BOTH}
"""All that must act somewhere: those that are drawn, and those of trials alone."""
