"""The parts of an explored world: immutable, hashable, and nothing in them that does not decide what may happen."""

from typing import Final

import attrs

from ctlha_trio.pair import Metadata, PairState, Record, actions as act, events as ev, messages as msg
from ctlha_trio.testing._explore.marks import InOrder, Marks

BLOCK_BYTES: Final = 1 << 20
"""The volume has one block: one range of a resync."""
FIRST_VALUE: Final = 1
"""What the block holds at first, as if a write of that ticket had been acknowledged."""

DiskAccess = (
    act.StoreWrite | act.StoreMirrored | act.FetchRead | act.SendCompare | act.CompareRange | act.CompareRecords
)


@attrs.frozen(cache_hash=True)
class DiskCall:
    """A call under way that ends in any order with others; ``data`` is the value that it writes."""

    call: DiskAccess
    data: int = 0
    tracked: bool = False
    """It was made while every write was marked."""


@attrs.frozen(cache_hash=True)
class ArbiterCall:
    """A call that was made; ``answer`` once the arbiter has executed it."""

    call: act.ReadRecord | act.Swap
    answer: ev.RecordRead | ev.Swapped | None = None


@attrs.frozen(cache_hash=True, kw_only=True)
class Node:
    """What outlives a process, and the process if one runs."""

    name: str
    core: PairState | None = None
    metadata: Metadata
    """Durable."""
    block: int = FIRST_VALUE
    """Durable: the ticket of the write whose data it holds."""
    marks: Marks = attrs.Factory(Marks)
    written: bool = False
    """This process has written the block, so that the activity log may list it."""
    ordered: tuple[InOrder, ...] = ()
    """Under way: metadata, marks and searches for them end in their order."""
    disk: frozenset[DiskCall] = frozenset()
    calls: tuple[ArbiterCall, ...] = ()
    """One after the other, as the driver makes them."""
    timers: frozenset[ev.Timer] = frozenset()
    """Those that run. They know no durations: each may fire at any time."""
    held: frozenset[tuple[int, int]] = frozenset()
    """Ranges read for a comparison: sequence and value."""
    kept: frozenset[tuple[int, int]] = frozenset()
    """Data of the other node's proposals that are under way here: number and value."""
    permit: int = 0
    """The epoch of the live permit that this process holds; 0 for none."""
    fetched: frozenset[tuple[int, int]] = frozenset()
    """What was read for operations that are not answered: ticket and value."""


@attrs.frozen(cache_hash=True)
class Push:
    """A message with the data that is placed before it is heard."""

    message: msg.MirrorWrite | msg.Propose | msg.Assigned | msg.CopyData | msg.Seal | msg.HandoverReady
    data: int
    """0 for none."""


@attrs.frozen(cache_hash=True)
class Session:
    """What one end will hear of a session. Pushes keep their order and messages theirs; either may overtake."""

    peer: int
    """Incarnation of the peer while this end has not heard that the session begins; 0 when it has."""
    messages: tuple[msg.Message, ...] = ()
    pushes: tuple[Push, ...] = ()
    cut: bool = False
    """The session is over. This end hears some of what was under way, and then that."""


@attrs.frozen(cache_hash=True)
class Inbox:
    """All that one end will hear, session after session. The last one is live unless it is cut."""

    name: str
    sessions: tuple[Session, ...] = ()


@attrs.frozen(cache_hash=True)
class Arbiter:
    """One record, and swaps whose caller gave up or is gone, and that may still be applied."""

    record: Record
    revision: int
    past: tuple[Record, ...] = ()
    """Those before it that a node may still act on, oldest first."""
    late: frozenset[act.Swap] = frozenset()


@attrs.frozen(cache_hash=True, kw_only=True)
class Bound:
    """How often each thing may still happen. Everything else may happen as often as it can."""

    writes: int = 0
    """That enter at the primary."""
    proposals: int = 0
    """Writes that enter at the secondary."""
    reads: int = 0
    crashes: int = 0
    """Of a process; it may start again at any time."""
    cuts: int = 0
    """Of the connection; the next may begin at any time, so that a partition is a cut."""
    lost_replies: int = 0
    """To a swap: it was applied, is applied later, or never."""
    refusals: int = 0
    """Of a swap or a read, by an arbiter that is down for that moment."""
    handovers: int = 0
    forces: int = 0
    """Of a node by a person who says that the other one is off, which is not so if it runs."""

    def spend(self, what: str) -> "Bound | None":
        """The bound after one such thing; None if there is none left."""
        left: int = getattr(self, what)
        return attrs.evolve(self, **{what: left - 1}) if left else None
