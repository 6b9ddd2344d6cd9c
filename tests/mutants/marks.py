"""What may differ is not marked, or not for long enough."""

from collections.abc import Callable

import attrs

from ctlha_trio.pair import (
    Outcome,
    PairState,
    Phase,
    _admission as admission,
    _membership as membership,
    _service as service,
    actions as act,
    events as ev,
)
from ctlha_trio.pair._state import Flight
from ctlha_trio.pair._step import Step
from ctlha_trio.testing._core.node import SimulatedNode
from tests.mutants.trouble import EARLY, Patch, mutant


def orders(patch: Patch, change: Callable[[act.Action], act.Action | None]) -> None:
    """Every order is changed, or (None) not given."""
    plain = Step.do

    def do(step: Step, action: act.Action) -> None:
        changed = change(action)
        if changed is not None:
            plain(step, changed)

    patch.setattr(Step, "do", do)


def goes_alone_without(patch: Patch, forgotten: Callable[[PairState], PairState]) -> None:
    plain = membership.secure

    def secure(step: Step) -> None:
        whole = step.state
        step.state = forgotten(whole)
        marked = step.state.may_differ
        step.state = whole
        plain(step)
        step.actions[:] = [
            attrs.evolve(action, ranges=marked) if isinstance(action, act.Track) else action for action in step.actions
        ]

    patch.setattr(membership, "secure", secure)


@mutant("cut", clocks=EARLY)
def goes_alone_without_marking_its_own_writes(patch: Patch) -> None:
    goes_alone_without(patch, lambda state: attrs.evolve(state, flights=()))


@mutant("crash", clocks=EARLY)
def takes_over_without_marking_what_it_was_sent(patch: Patch) -> None:
    goes_alone_without(patch, lambda state: attrs.evolve(state, unsettled=()))


@mutant("crash", clocks=EARLY)
def forgets_what_it_was_sent_before_the_primary_has_it(patch: Patch) -> None:
    plain = service.mirror_write
    patch.setattr(
        service, "mirror_write", lambda step, message: plain(step, attrs.evolve(message, settled=message.sequence))
    )


@mutant("cut", clocks=EARLY)
def marks_nothing_when_it_loses_the_role(patch: Patch) -> None:
    plain = service.drop_flights

    def drop_flights(step: Step, started: Outcome) -> None:
        ordered = len(step.actions)
        plain(step, started)
        step.actions[ordered:] = [each for each in step.actions[ordered:] if not isinstance(each, act.MarkDirty)]

    patch.setattr(service, "drop_flights", drop_flights)


@mutant("crash")
def ignores_the_activity_log(patch: Patch) -> None:
    patch.setattr(SimulatedNode, "recover", lambda node: node.marks.base_epoch)


@mutant("crash")
def marks_its_writes_only_after_it_has_served(patch: Patch) -> None:
    held: list[act.Track] = []

    def change(action: act.Action) -> act.Action | None:
        if isinstance(action, act.Track):
            held.append(action)
            return None
        return action

    orders(patch, change)
    plain = service.stored

    def stored(step: Step, event: ev.Stored) -> None:
        plain(step, event)
        if held and step.state.phase is Phase.ALONE:
            step.actions.append(held.pop())

    patch.setattr(service, "stored", stored)


@mutant("cut")
def takes_a_mark_away_once_the_range_is_sent(patch: Patch) -> None:
    plain = service._start

    def start(step: Step, flight: Flight) -> None:
        plain(step, flight)
        step.actions.extend(
            act.ClearDirty(each.offset, each.size) for each in tuple(step.actions) if isinstance(each, act.SendCompare)
        )

    patch.setattr(service, "_start", start)


@mutant("cut", "fail_arbiter")
def forgets_its_marks_before_the_target_is_a_member(patch: Patch) -> None:
    plain = admission.found

    def found(step: Step, event: ev.DirtyFound) -> None:
        plain(step, event)
        if step.state.resync and step.state.resync.cursor == step.state.size_bytes:
            step.do(act.StopTracking())

    patch.setattr(admission, "found", found)
