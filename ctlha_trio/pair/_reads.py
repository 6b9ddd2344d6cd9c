"""Reads from this node's own disk: at a sole member just so, at one of two members under a permit from the other.

A read never shows what could still vanish: it waits for the writes of its range that are not complete. The primary has
them among its operations. The secondary does not know when they are durable at the primary: it asks, when a read waits.
"""

import attrs

from ctlha_trio.pair import _permits as permits, actions as act, messages as msg
from ctlha_trio.pair._operation import Operation, OperationKind
from ctlha_trio.pair._phase import Phase
from ctlha_trio.pair._state import UNHURT, Flight, PairState
from ctlha_trio.pair._step import Step


def start(step: Step, flight: Flight) -> None:
    """Fetch the data."""
    number = step.state.fetches + 1
    begun = attrs.evolve(flight, fetch=number, here=False, there=True, hurt=UNHURT, mended=flight.hurt)
    flights = tuple(begun if each is flight else each for each in step.state.flights)
    step.change(flights=flights, fetches=number)
    step.do(act.FetchRead(number, flight.ticket, flight.operation, permits.permit_epoch(step)))


def restart(step: Step) -> None:
    """What was fetched, or is being fetched, proves nothing any more: every read begins anew when it may."""
    flights = tuple(_not_begun(f) for f in step.state.flights)
    step.change(flights=flights, settled_asked=0)


def _not_begun(flight: Flight) -> Flight:
    if flight.operation.kind is not OperationKind.READ:
        return flight
    return attrs.evolve(flight, fetch=0, here=False, there=False, hurt=UNHURT)


# The secondary.


def start_following(step: Step) -> None:
    """Start the reads of which the range is settled, and ask for those that wait for the primary's word.

    A read waits for the writes that came to this node before it, too, and a flush for everything.
    """
    earlier: list[Operation] = []
    for flight in step.state.flights:
        if not flight.started and not any(flight.operation.conflicts(other) for other in earlier):
            if flight.operation.kind is OperationKind.FLUSH:
                _pass_flush(step, flight)
            elif flight.operation.kind is OperationKind.READ and not _awaited(step.state, flight):
                start(step, flight)
        earlier.append(flight.operation)
    waits_for = [_awaited(step.state, f) for f in step.state.flights if f.operation.kind is OperationKind.READ]
    newest = max(waits_for, default=0)
    if newest and not step.state.settled_asked:
        step.change(settled_asked=newest)
        step.send(msg.SettledAsked(step.state.epoch, newest))


def _pass_flush(step: Step, flight: Flight) -> None:
    """Nothing to do: all that was answered is durable on both."""
    number = step.state.fetches + 1
    passed = attrs.evolve(flight, fetch=number, here=True, there=True)
    step.change(flights=tuple(passed if f is flight else f for f in step.state.flights), fetches=number)


def _awaited(state: PairState, flight: Flight) -> int:
    """The newest write that the read must wait for; 0 for none."""
    return max((each.sequence for each in state.unsettled if flight.operation.touches(each.where)), default=0)


def overwritten(step: Step, where: tuple[int, int]) -> None:
    """The primary writes there: a read under way could get a part of it, and begins anew when that is settled."""
    flights = tuple(_not_begun(f) if f.operation.touches(where) else f for f in step.state.flights)
    step.change(flights=flights)


def settled(step: Step, message: msg.Settled) -> None:
    """Everything up to there is durable on both."""
    unsettled = tuple(each for each in step.state.unsettled if each.sequence > message.sequence)
    step.change(unsettled=unsettled, settled_asked=0)


# The primary.


def settled_asked(step: Step, message: msg.SettledAsked) -> None:
    """The secondary has a read that waits."""
    step.change(settled_wanted=max(step.state.settled_wanted, message.sequence))


def tell_settled(step: Step) -> None:
    """Say so once it is."""
    state = step.state
    wanted = state.settled_wanted
    if not wanted or state.phase not in {Phase.MIRRORING, Phase.HANDING_OVER}:
        return
    # A write that one disk has, and that is begun anew for the other, has another sequence than the one asked for.
    if not any(f.unsettled and (f.tried or f.sequence <= wanted) for f in state.flights):
        step.change(settled_wanted=0)
        step.send(msg.Settled(state.epoch, wanted))
