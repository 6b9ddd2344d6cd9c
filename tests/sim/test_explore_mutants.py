"""Rules of the protocol taken out of the core, one at a time: the exploration must find each, by a way to read.

A mutant that is found only with more than these bounds shows that the world has become too weak, or a rule too many.
"""

from collections.abc import Callable

import attrs
import pytest

from ctlha_trio.pair import (
    Outcome,
    Phase,
    SwapOutcome,
    _admission as admission,
    _arbitration as arbitration,
    _core as core,
    _handover as handover,
    _membership as membership,
    _service as service,
    _sessions as sessions,
    actions as act,
    events as ev,
    messages as msg,
)
from ctlha_trio.pair._state import Flight, Stage
from ctlha_trio.pair._step import Step
from ctlha_trio.testing import Bound, explore

STATES_MAX = 60_000

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]
MUTANTS: dict[str, tuple[Plant, Bound, bool]] = {}


def mutant(*, cold: bool = False, **bound: int) -> Callable[[Plant], Plant]:
    """``cold`` begins with two nodes that do not run: one of them returns without any fault."""

    def enter(plant: Plant) -> Plant:
        MUTANTS[plant.__name__] = plant, Bound(**bound), cold
        return plant

    return enter


@mutant(writes=1, cuts=1)
def acknowledges_alone_before_the_swap(patch: Patch) -> None:
    plain = membership.suspend

    def suspend(step: Step, loss: ev.Loss | None, why: str) -> None:
        plain(step, loss, why)
        if step.state.primary:
            service.want_nothing_there(step)
            service.advance(step)

    patch.setattr(service, "_ENDING", service._ENDING | {Phase.SUSPENDED, Phase.CLAIMING})
    patch.setattr(membership, "suspend", suspend)


@mutant(writes=1, cuts=1)
def acknowledges_alone_before_it_is_persisted(patch: Patch) -> None:
    plain = membership.secure

    def secure(step: Step) -> None:
        plain(step)
        step.change(stage=Stage.DRAINING)

    patch.setattr(membership, "secure", secure)


@mutant(writes=2, cuts=1)
def does_not_drain_before_it_serves_alone(patch: Patch) -> None:
    def secured(step: Step) -> None:
        if step.state.phase is Phase.SECURING and step.state.stage is Stage.DRAINING:
            step.move(Phase.ALONE, "secured")
            service.advance(step)

    patch.setattr(membership, "secured", secured)


def answered_as(patch: Patch, outcome: SwapOutcome) -> None:
    plain = arbitration.swapped

    def swapped(step: Step, event: ev.Swapped) -> None:
        if event.outcome is SwapOutcome.UNKNOWN and step.state.swap is not None:
            event = attrs.evolve(event, outcome=outcome, revision=step.state.swap.expected_revision + 1)
        plain(step, event)

    patch.setattr(arbitration, "swapped", swapped)


@mutant(cuts=1, lost_replies=1)
def takes_an_unknown_swap_as_won(patch: Patch) -> None:
    answered_as(patch, SwapOutcome.WON)


@mutant(cold=True, writes=1, lost_replies=1)
def takes_an_unknown_swap_as_not_applied(patch: Patch) -> None:
    answered_as(patch, SwapOutcome.REFUSED)


@mutant(writes=1)
def acknowledges_when_durable_here_only(patch: Patch) -> None:
    plain = service._complete

    def complete(step: Step, flight: Flight) -> bool:
        return plain(step, attrs.evolve(flight, there=True)) and not flight.answered

    patch.setattr(service, "_complete", complete)


@mutant(writes=1)
def answers_a_mirrored_write_before_it_is_stored(patch: Patch) -> None:
    plain = service.mirror_write

    def mirror_write(step: Step, message: msg.MirrorWrite) -> None:
        plain(step, message)
        step.send(msg.Applied(message.epoch, message.sequence))

    patch.setattr(service, "mirror_write", mirror_write)


@mutant(writes=1, reads=1, cuts=1)
def reads_without_a_probe(patch: Patch) -> None:
    def ask_probe(step: Step) -> None:
        flights = tuple(attrs.evolve(f, probe=1) if service._unprobed_read(f) else f for f in step.state.flights)
        step.change(flights=flights, probe_back=1)

    patch.setattr(service, "ask_probe", ask_probe)


@mutant(writes=1, cuts=1)
def resumes_while_it_still_writes(patch: Patch) -> None:
    plain = sessions.resume

    def resume(step: Step) -> None:
        storing = step.state.storing
        step.change(storing=frozenset())
        plain(step)
        step.change(storing=storing)

    patch.setattr(sessions, "resume", resume)


@mutant(writes=1, cuts=1)
def pushes_nothing_again_after_a_flap(patch: Patch) -> None:
    plain = service.resend_from
    patch.setattr(service, "resend_from", lambda step, _: plain(step, 1 << 62))


@mutant(cold=True, writes=1)
def claims_although_it_is_no_member(patch: Patch) -> None:
    def become_outdated(step: Step, why: str) -> None:
        service.drop_flights(step, Outcome.UNKNOWN)
        step.change(partner=0, swap=None)
        membership.claim(step, why)

    patch.setattr(membership, "become_outdated", become_outdated)


@mutant(cold=True)
def admits_without_a_seal(patch: Patch) -> None:
    def drained(step: Step) -> None:
        draining = step.state.phase is Phase.ADMITTING and step.state.stage is Stage.DRAINING
        if draining and not admission._under_way(step):
            step.change(stage=Stage.ASKING)
            admission.sealed(step)

    patch.setattr(admission, "drained", drained)


@mutant(writes=1, handovers=1)
def hands_over_without_a_drain(patch: Patch) -> None:
    def drained(step: Step) -> None:
        if step.state.phase is Phase.HANDING_OVER and step.state.stage is Stage.DRAINING:
            step.change(stage=Stage.ASKING)
            step.do(act.SendPrepare(step.state.epoch, step.state.handover_attempt))

    patch.setattr(handover, "drained", drained)


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


@mutant(cold=True, writes=1)
def misses_a_write_under_way_while_it_searches(patch: Patch) -> None:
    plain = admission.found

    def found(step: Step, event: ev.DirtyFound) -> None:
        if step.state.resync is not None:
            step.change(resync=attrs.evolve(step.state.resync, unseen=()))
        plain(step, event)

    patch.setattr(admission, "found", found)


@pytest.mark.parametrize("name", MUTANTS)
def test_the_exploration_finds(name: str, monkeypatch: Patch) -> None:
    plant, bound, cold = MUTANTS[name]
    plant(monkeypatch)
    found = explore(bound, cold=cold, states_max=STATES_MAX)
    print(f"{name}: {found}", *found.trace, sep="\n")  # noqa: T201 (shown by pytest -rP)
    assert found.problem, f"{name} survived: {found}"
    assert found.trace
