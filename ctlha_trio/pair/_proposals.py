"""What changes something and enters at the secondary: it pushes the data once, the primary gives the sequence.

The secondary keeps the data until the end, so the primary answers with the sequence only, and both write. What a node
proposes it numbers, and proposes in that order; the primary takes each number once, in whatever session it comes. A
proposal without a sequence at the secondary was never complete: the primary cannot have it on both disks.
"""

from typing import Final

from ctlha_trio.pair import _service as service, actions as act, events as ev, messages as msg
from ctlha_trio.pair._carried_records import RECORDS_BYTES_MAX
from ctlha_trio.pair._operation import WRITING, ZEROING, Operation, OperationKind, Outcome
from ctlha_trio.pair._phase import Phase
from ctlha_trio.pair._state import COPY_CHUNK_BYTES, FLIGHTS_LIMIT, Flight, PairState, Stage
from ctlha_trio.pair._step import Step

KEPT_BYTES_MAX: Final = 16 * COPY_CHUNK_BYTES
"""Of proposals under way, for which both nodes keep the data: several of the largest, and no burden to either. What
goes beyond waits at the secondary, and its clients with it."""

_PAIRED: Final = frozenset({Phase.MIRRORING, Phase.HANDING_OVER})


def kept_bytes(operation: Operation) -> int:
    """How much data a proposal of it makes the two nodes keep, at most."""
    match operation.kind:
        case OperationKind.PUT_RECORD:
            return RECORDS_BYTES_MAX
        case OperationKind.COMPARE_AND_WRITE:
            return 2 * operation.size
        case kind:
            return 0 if kind in ZEROING else operation.size


def _fits(under_way: list[Operation], operation: Operation) -> bool:
    kept = sum(map(kept_bytes, under_way))
    return len(under_way) < FLIGHTS_LIMIT and kept + kept_bytes(operation) <= KEPT_BYTES_MAX


# The secondary.


def propose(step: Step) -> None:
    """Propose, in order, whatever was not proposed in this session and has no sequence, once the primary serves.

    Not while this node is being handed the role: then it may be the one to execute it.
    """
    state = step.state
    peer = state.standing
    if state.stage is not Stage.NONE or peer is None or peer.epoch != state.epoch or peer.phase not in _PAIRED:
        return
    for flight in state.flights:
        if flight.operation.kind not in WRITING or flight.sequence or flight.said:
            continue
        if not flight.proposal and not _fits([f.operation for f in step.state.flights if f.proposal], flight.operation):
            return
        number = flight.proposal or step.state.proposed + 1
        service.replace(step, flight, flight.but(proposal=number, said=True, told=True))
        step.change(proposed=max(step.state.proposed, number))
        step.do(act.PushProposal(state.epoch, number, flight.ticket, flight.operation))


def assigned(step: Step, message: msg.Assigned) -> None:
    """The primary gave the sequence. Executed like its own writes: only if it follows on the last one taken.

    It gives another one where a damaged block had to be repaired on either disk first. A compare-and-write that gets
    one was compared, and is a write.
    """
    if message.previous != step.state.last_sequence:
        return
    flight = by_number(step, message.number)
    if flight is None:
        # Nothing behind it could ever be taken, and the primary would wait for all of that.
        step.do(act.DropSession(f"a sequence for proposal {message.number}, which is not under way"))
        return
    service.follow_on(step, message, service.written_by(flight.operation))
    begun = flight.but(sequence=message.sequence, here=False, equal=True)
    service.replace(step, flight, begun)
    service.store(step, begun)


def completed(step: Step, message: msg.Completed) -> None:
    """Durable on both."""
    flight = by_number(step, message.number)
    if flight is not None:
        unsettled = tuple(each for each in step.state.unsettled if each.sequence != flight.sequence)
        step.change(unsettled=unsettled)
        service.replace(step, flight, flight.but(there=True))


def unexecuted(step: Step, message: msg.Unexecuted) -> None:
    """It had no effect on either disk, and will have none.

    That is said again of one that was proposed again and is not under way. One with a sequence has been completed then.
    """
    flight = by_number(step, message.number)
    if flight is not None and not flight.sequence:
        service.replace(step, flight, None)
        at = message.miscompare_at if message.outcome is Outcome.MISCOMPARE else None
        step.do(act.Answer(flight.ticket, message.outcome, at))


def refused(step: Step, sequence: int) -> None:
    """A block of it is damaged here: it waits for the sequence that it gets when that is repaired."""
    flights = tuple(f.but(sequence=0) if f.proposal and f.sequence == sequence else f for f in step.state.flights)
    step.change(flights=flights)


def settle(step: Step, sequence: int) -> None:
    """Everything up to there is durable on both, this node's own with it."""
    flights = tuple(f.but(there=True) if f.proposal and 0 < f.sequence <= sequence else f for f in step.state.flights)
    step.change(flights=flights)


def take_back(step: Step) -> None:
    """This node is primary, or the only member: what has no sequence it executes like all that its clients ask.

    Of puts it knew only that they had room beside what it had accepted itself, proposed or not. The old primary may
    have accepted others.
    """
    flights = tuple(
        f if f.sequence or not f.proposal else f.but(proposal=0, said=False, equal=False) for f in step.state.flights
    )
    puts = {f.ticket for f in flights if f.ticket and not f.sequence and f.operation.kind is OperationKind.PUT_RECORD}
    step.change(flights=tuple(f.but(asks_room=True) if f.ticket in puts else f for f in flights))
    if puts:
        step.do(act.CheckRoom(tuple(f.ticket for f in flights if f.ticket in puts)))


def room_checked(step: Step, event: ev.RoomChecked) -> None:
    """Execute what has room; of the rest nothing was executed anywhere. What is proposed again the primary checks."""
    for flight in step.state.flights:
        if not flight.asks_room or flight.ticket not in event.tickets:
            continue
        if flight.ticket in event.refused and not flight.proposal:
            service.replace(step, flight, None)
            step.do(act.Answer(flight.ticket, Outcome.FAILED))
        else:
            service.replace(step, flight, flight.but(asks_room=False))
    service.advance(step)


def say_again(step: Step) -> None:
    """What was proposed and got no sequence may not have come: it is proposed again, under the same number.

    What got one may have been completed, and the word of that was lost: it is asked for, as reads ask.
    """
    if any(flight.said for flight in step.state.flights):
        step.change(flights=tuple(f.but(said=False) for f in step.state.flights))


def asked_for(state: PairState) -> int:
    """The newest sequence of this node's own whose end may have been told in a session that was lost; 0 for none."""
    return max((f.sequence for f in state.flights if f.proposal and not f.said and not f.there), default=0)


# The primary.


def proposed(step: Step, message: msg.Propose) -> None:
    """Take the operation into the queue, its data placed; once, although it may come again after a flap."""
    state = step.state
    pairs = state.primary and state.phase in {*_PAIRED, Phase.SUSPENDED}
    under_way = {flight.taken: flight.operation for flight in state.flights if flight.taken}
    if not pairs or state.partner != state.session or message.number in under_way:
        return
    if message.number <= state.taken:
        # What came of it was said, and lost unless the sequence came meanwhile. Without one it was never complete.
        step.send(msg.Unexecuted(state.epoch, message.number, Outcome.NOT_PRIMARY, 0))
    elif _fits([*under_way.values()], message.operation):
        flight = Flight(0, message.operation, taken=message.number)
        step.change(taken=message.number, flights=(*state.flights, flight))
    else:
        step.do(act.DropSession(f"proposal {message.number} beyond what two nodes keep"))


def assign(step: Step, flight: Flight, settled: int) -> None:
    """Tell the sequence, behind the write pushed before it."""
    state = step.state
    step.do(act.PushAssigned(msg.Assigned(state.epoch, flight.taken, flight.sequence, state.last_pushed, settled)))


def ended(step: Step, flight: Flight) -> None:
    """It is durable on both, or there was something else than what it compares with."""
    epoch = step.state.epoch
    if step.state.phase not in _PAIRED:
        return
    if flight.miscompare_at is None:
        step.send(msg.Completed(epoch, flight.taken))
    else:
        step.send(msg.Unexecuted(epoch, flight.taken, Outcome.MISCOMPARE, flight.miscompare_at))


def failed(step: Step, flight: Flight) -> None:
    """A block of it is damaged on both disks: it was not executed."""
    if step.state.phase in _PAIRED:
        step.send(msg.Unexecuted(step.state.epoch, flight.taken, Outcome.MEDIUM_ERROR, 0))


def by_number(step: Step, number: int) -> Flight | None:
    """What this node proposed under that number, if it has not ended."""
    return next((flight for flight in step.state.flights if flight.proposal == number != 0), None)
