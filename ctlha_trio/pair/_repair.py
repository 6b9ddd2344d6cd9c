"""Blocks that a disk does not give back as they were written: made whole from the other member's copy, or reported.

An operation that meets such blocks had no effect on that disk. Once it has ended on both, a repair of the blocks is put
before everything else that waits for their range, and the operation begins anew behind it. So a repair holds the range
of whole blocks: whatever was written there before is in the copy that it takes, and nothing newer is overwritten.

A repair whose source is damaged is such an operation too: the source is repaired before it. What is damaged at the
source of that one as well is lost, for the range was held all the while. Where both copies are damaged, or there is
only one, the operation ends with an error of the medium.
"""

import attrs

from ctlha_trio._errors import LocalProtocolError
from ctlha_trio.pair import (
    _membership as membership,
    _proposals as proposals,
    _reads as reads,
    _resync_retry as retry,
    _service as service,
    actions as act,
    events as ev,
    messages as msg,
)
from ctlha_trio.pair._left_out import LeftOut
from ctlha_trio.pair._operation import REPAIRS, Operation, OperationKind, Outcome
from ctlha_trio.pair._phase import Phase
from ctlha_trio.pair._range import Range, overlap
from ctlha_trio.pair._state import COPY_CHUNK_BYTES, Flight, Resync
from ctlha_trio.pair._step import Step
from ctlha_trio.pair._verification import Finding

LEFT_OUT_LIMIT = 64
"""Ranges left out that a resync keeps by place: a copy with more is beyond being written anew place by place."""

_PAIRED = frozenset({Phase.MIRRORING, Phase.HANDING_OVER})
_SOLE = frozenset({Phase.ALONE, Phase.ADMITTING})
_OF_ONE_COPY_AT_A_TIME = REPAIRS | {OperationKind.VERIFY, OperationKind.COPY}
"""What meets damage on one copy has ended: it asks nothing of the other one."""


# What meets damage.


def damaged(step: Step, event: ev.Damaged) -> None:
    """An operation of this disk met damaged blocks."""
    if event.sequence in step.state.storing:
        _refuse(step, event)
        return
    flight = service.by_sequence(step, event.sequence)
    if flight is not None:
        _hurt_here(step, flight, _bounded(event.offset, event.size))


def read_damaged(step: Step, event: ev.ReadDamaged) -> None:
    """A read met damaged blocks. The secondary's client turns to the primary, which is told, and has them repaired."""
    flight = reads.by_fetch(step, event.fetch)
    if flight is None:
        return
    if step.state.phase is Phase.FOLLOWING:
        service.replace(step, flight, None)
        step.do(act.Answer(flight.ticket, Outcome.NOT_PRIMARY))
        step.send(msg.Damaged(step.state.epoch, msg.OF_A_READ, *_bounded(event.offset, event.size)))
        service.advance(step)
    else:
        _hurt_here(step, flight, _bounded(event.offset, event.size))


def _hurt_here(step: Step, flight: Flight, run: Range) -> None:
    if step.state.phase in _PAIRED and overlap(flight.mended.here, run):
        # It was repaired a moment ago: a disk that does not give back what was just written is no copy any more.
        # Of one that alone counts, or is about to, all the rest is served on.
        membership.store_failed(step)
        return
    service.replace(step, flight, flight.but(hurt=attrs.evolve(flight.hurt, here=run)))


def _refuse(step: Step, event: ev.Damaged) -> None:
    """A write that was taken from the primary, or is left of a role that was lost, was not executed."""
    state = step.state
    step.change(storing=state.storing - {event.sequence})
    if event.sequence not in {each.sequence for each in state.unsettled}:
        _hurt_alone(step, event)
        return
    if state.phase is Phase.RESYNCING:
        # The source compares the range once more, and finds that this copy differs there.
        step.do(act.MarkDirty(((event.offset, event.size),)))
        membership.become_outdated(step, "a block of the copy is damaged")
        return
    step.change(refused=state.refused | {event.sequence})
    proposals.refused(step, event.sequence)
    if state.phase is Phase.FOLLOWING:
        step.send(msg.Damaged(state.epoch, event.sequence, *_bounded(event.offset, event.size)))


def _hurt_alone(step: Step, event: ev.Damaged) -> None:
    """It is of a client of this node, which has gone on alone since."""
    flight = service.by_sequence(step, event.sequence)
    if flight is not None:
        _hurt_here(step, flight, _bounded(event.offset, event.size))


def range_damaged(step: Step, event: ev.RangeDamaged) -> None:
    """What the peer asked for, or was to be sent, is damaged here. After a flap it is met again, or not."""
    state = step.state
    if event.session != state.sessions:
        return
    if state.phase is Phase.RESYNCING:
        step.send(msg.Compared(state.epoch, event.sequence, equal=False))
    elif state.phase is Phase.FOLLOWING:
        step.send(msg.Damaged(state.epoch, event.sequence, *_bounded(event.offset, event.size)))
    elif state.phase in _PAIRED:
        repair = service.by_sequence(step, event.sequence)
        if repair is not None and repair.operation.kind is OperationKind.REPAIR_THERE:
            if repair.last_resort:
                _give_up(step, repair, (event.offset, event.size))
            else:
                _hurt_here(step, repair, (event.offset, event.size))


def damaged_there(step: Step, message: msg.Damaged) -> None:
    """The secondary met damaged blocks in what it was asked for, or in what its own client wanted to read."""
    if message.sequence == msg.OF_A_READ:
        if step.state.phase in _PAIRED:
            _have_repaired(step, OperationKind.REPAIR_THERE, _bounded(message.offset, message.size))
            service.advance(step)
        return
    flight = service.by_sequence(step, message.sequence)
    if flight is None or flight.there or step.state.phase not in _PAIRED:
        return
    run = _bounded(message.offset, message.size)
    if flight.last_resort:
        _give_up(step, flight, run)
    elif overlap(flight.mended.there, run):
        membership.claim(step, "the peer's disk does not keep what is written to it")
    else:
        service.replace(step, flight, flight.but(hurt=attrs.evolve(flight.hurt, there=run)))


def _bounded(offset: int, size: int) -> Range:
    """What one repair takes on."""
    return offset, min(size, COPY_CHUNK_BYTES)


# What becomes of it.


def take_up(step: Step) -> None:
    """Have repaired what operations met that have ended on both disks; where nobody can, end them."""
    paired = step.state.phase in _PAIRED
    if not paired and step.state.phase not in _SOLE:
        return
    flight = next((f for f in step.state.flights if f.is_hurt and f.started and _has_ended(f)), None)
    if flight is None:
        return
    if paired:
        _wait_for_repair(step, flight)
    else:
        _do_without(step, flight)
    service.advance(step)
    take_up(step)


def _has_ended(flight: Flight) -> bool:
    if flight.operation.kind in _OF_ONE_COPY_AT_A_TIME:
        return True
    return (flight.here or flight.hurt.here is not None) and (flight.there or flight.hurt.there is not None)


def _wait_for_repair(step: Step, flight: Flight) -> None:
    tried = flight.tried or (flight.is_write and (flight.here or flight.there))
    waiting = flight.but(sequence=0, fetch=0, here=False, there=False, tried=tried)
    service.replace(step, flight, waiting)
    for kind, run in (
        (OperationKind.REPAIR_HERE, flight.hurt.here),
        (OperationKind.REPAIR_THERE, flight.hurt.there),
    ):
        if run is not None and flight.operation.kind in REPAIRS:
            _have_source_repaired(step, kind, run)
        elif run is not None:
            _have_repaired(step, kind, run)


def _have_repaired(step: Step, kind: OperationKind, run: Range) -> None:
    if not any(_repairs(f, kind, run) for f in step.state.flights):
        step.change(flights=(Flight(0, Operation(kind, 0, 0, *run)), *step.state.flights))


def _have_source_repaired(step: Step, kind: OperationKind, run: Range) -> None:
    """It begins in this step, before all others and in a free range: nothing can make the source whole before it."""
    others = (f for f in step.state.flights if not _repairs(f, kind, run))
    step.change(flights=(Flight(0, Operation(kind, 0, 0, *run), last_resort=True), *others))


def _repairs(flight: Flight, kind: OperationKind, run: Range) -> bool:
    return flight.operation.kind is kind and (flight.operation.offset, flight.operation.size) == run


def repair_data(step: Step, message: msg.RepairData) -> None:
    """The peer's blocks, for damaged ones of this disk. Nothing else is under way in the range."""
    state = step.state
    if state.phase is Phase.FOLLOWING:
        step.change(storing=state.storing | {message.sequence})
        step.do(act.StoreRepair(message.sequence, message.offset, message.size))
        return
    repair = service.by_sequence(step, message.sequence)
    if state.phase not in _PAIRED or repair is None or repair.there:
        return
    if _repairs(repair, OperationKind.REPAIR_HERE, (message.offset, message.size)):
        service.replace(step, repair, repair.but(there=True))
        step.do(act.StoreRepair(message.sequence, message.offset, message.size))


def _give_up(step: Step, repair: Flight, lost: Range) -> None:
    """Both copies are damaged there: whoever needs that ends, and neither copy is touched.

    Who needs less than was to be repaired, and none of what is lost, has a repair of its own that goes on.
    """
    service.replace(step, repair, None)
    step.do(act.ReportMediumError(*lost))
    on_one: list[Range] = []
    for flight in step.state.flights:
        if flight.started:
            continue
        if flight.operation.kind in REPAIRS:
            if overlap(flight.operation.where, lost):
                service.replace(step, flight, None)
        elif overlap(flight.hurt.here, lost) or overlap(flight.hurt.there, lost):
            if flight.operation.kind is OperationKind.VERIFY:
                _leave_unread(step, flight, lost)
            else:
                _fail(step, flight)
                if flight.tried:
                    on_one.append(flight.operation.where)
    if on_one:
        _part(step, tuple(on_one))
    service.advance(step)


def _part(step: Step, on_one: tuple[Range, ...]) -> None:
    """One of the two copies holds writes that the other cannot: only one of them may count, whoever is asked for that.

    These have ended and are pushed no more, so that no session can be resumed from here.
    """
    step.do(act.MarkDirty(on_one))
    step.change(partner=0)
    membership.claim(step, "a write could not be made equal on both copies")


def _fail(step: Step, flight: Flight) -> None:
    """Tell the client, or the peer of its own, that it was not executed, or that it is not known."""
    service.replace(step, flight, None)
    if flight.taken and not flight.tried:
        proposals.failed(step, flight)
    if flight.ticket and not flight.answered:
        # An old primary may have executed it, and a block that it repaired here holds a part of it.
        unknown = flight.tried or flight.told
        step.do(act.Answer(flight.ticket, Outcome.UNKNOWN if unknown else Outcome.MEDIUM_ERROR))


def _do_without(step: Step, flight: Flight) -> None:
    """There is no other copy that counts. A target that has the blocks has them of an epoch that is over, perhaps."""
    run, resync = flight.hurt.here, step.state.resync
    if run is None:
        raise LocalProtocolError("the sole member waits for nobody's disk but its own")
    step.do(act.ReportMediumError(*run))
    if flight.operation.kind is OperationKind.COPY:
        service.replace(step, flight, None)
        if resync is not None:
            _leave_out(step, resync, LeftOut(flight.operation.offset, run))
        return
    _fail(step, flight)
    if flight.changes_volume:
        _copy_again(step, flight.operation.where)


def _copy_again(step: Step, where: Range) -> None:
    """A target may have executed what this copy refused, and marked."""
    retry.copy_again(step, where)
    if step.state.phase is Phase.ADMITTING:
        membership.serve_alone(step, "a write was executed by the target alone")


def _leave_out(step: Step, resync: Resync, new: LeftOut) -> None:
    """The source cannot copy what it has not: the range stays marked, and the target outside."""
    known = list(resync.left_out)
    tried_before = next((place for place, each in enumerate(known) if overlap(each.lost, new.lost)), None)
    if tried_before is not None:
        known[tried_before] = known[tried_before].joined(new)
    elif len(known) < LEFT_OUT_LIMIT:
        known.append(new)
    else:
        known[-1] = known[-1].joined(new)
    step.change(resync=attrs.evolve(resync, left_out=tuple(known)))


def _leave_unread(step: Step, flight: Flight, lost: Range) -> None:
    """What is damaged on both copies cannot be compared; what lies around it can."""
    verification = step.state.verification
    service.replace(step, flight, None)
    if verification is None:
        return
    offset, end = flight.operation.offset, flight.operation.offset + flight.operation.size
    around = ((offset, lost[0] - offset), (sum(lost), end - sum(lost)))
    verification = verification.compared((offset, end - offset), tuple(each for each in around if each[1] > 0))
    step.change(verification=verification.note(Finding.UNREADABLE, lost))
