"""Faults of the link that only a person can put right, and which of them a node ends for."""

from typing import Final

from ctlha_trio._errors import CtlHaError, RefusedError, UntrustedPeerError
from ctlha_trio.pair import Copy, Metadata, PairState, Phase
from ctlha_trio.wire import Refusal

FIRST_EPOCH: Final = 1
"""Of the record of a new pair. Who serves, and who is served beside, is named by a later one."""
KEYS_OF_REFUSALS: Final = {
    Refusal.SAME_NODE.value: "node",
    Refusal.FOREIGN_CLUSTER.value: "cluster",
    Refusal.WRONG_PEER.value: "peer.node",
    Refusal.RESOURCE.value: "resource",
    Refusal.SIZE.value: "volume.size_bytes",
}
"""What differs between two configurations, by what the one node says of it or the other."""

_UNTAKEN: Final = frozenset({Phase.BOOTING, Phase.WAITING, Phase.OUTDATED})
"""Phases of a node that has written nothing, as long as it has had no session yet."""


def keys_to_look_at(error: CtlHaError) -> str:
    """Of both configurations; empty for a fault that goes by itself."""
    if isinstance(error, UntrustedPeerError):
        return "peer.pins and peer.address"
    return KEYS_OF_REFUSALS.get(error.reason, "") if isinstance(error, RefusedError) else ""


def ends_node(error: CtlHaError, state: PairState) -> bool:
    """Whether to end is better than to go on, before this node has taken any part.

    It is where somebody tries a new pair, or a new copy, and waits to hear. A copy that has been in use may be the only
    one that counts: anybody can show another key at the peer's address, and what the peer says may be wrong there.
    But a peer that proves its key and has this node's own id is one of two that would take the same record for theirs.
    """
    if not keys_to_look_at(error) or state.sessions or state.phase not in _UNTAKEN:
        return False
    is_twin = isinstance(error, RefusedError) and error.reason == Refusal.SAME_NODE
    return is_twin or _is_as_made(state.metadata)


def _is_as_made(metadata: Metadata) -> bool:
    """Whether the copy is as ``init`` made it, or as one that holds nothing was made in its place."""
    if metadata.proposed or metadata.heard is not None:
        return False
    if metadata.copy is Copy.MEMBER:
        return metadata.epoch == FIRST_EPOCH
    return metadata.copy is Copy.FAILED and metadata.in_doubt == metadata.revision
