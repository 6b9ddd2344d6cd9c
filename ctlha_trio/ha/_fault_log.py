"""The log of what the link reports: a fault that comes twice a second is told when it changes, then rarely."""

import logging
from typing import Final

import attrs

from ctlha_trio._errors import CtlHaError, RefusedError, RemoteProtocolError
from ctlha_trio._repeats import Repeats
from ctlha_trio.ha._misconfiguration import keys_to_look_at
from ctlha_trio.seams import Clock

LINES_MAX: Final = 20
"""In ``LINES_S``: who has the peer's key can have another fault each time, but not fill a disk by that."""
LINES_S: Final = 60.0

_LOG: Final = logging.getLogger(__name__)


@attrs.define(eq=False)
class FaultLog:
    """Remembers one fault of each kind; there are as many as there are reasons to refuse."""

    _clock: Clock
    _session: int = attrs.field(default=0, init=False)
    _repeats: Repeats = attrs.field(factory=Repeats, init=False)
    _since_s: float = attrs.field(default=0.0, init=False)
    _lines: int = attrs.field(default=0, init=False)
    """Since then."""
    _untold: int = attrs.field(default=0, init=False)
    """Faults that came when there were as many lines as may be."""

    def report(self, error: CtlHaError, *, session: int) -> None:
        """Tell of it, unless the last of its kind said the same and that is not long ago. Not a checkpoint.

        As an error with what to look at, if only a person can put it right; else as a warning.
        ``session``: how many there have been. After another one everything is told afresh.
        """
        if session != self._session:
            self._session = session
            self._repeats.forget()
        reason = error.reason if isinstance(error, RefusedError | RemoteProtocolError) else ""
        now = self._clock.now()
        if now >= self._since_s + LINES_S:
            self._begin_lines(now)
        if self._lines >= LINES_MAX:
            self._untold += 1
            return
        keys = keys_to_look_at(error)
        text = f"{error}; look at {keys} in both configurations" if keys else str(error)
        line = self._repeats.came(now, text, kind=(type(error), reason))
        if line is not None:
            self._lines += 1
            _LOG.log(logging.ERROR if keys else logging.WARNING, "link: %s", line)

    def _begin_lines(self, now: float) -> None:
        self._since_s, self._lines = now, 0
        if self._untold:
            _LOG.warning("link: %d more faults came than may be told of", self._untold)
            self._untold = 0
