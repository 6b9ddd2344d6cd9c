"""Zeros, unmapped ranges and comparisons: what one copy lacks, and what is written that was not to be."""

import attrs

from ctlha_trio.pair import (
    ZEROING,
    OperationKind,
    Phase,
    _compare as compare,
    _service as service,
    events as ev,
)
from ctlha_trio.pair._state import Flight
from ctlha_trio.pair._step import Step
from ctlha_trio.testing._core.trouble import KINDS
from tests.mutants.trouble import EARLY, LATE, Kinds, Patch, ask_for_no_permit, mutant

ZEROING_KINDS: Kinds = ((OperationKind.WRITE, OperationKind.WRITE_ZEROES, OperationKind.UNMAP),)
COMPARING: Kinds = ((OperationKind.COMPARE_AND_WRITE, OperationKind.READ),)


@mutant(kinds=KINDS)
def writes_zeroes_on_one_copy_only(patch: Patch) -> None:
    plain = service._wanted_there

    def wanted_there(step: Step, flight: Flight) -> bool:
        return flight.operation.kind not in ZEROING and plain(step, flight)

    patch.setattr(service, "_wanted_there", wanted_there)


@mutant("crash", "cut", kinds=ZEROING_KINDS)
def marks_no_zeroes_that_one_copy_may_lack(patch: Patch) -> None:
    def unsettled(flight: Flight) -> bool:
        written = flight.operation.kind not in ZEROING
        return written and flight.is_write and not (flight.here and flight.there)

    patch.setattr(Flight, "unsettled", property(unsettled))


@mutant("silence", clocks=LATE + EARLY, kinds=COMPARING)
def tells_a_miscompare_without_a_permit(patch: Patch) -> None:
    ask_for_no_permit(patch, OperationKind.COMPARE_AND_WRITE)


@mutant(kinds=KINDS)
def compares_outside_the_range_lock(patch: Patch) -> None:
    plain = service.submitted

    def submitted(step: Step, event: ev.Submitted) -> None:
        plain(step, event)
        for flight in step.state.flights if step.state.phase is Phase.MIRRORING else ():
            if flight.operation.kind is OperationKind.COMPARE_AND_WRITE and not flight.started:
                service._start(step, flight)

    patch.setattr(service, "submitted", submitted)


@mutant(kinds=KINDS)
def writes_whatever_it_compared(patch: Patch) -> None:
    plain = compare.compared
    patch.setattr(compare, "compared", lambda step, event: plain(step, attrs.evolve(event, miscompare_at=None)))


@mutant("crash", "cut", kinds=KINDS)
def forgets_that_a_compare_had_begun_to_write(patch: Patch) -> None:
    plain = Flight.is_write.fget  # type: ignore[attr-defined]
    patch.setattr(Flight, "is_write", property(lambda f: not f.equal and plain(f)))
