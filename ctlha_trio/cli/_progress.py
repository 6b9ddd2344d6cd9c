"""A bar for long work: how much of it is done, how fast it goes, and how long it will take."""

from typing import Final

import attrs

BAR_CHARACTERS: Final = 24
_STEP: Final = 1024
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


@attrs.define(eq=False)
class Progress:
    """Of one kind of work, which may end and begin again."""

    _whole_bytes: int = attrs.field(default=0, init=False)
    """The most that was ever left of the work under way."""

    def line(self, left_bytes: int, *, bytes_per_s: int, left_s: int | None) -> str:
        """The bar and its figures, of which those that are not known are left out; empty if nothing is left."""
        if not left_bytes:
            self._whole_bytes = 0
            return ""
        self._whole_bytes = max(self._whole_bytes, left_bytes)
        done = 1.0 - left_bytes / self._whole_bytes
        full = int(done * BAR_CHARACTERS)
        bar = "#" * full + "." * (BAR_CHARACTERS - full)
        pace = "" if left_s is None else f"   {size_of(bytes_per_s)}/s   about {duration_of(left_s)} to go"
        return f"[{bar}] {int(100 * done):3} %   {size_of(left_bytes)} left{pace}"


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
