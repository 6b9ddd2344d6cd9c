"""Ranges of the volume."""

Range = tuple[int, int]
"""Offset and size in bytes of a range of the volume."""


def overlap(one: Range | None, other: Range | None) -> bool:
    """Whether there is a byte that is in both."""
    return one is not None and other is not None and one[0] < sum(other) and other[0] < sum(one)
