"""A healthy pair is of no use."""

from ctlha_trio.pair import (
    OperationKind,
    Phase,
    _arbitration as arbitration,
    _handover as handover,
    _repair as repair,
    _service as service,
    _sessions as sessions,
    _verify as verify,
    actions as act,
    events as ev,
)
from ctlha_trio.pair._state import Flight
from ctlha_trio.pair._step import Step
from ctlha_trio.testing._core.trials import pair_serves_without_arbiter
from tests.mutants.trouble import Patch, mutant


@mutant()
def refuses_everything_although_it_is_healthy(patch: Patch) -> None:
    plain = service.accepts
    patch.setattr(service, "accepts", lambda state: state.phase is not Phase.MIRRORING and plain(state))


@mutant("fail_arbiter")
def calls_an_arbiter_silent_for_ever(patch: Patch) -> None:
    plain = arbitration.record_read

    def record_read(step: Step, event: ev.RecordRead) -> None:
        was_silent = step.state.phase is not Phase.BOOTING and not step.state.arbiter_answers
        plain(step, event)
        if was_silent:
            step.change(arbiter_answers=False)

    patch.setattr(arbitration, "record_read", record_read)


@mutant(trial=pair_serves_without_arbiter)
def resumes_no_session_while_the_arbiter_is_silent(patch: Patch) -> None:
    plain = sessions.resume

    def resume(step: Step) -> None:
        if step.state.arbiter_answers:
            plain(step)

    patch.setattr(sessions, "resume", resume)


@mutant("hand_over")
def forgets_that_a_handover_was_asked_for(patch: Patch) -> None:
    patch.setattr(handover, "asked", lambda _step: None)


@mutant("hand_over")
def refuses_every_handover(patch: Patch) -> None:
    patch.setattr(handover, "asked", lambda step: step.do(act.HandoverEnded("not today")))


@mutant("verify")
def forgets_that_a_comparison_was_asked_for(patch: Patch) -> None:
    patch.setattr(verify, "asked", lambda _step: None)


@mutant("force_primary", "crash")
def tells_nobody_what_became_of_a_force(patch: Patch) -> None:
    plain = Step.do

    def do(self: Step, action: act.Action) -> None:
        if not isinstance(action, act.ForceEnded):
            plain(self, action)

    patch.setattr(Step, "do", do)


@mutant("bit_rot")
def says_that_a_block_is_lost_which_the_other_copy_has(patch: Patch) -> None:
    plain = repair._wait_for_repair

    def wait_for_repair(step: Step, flight: Flight) -> None:
        if flight.operation.kind is OperationKind.READ:
            repair._fail(step, flight)
        else:
            plain(step, flight)

    patch.setattr(repair, "_wait_for_repair", wait_for_repair)


@mutant("bit_rot")
def compares_and_repairs_nothing(patch: Patch) -> None:
    plain = repair._wait_for_repair

    def wait_for_repair(step: Step, flight: Flight) -> None:
        if flight.operation.kind is OperationKind.VERIFY and flight.hurt.here is not None:
            repair._leave_unread(step, flight, flight.hurt.here)
        else:
            plain(step, flight)

    patch.setattr(repair, "_wait_for_repair", wait_for_repair)
