"""Everything that can happen to the pair core. Times are named timers, never clock values; data is never here."""

from enum import Enum
from typing import Final

import attrs

from ctlha_trio.pair._metadata import Metadata
from ctlha_trio.pair._operation import Operation
from ctlha_trio.pair._range import Range
from ctlha_trio.pair._record import NodeId, Record, SwapOutcome
from ctlha_trio.pair.messages import Message
from ctlha_trio.wire import KnownRecord


class Timer(Enum):
    """The core's timers, each with its duration in seconds."""

    PEER_WAIT = "peer-wait"
    """A member that boots waits this long for the other one before it goes on alone."""
    CLAIM = "claim"
    """Between losing the session and claiming; 0 fires at once."""
    ARBITER_RETRY = "arbiter-retry"
    RECORD_POLL = "record-poll"
    HANDOVER_LIMIT = "handover-limit"
    VERIFY_REST = "verify-rest"
    RESYNC_REST = "resync-rest"
    RESYNC_RETRY = "resync-retry"
    PERMIT_OUT = "permit-out"
    """Since the latest permit was granted. Counted on a clock that does not run ahead of the peer's by more than
    ``CLOCKS_DIFFER``, whatever happens to other clocks."""


class Loss(Enum):
    """How the session ended."""

    CLOSED = "closed"
    SILENT = "silent"
    GOODBYE = "goodbye"


BEGUN_ANEW: Final = "the copy of the other node is begun anew"
"""Why a source ends the session with a target that refused a write, as it tells that one: nobody's fault."""


@attrs.frozen
class RecordRead:
    """The arbiter answered a read."""

    record: Record
    revision: int
    takes_changes: bool | None = None
    """Whether it does, where that was to be proved; else None."""


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
class PeerKnows:
    """The peer introduced itself, and said which record it has from the arbiter. A session may follow, or not."""

    record: KnownRecord


@attrs.frozen
class SessionLost:
    """The session is over; every message of it was delivered before this."""

    loss: Loss


@attrs.frozen
class Disowned:
    """The peer refused a session: another process with this node's identity lives, and is in session with it."""


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
    """The data of a read was read from this node's disk, while it held the permit that the read needed."""

    fetch: int


@attrs.frozen
class StoredCompared:
    """A range of this node's disk was read and compared with what a client expects of it."""

    fetch: int
    miscompare_at: int | None
    """The first byte that differs, from the operation's offset; None if none does."""


@attrs.frozen
class RecordsCompared:
    """The records of this node's disk were compared with the peer's, for an attempt at a handover."""

    attempt: int
    proposal: str
    """Of the swap that will make this node primary."""
    equal: bool


@attrs.frozen
class RangeCompared:
    """The target compared its range with the source's digest."""

    session: int
    """Which session asked: sequences of a source that restarted begin anew."""
    sequence: int
    equal: bool


@attrs.frozen
class RoomChecked:
    """Which of these puts have no room."""

    tickets: tuple[int, ...]
    refused: tuple[int, ...]


@attrs.frozen
class Damaged:
    """What the core ordered of this disk with that sequence had no effect: blocks are not what was written there last.

    The disk lives. These are the first such blocks in the range, in one piece: whole blocks, also for a part of one.
    While writes are marked, the range of one that was not executed is, durably: the peer may have executed it.
    """

    sequence: int
    offset: int
    size: int


@attrs.frozen
class ReadDamaged:
    """The same, of what a read was to fetch."""

    fetch: int
    offset: int
    size: int


@attrs.frozen
class RangeDamaged:
    """The same, of a range that was to be compared or pushed for the peer."""

    session: int
    """Which session asked."""
    sequence: int
    offset: int
    size: int


@attrs.frozen
class DirtyFound:
    """Marked ranges from where the search began, in order and none left out between them; none: nothing is marked."""

    search: int
    ranges: tuple[Range, ...] = ()


@attrs.frozen
class Persisted:
    """The metadata is durable, and with it everything stored before."""

    metadata: Metadata


@attrs.frozen
class StoreFailed:
    """The disk failed: this copy is dead."""


@attrs.frozen
class AdmissionHeld:
    """The supervisor wants a peer that returns to become no member yet, or (not ``held``) lets it."""

    held: bool


@attrs.frozen
class HandoverAsked:
    """An operator, or the policy, wants the peer to be primary."""


@attrs.frozen
class VerifyAsked:
    """Somebody wants the two copies compared.

    One that runs goes on; one that was interrupted goes on where it was, if the peer still runs and neither copy was
    filled anew.
    """


@attrs.frozen
class ForceAsked:
    """A person knows that the other node is off or fenced, and wants this one to be the only one that counts."""

    abandon: NodeId
    lineage: str
    """Random: of the line that begins."""
    revision: int
    """Of the record that the person has seen."""
    evidence: str = ""
    """That the other node was fenced, where that takes the place of what the person says."""


@attrs.frozen
class StopAsked:
    """This node is to leave."""

    reason: str


Event = (
    RecordRead
    | ReadFailed
    | Swapped
    | SessionUp
    | PeerKnows
    | SessionLost
    | Disowned
    | Received
    | TimerFired
    | Submitted
    | Stored
    | Fetched
    | StoredCompared
    | RecordsCompared
    | RoomChecked
    | RangeCompared
    | Damaged
    | ReadDamaged
    | RangeDamaged
    | DirtyFound
    | Persisted
    | StoreFailed
    | AdmissionHeld
    | HandoverAsked
    | VerifyAsked
    | ForceAsked
    | StopAsked
)
