"""A copy is made whole in the wrong order, or by half."""

import attrs

from ctlha_trio.pair import (
    Phase,
    Record,
    _admission as admission,
    _membership as membership,
    _service as service,
    events as ev,
    messages as msg,
)
from ctlha_trio.pair._range import Range
from ctlha_trio.pair._state import Resync, Stage
from ctlha_trio.pair._step import Step
from ctlha_trio.testing._core.force_trials import another_line_passes
from ctlha_trio.testing._core.trials import false_record_meets_a_return
from tests.mutants.trouble import EARLY, Patch, mutant


@mutant("crash")
def takes_a_range_as_copied_once_it_is_sent(patch: Patch) -> None:
    plain = admission.compared

    def compared(step: Step, message: msg.Compared) -> None:
        plain(step, message)
        flight = service.by_sequence(step, message.sequence)
        if flight is not None:
            service.replace(step, flight, attrs.evolve(flight, there=True))
            service.advance(step)

    patch.setattr(admission, "compared", compared)


@mutant("crash")
def does_not_mirror_below_the_cursor(patch: Patch) -> None:
    patch.setattr(service, "_wanted_there", lambda step, _: step.state.phase is Phase.MIRRORING)


@mutant("crash")
def overwrites_before_that_is_persisted(patch: Patch) -> None:
    plain = admission.prepare

    def prepare(step: Step) -> None:
        plain(step)
        if step.state.phase is Phase.OUTDATED and step.state.stage is Stage.PERSISTING:
            admission.prepared(step)

    patch.setattr(admission, "prepare", prepare)


@mutant("crash")
def takes_what_there_is_no_room_for_as_equal(patch: Patch) -> None:
    plain = admission._chosen

    def chosen(step: Step, resync: Resync, ranges: tuple[Range, ...]) -> tuple[list[Range], int]:
        found, cursor = plain(step, resync, ranges)
        return found, cursor if found else step.state.size_bytes

    patch.setattr(admission, "_chosen", chosen)


@mutant("crash", clocks=EARLY)
def ignores_what_the_target_names(patch: Patch) -> None:
    patch.setattr(admission, "own_range", lambda *_: None)


@mutant("fail_disk", "cut")
def copies_a_part_although_the_bases_differ(patch: Patch) -> None:
    plain = admission.ready
    patch.setattr(
        admission, "ready", lambda step, message: plain(step, attrs.evolve(message, base_epoch=step.state.base_epoch))
    )


@mutant("cut", "crash")
def looks_past_a_write_under_way(patch: Patch) -> None:
    plain = admission.found

    def found(step: Step, event: ev.DirtyFound) -> None:
        resync = step.state.resync
        step.change(resync=resync and attrs.evolve(resync, unseen=()))
        plain(step, event)

    patch.setattr(admission, "found", found)


@mutant("cut", "crash")
def skips_from_a_search_to_a_write_behind_it(patch: Patch) -> None:
    plain = admission._chosen

    def chosen(step: Step, resync: Resync, ranges: tuple[Range, ...]) -> tuple[list[Range], int]:
        everything = sorted((*ranges, *resync.unseen), key=sum)
        return plain(step, attrs.evolve(resync, unseen=()), tuple(everything))

    patch.setattr(admission, "_chosen", chosen)


@mutant(trial=another_line_passes)
def follows_a_source_by_another_record(patch: Patch) -> None:
    plain = admission.offered

    def offered(step: Step, message: msg.ResyncStart) -> None:
        known = step.state.record
        plain(step, attrs.evolve(message, proposal=known.proposal if known else ""))

    patch.setattr(admission, "offered", offered)


@mutant(trial=false_record_meets_a_return)
def waits_for_a_source_that_has_moved_on(patch: Patch) -> None:
    plain = membership.displaced

    def displaced(step: Step, record: Record, revision: int) -> None:
        if step.state.phase is not Phase.RESYNCING or not step.state.session:
            plain(step, record, revision)

    patch.setattr(membership, "displaced", displaced)
