"""What a node keeps on its own disk about its copy, beside the data."""

from enum import Enum

import attrs

from ctlha_trio.pair._record import NodeId
from ctlha_trio.wire import KnownRecord

PROPOSED_MAX = 16
"""One for each process that ended with its claim in doubt, while the record did not change."""


class Copy(Enum):
    """What may be believed of the local copy. The arbiter's record decides whether it counts."""

    MEMBER = "member"
    """It held every acknowledged write at ``epoch``."""
    RESYNCING = "resyncing"
    """It is being overwritten from the source of ``epoch``: neither old nor new."""
    REWRITING = "rewriting"
    """As RESYNCING, of one that was FAILED: what it reads may not be what it holds, so every range is written."""
    SEALED = "sealed"
    """It was copied whole from the source of ``epoch`` and becomes a member when the record says so."""
    FAILED = "failed"
    """The disk failed under it, or a person discarded it, or made it anew. Only a full copy, with nothing compared,
    makes it whole again."""

    @property
    def is_whole(self) -> bool:
        """Whether it holds a state that the volume had at one moment, however old."""
        return self in {Copy.MEMBER, Copy.SEALED}


@attrs.frozen(kw_only=True)
class Metadata:
    """The durable part of a node's state. A node refuses an epoch or a revision lower than those here.

    Those that the peer has told of count for records of their own lineage.
    """

    cluster: str
    node: NodeId
    resource: str
    lineage: str
    arbiter: str
    """The arbiter's random identity."""
    epoch: int
    revision: int
    primary: NodeId
    members: tuple[NodeId, ...]
    """Sorted; those of the record of ``epoch``."""
    copy: Copy
    ancestors: tuple[str, ...] = ()
    """Those of the record of ``epoch``."""
    base_epoch: int = 0
    """Of a copy that is not one of two members: ``synced_epoch``."""
    proposed: tuple[str, ...] = ()
    """Successors of the record of ``epoch`` that were proposed for this copy, or are about to be: any may be won."""
    in_doubt: int = 0
    """Revision from which this node was forced although its copy did not count, or may have been before this copy was
    made: while the record has it, that swap may come. 0: none."""
    heard: KnownRecord | None = None
    """A later record, of which the peer has told, or which the arbiter has shown while this copy did not count. Of the
    same lineage, or of one that descends from it, by what the one or the other says. Without its ancestors."""

    def intend(self, proposal: str, *, instead_of: str = "", won: str = "") -> "Metadata":
        """With one more proposal that may be won; those that begin with ``instead_of`` cannot be any more.

        ``won`` is that of the arbiter's record. If it was for this copy, nothing else on the disk says so.
        """
        known = (won,) if won in self.proposed else ()
        others = (each for each in self.proposed if each not in known)
        kept = tuple(each for each in others if not instead_of or not each.startswith(instead_of))
        return attrs.evolve(self, proposed=(*known, *(*kept, proposal)[len(known) - PROPOSED_MAX :]))

    def knows_of(self, word: KnownRecord) -> bool:
        """Whether that record, or a later one of its line, is the one of ``epoch`` or was heard of.

        One of the same epoch with another primary is another record. A copy that is known to be apart learns no more of
        its line: what it must not forget is that.
        """
        if self.is_apart and word.lineage == self.lineage:
            return True
        acted_on = KnownRecord(self.lineage, self.epoch, self.revision, leads=self._peer_leads)
        known = (each for each in (self.heard, acted_on) if each is not None and each.lineage == word.lineage)
        return any(each.epoch > word.epoch or (each.epoch, each.leads) == (word.epoch, word.leads) for each in known)

    @property
    def _peer_leads(self) -> bool:
        return self.primary != self.node

    @property
    def is_apart(self) -> bool:
        """Whether the other copy has acted on another record of ``epoch``: each may hold what the other one lacks.

        Which of the two is the volume a person decides. A copy that is not whole is apart from none.
        """
        heard = self.heard
        if heard is None or not self.copy.is_whole or (heard.lineage, heard.epoch) != (self.lineage, self.epoch):
            return False
        return heard.leads is not self._peer_leads

    def counted_alone_since(self, lineage: str, base_epoch: int) -> bool:
        """Whether only this copy counted in an epoch in which that of a peer has no part, which is now the only one.

        ``lineage`` is that of the record, ``base_epoch`` the one from which the peer counts what may differ. Who was
        admitted behind an epoch counts from a later one. If this peer was not, an arbiter that went back has let both
        go on alone. 0: it does not say.
        """
        alone = self.copy is Copy.MEMBER and self.members == (self.node,)
        return alone and lineage == self.lineage and 0 < base_epoch <= self.epoch

    @property
    def later_line(self) -> str:
        """The lineage that a person began from that of this copy, as this disk has heard; empty if it knows of none."""
        return "" if self.heard is None or self.heard.lineage == self.lineage else self.heard.lineage

    @property
    def synced_epoch(self) -> int:
        """The epoch in which this copy was equal to the peer's, but for what the dirty bitmaps of the two say since.

        0: nothing is known of it, and only a copy of everything brings the two together.
        """
        if self.copy is Copy.FAILED:
            return 0
        return self.epoch if self.copy is Copy.MEMBER and len(self.members) > 1 else self.base_epoch
