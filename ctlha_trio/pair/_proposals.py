"""Writes that enter at the secondary: it pushes the data once, the primary gives the sequence, both write.

The secondary keeps the data until the end: so the primary answers with the sequence only. What a node proposes it
numbers, and proposes in that order; the primary takes each number once, in whatever session it comes.
"""

import attrs

from ctlha_trio.pair import _reads as reads, actions as act, messages as msg
from ctlha_trio.pair._operation import Operation, OperationKind, Outcome
from ctlha_trio.pair._phase import Phase
from ctlha_trio.pair._state import FLIGHTS_LIMIT, Flight, Mirrored
from ctlha_trio.pair._step import Step

# The secondary.


def propose(step: Step) -> None:
    """Propose each write that was not proposed in this session and has no sequence, once the primary serves."""
    state = step.state
    peer = state.standing
    if peer is None or peer.epoch != state.epoch or peer.phase not in {Phase.MIRRORING, Phase.HANDING_OVER}:
        return
    for flight in state.flights:
        if flight.operation.kind is not OperationKind.WRITE or flight.sequence or flight.said:
            continue
        number = flight.proposal or step.state.proposed + 1
        _replace(step, flight, attrs.evolve(flight, proposal=number, said=True))
        step.change(proposed=max(step.state.proposed, number))
        step.do(act.PushProposal(state.epoch, number, flight.ticket, flight.operation))


def assigned(step: Step, message: msg.Assigned) -> None:
    """The primary gave the sequence. Executed like its own writes: only if it follows on the last one taken.

    It gives another one where a damaged block had to be repaired on either disk first.
    """
    state = step.state
    flight = _by_number(step, message.number)
    if message.previous != state.last_sequence or flight is None:
        return
    unsettled = tuple(each for each in state.unsettled if each.sequence >= message.settled)
    step.change(
        refused=frozenset(each for each in state.refused if each >= message.settled),
        last_sequence=message.sequence,
        storing=state.storing | {message.sequence},
        unsettled=(*unsettled, Mirrored(message.sequence, flight.operation.where)),
    )
    _replace(step, flight, attrs.evolve(flight, sequence=message.sequence, here=False))
    reads.overwritten(step, flight.operation.where)
    step.do(act.StoreWrite(message.sequence, flight.ticket, flight.operation))


def completed(step: Step, message: msg.Completed) -> None:
    """Durable on both."""
    flight = _by_number(step, message.number)
    if flight is not None:
        unsettled = tuple(each for each in step.state.unsettled if each.sequence != flight.sequence)
        step.change(unsettled=unsettled)
        _replace(step, flight, attrs.evolve(flight, there=True))


def unexecuted(step: Step, message: msg.Unexecuted) -> None:
    """A block of it is damaged on both disks."""
    flight = _by_number(step, message.number)
    if flight is not None:
        step.change(flights=tuple(each for each in step.state.flights if each is not flight))
        step.do(act.Answer(flight.ticket, Outcome.MEDIUM_ERROR))


def refused(step: Step, sequence: int) -> None:
    """A block of it is damaged here: it waits for the sequence that it gets when that is repaired."""
    flights = tuple(
        attrs.evolve(f, sequence=0) if f.proposal and f.sequence == sequence else f for f in step.state.flights
    )
    step.change(flights=flights)


def resume(step: Step) -> None:
    """After a flap: propose anew what has no sequence, and ask for what the primary may have completed."""
    session_lost(step)
    newest = max((f.sequence for f in step.state.flights), default=0)
    if newest and not step.state.settled_asked:
        step.change(settled_asked=newest)
        step.send(msg.SettledAsked(step.state.epoch, newest))


def settle(step: Step, sequence: int) -> None:
    """Everything up to there is durable on both, this node's own with it."""
    flights = tuple(
        attrs.evolve(f, there=True) if f.proposal and 0 < f.sequence <= sequence else f for f in step.state.flights
    )
    step.change(flights=flights)


def take_back(step: Step) -> None:
    """This node is primary, or the only member: what has no sequence it executes like all that its clients ask."""
    flights = tuple(attrs.evolve(f, proposal=0, said=False) if not f.sequence else f for f in step.state.flights)
    step.change(flights=flights)


def session_lost(step: Step) -> None:
    """What was proposed and got no sequence may not have come: it is proposed again, under the same number."""
    step.change(flights=tuple(attrs.evolve(f, said=False) for f in step.state.flights))


# The primary.


def proposed(step: Step, message: msg.Propose) -> None:
    """Take the write into the queue, its data placed; once, although it may come again after a flap."""
    state = step.state
    pairs = state.phase in {Phase.MIRRORING, Phase.HANDING_OVER, Phase.SUSPENDED} and state.primary
    under_way = {flight.taken for flight in state.flights if flight.taken}
    if not pairs or state.partner != state.session or message.number in under_way:
        return
    if message.number <= state.taken:
        # It has no sequence there, so it was not executed; and the word of that was lost.
        step.send(msg.Unexecuted(state.epoch, message.number))
        return
    if len(under_way) >= FLIGHTS_LIMIT:
        # No honest peer has more, and this one keeps the data of each.
        return
    operation = Operation(OperationKind.WRITE, 0, 0, message.offset, message.size)
    step.change(taken=message.number, flights=(*state.flights, Flight(0, operation, taken=message.number)))


def assign(step: Step, flight: Flight) -> None:
    """Tell the sequence, behind the write pushed before it."""
    state = step.state
    settled = min(f.sequence for f in state.flights if f.unsettled)
    step.do(act.PushAssigned(state.epoch, flight.taken, flight.sequence, state.last_pushed, settled))
    step.change(last_pushed=flight.sequence)


def failed(step: Step, flight: Flight) -> None:
    """It was not executed, and will not be."""
    step.send(msg.Unexecuted(step.state.epoch, flight.taken))


def _by_number(step: Step, number: int) -> Flight | None:
    return next((flight for flight in step.state.flights if flight.proposal == number), None)


def _replace(step: Step, old: Flight, new: Flight) -> None:
    step.change(flights=tuple(new if each is old else each for each in step.state.flights))
