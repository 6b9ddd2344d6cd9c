"""What is demanded of every world that is explored, whatever led to it."""

from typing import Final

from ctlha_trio.pair import Phase, Record
from ctlha_trio.testing._core.invariants import OVERWRITTEN
from ctlha_trio.testing._explore.clients import Clients
from ctlha_trio.testing._explore.node import may_differ
from ctlha_trio.testing._explore.parts import Arbiter, Inbox, Node
from ctlha_trio.testing._explore.register import Register

SERVES_ALONE: Final = frozenset({Phase.ALONE, Phase.ADMITTING})
_SOLE: Final = frozenset({Phase.SECURING, Phase.ALONE, Phase.ADMITTING})


def check_node(node: Node, arbiter: Arbiter, clients: Clients) -> str:
    """What is broken, with the invariant's number; empty if nothing is. Here and below."""
    return _check_member(node, arbiter.record, clients.block) or _check_record(node, arbiter)


def check_change(before: Record, after: Record) -> str:
    """The record changes: one epoch later, and in the same line to a primary that was a member."""
    if after.epoch != before.epoch + 1:
        return f"I6: the record of epoch {before.epoch} is followed by one of epoch {after.epoch}"
    if after.lineage == before.lineage and after.primary not in before.members:
        return f"I4: {after.primary}, no member, is made primary of the same line"
    return ""


def check_copies(a: Node, b: Node, inbox_a: Inbox, inbox_b: Inbox) -> str:
    """Two nodes that are together, with nothing under way, hold the same."""
    if a.block != b.block and not any(session.pushes for inbox in (inbox_a, inbox_b) for session in inbox.sessions):
        return f"I7: nothing is under way and the copies differ: {a.block}, {b.block}"
    return ""


def check_marks(source: Node, target: Node, record: Record) -> str:
    """What differs between the sole member and a node whose copy was equal to its is known to one of the two."""
    core = source.core
    if core is None or not is_source(source, record) or target.metadata.lineage != record.lineage:
        # Of another line it is copied whole, whatever is marked.
        return ""
    if not core.base_epoch or core.base_epoch != target.metadata.synced_epoch or source.block == target.block:
        return ""
    if any(node.marks.dirty or may_differ(node) for node in (source, target)):
        return ""
    return f"I5: the copies differ and nothing is marked: {source.block}, {target.block}"


def is_source(node: Node, record: Record) -> bool:
    """Whether it serves as the sole member."""
    return node.core is not None and record.members == (node.name,) and node.core.phase in _SOLE


def check_permit(holder: Node, granter: Node) -> str:
    """While a node may read by itself, the other one acknowledges nothing without it."""
    core = granter.core
    if holder.core is None or core is None or core.phase not in SERVES_ALONE or not holder.permit:
        return ""
    return f"I3: {granter.name} serves without {holder.name}, which holds a permit"


def _check_member(node: Node, record: Record, block: Register) -> str:
    """A node that the arbiter names holds every acknowledged write and knows its copy as whole."""
    if node.name not in record.members:
        return ""
    if node.metadata.copy in OVERWRITTEN:
        return f"I4: member {node.name} has not persisted that its copy is whole"
    if node.block not in block.values:
        return f"I2: member {node.name} holds {node.block}, but clients know of {sorted(block.values)}"
    return ""


def _check_record(node: Node, arbiter: Arbiter) -> str:
    """What a node acts on was recorded: so no epoch has two that acknowledge."""
    known = node.core.record if node.core is not None else None
    if known is None or known == arbiter.record or known in arbiter.past:
        return ""
    return f"I1: {node.name} acts on a record that the arbiter never had: {known}"


def is_together(a: Node, b: Node) -> bool:
    """Whether both serve as members of the same epoch, in one session, with nothing under way."""
    if a.core is None or b.core is None or a.core.epoch != b.core.epoch or a.core.phase is b.core.phase:
        return False
    return is_calm(a) and is_calm(b)


def is_calm(node: Node) -> bool:
    """Whether it is one of two members, in a session, with nothing under way."""
    core = node.core
    if core is None or core.phase not in {Phase.MIRRORING, Phase.FOLLOWING}:
        return False
    return bool(core.session) and not (core.flights or node.disk)
