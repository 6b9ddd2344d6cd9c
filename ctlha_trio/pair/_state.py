"""The state of one node's pair core: immutable and hashable, so that it can be explored and compared."""

from enum import Enum
from typing import Any, TypedDict, Unpack

import attrs

from ctlha_trio.pair._denial import denies
from ctlha_trio.pair._left_out import LeftOut
from ctlha_trio.pair._metadata import Metadata
from ctlha_trio.pair._operation import CHANGING, READING, WRITING, Operation, OperationKind
from ctlha_trio.pair._phase import Phase
from ctlha_trio.pair._range import Range
from ctlha_trio.pair._record import NodeId, Record
from ctlha_trio.pair._verification import Verification
from ctlha_trio.pair.messages import Standing
from ctlha_trio.wire import KnownRecord

UNTAKEN_MAX = 2
"""From which on an arbiter that is read is one that refuses: a single answer may get lost."""
COPY_CHUNK_BYTES = 1 << 20
"""One range of a resync: large enough that the round trip does not count, small enough that a client waits only
milliseconds for a range under copy."""
COPIES_AT_ONCE = 32
"""Ranges that are compared and copied side by side: what small ones cost is round trips and flushes."""
SEARCH_RANGES = COPIES_AT_ONCE // 2
"""That one search finds: half of what is under way is copied while the next is searched for."""
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
    where: Range | None
    """None for a record."""


@attrs.frozen
class Damage:
    """Blocks that an operation met and that are not what was written there last: the first of them, in one piece."""

    here: Range | None = None
    """On this disk. The operation had no effect there."""
    there: Range | None = None
    """On the peer's, likewise."""


UNHURT = Damage()


class FlightChanges(TypedDict, total=False):
    """The parts of a flight that change on its way."""

    sequence: int
    fetch: int
    shows: int
    restarts: int
    here: bool
    there: bool
    answered: bool
    hurt: Damage
    mended: Damage
    tried: bool
    last_resort: bool
    equal: bool
    miscompare_at: int | None
    proposal: int
    said: bool
    told: bool
    asks_room: bool


@attrs.frozen(slots=False)
class Flight:
    """An operation between its acceptance and its end."""

    ticket: int
    """Names the client's operation; 0 for the pair's own."""
    operation: Operation
    sequence: int = 0
    """Given when it starts; 0 before, and for a read."""
    fetch: int = 0
    """Of a read, the number of the fetch under way or ended; 0 before."""
    shows: int = 0
    """Of a read at the secondary, the newest write that it may find and that may not be on both; 0 for none."""
    restarts: int = 0
    """Of a read at the secondary, how often it could have been written into."""
    here: bool = False
    """Durable on this disk, or read from it; for a copy: the target has compared."""
    there: bool = False
    """Durable on the peer's disk, or not wanted there."""
    answered: bool = False
    hurt: Damage = UNHURT
    """What it met when it was last started. It is started again when that is repaired."""
    mended: Damage = UNHURT
    """What was repaired for it before it was last started."""
    tried: bool = False
    """A write that is durable on one of the two disks by an earlier start."""
    equal: bool = False
    """A compare-and-write found what it expects: it is a write from here on, with a sequence of its own."""
    miscompare_at: int | None = None
    """A compare-and-write found something else, first here, in bytes from its offset."""
    proposal: int = 0
    """At the secondary: the number under which it was proposed; 0 before."""
    said: bool = False
    """It was proposed in this session."""
    told: bool = False
    """It was proposed, in whatever session, to a node that may have executed it, whoever is primary by now."""
    taken: int = 0
    """At the primary: the number of the secondary's proposal that it is; 0 for its own clients' and the pair's."""
    last_resort: bool = False
    """A repair of what another one was to take from that copy: if its own source is damaged too, no copy is left."""
    asks_room: bool = False
    """A put that was taken back: the driver was asked whether there is room for the record, and has not answered."""

    def but(self, **changes: Unpack[FlightChanges]) -> "Flight":
        """As ``attrs.evolve``, at a tenth of its cost: each operation changes several times."""
        after = object.__new__(Flight)
        after.__dict__.update(self.__dict__, **changes)
        return after

    @property
    def is_write(self) -> bool:
        """Whether what it does as it stands is to change something that every member holds."""
        return self.operation.kind in WRITING and (self.equal or not self._compares)

    @property
    def is_read(self) -> bool:
        """Whether what it tells its client must be shown not to be stale, in which it is like a read."""
        return self.operation.kind in READING or (self._compares and not self.equal)

    @property
    def _compares(self) -> bool:
        return self.operation.kind is OperationKind.COMPARE_AND_WRITE

    @property
    def begun(self) -> bool:
        """Whether it has done something on a disk, or is about to."""
        return bool(self.sequence) or self.tried

    @property
    def changes_volume(self) -> bool:
        """Whether it is a write, and not of a record."""
        return self.is_write and self.operation.kind in CHANGING

    @property
    def started(self) -> bool:
        """Whether it is being executed, or was."""
        return bool(self.sequence or self.fetch)

    @property
    def unsettled(self) -> bool:
        """Whether it is a write that the two nodes may not both have."""
        return not (self.here and self.there) and self.begun and self.is_write

    @property
    def is_hurt(self) -> bool:
        """Whether it met damage when it was last started."""
        return self.hurt is not UNHURT and self.hurt != UNHURT


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
    left_out: tuple[LeftOut, ...] = ()
    """Until what is lost in them can be read, or was written anew, and they are copied, the target cannot be a member.
    The next one that is tried comes first."""
    retry_set: bool = False
    """The timer runs after which one of them is tried again."""
    beside_clients: bool = False
    """Clients were served lately: go in small steps, with a rest after each."""
    client_came: bool = False
    """Since the last rest began."""
    resting: bool = False


@attrs.frozen(kw_only=True, slots=False)
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
    heard: KnownRecord | None = None
    """The newest record of which the peer has told, or that did not name this node, in this process or before."""
    asked_heard: tuple[KnownRecord, ...] = ()
    """Of which it had told when that read was asked for, likewise."""
    arbiter_answers: bool = False
    """The last call was answered. One that refuses swaps again and again, and is read, answers."""
    untaken: int = 0
    """Changes in a row, up to ``UNTAKEN_MAX``, that it did not take or left in doubt, and proofs that failed. Kept
    until it takes one, or proves that it would: what this node wants of it next may be a takeover."""
    proved: bool = False
    """It has proved that it takes changes, in this session, and this node has begun no swap since."""
    swap: SwapAttempt | None = None
    forcing: bool = False
    """The swap under way is a person's: it is not tried again once it is known not to have been taken."""
    renewing: bool = False
    """A sole member that serves moves the record for the peer's sake: the claim under way is no more than that, or the
    last one was certainly not taken and the next one is not due."""
    proposals: int = 0
    """Made so far; makes the next one's id."""
    persisting: Metadata | None = None
    """The newest metadata on its way to the disk."""
    persists: int = 0
    """How many are on their way. They end in their order, and an older one may be the same as the newest."""

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
    """Writes taken from the primary that may not be durable there, records with them."""
    refused: frozenset[int] = frozenset()
    """Writes taken from the primary and not executed, for a block of theirs is damaged here."""
    storing: frozenset[int] = frozenset()
    """Writes that run on this disk for nobody who waits here: the peer's, or those of a role that was lost."""
    fetches: int = 0
    """Begun so far."""
    proposed: int = 0
    """Operations that this process has proposed to the primary so far."""
    taken: int = 0
    """The latest proposal taken of the secondary; every one before it was taken or refused."""
    granted: bool = True
    """A permit that this node has granted, in this process or before, may not be over yet."""
    settled_wanted: int = 0
    """At the primary: the sequence of which the secondary wants to know that all is settled up to it; 0 for none."""
    settled_asked: int = 0
    """At the secondary: the same, until the primary has said so."""
    resync: Resync | None = None
    admission_held: bool = False
    """The supervisor does not trust the link for now: the peer is brought up to date, and no member yet."""
    told_ranges: tuple[Range, ...] = ()
    """Where the returning peer's copy may differ by its own doing."""
    base_epoch: int = 0
    """The epoch in which this copy was equal to the peer's, but for what is tracked since; 0 if none is known."""
    verification: Verification | None = None
    """The latest that was asked for here."""
    handover_attempt: int = 0
    """At the primary: the latest that was begun. At the secondary: the one that is being prepared."""

    @property
    def epoch(self) -> int:
        """Of the record that this node acts on; 0 while it knows none."""
        return self.record.epoch if self.record else 0

    @property
    def arbiter_refuses(self) -> bool:
        """It is read, and takes no change, as far as this node has tried."""
        return self.arbiter_answers and self.untaken == UNTAKEN_MAX

    @property
    def arbiter_takes(self) -> bool:
        """Nothing speaks against it: clients that were held for a change would not wait for as long as it is away."""
        return self.arbiter_answers and not self.untaken

    @property
    def knows(self) -> KnownRecord:
        """The newest record of this pair that this node has from the arbiter. A proposal is none until it is won."""
        disk, record = self.metadata, self.record
        if record is not None and (record.epoch >= disk.epoch or record.lineage != disk.lineage):
            leads = record.primary == self.me
            return KnownRecord(record.lineage, record.epoch, self.revision, leads, record.ancestors)
        return KnownRecord(disk.lineage, disk.epoch, disk.revision, disk.primary == self.me, disk.ancestors)

    @property
    def words(self) -> tuple[KnownRecord, ...]:
        """Records that were heard of: now, and what this disk knows of before."""
        durable = (self.persisting or self.metadata).heard
        return tuple(each for each in dict.fromkeys((self.heard, durable)) if each is not None)

    def is_denied(self, record: Record, revision: int, words: tuple[KnownRecord, ...]) -> bool:
        """Whether one of these words says that this record cannot be the newest, or is not true."""
        copy, of_peer = self.persisting or self.metadata, record.primary == self.peer
        return any(denies(word, record, revision, copy=copy, of_peer=of_peer) for word in words)

    @property
    def is_behind(self) -> bool:
        """Whether the peer has told of a later record than the one that this node acts on, or of another in its place.

        Then that one is for the arbiter to show, and until it has, this node changes nothing.
        """
        return self.record is not None and self.is_denied(self.record, self.revision, self.words)

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
        """Where what is under way may leave the two copies of the volume different, sorted.

        Records are not marked: a node that returns is sent them all.
        """
        own = {f.operation.where for f in self.flights if f.changes_volume and f.unsettled}
        return tuple(sorted(own.union(each.where for each in self.unsettled if each.where is not None)))

    @property
    def both(self) -> tuple[NodeId, ...]:
        """The two nodes, sorted as in a record."""
        return tuple(sorted((self.me, self.peer)))


def changed(state: PairState, **changes: Any) -> PairState:
    """As ``attrs.evolve``, at an eighth of its cost: nearly every event changes the state, often several times."""
    after = object.__new__(PairState)
    # One table copied as it lies, in half the time that filling a new one takes; the record itself is frozen.
    object.__setattr__(after, "__dict__", state.__dict__ | changes)
    return after
