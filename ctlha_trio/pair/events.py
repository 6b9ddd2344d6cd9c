"""Everything that can happen to the pair core. Times are named timers, never clock values; data is never here."""

from enum import Enum

import attrs

from ctlha_trio.pair._metadata import Metadata
from ctlha_trio.pair._operation import Operation
from ctlha_trio.pair._record import NodeId, Record, SwapOutcome
from ctlha_trio.pair.messages import Message


class Timer(Enum):
    """The core's timers, each with its duration in seconds."""

    PEER_WAIT = "peer-wait"
    """A member that boots waits this long for the other one before it goes on alone."""
    CLAIM = "claim"
    """Between losing the session and claiming; 0 fires at once."""
    ARBITER_RETRY = "arbiter-retry"
    RECORD_POLL = "record-poll"
    HANDOVER_LIMIT = "handover-limit"


class Loss(Enum):
    """How the session ended."""

    CLOSED = "closed"
    SILENT = "silent"
    GOODBYE = "goodbye"


@attrs.frozen
class RecordRead:
    """The arbiter answered a read."""

    record: Record
    revision: int


@attrs.frozen
class ReadFailed:
    """The arbiter could not be read."""


@attrs.frozen
class Swapped:
    """The arbiter answered a swap, or did not in time."""

    proposal: str
    outcome: SwapOutcome
    revision: int | None = None


@attrs.frozen
class SessionUp:
    """A session with the peer is agreed. Comes only after the loss of the one before."""

    incarnation: int
    """The peer's."""


@attrs.frozen
class SessionLost:
    """The session is over; every message of it was delivered before this."""

    loss: Loss


@attrs.frozen
class Received:
    """A message of the current session. The data that it speaks of has been placed."""

    message: Message


@attrs.frozen
class TimerFired:
    """A timer that was set and not cancelled ran out."""

    timer: Timer


@attrs.frozen
class Submitted:
    """A client wants an operation. ``ticket`` names it until its ``Answer``."""

    ticket: int
    operation: Operation


@attrs.frozen
class Stored:
    """The write or copy of that sequence is durable on this node's disk."""

    sequence: int


@attrs.frozen
class Fetched:
    """The data of a read was read from this node's disk."""

    sequence: int


@attrs.frozen
class StoredCompared:
    """A range of this node's disk was compared with what a client expects of it."""

    sequence: int
    miscompare_at: int | None
    """The first byte that differs, from the operation's offset; None if none does."""


@attrs.frozen
class RecordsCompared:
    """The records of this node's disk were compared with the peer's, for an attempt at a handover."""

    attempt: int
    equal: bool


@attrs.frozen
class RangeCompared:
    """The target compared its range with the source's digest."""

    session: int
    """Which session asked: sequences of a source that restarted begin anew."""
    sequence: int
    equal: bool


@attrs.frozen
class DirtyFound:
    """The first range, from where the search began, that is marked; ``size`` is 0 if none is."""

    search: int
    offset: int = 0
    size: int = 0


@attrs.frozen
class Persisted:
    """The metadata is durable, and with it everything stored before."""

    metadata: Metadata


@attrs.frozen
class StoreFailed:
    """The disk failed: this copy is dead."""


@attrs.frozen
class HandoverAsked:
    """An operator, or the policy, wants the peer to be primary."""


@attrs.frozen
class ForceAsked:
    """A person says that the other node is powered off, and wants this one to be the only one that counts."""

    abandon: NodeId
    lineage: str
    """Random: of the line that begins."""
    revision: int
    """Of the record that the person has seen."""


@attrs.frozen
class StopAsked:
    """This node is to leave."""

    reason: str


Event = (
    RecordRead
    | ReadFailed
    | Swapped
    | SessionUp
    | SessionLost
    | Received
    | TimerFired
    | Submitted
    | Stored
    | Fetched
    | StoredCompared
    | RecordsCompared
    | RangeCompared
    | DirtyFound
    | Persisted
    | StoreFailed
    | HandoverAsked
    | ForceAsked
    | StopAsked
)
