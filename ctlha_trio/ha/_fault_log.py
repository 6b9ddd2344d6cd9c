"""The log of what the link reports: a fault that comes twice a second is told when it changes, then rarely."""

import logging
from typing import Final

import attrs

from ctlha_trio._errors import CtlHaError, RefusedError, RemoteProtocolError
from ctlha_trio._repeats import Repeats
from ctlha_trio.seams import Clock

_LOG: Final = logging.getLogger(__name__)


@attrs.define(eq=False)
class FaultLog:
    """Remembers one fault of each kind; there are as many as there are reasons to refuse."""

    _clock: Clock
    _session: int = attrs.field(default=0, init=False)
    _repeats: Repeats = attrs.field(factory=Repeats, init=False)

    def report(self, error: CtlHaError, *, session: int) -> None:
        """Tell of it, unless the last of its kind said the same and that is not long ago. Not a checkpoint.

        ``session``: how many there have been. After another one everything is told afresh.
        """
        if session != self._session:
            self._session = session
            self._repeats.forget()
        reason = error.reason if isinstance(error, RefusedError | RemoteProtocolError) else ""
        line = self._repeats.came(self._clock.now(), str(error), kind=(type(error), reason))
        if line is not None:
            _LOG.warning("link: %s", line)
