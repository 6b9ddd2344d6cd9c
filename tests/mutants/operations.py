"""Operations are acknowledged or executed too early, or forgotten."""

import attrs

from ctlha_trio.pair import Operation, Outcome, _service as service, actions as act, messages as msg
from ctlha_trio.pair._state import Flight
from ctlha_trio.pair._step import Step
from tests.mutants.trouble import EARLY, Patch, mutant


@mutant()
def acknowledges_when_durable_here_only(patch: Patch) -> None:
    plain = service._complete

    def complete(step: Step, flight: Flight) -> bool:
        return plain(step, flight) or (plain(step, attrs.evolve(flight, there=True)) and not flight.answered)

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


@mutant("cut", clocks=EARLY)
def forgets_who_asked_when_it_loses_the_role(patch: Patch) -> None:
    plain = service.drop_flights

    def drop_flights(step: Step, started: Outcome) -> None:
        ordered = len(step.actions)
        plain(step, started)
        step.actions[ordered:] = [each for each in step.actions[ordered:] if not isinstance(each, act.Answer)]

    patch.setattr(service, "drop_flights", drop_flights)
