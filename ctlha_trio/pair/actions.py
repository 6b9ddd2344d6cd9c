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
from ctlha_trio.pair._range import Range
from ctlha_trio.pair._record import Record
from ctlha_trio.pair.events import Timer
from ctlha_trio.pair.messages import Message


@attrs.frozen
class ReadRecord:
    """Ask the arbiter; answered by ``RecordRead`` or ``ReadFailed``."""


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

    What was marked stays so if it counts from the same epoch, and is forgotten otherwise. Durable before any
    ``Persist`` ordered after it, as are ``MarkDirty`` and ``StopTracking``.
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
    """Push the data of a client's write with its ``MirrorWrite``."""

    epoch: int
    sequence: int
    previous: int
    settled: int
    ticket: int
    operation: Operation


@attrs.frozen
class PushProposal:
    """Push the data of a client's write with its ``Propose``."""

    epoch: int
    number: int
    ticket: int
    operation: Operation


@attrs.frozen
class PushAssigned:
    """Say ``Assigned`` in the order of the pushes."""

    epoch: int
    number: int
    sequence: int
    previous: int
    settled: int


@attrs.frozen
class StoreProposed:
    """Write the data that came with the proposal of that number, durably; answered by ``Stored``.

    The data is kept until no operation under way is of that proposal.
    """

    sequence: int
    number: int
    offset: int
    size: int


@attrs.frozen
class StoreWrite:
    """Write a client's data here, durably; answered by ``Stored``."""

    sequence: int
    ticket: int
    operation: Operation


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
class FetchRead:
    """Read a client's data here; answered by ``Fetched``. The data is kept until the ``Answer``.

    With an ``epoch``, only under a live permit of that epoch and of the current session, which is looked at again when
    the data was read: until there is one, the read waits. Void when the session ends or the epoch changes.
    """

    fetch: int
    ticket: int
    operation: Operation
    epoch: int
    """0 if it needs no permit."""


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
    """The handover that was asked for is over; ``problem`` is empty if the peer is primary now."""

    problem: str


@attrs.frozen
class ForceEnded:
    """What a person wanted to force is over; ``problem`` is empty if the arbiter has taken it."""

    problem: str


@attrs.frozen
class ReportMediumError:
    """Blocks are damaged on every copy that counts. They stay so until they are written anew."""

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
class Goodbye:
    """Tell the peer that this node leaves the pair, and why; no session after it."""

    reason: str


Action = (
    ReadRecord
    | Swap
    | Persist
    | Track
    | MarkDirty
    | FindDirty
    | ClearDirty
    | StopTracking
    | SendReady
    | Send
    | PushWrite
    | PushProposal
    | PushAssigned
    | StoreProposed
    | StoreWrite
    | StoreMirrored
    | StoreRepair
    | PushRange
    | FetchRead
    | SendCompare
    | CompareRange
    | PushCopy
    | Answer
    | SetTimer
    | CancelTimer
    | Moved
    | HandoverEnded
    | ForceEnded
    | ReportMediumError
    | VerificationEnded
    | CondemnCopy
    | Goodbye
)
