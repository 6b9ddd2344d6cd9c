"""What clients asked of each block and what they were told: finds lost acknowledged writes and stale reads."""

import math

import attrs

from ctlha_trio.pair import OperationKind

ZEROS = 0
"""The value that every block has before the first write."""


@attrs.define(eq=False)
class _Write:
    began: int
    ended: float = math.inf
    """When it had certainly taken effect; never while that is open."""


@attrs.define(eq=False)
class BlockHistory:
    """One register a block, every written value unique (the write's ticket), time counted in calls and answers.

    A value is stale at a moment if another write began after it had certainly taken effect, and itself had certainly
    taken effect by that moment. This finds each stale or lost value that shows in a pair of operations.
    """

    now: int = 0
    writes: dict[int, dict[int, _Write]] = attrs.Factory(dict)
    """By block and value."""
    reads: dict[int, int] = attrs.Factory(dict)
    """By ticket, when it was called."""

    def called(self, ticket: int, kind: OperationKind, block: int) -> None:
        """A client asked."""
        self.now += 1
        if kind is OperationKind.WRITE:
            self._block(block)[ticket] = _Write(self.now)
        elif kind is OperationKind.READ:
            self.reads[ticket] = self.now

    def lost(self, ticket: int) -> None:
        """No answer, or one that leaves it open: a write may take effect at any later time."""
        self.reads.pop(ticket, None)

    def not_executed(self, ticket: int, kind: OperationKind, block: int) -> None:
        """The node said that it did not execute the operation: a write's value must never be seen."""
        self.lost(ticket)
        if kind is OperationKind.WRITE:
            del self._block(block)[ticket]

    def done(self, ticket: int, kind: OperationKind, block: int, value: int) -> None:
        """The client was told that it is done, and for a read the value. ``AssertionError`` if that cannot be."""
        self.now += 1
        if kind is OperationKind.WRITE:
            write = self._block(block)[ticket]
            write.ended = min(write.ended, self.now)
        elif kind is OperationKind.READ:
            self.check(block, value, self.reads.pop(ticket))
            # Whoever saw it proves that it has taken effect by now, whatever its own client was told.
            seen = self._block(block)[value]
            seen.ended = min(seen.ended, self.now)

    def check(self, block: int, value: int, moment: int | None = None) -> None:
        """``AssertionError`` if the value cannot be in the block at that moment, or (None) now."""
        moment = self.now + 1 if moment is None else moment
        writes = self._block(block)
        if value not in writes:
            raise AssertionError(f"block {block} holds {value}, which was said not to have been executed")
        ended = writes[value].ended
        for other, write in writes.items():
            if ended < write.began and write.ended < moment:
                raise AssertionError(f"block {block} holds {value}, which {other} had overwritten before")

    def _block(self, block: int) -> dict[int, _Write]:
        return self.writes.setdefault(block, {ZEROS: _Write(0, 0)})
