"""Refusals that repeat: one line when they begin, one with their number when they have ended. No I/O, no time.

A command at a stopped node is a process of its own, which remembers nothing: it goes by what stands in the log.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

import attrs

from ctlha_trio._parsed_json import parse_json
from ctlha_trio.ha import REFUSED, Notice

QUIET_S: Final = 60.0
"""After which a refusal is over: a peer that comes back each second, for a night, is two lines."""
KINDS_MAX: Final = 32
"""That are told apart at one time; there are fewer, unless somebody makes them up."""
OTHERS: Final = "others"
STANDS_FOR: Final = timedelta(hours=1)
"""A refusal in the log, for those of its kind that come after it: a script that retries for ever is 24 lines a day."""


@attrs.frozen
class Ended:
    """A refusal that came more than once, and comes no more."""

    last: Notice
    count: int
    """How often it came, the first included."""


@attrs.frozen
class _Open:
    last: Notice
    count: int
    at_s: float


@attrs.define(eq=False)
class Refusals:
    """Those that may come again."""

    _open: dict[tuple[str, str], _Open] = attrs.field(factory=dict, init=False)

    def came(self, now_s: float, notice: Notice) -> bool:
        """Whether it is the first of its kind for a while, and is to be told."""
        key = (notice.what, notice.kind or notice.why)
        if key not in self._open and len(self._open) >= KINDS_MAX:
            key = (OTHERS, "")
        known = self._open.get(key)
        self._open[key] = _Open(notice, 1 if known is None else known.count + 1, now_s)
        return known is None

    def ended(self, now_s: float) -> Iterator[Ended]:
        """Those that have not come for ``QUIET_S``; each is given once."""
        yield from self._end([key for key, each in self._open.items() if each.at_s + QUIET_S <= now_s])

    def end_all(self) -> Iterator[Ended]:
        """Likewise, however lately they came."""
        yield from self._end(list(self._open))

    def _end(self, keys: list[tuple[str, str]]) -> Iterator[Ended]:
        for key in keys:
            each = self._open.pop(key)
            if each.count > 1:
                yield Ended(each.last, each.count)


def stands(lines: Iterable[bytes], decision: str, why: str, now: datetime) -> bool:
    """Whether the end of a log of decisions, in its order, says already that this was refused, and lately.

    A try that was begun since then needs an end of its own. What is no line of such a log, says nothing.
    """
    found = False
    for line in lines:
        try:
            fields = parse_json(line)
            if fields["decision"] == decision:
                if fields["outcome"] != REFUSED:
                    found = False
                elif fields["why"] == why:
                    found = timedelta() <= now - datetime.fromisoformat(fields["at"]) < STANDS_FOR
        except (ValueError, TypeError, KeyError):
            continue
    return found
