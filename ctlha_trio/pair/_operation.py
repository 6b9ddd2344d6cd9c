"""Operations of clients on the volume, and how they conflict."""

from enum import Enum
from typing import Final

import attrs


class OperationKind(Enum):
    """What an operation does. ``COPY`` is the pair's own: one range of a resync."""

    READ = 1
    WRITE = 2
    FLUSH = 3
    COPY = 4
    WRITE_ZEROES = 5
    """As a write of zeros, of which no data goes over the link."""
    UNMAP = 6
    """The range is not needed any more. It reads as zeros from then on."""
    COMPARE_AND_WRITE = 7
    """A write, if the range holds what the client expects."""
    PUT_RECORD = 8
    """Puts a record, small state of the layers above that every member carries."""
    READ_RECORDS = 9
    """Reads all records."""


ZEROING: Final = frozenset({OperationKind.WRITE_ZEROES, OperationKind.UNMAP})
CHANGING: Final = ZEROING | {OperationKind.WRITE, OperationKind.COMPARE_AND_WRITE}
"""What changes the volume, on every member."""
WRITING: Final = CHANGING | {OperationKind.PUT_RECORD}
"""What changes anything that every member holds."""
READING: Final = frozenset({OperationKind.READ, OperationKind.READ_RECORDS})
_OF_RECORDS: Final = frozenset({OperationKind.PUT_RECORD, OperationKind.READ_RECORDS})


class Outcome(Enum):
    """What a client is told. All but the first are different answers to what was not, or not certainly, done."""

    DONE = 0
    """Executed, and durable on every member."""
    NOT_PRIMARY = 1
    """Not executed here; another node may serve."""
    UNKNOWN = 2
    """Executed, not executed, or executed later by the other node."""
    FAILED = 3
    """Not executed, and repeating it here will not help."""
    MISCOMPARE = 4
    """Compared, and for what was found nothing was written."""


@attrs.frozen
class Operation:
    """One operation on a byte range. ``(client, number)`` is the client's own name for it; numbers only rise."""

    kind: OperationKind
    client: int
    number: int
    offset: int
    """Bytes from the start of the volume."""
    size: int
    """Bytes; 0 for a flush, which concerns the whole volume, and for records, which do not lie in it."""
    key: str = ""
    """Of the record that is put."""

    def conflicts(self, other: "Operation") -> bool:
        """Whether the two must be executed one after the other."""
        if self.kind is OperationKind.FLUSH or other.kind is OperationKind.FLUSH:
            return True
        if self.kind in READING and other.kind in READING:
            return False
        if self.kind in _OF_RECORDS or other.kind in _OF_RECORDS:
            return self.kind in _OF_RECORDS and other.kind in _OF_RECORDS
        return self.offset < other.offset + other.size and other.offset < self.offset + self.size
