"""Operations of clients on the volume, and how they conflict."""

from enum import Enum

import attrs


class OperationKind(Enum):
    """What an operation does. From ``COPY`` on they are the pair's own."""

    READ = 1
    WRITE = 2
    FLUSH = 3
    COPY = 4
    """One range of a resync."""
    REPAIR_HERE = 17
    """Blocks that are damaged on this disk, written anew from the peer's copy."""
    REPAIR_THERE = 18
    """Blocks that are damaged on the peer's disk, written anew from this copy."""
    VERIFY = 19
    """One range that is compared with the peer's."""


REPAIRS = frozenset({OperationKind.REPAIR_HERE, OperationKind.REPAIR_THERE})
_READING = frozenset({OperationKind.READ, OperationKind.VERIFY})


class Outcome(Enum):
    """What a client is told. All but the first are different answers."""

    DONE = 0
    """Executed, and durable on every member."""
    NOT_PRIMARY = 1
    """Not executed here; another node may serve."""
    UNKNOWN = 2
    """Executed, not executed, or executed later by the other node."""
    FAILED = 3
    """Not executed, and repeating it here will not help."""
    MEDIUM_ERROR = 4
    """Not executed: a block of it is damaged on every copy that counts. Writing the whole block heals it."""


@attrs.frozen
class Operation:
    """One operation on a byte range. ``(client, number)`` is the client's own name for it; numbers only rise."""

    kind: OperationKind
    client: int
    number: int
    offset: int
    """Bytes from the start of the volume."""
    size: int
    """Bytes; 0 for a flush, which concerns the whole volume."""

    def conflicts(self, other: "Operation") -> bool:
        """Whether the two must be executed one after the other."""
        if self.kind in _READING and other.kind in _READING:
            return False
        kinds = {self.kind, other.kind}
        if OperationKind.FLUSH in kinds:
            return OperationKind.VERIFY not in kinds
        return self.touches(other.where)

    def touches(self, where: tuple[int, int]) -> bool:
        """Whether it concerns a byte of that range."""
        offset, size = where
        return self.offset < offset + size and offset < self.offset + self.size

    @property
    def where(self) -> tuple[int, int]:
        """Offset and size."""
        return self.offset, self.size
