"""Records of the layers above: lost, left on one node, or back again."""

import attrs

from ctlha_trio.pair import (
    Copy,
    Operation,
    OperationKind,
    Phase,
    _admission as admission,
    _proposals as proposals,
    _service as service,
    events as ev,
)
from ctlha_trio.pair._state import Flight, Stage
from ctlha_trio.pair._step import Step
from ctlha_trio.testing._core.trouble import KINDS
from tests.mutants.trouble import EARLY, LATE, Kinds, Patch, ask_for_no_permit, mutant

PUTTING: Kinds = ((OperationKind.PUT_RECORD,), (OperationKind.READ_RECORDS,))


@mutant("crash", kinds=KINDS)
def puts_a_record_on_one_node_only(patch: Patch) -> None:
    plain = service._wanted_there
    put = OperationKind.PUT_RECORD
    patch.setattr(
        service, "_wanted_there", lambda step, flight: flight.operation.kind is not put and plain(step, flight)
    )


@mutant("crash", kinds=KINDS)
def seals_a_target_without_the_records(patch: Patch) -> None:
    def seal(step: Step) -> None:
        if step.state.phase is Phase.RESYNCING and not step.state.storing:
            step.change(stage=Stage.PERSISTING, unsettled=())
            step.persist(Copy.SEALED)

    patch.setattr(admission, "seal", seal)


@mutant(kinds=KINDS)
def puts_records_side_by_side(patch: Patch) -> None:
    plain = Operation.conflicts
    put = OperationKind.PUT_RECORD
    patch.setattr(Operation, "conflicts", lambda one, other: {one.kind, other.kind} != {put} and plain(one, other))


@mutant("silence", clocks=LATE + EARLY, kinds=PUTTING)
def reads_records_without_a_permit(patch: Patch) -> None:
    ask_for_no_permit(patch, OperationKind.READ_RECORDS)


@mutant("cut", "impersonate", clocks=EARLY, kinds=KINDS)
def forgets_its_own_puts_when_it_loses_the_role(patch: Patch) -> None:
    plain = Flight.is_write.fget  # type: ignore[attr-defined]
    patch.setattr(Flight, "is_write", property(lambda f: f.operation.kind is not OperationKind.PUT_RECORD and plain(f)))


@mutant("crash", "hand_over", kinds=PUTTING)
def asks_for_no_room_for_what_it_takes_back(patch: Patch) -> None:
    plain = proposals.take_back

    def take_back(step: Step) -> None:
        plain(step)
        step.change(flights=tuple(attrs.evolve(f, asks_room=False) for f in step.state.flights))

    patch.setattr(proposals, "take_back", take_back)


@mutant("crash", "hand_over", kinds=PUTTING)
def executes_what_has_no_room(patch: Patch) -> None:
    plain = proposals.room_checked

    def room_checked(step: Step, event: ev.RoomChecked) -> None:
        plain(step, attrs.evolve(event, refused=()))

    patch.setattr(proposals, "room_checked", room_checked)
