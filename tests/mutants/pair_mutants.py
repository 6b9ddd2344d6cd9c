"""Rules of the protocol taken out of the core, one at a time, and the trouble in which the simulated pair notices each.

A mutant lives here only and patches functions of the pair's modules. ``found_by`` names the checks that must find it,
``tests/sim/test_core_mutants.py`` runs it in the simulated pair, ``tests/sim/test_explore_mutants.py`` some of them in
the exploration. One that survives all its seeds shows that the world has become too weak, in its faults or in what it
demands.

Some rules have no mutant, for other rules do their work in all but the rarest runs, or in all. Messages of another
epoch cannot come in a session whose operations were drained at each change of the epoch. A permit of another session
or epoch is as good as one of this: who promised it keeps it by the clock. Nor does a look at the permit before the read
do what the one after it does not. An unknown swap taken as lost makes a node wait and claim on the same revision, where
only one of the two swaps can win. A push out of the order of the sequences shows after two
flaps in a row. A comparison that a source asked for before it restarted must bear the number of one that it asks for
after. A source that crashed behind an admission of which its disk does not know is outdated, and its target, which has
everything, goes on. A source that moves on in the session with its target needs another hand at the record, and then
stops. Marks from before the last admission outlive it by an instant, in which a node must crash; so must one between
the order to mark everything and its end. Clients of the simulated pair write whole blocks, and few flaps meet a repair.
``test_pair_core``, ``test_pair_guards``, ``test_pair_resync`` and ``test_pair_repair`` hold the core to these rules.
"""

from collections.abc import Callable

import attrs
import pytest

from ctlha_trio.ha import HeldPermit
from ctlha_trio.pair import (
    PERMIT_S,
    Copy,
    Metadata,
    Operation,
    OperationKind,
    Outcome,
    PairState,
    Phase,
    Plan,
    Record,
    SwapOutcome,
    _admission as admission,
    _arbitration as arbitration,
    _core as core,
    _force as force,
    _handover as handover,
    _membership as membership,
    _permits as permits,
    _phase as phases,
    _reads as reads,
    _repair as repair,
    _service as service,
    _sessions as sessions,
    _verify as verify,
    actions as act,
    events as ev,
    messages as msg,
)
from ctlha_trio.pair._range import Range
from ctlha_trio.pair._state import Flight, LeftOut, Resync, Stage, SwapAttempt
from ctlha_trio.pair._step import Step
from ctlha_trio.testing._core.health import demand_service
from ctlha_trio.testing._core.node import SimulatedNode
from ctlha_trio.testing._core.trials import Trial, another_line_passes, pair_serves_without_arbiter
from ctlha_trio.testing._core.trouble import CLOCK_FACTORS
from ctlha_trio.testing._core.world import CoreWorld

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]
EARLY, LATE = CLOCK_FACTORS[-1:], CLOCK_FACTORS[:1]


@attrs.frozen
class Trouble:
    """That which shows a mutant soonest; the world must find it among nothing else."""

    faults: tuple[str, ...]
    clocks: tuple[float, ...]
    trial: Trial | None = attrs.field(default=None, repr=lambda trial: trial.__name__ if trial else "no trial")
    """In which the trouble ends, before the pair is healed."""

    def world(self, seed: int) -> CoreWorld:
        return CoreWorld(seed, self.faults, self.clocks)

    def play(self, world: CoreWorld, steps: int) -> None:
        """As a seed of the simulator does, but for the choice of what goes wrong."""
        world.run(steps)
        if self.trial is not None:
            self.trial(world)
        world.heal()
        demand_service(world)


MUTANTS: dict[str, tuple[Plant, Trouble]] = {}


def mutant(
    *faults: str, clocks: tuple[float, ...] = CLOCK_FACTORS, trial: Trial | None = None
) -> Callable[[Plant], Plant]:
    def enter(plant: Plant) -> Plant:
        MUTANTS[plant.__name__] = plant, Trouble(faults, clocks, trial)
        return plant

    return enter


# Going alone.


@mutant("cut")
def acknowledges_alone_before_the_swap(patch: Patch) -> None:
    plain = membership.suspend

    def suspend(step: Step, loss: ev.Loss | None, why: str) -> None:
        plain(step, loss, why)
        if step.state.primary:
            service.want_nothing_there(step)
            service.advance(step)

    patch.setattr(service, "_ENDING", service._ENDING | {Phase.SUSPENDED, Phase.CLAIMING})
    patch.setattr(membership, "suspend", suspend)


@mutant("cut", clocks=EARLY)
def acknowledges_alone_before_it_is_persisted(patch: Patch) -> None:
    plain = membership.secure

    def secure(step: Step) -> None:
        plain(step)
        step.change(stage=Stage.DRAINING)

    patch.setattr(membership, "secure", secure)


@mutant("cut", clocks=EARLY)
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


@mutant("cut", "fail_arbiter")
def takes_an_unknown_swap_as_won(patch: Patch) -> None:
    answered_as(patch, SwapOutcome.WON)


@mutant("crash", "apply_late", clocks=LATE)
def takes_an_unknown_swap_as_not_applied(patch: Patch) -> None:
    answered_as(patch, SwapOutcome.REFUSED)


# Operations and reads.


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


@mutant()
def acknowledges_when_durable_here_only(patch: Patch) -> None:
    plain = service._complete

    def complete(step: Step, flight: Flight) -> bool:
        return plain(step, attrs.evolve(flight, there=True)) and not flight.answered

    patch.setattr(service, "_complete", complete)


@mutant()
def acknowledges_when_durable_there_only(patch: Patch) -> None:
    plain = service._complete

    def complete(step: Step, flight: Flight) -> bool:
        return plain(step, attrs.evolve(flight, here=True))

    patch.setattr(service, "_complete", complete)


@mutant()
def answers_a_mirrored_write_before_it_is_stored(patch: Patch) -> None:
    plain = service.mirror_write

    def mirror_write(step: Step, message: msg.MirrorWrite) -> None:
        plain(step, message)
        step.send(msg.Applied(message.epoch, message.sequence))

    patch.setattr(service, "mirror_write", mirror_write)


@mutant()
def executes_conflicting_operations_at_once(patch: Patch) -> None:
    patch.setattr(Operation, "conflicts", lambda *_: False)


# Losing the peer.


@mutant("crash", clocks=LATE)
def takes_a_peer_that_runs_anew_for_the_one_before(patch: Patch) -> None:
    plain = membership.decide

    def decide(step: Step, record: Record, revision: int, why: str) -> None:
        plain(step, record, revision, why)
        if step.state.phase is Phase.WAITING:
            step.move(Phase.SUSPENDED, why)

    def session_up(step: Step, event: ev.SessionUp) -> None:
        step.change(session=event.incarnation, sessions=step.state.sessions + 1, standing=None)
        if step.state.phase is Phase.SUSPENDED:
            step.change(partner=event.incarnation)
        step.moved = True

    patch.setitem(phases.TRANSITIONS, Phase.WAITING, phases.TRANSITIONS[Phase.WAITING] | {Phase.SUSPENDED})
    patch.setattr(membership, "decide", decide)
    patch.setattr(sessions, "session_up", session_up)


@mutant("cut", clocks=LATE)
def pushes_nothing_again_after_a_flap(patch: Patch) -> None:
    plain = service.resend_from
    patch.setattr(service, "resend_from", lambda step, _: plain(step, 1 << 62))


@mutant("cut", clocks=LATE)
def resumes_while_it_still_writes(patch: Patch) -> None:
    plain = sessions.resume

    def resume(step: Step) -> None:
        storing = step.state.storing
        step.change(storing=frozenset())
        plain(step)
        step.change(storing=storing)

    patch.setattr(sessions, "resume", resume)


# Return.


@mutant("crash")
def claims_although_it_is_no_member(patch: Patch) -> None:
    def become_outdated(step: Step, why: str) -> None:
        service.drop_flights(step, Outcome.UNKNOWN)
        step.change(partner=0, swap=None)
        membership.claim(step, why)

    patch.setattr(membership, "become_outdated", become_outdated)


@mutant("cut", "impersonate", clocks=EARLY)
def forgets_its_own_writes_when_it_loses_the_role(patch: Patch) -> None:
    plain = service.drop_flights

    def drop_flights(step: Step, started: Outcome) -> None:
        storing = step.state.storing
        plain(step, started)
        step.change(storing=storing)

    patch.setattr(service, "drop_flights", drop_flights)


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
def admits_while_writes_are_under_way(patch: Patch) -> None:
    patch.setattr(admission, "_under_way", lambda _: False)


@mutant("crash")
def admits_without_a_seal(patch: Patch) -> None:
    def drained(step: Step) -> None:
        draining = step.state.phase is Phase.ADMITTING and step.state.stage is Stage.DRAINING
        if draining and not admission._under_way(step):
            step.change(stage=Stage.ASKING)
            admission.sealed(step)

    patch.setattr(admission, "drained", drained)


@mutant("crash")
def seals_before_it_is_persisted(patch: Patch) -> None:
    plain = admission.seal

    def seal(step: Step) -> None:
        plain(step)
        if step.state.phase is Phase.RESYNCING and step.state.stage is Stage.PERSISTING:
            admission.seal_persisted(step)

    patch.setattr(admission, "seal", seal)


@mutant("crash")
def overwrites_before_that_is_persisted(patch: Patch) -> None:
    plain = admission.prepare

    def prepare(step: Step) -> None:
        plain(step)
        if step.state.phase is Phase.OUTDATED and step.state.stage is Stage.PERSISTING:
            admission.prepared(step)

    patch.setattr(admission, "prepare", prepare)


@mutant("crash")
def mirrors_before_the_target_has_joined(patch: Patch) -> None:
    plain = admission.recorded

    def recorded(step: Step) -> None:
        plain(step)
        admission.joined(step)

    patch.setitem(core._AFTER_PERSIST, (Phase.ADMITTING, Stage.RECORDING), recorded)


@mutant("crash")
def serves_on_while_it_admits(patch: Patch) -> None:
    patch.setattr(service, "SERVING", phases.SERVING | {Phase.ADMITTING})


# Damaged blocks.


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


# What may differ.


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


@mutant("crash", clocks=EARLY)
def ignores_what_the_target_names(patch: Patch) -> None:
    patch.setattr(admission, "own_range", lambda *_: None)


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


@mutant("fail_disk", "cut")
def copies_a_part_although_the_bases_differ(patch: Patch) -> None:
    plain = admission.ready
    patch.setattr(
        admission,
        "ready",
        lambda step, message: plain(step, attrs.evolve(message, base_epoch=step.state.base_epoch)),
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

    def chosen(step: Step, resync: Resync, ranges: tuple[Range, ...]) -> list[Range]:
        everything = sorted((*ranges, *resync.unseen), key=sum)
        return plain(step, attrs.evolve(resync, unseen=()), tuple(everything))

    patch.setattr(admission, "_chosen", chosen)


# Handover.


@mutant("hand_over")
def hands_over_without_a_drain(patch: Patch) -> None:
    def drained(step: Step) -> None:
        if step.state.phase is Phase.HANDING_OVER and step.state.stage is Stage.DRAINING:
            step.change(stage=Stage.ASKING)
            step.send(msg.HandoverPrepare(step.state.epoch, step.state.handover_attempt, step.state.next_proposal))

    patch.setattr(handover, "drained", drained)


@mutant("hand_over")
def serves_on_while_it_hands_over(patch: Patch) -> None:
    patch.setattr(service, "SERVING", phases.SERVING | {Phase.HANDING_OVER})


@mutant("hand_over")
def takes_the_role_before_it_is_persisted(patch: Patch) -> None:
    plain = handover.done

    def done(step: Step, message: msg.HandoverDone) -> None:
        plain(step, message)
        if step.state.stage is Stage.RECORDING:
            handover.recorded_as_primary(step)

    patch.setattr(handover, "done", done)


@mutant("fail_disk")
def trusts_a_failed_copy(patch: Patch) -> None:
    plain = membership.decide

    def decide(step: Step, record: Record, revision: int, why: str) -> None:
        if step.state.metadata.copy is Copy.FAILED:
            step.change(metadata=attrs.evolve(step.state.metadata, copy=Copy.MEMBER))
        plain(step, record, revision, why)

    patch.setattr(membership, "decide", decide)


# What a person forces.


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
    patch.setattr(force, "_WHOLE", frozenset(Copy))


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


# The arbiter, clocks, and sessions of before.


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


@mutant("cut", "crash")
def reads_what_is_not_acknowledged(patch: Patch) -> None:
    plain = Operation.conflicts

    def conflicts(self: Operation, other: Operation) -> bool:
        kinds = {self.kind, other.kind}
        return kinds != {OperationKind.READ, OperationKind.WRITE} and plain(self, other)

    patch.setattr(Operation, "conflicts", conflicts)


@mutant("hand_over", "leap")
def gives_a_handover_up_after_its_swap(patch: Patch) -> None:
    def late(step: Step) -> None:
        if step.state.phase is Phase.HANDING_OVER:
            step.move(Phase.MIRRORING, "the nodes were not ready in time")
            service.advance(step)

    patch.setattr(handover, "late", late)
    patch.setattr(Step, "cancel_timer", lambda *_: None)


@mutant("leap", "cut")
def takes_the_role_when_a_timer_of_before_fires(patch: Patch) -> None:
    plain = core._timer

    def timer(step: Step, fired: ev.Timer) -> None:
        if fired is ev.Timer.CLAIM and step.state.phase is Phase.FOLLOWING:
            step.move(Phase.MIRRORING, "the primary seems to be gone")
        else:
            plain(step, fired)

    patch.setattr(Step, "cancel_timer", lambda *_: None)
    patch.setattr(core, "_timer", timer)


@mutant()
def asks_the_arbiter_for_every_operation(patch: Patch) -> None:
    plain = service.submitted

    def submitted(step: Step, event: ev.Submitted) -> None:
        plain(step, event)
        step.read_record()

    patch.setattr(service, "submitted", submitted)


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


@mutant("hand_over", "crash")
def takes_a_role_of_which_its_disk_does_not_know(patch: Patch) -> None:
    plain = handover.prepare

    def prepare(step: Step, message: msg.HandoverPrepare) -> None:
        plain(step, attrs.evolve(message, proposal=""))

    patch.setattr(handover, "prepare", prepare)


@mutant("crash", "slow_arbiter", "fail_arbiter", "apply_late")
def forgets_the_claims_of_before(patch: Patch) -> None:
    def intend(metadata: Metadata, proposal: str, *, instead_of: str = "") -> Metadata:
        return attrs.evolve(metadata, proposed=(proposal,))

    patch.setattr(Metadata, "intend", intend)


@mutant("disown", "cut")
def stops_by_the_peer_s_word_although_it_counts(patch: Patch) -> None:
    patch.setattr(sessions, "_UNDECIDED", frozenset(Phase))


@mutant("change_arbiter")
def takes_another_pair_s_record_for_a_twin_s(patch: Patch) -> None:
    plain = membership.stop

    def stop(step: Step, why: str) -> None:
        primary = step.state.record is not None and step.state.record.primary == step.state.me
        plain(step, "twin" if primary and why.startswith("foreign") else why)

    patch.setattr(membership, "stop", stop)


@mutant(trial=another_line_passes)
def follows_a_source_by_another_record(patch: Patch) -> None:
    plain = admission.offered

    def offered(step: Step, message: msg.ResyncStart) -> None:
        known = step.state.record
        plain(step, attrs.evolve(message, proposal=known.proposal if known else ""))

    patch.setattr(admission, "offered", offered)


@mutant("falsify", "crash")
def waits_for_a_source_that_has_moved_on(patch: Patch) -> None:
    plain = membership.displaced

    def displaced(step: Step, record: Record, revision: int) -> None:
        if step.state.phase is not Phase.RESYNCING or not step.state.session:
            plain(step, record, revision)

    patch.setattr(membership, "displaced", displaced)


# A healthy pair that is of no use.


@mutant()
def refuses_everything_although_it_is_healthy(patch: Patch) -> None:
    plain = service.accepts
    patch.setattr(service, "accepts", lambda state: state.phase is not Phase.MIRRORING and plain(state))


@mutant("fail_arbiter")
def calls_an_arbiter_silent_for_ever(patch: Patch) -> None:
    plain = arbitration.record_read

    def record_read(step: Step, event: ev.RecordRead) -> None:
        was_silent = step.state.phase is not Phase.BOOTING and not step.state.arbiter_answers
        plain(step, event)
        if was_silent:
            step.change(arbiter_answers=False)

    patch.setattr(arbitration, "record_read", record_read)


@mutant(trial=pair_serves_without_arbiter)
def resumes_no_session_while_the_arbiter_is_silent(patch: Patch) -> None:
    plain = sessions.resume

    def resume(step: Step) -> None:
        if step.state.arbiter_answers:
            plain(step)

    patch.setattr(sessions, "resume", resume)


@mutant("hand_over")
def forgets_that_a_handover_was_asked_for(patch: Patch) -> None:
    patch.setattr(handover, "asked", lambda _step: None)


@mutant("hand_over")
def refuses_every_handover(patch: Patch) -> None:
    patch.setattr(handover, "asked", lambda step: step.do(act.HandoverEnded("not today")))


@mutant("verify")
def forgets_that_a_comparison_was_asked_for(patch: Patch) -> None:
    patch.setattr(verify, "asked", lambda _step: None)


@mutant("force_primary", "crash")
def tells_nobody_what_became_of_a_force(patch: Patch) -> None:
    plain = Step.do

    def do(self: Step, action: act.Action) -> None:
        if not isinstance(action, act.ForceEnded):
            plain(self, action)

    patch.setattr(Step, "do", do)


@mutant("bit_rot")
def says_that_a_block_is_lost_which_the_other_copy_has(patch: Patch) -> None:
    plain = repair._wait_for_repair

    def wait_for_repair(step: Step, flight: Flight) -> None:
        if flight.operation.kind is OperationKind.READ:
            repair._fail(step, flight)
        else:
            plain(step, flight)

    patch.setattr(repair, "_wait_for_repair", wait_for_repair)


@mutant("bit_rot")
def compares_and_repairs_nothing(patch: Patch) -> None:
    plain = repair._wait_for_repair

    def wait_for_repair(step: Step, flight: Flight) -> None:
        if flight.operation.kind is OperationKind.VERIFY and flight.hurt.here is not None:
            repair._leave_unread(step, flight, flight.hurt.here)
        else:
            plain(step, flight)

    patch.setattr(repair, "_wait_for_repair", wait_for_repair)
