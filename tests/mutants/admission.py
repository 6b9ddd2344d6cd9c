"""A copy that returns is admitted too early."""

from ctlha_trio.pair import Phase, _admission as admission, _core as core, _phase as phases, _service as service
from ctlha_trio.pair._state import Stage
from ctlha_trio.pair._step import Step
from tests.mutants.trouble import LATE, Patch, mutant


@mutant("crash")
def admits_while_writes_are_under_way(patch: Patch) -> None:
    patch.setattr(admission, "_under_way", lambda _: False)


@mutant("crash")
def admits_without_a_seal(patch: Patch) -> None:
    def drained(step: Step) -> None:
        draining = step.state.phase is Phase.ADMITTING and step.state.stage is Stage.DRAINING
        if draining and not admission._under_way(step):
            step.change(stage=Stage.ASKING)
            admission.sealed(step)

    patch.setattr(admission, "drained", drained)


@mutant("crash")
def seals_before_it_is_persisted(patch: Patch) -> None:
    plain = admission.seal

    def seal(step: Step) -> None:
        plain(step)
        if step.state.phase is Phase.RESYNCING and step.state.stage is Stage.PERSISTING:
            admission.seal_persisted(step)

    patch.setattr(admission, "seal", seal)


@mutant("crash")
def mirrors_before_the_target_has_joined(patch: Patch) -> None:
    plain = admission.recorded

    def recorded(step: Step) -> None:
        plain(step)
        admission.joined(step)

    patch.setitem(core._AFTER_PERSIST, (Phase.ADMITTING, Stage.RECORDING), recorded)


@mutant("crash", "slow_arbiter", clocks=LATE)
def serves_on_while_it_admits(patch: Patch) -> None:
    patch.setattr(service, "SERVING", phases.SERVING | {Phase.ADMITTING})
