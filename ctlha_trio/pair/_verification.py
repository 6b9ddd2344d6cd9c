"""How far the comparison of the two copies has come, and what it has found. A value; ``_verify`` makes it."""

from enum import Enum

import attrs

from ctlha_trio.pair._range import Range

FINDINGS_LIMIT = 64
"""Findings kept by place. More are counted; a copy with more of them is looked at as a whole, not place by place."""


class Finding(Enum):
    """What a comparison of the two copies can find."""

    DIFFERS = "differs"
    """Both copies give the range as it was written, and it is not the same. Nothing explains that."""
    REPAIRED_HERE = "repaired-here"
    """A damaged block of the primary, written anew from the secondary's copy."""
    REPAIRED_THERE = "repaired-there"
    """A damaged block of the secondary, written anew from the primary's."""
    UNREADABLE = "unreadable"
    """Damaged on both copies."""


@attrs.frozen
class Found:
    """A finding and its place."""

    what: Finding
    offset: int
    size: int


@attrs.frozen
class Verification:
    """One pass over the volume. Whatever interrupts it, what was compared of the same two files stays compared."""

    number: int
    """Of those that were asked for at this process."""
    partner: int = 0
    """The peer's incarnation, which has one file as long as it runs; 0 where a copy was made anew since."""
    running: bool = True
    why: str = ""
    """It was interrupted; empty if it is complete, or runs."""
    cursor: int = 0
    """Everything below, in bytes, was compared, but for ``left``."""
    left: tuple[Range, ...] = ()
    """Parts of a range that was not equal as a whole."""
    resting: bool = False
    """Clients have the disks to themselves for a moment."""
    found: tuple[Found, ...] = ()
    """The first findings, in their order."""
    differing_bytes: int = 0
    repaired_bytes: int = 0
    unreadable_bytes: int = 0

    def goes_on_with(self, partner: int) -> bool:
        """Whether, asked for again while this node mirrors with ``partner``, it goes on where it was interrupted."""
        return bool(self.why) and self.partner == partner != 0

    def compared(self, where: Range, parts: tuple[Range, ...] = ()) -> "Verification":
        """With the next range behind it; ``parts`` of it are to be compared by themselves."""
        if self.left:
            return attrs.evolve(self, left=(*parts, *self.left[1:]))
        return attrs.evolve(self, cursor=sum(where), left=parts)

    def note(self, what: Finding, where: Range) -> "Verification":
        """With one more finding."""
        offset, size = where
        found = (*self.found, Found(what, offset, size)) if len(self.found) < FINDINGS_LIMIT else self.found
        field = {Finding.DIFFERS: "differing_bytes", Finding.UNREADABLE: "unreadable_bytes"}.get(what, "repaired_bytes")
        return attrs.evolve(self, found=found, **{field: getattr(self, field) + size})
