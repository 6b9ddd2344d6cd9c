"""Damaged blocks are served, or made whole from what does not count."""

from ctlha_trio.pair import (
    OperationKind,
    Phase,
    _core as core,
    _membership as membership,
    _repair as repair,
    _resync_retry as retry,
    _service as service,
    actions as act,
    events as ev,
    messages as msg,
)
from ctlha_trio.pair._left_out import LeftOut
from ctlha_trio.pair._range import Range, overlap
from ctlha_trio.pair._state import Resync
from ctlha_trio.pair._step import Step
from ctlha_trio.testing._core.damage_trials import (
    a_sector_cannot_be_read_for_a_while,
    blocks_decay_while_others_are_repaired,
    parts_of_what_both_copies_lost_are_written,
    the_only_member_crashes_behind_what_it_refused,
    what_the_only_member_refused_is_copied_again,
)
from ctlha_trio.testing._core.disk_calls import UnderWay
from ctlha_trio.testing._core.node import SimulatedNode
from tests.mutants.trouble import Patch, mutant


@mutant("bit_rot")
def serves_a_block_that_is_not_what_was_written(patch: Patch) -> None:
    patch.setattr(repair, "read_damaged", lambda step, event: service.fetched(step, ev.Fetched(event.fetch)))


@mutant("bit_rot", "crash")
def repairs_from_a_copy_that_does_not_count(patch: Patch) -> None:
    plain = core._of_repair

    def of_repair(step: Step, message: msg.Fetch | msg.RepairData | msg.Damaged) -> None:
        if isinstance(message, msg.Fetch):
            where = message.epoch, message.sequence, message.offset, message.size
            step.do(act.PushRange(step.state.sessions, *where))
        else:
            plain(step, message)

    patch.setattr(repair, "_PAIRED", repair._PAIRED | {Phase.ALONE})
    patch.setattr(core, "_of_repair", of_repair)


@mutant("bit_rot", "crash")
def admits_a_target_that_lacks_what_was_lost(patch: Patch) -> None:
    def leave_out(step: Step, _: Resync, left_out: LeftOut) -> None:
        step.do(act.ClearDirty(*left_out.lost))

    patch.setattr(repair, "_leave_out", leave_out)


@mutant("bit_rot", "crash")
def takes_a_damaged_target_for_equal(patch: Patch) -> None:
    plain = repair.range_damaged

    def range_damaged(step: Step, event: ev.RangeDamaged) -> None:
        if step.state.phase is Phase.RESYNCING:
            step.send(msg.Compared(step.state.epoch, event.sequence, equal=True))
        else:
            plain(step, event)

    patch.setattr(repair, "range_damaged", range_damaged)


@mutant(trial=a_sector_cannot_be_read_for_a_while)
def never_tries_again_what_was_left_out(patch: Patch) -> None:
    patch.setattr(retry, "due", lambda _: None)


@mutant(trial=blocks_decay_while_others_are_repaired)
def takes_what_the_source_has_not_for_lost(patch: Patch) -> None:
    """The other copy may have been made whole since."""

    def have_source_repaired(step: Step, kind: OperationKind, run: Range) -> None:
        here = kind is OperationKind.REPAIR_HERE
        waits = next(f for f in step.state.flights if overlap(f.hurt.here if here else f.hurt.there, run))
        repair._give_up(step, waits, run)

    patch.setattr(repair, "_have_source_repaired", have_source_repaired)


@mutant("bit_rot", trial=what_the_only_member_refused_is_copied_again)
def forgets_what_the_target_alone_has_executed(patch: Patch) -> None:
    """Its source, which has lost a block of it, refused it."""
    patch.setattr(repair, "_copy_again", lambda _step, _where: None)


@mutant(trial=the_only_member_crashes_behind_what_it_refused)
def tells_what_it_refused_before_that_is_marked(patch: Patch) -> None:
    """The target, which has executed it, forgets it then."""
    plain, again = SimulatedNode.mark_called, repair._copy_again

    def mark_called(node: SimulatedNode, ended: UnderWay) -> None:
        if not node.refused_for(ended.data):
            plain(node, ended)

    def copy_again(step: Step, where: Range) -> None:
        step.do(act.MarkDirty((where,)))
        again(step, where)

    patch.setattr(SimulatedNode, "mark_called", mark_called)
    patch.setattr(repair, "_copy_again", copy_again)


@mutant("bit_rot", trial=parts_of_what_both_copies_lost_are_written)
def resumes_with_copies_that_differ(patch: Patch) -> None:
    def part(step: Step, on_one: tuple[Range, ...]) -> None:
        step.do(act.MarkDirty(on_one))
        membership.claim(step, "a write could not be made equal on both copies")

    patch.setattr(repair, "_part", part)
