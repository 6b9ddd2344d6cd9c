"""A node believes its arbiter too much, or asks it too much."""

from ctlha_trio.pair import (
    Copy,
    Phase,
    Record,
    _arbitration as arbitration,
    _membership as membership,
    _phase as phases,
    _service as service,
    events as ev,
)
from ctlha_trio.pair._step import Step
from tests.mutants.trouble import Patch, mutant


@mutant("restore_arbiter", "cut", "crash")
def accepts_an_arbiter_that_went_back(patch: Patch) -> None:
    plain = arbitration.record_read

    def record_read(step: Step, event: ev.RecordRead) -> None:
        if event.revision < max(step.state.asked_at[0], step.state.revision) and not step.state.swap:
            step.change(reading=False, arbiter_answers=True)
            membership.decide(step, event.record, event.revision, "read a record")
        else:
            plain(step, event)

    patch.setattr(arbitration, "record_read", record_read)


@mutant("crash", "fail_arbiter")
def serves_by_its_own_disk_while_the_arbiter_is_silent(patch: Patch) -> None:
    plain = arbitration.read_failed

    def read_failed(step: Step) -> None:
        plain(step)
        disk = step.state.metadata
        if step.state.phase is Phase.BOOTING and disk.copy is Copy.MEMBER and disk.primary == disk.node:
            record = Record(
                cluster="c",
                resource="r",
                epoch=disk.epoch,
                lineage=disk.lineage,
                primary=disk.primary,
                members=disk.members,
                proposal="",
            )
            step.change(record=record, revision=disk.revision)
            membership.secure(step)

    booting = phases.TRANSITIONS[Phase.BOOTING]
    patch.setitem(phases.TRANSITIONS, Phase.BOOTING, booting | {Phase.SECURING})
    patch.setattr(arbitration, "read_failed", read_failed)


@mutant()
def asks_the_arbiter_for_every_operation(patch: Patch) -> None:
    plain = service.submitted

    def submitted(step: Step, event: ev.Submitted) -> None:
        plain(step, event)
        step.read_record()

    patch.setattr(service, "submitted", submitted)


@mutant("change_arbiter")
def takes_another_pair_s_record_for_a_twin_s(patch: Patch) -> None:
    plain = membership.stop

    def stop(step: Step, why: str) -> None:
        primary = step.state.record is not None and step.state.record.primary == step.state.me
        plain(step, "twin" if primary and why.startswith("foreign") else why)

    patch.setattr(membership, "stop", stop)
