"""Clients' operations: accepted, ordered by conflict, executed on every member, answered; and the secondary's side."""

import attrs

from ctlha_trio.pair import _proposals as proposals, _reads as reads, actions as act, events as ev, messages as msg
from ctlha_trio.pair._operation import Operation, OperationKind, Outcome
from ctlha_trio.pair._phase import ACCEPTING, HOLDING, SERVING, Phase
from ctlha_trio.pair._state import Flight, Mirrored, PairState
from ctlha_trio.pair._step import Step

_ENDING = SERVING | {Phase.ADMITTING, Phase.HANDING_OVER, Phase.FOLLOWING}
"""Operations that were started are completed and answered."""


def accepts(state: PairState) -> bool:
    """Whether an operation that comes now is taken, to be executed now or as soon as this node serves again."""
    return (
        state.phase in SERVING
        or state.phase is Phase.FOLLOWING
        or state.phase in HOLDING
        or (state.phase in {Phase.SUSPENDED, Phase.CLAIMING} and state.primary)
    )


def submitted(step: Step, event: ev.Submitted) -> None:
    """A client's operation arrived."""
    if not accepts(step.state):
        step.do(act.Answer(event.ticket, Outcome.NOT_PRIMARY))
        return
    step.change(flights=(*step.state.flights, Flight(event.ticket, event.operation)))
    advance(step)


def advance(step: Step) -> None:
    """Start every operation that may start now and end every one that may end."""
    if step.state.phase is Phase.FOLLOWING:
        proposals.propose(step)
        reads.start_following(step)
    if step.state.phase in SERVING:
        earlier: list[Operation] = []
        for flight in step.state.flights:
            if not flight.started and not any(flight.operation.conflicts(other) for other in earlier):
                _start(step, flight)
            earlier.append(flight.operation)
    if step.state.phase in _ENDING:
        ended = next((f for f in step.state.flights if _complete(step, f)), None)
        if ended is not None:
            _finish(step, ended)
            advance(step)
    reads.tell_settled(step)


def _start(step: Step, flight: Flight) -> None:
    state = step.state
    operation = flight.operation
    if operation.kind is OperationKind.READ:
        reads.start(step, flight)
        return
    sequence = state.next_sequence
    mirrored = operation.kind is OperationKind.WRITE and _wanted_there(step, operation)
    if operation.kind is OperationKind.WRITE and not mirrored:
        _note_unseen(step, operation)
    started = attrs.evolve(
        flight,
        sequence=sequence,
        here=operation.kind is OperationKind.FLUSH,
        there=not mirrored and operation.kind is not OperationKind.COPY,
    )
    step.change(next_sequence=sequence + 1)
    replace(step, flight, started)
    match operation.kind:
        case OperationKind.WRITE:
            if mirrored:
                push(step, started)
            if flight.taken:
                step.do(act.StoreProposed(sequence, flight.taken, *operation.where))
            else:
                step.do(act.StoreWrite(sequence, flight.ticket, operation))
        case OperationKind.COPY:
            step.do(act.SendCompare(state.epoch, sequence, operation.offset, operation.size))
        case OperationKind.FLUSH:
            # Nothing to do: it starts when every operation before it is durable on every member.
            pass


def push(step: Step, flight: Flight) -> None:
    """Push a write behind the one pushed before it."""
    if flight.taken:
        proposals.assign(step, flight)
        return
    state = step.state
    settled = min(f.sequence for f in state.flights if f.unsettled)
    step.do(act.PushWrite(state.epoch, flight.sequence, state.last_pushed, settled, flight.ticket, flight.operation))
    step.change(last_pushed=flight.sequence)


def _note_unseen(step: Step, operation: Operation) -> None:
    resync = step.state.resync
    if resync is not None and resync.search:
        unseen = (*resync.unseen, (operation.offset, operation.size))
        step.change(resync=attrs.evolve(resync, unseen=unseen))


def _wanted_there(step: Step, operation: Operation) -> bool:
    state = step.state
    if state.phase is Phase.MIRRORING:
        return True
    return state.resync is not None and operation.offset < state.resync.cursor


def replace(step: Step, old: Flight, new: Flight | None) -> None:
    """Put another flight, or none, in the place of one."""
    flights = tuple(f for f in (new if f is old else f for f in step.state.flights) if f is not None)
    step.change(flights=flights)


def by_sequence(step: Step, sequence: int) -> Flight | None:
    """The started operation of that sequence, if it has not ended."""
    return next((f for f in step.state.flights if f.sequence == sequence), None)


def _complete(step: Step, flight: Flight) -> bool:
    if not flight.started or not flight.here:
        return False
    # While a resync runs this node is the only member: its client need not wait for the target, the range does.
    sole = step.state.phase in {Phase.ALONE, Phase.ADMITTING}
    return flight.there or (sole and bool(flight.ticket) and not flight.answered)


def _finish(step: Step, flight: Flight) -> None:
    if flight.ticket and not flight.answered:
        step.do(act.Answer(flight.ticket, Outcome.DONE))
    if flight.operation.kind is OperationKind.COPY:
        step.do(act.ClearDirty(flight.operation.offset, flight.operation.size))
    if flight.taken:
        step.send(msg.Completed(step.state.epoch, flight.taken))
    replace(step, flight, None if flight.there else attrs.evolve(flight, answered=True))


def stored(step: Step, event: ev.Stored) -> None:
    """A write ended on this disk."""
    state = step.state
    if event.sequence in state.storing:
        step.change(storing=state.storing - {event.sequence})
        if state.phase in ACCEPTING:
            step.send(msg.Applied(state.epoch, event.sequence))
    flight = by_sequence(step, event.sequence)
    if flight is not None:
        replace(step, flight, attrs.evolve(flight, here=True))
        advance(step)


def fetched(step: Step, event: ev.Fetched) -> None:
    """The data of a read is there. A read that began anew since has another number by now."""
    flight = next((f for f in step.state.flights if f.fetch == event.fetch), None)
    if flight is not None:
        replace(step, flight, attrs.evolve(flight, here=True))
        advance(step)


def applied(step: Step, message: msg.Applied) -> None:
    """The peer has it durable."""
    flight = by_sequence(step, message.sequence)
    if flight is not None:
        replace(step, flight, attrs.evolve(flight, there=True))
        advance(step)


def mirror_write(step: Step, message: msg.MirrorWrite) -> None:
    """The primary's write, its data placed.

    Executed only if it follows on the last one taken. One that came before a flap is known by that and dropped, and so
    is one behind another that this node did not take: both are settled when the two agree on what is under way.
    """
    state = step.state
    if message.previous != state.last_sequence:
        return
    where = message.offset, message.size
    unsettled = tuple(each for each in state.unsettled if each.sequence >= message.settled)
    step.change(
        last_sequence=message.sequence,
        storing=state.storing | {message.sequence},
        unsettled=(*unsettled, Mirrored(message.sequence, where)),
    )
    reads.overwritten(step, where)
    step.do(act.StoreMirrored(message.sequence, message.offset, message.size))
    advance(step)


def want_nothing_there(step: Step) -> None:
    """There is no other copy to wait for any more."""
    flights = tuple(
        attrs.evolve(f, there=True) if f.started else f
        for f in step.state.flights
        if f.operation.kind is not OperationKind.COPY and (f.started or not f.taken)
    )
    step.change(flights=flights, resync=None)


def resend_from(step: Step, last_sequence: int) -> None:
    """After a flap: what the secondary has is durable there, what it has not is pushed again.

    In the order of the sequences, which is not that of the queue: an operation may have overtaken one before it that
    waited for a range. The secondary knows what it has by its last sequence alone.
    """
    step.change(last_pushed=last_sequence)
    for flight in sorted(step.state.flights, key=lambda each: each.sequence):
        if flight.operation.kind is not OperationKind.WRITE or not flight.sequence or flight.there:
            continue
        if flight.sequence <= last_sequence:
            replace(step, flight, attrs.evolve(flight, there=True))
        else:
            push(step, flight)


def drop_flights(step: Step, started: Outcome) -> None:
    """This node no longer serves: what was started may or may not last, what was not was not executed.

    A write still running on this disk must end before anything newer is written there. Where the copies may differ is
    marked: whoever comes to serve knows nothing of what it was not sent.
    """
    state = step.state
    if state.may_differ:
        step.do(act.MarkDirty(state.may_differ))
    running = {
        f.sequence for f in state.flights if f.operation.kind is OperationKind.WRITE and f.sequence and not f.here
    }
    for flight in state.flights:
        if flight.ticket and not flight.answered:
            changed = (flight.sequence or flight.proposal) and flight.operation.kind is OperationKind.WRITE
            step.do(act.Answer(flight.ticket, started if changed else Outcome.NOT_PRIMARY))
    step.change(flights=(), unsettled=(), storing=state.storing | running, resync=None, settled_asked=0)
