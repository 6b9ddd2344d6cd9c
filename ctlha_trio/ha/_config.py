"""What a node must be told."""

import attrs


@attrs.frozen(kw_only=True)
class NodeConfig:
    """One node of a pair. Everything else comes from its disk, the arbiter and the peer."""

    cluster: str
    node: str
    """This node's id."""
    peer: str
    """The other node's id."""
    resource: str
    """The volume's name in the arbiter's record."""
    listen: str
    """Address of this node's link."""
    peer_address: str
    volume_path: str
    """The backing file, as the disk seam names it."""
    size_bytes: int
    """Of the volume."""
    notes: tuple[str, ...] = ()
    """What is true of the set-up but no fault, for ``status``."""
