"""What the log of decisions tells beside the records: how the node stopped, what was refused, fences and releases."""

from collections.abc import Callable
from typing import Final

import attrs

from ctlha_trio._errors import CtlHaError, RefusedError, UntrustedPeerError
from ctlha_trio.ha._status import has_stopped
from ctlha_trio.pair import PairState, Phase, SwapOutcome, events
from ctlha_trio.wire import Refusal

HALT: Final = "halt"
"""It serves nothing any more until a person has looked."""
REFUSED: Final = "refused"

_SWAPS: Final = {Phase.ADMITTING: "admit", Phase.HANDING_OVER: "handover"}
"""What is proposed in a phase; in all others it is a claim. A person's commands have other names."""
_OUTCOMES: Final = {
    SwapOutcome.LOST: "lost: the record had changed",
    SwapOutcome.REFUSED: "the arbiter did not take it",
}


@attrs.frozen(kw_only=True)
class Notice:
    """One of them."""

    what: str
    """``stop``, ``halt``, or what was refused: a command, ``peer``, ``claim``, ``admit``, ``handover``, ``force``.

    Of a component that runs where the role is: ``fence``, ``release``.
    """
    outcome: str
    """``asked``, ``done`` and ``unclean`` of a stop, ``done`` of a halt, else ``refused``.

    ``asked``, ``done`` and ``refused`` of a fence, ``done`` and ``unknown`` of a release.
    """
    why: str
    kind: str = ""
    """Of a refusal, where ``why`` may say it in other words each time; otherwise empty."""
    epoch: int
    revision: int


@attrs.define(eq=False)
class Notices:
    """Given to whoever follows them, at once. A follower must neither wait nor raise."""

    _state: Callable[[], PairState]
    _mark_tried: Callable[[], bool]
    """Of a copy that has died: see ``judge``."""
    followers: list[Callable[[Notice], None]] = attrs.field(factory=list, init=False)
    _has_halted: bool = attrs.field(default=False, init=False)

    def tell(self, what: str, outcome: str, why: str, *, kind: str = "") -> None:
        """In the epoch in which the node is now."""
        state = self._state()
        notice = Notice(what=what, outcome=outcome, why=why, kind=kind, epoch=state.epoch, revision=state.revision)
        for follow in self.followers:
            follow(notice)

    def stepped(self, before: PairState, event: events.Event, after: PairState) -> None:
        """The core took a step."""
        if isinstance(event, events.Swapped) and event.outcome in _OUTCOMES:
            what = "force" if before.forcing else _SWAPS.get(before.phase, "claim")
            self.tell(what, REFUSED, _OUTCOMES[event.outcome], kind=event.outcome.value)
        self._look_stopped(after)

    def note_mark_tried(self) -> None:
        """The mark of a copy that has died is made, or its disk has not taken it."""
        self._look_stopped(self._state())

    def _look_stopped(self, state: PairState) -> None:
        if has_stopped(state, mark_tried=self._mark_tried()) and not self._has_halted:
            # Once: one that has stopped may be told of a later record yet, and remembers that too.
            self._has_halted = True
            self.tell(HALT, "done", state.why)

    def reported(self, error: CtlHaError) -> None:
        """The link has met a fault. Of two connections at once one is always refused, which means nothing."""
        if isinstance(error, RefusedError) and error.reason != Refusal.SIMULTANEOUS:
            self.tell("peer", REFUSED, str(error), kind=f"{error.reason}, {error.by_peer}")
        elif isinstance(error, UntrustedPeerError):
            self.tell("peer", REFUSED, str(error), kind="untrusted")
