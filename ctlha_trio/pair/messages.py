"""What the two nodes say to each other about one resource, as typed values.

Each carries the epoch it was said in; one of another epoch is refused by name. The bytes are ``_codec``'s business, and
the data of ``MirrorWrite`` and ``CopyData`` is placed by DMA before the message is delivered.
"""

import attrs

from ctlha_trio.pair._operation import Operation, Outcome
from ctlha_trio.pair._phase import Phase
from ctlha_trio.wire import KnownRecord


@attrs.frozen
class Standing:
    """Where the sender stands. Said when a session begins and whenever it changes."""

    epoch: int
    """Of the record that the sender knows; 0 while it knows none."""
    revision: int
    phase: Phase
    partner: int
    """Incarnation of the peer that the sender mirrors with in this epoch; 0 for none."""
    lineage: str = ""
    """Of that record; empty while none is known."""
    leads: bool = False
    """Whether that record names the sender primary."""

    @property
    def knows(self) -> KnownRecord:
        """The record that the sender acts on."""
        return KnownRecord(self.lineage, self.epoch, self.revision, self.leads)


@attrs.frozen
class Resumed:
    """Secondary to primary after a flap: everything up to ``last_sequence`` is durable here, nothing after it came."""

    epoch: int
    last_sequence: int


@attrs.frozen
class MirrorWrite:
    """A client's write, in the primary's order."""

    epoch: int
    sequence: int
    previous: int
    """Sequence of the write before it; 0 for the first. One that does not follow on what came last is not executed."""
    settled: int
    """Every write before this sequence is durable on both."""
    offset: int
    size: int


@attrs.frozen
class MirrorZeroes:
    """A client's write-zeroes or unmap, which are the same to a copy. Pushed, for it must not overtake writes."""

    epoch: int
    sequence: int
    previous: int
    """As of ``MirrorWrite``, here and below."""
    settled: int
    offset: int
    size: int


@attrs.frozen
class MirrorRecord:
    """A client's record."""

    epoch: int
    sequence: int
    previous: int
    settled: int
    size: int
    """Of the record as it is encoded, key and version included."""


@attrs.frozen
class Propose:
    """Secondary to primary: what a client of it wants to change. The data is placed before this is heard."""

    epoch: int
    number: int
    """Of the proposal; they rise within a process."""
    operation: Operation
    """Without the key of a record, which is in the data."""
    size: int
    """Of the data."""


@attrs.frozen
class Assigned:
    """Primary to secondary: the sequence of its proposal. As ``MirrorWrite``, of data that the secondary has."""

    epoch: int
    number: int
    sequence: int
    previous: int
    settled: int


@attrs.frozen
class Completed:
    """Primary to secondary: its proposal is durable on both."""

    epoch: int
    number: int


@attrs.frozen
class Unexecuted:
    """Primary to secondary: its proposal had no effect, and will have none."""

    epoch: int
    number: int
    outcome: Outcome
    miscompare_at: int
    """With MISCOMPARE, in bytes from the operation's offset; else 0."""


@attrs.frozen
class Applied:
    """The write or copy of that sequence is durable here."""

    epoch: int
    sequence: int


@attrs.frozen
class PermitRequest:
    """Member to member, by the driver of one that has reads: promise to acknowledge nothing without me."""

    epoch: int
    number: int
    """Tells requests of one process apart."""


@attrs.frozen
class Permit:
    """Promised, for ``PERMIT_S`` from when that request was sent. Taken by the driver, which knows when that was."""

    epoch: int
    number: int


@attrs.frozen
class SettledAsked:
    """Secondary to primary: say when everything up to this sequence is durable on both."""

    epoch: int
    sequence: int


@attrs.frozen
class Settled:
    """It is."""

    epoch: int
    sequence: int


@attrs.frozen
class ResyncStart:
    """The sole member offers its copy."""

    epoch: int
    proposal: str
    """Of the record that makes it the sole member: who knows another one of that epoch must not follow."""
    base_epoch: int = 0
    """From which the source counts what may differ; 0: not said, without ``Feature.COPY_ORIGINS``."""


@attrs.frozen
class InDoubt:
    """The target was forced from this very record, and that may still be applied: it follows the next one only."""

    epoch: int


@attrs.frozen
class ResyncReady:
    """The target has persisted that its copy is being overwritten, and has named its ``OwnRange``s before this."""

    epoch: int
    base_epoch: int
    """In which its copy was equal to the source's, but for what the two have marked since; 0 for none."""


@attrs.frozen
class OwnRange:
    """The target's copy may differ here by its own doing: it wrote what was never acknowledged, or crashed."""

    epoch: int
    offset: int
    size: int


@attrs.frozen
class ResyncBase:
    """The source has marked everything, and counts from this epoch: who is interrupted from here on can go on there."""

    epoch: int
    base_epoch: int


@attrs.frozen
class Compare:
    """Is your range the same as mine?"""

    epoch: int
    sequence: int
    offset: int
    size: int
    digest: bytes
    """BLAKE2b of the source's range, 32 bytes."""


@attrs.frozen
class Compared:
    """The answer to ``Compare``."""

    epoch: int
    sequence: int
    equal: bool


@attrs.frozen
class CopyData:
    """The source's range, for a target whose range differs."""

    epoch: int
    sequence: int
    offset: int
    size: int


@attrs.frozen
class Fetch:
    """Primary to secondary: blocks of mine are damaged, send me yours. The primary holds the range."""

    epoch: int
    sequence: int
    offset: int
    size: int


@attrs.frozen
class RepairData:
    """Whole blocks of the sender's copy, verified, for a receiver whose own are damaged."""

    epoch: int
    sequence: int
    offset: int
    size: int


OF_A_READ = 0
"""In place of a sequence: a client of the secondary wanted to read it."""


@attrs.frozen
class Damaged:
    """What was asked for with that sequence was not executed: blocks of it are damaged here.

    The answer of a secondary to ``MirrorWrite``, ``Compare`` and ``Fetch``; with ``OF_A_READ`` it asks for a repair.
    """

    epoch: int
    sequence: int
    offset: int
    """Of the first damaged blocks, in one piece."""
    size: int


@attrs.frozen
class Seal:
    """Nothing is left to copy and nothing is under way: take all records, and persist that your copy is whole."""

    epoch: int
    size: int
    """Of the records as they are encoded; 0 if there are none."""


@attrs.frozen
class Sealed:
    """It is persisted."""

    epoch: int


@attrs.frozen
class Admitted:
    """The swap to both members was won and persisted by the source."""

    epoch: int
    """Of the new record."""
    revision: int
    proposal: str


@attrs.frozen
class Joined:
    """The target has persisted that it is a member."""

    epoch: int


@attrs.frozen
class HandoverPrepare:
    """Primary to secondary: everything is drained; flush and persist."""

    epoch: int
    attempt: int
    """An answer to an attempt that was given up must not be taken for one to the next."""
    proposal: str
    """Of the swap that will make the receiver primary."""
    digest: bytes
    """BLAKE2b of the primary's records, 32 bytes."""


@attrs.frozen
class HandoverReady:
    """The secondary is ready to be primary, and proposes nothing more.

    Pushed, so that everything that it has pushed comes before this: a ring takes nothing of an epoch that is over.
    """

    epoch: int
    attempt: int


@attrs.frozen
class RecordsDiffer:
    """The secondary does not hold the same records, and must not be primary."""

    epoch: int
    attempt: int


@attrs.frozen
class HandoverDone:
    """The swap that makes the receiver primary was won and persisted by the sender."""

    epoch: int
    """Of the new record."""
    revision: int
    proposal: str


@attrs.frozen
class Refused:
    """A message of another epoch, or one that does not fit the receiver's phase, was not executed."""

    epoch: int
    """The receiver's."""
    stale_epoch: int
    """The refused message's."""


Message = (
    Standing
    | Resumed
    | MirrorWrite
    | MirrorZeroes
    | MirrorRecord
    | Propose
    | Assigned
    | Completed
    | Unexecuted
    | Applied
    | PermitRequest
    | Permit
    | SettledAsked
    | Settled
    | ResyncStart
    | InDoubt
    | ResyncReady
    | OwnRange
    | ResyncBase
    | Compare
    | Compared
    | CopyData
    | Fetch
    | RepairData
    | Damaged
    | Seal
    | Sealed
    | Admitted
    | Joined
    | HandoverPrepare
    | HandoverReady
    | RecordsDiffer
    | HandoverDone
    | Refused
)
