"""What a node keeps on its own disk about its copy, beside the data."""

from enum import Enum

import attrs

from ctlha_trio.pair._record import NodeId


class Copy(Enum):
    """What may be believed of the local copy. The arbiter's record decides whether it counts."""

    MEMBER = "member"
    """It held every acknowledged write at ``epoch``."""
    RESYNCING = "resyncing"
    """It is being overwritten from the source of ``epoch``: neither old nor new."""
    REWRITING = "rewriting"
    """As RESYNCING, after the disk had failed: what it reads may not be what it holds, so every range is written."""
    SEALED = "sealed"
    """It was copied whole from the source of ``epoch`` and becomes a member when the record says so."""
    FAILED = "failed"
    """The disk failed under it. Only a full copy, with nothing compared, makes it whole again."""


@attrs.frozen(kw_only=True)
class Metadata:
    """The durable part of a node's state. A node refuses an epoch or a revision lower than those here."""

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
