"""The record that the arbiter keeps for one resource, and the changes that the protocol allows to it."""

from enum import Enum
from typing import Literal

import attrs

RECORD_FORMAT = 1
ANCESTORS_MAX = 32
"""Forced changes that a record remembers. A copy from before them all is refused, as one of another pair is."""

NodeId = str
Fence = Literal["none", "owed", "confirmed"]


class Kind(Enum):
    """Whether each node has a copy of its own, or both reach the same disks."""

    MIRROR = "mirror"
    SHARED = "shared"


class SwapOutcome(Enum):
    """What is known of a compare-and-swap after the call."""

    WON = "won"
    """It was applied."""
    LOST = "lost"
    """The revision had moved: it was not applied by this call. An earlier call with the same content may have been."""
    REFUSED = "refused"
    """The engine did not take it: certainly not applied."""
    UNKNOWN = "unknown"
    """Applied, not applied, or still to be applied."""


@attrs.frozen(kw_only=True)
class Record:
    """Who serves a resource and whose copy counts. Changed only by compare-and-swap on the arbiter's revision."""

    cluster: str
    resource: str
    epoch: int
    """Rises by one at each change."""
    lineage: str
    """Random id of the line of epochs; a forced change starts another."""
    primary: NodeId
    members: tuple[NodeId, ...]
    """Sorted. The nodes whose copy holds every acknowledged write."""
    proposal: str
    """Random id of the swap that wrote this."""
    format: int = RECORD_FORMAT
    kind: Kind = Kind.MIRROR
    fence: Fence = "none"
    evidence: str = ""
    """What proves a confirmed fence."""
    ancestors: tuple[str, ...] = ()
    """Lineages that forced changes ended, the latest last. A copy of one of them was abandoned."""
    unknown: tuple[tuple[str, str], ...] = ()
    """Fields of a later version, name and JSON text, handed on untouched."""

    def succeed(self, *, primary: NodeId, members: tuple[NodeId, ...], proposal: str) -> "Record":
        """The next record of the same line. A node that was fenced and is a member again is fenced no more."""
        alone = len(members) == 1
        return attrs.evolve(
            self,
            epoch=self.epoch + 1,
            primary=primary,
            members=tuple(sorted(members)),
            proposal=proposal,
            fence=self.fence if alone else "none",
            evidence=self.evidence if alone else "",
        )

    def fork(self, *, primary: NodeId, lineage: str, proposal: str, evidence: str = "") -> "Record":
        """The first record of a new line: a person says that this node's copy, and no other, is the volume.

        ``evidence``: that the other node was fenced; empty if a person says that it is off.
        """
        successor = self.succeed(primary=primary, members=(primary,), proposal=proposal)
        ancestors = (*self.ancestors, self.lineage)[-ANCESTORS_MAX:]
        fence: Fence = "confirmed" if evidence else "none"
        return attrs.evolve(successor, lineage=lineage, ancestors=ancestors, fence=fence, evidence=evidence)
