"""What one of two stopped nodes knows of the pair and of the arbiter, and whether both know the same."""

import secrets
from typing import Any

import attrs
import cattrs

from ctlha_trio._errors import FailedError
from ctlha_trio.cli._stopped_node import divergence
from ctlha_trio.pair import Copy, Metadata, Record
from ctlha_trio.seams import Arbiter, Versioned
from ctlha_trio.wire import KnownRecord


@attrs.frozen(kw_only=True)
class Knowledge:
    """What one node, stopped, knows of the pair and of the arbiter."""

    cluster: str
    resource: str
    node: str
    lineage: str
    epoch: int
    primary: str
    members: tuple[str, ...]
    copy: str
    arbiter: str
    """That its copy is bound to."""
    revision: int
    ancestors: tuple[str, ...]
    """Of the lineage."""
    heard: KnownRecord | None
    """A later record that the other one has told of, or that the arbiter has shown while the copy did not count."""
    found_identity: str
    """Of the arbiter that it finds; empty: none."""
    found_revision: int
    is_bound: bool
    """Its copy belongs to that arbiter, which holds what it knows: an adoption that was cut off has come so far."""
    would_start: bool
    """Its node would, with that arbiter, whether it has seen the record there or not."""
    proposal: str
    """Random id that a record which it has written would bear."""
    dry_run: bool

    @staticmethod
    def of(
        metadata: Metadata, peer: str, arbiter: Arbiter | None, found: Versioned | None, *, dry_run: bool
    ) -> "Knowledge":
        """As the node's own file and the arbiter say it."""
        is_bound = would_start = False
        if arbiter is not None and found is not None:
            is_bound = _is_bound(metadata, arbiter.identity, found)
            would_start = not divergence(metadata, peer, arbiter.identity, found)
        return Knowledge(
            cluster=metadata.cluster,
            resource=metadata.resource,
            node=metadata.node,
            lineage=metadata.lineage,
            epoch=metadata.epoch,
            primary=metadata.primary,
            members=metadata.members,
            copy=metadata.copy.value,
            arbiter=metadata.arbiter,
            revision=metadata.revision,
            ancestors=metadata.ancestors,
            heard=metadata.heard,
            found_identity="" if arbiter is None else arbiter.identity,
            found_revision=0 if found is None else found.revision,
            is_bound=is_bound,
            would_start=would_start,
            proposal=secrets.token_hex(16),
            dry_run=dry_run,
        )

    def leaves_only(self, other: "Knowledge", record: Record) -> bool:
        """Whether this node goes on with the arbiter's record, which both find, and the other one's copy is in the way.

        Then the other one can only discard its copy, or be chosen.
        """
        found_the_same = self.found_identity == other.found_identity
        return found_the_same and self.would_start and not other.would_start and record.members != (other.node,)

    def words(self) -> tuple[KnownRecord, ...]:
        """The records that it tells of, as whoever hears them keeps them: its own, and what it has heard itself."""
        leads = self.primary == self.node
        own = KnownRecord(self.lineage, self.epoch, self.revision, leads=leads, ancestors=self.ancestors)
        return (own,) if self.heard is None else (own, attrs.evolve(self.heard, leads=not self.heard.leads))

    def describe(self) -> str:
        """One line."""
        return (
            f"copy     node {self.node}: epoch {self.epoch}, revision {self.revision}, lineage {self.lineage}, "
            f"members {' '.join(self.members)}, {self.copy}"
        )


def hear(metadata: Metadata, told: Knowledge) -> Metadata:
    """As of a node that stopped and was told by the other one's hello: with what it must not forget of that.

    Revisions of another arbiter compare with nothing; the epoch does. To a copy whose line is known to have
    ended, words of the line that was begun from that count, and those of its own teach it nothing. Nor does another
    record of its own epoch: that is of the other copy, and which of the two goes on a person is about to decide.
    """
    for word in told.words():
        line = metadata.later_line or metadata.lineage
        is_of_other_copy = (word.lineage, word.epoch) == (metadata.lineage, metadata.epoch)
        if not is_of_other_copy and line in (word.lineage, *word.ancestors) and not metadata.knows_of(word):
            revision = word.revision if told.arbiter == metadata.arbiter else 0
            metadata = attrs.evolve(metadata, heard=attrs.evolve(word, revision=revision, ancestors=()))
    return metadata


def need_none(one: Knowledge, other: Knowledge) -> bool:
    """Whether both need no other arbiter: they would start with the same one. What they then find there, they follow.

    Nodes that were stopped in the moment of a swap know less than it, or not the same.
    """
    return one.would_start and other.would_start and one.found_identity == other.found_identity


def disagreement(one: Knowledge, other: Knowledge) -> str:
    """Why the two do not know the same, or why a copy that counts by it is not whole; empty if all is well."""
    both = sorted((one, other), key=lambda each: each.node)
    if (one.cluster, one.resource) != (other.cluster, other.resource) or one.node == other.node:
        return "they are not the two nodes of one pair"
    if one.lineage != other.lineage:
        return "their copies are of different lines"
    if (one.epoch, one.primary, one.members) != (other.epoch, other.primary, other.members):
        return "; ".join(
            f"node {each.node} knows epoch {each.epoch}, members {' '.join(each.members)}" for each in both
        )
    if one.arbiter == other.arbiter and one.revision != other.revision and not (one.is_bound or other.is_bound):
        return "; ".join(f"node {each.node} knows revision {each.revision}" for each in both)
    for each in both:
        if each.heard is not None and each.heard.epoch > each.epoch:
            return f"node {each.node} has heard of epoch {each.heard.epoch}, which neither has seen"
        if each.node in each.members and each.copy != Copy.MEMBER.value:
            return f"the copy of node {each.node}, which counts, is {each.copy}"
    if (one.found_identity, one.found_revision) != (other.found_identity, other.found_revision):
        return "they do not find the same at the arbiter"
    return ""


def is_of(record: Record, known: Metadata) -> bool:
    """Whether it says what the node knows."""
    return (record.lineage, record.epoch, record.primary, record.members) == (
        known.lineage,
        known.epoch,
        known.primary,
        known.members,
    )


def knowledge_of(told: dict[str, Any]) -> Knowledge:
    """As the other node's command has told it. ``FailedError`` if it is of another version."""
    try:
        return cattrs.structure(told, Knowledge)
    except (cattrs.BaseValidationError, TypeError, ValueError) as error:
        raise FailedError("the other node's command is of another version: install the same on both") from error


def _is_bound(metadata: Metadata, identity: str, found: Versioned) -> bool:
    newest = max(metadata.revision, 0 if metadata.heard is None else metadata.heard.revision)
    return metadata.arbiter == identity and is_of(found.record, metadata) and newest <= found.revision
