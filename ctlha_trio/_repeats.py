"""What comes again and again: worth a line when it changes, then rarely."""

from collections.abc import Hashable
from typing import Final

import attrs

REPEAT_S: Final = 600.0
"""Between two lines on what stays as it is: a peer that is stopped for a night is some hundred lines."""

KINDS_MAX: Final = 32
"""That are remembered; there are fewer, unless what is told of has another text each time."""


@attrs.frozen
class _Told:
    text: str
    at_s: float
    since: int = 0
    """How often it has come since."""


@attrs.define(eq=False)
class Repeats:
    """Remembers the last line of each kind, of which there should be few. Times are of whoever tells, in seconds."""

    _told: dict[Hashable, _Told] = attrs.field(factory=dict, init=False)

    def came(self, now_s: float, text: str, *, kind: Hashable = None) -> str | None:
        """The line to be written, which says how often it came unsaid; None if its kind has said the same lately."""
        told = self._told.get(kind)
        since = 0 if told is None or told.text != text else told.since
        if told is not None and told.text == text and now_s < told.at_s + REPEAT_S:
            self._told[kind] = attrs.evolve(told, since=since + 1)
            return None
        if len(self._told) >= KINDS_MAX and told is None:
            self._told.clear()
        self._told[kind] = _Told(text, now_s)
        return f"{text}, {since} times since it was last said" if since else text

    def ended(self, kind: Hashable) -> None:
        """Of that kind nothing comes any more: what comes next is told."""
        self._told.pop(kind, None)

    def forget(self) -> None:
        """Whatever comes next is told."""
        self._told.clear()
