"""The log of what the link reports: a fault that comes twice a second is told when it changes, then rarely."""

import logging
from typing import Final

import attrs

from ctlha_trio._errors import CtlHaError, RefusedError, RemoteProtocolError
from ctlha_trio.seams import Clock

REPEAT_S: Final = 600.0
"""Between two lines on a fault that stays as it is: a peer that is stopped for a night is some hundred lines."""

_LOG: Final = logging.getLogger(__name__)


@attrs.frozen
class _Told:
    text: str
    at_s: float
    since: int = 0
    """How often it has come since."""


@attrs.define(eq=False)
class FaultLog:
    """Remembers one fault of each kind; there are as many as there are reasons to refuse."""

    _clock: Clock
    _session: int = attrs.field(default=0, init=False)
    _told: dict[tuple[type[CtlHaError], str], _Told] = attrs.field(factory=dict, init=False)

    def report(self, error: CtlHaError, *, session: int) -> None:
        """Tell of it, unless the last of its kind said the same and that is not long ago. Not a checkpoint.

        ``session``: how many there have been. After another one everything is told afresh.
        """
        if session != self._session:
            self._session = session
            self._told.clear()
        reason = error.reason if isinstance(error, RefusedError | RemoteProtocolError) else ""
        kind, text, now_s = (type(error), reason), str(error), self._clock.now()
        told = self._told.get(kind)
        if told is not None and told.text == text and now_s < told.at_s + REPEAT_S:
            self._told[kind] = attrs.evolve(told, since=told.since + 1)
            return
        again = f", {told.since} times since it was last said" if told is not None and told.since else ""
        self._told[kind] = _Told(text, now_s)
        _LOG.warning("link: %s%s", text, again)
