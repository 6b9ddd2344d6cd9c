"""Writes that enter at the secondary get their sequence and their end in the wrong way."""

import attrs

from ctlha_trio.pair import Phase, _proposals as proposals, _service as service, messages as msg
from ctlha_trio.pair._state import Flight
from ctlha_trio.pair._step import Step
from tests.mutants.trouble import LATE, Patch, mutant


@mutant()
def acknowledges_a_proposal_that_is_durable_here_only(patch: Patch) -> None:
    plain = proposals.assigned

    def assigned(step: Step, message: msg.Assigned) -> None:
        plain(step, message)
        flights = step.state.flights
        step.change(flights=tuple(attrs.evolve(f, there=True) if f.proposal == message.number else f for f in flights))

    patch.setattr(proposals, "assigned", assigned)


@mutant()
def calls_a_proposal_done_when_it_is_taken(patch: Patch) -> None:
    plain = proposals.assign

    def assign(step: Step, flight: Flight, settled: int) -> None:
        plain(step, flight, settled)
        step.send(msg.Completed(step.state.epoch, flight.taken))

    patch.setattr(proposals, "assign", assign)


@mutant()
def executes_a_proposal_beside_what_conflicts_with_it(patch: Patch) -> None:
    plain = proposals.proposed

    def proposed(step: Step, message: msg.Propose) -> None:
        plain(step, message)
        for flight in step.state.flights:
            if flight.taken == message.number and not flight.started and step.state.phase is Phase.MIRRORING:
                service.start_write(step, flight)

    patch.setattr(proposals, "proposed", proposed)


@mutant("cut", clocks=LATE)
def takes_a_proposal_as_often_as_it_comes(patch: Patch) -> None:
    plain = proposals.proposed

    def proposed(step: Step, message: msg.Propose) -> None:
        before = step.state.flights
        step.change(taken=0, flights=tuple(attrs.evolve(f, taken=0) for f in before))
        plain(step, message)
        known = {id(flight) for flight in before}
        added = tuple(f for f in step.state.flights if f.taken and id(f) not in known)
        step.change(flights=(*before, *added))

    patch.setattr(proposals, "proposed", proposed)


@mutant("hand_over")
def takes_the_numbers_of_the_secondary_of_before_for_its_own(patch: Patch) -> None:
    plain = proposals.take_back

    def take_back(step: Step) -> None:
        plain(step)
        step.change(taken=1 << 32)

    patch.setattr(proposals, "take_back", take_back)
