"""What seeds must lead a core to beside its transitions: what it does about writes that a disk refused."""

from collections.abc import Iterator
from typing import Final

from ctlha_trio.pair import Outcome, PairState, Phase, actions as act, events as ev

_REFUSED: Final = {
    Phase.FOLLOWING: "the secondary refuses a write",
    Phase.RESYNCING: "the target of a resync refuses a write",
    Phase.MIRRORING: "the primary refuses a write",
    Phase.ALONE: "the only member refuses a write",
    Phase.ADMITTING: "the only member refuses a write",
}
_GIVEN_UP: Final = "a write that one disk alone has executed is given up"
_RENEWED: Final = "a resync begins anew, in another session"
CORE_SITUATIONS: Final = frozenset({*_REFUSED.values(), _GIVEN_UP, _RENEWED})
_PAIRED: Final = frozenset({Phase.MIRRORING, Phase.HANDING_OVER})


def situations_of(before: PairState, event: ev.Event, ordered: tuple[act.Action, ...]) -> Iterator[str]:
    """Those that this step of a core was."""
    if isinstance(event, ev.Damaged) and before.phase in _REFUSED and _is_write(before, event.sequence):
        yield _REFUSED[before.phase]
    for action in ordered:
        if isinstance(action, act.DropSession) and not action.blames_peer:
            yield _RENEWED
        elif isinstance(action, act.ReportMediumError) and before.phase in _PAIRED and _gives_up(before, ordered):
            yield _GIVEN_UP


def _gives_up(before: PairState, ordered: tuple[act.Action, ...]) -> bool:
    unknown = {each.ticket for each in ordered if isinstance(each, act.Answer) and each.outcome is Outcome.UNKNOWN}
    return any(flight.tried and flight.ticket in unknown for flight in before.flights)


def _is_write(state: PairState, sequence: int) -> bool:
    own = any(flight.sequence == sequence and flight.is_write for flight in state.flights)
    return own or sequence in state.storing
