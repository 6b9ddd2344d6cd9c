"""What a channel tells its consumer, and who the peer of a session is."""

from collections.abc import Callable
from enum import Enum

import attrs

from ctlha_trio._vocabulary import ctl_ha_event, ctl_ha_status
from ctlha_trio.wire import Terms


class LossReason(Enum):
    """Why a session ended."""

    CLOSED = "closed"
    """The connection ended, was dropped here, or carried what the protocol does not allow; the detail says which."""
    DROPPED = "dropped"
    """The peer ended it for what it says of this side, which is the detail."""
    SILENT = "silent"
    """Nothing came for ``SILENCE_S``: the peer is suspected dead."""
    GOODBYE = "goodbye"
    """The peer took its leave; the detail is the reason that it gave."""
    REPLACED = "replaced"
    """A newer connection of the peer took over."""


@attrs.frozen(kw_only=True)
class SessionInfo:
    """The session with the peer, as the hello agreed on it."""

    session: int
    peer_incarnation: int
    """Random for each process of the peer."""
    peer_epoch: int
    """The latest that the peer announced, in the hello or since."""
    peer_revision: int
    """Of the arbiter's record, as the peer knew it at the hello."""
    version: int
    """Of the protocol, which both sides speak in this session."""
    terms: Terms
    """What both sides keep."""
    same_version: bool
    """Whether the peer speaks exactly the versions of the protocol that this node does."""
    address: str
    """Of the other side, for logs."""


@attrs.frozen(kw_only=True)
class Connected:
    """A session began; the first event of it."""

    session: int
    peer_incarnation: int
    peer_epoch: int
    peer_revision: int


@attrs.frozen
class EventRange:
    """``count`` equal events in a row."""

    event: ctl_ha_event
    count: int
    param: int
    """MSG_RECV: size of each message in bytes. MSG_SENT: the ``ctl_ha_status`` of each message."""


@attrs.frozen
class Disconnected:
    """The session ended; the last event of it."""

    reason: LossReason
    detail: str


ChannelEvent = Connected | EventRange | Disconnected

OnSettled = Callable[[ctl_ha_status], None]
"""Told once what became of a message: SUCCESS, or DISCONNECT. Synchronous; must not raise."""
Hear = Callable[[ChannelEvent], None]
"""Given each event as it comes, in whatever task receives for the session, or writes. Synchronous; must not raise. It
may end the session."""
HearReceived = Callable[[int], None]
"""Given the number of messages that have come, in place of their event. As ``Hear``."""


def unwatched(_: ctl_ha_status) -> None:
    """``on_settled`` of a message whose sender does not want to know: no event, and no call."""
