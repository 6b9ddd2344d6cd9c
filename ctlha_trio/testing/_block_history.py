"""What clients asked of each block and what they were told: finds lost acknowledged writes and stale reads."""

import math

import attrs

from ctlha_trio.pair import Operation, OperationKind

_BLOCK_BYTES = 1 << 19


@attrs.define(eq=False)
class _Call:
    began: int
    ended: float = math.inf
    """When the client was told that it is done; never for an unknown outcome."""


@attrs.define(eq=False)
class BlockHistory:
    """One register a block, every written value unique (the write's ticket), time counted in calls and answers.

    A read is refused if the value that it returned was certainly overwritten before the read began, or certainly not
    yet written when it ended. These rules catch each stale or lost value that a client could notice from pairs of
    operations.
    """

    now: int = 0
    writes: dict[int, dict[int, _Call]] = attrs.Factory(dict)
    """By block and value. Value 0 was there before everything."""
    reads: dict[int, int] = attrs.Factory(dict)

    def called(self, ticket: int, operation: Operation) -> None:
        """A client asked."""
        self.now += 1
        if operation.kind is OperationKind.WRITE:
            self._block(operation.offset // _BLOCK_BYTES)[ticket] = _Call(self.now)
        elif operation.kind is OperationKind.READ:
            self.reads[ticket] = self.now

    def lost(self, ticket: int) -> None:
        """No answer, or an answer that leaves it open: a write may take effect at any later time."""
        self.reads.pop(ticket, None)

    def not_executed(self, ticket: int, operation: Operation) -> None:
        """The node said that it did not execute the operation: a write's value must never be seen."""
        if operation.kind is OperationKind.WRITE:
            del self._block(operation.offset // _BLOCK_BYTES)[ticket]

    def done(self, ticket: int, operation: Operation, value: int) -> None:
        """The client was told that it is done, and for a read the value. ``AssertionError`` if that cannot be."""
        self.now += 1
        block = operation.offset // _BLOCK_BYTES
        if operation.kind is OperationKind.WRITE:
            self._block(block)[ticket].ended = self.now
        elif operation.kind is OperationKind.READ:
            self._check_read(block, value, self.reads.pop(ticket))

    def may_follow(self, block: int, value: int, found: int) -> bool:
        """Whether a block that holds ``found`` may be one to which ``value`` was written and is not lost."""
        writes = self._block(block)
        if found not in writes:
            return False
        return found == value or writes[found].ended > writes[value].began

    def _block(self, block: int) -> dict[int, _Call]:
        return self.writes.setdefault(block, {0: _Call(0, 0)})

    def _check_read(self, block: int, value: int, began: int) -> None:
        writes = self._block(block)
        if value not in writes:
            raise AssertionError(f"a read of block {block} returned {value}, which was never executed")
        for other, write in writes.items():
            if writes[value].ended < write.began and write.ended < began:
                raise AssertionError(f"a read of block {block} returned {value}, overwritten by {other} before")
        # Whoever saw it proves that it had taken effect by now, whatever its own client was told.
        writes[value].ended = min(writes[value].ended, self.now)
