"""How late something that is done again and again was: the last time, and at the most lately."""

import attrs

LATELY_S = 30.0
"""The largest is that of so long at least, and of twice as long at most."""


@attrs.define(eq=False)
class Lateness:
    """Two spans of time, the present and the one before: however much is noted, nothing more is kept."""

    last_s: float | None = None
    """None before the first."""
    _most_s: float = 0.0
    _most_before_s: float = 0.0
    _began_s: float = 0.0

    def note(self, late_s: float, now: float) -> None:
        """It was so late this time."""
        self._turn(now)
        self.last_s = late_s
        self._most_s = max(self._most_s, late_s)

    def most_s(self, now: float) -> float | None:
        """The largest of the recent ones; None before the first."""
        self._turn(now)
        return None if self.last_s is None else max(self._most_s, self._most_before_s)

    def _turn(self, now: float) -> None:
        age_s = now - self._began_s
        if age_s >= LATELY_S:
            self._most_before_s = self._most_s if age_s < 2 * LATELY_S else 0.0
            self._most_s, self._began_s = 0.0, now
