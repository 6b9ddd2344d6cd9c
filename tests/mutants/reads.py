"""Reads are answered that may not be."""

from ctlha_trio.ha import HeldPermit
from ctlha_trio.pair import (
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


@mutant("cut", clocks=EARLY)
def counts_a_permit_from_its_arrival(patch: Patch) -> None:
    def take(held: HeldPermit, permit: msg.Permit) -> None:
        held._epoch, held._until_s = permit.epoch, held._boottime() + PERMIT_S

    patch.setattr(HeldPermit, "take", take)


@mutant("cut", "crash")
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
