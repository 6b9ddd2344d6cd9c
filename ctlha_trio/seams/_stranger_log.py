"""What is logged of who comes to a port: anybody can come, as often as he likes, and must not fill a disk by it."""

import logging
from enum import Enum

import attrs

WINDOW_S = 60.0
"""Between two lines on the same source."""

SOURCES_MAX = 16
"""That are told of by name in a window, for each fate once. With what is summed up, that is a line every two seconds
at most, whoever comes."""


class Fate(Enum):
    """What became of a connection, with the level that it is worth."""

    UNTRUSTED = "is not trusted", logging.WARNING
    UNPROVED = "did not prove itself", logging.INFO
    """A port scan, or one that was gone before it could be wrapped: nothing that a person must see."""
    SLOW = "did not prove itself in time", logging.INFO
    SURPLUS = "is one too many", logging.INFO
    FAILED = "ended", logging.INFO

    @property
    def level(self) -> int:
        """Of ``logging``."""
        return self.value[1]

    def __str__(self) -> str:
        return self.value[0]


@attrs.frozen
class Line:
    """To be written."""

    level: int
    text: str


@attrs.define(eq=False)
class StrangerLog:
    """Tells of a source and its fate once, then how often they came again. Times are of whoever tells, in seconds.

    Those that go on to come stay known, and are only counted; so one crowd is a line a minute. Beyond ``SOURCES_MAX``
    all are counted together.
    """

    _address: str
    """Where they come to."""
    _began_s: float = attrs.field(default=0.0, init=False)
    _again: dict[tuple[str, Fate], int] = attrs.field(factory=dict, init=False)
    """How often each that was told of has come since."""
    _others: int = attrs.field(default=0, init=False)
    _latest_other: Line | None = attrs.field(default=None, init=False)

    def came(self, now: float, source: str, fate: Fate, detail: str = "") -> Line | None:
        """One more connection has ended so; the line to be written, if it is worth one."""
        if not self._again:
            self._began_s = now
        key = source, fate
        if key in self._again:
            self._again[key] += 1
            return None
        line = Line(fate.level, f"a connection to {self._address} {fate}{detail and ': '}{detail or ''}")
        if len(self._again) < SOURCES_MAX:
            self._again[key] = 0
            return line
        self._others += 1
        if self._latest_other is None or line.level >= self._latest_other.level:
            self._latest_other = line
        return None

    @property
    def due_s(self) -> float | None:
        """When to sum up; None while there is nobody to tell of."""
        return self._began_s + WINDOW_S if self._again else None

    def sum_up(self, now: float) -> list[Line]:
        """What is to be written of all that was only counted; those that came but once are forgotten."""
        within = f"in {now - self._began_s:.0f} s"
        lines = [
            Line(fate.level, f"a connection to {self._address} {fate}: and {count:,} more from {source} {within}")
            for (source, fate), count in self._again.items()
            if count
        ]
        if self._latest_other is not None:
            text = f"{self._latest_other.text}; and {self._others - 1:,} more from other sources {within}"
            lines.append(Line(self._latest_other.level, text))
        self._again = {key: 0 for key, count in self._again.items() if count}
        self._others, self._latest_other = 0, None
        self._began_s = now
        return lines
