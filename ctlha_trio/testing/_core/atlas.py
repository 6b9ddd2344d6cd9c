"""The fault atlas: what two copies and one record can survive, and what must end in an honest halt.

============================================= ==============================================================
what has happened                             what is demanded
============================================= ==============================================================
any crash, pause, loss or delay, of any parts nothing acknowledged is lost, and all of it heals
a disk hangs, or both do, and answer later    likewise: a call that has not failed is no reason to end
one disk of two members                       the other goes on; the disk is copied anew, nothing compared
a block of one of two members decays, or a    no read returns it; the block is repaired from the other copy; the copy
write goes to another block                   halts only if the block is damaged again at once
the same of the only member                   no read returns it, others are answered; the other node is no member
                                              again before what is to be copied is whole
the disk of a node that is no member          likewise
the disk of the only member, or both disks    halt: ``copy-failed`` or ``store-failed``; the outsider stays one
the arbiter answers with an older record than halt: ``arbiter-went-back``; heals when the newest record
each node has persisted, or was told of       returns
the arbiter answers with a record that is not halt: ``foreign-record`` or ``foreign-lineage``; heals when the
the pair's, or of another lineage             newest record returns
a disk of one of two members, or of none, is  the other goes on; what was put back is copied anew, and whole
put back from an older epoch
that of the only member is                    halt: ``copy-went-back``; heals when the newest disk returns, or the
                                              other node is forced
a disk is put back from the epoch for which   excluded: nothing tells it from the newest one
the record names it, or from which the other
node counts what may differ
somebody makes a half copied copy the truth    halt: ``copy-incomplete``; heals when that is taken back
somebody writes that a copy which does not    it serves nothing and stays an outsider; the copy that counts, whose
count is primary, or a member                 disk knows of it, goes on
somebody names only a copy that was about to  it goes on, if its disk knows of it; excluded where the source may still
be admitted, and whose source is off          acknowledge alone
somebody claims in a member's name            that member halts: ``twin``, and ``copy-went-back`` if it starts anew;
                                              heals when that is taken back
a copy of a node is in session with the peer  the node halts, ``twin``, unless it counts alone or may come to
a node is forced to be primary, and the other nothing but what was acknowledged without the forced node is lost;
is down at that moment                        the other's copy is made anew. Where both count, nothing is lost
a node is forced while it hears the other     refused
a node is forced while the other is alive and what that one acknowledges until it finds out is lost, and is what
not to be heard                               its own copy held; it stops within a poll, and acknowledges nothing
                                              in the new line
the arbiter answers with an older record that halt of both: ``arbiter-went-back``; heals likewise
one node has not outlived, while the other
node runs and is heard
the same, and the other node is not heard any the same halt, of that node
more, or that node has read a later record,
also one by which a force has abandoned it
the same, and that node knows nothing later   it goes on, for nothing tells it from one that is up to date; what it
                                              answers is excluded, for that contradicts. The other one keeps its copy
                                              and halts: ``arbiter-went-back``; so do both if they are in one epoch
============================================= ==============================================================

A halt is a node that serves nothing and says why.
"""

from typing import Protocol

from ctlha_trio.ha import judge
from ctlha_trio.pair import Copy, Metadata, Phase, actions as act
from ctlha_trio.testing._core.arbiter import Kept, SimulatedArbiter
from ctlha_trio.testing._core.backup import Backup
from ctlha_trio.testing._core.invariants import OVERWRITTEN, Invariants
from ctlha_trio.testing._core.node import NODES, SimulatedNode


class Atlased(Protocol):
    """What there is to lose."""

    arbiter: SimulatedArbiter
    nodes: dict[str, SimulatedNode]
    invariants: Invariants


def disk_may_fail(pair: Atlased, node: SimulatedNode) -> bool:
    """Whether the other copy counts and is whole, whatever the swaps under way make of the record."""
    return not pair.nodes[node.peer].damaged and _other_counts(pair, node)


def _other_counts(pair: Atlased, node: SimulatedNode) -> bool:
    other = pair.nodes[node.peer]
    members = pair.arbiter.truth.members
    if Copy.FAILED in {node.metadata.copy, other.metadata.copy} or other.stale:
        return False
    if pair.arbiter.may_change_late or pair.arbiter.newest is not None or _proposes(node):
        return False
    if members == NODES:
        return {node.metadata.copy, other.metadata.copy} == {Copy.MEMBER}
    return members == (other.name,) and not _proposes(other)


def block_may_decay(pair: Atlased, node: SimulatedNode, block: int) -> bool:
    """Whether the other copy counts and is whole at this block. Another block of it may be damaged."""
    other = pair.nodes[node.peer]
    return block not in other.damaged and other.misdirects is None and _other_counts(pair, node)


def holds_block(pair: Atlased, node: SimulatedNode, block: int) -> bool:
    """Whether the copy of this node counts, and is whole at this block."""
    lives = node.metadata.copy is Copy.MEMBER and not node.failing and not node.stale
    return lives and node.name in pair.arbiter.truth.members and block not in node.damaged


def _proposes(node: SimulatedNode) -> bool:
    known = node.state is not None and node.state.swap is not None
    return known or any(isinstance(each.call, act.Swap) for each in node.calls)


def may_be_forced(pair: Atlased, node: SimulatedNode) -> bool:
    """Whether what a person says of the other node is true, or is seen to be false, and the record is the pair's own.

    Nor may this copy be an older one.

    If it is true it need not stay so: before it serves again, a node that was down has changed the record.
    """
    heard = node.state is not None and bool(node.state.session)
    return _sees_the_record(pair, node) and (heard or pair.nodes[node.peer].state is None)


def may_be_forced_blindly(pair: Atlased, node: SimulatedNode) -> bool:
    """The same for what a person says that is false, and is not seen to be."""
    heard = node.state is not None and bool(node.state.session)
    return _sees_the_record(pair, node) and not heard and pair.nodes[node.peer].state is not None


def _sees_the_record(pair: Atlased, node: SimulatedNode) -> bool:
    state = node.state
    if state is None or state.why == "copy-went-back" or pair.arbiter.newest is not None:
        return False
    return state.record is None or pair.invariants.records.get(state.epoch) == state.record


def is_the_only_one(pair: Atlased, node: SimulatedNode) -> bool:
    """Whether no other copy counts."""
    return pair.arbiter.truth.members == (node.name,) and node.metadata.copy is Copy.MEMBER and not node.stale


def may_be_named_too(node: SimulatedNode) -> bool:
    """Whether the disk of an outsider says that its copy is not whole, and will if the node is switched off now."""
    return node.metadata.copy in OVERWRITTEN and not any(isinstance(each.call, act.Persist) for each in node.disk)


def may_be_made_the_only_one(pair: Atlased, node: SimulatedNode) -> bool:
    """Whether an outsider that is sealed holds everything, so that it may go on if its source is switched off now."""
    return (
        pair.arbiter.truth.members == (node.peer,)
        and node.metadata.copy is Copy.SEALED
        and node.state is not None
        and node.state.phase is Phase.RESYNCING
        and pair.invariants.holds_everything(node)
    )


def may_be_put_back(pair: Atlased, node: SimulatedNode, old: Backup) -> bool:
    """Whether what the record or the other node knows tells this disk from the newest, and nothing is lost by it."""
    other, record = pair.nodes[node.peer], pair.arbiter.truth
    if pair.arbiter.newest is not None or pair.arbiter.late or old.metadata.epoch >= node.metadata.epoch:
        return False
    if Copy.FAILED in {node.metadata.copy, other.metadata.copy, old.metadata.copy}:
        return False
    if other.state is not None and judge(other.state)[0] == "protected":
        # What it says would not be true of a copy that is gone.
        return False
    if node.name not in record.members:
        # The disk that the other one has now may itself be an older one, and the newest comes back.
        disks = [other.metadata, *([] if other.newest is None else [other.newest.metadata])]
        counted = {epoch for disk in disks for epoch in (disk.synced_epoch, disk.base_epoch)}
        counted.add(other.state.base_epoch if other.state else 0)
        return old.metadata.synced_epoch not in counted - {0}
    if other.state is not None and other.state.swap is not None and node.name in other.state.swap.record.members:
        # It agreed to what is being proposed, and its older disk would be named although it lacks what is newer.
        return False
    if old.metadata.copy is Copy.SEALED or record.proposal in old.metadata.proposed:
        return False
    other_holds = other.metadata.copy is Copy.MEMBER and other.metadata.epoch == record.epoch and not other.stale
    return record.members == (node.name,) or (other_holds and not other.damaged)


def outlived(pair: Atlased) -> list[Kept]:
    """Records that each node knows to be past, for its own disk says so, or says that the other node has told it."""
    return [each for each in pair.arbiter.past if all(_is_past(node.metadata, each) for node in pair.nodes.values())]


def outlived_by(pair: Atlased, node: SimulatedNode) -> list[Kept]:
    """Records that this node alone knows to be past, and that the other one would take for the newest."""
    other = pair.nodes[node.peer].metadata
    return [each for each in pair.arbiter.past if _is_past(node.metadata, each) and not _is_past(other, each)]


def _is_past(metadata: Metadata, kept: Kept) -> bool:
    heard, record = metadata.heard, kept.record
    told = heard is not None and heard.lineage == record.lineage and kept.revision < heard.revision
    ended = bool(metadata.later_line) and record.lineage == metadata.lineage
    return told or ended or kept.revision < metadata.revision
