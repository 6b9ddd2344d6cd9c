"""What one node of the pair says to the other: the core's messages, those of the drivers, and what is pushed with data.

The drivers exchange ``Grant``, where pushed data may be placed, ``Kept``, ``ComponentsReady``, ``ResyncLeft``,
``Setting`` and ``DataFaultTold``.
"""

from enum import Enum
from typing import Final

import attrs

from ctlha_trio.pair import messages as msg

SECONDS_MAX: Final = (1 << 32) - 1
"""Of a time in a message."""
SETTING_NAME_MAX: Final = 40
"""Characters of the name of a setting, and below of its value: each is printable ASCII."""
SETTING_VALUE_MAX: Final = 80


@attrs.frozen
class Grant:
    """The peer may push data of this epoch into this node's ring."""

    epoch: int
    key: bytes = attrs.field(repr=False)
    """16 bytes."""
    size: int
    """Of the ring, bytes."""


@attrs.frozen
class Kept:
    """The data of the peer's proposal of that number is kept: its place in this node's ring is free."""

    epoch: int
    number: int


@attrs.frozen
class ComponentsReady:
    """What the sender has to tell of its components, and of the role that moves for them."""

    ready: bool
    """Every one runs beside the receiver, so that the sender could take over at once."""
    taken_s: int
    """Since the role came from the receiver to the sender's process; ``SECONDS_MAX`` for never, or that long ago."""
    hold_down_s: int
    """For how long the sender holds a role that came to it last."""


@attrs.frozen
class ResyncLeft:
    """Source to target: how much of the resync in this epoch is left, and how fast it went lately."""

    epoch: int
    left_bytes: int
    """To be compared, and to be copied where it differs."""
    bytes_per_s: int
    """0: not known."""
    blocked: bool
    """Some of it is damaged at the source: until clients have written that anew, the receiver cannot be a member."""


@attrs.frozen
class Setting:
    """What the sender's configuration says of something that both are to say alike. Needs ``Feature.SETTINGS``."""

    name: str
    """As the configuration has it. One that the receiver does not know is of a later version, or of an earlier one."""
    value: str
    """Empty where the configuration says nothing and there is no default."""


class DataFault(Enum):
    """What may be wrong with the data, or with a disk that holds it."""

    BLOCKS_LOST = 1
    """Of a range: each block in it is damaged on every copy that counts, or was and was written anew."""
    MORE_BLOCKS_LOST = 2
    """Such as the sender does not tell, or does not know, by their places."""
    COPIES_DIFFER = 3
    """Both are whole, and they are not the same."""
    DISK_FAILING = 4
    """The sender's: it loses block after block, or the file on it was removed."""


@attrs.frozen
class DataFaultTold:
    """Whether that is so. All but ``DISK_FAILING`` the primary tells. Needs ``Feature.DATA_FAULTS``."""

    epoch: int
    fault: DataFault
    is_so: bool
    offset: int
    """Of ``BLOCKS_LOST``, as the size; 0 of the others."""
    size: int


PushedMessage = (
    msg.MirrorWrite
    | msg.MirrorZeroes
    | msg.MirrorRecord
    | msg.Propose
    | msg.Assigned
    | msg.CopyData
    | msg.RepairData
    | msg.Seal
    | msg.HandoverReady
)
_WithoutData = msg.MirrorZeroes | msg.Assigned | msg.HandoverReady


def pushed_bytes(message: PushedMessage) -> int:
    """How much data goes with a message. Never none: by a byte, what has no data keeps its place among the pushes."""
    return 1 if isinstance(message, _WithoutData) else max(1, message.size)


@attrs.frozen
class Pushed:
    """A message whose data lies in the ring granted to its sender."""

    message: PushedMessage
    ring_offset: int


OfDrivers = Grant | Kept | ComponentsReady | ResyncLeft | Setting | DataFaultTold
Spoken = msg.Message | OfDrivers | Pushed
