"""A bar for long work: how much of it is done, how fast it goes, and how long it will take."""

from typing import Final

import attrs

BAR_CHARACTERS: Final = 24
RATE_OVER_S: Final = 10.0
"""A rate over less time jumps, one over more does not tell what is so now."""
_STEP: Final = 1024
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


@attrs.define(eq=False)
class Progress:
    """Of one kind of work, which may end and begin again. It is told what is left, and when, in seconds."""

    _whole_bytes: int = attrs.field(default=0, init=False)
    """The most that was ever left of the work under way."""
    _seen: list[tuple[float, int]] = attrs.field(factory=list, init=False)

    def update(self, now_s: float, left_bytes: int) -> None:
        """That much is left now; nothing ends the work."""
        if not left_bytes:
            self._whole_bytes = 0
            self._seen.clear()
            return
        self._whole_bytes = max(self._whole_bytes, left_bytes)
        self._seen.append((now_s, left_bytes))
        while self._seen[0][0] < now_s - RATE_OVER_S and self._seen[1][0] <= now_s - RATE_OVER_S:
            del self._seen[0]

    @property
    def line(self) -> str:
        """The bar and its figures; empty while nothing is under way."""
        if not self._seen:
            return ""
        left_bytes = self._seen[-1][1]
        done = 1.0 - left_bytes / self._whole_bytes
        full = int(done * BAR_CHARACTERS)
        bar = "#" * full + "." * (BAR_CHARACTERS - full)
        return f"[{bar}] {int(100 * done):3} %   {size_of(left_bytes)} left{self._pace(left_bytes)}"

    def _pace(self, left_bytes: int) -> str:
        (then_s, then_bytes), (now_s, _) = self._seen[0], self._seen[-1]
        if now_s <= then_s or then_bytes <= left_bytes:
            return ""
        bytes_per_s = (then_bytes - left_bytes) / (now_s - then_s)
        return f"   {size_of(bytes_per_s)}/s   {duration_of(left_bytes / bytes_per_s)} to go"


def size_of(count: float) -> str:
    """Bytes for people: three digits at least."""
    unit = 0
    while count >= _STEP and unit < len(_UNITS) - 1:
        count, unit = count / _STEP, unit + 1
    return f"{count:.0f} B" if unit == 0 else f"{count:.1f} {_UNITS[unit]}"


def duration_of(seconds: float) -> str:
    """Seconds for people."""
    whole = round(seconds)
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S} s"
    return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S} min"
