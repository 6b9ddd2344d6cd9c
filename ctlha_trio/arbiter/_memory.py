"""An arbiter in memory: for simulations and for a pair in one process, with faults at will."""

from enum import Enum

import attrs
import trio

from ctlha_trio._errors import ArbiterError
from ctlha_trio.arbiter._codec import decode_record, encode_record, require_resource
from ctlha_trio.pair import Record, SwapOutcome
from ctlha_trio.seams import SwapAnswer, Versioned


class SwapFault(Enum):
    """What happens to one swap instead of an honest answer."""

    REFUSE = "refuse"
    """Not applied, answered REFUSED."""
    UNKNOWN_APPLIED = "unknown-applied"
    """Applied if it could be, answered UNKNOWN."""
    UNKNOWN_NOT_APPLIED = "unknown-not-applied"
    """Not applied, answered UNKNOWN."""
    UNKNOWN_APPLIED_LATER = "unknown-applied-later"
    """Answered UNKNOWN; applied by ``release``, if the revision still is the expected one by then."""


@attrs.define(eq=False)
class _Cell:
    """What all clients share. The record is kept as text, so that nothing survives here that would not elsewhere."""

    identity: str
    text: str
    revision: int = 1

    def swap(self, expected_revision: int, text: str) -> bool:
        if self.revision != expected_revision:
            return False
        self.text, self.revision = text, expected_revision + 1
        return True


@attrs.define(eq=False, init=False)
class MemoryArbiter:
    """One client of a record in memory. Linearizable: each call takes effect in one instant between call and return.

    Faults and counts belong to the client, so that one node of a pair can lose the arbiter while the other has it.
    """

    _cell: _Cell
    unavailable: bool = False
    """While set, ``read`` raises and ``cas`` is REFUSED."""
    takes_swaps: bool = True
    """While not set, ``cas`` is REFUSED, and ``read`` answers: a disk is full, or the user may only read."""
    reads: int = 0
    """Calls of ``read`` so far."""
    swaps: int = 0
    """Calls of ``cas`` so far."""
    probes: int = 0
    """Calls of ``probe`` so far."""
    _fault: SwapFault | None = None
    _delayed: tuple[int, str] | None = None

    def __init__(self, record: Record, *, identity: str = "memory") -> None:
        self.__attrs_init__(_Cell(identity, encode_record(record)))

    def client(self) -> "MemoryArbiter":
        """Another client of the same record, with no faults."""
        other = MemoryArbiter.__new__(MemoryArbiter)
        other.__attrs_init__(self._cell)
        return other

    @property
    def record(self) -> Record:
        """What the arbiter holds at this moment, without a call. For tests."""
        return decode_record(self._cell.text)

    @property
    def identity(self) -> str:
        """The same for every client."""
        return self._cell.identity

    @property
    def revision(self) -> int:
        """Of ``record``."""
        return self._cell.revision

    def restore(self, copy: Versioned) -> None:
        """Go back to an earlier record and revision for every client, as a backup that is put back does. For tests."""
        self._cell.text, self._cell.revision = encode_record(copy.record), copy.revision

    async def read(self) -> Versioned:
        """The record as it is now. A checkpoint. ``ArbiterError`` while unavailable."""
        self.reads += 1
        await trio.lowlevel.checkpoint()
        if self.unavailable:
            raise ArbiterError("the arbiter does not answer")
        return Versioned(decode_record(self._cell.text), self._cell.revision)

    async def cas(self, expected_revision: int, record: Record) -> SwapAnswer:
        """Replace the record if its revision still is ``expected_revision``. A checkpoint; cancelled: not applied.

        ``InvalidError`` for a record of another resource or one that cannot be kept.
        """
        self.swaps += 1
        text = encode_record(record)
        kept = self.record
        require_resource(record, kept.cluster, kept.resource)
        await trio.lowlevel.checkpoint()
        if self.unavailable or not self.takes_swaps:
            return SwapAnswer(SwapOutcome.REFUSED)
        fault, self._fault = self._fault, None
        match fault:
            case SwapFault.REFUSE:
                return SwapAnswer(SwapOutcome.REFUSED)
            case SwapFault.UNKNOWN_APPLIED:
                self._cell.swap(expected_revision, text)
                return SwapAnswer(SwapOutcome.UNKNOWN)
            case SwapFault.UNKNOWN_NOT_APPLIED:
                return SwapAnswer(SwapOutcome.UNKNOWN)
            case SwapFault.UNKNOWN_APPLIED_LATER:
                self._delayed = (expected_revision, text)
                return SwapAnswer(SwapOutcome.UNKNOWN)
        if self._cell.swap(expected_revision, text):
            return SwapAnswer(SwapOutcome.WON, self._cell.revision)
        return SwapAnswer(SwapOutcome.LOST)

    async def probe(self) -> bool:
        """Whether ``cas`` would be carried out. A checkpoint."""
        self.probes += 1
        await trio.lowlevel.checkpoint()
        return self.takes_swaps and not self.unavailable

    def next_cas(self, fault: SwapFault | None) -> None:
        """Let a fault happen to this client's next swap; None takes it back."""
        self._fault = fault

    def release(self) -> bool:
        """Let the delayed swap, if there is one, reach the record now. Whether it was applied."""
        if self._delayed is None:
            return False
        expected_revision, text = self._delayed
        self._delayed = None
        return self._cell.swap(expected_revision, text)
