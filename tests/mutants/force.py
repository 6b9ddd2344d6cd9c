"""What a person forces goes further than what that person was shown."""

import attrs

from ctlha_trio.pair import (
    Copy,
    PairState,
    Plan,
    Record,
    SwapOutcome,
    _admission as admission,
    _arbitration as arbitration,
    _force as force,
    _membership as membership,
    events as ev,
)
from ctlha_trio.pair._state import Stage, SwapAttempt
from ctlha_trio.pair._step import ARBITER_RETRY_S, Step
from ctlha_trio.testing._core.force_trials import a_forced_swap_may_come_late, an_abandoned_node_finds_out
from tests.mutants.trouble import LATE, Patch, mutant


@mutant("force_primary", "crash")
def forces_within_the_line(patch: Patch) -> None:
    def fork(self: Record, *, primary: str, lineage: str, proposal: str, evidence: str = "") -> Record:
        return self.succeed(primary=primary, members=(primary,), proposal=proposal)

    patch.setattr(Record, "fork", fork)


@mutant("force_primary", "crash")
def forces_a_node_that_hears_the_other(patch: Patch) -> None:
    plain = force.plan_force

    def plan_force(state: PairState, abandon: str, lineage: str, evidence: str = "") -> Plan:
        return plain(attrs.evolve(state, session=0), abandon, lineage, evidence)

    patch.setattr(force, "plan_force", plan_force)


@mutant("force_primary", "crash")
def forces_a_half_overwritten_copy(patch: Patch) -> None:
    patch.setattr(Copy, "is_whole", True)


@mutant("force_primary", "crash", "slow_arbiter", clocks=LATE)
def forces_without_a_compare(patch: Patch) -> None:
    """Whatever the record has become, the swap is tried again on that."""
    plain = arbitration._resolve

    def resolve(step: Step, attempt: SwapAttempt, record: Record, revision: int) -> None:
        if step.state.forcing and not attempt.calling and record.proposal != attempt.record.proposal:
            step.change(swap=None, record=record, revision=revision, stage=Stage.PERSISTING)
            step.intend(record.fork(primary=step.state.me, lineage="forced", proposal=step.state.next_proposal))
        else:
            plain(step, attempt, record, revision)

    patch.setattr(arbitration, "_resolve", resolve)


@mutant("force_primary", "crash")
def serves_what_was_forced_before_it_is_persisted(patch: Patch) -> None:
    plain = membership.secure

    def secure(step: Step) -> None:
        plain(step)
        if step.state.record is not None and step.state.record.ancestors:
            step.change(stage=Stage.DRAINING)

    patch.setattr(membership, "secure", secure)


@mutant("force_primary", "crash")
def an_abandoned_copy_believes_itself(patch: Patch) -> None:
    plain = membership.decide

    def decide(step: Step, record: Record, revision: int, why: str) -> None:
        abandoned = step.state.metadata.lineage in record.ancestors and step.state.me not in record.members
        if abandoned and step.state.metadata.copy is Copy.MEMBER:
            step.change(record=record, revision=revision)
            membership.claim(step, "this copy has everything")
        else:
            plain(step, record, revision, why)

    patch.setattr(membership, "decide", decide)


@mutant(trial=an_abandoned_node_finds_out)
def serves_on_in_a_line_that_was_abandoned(patch: Patch) -> None:
    plain = membership.displaced

    def displaced(step: Step, record: Record, revision: int) -> None:
        known = step.state.record
        if known is None or record.lineage == known.lineage:
            plain(step, record, revision)

    patch.setattr(membership, "displaced", displaced)


@mutant(trial=an_abandoned_node_finds_out)
def serves_on_until_the_arbiter_shows_what_the_peer_has_told(patch: Patch) -> None:
    patch.setattr(membership, "hold_alone", Step.read_record)


@mutant("force_primary", "crash")
def stops_at_a_line_that_it_was_forced_to(patch: Patch) -> None:
    patch.setattr(membership, "_descends", lambda *_: False)


@mutant("force_primary", "crash")
def calls_a_node_fenced_that_is_back(patch: Patch) -> None:
    plain = Record.succeed

    def succeed(self: Record, *, primary: str, members: tuple[str, ...], proposal: str) -> Record:
        successor = plain(self, primary=primary, members=members, proposal=proposal)
        return attrs.evolve(successor, fence=self.fence, evidence=self.evidence)

    patch.setattr(Record, "succeed", succeed)


@mutant(trial=a_forced_swap_may_come_late)
def leaves_the_record_as_a_late_force_expects_it(patch: Patch) -> None:
    patch.setattr(admission, "in_doubt", lambda _: None)


@mutant(trial=a_forced_swap_may_come_late)
def serves_nothing_until_the_record_is_moved(patch: Patch) -> None:
    plain = admission.in_doubt

    def in_doubt(step: Step) -> None:
        step.change(proved=True)
        plain(step)

    patch.setattr(admission, "in_doubt", in_doubt)
    patch.setattr(admission, "not_renewed", lambda step: step.set_timer(ev.Timer.ARBITER_RETRY, ARBITER_RETRY_S))


@mutant(trial=a_forced_swap_may_come_late)
def takes_a_move_of_the_record_that_may_come_for_refused(patch: Patch) -> None:
    plain = arbitration.swapped

    def swapped(step: Step, event: ev.Swapped) -> None:
        if step.state.renewing and event.outcome is SwapOutcome.UNKNOWN:
            event = attrs.evolve(event, outcome=SwapOutcome.REFUSED)
        plain(step, event)

    patch.setattr(arbitration, "swapped", swapped)


@mutant(trial=a_forced_swap_may_come_late)
def tries_to_move_the_record_only_once(patch: Patch) -> None:
    plain = admission.try_again

    def try_again(step: Step) -> None:
        if not step.state.renewing:
            plain(step)

    patch.setattr(admission, "try_again", try_again)
