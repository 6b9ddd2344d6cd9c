"""What a node says of the latest comparison of the two copies."""

import logging
from collections.abc import Callable
from typing import Final, Literal

import attrs

from ctlha_trio._errors import FailedError
from ctlha_trio.pair import PairState, events
from ctlha_trio.seams import Clock

_LOG: Final = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class FoundStatus:
    """One finding."""

    what: str
    """``differs``, ``repaired-here``, ``repaired-there`` or ``unreadable``: a value of ``Finding``."""
    offset: int
    size: int


@attrs.frozen(kw_only=True)
class VerificationStatus:
    """How far it is and what it has found."""

    number: int
    """Of those that were asked for since the node started."""
    state: Literal["running", "interrupted", "complete"]
    why: str
    """It was interrupted."""
    goes_on: bool
    """Asked for again now, it goes on where it was interrupted: both copies are still those that it compared."""
    bytes_compared: int
    bytes_total: int
    began_at_s: float
    """On the node's monotonic clock, as ``at_s`` of a transition."""
    ended_at_s: float | None
    differing_bytes: int
    repaired_bytes: int
    unreadable_bytes: int
    found: tuple[FoundStatus, ...]
    """The first findings, in their order; the sums hold all."""


@attrs.define(eq=False)
class VerificationRequests:
    """Asks the core for comparisons, and keeps the times of the latest one."""

    _feed: Callable[[events.Event], None]
    _state: Callable[[], PairState]
    _clock: Clock
    _problem: str = attrs.field(default="", init=False)
    _number: int = attrs.field(default=0, init=False)
    _began_at_s: float = attrs.field(default=0.0, init=False)
    _ended_at_s: float | None = attrs.field(default=None, init=False)

    def ask(self) -> int:
        """Begin to compare both copies, or go on with it; its number. ``FailedError`` with the reason if not."""
        self._problem = ""
        self._feed(events.VerifyAsked())
        verification = self._state().verification
        if self._problem or verification is None:
            raise FailedError(self._problem)
        if verification.number != self._number:
            self._number, self._began_at_s, self._ended_at_s = verification.number, self._clock.now(), None
        return self._number

    def end(self, problem: str) -> None:
        """The core says so: of the latest, or of one that it did not begin."""
        self._problem = problem
        if self._ended_at_s is None:
            self._ended_at_s = self._clock.now()
        _LOG.info("verification ended: %s", problem or "everything was compared")

    def status(self) -> VerificationStatus | None:
        """None if none was asked for since the node started."""
        verification = self._state().verification
        if verification is None:
            return None
        state: Literal["running", "interrupted", "complete"] = "interrupted" if verification.why else "complete"
        return VerificationStatus(
            number=verification.number,
            state="running" if verification.running else state,
            why=verification.why,
            goes_on=verification.goes_on_with(self._state().partner),
            bytes_compared=verification.cursor - sum(size for _, size in verification.left),
            bytes_total=self._state().size_bytes,
            began_at_s=self._began_at_s,
            ended_at_s=self._ended_at_s,
            differing_bytes=verification.differing_bytes,
            repaired_bytes=verification.repaired_bytes,
            unreadable_bytes=verification.unreadable_bytes,
            found=tuple(
                FoundStatus(what=each.what.value, offset=each.offset, size=each.size) for each in verification.found
            ),
        )
