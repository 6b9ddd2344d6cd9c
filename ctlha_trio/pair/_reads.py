"""Reads from this node's own disk: at a sole member just so, at one of two members under a permit from the other.

A read never shows what could still vanish: it waits for the writes of its range that are not complete. The primary has
them among its operations. The secondary does not know when they are durable at the primary: it reads what it has, asks,
and shows it once all that it can have found is settled. So a range that is written without a pause is read: the next
write of the same place cannot come before the primary knows that the last one is here.
"""

from collections.abc import Iterator
from typing import Final

from ctlha_trio.pair import _permits as permits, _proposals as proposals, actions as act, messages as msg
from ctlha_trio.pair._operation import READING, Operation, OperationKind, Outcome
from ctlha_trio.pair._phase import Phase
from ctlha_trio.pair._range import Range
from ctlha_trio.pair._state import UNHURT, Flight, Mirrored, PairState
from ctlha_trio.pair._step import Step

_PAIRED: Final = frozenset({Phase.MIRRORING, Phase.HANDING_OVER})
RESTARTS_MAX: Final = 16
"""Of one read at the secondary. Each may leave a call to the disk beside the next one. A read overtaken so often is of
a long range that many write, or of a disk that is slower than the line."""


def start(step: Step, flight: Flight, shows: int = 0) -> None:
    """Fetch the data, or what is to be compared: shown once the write ``shows`` and those before it are settled."""
    number = step.state.fetches + 1
    begun = flight.but(fetch=number, shows=shows, here=False, there=not shows, hurt=UNHURT, mended=flight.hurt)
    flights = tuple(begun if each is flight else each for each in step.state.flights)
    step.change(flights=flights, fetches=number)
    step.do(act.FetchRead(number, flight.ticket, flight.operation, permits.permit_epoch(step), flight.taken))


def restart(step: Step) -> None:
    """What was fetched, or is being fetched, proves nothing any more: every read begins anew when it may."""
    flights = tuple(not_begun(f) for f in step.state.flights)
    step.change(flights=flights, settled_asked=0)


def not_begun(flight: Flight) -> Flight:
    """As it came, if it is a read."""
    if not flight.is_read:
        return flight
    return flight.but(fetch=0, shows=0, here=False, there=False, hurt=UNHURT, miscompare_at=None)


def by_fetch(step: Step, fetch: int) -> Flight | None:
    """The read of that number, if it has not ended or begun anew."""
    return next((f for f in step.state.flights if f.fetch == fetch), None)


# The secondary.


def start_following(step: Step) -> None:
    """Start the reads of which the range is not being written here, and ask for those that wait for the primary.

    A read also waits for what came to this node before it and writes its range, and a flush for everything that did.
    """
    if not step.state.flights:
        return
    earlier: list[Operation] = []
    for flight in step.state.flights:
        kind = flight.operation.kind
        if not flight.started and not any(flight.operation.conflicts(other) for other in earlier):
            if kind is OperationKind.FLUSH:
                _pass_flush(step, flight)
            elif kind in READING and _is_whole(step.state, flight):
                start(step, flight, _awaited(step.state, flight))
        earlier.append(flight.operation)
    step.change(flights=tuple(_look_for_settled(step.state, f) for f in step.state.flights))
    waiting = (f for f in step.state.flights if f.operation.kind in READING and not f.there)
    newest = max((f.shows or _awaited(step.state, f) for f in waiting), default=0)
    newest = max(newest, proposals.asked_for(step.state))
    if newest and not step.state.settled_asked:
        step.change(settled_asked=newest)
        step.send(msg.SettledAsked(step.state.epoch, newest))


def _pass_flush(step: Step, flight: Flight) -> None:
    """Nothing to do: whatever was answered is durable on both."""
    number = step.state.fetches + 1
    passed = flight.but(fetch=number, here=True, there=True)
    step.change(flights=tuple(passed if f is flight else f for f in step.state.flights), fetches=number)


def _shows(operation: Operation, where: Range | None) -> bool:
    """Whether it reads what is written there; None for records."""
    if where is None:
        return operation.kind is OperationKind.READ_RECORDS
    return operation.kind is OperationKind.READ and operation.touches(where)


def _met(state: PairState, flight: Flight) -> Iterator[Mirrored]:
    return (each for each in state.unsettled if _shows(flight.operation, each.where))


def _awaited(state: PairState, flight: Flight) -> int:
    """The newest write that the read must wait for; 0 for none."""
    return max((each.sequence for each in _met(state, flight)), default=0)


def _is_whole(state: PairState, flight: Flight) -> bool:
    """Whether no write of the range is under way on this disk, and none was refused and waits for a repair."""
    unfinished = state.storing | state.refused
    return not any(each.sequence in unfinished for each in _met(state, flight))


def _look_for_settled(state: PairState, flight: Flight) -> Flight:
    if not flight.shows:
        return flight
    open_still = any(each.sequence <= flight.shows for each in _met(state, flight))
    return flight if open_still else flight.but(there=True, shows=0)


def overwritten(step: Step, where: Range | None) -> None:
    """It is about to be written there, or a record is: a read under way could get a part of it, and begins anew.

    One that has its data keeps it. One that was overtaken too often is not executed: its client turns to the primary.
    """
    if not step.state.flights:
        return
    flights: list[Flight] = []
    for flight in step.state.flights:
        if flight.here or not _shows(flight.operation, where):
            flights.append(flight)
        elif flight.restarts < RESTARTS_MAX:
            flights.append(not_begun(flight).but(restarts=flight.restarts + 1))
        else:
            step.do(act.Answer(flight.ticket, Outcome.NOT_PRIMARY))
    step.change(flights=tuple(flights))


def settled(step: Step, message: msg.Settled) -> None:
    """Everything up to there is durable on both."""
    unsettled = tuple(each for each in step.state.unsettled if each.sequence > message.sequence)
    refused = frozenset(each for each in step.state.refused if each > message.sequence)
    step.change(unsettled=unsettled, refused=refused, settled_asked=0)
    proposals.settle(step, message.sequence)


# The primary.


def settled_asked(step: Step, message: msg.SettledAsked) -> None:
    """The secondary has a read that waits."""
    step.change(settled_wanted=max(step.state.settled_wanted, message.sequence))


def ended_anew(step: Step, flight: Flight) -> None:
    """A write that was begun anew is on both: the secondary keeps its earlier starts for open until it is told."""
    if step.state.phase in _PAIRED:
        step.change(settled_wanted=max(step.state.settled_wanted, flight.sequence))


def tell_settled(step: Step) -> None:
    """Say so once it is."""
    state = step.state
    wanted = state.settled_wanted
    if not wanted or state.phase not in _PAIRED:
        return
    # A write that one disk has, and that is begun anew for the other, has another sequence than the one asked for.
    if not any(f.unsettled and (f.tried or f.sequence <= wanted) for f in state.flights):
        step.change(settled_wanted=0)
        step.send(msg.Settled(state.epoch, wanted))
