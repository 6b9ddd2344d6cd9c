"""What clients asked of each block and what they were told, checked at each answer and once more as a whole."""

import math
from collections.abc import Callable, Iterator

import attrs

from ctlha_trio.pair import OperationKind, Outcome
from ctlha_trio.testing._history.linearizability import check_linearizability
from ctlha_trio.testing._history.linearizability_clusters import ValueCluster, explain, find_impossible_read, zeros
from ctlha_trio.testing._history.linearizability_records import ZEROS, ClientOperation, Verdict


@attrs.define(eq=False)
class BlockHistory:
    """A register for each block. A write's value is its ticket, which is unique and not 0.

    Time is that of a clock, so that what is said of an answer can be found in a log, or else it counts what happened.
    Either way each moment is later than the one before.

    Each answer is held against everything before it, so that a run ends at the first one that cannot be true. An
    operation on several blocks is reported for each of them, with the same ticket.
    """

    _clock: Callable[[], float] | None = None
    now: float = attrs.field(default=0, init=False)
    _blocks: dict[int, dict[int, ValueCluster]] = attrs.field(factory=dict, init=False)
    """By block and value."""
    _reads: dict[int, dict[int, ClientOperation]] = attrs.field(factory=dict, init=False)
    """By ticket and block, while unanswered."""

    def called(self, ticket: int, kind: OperationKind, block: int, client: str = "") -> None:
        """A client asked. What neither reads nor writes is ignored, here and below."""
        self.now = self._next()
        operation = ClientOperation(ticket=ticket, client=client, kind=kind, block=block, value=ticket, called=self.now)
        if kind is OperationKind.WRITE:
            assert ticket not in self._block(block), "a ticket is used once, and never 0"
            self._block(block)[ticket] = ValueCluster(operation)
        elif kind is OperationKind.READ:
            self._reads.setdefault(ticket, {})[block] = operation

    def lost(self, ticket: int) -> None:
        """No answer, or one that leaves it open: a write may take effect at any later time, or never."""
        self._reads.pop(ticket, None)

    def ended(self, ticket: int, kind: OperationKind, block: int) -> None:
        """Over, its outcome unknown unless told before: a write has taken effect by now, or never will."""
        self.lost(ticket)
        if kind is OperationKind.WRITE:
            self._answer_write(ticket, block, Outcome.UNKNOWN)

    def not_executed(self, ticket: int, kind: OperationKind, block: int) -> None:
        """The node said that it did not execute the operation. ``AssertionError`` if a write was seen, now or later."""
        self.lost(ticket)
        if kind is OperationKind.WRITE:
            self._answer_write(ticket, block, Outcome.NOT_PRIMARY)

    def done(self, ticket: int, kind: OperationKind, block: int, value: int) -> None:
        """The client was told that it is done, and for a read the value. ``AssertionError`` if that cannot be."""
        if kind is OperationKind.WRITE:
            self._answer_write(ticket, block, Outcome.DONE)
        elif kind is OperationKind.READ:
            self.now = self._next()
            asked = self._reads[ticket].pop(block)
            read = attrs.evolve(asked, value=value, returned=self.now, outcome=Outcome.DONE)
            self._possible(read)
            cluster = self._block(block)[value]
            cluster.add(read)
            self._demand(cluster)

    def check(self, block: int, value: int, moment: float | None = None) -> None:
        """``AssertionError`` if the value cannot be in the block at that moment, or (None) now.

        For what is found on a copy: it proves nothing about later, for it may have been written without ever counting.
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
        self._possible(found)
        self._demand(self._block(block)[value].seen_by(found))

    def operations(self) -> Iterator[ClientOperation]:
        """All writes and all answered reads, as far as they have come."""
        for clusters in self._blocks.values():
            for cluster in clusters.values():
                if cluster.write.value != ZEROS:
                    yield cluster.write
                yield from cluster.reads

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
        if {write.outcome, outcome} == {Outcome.DONE, Outcome.NOT_PRIMARY}:
            raise AssertionError(f"block {block}: {write}, and now it is said to be {outcome.name}")
        if write.outcome is Outcome.UNKNOWN:
            cluster.answer(attrs.evolve(write, returned=min(write.returned, self.now), outcome=outcome))
        for read in cluster.reads[:1]:
            self._possible(read)
        self._demand(cluster)

    def _possible(self, read: ClientOperation) -> None:
        cluster = self._block(read.block).get(read.value)
        impossible = find_impossible_read(cluster.write if cluster else None, read)
        if impossible:
            raise AssertionError(str(impossible))

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
