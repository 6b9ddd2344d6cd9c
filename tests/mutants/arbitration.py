"""A node believes its arbiter too much, or asks it too much."""

from typing import Any

import attrs

from ctlha_trio.pair import (
    Copy,
    Metadata,
    PairState,
    Phase,
    Record,
    _arbitration as arbitration,
    _membership as membership,
    _phase as phases,
    _service as service,
    _step as steps,
    events as ev,
)
from ctlha_trio.pair._step import Step
from ctlha_trio.testing._core.restore_trials import (
    a_node_remembers_what_it_has_read,
    a_returning_node_is_told,
    an_abandoned_node_remembers_the_later_line,
)
from ctlha_trio.wire import KnownRecord
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


@mutant(trial=a_returning_node_is_told)
def believes_the_arbiter_over_the_peer(patch: Patch) -> None:
    patch.setattr(PairState, "is_denied", lambda *_: False)


@mutant(trial=a_returning_node_is_told)
def forgets_what_the_peer_has_told(patch: Patch) -> None:
    patch.setattr(Step, "hear", lambda self, word: self.change(heard=word))


@mutant(trial=a_node_remembers_what_it_has_read)
def remembers_only_what_it_was_told(patch: Patch) -> None:
    plain = Step.hear

    def hear(self: Step, word: KnownRecord) -> None:
        if self.state.phase is not Phase.BOOTING:
            plain(self, word)

    patch.setattr(Step, "hear", hear)


@mutant(trial=an_abandoned_node_remembers_the_later_line)
def takes_a_line_that_a_force_has_ended_for_the_pair_s(patch: Patch) -> None:
    patch.setattr(Metadata, "later_line", "")


@mutant("cut", "crash")
def tells_its_claim_before_it_is_won(patch: Patch) -> None:
    plain = PairState.__dict__["knows"].fget

    def knows(state: PairState) -> KnownRecord:
        known: KnownRecord = plain(state)
        claim = None if state.swap is None else state.swap.record
        return known if claim is None else KnownRecord(claim.lineage, claim.epoch, known.revision + 1, leads=True)

    patch.setattr(PairState, "knows", property(knows))


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


@mutant("slow_arbiter")
def asks_an_arbiter_again_that_it_is_asking(patch: Patch) -> None:
    plain = Step.read_record

    def read_record(step: Step) -> None:
        step.change(reading=False)
        plain(step)

    patch.setattr(Step, "read_record", read_record)


@mutant("hand_over", "fail_arbiter")
def forgets_a_refusal_when_it_serves_on(patch: Patch) -> None:
    plain = Step.move

    def move(self: Step, phase: Phase, why: str, *rest: Any, **named: Any) -> None:
        plain(self, phase, why, *rest, **named)
        if phase is Phase.MIRRORING:
            self.change(untaken=0)

    patch.setattr(Step, "move", move)


@mutant("hand_over", "fail_arbiter")
def never_believes_an_arbiter_again_that_has_refused(patch: Patch) -> None:
    plain = arbitration.record_read

    def record_read(step: Step, event: ev.RecordRead) -> None:
        plain(step, attrs.evolve(event, takes_changes=False if event.takes_changes is not None else None))

    patch.setattr(arbitration, "record_read", record_read)


@mutant("hand_over", "fail_arbiter")
def has_nothing_proved_by_an_arbiter_that_has_refused(patch: Patch) -> None:
    patch.setattr(steps, "_PROVES", frozenset())
