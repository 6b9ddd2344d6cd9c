"""Who the two ends of a link are."""

import attrs


@attrs.frozen(kw_only=True)
class LinkConfig:
    """One node's view of its link. Names come from the node's configuration and are compared exactly."""

    cluster: str
    node: str
    """This node's id."""
    peer: str
    """The other node's id; the smaller of the two is the preferred dialler."""
    resource: str
    size_bytes: int = 0
    """Of the resource's volume; both nodes must say the same."""
    listen: str
    """Address to bind."""
    peer_address: str
    """Address to dial."""
