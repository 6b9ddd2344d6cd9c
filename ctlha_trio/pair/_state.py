"""The state of one node's pair core: immutable and hashable, so that it can be explored and compared."""

from enum import Enum

import attrs

from ctlha_trio.pair._metadata import Metadata
from ctlha_trio.pair._operation import CHANGING, READING, WRITING, Operation, OperationKind
from ctlha_trio.pair._phase import Phase
from ctlha_trio.pair._record import NodeId, Record
from ctlha_trio.pair.messages import Standing

COPY_CHUNK_BYTES = 1 << 20
"""One range of a resync: large enough that the round trip does not count, small enough that a client waits only
milliseconds for a range under copy."""
COPIES_AT_ONCE = 32
"""Ranges that are compared and copied side by side: what small ones cost is round trips and flushes."""
COPY_BYTES_AT_ONCE = 4 * COPY_CHUNK_BYTES
"""Of those ranges. Half of the ring into which they are pushed stays free for what clients write."""
FLIGHTS_LIMIT = 128
"""Operations accepted and not yet answered. The driver keeps clients waiting beyond it. Half of the extents in the
activity log of a store: a write touches two at most, so that what a crash leaves on one copy only is in the log."""
RANGES_LIMIT = 3 * FLIGHTS_LIMIT
"""Ranges that a returning node names as its own; one that has more is copied whole. It has those of a full activity
log, and those of its last operations."""
RANGE_UNIT_BYTES = 64 * 1024
"""A range of a resync begins and ends at multiples of it: the dirty bitmap's unit, and whole blocks of any store."""


Range = tuple[int, int]
"""Offset and size in bytes of a range of the volume."""


class Stage(Enum):
    """The step within a phase that has several; each is left only by its own event."""

    NONE = "none"
    DRAINING = "draining"
    """Waits for what is under way to end."""
    COMPARING = "comparing"
    """Waits for its own records to be compared with those of the peer."""
    ASKING = "asking"
    """Waits for the peer's readiness."""
    PERSISTING = "persisting"
    """Waits for its own disk, before the swap."""
    SWAPPING = "swapping"
    """Waits for the arbiter."""
    RECORDING = "recording"
    """The swap was won: waits for its own disk."""
    TELLING = "telling"
    """Waits for the peer to have persisted the new record."""


@attrs.frozen
class SwapAttempt:
    """A proposal whose outcome decides what this node is."""

    expected_revision: int
    record: Record
    calling: bool
    """A call is under way. Without one, the next read of the record decides."""
    doubtful: bool = False
    """Some call may have been applied, or be applied later."""


@attrs.frozen
class Mirrored:
    """A write taken from the primary."""

    sequence: int
    where: Range


@attrs.frozen
class Flight:
    """An operation between its acceptance and its end."""

    ticket: int
    """Names the client's operation; 0 for the pair's own."""
    operation: Operation
    sequence: int = 0
    """Given when it starts; 0 before."""
    here: bool = False
    """Durable on this disk, or read from it; for a copy: the target has compared."""
    there: bool = False
    """Durable on the peer's disk, or not wanted there."""
    probe: int = 0
    """For a read of a member: the probe that must come back first."""
    answered: bool = False
    equal: bool = False
    """A compare-and-write found what it expects: it is a write from here on, with a sequence of its own."""
    miscompare_at: int | None = None
    """A compare-and-write found something else, first here, in bytes from its offset."""

    @property
    def is_write(self) -> bool:
        """Whether it is changing something: what of it lasts if this node stops is not known."""
        kind = self.operation.kind
        return bool(self.sequence) and kind in WRITING and (self.equal or kind is not OperationKind.COMPARE_AND_WRITE)

    @property
    def is_read(self) -> bool:
        """Whether what it tells its client must be shown not to be stale, in which it is like a read."""
        kind = self.operation.kind
        return kind in READING or (kind is OperationKind.COMPARE_AND_WRITE and not self.equal)

    @property
    def unsettled(self) -> bool:
        """Whether it is a write of which the two copies of the volume may hold different things.

        Records are not marked: a node that returns is sent them all.
        """
        return self.is_write and self.operation.kind in CHANGING and not (self.here and self.there)


@attrs.frozen
class Resync:
    """How far the copy for the returning peer has come."""

    cursor: int = 0
    """Everything below, in bytes, is equal, copied or being copied; a write below goes to both."""
    whole: bool = False
    """Everything was ordered to be marked, and the target does not know yet that it is."""
    search: int = 0
    """The number of the search for the next dirty range that is under way; 0 for none."""
    unseen: tuple[Range, ...] = ()
    """Writes beyond the cursor that were under way at some time of that search: it may have missed them."""
    paused: bool = False
    """The arbiter certainly did not take the admission: try again later, and serve meanwhile."""


@attrs.frozen(kw_only=True)
class PairState:
    """All that decides what a node does next."""

    me: NodeId
    peer: NodeId
    incarnation: int
    """Random per process."""
    size_bytes: int
    """Of the volume."""
    metadata: Metadata
    """What is durable on this node's disk."""
    phase: Phase = Phase.BOOTING
    stage: Stage = Stage.NONE
    why: str = "started"
    """Why this phase was entered, for people."""

    record: Record | None = None
    """The newest record known; its epoch is the epoch this node acts in."""
    revision: int = 0
    reading: bool = False
    """A read of the record is under way."""
    asked_at: tuple[int, int] = (0, 0)
    """The revision and the epoch known when that read was asked for: its answer can be no older."""
    arbiter_answers: bool = False
    """The last call was answered."""
    swap: SwapAttempt | None = None
    forcing: bool = False
    """The swap under way is a person's: it is not tried again once it is known not to have been taken."""
    proposals: int = 0
    """Made so far; makes the next one's id."""
    persisting: Metadata | None = None
    """The newest metadata on its way to the disk."""

    session: int = 0
    """The peer's incarnation in the live session; 0 without one."""
    sessions: int = 0
    """Begun so far; tells answers of this session from those of one before."""
    standing: Standing | None = None
    """The peer's last word on itself in this session."""
    partner: int = 0
    """The peer's incarnation that this node mirrors with in this epoch; 0 for none."""

    flights: tuple[Flight, ...] = ()
    next_sequence: int = 1
    last_pushed: int = 0
    """The latest write pushed to the secondary, or to the target of a resync."""
    last_sequence: int = 0
    """The latest write taken from the primary; every one before it was taken too."""
    unsettled: tuple[Mirrored, ...] = ()
    """Writes taken from the primary that may not be durable there."""
    storing: frozenset[int] = frozenset()
    """Writes that run on this disk for nobody who waits here: the peer's, or those of a role that was lost."""
    probe_sent: int = 0
    probe_back: int = 0
    resync: Resync | None = None
    told_ranges: tuple[Range, ...] = ()
    """Where the returning peer's copy may differ by its own doing."""
    base_epoch: int = 0
    """The epoch in which this copy was equal to the peer's, but for what is tracked since; 0 if none is known."""
    handover_attempt: int = 0
    """At the primary: the latest that was begun. At the secondary: the one that is being prepared."""

    @property
    def epoch(self) -> int:
        """Of the record that this node acts on; 0 while it knows none."""
        return self.record.epoch if self.record else 0

    @property
    def next_proposal(self) -> str:
        """The id of the next swap, which no other has: the incarnation is random."""
        return f"{self.incarnation:016x}{self.proposals + 1:016x}"

    @property
    def primary(self) -> bool:
        """Whether the record names this node."""
        return self.record is not None and self.record.primary == self.me

    @property
    def may_differ(self) -> tuple[Range, ...]:
        """Where what is under way may leave the two copies different, sorted."""
        own = {(f.operation.offset, f.operation.size) for f in self.flights if f.unsettled}
        return tuple(sorted(own.union(each.where for each in self.unsettled)))

    @property
    def both(self) -> tuple[NodeId, ...]:
        """The two nodes, sorted as in a record."""
        return tuple(sorted((self.me, self.peer)))
