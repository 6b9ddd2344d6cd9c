"""Operations of clients on the volume, and how they conflict."""

from enum import Enum
from typing import TYPE_CHECKING, Final

import attrs


class OperationKind(Enum):
    """What an operation does. From ``COPY`` on they are the pair's own."""

    READ = 1
    WRITE = 2
    FLUSH = 3
    COPY = 4
    """One range of a resync."""
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
    REPAIR_HERE = 17
    """Blocks that are damaged on this disk, written anew from the peer's copy."""
    REPAIR_THERE = 18
    """Blocks that are damaged on the peer's disk, written anew from this copy."""
    VERIFY = 19
    """One range that is compared with the peer's."""

    if not TYPE_CHECKING:
        # As good as that of Enum, which is a Python function: kinds are looked up at every step.
        __hash__ = object.__hash__


ZEROING: Final = frozenset({OperationKind.WRITE_ZEROES, OperationKind.UNMAP})
CHANGING: Final = ZEROING | {OperationKind.WRITE, OperationKind.COMPARE_AND_WRITE}
"""What changes the volume, on every member."""
WRITING: Final = CHANGING | {OperationKind.PUT_RECORD}
"""What changes anything that every member holds."""
READING: Final = frozenset({OperationKind.READ, OperationKind.READ_RECORDS})
REPAIRS: Final = frozenset({OperationKind.REPAIR_HERE, OperationKind.REPAIR_THERE})
_CHANGING_NOTHING: Final = READING | {OperationKind.VERIFY}
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
    MEDIUM_ERROR = 4
    """Not executed: a block of it is damaged on every copy that counts. Writing the whole block heals it."""
    MISCOMPARE = 5
    """Compared, and for what was found nothing was written."""
    SUPERSEDED = 6
    """Not executed, and never will be: its client has asked for something newer meanwhile."""


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
        one, two = self.kind, other.kind
        if one in _CHANGING_NOTHING and two in _CHANGING_NOTHING:
            return False
        if one is OperationKind.FLUSH or two is OperationKind.FLUSH:
            return one is not OperationKind.VERIFY and two is not OperationKind.VERIFY
        if one in _OF_RECORDS or two in _OF_RECORDS:
            return one in _OF_RECORDS and two in _OF_RECORDS
        return self.touches(other.where)

    def touches(self, where: tuple[int, int]) -> bool:
        """Whether it concerns a byte of that range."""
        offset, size = where
        return self.offset < offset + size and offset < self.offset + self.size

    @property
    def where(self) -> tuple[int, int]:
        """Offset and size."""
        return self.offset, self.size
