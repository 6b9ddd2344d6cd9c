"""What the demo found: its timeline, its counts and its verdict."""

from collections.abc import Iterator
from enum import Enum

import attrs

from ctlha_trio._errors import FailedError


class DemoViolation(FailedError):
    """Something did not hold. The message says what, and where."""


class Moment(Enum):
    """The steps of the timeline, in their order."""

    LOST = "lost"
    SWAPPED = "swapped"
    SERVING = "serving"
    RETURNED = "returned"
    RESYNCED = "resynced"
    HANDED_BACK = "handed back"
    VERIFIED = "verified"


_MEANING = {
    Moment.LOST: "after the kill, the survivor noticed",
    Moment.SWAPPED: "after the kill, the arbiter's record names the survivor alone",
    Moment.SERVING: "after the kill, the first write was acknowledged",
    Moment.RETURNED: "after its start, the killed node answered",
    Moment.RESYNCED: "later both copies counted again",
    Moment.HANDED_BACK: "for the role to go back where it was",
    Moment.VERIFIED: "for both whole copies to be compared",
}


@attrs.define(eq=False)
class DemoReport:
    """Filled in while the demo runs."""

    acknowledged_writes: int = 0
    lost_writes: int = 0
    """Blocks that a reader found without the last write that was acknowledged there."""
    copies_equal: bool = False
    """Whether both whole copies equal the file; not before they were compared."""
    verdict: str = "not finished"
    passed: bool = False
    durations_s: dict[Moment, float] = attrs.field(factory=dict)
    total_s: float = 0.0

    def as_json(self) -> dict[str, object]:
        """One flat object; a duration of a step that was not reached, or not needed, is null."""
        durations = {f"{moment.value.replace(' ', '_')}_s": self._rounded(moment) for moment in Moment}
        return {
            "acknowledged_writes": self.acknowledged_writes,
            "lost_writes": self.lost_writes,
            "copies_equal": self.copies_equal,
            "verdict": self.verdict,
            **durations,
            "total_s": round(self.total_s, 3),
        }

    def lines(self) -> Iterator[str]:
        """The timeline, then the verdict."""
        for moment in Moment:
            if moment in self.durations_s:
                yield f"{moment.value:<12} {self.durations_s[moment]:8.3f} s  {_MEANING[moment]}"
        yield f"{'passed' if self.passed else 'FAILED'}: {self.verdict}"

    def _rounded(self, moment: Moment) -> float | None:
        duration_s = self.durations_s.get(moment)
        return None if duration_s is None else round(duration_s, 3)
