"""A node that goes on alone takes its steps in another order."""

from ctlha_trio.pair import Phase, _membership as membership, _service as service, events as ev
from ctlha_trio.pair._state import Stage
from ctlha_trio.pair._step import Step
from tests.mutants.trouble import EARLY, Patch, mutant


@mutant("cut")
def acknowledges_alone_before_the_swap(patch: Patch) -> None:
    plain = membership.suspend

    def suspend(step: Step, loss: ev.Loss | None, why: str) -> None:
        plain(step, loss, why)
        if step.state.primary:
            service.want_nothing_there(step)
            service.advance(step)

    patch.setattr(service, "_ENDING", service._ENDING | {Phase.SUSPENDED, Phase.CLAIMING})
    patch.setattr(membership, "suspend", suspend)


@mutant("cut", clocks=EARLY)
def acknowledges_alone_before_it_is_persisted(patch: Patch) -> None:
    plain = membership.secure

    def secure(step: Step) -> None:
        plain(step)
        step.change(stage=Stage.DRAINING)

    patch.setattr(membership, "secure", secure)


@mutant("cut", clocks=EARLY)
def does_not_drain_before_it_serves_alone(patch: Patch) -> None:
    def secured(step: Step) -> None:
        if step.state.phase is Phase.SECURING and step.state.stage is Stage.DRAINING:
            step.move(Phase.ALONE, "secured")
            service.advance(step)

    patch.setattr(membership, "secured", secured)
