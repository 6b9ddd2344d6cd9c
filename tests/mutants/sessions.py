"""What a lost session and a process that runs anew leave behind is forgotten."""

from ctlha_trio.pair import (
    Outcome,
    Phase,
    Record,
    _membership as membership,
    _phase as phases,
    _service as service,
    _sessions as sessions,
    events as ev,
)
from ctlha_trio.pair._step import Step
from tests.mutants.trouble import EARLY, LATE, Patch, mutant


@mutant("crash", clocks=LATE)
def takes_a_peer_that_runs_anew_for_the_one_before(patch: Patch) -> None:
    plain = membership.decide

    def decide(step: Step, record: Record, revision: int, why: str) -> None:
        plain(step, record, revision, why)
        if step.state.phase is Phase.WAITING:
            step.move(Phase.SUSPENDED, why)

    def session_up(step: Step, event: ev.SessionUp) -> None:
        step.change(session=event.incarnation, sessions=step.state.sessions + 1, standing=None)
        if step.state.phase is Phase.SUSPENDED:
            step.change(partner=event.incarnation)
        step.moved = True

    patch.setitem(phases.TRANSITIONS, Phase.WAITING, phases.TRANSITIONS[Phase.WAITING] | {Phase.SUSPENDED})
    patch.setattr(membership, "decide", decide)
    patch.setattr(sessions, "session_up", session_up)


@mutant("cut", clocks=LATE)
def pushes_nothing_again_after_a_flap(patch: Patch) -> None:
    plain = service.resend_from
    patch.setattr(service, "resend_from", lambda step, _: plain(step, 1 << 62))


@mutant("cut", clocks=LATE)
def resumes_while_it_still_writes(patch: Patch) -> None:
    plain = sessions.resume

    def resume(step: Step) -> None:
        storing = step.state.storing
        step.change(storing=frozenset())
        plain(step)
        step.change(storing=storing)

    patch.setattr(sessions, "resume", resume)


@mutant("cut", "impersonate", clocks=EARLY)
def forgets_its_own_writes_when_it_loses_the_role(patch: Patch) -> None:
    plain = service.drop_flights

    def drop_flights(step: Step, started: Outcome) -> None:
        storing = step.state.storing
        plain(step, started)
        step.change(storing=storing)

    patch.setattr(service, "drop_flights", drop_flights)
