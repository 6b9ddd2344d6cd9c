"""What clients asked of each block and what they were told, checked at each answer and once more as a whole."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

import attrs

from ctlha_trio.pair import READING, WRITING, ZEROING, OperationKind, Outcome
from ctlha_trio.testing._history.linearizability import check_linearizability
from ctlha_trio.testing._history.linearizability_clusters import ValueCluster, explain, find_impossible_read, zeros
from ctlha_trio.testing._history.linearizability_records import NOT_EXECUTED, ZEROS, ClientOperation, Verdict

_PLAIN: Final = dict.fromkeys((*ZEROING, OperationKind.PUT_RECORD), OperationKind.WRITE) | {
    OperationKind.READ_RECORDS: OperationKind.READ
}
"""What an operation is to the register that it reads or writes."""


@attrs.define(eq=False)
class BlockHistory:
    """A register for each block, and for each record, whose place is called its block.

    A write's value is its ticket, which is unique and not 0. Time is that of a clock, so that what is said of an answer
    can be found in a log, or else it counts what happened; either way each moment is later than the one before.

    Each answer is held against everything before it, so that a run ends at the first one that cannot be true; what a
    miscompare says, and what zeros say where several operations wrote them, is held against all at the end. An
    operation on several blocks is reported for each of them, with the same ticket.
    """

    _clock: Callable[[], float] | None = None
    now: float = attrs.field(default=0, init=False)
    _blocks: dict[int, dict[int, ValueCluster]] = attrs.field(factory=dict, init=False)
    """By block and ticket."""
    _reads: dict[int, dict[int, ClientOperation]] = attrs.field(factory=dict, init=False)
    """By ticket and block, while unanswered."""
    _of_some_zeros: list[ClientOperation] = attrs.field(factory=list, init=False)
    """Reads that found zeros, which several operations had written."""

    def called(self, ticket: int, kind: OperationKind, block: int, client: str = "", *, expected: int = ZEROS) -> None:
        """A client asked. What neither reads nor writes is ignored, here and below."""
        self.now = self._next()
        zeroes = kind in ZEROING
        operation = ClientOperation(
            ticket=ticket,
            client=client,
            kind=_PLAIN.get(kind, kind),
            block=block,
            value=ZEROS if zeroes else ticket,
            expected=expected,
            called=self.now,
        )
        if kind in WRITING:
            assert ticket not in self._block(block), "a ticket is used once, and never 0"
            self._block(block)[ticket] = ValueCluster(operation)
        elif kind in READING:
            self._reads.setdefault(ticket, {})[block] = operation

    def lost(self, ticket: int) -> None:
        """No answer, or one that leaves it open: a write may take effect at any later time, or never."""
        self._reads.pop(ticket, None)

    def ended(self, ticket: int, kind: OperationKind, block: int) -> None:
        """Over, its outcome unknown unless told before: a write has taken effect by now, or never will."""
        self.lost(ticket)
        if kind in WRITING:
            self._answer_write(ticket, block, Outcome.UNKNOWN)

    def not_executed(self, ticket: int, kind: OperationKind, block: int) -> None:
        """The node said that it did not execute the operation. ``AssertionError`` if a write was seen, now or later."""
        self.lost(ticket)
        if kind in WRITING:
            self._answer_write(ticket, block, Outcome.NOT_PRIMARY)

    def done(self, ticket: int, kind: OperationKind, block: int, value: int) -> None:
        """The client was told that it is done, and for a read the value. ``AssertionError`` if that cannot be."""
        if kind in WRITING:
            self._answer_write(ticket, block, Outcome.DONE)
            if self._block(block)[ticket].write.kind is OperationKind.COMPARE_AND_WRITE:
                self._found(self._as_read(ticket, block))
        elif kind in READING:
            self.now = self._next()
            asked = self._reads[ticket].pop(block)
            self._found(attrs.evolve(asked, value=value, returned=self.now, outcome=Outcome.DONE))

    def miscompared(self, ticket: int, block: int) -> None:
        """A compare-and-write found something else in this block. ``AssertionError`` if what it writes was seen."""
        self._answer_write(ticket, block, Outcome.MISCOMPARE)

    def compared_equal(self, ticket: int, block: int) -> None:
        """A compare-and-write found here what it expected, and miscompared in another block: it wrote nothing."""
        self._answer_write(ticket, block, Outcome.NOT_PRIMARY)
        self._found(self._as_read(ticket, block))

    def _as_read(self, ticket: int, block: int) -> ClientOperation:
        """What a compare-and-write that has just ended says of the time before it wrote."""
        write = self._block(block)[ticket].write
        return attrs.evolve(write, kind=OperationKind.READ, value=write.expected, outcome=Outcome.DONE)

    def knows(self, block: int, value: int) -> bool:
        """Whether the value was ever asked to be written there, or is the zeros of before."""
        return value in self._block(block)

    def check(self, block: int, value: int, moment: float | None = None, *, void: Collection[int] = ()) -> None:
        """``AssertionError`` if the value cannot be in the block at that moment, or (None) now.

        For what is found on a copy: it proves nothing about later, for it may have been written without ever counting.
        ``void`` are tickets whose refusals count no more: one that was under way at that moment may be there.
        """
        found = ClientOperation(
            ticket=0,
            client="who looked at it",
            kind=OperationKind.READ,
            block=block,
            value=value,
            called=self._next() if moment is None else moment,
            outcome=Outcome.DONE,
        )
        clusters = self._block(block)
        if moment is not None and void:
            clusters = {each: _at(moment, of) if each in void else of for each, of in clusters.items()}
        self._source_of(found, clusters)

    def operations(self) -> Iterator[ClientOperation]:
        """All writes and all answered reads, as far as they have come."""
        for clusters in self._blocks.values():
            for ticket, cluster in clusters.items():
                if ticket:
                    yield cluster.write
                yield from cluster.reads
        yield from self._of_some_zeros

    def verdict(self) -> Verdict:
        """Check the whole history at once, for the end of a run."""
        return check_linearizability(self.operations())

    def _next(self) -> float:
        return self.now + 1 if self._clock is None else max(self._clock(), math.nextafter(self.now, math.inf))

    def _answer_write(self, ticket: int, block: int, outcome: Outcome) -> None:
        """Note the earliest end, and the first outcome that is known."""
        self.now = self._next()
        cluster = self._block(block)[ticket]
        write = cluster.write
        if write.outcome is not Outcome.UNKNOWN and (write.outcome in NOT_EXECUTED) is not (outcome in NOT_EXECUTED):
            raise AssertionError(f"block {block}: {write}, and now it is said to be {outcome.name}")
        if write.outcome is Outcome.UNKNOWN:
            cluster.answer(attrs.evolve(write, returned=min(write.returned, self.now), outcome=outcome))
        for read in cluster.reads[:1]:
            _possible(cluster, read)
        self._demand(cluster)

    def _found(self, read: ClientOperation) -> None:
        """A value was found by somebody who was told so."""
        source = self._source_of(read, self._block(read.block))
        if source is None:
            self._of_some_zeros.append(read)
        else:
            source.add(read)

    def _source_of(self, read: ClientOperation, block: Mapping[int, ValueCluster]) -> ValueCluster | None:
        """Whose value it is; None if it may be of several. ``AssertionError`` if it can be of none."""
        zeroed = [each for each in block.values() if each.write.value == ZEROS] if read.value == ZEROS else []
        if read.value != ZEROS or len(zeroed) == 1:
            only = block.get(read.value)
            _possible(only, read)
            assert only is not None
            self._demand(only.seen_by(read))
            return only
        problems = []
        for cluster in zeroed:
            try:
                _possible(cluster, read)
                self._demand(cluster.seen_by(read))
            except AssertionError as error:
                problems.append(str(error))
            else:
                return None
        raise AssertionError("\n".join(problems))

    def _demand(self, cluster: ValueCluster) -> None:
        settled = cluster.first.returned
        for other in self._block(cluster.write.block).values():
            # Part of the question, asked here because it spares the rest for nearly all.
            if settled < other.last.called and cluster.contradicts(other):
                raise AssertionError(str(explain(cluster, other)))

    def _block(self, block: int) -> dict[int, ValueCluster]:
        clusters = self._blocks.get(block)
        if clusters is None:
            clusters = self._blocks[block] = {ZEROS: zeros(block)}
        return clusters


def _at(moment: float, cluster: ValueCluster) -> ValueCluster:
    """What was known then of a write that was under way, and was refused later."""
    write = cluster.write
    if write.outcome not in NOT_EXECUTED or not write.called < moment <= write.returned:
        return cluster
    return ValueCluster(attrs.evolve(write, outcome=Outcome.UNKNOWN, returned=math.inf))


def _possible(cluster: ValueCluster | None, read: ClientOperation) -> None:
    impossible = find_impossible_read(cluster.write if cluster else None, read)
    if impossible:
        raise AssertionError(str(impossible))
