"""Everything that the pair core orders.

The driver says and pushes in the order given, calls the arbiter in that order, and persists in that order. Calls of
the disk for operations run side by side: two that would conflict are never ordered at once. Each call of disk or
arbiter is answered by an event, a call that reads or writes blocks also by ``Damaged``. What must be durable before
something else happens is ordered only after its event has come: persist before send is in the data, not in the driver.
"""

import attrs

from ctlha_trio.pair._metadata import Metadata
from ctlha_trio.pair._operation import Operation, Outcome
from ctlha_trio.pair._phase import Phase
from ctlha_trio.pair._plan import Setback
from ctlha_trio.pair._range import Range
from ctlha_trio.pair._record import Record
from ctlha_trio.pair.events import Timer
from ctlha_trio.pair.messages import Assigned, HandoverReady, Message


@attrs.frozen
class ReadRecord:
    """Ask the arbiter; answered by ``RecordRead`` or ``ReadFailed``."""

    proves: bool = False
    """Find out, too, whether it takes changes, by a write that changes nothing."""


@attrs.frozen
class Swap:
    """Propose a record to the arbiter; answered by ``Swapped``."""

    expected_revision: int
    record: Record


@attrs.frozen
class Persist:
    """Make everything stored so far, then the metadata, durable; answered by ``Persisted``."""

    metadata: Metadata


@attrs.frozen
class Track:
    """Mark every write from now on, and these ranges, as what may differ from the peer's copy since ``base_epoch``.

    Also a write that has no effect here, before that is told. What was marked stays if it counts from the same epoch,
    else it is forgotten. Durable before any ``Persist`` ordered after it, as are ``MarkDirty`` and ``StopTracking``.
    """

    base_epoch: int
    ranges: tuple[Range, ...]


@attrs.frozen
class MarkDirty:
    """Mark these ranges, from whatever epoch it is counted."""

    ranges: tuple[Range, ...]


@attrs.frozen
class FindDirty:
    """Find the first marked ranges from an offset on, behind all marks and writes ordered; then ``DirtyFound``.

    Behind the writes, so that copies do not run far ahead of them: what they leave on one copy alone, should both nodes
    crash, is to be found in the other's activity log.
    """

    search: int
    offset: int


@attrs.frozen
class ClearDirty:
    """The range is equal on both copies: take its marks away. Nothing is being written to it."""

    offset: int
    size: int


@attrs.frozen
class StopTracking:
    """Forget all marks and mark nothing more: the copies are equal, and both nodes have persisted that they are."""


@attrs.frozen
class SendReady:
    """Say an ``OwnRange`` for each marked range, fewer than ``RANGES_LIMIT``, then ``ResyncReady``.

    If there are more, only ``ResyncReady``, with 0 for the base.
    """

    epoch: int
    base_epoch: int


@attrs.frozen
class Send:
    """Say this in the current session; silently lost if the session is."""

    message: Message


@attrs.frozen
class PushWrite:
    """Push ``MirrorWrite`` with its data, ``MirrorRecord`` of the version that this names, or ``MirrorZeroes``."""

    epoch: int
    sequence: int
    previous: int
    settled: int
    ticket: int
    operation: Operation


@attrs.frozen
class PushProposal:
    """Push what a client wants to change, and what it compares with, with its ``Propose``."""

    epoch: int
    number: int
    ticket: int
    operation: Operation


@attrs.frozen
class PushAssigned:
    """Say this in its place among the pushes."""

    message: Assigned


@attrs.frozen
class PushReady:
    """Say this behind everything that was pushed."""

    message: HandoverReady


@attrs.frozen
class PushSeal:
    """Push all records with a ``Seal``."""

    epoch: int


@attrs.frozen
class SendPrepare:
    """Say ``HandoverPrepare`` with the digest of this disk's records."""

    epoch: int
    attempt: int
    proposal: str


@attrs.frozen
class StoreWrite:
    """Write a client's data, or zeros, here, durably; answered by ``Stored``."""

    sequence: int
    ticket: int
    operation: Operation
    taken: int = 0
    """Number of the peer's proposal that it is, as below: its data is kept while one under way is of it. 0 if none."""


@attrs.frozen
class StoreMirrored:
    """Write the data that came with this message, durably; answered by ``Stored``."""

    sequence: int
    offset: int
    size: int


@attrs.frozen
class StoreRepair:
    """Write the whole blocks that came with this message, durably; answered by ``Stored``.

    A power cut leaves each block as it was, new, or damaged, and nothing may take that damage for a write under way.
    """

    sequence: int
    offset: int
    size: int


@attrs.frozen
class PushRange:
    """Read the range and push it with its ``RepairData``; ``RangeDamaged`` of the same session if it is not whole."""

    session: int
    epoch: int
    sequence: int
    offset: int
    size: int


@attrs.frozen
class StoreZeroes:
    """Write zeros, durably; answered by ``Stored``."""

    sequence: int
    offset: int
    size: int


@attrs.frozen
class StoreRecord:
    """Put a client's record here, durably; answered by ``Stored``. Epoch and sequence are its version."""

    epoch: int
    sequence: int
    ticket: int
    operation: Operation
    taken: int = 0


@attrs.frozen
class StoreMirroredRecord:
    """Put the record that came with this message, durably; answered by ``Stored``."""

    sequence: int


@attrs.frozen
class ReplaceRecords:
    """Make the records that came with this message the only ones. Durable before any ``Persist`` ordered after it."""


@attrs.frozen
class CompareRecords:
    """Compare the digest of this disk's records with this one; answered by ``RecordsCompared``."""

    attempt: int
    proposal: str
    """Comes back with the answer."""
    digest: bytes


@attrs.frozen
class CheckRoom:
    """Find out which of these clients' puts have room beside all records, and beside each other; then ``RoomChecked``.

    They were accepted while another node was primary, which alone knew what else it had accepted.
    """

    tickets: tuple[int, ...]
    """In the order in which they were asked for."""


@attrs.frozen
class FetchRead:
    """Read a client's data, all records, or what is to be compared, here; the data is kept until the ``Answer``.

    Answered by ``Fetched``, or by ``StoredCompared`` where a client says what it expects. With an ``epoch``, only if a
    permit of that epoch and of the current session is live when the data was read, or was granted to a request sent
    since this order: until then, the read waits. Void when the session ends or the epoch changes.
    """

    fetch: int
    ticket: int
    operation: Operation
    epoch: int
    """0 if it needs no permit."""
    taken: int = 0


@attrs.frozen
class SendCompare:
    """Read the range and send ``Compare`` with its digest; answered by the peer's ``Compared``, or by ``Damaged``."""

    epoch: int
    sequence: int
    offset: int
    size: int
    keep: bool = True
    """For a ``PushCopy``, until the answer."""


@attrs.frozen
class CompareRange:
    """Read the range and compare its digest; answered by ``RangeCompared``, or ``RangeDamaged``, of that session."""

    session: int
    sequence: int
    offset: int
    size: int
    digest: bytes


@attrs.frozen
class PushCopy:
    """Push the range kept by ``SendCompare`` with its ``CopyData``."""

    epoch: int
    sequence: int
    offset: int
    size: int


@attrs.frozen
class Answer:
    """Tell the client. With DONE for a read, its data."""

    ticket: int
    outcome: Outcome
    miscompare_at: int | None = None
    """With MISCOMPARE, in bytes from the operation's offset, the first that is not what the client expects."""


@attrs.frozen
class SetTimer:
    """Start or restart a timer."""

    timer: Timer
    delay_s: float


@attrs.frozen
class CancelTimer:
    """Make sure that the timer does not fire."""

    timer: Timer


@attrs.frozen
class Moved:
    """The phase or the epoch changed: for the supervisor, the status and the log."""

    phase: Phase
    epoch: int
    why: str


@attrs.frozen
class HandoverEnded:
    """The handover that was asked for is over; ``problem`` is empty if the arbiter has taken it."""

    problem: str
    setback: Setback | None = None
    """Names the problem, if it is of the closed list."""
    unknown: bool = False
    """It may have been taken, or may be yet."""


@attrs.frozen
class ForceEnded:
    """What a person wanted to force is over; ``problem`` is empty if the arbiter has taken it."""

    problem: str


@attrs.frozen
class ReportMediumError:
    """Blocks are damaged on every copy that counts. They stay so until they are written anew, or can be read."""

    offset: int
    size: int


@attrs.frozen
class VerificationEnded:
    """The comparison of the two copies is over; ``problem`` is empty if everything was compared."""

    problem: str


@attrs.frozen
class CondemnCopy:
    """Try to mark the copy on the failed disk as dead. Nothing waits for it."""

    metadata: Metadata


@attrs.frozen
class DropSession:
    """End the session; the next one begins anew. ``blames_peer``: it said what no peer that keeps the protocol says."""

    reason: str
    blames_peer: bool = True


@attrs.frozen
class Goodbye:
    """Tell the peer that this node leaves the pair, and why; no session after it."""

    reason: str


Action = (
    ReadRecord | Swap | Persist | Track | MarkDirty | FindDirty | ClearDirty | StopTracking
    | SendReady | Send | PushWrite | PushProposal | PushAssigned | PushReady | StoreWrite
    | StoreMirrored | StoreRepair | PushRange | StoreZeroes | StoreRecord | StoreMirroredRecord
    | ReplaceRecords | CompareRecords | CheckRoom | PushSeal | SendPrepare | FetchRead
    | SendCompare | CompareRange | PushCopy | Answer | SetTimer | CancelTimer | Moved
    | HandoverEnded | ForceEnded | ReportMediumError | VerificationEnded | CondemnCopy | DropSession | Goodbye
)  # fmt: skip
