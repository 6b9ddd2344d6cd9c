"""Clients' operations: accepted, ordered by conflict, executed on every member, answered; and the secondary's side."""

import attrs

from ctlha_trio.pair import actions as act, events as ev, messages as msg
from ctlha_trio.pair._operation import CHANGING, READING, Operation, OperationKind, Outcome
from ctlha_trio.pair._phase import ACCEPTING, HOLDING, SERVING, Phase
from ctlha_trio.pair._state import Flight, Mirrored, PairState
from ctlha_trio.pair._step import Step

_ENDING = SERVING | {Phase.ADMITTING, Phase.HANDING_OVER}
"""Operations that were started are completed and answered."""
_SOLE = frozenset({Phase.ALONE, Phase.ADMITTING})
"""While anything is under way, this node is the only member."""


def accepts(state: PairState) -> bool:
    """Whether an operation that comes now is taken, to be executed now or as soon as this node serves again."""
    return (
        state.phase in SERVING
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
    if step.state.phase in SERVING:
        ask_probe(step)
        earlier: list[Operation] = []
        for flight in step.state.flights:
            if not flight.sequence and not any(flight.operation.conflicts(other) for other in earlier):
                _start(step, flight)
            earlier.append(flight.operation)
    if step.state.phase in _ENDING:
        ended = next((f for f in step.state.flights if _complete(step, f)), None)
        if ended is not None:
            _finish(step, ended)
            advance(step)


def ask_probe(step: Step) -> None:
    """A read of one of two members waits for a probe that was sent after the read came, and so does a miscompare."""
    state = step.state
    if state.phase is not Phase.MIRRORING or state.probe_back < state.probe_sent:
        return
    waiting = [f for f in state.flights if _unprobed_read(f)]
    if not waiting:
        return
    number = state.probe_sent + 1
    flights = tuple(attrs.evolve(f, probe=number) if _unprobed_read(f) else f for f in state.flights)
    step.change(probe_sent=number, flights=flights)
    step.send(msg.Probe(state.epoch, number))


def _unprobed_read(flight: Flight) -> bool:
    if flight.probe:
        return False
    return flight.miscompare_at is not None or (flight.operation.kind in READING and not flight.sequence)


def is_proved(state: PairState, flight: Flight) -> bool:
    """Whether what this disk holds was, at some time since the read came, what clients had been told."""
    return state.phase in _SOLE or 0 < flight.probe <= state.probe_back


def _start(step: Step, flight: Flight) -> None:
    operation = flight.operation
    sequence = step.state.next_sequence
    match operation.kind:
        case OperationKind.READ | OperationKind.READ_RECORDS:
            if is_proved(step.state, flight):
                _give_sequence(step, flight, there=True)
                step.do(act.FetchRead(sequence, flight.ticket, operation))
        case OperationKind.COMPARE_AND_WRITE:
            # Without a proof: if it writes, its write is one, and if not, the proof is asked for then.
            _give_sequence(step, flight, there=True)
            step.do(act.CompareStored(sequence, flight.ticket, operation))
        case OperationKind.COPY:
            _give_sequence(step, flight)
            step.do(act.SendCompare(step.state.epoch, sequence, operation.offset, operation.size))
        case OperationKind.FLUSH:
            # Nothing to do: it starts when every operation before it is durable on every member.
            _give_sequence(step, flight, here=True, there=True)
        case _:
            start_write(step, flight)


def start_write(step: Step, flight: Flight) -> None:
    """Write on this disk, and on the peer's if it is to have it."""
    operation = flight.operation
    mirrored = _wanted_there(step, operation)
    if not mirrored and operation.kind in CHANGING:
        _note_unseen(step, operation)
    started = _give_sequence(step, flight, there=not mirrored)
    if mirrored:
        push(step, started)
    if operation.kind is OperationKind.PUT_RECORD:
        step.do(act.StoreRecord(step.state.epoch, started.sequence, flight.ticket, operation))
    else:
        step.do(act.StoreWrite(started.sequence, flight.ticket, operation))


def _give_sequence(step: Step, flight: Flight, *, here: bool = False, there: bool = False) -> Flight:
    sequence = step.state.next_sequence
    step.change(next_sequence=sequence + 1)
    started = attrs.evolve(flight, sequence=sequence, here=here, there=there)
    replace(step, flight, started)
    return started


def push(step: Step, flight: Flight) -> None:
    """Push a write behind the one pushed before it."""
    state = step.state
    settled = min((f.sequence for f in state.flights if f.unsettled), default=flight.sequence)
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
    if operation.kind is OperationKind.PUT_RECORD:
        # The target is sent all records when nothing is under way any more.
        return False
    return state.resync is not None and operation.offset < state.resync.cursor


def replace(step: Step, old: Flight, new: Flight | None) -> None:
    """Put another flight, or none, in the place of one."""
    flights = tuple(f for f in (new if f is old else f for f in step.state.flights) if f is not None)
    step.change(flights=flights)


def by_sequence(step: Step, sequence: int) -> Flight | None:
    """The started operation of that sequence, if it has not ended."""
    return next((f for f in step.state.flights if f.sequence == sequence), None)


def _complete(step: Step, flight: Flight) -> bool:
    if not flight.sequence or not flight.here:
        return False
    if flight.miscompare_at is not None:
        return is_proved(step.state, flight)
    # While a resync runs this node is the only member: its client need not wait for the target, the range does.
    sole = step.state.phase in _SOLE
    return flight.there or (sole and bool(flight.ticket) and not flight.answered)


def _finish(step: Step, flight: Flight) -> None:
    if flight.ticket and not flight.answered:
        outcome = Outcome.DONE if flight.miscompare_at is None else Outcome.MISCOMPARE
        step.do(act.Answer(flight.ticket, outcome, flight.miscompare_at))
    if flight.operation.kind is OperationKind.COPY:
        step.do(act.ClearDirty(flight.operation.offset, flight.operation.size))
    replace(step, flight, None if flight.there else attrs.evolve(flight, answered=True))


def stored(step: Step, event: ev.Stored) -> None:
    """A write ended on this disk."""
    state = step.state
    if event.sequence in state.storing:
        step.change(storing=state.storing - {event.sequence})
        if state.phase in ACCEPTING:
            step.send(msg.Applied(state.epoch, event.sequence))
        return
    flight = by_sequence(step, event.sequence)
    if flight is not None:
        replace(step, flight, attrs.evolve(flight, here=True))
        advance(step)


def fetched(step: Step, event: ev.Fetched) -> None:
    """The data of a read is there. A read begun before the session was lost has another sequence by now."""
    flight = by_sequence(step, event.sequence)
    if flight is not None:
        replace(step, flight, attrs.evolve(flight, here=True))
        advance(step)


def applied(step: Step, message: msg.Applied) -> None:
    """The peer has it durable."""
    flight = by_sequence(step, message.sequence)
    if flight is not None:
        replace(step, flight, attrs.evolve(flight, there=True))
        advance(step)


def probe_reply(step: Step, message: msg.ProbeReply) -> None:
    """The peer still followed after the reads had come."""
    step.change(probe_back=message.number)
    advance(step)


def mirror_write(step: Step, message: msg.MirrorWrite | msg.MirrorZeroes | msg.MirrorRecord) -> None:
    """The primary's write, its data placed if it has any.

    Executed only if it follows on the last one taken. One that came before a flap is known by that and dropped, and so
    is one behind another that this node did not take: both are settled when the two agree on what is under way.
    """
    state = step.state
    if message.previous != state.last_sequence:
        return
    unsettled = tuple(each for each in state.unsettled if each.sequence >= message.settled)
    step.change(
        last_sequence=message.sequence,
        storing=state.storing | {message.sequence},
    )
    if isinstance(message, msg.MirrorRecord):
        step.change(unsettled=unsettled)
        step.do(act.StoreMirroredRecord(message.sequence))
        return
    step.change(unsettled=(*unsettled, Mirrored(message.sequence, (message.offset, message.size))))
    if isinstance(message, msg.MirrorZeroes):
        step.do(act.StoreZeroes(message.sequence, message.offset, message.size))
    else:
        step.do(act.StoreMirrored(message.sequence, message.offset, message.size))


def forget_probes(step: Step) -> None:
    """The peer that was asked does not answer any more: reads must prove themselves anew."""
    flights = tuple(unstarted(f) if f.is_read else f for f in step.state.flights)
    step.change(flights=flights, probe_back=step.state.probe_sent)


def unstarted(flight: Flight) -> Flight:
    """As it came. Only for what has changed nothing."""
    return Flight(flight.ticket, flight.operation)


def want_nothing_there(step: Step) -> None:
    """There is no other copy to wait for any more."""
    flights = tuple(
        attrs.evolve(f, there=True) if f.sequence else f
        for f in step.state.flights
        if f.operation.kind is not OperationKind.COPY
    )
    step.change(flights=flights, resync=None)


def resend_from(step: Step, last_sequence: int) -> None:
    """After a flap: what the secondary has is durable there, what it has not is pushed again.

    In the order of the sequences, which is not that of the queue: an operation may have overtaken one before it that
    waited for a range. The secondary knows what it has by its last sequence alone.
    """
    step.change(last_pushed=last_sequence)
    for flight in sorted(step.state.flights, key=lambda each: each.sequence):
        if not flight.is_write or flight.there:
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
    running = {f.sequence for f in state.flights if f.is_write and not f.here}
    for flight in state.flights:
        if flight.ticket and not flight.answered:
            step.do(act.Answer(flight.ticket, started if flight.is_write else Outcome.NOT_PRIMARY))
    step.change(flights=(), unsettled=(), storing=state.storing | running, resync=None, probe_back=state.probe_sent)
