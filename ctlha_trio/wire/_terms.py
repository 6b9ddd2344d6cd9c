"""What each side of a session states before it is live, since version 2: what it can do, and how much it takes.

A hello is read before the version is known, so it stays as it is for ever. What comes to be negotiated goes here.
"""

from enum import IntFlag

import attrs

from ctlha_trio._errors import RemoteProtocolError
from ctlha_trio.wire._frame import FRAGMENT_SIZE_MAX, TERMS_BODY, Bytes, Fault
from ctlha_trio.wire._hello import Refusal

TERMS_VERSION = 2
"""The first version in which they are stated."""
FRAGMENT_SIZE_MIN = 4096
"""What everybody takes. A peer could otherwise have each byte sent in a frame of its own."""


class Feature(IntFlag):
    """What may be done in a session. The lower half is optional: it is done if both state it, and ignored if unknown.

    The upper half is mandatory: who states one of it demands it, and there is no session with who does not.
    """

    NONE = 0
    HEARTBEAT_LATENESS = 1
    """Each heartbeat says how late it was written."""
    DROP_REASONS = 2
    """Who drops a session says why by DROP, if that can be sent at once. To the other side the connection has closed; a
    planned stop says GOODBYE."""
    SETTINGS = 4
    """On the pair's channel each tells what its configuration says of what both are to say alike."""
    SUPERSEDED = 8
    """A primary says that it does not execute what is older than what its client has asked for there."""
    DATA_FAULTS = 16
    """On the pair's channel each tells what is wrong with the data, and with its disk."""
    CHANGED_REPLIES = 32
    """Data of a reply that is not what its checksum says ends its pull and not the session: memory is sent as it lies,
    and was changed on its way out."""
    COPY_ORIGINS = 64
    """Who offers its copy to the other node says from which epoch it counts what may differ."""


MANDATORY = 0xFFFF_FFFF_0000_0000


@attrs.frozen
class Terms:
    """Of one side; or those that both keep."""

    features: int
    """Bits of ``Feature``, and of others that are not known here."""
    fragment_size: int
    """Bytes of data that one frame of a push may carry to this side."""

    def has(self, feature: Feature) -> bool:
        """Whether that is among them."""
        return bool(self.features & feature)


TERMS_OF_VERSION_1 = Terms(Feature.NONE, 256 * 1024)
"""What holds where none are stated."""
OWN_TERMS = Terms(
    Feature.HEARTBEAT_LATENESS
    | Feature.DROP_REASONS
    | Feature.SETTINGS
    | Feature.SUPERSEDED
    | Feature.DATA_FAULTS
    | Feature.CHANGED_REPLIES
    | Feature.COPY_ORIGINS,
    FRAGMENT_SIZE_MAX,
)


def encode_terms(terms: Terms) -> bytes:
    """The payload of TERMS."""
    return TERMS_BODY.pack(terms.features, terms.fragment_size)


def decode_terms(payload: Bytes) -> Terms:
    """The terms in a TERMS. ``RemoteProtocolError`` for such as nobody can keep."""
    features, fragment_size = TERMS_BODY.unpack(payload)
    if fragment_size < FRAGMENT_SIZE_MIN:
        raise RemoteProtocolError(Fault.TERMS.value, f"fragments of {fragment_size} bytes at most")
    return Terms(features, fragment_size)


def judge_terms(one: Terms, other: Terms) -> Refusal | None:
    """Why there can be no session under both; None if there can. The same whichever side asks."""
    return Refusal.FEATURE if (one.features ^ other.features) & MANDATORY else None


def agree_terms(one: Terms, other: Terms) -> Terms:
    """What both keep. The same whichever side asks."""
    return Terms(one.features & other.features, min(one.fragment_size, other.fragment_size))
