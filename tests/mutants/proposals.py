"""What enters at the secondary gets its sequence and its end in the wrong way."""

import attrs

from ctlha_trio.pair import (
    OperationKind,
    Outcome,
    PairState,
    Phase,
    Range,
    _admission as admission,
    _proposals as proposals,
    _reads as reads,
    _service as service,
    messages as msg,
)
from ctlha_trio.pair._state import Flight
from ctlha_trio.pair._step import Step
from ctlha_trio.testing._core.flap_trials import flaps_lose_no_proposal
from tests.mutants.trouble import EARLY, Patch, mutant

COMPARES = ((OperationKind.COMPARE_AND_WRITE, OperationKind.COMPARE_AND_WRITE, OperationKind.WRITE),)
OF_RECORDS = ((OperationKind.PUT_RECORD,), (OperationKind.READ_RECORDS,))


@mutant()
def acknowledges_a_proposal_that_is_durable_here_only(patch: Patch) -> None:
    plain = proposals.assigned

    def assigned(step: Step, message: msg.Assigned) -> None:
        plain(step, message)
        flights = step.state.flights
        step.change(flights=tuple(attrs.evolve(f, there=True) if f.proposal == message.number else f for f in flights))

    patch.setattr(proposals, "assigned", assigned)


@mutant()
def calls_a_proposal_complete_when_it_is_begun(patch: Patch) -> None:
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


@mutant(kinds=COMPARES)
def takes_what_is_proposed_for_compared(patch: Patch) -> None:
    plain = proposals.proposed

    def proposed(step: Step, message: msg.Propose) -> None:
        plain(step, message)
        step.change(flights=tuple(attrs.evolve(f, equal=True) if f.taken else f for f in step.state.flights))

    patch.setattr(proposals, "proposed", proposed)


@mutant(trial=flaps_lose_no_proposal)
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


@mutant(trial=flaps_lose_no_proposal)
def denies_what_it_has_taken(patch: Patch) -> None:
    """When it comes again, it says of what waits that it is not executed, and executes it."""
    plain = proposals.proposed

    def proposed(step: Step, message: msg.Propose) -> None:
        if any(f.taken == message.number and not f.started for f in step.state.flights):
            step.send(msg.Unexecuted(step.state.epoch, message.number, Outcome.NOT_PRIMARY, 0))
        plain(step, message)

    patch.setattr(proposals, "proposed", proposed)


@mutant(trial=flaps_lose_no_proposal)
def takes_the_numbers_of_the_process_of_before_for_those_of_the_next(patch: Patch) -> None:
    plain = admission.won

    def won(step: Step) -> None:
        taken = step.state.taken
        plain(step)
        step.change(taken=taken)

    patch.setattr(admission, "won", won)


@mutant(trial=flaps_lose_no_proposal)
def proposes_nothing_again_after_a_flap(patch: Patch) -> None:
    patch.setattr(proposals, "say_again", lambda _: None)


@mutant(trial=flaps_lose_no_proposal)
def asks_for_nothing_after_a_flap(patch: Patch) -> None:
    patch.setattr(proposals, "asked_for", lambda _: 0)


@mutant("cut", "flap")
def marks_no_proposal_that_was_under_way(patch: Patch) -> None:
    def may_differ(state: PairState) -> tuple[Range, ...]:
        of_secondary = {f.sequence for f in state.flights if f.proposal}
        own = {f.operation.where for f in state.flights if f.changes_volume and f.unsettled and not f.taken}
        mirrored = {each.where for each in state.unsettled if each.where and each.sequence not in of_secondary}
        return tuple(sorted(own | mirrored))

    patch.setattr(PairState, "may_differ", property(may_differ))


@mutant("cut", "fail_arbiter", clocks=EARLY)
def denies_what_it_has_proposed(patch: Patch) -> None:
    plain = service.drop_flights

    def drop_flights(step: Step, started: Outcome) -> None:
        step.change(flights=tuple(f if f.sequence else attrs.evolve(f, told=False) for f in step.state.flights))
        plain(step, started)

    patch.setattr(service, "drop_flights", drop_flights)


@mutant("cut", "slow_arbiter", clocks=EARLY, kinds=OF_RECORDS)
def shows_at_the_secondary_records_that_are_not_settled(patch: Patch) -> None:
    plain = reads._shows
    patch.setattr(reads, "_shows", lambda operation, where: where is not None and plain(operation, where))


@mutant("cut", "slow_arbiter", clocks=EARLY, kinds=OF_RECORDS)
def takes_records_for_settled_that_are_under_way(patch: Patch) -> None:
    patch.setattr(Flight, "unsettled", property(lambda f: f.changes_volume and f.begun and not (f.here and f.there)))
