"""The roles are changed too early, or by nobody."""

from ctlha_trio.pair import (
    Phase,
    _core as core,
    _handover as handover,
    _phase as phases,
    _proposals as proposals,
    _service as service,
    actions as act,
    events as ev,
    messages as msg,
)
from ctlha_trio.pair._state import Stage
from ctlha_trio.pair._step import Step
from tests.mutants.trouble import LATE, Patch, mutant


@mutant("hand_over")
def hands_over_without_a_drain(patch: Patch) -> None:
    def drained(step: Step) -> None:
        if step.state.phase is Phase.HANDING_OVER and step.state.stage is Stage.DRAINING:
            step.change(stage=Stage.ASKING)
            step.do(act.SendPrepare(step.state.epoch, step.state.handover_attempt, step.state.next_proposal))

    patch.setattr(handover, "drained", drained)


@mutant("hand_over")
def serves_on_while_it_hands_over(patch: Patch) -> None:
    patch.setattr(service, "SERVING", phases.SERVING | {Phase.HANDING_OVER})


@mutant("hand_over")
def takes_the_role_before_it_is_persisted(patch: Patch) -> None:
    plain = handover.done

    def done(step: Step, message: msg.HandoverDone) -> None:
        plain(step, message)
        if step.state.stage is Stage.RECORDING:
            handover.recorded_as_primary(step)

    patch.setattr(handover, "done", done)


@mutant("hand_over", "leap")
def gives_a_handover_up_after_its_swap(patch: Patch) -> None:
    def late(step: Step) -> None:
        if step.state.phase is Phase.HANDING_OVER:
            step.move(Phase.MIRRORING, "the nodes were not ready in time")
            service.advance(step)

    patch.setattr(handover, "late", late)
    patch.setattr(Step, "cancel_timer", lambda *_: None)


@mutant("leap", "cut", clocks=LATE)
def takes_the_role_when_a_timer_of_before_fires(patch: Patch) -> None:
    plain = core._timer

    def timer(step: Step, fired: ev.Timer) -> None:
        if fired is ev.Timer.CLAIM and step.state.phase is Phase.FOLLOWING:
            step.move(Phase.MIRRORING, "the primary seems to be gone")
        else:
            plain(step, fired)

    patch.setattr(Step, "cancel_timer", lambda *_: None)
    patch.setattr(core, "_timer", timer)


@mutant("hand_over")
def proposes_on_while_it_is_handed_the_role(patch: Patch) -> None:
    plain = proposals.propose

    def propose(step: Step) -> None:
        stage = step.state.stage
        step.change(stage=Stage.NONE)
        plain(step)
        step.change(stage=stage)

    patch.setattr(proposals, "propose", propose)


@mutant("hand_over")
def says_that_it_is_ready_beside_its_pushes(patch: Patch) -> None:
    def prepared(step: Step) -> None:
        step.change(stage=Stage.ASKING)
        step.send(msg.HandoverReady(step.state.epoch, step.state.handover_attempt))

    patch.setitem(core._AFTER_PERSIST, (Phase.FOLLOWING, Stage.PERSISTING), prepared)


@mutant("hand_over", "fail_arbiter")
def never_proposes_again_to_a_primary_that_gave_a_handover_up(patch: Patch) -> None:
    patch.setattr(handover, "given_up", lambda _: None)


@mutant("hand_over", "cut")
def says_that_a_role_stayed_which_it_gave_away(patch: Patch) -> None:
    plain = handover.recorded

    def recorded(step: Step) -> None:
        if not step.state.partner:
            step.change(stage=Stage.NONE)
        plain(step)

    patch.setitem(core._AFTER_PERSIST, (Phase.HANDING_OVER, Stage.RECORDING), recorded)


@mutant("hand_over")
def forgets_whom_it_held_when_it_gives_the_role_away(patch: Patch) -> None:
    plain = handover.recorded

    def recorded(step: Step) -> None:
        step.change(flights=())
        plain(step)

    patch.setitem(core._AFTER_PERSIST, (Phase.HANDING_OVER, Stage.RECORDING), recorded)
