"""Reads are answered that may not be."""

from ctlha_trio.ha import HeldPermit
from ctlha_trio.pair import (
    MEMBERS,
    PERMIT_S,
    Operation,
    OperationKind,
    _membership as membership,
    _permits as permits,
    _reads as reads,
    messages as msg,
)
from ctlha_trio.pair._step import Step
from tests.mutants.trouble import EARLY, LATE, Patch, mutant

MOSTLY_READS = (
    (OperationKind.READ, OperationKind.READ, OperationKind.READ, OperationKind.WRITE),
    (OperationKind.READ, OperationKind.READ, OperationKind.WRITE),
)
"""What shows only in a read that comes within some hundredths of a second."""


@mutant("silence", clocks=LATE + EARLY)
def reads_without_a_permit(patch: Patch) -> None:
    patch.setattr(permits, "permit_epoch", lambda _: 0)


@mutant("silence", "cut", clocks=LATE + EARLY)
def serves_alone_while_a_permit_is_out(patch: Patch) -> None:
    plain = membership.secured

    def secured(step: Step) -> None:
        granted = step.state.granted
        step.change(granted=False)
        plain(step)
        step.change(granted=granted)

    patch.setattr(membership, "secured", secured)


@mutant("cut", "silence", clocks=EARLY, kinds=MOSTLY_READS)
def counts_a_permit_from_its_arrival(patch: Patch) -> None:
    def take(held: HeldPermit, permit: msg.Permit) -> None:
        held._epoch, held._until_s = permit.epoch, held._boottime() + PERMIT_S

    patch.setattr(HeldPermit, "take", take)


@mutant("silence", "cut", clocks=LATE + EARLY, kinds=MOSTLY_READS)
def waits_for_the_end_of_the_first_permit_only(patch: Patch) -> None:
    plain = permits.asked

    def asked(step: Step, message: msg.PermitRequest) -> None:
        if not step.state.granted:
            plain(step, message)
        elif step.state.phase in MEMBERS and step.state.partner == step.state.session:
            step.send(msg.Permit(message.epoch, message.number))

    patch.setattr(permits, "asked", asked)


@mutant("silence", clocks=EARLY, kinds=MOSTLY_READS)
def waits_as_if_both_clocks_were_the_same(patch: Patch) -> None:
    patch.setattr(permits, "PERMIT_OUT_S", PERMIT_S)


@mutant("silence", clocks=LATE + EARLY)
def covers_a_read_by_a_grant_of_before(patch: Patch) -> None:
    patch.setattr(HeldPermit, "covers", lambda held, epoch, _: epoch == held._epoch and held._granted > 0)


@mutant("cut", "slow_arbiter", clocks=EARLY)
def shows_at_the_secondary_what_is_not_settled(patch: Patch) -> None:
    patch.setattr(reads, "_awaited", lambda *_: 0)


@mutant("cut", "crash")
def takes_any_word_for_the_one_that_all_is_settled(patch: Patch) -> None:
    def settled_asked(step: Step, message: msg.SettledAsked) -> None:
        step.send(msg.Settled(step.state.epoch, message.sequence))

    patch.setattr(reads, "settled_asked", settled_asked)


@mutant("cut", "crash", clocks=EARLY)
def reads_what_is_not_acknowledged(patch: Patch) -> None:
    plain = Operation.conflicts

    def conflicts(self: Operation, other: Operation) -> bool:
        kinds = {self.kind, other.kind}
        return kinds != {OperationKind.READ, OperationKind.WRITE} and plain(self, other)

    patch.setattr(Operation, "conflicts", conflicts)
