"""What the source of a resync could not copy."""

import attrs

from ctlha_trio.pair._range import Range


@attrs.frozen
class LeftOut:
    """A range that is marked still: not all of it could be read."""

    start: int
    """Where it begins, in bytes."""
    lost: Range
    """Blocks in it that nobody has whole."""

    def joined(self, other: "LeftOut") -> "LeftOut":
        """Both as one, with what lies between them."""
        begin, end = min(self.lost[0], other.lost[0]), max(sum(self.lost), sum(other.lost))
        return LeftOut(min(self.start, other.start), (begin, end - begin))
