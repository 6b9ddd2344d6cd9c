"""Clients' operations: accepted, ordered by conflict, executed on every member, answered; and the secondary's side."""

import attrs

from ctlha_trio.pair import (
    _proposals as proposals,
    _reads as reads,
    _resync_pace as pace,
    _resync_retry as retry,
    actions as act,
    events as ev,
    messages as msg,
)
from ctlha_trio.pair._operation import CHANGING, REPAIRS, Operation, OperationKind, Outcome
from ctlha_trio.pair._phase import ACCEPTING, HOLDING, SERVING, Phase
from ctlha_trio.pair._range import Range
from ctlha_trio.pair._state import FLIGHTS_LIMIT, UNHURT, Flight, Mirrored, PairState, Stage
from ctlha_trio.pair._step import Step
from ctlha_trio.pair._verification import Finding

_ENDING = SERVING | {Phase.ADMITTING, Phase.HANDING_OVER, Phase.FOLLOWING}
"""Operations that were started are completed and answered."""
_OF_BOTH = REPAIRS | {OperationKind.COPY, OperationKind.VERIFY}
"""The pair's own: what they do is done by both nodes."""

_TAKING = SERVING | HOLDING | {Phase.FOLLOWING}
_TAKING_AS_PRIMARY = frozenset({Phase.SUSPENDED, Phase.CLAIMING})
MirroredMessage = msg.MirrorWrite | msg.MirrorZeroes | msg.MirrorRecord
"""What the primary says of what a client changes."""


def accepts(state: PairState) -> bool:
    """Whether an operation that comes now is taken, to be executed now or as soon as this node serves again."""
    return state.phase in _TAKING or (state.phase in _TAKING_AS_PRIMARY and state.primary)


def submitted(step: Step, event: ev.Submitted) -> None:
    """A client's operation arrived."""
    if not accepts(step.state):
        step.do(act.Answer(event.ticket, Outcome.NOT_PRIMARY))
        return
    pace.client_came(step)
    step.change(flights=(*step.state.flights, Flight(event.ticket, event.operation)))
    advance(step)


def advance(step: Step) -> None:
    """Start every operation that may start now and end every one that may end."""
    if step.state.phase is Phase.FOLLOWING:
        proposals.propose(step)
        reads.start_following(step)
    draining = step.state.phase is Phase.HANDING_OVER and step.state.stage is Stage.DRAINING
    if step.state.phase in SERVING or draining:
        earlier: list[Operation] = []
        for flight in step.state.flights:
            operation = flight.operation
            free = not flight.started and not any(operation.conflicts(other) for other in earlier)
            if free and _may_start(step, flight, draining=draining):
                _start(step, flight)
            earlier.append(operation)
    if step.state.phase in _ENDING:
        ended = next((f for f in step.state.flights if _complete(step, f)), None)
        if ended is not None:
            _finish(step, ended)
            advance(step)
    reads.tell_settled(step)


def _may_start(step: Step, flight: Flight, *, draining: bool) -> bool:
    if flight.asks_room or (not mends(flight) and (draining or _is_full(step.state))):
        return False
    # A repair stands before all others, also before those that are under way already.
    return flight.operation.kind not in REPAIRS or not any(
        other.started and other.operation.conflicts(flight.operation) for other in step.state.flights
    )


def _is_full(state: PairState) -> bool:
    """Whether as much is being written as the activity logs hold: with the peer's proposals more may be under way."""
    return len(state.flights) > FLIGHTS_LIMIT and sum(f.is_write and f.begun for f in state.flights) >= FLIGHTS_LIMIT


def mends(flight: Flight) -> bool:
    """Whether it is needed to make the two copies equal again, so that it must end even where nothing else begins."""
    return flight.tried or flight.operation.kind in REPAIRS


def _start(step: Step, flight: Flight) -> None:
    operation = flight.operation
    epoch, sequence = step.state.epoch, step.state.next_sequence
    match operation.kind:
        case OperationKind.WRITE:  # most are, and a case costs those before it
            start_write(step, flight)
        case _ if flight.is_read:
            reads.start(step, flight)
        case OperationKind.COPY:
            _give_sequence(step, flight)
            step.do(act.SendCompare(epoch, sequence, operation.offset, operation.size))
        case OperationKind.VERIFY:
            _give_sequence(step, flight)
            step.do(act.SendCompare(epoch, sequence, operation.offset, operation.size, keep=False))
        case OperationKind.REPAIR_HERE:
            _give_sequence(step, flight)
            step.send(msg.Fetch(epoch, sequence, operation.offset, operation.size))
        case OperationKind.REPAIR_THERE:
            _give_sequence(step, flight, here=True)
            step.do(act.PushRange(step.state.sessions, epoch, sequence, operation.offset, operation.size))
        case OperationKind.FLUSH:
            # Nothing to do: it starts when every operation before it is durable on every member.
            _give_sequence(step, flight, here=True, there=True)
        case _:
            start_write(step, flight)


def start_write(step: Step, flight: Flight) -> None:
    """Write on this disk, and on the peer's if it is to have it."""
    operation = flight.operation
    mirrored = _wanted_there(step, flight)
    if not mirrored and operation.kind in CHANGING:
        _note_unseen(step, operation)
        if flight.taken:
            retry.copy_again(step, operation.where)
    started = _give_sequence(step, flight, there=not mirrored)
    if mirrored:
        push(step, started)
    store(step, started)


def store(step: Step, flight: Flight) -> None:
    """Write on this disk what a client of either node wants."""
    operation = flight.operation
    if operation.kind is OperationKind.PUT_RECORD:
        step.do(act.StoreRecord(step.state.epoch, flight.sequence, flight.ticket, operation, flight.taken))
    else:
        step.do(act.StoreWrite(flight.sequence, flight.ticket, operation, flight.taken))


def _give_sequence(step: Step, flight: Flight, *, here: bool = False, there: bool = False) -> Flight:
    state = step.state
    sequence = state.next_sequence
    started = flight.but(sequence=sequence, here=here, there=there, hurt=UNHURT, mended=flight.hurt)
    flights = tuple([started if f is flight else f for f in state.flights])
    step.change(next_sequence=sequence + 1, flights=flights)
    return started


def push(step: Step, flight: Flight) -> None:
    """Push a write behind the one pushed before it."""
    state = step.state
    settled = min(map(_open_from, (f for f in state.flights if f.unsettled)), default=flight.sequence)
    if flight.taken:
        proposals.assign(step, flight, settled)
    else:
        write = act.PushWrite(state.epoch, flight.sequence, state.last_pushed, settled, flight.ticket, flight.operation)
        step.do(write)
    step.change(last_pushed=flight.sequence)


def _open_from(flight: Flight) -> int:
    """The first sequence of a write that is not on both copies. One copy may have it by a start that has ended."""
    return 0 if flight.tried else flight.sequence


def _note_unseen(step: Step, operation: Operation) -> None:
    resync = step.state.resync
    if resync is not None and resync.search:
        unseen = (*resync.unseen, (operation.offset, operation.size))
        step.change(resync=attrs.evolve(resync, unseen=unseen))


def _wanted_there(step: Step, flight: Flight) -> bool:
    state, operation = step.state, flight.operation
    if state.phase in {Phase.MIRRORING, Phase.HANDING_OVER}:
        return True
    if operation.kind is OperationKind.PUT_RECORD or flight.taken:
        # The target is sent all records when nothing is under way any more. What it had proposed as a member, and one
        # of the two has executed, it knows no more: it is copied.
        return False
    return state.resync is not None and operation.offset < state.resync.cursor


def replace(step: Step, old: Flight, new: Flight | None) -> None:
    """Put another flight, or none, in the place of one."""
    flights = step.state.flights
    kept = [f for f in flights if f is not old] if new is None else [new if f is old else f for f in flights]
    step.change(flights=tuple(kept))


def by_sequence(step: Step, sequence: int) -> Flight | None:
    """The started operation of that sequence, if it has not ended."""
    return next((f for f in step.state.flights if f.sequence == sequence), None)


def _complete(step: Step, flight: Flight) -> bool:
    if not flight.here or not flight.started:
        return False
    if step.state.phase is Phase.ADMITTING and step.state.is_behind:
        return False  # as in ``hold_alone``; this phase starts nothing anyway
    # While a resync runs this node is the only member: its client need not wait for the target, the range does.
    sole = step.state.phase in {Phase.ALONE, Phase.ADMITTING}
    return flight.there or (sole and bool(flight.ticket) and not flight.answered)


def _finish(step: Step, flight: Flight) -> None:
    if flight.ticket and not flight.answered:
        outcome = Outcome.DONE if flight.miscompare_at is None else Outcome.MISCOMPARE
        step.do(act.Answer(flight.ticket, outcome, flight.miscompare_at))
    if flight.taken:
        proposals.ended(step, flight)
    if flight.tried:
        reads.ended_anew(step, flight)
    match flight.operation.kind:
        case OperationKind.COPY:
            step.do(act.ClearDirty(flight.operation.offset, flight.operation.size))
            retry.look_again(step, flight.operation.where)
        case OperationKind.REPAIR_HERE:
            # Also tells the peer that the place of the data that it pushed is free.
            step.send(msg.Applied(step.state.epoch, flight.sequence))
            _note_repair(step, flight, Finding.REPAIRED_HERE)
        case OperationKind.REPAIR_THERE:
            _note_repair(step, flight, Finding.REPAIRED_THERE)
        case _ if flight.changes_volume:
            retry.look_again(step, flight.operation.where)
        case _:
            pass
    replace(step, flight, None if flight.there else flight.but(answered=True))


def _note_repair(step: Step, repair: Flight, what: Finding) -> None:
    """A repair that a verification waits for is one of its findings."""
    verification = step.state.verification
    where = repair.operation.offset, repair.operation.size
    asked = any(
        f.operation.kind is OperationKind.VERIFY and where in {f.hurt.here, f.hurt.there} for f in step.state.flights
    )
    if verification is not None and asked:
        step.change(verification=verification.note(what, where))


def stored(step: Step, event: ev.Stored) -> None:
    """A write ended on this disk."""
    state = step.state
    if event.sequence in state.storing:
        step.change(storing=state.storing - {event.sequence})
        if state.phase in ACCEPTING:
            step.send(msg.Applied(state.epoch, event.sequence))
    flight = by_sequence(step, event.sequence)
    if flight is not None:
        replace(step, flight, flight.but(here=True))
    advance(step)


def fetched(step: Step, event: ev.Fetched) -> None:
    """The data of a read is there. A read that began anew since has another number by now."""
    flight = reads.by_fetch(step, event.fetch)
    if flight is not None:
        replace(step, flight, flight.but(here=True))
        advance(step)


def applied(step: Step, message: msg.Applied) -> None:
    """The peer has it durable."""
    flight = by_sequence(step, message.sequence)
    if flight is not None:
        replace(step, flight, flight.but(there=True))
        advance(step)


def mirror_write(step: Step, message: MirroredMessage) -> None:
    """The primary's write, its data placed if it has any.

    Executed only if it follows on the last one taken. One that came before a flap is known by that and dropped, and so
    is one behind another that this node did not take: both are settled when the two agree on what is under way.
    """
    if message.previous != step.state.last_sequence:
        return
    follow_on(step, message, None if isinstance(message, msg.MirrorRecord) else (message.offset, message.size))
    match message:
        case msg.MirrorWrite():
            step.do(act.StoreMirrored(message.sequence, message.offset, message.size))
        case msg.MirrorZeroes():
            step.do(act.StoreZeroes(message.sequence, message.offset, message.size))
        case msg.MirrorRecord():
            step.do(act.StoreMirroredRecord(message.sequence))
    advance(step)


def follow_on(step: Step, message: MirroredMessage | msg.Assigned, where: Range | None) -> None:
    """A write is the next one of the primary's order, and about to be under way on this disk."""
    state = step.state
    unsettled = tuple(each for each in state.unsettled if each.sequence >= message.settled)
    step.change(
        refused=frozenset(each for each in state.refused if each >= message.settled),
        last_sequence=message.sequence,
        storing=state.storing | {message.sequence},
        unsettled=(*unsettled, Mirrored(message.sequence, where)),
    )
    reads.overwritten(step, where)


def written_by(operation: Operation) -> Range | None:
    """Where in the volume it writes; None for a record."""
    return None if operation.kind is OperationKind.PUT_RECORD else operation.where


def want_nothing_there(step: Step) -> None:
    """There is no other copy to wait for any more, and nobody for what the peer proposed and was not begun."""
    flights = tuple(_without_peer(f) for f in step.state.flights if not _needs_peer(f) and (f.begun or not f.taken))
    step.change(flights=flights, resync=None)


def _needs_peer(flight: Flight) -> bool:
    """Whether it is nothing without the peer. The data of a repair that has come is good all the same."""
    kind = flight.operation.kind
    return kind in _OF_BOTH and not (kind is OperationKind.REPAIR_HERE and flight.there)


def _without_peer(flight: Flight) -> Flight:
    if not flight.started:
        # Nobody repairs what it waits for. It meets the damage again, or not.
        return flight.but(hurt=UNHURT)
    return flight.but(there=True, hurt=attrs.evolve(flight.hurt, there=None))


def ask_anew(step: Step) -> None:
    """After a flap: what the pair itself asked of the secondary was lost with the session."""
    flights = tuple(_asked_anew(f) if _needs_peer(f) else f for f in step.state.flights)
    step.change(flights=flights)


def _asked_anew(flight: Flight) -> Flight:
    # Until it begins the range is free, and another repair may come before it: it is a last resort no more.
    return flight.but(sequence=0, hurt=UNHURT, last_resort=False)


def resend_from(step: Step, last_sequence: int) -> None:
    """After a flap: what the secondary has is durable there, what it has not is pushed again.

    In the order of the sequences, which is not that of the queue: an operation may have overtaken one before it that
    waited for a range. The secondary knows what it has by its last sequence alone.
    """
    step.change(last_pushed=last_sequence)
    for flight in sorted(step.state.flights, key=lambda each: each.sequence):
        if not flight.is_write or not flight.sequence or flight.there:
            continue
        again = flight.but(hurt=attrs.evolve(flight.hurt, there=None))
        if flight.sequence <= last_sequence:
            again = again.but(there=True)
        replace(step, flight, again)
        if not again.there:
            push(step, again)


def drop_flights(step: Step, started: Outcome) -> None:
    """This node no longer serves: what was started may or may not last, what was not was not executed.

    A write still running on this disk must end before anything newer is written there. Where the copies may differ is
    marked: whoever comes to serve knows nothing of what it was not sent.
    """
    state = step.state
    if state.may_differ:
        step.do(act.MarkDirty(state.may_differ))
    running = {f.sequence for f in state.flights if _runs_here(f)}
    for flight in state.flights:
        if flight.ticket and not flight.answered:
            changed = flight.told or (flight.is_write and flight.begun)
            step.do(act.Answer(flight.ticket, started if changed else Outcome.NOT_PRIMARY))
    step.change(
        flights=(),
        unsettled=(),
        refused=frozenset(),
        storing=state.storing | running,
        resync=None,
        settled_asked=0,
    )


def _runs_here(flight: Flight) -> bool:
    """Whether this disk is writing for it."""
    if not flight.sequence or flight.here or flight.hurt.here:
        return False
    return flight.is_write or (flight.operation.kind is OperationKind.REPAIR_HERE and flight.there)
