"""Operations are acknowledged or executed too early."""

import attrs

from ctlha_trio.pair import Operation, _service as service, messages as msg
from ctlha_trio.pair._state import Flight
from ctlha_trio.pair._step import Step
from tests.mutants.trouble import Patch, mutant


@mutant()
def acknowledges_when_durable_here_only(patch: Patch) -> None:
    plain = service._complete

    def complete(step: Step, flight: Flight) -> bool:
        return plain(step, attrs.evolve(flight, there=True)) and not flight.answered

    patch.setattr(service, "_complete", complete)


@mutant()
def acknowledges_when_durable_there_only(patch: Patch) -> None:
    plain = service._complete

    def complete(step: Step, flight: Flight) -> bool:
        return plain(step, attrs.evolve(flight, here=True))

    patch.setattr(service, "_complete", complete)


@mutant()
def answers_a_mirrored_write_before_it_is_stored(patch: Patch) -> None:
    plain = service.mirror_write

    def mirror_write(step: Step, message: msg.MirrorWrite) -> None:
        plain(step, message)
        step.send(msg.Applied(message.epoch, message.sequence))

    patch.setattr(service, "mirror_write", mirror_write)


@mutant()
def executes_conflicting_operations_at_once(patch: Patch) -> None:
    patch.setattr(Operation, "conflicts", lambda *_: False)
