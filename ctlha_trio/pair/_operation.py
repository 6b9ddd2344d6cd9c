"""Operations of clients on the volume, and how they conflict."""

from enum import Enum

import attrs


class OperationKind(Enum):
    """What an operation does. ``COPY`` is the pair's own: one range of a resync."""

    READ = 1
    WRITE = 2
    FLUSH = 3
    COPY = 4


class Outcome(Enum):
    """What a client is told. The last three are three different answers."""

    DONE = 0
    """Executed, and durable on every member."""
    NOT_PRIMARY = 1
    """Not executed here; another node may serve."""
    UNKNOWN = 2
    """Executed, not executed, or executed later by the other node."""
    FAILED = 3
    """Not executed, and repeating it here will not help."""


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
        if self.kind is OperationKind.FLUSH or other.kind is OperationKind.FLUSH:
            return True
        if self.kind is OperationKind.READ and other.kind is OperationKind.READ:
            return False
        return self.touches(other.where)

    def touches(self, where: tuple[int, int]) -> bool:
        """Whether it concerns a byte of that range."""
        offset, size = where
        return self.offset < offset + size and offset < self.offset + self.size

    @property
    def where(self) -> tuple[int, int]:
        """Offset and size."""
        return self.offset, self.size
