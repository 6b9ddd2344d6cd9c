"""What happened in a run, in order: a line for whoever reads it, a digest of far more for whoever compares two runs."""

from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

import attrs

DRIVER_TIMELINE_HEADER: Final = f"{'time_s':>12}  node what"
"""Time is virtual, from the start of the run; a node of - stands for the world around both."""
EVERYWHERE: Final = "-"
"""Stands for the node of what happens to no single one."""


@attrs.frozen
class TimelineLine:
    """One thing that happened."""

    at_s: float
    """Virtual seconds since the run began."""
    node: str
    what: str

    def __str__(self) -> str:
        """As columns."""
        return f"{self.at_s:12.6f}  {self.node:<4} {self.what}"


@attrs.define(eq=False)
class Timeline:
    """Grows with the run."""

    _now_s: Callable[[], float]
    lines: list[TimelineLine] = attrs.field(factory=list, init=False)
    counts: Counter[str] = attrs.field(factory=Counter, init=False)
    """How often what happened, by names that the report gives."""
    events: int = attrs.field(default=0, init=False)
    """All that the digest covers."""
    _digest: Any = attrs.field(factory=sha256, init=False)

    def note(self, node: str, what: str) -> None:
        """Write a line."""
        self.lines.append(TimelineLine(self._now_s(), node, what))
        self.cover(node, what)

    def cover(self, node: str, what: str) -> None:
        """Let the digest tell of it, without a line."""
        self.events += 1
        self._digest.update(f"{self._now_s()!r} {node} {what}\n".encode())

    @property
    def digest(self) -> str:
        """SHA-256 of everything so far, in hexadecimal."""
        return str(self._digest.hexdigest())
