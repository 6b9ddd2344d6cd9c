"""The roles are changed too early, or by nobody."""

from ctlha_trio.pair import (
    Phase,
    _core as core,
    _handover as handover,
    _phase as phases,
    _service as service,
    events as ev,
    messages as msg,
)
from ctlha_trio.pair._state import Stage
from ctlha_trio.pair._step import Step
from tests.mutants.trouble import Patch, mutant


@mutant("hand_over")
def hands_over_without_a_drain(patch: Patch) -> None:
    def drained(step: Step) -> None:
        if step.state.phase is Phase.HANDING_OVER and step.state.stage is Stage.DRAINING:
            step.change(stage=Stage.ASKING)
            step.send(msg.HandoverPrepare(step.state.epoch, step.state.handover_attempt, step.state.next_proposal))

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


@mutant("cut")
def takes_the_role_when_a_timer_of_before_fires(patch: Patch) -> None:
    plain = core._timer

    def timer(step: Step, fired: ev.Timer) -> None:
        if fired is ev.Timer.CLAIM and step.state.phase is Phase.FOLLOWING:
            step.move(Phase.MIRRORING, "the primary seems to be gone")
        else:
            plain(step, fired)

    patch.setattr(Step, "cancel_timer", lambda *_: None)
    patch.setattr(core, "_timer", timer)
