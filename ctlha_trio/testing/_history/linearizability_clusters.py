"""Registers in which every written value is unique: decided by comparing values, without trying orders.

A value, its write and the reads that found it, stands together in every order: nothing else comes in between. So only
whole values have to be ordered, and value A must come before B exactly if some operation of A was over before some
operation of B was called: if A's first return is earlier than B's last call. There is an order if these demands have no
circle; the operations of one value can always be ordered unless a read was over before the write was called.

If there is a circle at all, there is one of two values. For take a shortest one. Whenever A must come before B, and C
before D, then A before D or C before B, whichever of A and C has the earlier first return. In a circle of four or more
that is a short cut, or two neighbours that must both come first. In one of three, A, B, C, with no such neighbours, A
before B and B before C leave only that B's first return is earlier than its own last call; the same for all three. And
each one's last call is no later than the next one's first return, or these two would be a circle: time would only grow,
all around.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable

import attrs

from ctlha_trio.pair import OperationKind, Outcome
from ctlha_trio.testing._history.linearizability_records import (
    NOT_EXECUTED,
    ZEROS,
    ClientOperation,
    Evidence,
    Violation,
    told_time,
)


@attrs.define(eq=False)
class ValueCluster:
    """A write and the reads that found its value."""

    write: ClientOperation
    reads: list[ClientOperation] = attrs.field(factory=list, init=False)
    first: ClientOperation = attrs.field(init=False)
    """Whose return is the earliest."""
    last: ClientOperation = attrs.field(init=False)
    """Whose call is the latest."""

    def __attrs_post_init__(self) -> None:
        """Begin without reads."""
        self.first = self.last = self.write

    @property
    def certain(self) -> bool:
        """Whether it has taken effect. A write that was neither acknowledged nor seen may be left out of any order."""
        return bool(self.reads) or self.write.outcome is Outcome.DONE

    def add(self, read: ClientOperation) -> None:
        """Somebody found the value."""
        self.reads.append(read)
        self._consider(read)

    def answer(self, write: ClientOperation) -> None:
        """The write is over."""
        self.write = self.first = self.last = write
        for read in self.reads:
            self._consider(read)

    def _consider(self, read: ClientOperation) -> None:
        if read.returned < self.first.returned:
            self.first = read
        if read.called > self.last.called:
            self.last = read

    def seen_by(self, read: ClientOperation) -> "ValueCluster":
        """Return what it would be with one more read, and leave it as it is."""
        seen = ValueCluster(self.write)
        for each in (self.first, self.last, read):
            if each is not self.write:
                seen.add(each)
        return seen

    def contradicts(self, other: "ValueCluster") -> bool:
        """Whether each of the two would have to come before the other."""
        return (
            self.first.returned < other.last.called
            and other.first.returned < self.last.called
            and self.write is not other.write
            and self.certain
            and other.certain
        )


def zeros(block: int) -> ValueCluster:
    """Make the cluster of what is there before the first write."""
    before = -math.inf
    kind, outcome = OperationKind.WRITE, Outcome.DONE
    return ValueCluster(
        ClientOperation(ticket=0, kind=kind, block=block, called=before, returned=before, outcome=outcome)
    )


def find_impossible_read(write: ClientOperation | None, read: ClientOperation) -> Violation | None:
    """What is wrong with a read and the one write of the value that it found, whatever else happened."""
    found = Evidence("it was found", read)
    if write is None:
        return Violation(read.block, f"{read.value} was found and never written here", (found,))
    if write.outcome in NOT_EXECUTED:
        refused = Evidence("it was refused", write)
        return Violation(read.block, f"{read.value} was found, although it was not to be written", (refused, found))
    if read.returned < write.called:
        written = Evidence("it was written later", write)
        return Violation(read.block, f"{read.value} was found before it was written", (found, written))
    return None


def find_contradiction(clusters: Iterable[ValueCluster]) -> Violation | None:
    """Two values of one block that cannot be ordered; exact, given that no single read is impossible.

    A value whose first return comes before its last call holds the block for that time, and one of any two that
    contradict each other does. So each value is held against the last holder that began before the value's last call.
    That finds two holders whose times overlap; if none do, no earlier one reaches that far.
    """
    certain = sorted((cluster for cluster in clusters if cluster.certain), key=lambda each: each.first.returned)
    holders = [cluster for cluster in certain if cluster.first.returned < cluster.last.called]
    begin = [holder.first.returned for holder in holders]
    for cluster in certain:
        index = bisect_left(begin, cluster.last.called) - 1
        if index >= 0 and cluster.contradicts(holders[index]):
            return explain(cluster, holders[index])
    return None


def explain(one: ValueCluster, other: ValueCluster) -> Violation:
    """Put into words why neither of two values can come first."""
    between, again = sorted((one, other), key=lambda each: each.last.called)
    value, replaced = again.write.value, between.write.value
    then = "was found" if between.last.kind is OperationKind.READ else "came"
    evidence = [
        Evidence(f"{value} was there by {told_time(again.first.returned)}", again.first),
        Evidence(f"{replaced} {then} after that", between.last),
        Evidence(f"{replaced} was there by {told_time(between.first.returned)}", between.first),
        Evidence(f"{value} was found after that", again.last),
    ]
    if between.first is between.last:
        del evidence[2]
    return Violation(again.write.block, f"{value} is found again after {replaced} had replaced it", tuple(evidence))


def decide_unique(block: int, writes: Iterable[ClientOperation], reads: Iterable[ClientOperation]) -> Violation | None:
    """Decide one block in which no two writes write the same value and none writes zeros."""
    clusters = {ZEROS: zeros(block)} | {write.value: ValueCluster(write) for write in writes}
    for read in reads:
        cluster = clusters.get(read.value)
        impossible = find_impossible_read(cluster.write if cluster else None, read)
        if cluster is None or impossible:
            return impossible
        cluster.add(read)
    return find_contradiction(clusters.values())
