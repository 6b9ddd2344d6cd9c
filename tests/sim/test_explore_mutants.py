"""Rules of the protocol taken out of the core, one at a time: the exploration must find each, by a way to read.

A mutant that is found only with more than these bounds shows that the world has become too weak, or a rule too many.
"""

import re
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import attrs
import pytest

from ctlha_trio.pair import (
    Metadata,
    PairState,
    Phase,
    Record,
    _admission as admission,
    _core as core,
    _handover as handover,
    _permits as permits,
    _reads as reads,
    actions as act,
    messages as msg,
)
from ctlha_trio.pair._state import Stage
from ctlha_trio.pair._step import Step
from ctlha_trio.testing import Bound, explore
from ctlha_trio.testing._explore import node as explored_node
from tests.mutants.found_by import IN_THE_EXPLORATION, check_of
from tests.mutants.pair_mutants import MUTANTS as PAIR_MUTANTS

PAGE = (Path(__file__).parents[2] / "docs/explain/mutants.md").read_text()
STATES_MAX = 500_000
"""Twice what the one that hides longest takes."""

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]
MUTANTS: dict[str, tuple[Plant, Bound, bool]] = {}


def mutant(*, cold: bool = False, **bound: int) -> Callable[[Plant], Plant]:
    """``cold`` begins with two nodes that do not run: one of them returns without any fault."""

    def enter(plant: Plant) -> Plant:
        MUTANTS[plant.__name__] = plant, Bound(**bound), cold
        return plant

    return enter


BORROWED = {
    "acknowledges_alone_before_the_swap": (Bound(writes=1, cuts=1), False),
    "acknowledges_alone_before_it_is_persisted": (Bound(writes=1, cuts=1), False),
    "does_not_drain_before_it_serves_alone": (Bound(writes=2, cuts=1), False),
    "takes_an_unknown_swap_as_won": (Bound(cuts=1, lost_replies=1), False),
    "takes_an_unknown_swap_as_not_applied": (Bound(writes=1, cuts=1, lost_replies=1), False),
    "acknowledges_when_durable_here_only": (Bound(writes=1), False),
    "answers_a_mirrored_write_before_it_is_stored": (Bound(writes=1), False),
    "acknowledges_a_proposal_that_is_durable_here_only": (Bound(proposals=1), False),
    "calls_a_proposal_complete_when_it_is_begun": (Bound(proposals=1), False),
    "executes_a_proposal_beside_what_conflicts_with_it": (Bound(writes=1, proposals=1), False),
    "reads_without_a_permit": (Bound(writes=1, reads=1, cuts=1), False),
    "serves_alone_while_a_permit_is_out": (Bound(reads=1, cuts=1), False),
    "shows_at_the_secondary_what_is_not_settled": (Bound(writes=1, reads=2), False),
    "resumes_while_it_still_writes": (Bound(writes=1, cuts=1), False),
    "pushes_nothing_again_after_a_flap": (Bound(writes=1, cuts=1), False),
    "claims_although_it_is_no_member": (Bound(writes=1), True),
    "admits_without_a_seal": (Bound(), True),
    "hands_over_without_a_drain": (Bound(writes=1, handovers=1), False),
    "looks_past_a_write_under_way": (Bound(writes=1), True),
    "forces_within_the_line": (Bound(cuts=1, forces=1), False),
    "forces_a_node_that_hears_the_other": (Bound(forces=1), True),
    "forces_a_half_overwritten_copy": (Bound(cuts=1, forces=1), True),
    "forces_without_a_compare": (Bound(forces=1), True),
    "serves_what_was_forced_before_it_is_persisted": (Bound(writes=1, forces=1), True),
    "an_abandoned_copy_believes_itself": (Bound(forces=1), True),
    "serves_on_in_a_line_that_was_abandoned": (Bound(cuts=1, forces=1), False),
    "stops_at_a_line_that_it_was_forced_to": (Bound(forces=1), True),
}
"""Mutants of the simulated pair, with what the exploration needs to find them, and whether it begins cold."""
for borrowed, (limit, is_cold) in BORROWED.items():
    MUTANTS[borrowed] = PAIR_MUTANTS[borrowed][0], limit, is_cold


@mutant(reads=1, crashes=1)
def forgets_at_its_start_what_it_granted(patch: Patch) -> None:
    plain = core.boot

    def boot(**disk: Any) -> tuple[PairState, tuple[act.Action, ...]]:
        state, first = plain(**disk)
        return attrs.evolve(state, granted=False), first

    patch.setattr(explored_node, "boot", boot)


@mutant(reads=1, cuts=1)
def grants_a_permit_to_a_node_that_it_does_not_follow(patch: Patch) -> None:
    def asked(step: Step, message: msg.PermitRequest) -> None:
        step.send(msg.Permit(message.epoch, message.number))

    patch.setattr(permits, "asked", asked)


@mutant(writes=1, reads=1, handovers=1)
def takes_all_for_settled_when_a_handover_is_prepared(patch: Patch) -> None:
    plain = handover.prepare

    def prepare(step: Step, message: msg.HandoverPrepare) -> None:
        plain(step, message)
        step.change(unsettled=())

    patch.setattr(handover, "prepare", prepare)


@mutant(writes=1, reads=1)
def reads_at_the_secondary_what_is_overwritten(patch: Patch) -> None:
    patch.setattr(reads, "overwritten", lambda *_: None)


@mutant(handovers=1)
def tells_nobody_of_the_handover(patch: Patch) -> None:
    def recorded(step: Step) -> None:
        step.change(last_sequence=0)
        step.move(Phase.FOLLOWING, "handed over")

    patch.setitem(core._AFTER_PERSIST, (Phase.HANDING_OVER, Stage.RECORDING), recorded)


def without_ranges(patch: Patch, kind: type[act.Track | act.MarkDirty]) -> None:
    plain = Step.do

    def do(step: Step, action: act.Action) -> None:
        plain(step, attrs.evolve(action, ranges=()) if isinstance(action, kind) else action)

    patch.setattr(Step, "do", do)


@mutant(writes=1, cuts=1)
def claims_without_marking_what_was_under_way(patch: Patch) -> None:
    without_ranges(patch, act.Track)


@mutant(writes=1, cuts=1)
def drops_what_was_under_way_unmarked(patch: Patch) -> None:
    without_ranges(patch, act.MarkDirty)


@mutant(writes=1, crashes=1)
def tracks_nothing_while_it_is_alone(patch: Patch) -> None:
    plain = Step.do

    def do(step: Step, action: act.Action) -> None:
        if not isinstance(action, act.Track):
            plain(step, action)

    patch.setattr(Step, "do", do)


@mutant(crashes=1, cuts=1)
def takes_an_older_order_for_the_newest_that_is_the_same(patch: Patch) -> None:
    plain = core._persisted

    def persisted(step: Step, metadata: Metadata) -> None:
        left = step.state.persists - 1
        if metadata == step.state.persisting:
            step.change(persists=1)
            plain(step, metadata)
            step.change(persists=step.state.persists + left)
        else:
            step.change(metadata=metadata, persists=left)

    patch.setattr(core, "_persisted", persisted)


@mutant(cuts=1, forces=1)
def forces_in_the_epoch_that_is_over(patch: Patch) -> None:
    plain = Record.fork

    def fork(self: Record, *, primary: str, lineage: str, proposal: str, evidence: str = "") -> Record:
        forked = plain(self, primary=primary, lineage=lineage, proposal=proposal, evidence=evidence)
        return attrs.evolve(forked, epoch=self.epoch)

    patch.setattr(Record, "fork", fork)


@mutant(cuts=1, forces=1)
def forgets_which_line_a_force_has_ended(patch: Patch) -> None:
    plain = Record.fork

    def fork(self: Record, *, primary: str, lineage: str, proposal: str, evidence: str = "") -> Record:
        forked = plain(self, primary=primary, lineage=lineage, proposal=proposal, evidence=evidence)
        return attrs.evolve(forked, ancestors=self.ancestors)

    patch.setattr(Record, "fork", fork)


@mutant(writes=1, cuts=1, forces=1)
def takes_what_an_abandoned_copy_has_for_its_own(patch: Patch) -> None:
    plain = admission.ready

    def ready(step: Step, message: msg.ResyncReady) -> None:
        """Whoever forced it, nothing of that copy is to be replaced but what is marked here."""
        record = step.state.record
        if record is not None and record.ancestors:
            step.change(told_ranges=())
            message = attrs.evolve(message, base_epoch=step.state.base_epoch)
        plain(step, message)

    patch.setattr(admission, "ready", ready)


@mutant(crashes=1, cuts=1, forces=1)
def takes_its_own_earlier_claim_for_what_was_forced(patch: Patch) -> None:
    plain = Step.end_force

    def end_force(self: Step, problem: str) -> None:
        if not problem.startswith(f"{self.state.me} won"):
            plain(self, problem)

    patch.setattr(Step, "end_force", end_force)


@mutant(cold=True, crashes=1, forces=1)
def lets_a_copy_be_overwritten_that_may_be_forced_yet(patch: Patch) -> None:
    plain = Step.intend

    def intend(self: Step, record: Record, *, in_doubt: int = 0) -> None:
        plain(self, record)

    patch.setattr(Step, "intend", intend)


def states_on_the_page(name: str) -> int:
    """As many as it took when the table was written: far from that the page tells of another exploration."""
    row = re.search(rf"^\| {name.replace('_', ' ')} \| [^|]+ \| ([\d,]+) \| [\d.]+ \|", PAGE, re.MULTILINE)
    assert row is not None
    return int(row[1].replace(",", ""))


@pytest.mark.parametrize("name", MUTANTS)
def test_the_exploration_finds(name: str, monkeypatch: Patch) -> None:
    plant, bound, cold = MUTANTS[name]
    plant(monkeypatch)
    began_s = perf_counter()
    found = explore(bound, cold=cold, states_max=STATES_MAX)
    took_s = perf_counter() - began_s
    print(f"{name}: {took_s:.1f} s: {check_of(found.problem or 'survived')}: {found}", *found.trace, sep="\n")  # noqa: T201 (shown by pytest -rP)
    assert found.problem, f"{name} survived: {found}"
    assert check_of(found.problem) in IN_THE_EXPLORATION[name], found.problem
    assert found.trace
    assert 0.5 < found.states / states_on_the_page(name) < 2, f"{found}: the table in docs/explain/mutants.md is old"


def test_every_mutant_names_its_checks_and_nothing_else_does() -> None:
    assert IN_THE_EXPLORATION.keys() == MUTANTS.keys()
