"""A node claims, or trusts a claim or a copy, although it must not."""

import attrs

from ctlha_trio.pair import (
    Copy,
    Metadata,
    OperationKind,
    Outcome,
    PairState,
    Phase,
    Record,
    SwapOutcome,
    _arbitration as arbitration,
    _handover as handover,
    _membership as membership,
    _service as service,
    _sessions as sessions,
    events as ev,
    messages as msg,
)
from ctlha_trio.pair._step import Step
from ctlha_trio.testing._core.claim_trials import a_claim_that_was_won_is_not_forgotten
from tests.mutants.trouble import LATE, Patch, mutant


def answered_as(patch: Patch, outcome: SwapOutcome) -> None:
    plain = arbitration.swapped

    def swapped(step: Step, event: ev.Swapped) -> None:
        if event.outcome is SwapOutcome.UNKNOWN and step.state.swap is not None:
            event = attrs.evolve(event, outcome=outcome, revision=step.state.swap.expected_revision + 1)
        plain(step, event)

    patch.setattr(arbitration, "swapped", swapped)


@mutant("cut", "fail_arbiter")
def takes_an_unknown_swap_as_won(patch: Patch) -> None:
    answered_as(patch, SwapOutcome.WON)


@mutant("crash", "apply_late", clocks=LATE)
def takes_an_unknown_swap_as_not_applied(patch: Patch) -> None:
    answered_as(patch, SwapOutcome.REFUSED)


@mutant("crash")
def claims_although_it_is_no_member(patch: Patch) -> None:
    def become_outdated(step: Step, why: str) -> None:
        service.drop_flights(step, Outcome.UNKNOWN)
        step.change(partner=0, swap=None)
        membership.claim(step, why)

    patch.setattr(membership, "become_outdated", become_outdated)


@mutant("fail_disk")
def trusts_a_failed_copy(patch: Patch) -> None:
    plain = membership.decide

    def decide(step: Step, record: Record, revision: int, why: str) -> None:
        if step.state.metadata.copy is Copy.FAILED:
            step.change(metadata=attrs.evolve(step.state.metadata, copy=Copy.MEMBER))
        plain(step, record, revision, why)

    patch.setattr(membership, "decide", decide)


def _believe_any_disk(patch: Patch) -> None:
    plain = membership._flaw

    def flaw(state: PairState, record: Record) -> str:
        found = plain(state, record)
        return "" if found == membership.COPY_WENT_BACK else found

    patch.setattr(membership, "_flaw", flaw)


@mutant("put_back", "crash")
def serves_from_a_disk_that_was_put_back(patch: Patch) -> None:
    _believe_any_disk(patch)


@mutant("impersonate")
def goes_on_when_another_one_claimed_in_its_name(patch: Patch) -> None:
    _believe_any_disk(patch)


@mutant("crash")
def claims_before_its_disk_knows(patch: Patch) -> None:
    plain = Step.intend

    def intend(step: Step, record: Record) -> None:
        plain(step, record)
        step.call_swap()

    patch.setattr(Step, "intend", intend)


@mutant("hand_over", "crash", kinds=((OperationKind.READ,),))
def takes_a_role_of_which_its_disk_does_not_know(patch: Patch) -> None:
    plain = handover.prepare

    def prepare(step: Step, message: msg.HandoverPrepare) -> None:
        plain(step, attrs.evolve(message, proposal=""))

    patch.setattr(handover, "prepare", prepare)


@mutant("crash", "slow_arbiter", "fail_arbiter", "apply_late")
def forgets_the_claims_of_before(patch: Patch) -> None:
    def intend(metadata: Metadata, proposal: str, *, instead_of: str = "", won: str = "") -> Metadata:
        return attrs.evolve(metadata, proposed=(proposal,))

    patch.setattr(Metadata, "intend", intend)


@mutant(trial=a_claim_that_was_won_is_not_forgotten)
def forgets_the_claim_that_was_won(patch: Patch) -> None:
    plain = Metadata.intend

    def intend(metadata: Metadata, proposal: str, *, instead_of: str = "", won: str = "") -> Metadata:
        return plain(metadata, proposal, instead_of=instead_of)

    patch.setattr(Metadata, "intend", intend)


@mutant("disown", "cut")
def stops_by_the_peer_s_word_although_it_counts(patch: Patch) -> None:
    patch.setattr(sessions, "_UNDECIDED", frozenset(Phase))
