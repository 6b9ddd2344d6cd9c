"""The pair core: one function from a state and an event to the next state and the actions to carry out.

Pure: no clock, no I/O, no randomness but the incarnation that it is given. ``_phase`` holds the machine's table,
``_membership`` who counts, ``_arbitration`` the arbiter's answers, ``_sessions`` the peer, ``_service`` clients'
operations, ``_proposals`` those of the secondary's, ``_reads`` and ``_permits`` what each node reads by itself,
``_compare`` those that compare before they write, ``_admission`` the return of a node, ``_resync_retry`` what its
source could not read, ``_repair`` damaged blocks, ``_verify`` the comparison of the copies, ``_handover`` the planned
change of roles and ``_force`` what a person decides who knows what no node can know.
"""

from typing import assert_never

from ctlha_trio.pair import (
    _admission as admission,
    _arbitration as arbitration,
    _compare as compare,
    _force as force,
    _handover as handover,
    _membership as membership,
    _permits as permits,
    _proposals as proposals,
    _reads as reads,
    _repair as repair,
    _resync_retry as retry,
    _service as service,
    _sessions as sessions,
    _verify as verify,
    actions as act,
    events as ev,
    messages as msg,
)
from ctlha_trio.pair._metadata import Copy, Metadata
from ctlha_trio.pair._operation import Outcome
from ctlha_trio.pair._phase import ACCEPTING, Phase
from ctlha_trio.pair._record import NodeId
from ctlha_trio.pair._state import PairState, Stage
from ctlha_trio.pair._step import Step

RECORD_POLL_S = 1.0
"""A sole primary reads the record this often and stops at a newer epoch; it also tells whether the arbiter answers."""


def boot(
    *, me: NodeId, peer: NodeId, incarnation: int, size_bytes: int, metadata: Metadata, marked_from: int | None
) -> tuple[PairState, tuple[act.Action, ...]]:
    """The state of a node that starts with this metadata on its disk, and its first actions.

    ``marked_from`` is the epoch from which the disk's marks of what may differ count; None if there are none.
    """
    state = PairState(
        me=me,
        peer=peer,
        incarnation=incarnation,
        size_bytes=size_bytes,
        metadata=metadata,
        base_epoch=_base_epoch(metadata, marked_from),
        heard=metadata.heard,
    )
    step = Step(state)
    step.read_record()
    step.set_timer(ev.Timer.RECORD_POLL, RECORD_POLL_S)
    permits.expect_earlier_grants(step)
    return step.state, tuple(step.actions)


def _base_epoch(metadata: Metadata, marked_from: int | None) -> int:
    """What this copy's marks count from if it comes to be the only one; 0 if they cannot be relied on for that."""
    if metadata.copy is not Copy.MEMBER:
        return 0
    synced = metadata.synced_epoch
    # Two members mark nothing. Marks from before were to be forgotten, but those of a crash since are among them.
    nothing_marked = marked_from is None and len(metadata.members) > 1
    return synced if nothing_marked or marked_from == synced else 0


def step_pair(state: PairState, event: ev.Event) -> tuple[PairState, tuple[act.Action, ...]]:
    """Take one event."""
    step = Step(state)
    _dispatch(step, event)
    stood, heard = _stands(state), state.standing
    while True:
        now = step.state
        if _stands(now) != stood or now.standing is not heard:
            fresh = now.standing is not heard
            stood, heard = _stands(now), now.standing
            sessions.reconsider(step, fresh=fresh)
        _settle(step)
        if _stands(step.state) == stood:
            break
    if step.moved:
        step.tell_standing()
    return step.state, tuple(step.actions)


def _stands(state: PairState) -> tuple[Phase, int]:
    return state.phase, state.epoch


def _dispatch(step: Step, event: ev.Event) -> None:  # noqa: PLR0912, PLR0915 (one line for each kind of event)
    match event:  # what each write brings comes first: a case costs those before it
        case ev.Received():
            _received(step, event.message)
        case ev.Stored():
            service.stored(step, event)
        case ev.Submitted():
            service.submitted(step, event)
        case ev.RecordRead():
            arbitration.record_read(step, event)
        case ev.ReadFailed():
            arbitration.read_failed(step)
        case ev.Swapped():
            arbitration.swapped(step, event)
        case ev.SessionUp():
            sessions.session_up(step, event)
        case ev.PeerKnows():
            sessions.peer_knows(step, event.record)
        case ev.SessionLost():
            sessions.session_lost(step, event)
        case ev.Disowned():
            sessions.disowned(step)
        case ev.TimerFired():
            _timer(step, event.timer)
        case ev.Fetched():
            service.fetched(step, event)
        case ev.StoredCompared():
            compare.compared(step, event)
        case ev.RecordsCompared():
            handover.records_compared(step, event)
        case ev.RoomChecked():
            proposals.room_checked(step, event)
        case ev.RangeCompared():
            if step.state.phase in ACCEPTING and event.session == step.state.sessions:
                step.send(msg.Compared(step.state.epoch, event.sequence, event.equal))
        case ev.ReadDamaged():
            repair.read_damaged(step, event)
        case ev.Damaged():
            repair.damaged(step, event)
        case ev.RangeDamaged():
            repair.range_damaged(step, event)
        case ev.DirtyFound():
            admission.found(step, event)
        case ev.Persisted():
            _persisted(step, event.metadata)
        case ev.StoreFailed():
            membership.store_failed(step)
        case ev.AdmissionHeld():
            step.change(admission_held=event.held)
        case ev.HandoverAsked():
            handover.asked(step)
        case ev.VerifyAsked():
            verify.asked(step)
        case ev.ForceAsked():
            force.asked(step, event)
        case ev.StopAsked():
            _leave(step, event.reason)
        case _:
            assert_never(event)


def _settle(step: Step) -> None:
    """Whatever waited for something to end may go on now."""
    membership.secured(step)
    repair.take_up(step)
    verify.go_on(step)
    admission.copy_on(step)
    admission.drained(step)
    admission.prepare(step)
    handover.drained(step)
    sessions.resume(step)


def _timer(step: Step, timer: ev.Timer) -> None:  # noqa: PLR0912 (one for each timer)
    state = step.state
    match timer:
        case ev.Timer.RECORD_POLL:
            if state.phase not in {Phase.STOPPED, Phase.LEFT}:
                step.read_record()
                step.set_timer(ev.Timer.RECORD_POLL, RECORD_POLL_S)
        case ev.Timer.ARBITER_RETRY:
            arbitration.retry(step)
        case ev.Timer.CLAIM:
            if state.phase is Phase.SUSPENDED:
                membership.claim(step, "the peer did not come back")
        case ev.Timer.PEER_WAIT:
            if state.phase is Phase.WAITING:
                membership.claim(step, "the peer did not come")
        case ev.Timer.HANDOVER_LIMIT:
            handover.late(step)
        case ev.Timer.PERMIT_OUT:
            permits.ran_out(step)
        case ev.Timer.VERIFY_REST:
            verify.rested(step)
        case ev.Timer.RESYNC_REST:
            admission.rested(step)
        case ev.Timer.RESYNC_RETRY:
            retry.due(step)
            service.advance(step)
        case _:
            assert_never(timer)


_FREE = (msg.Standing, msg.Refused, msg.Admitted, msg.HandoverDone)
"""Said about another epoch than the receiver's, or about one to come."""


def _received(step: Step, message: msg.Message) -> None:
    state = step.state
    if state.phase in {Phase.STOPPED, Phase.LEFT} or not state.session:
        return
    if not isinstance(message, _FREE) and message.epoch != state.epoch:
        step.send(msg.Refused(state.epoch, message.epoch))
        return
    match message:
        case msg.Applied():
            service.applied(step, message)
        case msg.MirrorWrite() | msg.MirrorZeroes() if state.phase in ACCEPTING:
            service.mirror_write(step, message)
        case msg.Standing():
            sessions.standing(step, message)
        case msg.Refused():
            if message.epoch > state.epoch:
                step.read_record()
        case msg.Resumed():
            sessions.resumed(step, message)
        case msg.MirrorRecord() if state.phase is Phase.FOLLOWING:
            service.mirror_write(step, message)
        case msg.Fetch() | msg.RepairData() | msg.Damaged():
            _of_repair(step, message)
        case _ if isinstance(message, _OfEitherNode):
            _of_either_node(step, message)
        case _:
            _of_change(step, message)


def _of_repair(step: Step, message: msg.Fetch | msg.RepairData | msg.Damaged) -> None:
    state = step.state
    match message:
        case msg.Fetch() if state.phase is Phase.FOLLOWING:
            step.do(act.PushRange(state.sessions, message.epoch, message.sequence, message.offset, message.size))
        case msg.RepairData():
            repair.repair_data(step, message)
        case msg.Damaged():
            repair.damaged_there(step, message)
        case _:
            step.send(msg.Refused(state.epoch, message.epoch))


_OfEitherNode = (
    msg.PermitRequest | msg.SettledAsked | msg.Settled | msg.Propose | msg.Assigned | msg.Completed | msg.Unexecuted
)


def _of_either_node(step: Step, message: _OfEitherNode) -> None:
    """What the secondary's clients ask for, and what either node reads."""
    match message:
        case msg.PermitRequest():
            permits.asked(step, message)
            return
        case msg.SettledAsked():
            reads.settled_asked(step, message)
        case msg.Settled():
            reads.settled(step, message)
        case msg.Propose():
            proposals.proposed(step, message)
        case msg.Assigned() if step.state.phase is Phase.FOLLOWING:
            proposals.assigned(step, message)
        case msg.Completed() if step.state.phase is Phase.FOLLOWING:
            proposals.completed(step, message)
        case msg.Unexecuted() if step.state.phase is Phase.FOLLOWING:
            proposals.unexecuted(step, message)
        case _:
            step.send(msg.Refused(step.state.epoch, message.epoch))
    service.advance(step)


def _of_change(step: Step, message: msg.Message) -> None:  # noqa: PLR0912 (one line for each kind of message)
    """Return and handover."""
    phase = step.state.phase
    match message:
        case msg.ResyncStart():
            admission.offered(step, message)
        case msg.InDoubt():
            admission.in_doubt(step)
        case msg.ResyncReady():
            admission.ready(step, message)
        case msg.OwnRange():
            admission.own_range(step, message)
        case msg.ResyncBase() if phase is Phase.RESYNCING:
            admission.resync_base(step, message)
        case msg.Compare() if phase in ACCEPTING:
            admission.compare(step, message)
        case msg.Compared():
            admission.compared(step, message)
            verify.compared(step, message)
        case msg.CopyData() if phase is Phase.RESYNCING:
            admission.copy_data(step, message)
        case msg.Seal():
            admission.seal(step)
        case msg.Sealed():
            admission.sealed(step)
        case msg.Admitted():
            admission.admitted(step, message)
        case msg.Joined():
            admission.joined(step)
        case msg.HandoverPrepare():
            handover.prepare(step, message)
        case msg.HandoverReady():
            handover.peer_ready(step, message)
        case msg.RecordsDiffer():
            handover.records_differ(step, message)
        case msg.HandoverDone():
            handover.done(step, message)
        case _:
            step.send(msg.Refused(step.state.epoch, message.epoch))


_AFTER_PERSIST = {
    (Phase.CLAIMING, Stage.PERSISTING): Step.call_swap,
    (Phase.ADMITTING, Stage.PERSISTING): admission.persisted_before_swap,
    (Phase.ADMITTING, Stage.RECORDING): admission.recorded,
    (Phase.HANDING_OVER, Stage.PERSISTING): handover.persisted_before_swap,
    (Phase.HANDING_OVER, Stage.RECORDING): handover.recorded,
    (Phase.OUTDATED, Stage.PERSISTING): admission.prepared,
    (Phase.RESYNCING, Stage.PERSISTING): admission.seal_persisted,
    (Phase.RESYNCING, Stage.RECORDING): admission.admission_persisted,
    (Phase.FOLLOWING, Stage.PERSISTING): handover.prepared,
    (Phase.FOLLOWING, Stage.RECORDING): handover.recorded_as_primary,
}


def _persisted(step: Step, metadata: Metadata) -> None:
    state = step.state
    step.change(metadata=metadata, persists=state.persists - 1)
    if step.state.persists:
        return
    step.change(persisting=None)
    if state.phase is Phase.SECURING and state.stage is Stage.RECORDING:
        step.change(stage=Stage.DRAINING)
        return
    after = _AFTER_PERSIST.get((state.phase, state.stage))
    if after is not None:
        after(step)


def _leave(step: Step, reason: str) -> None:
    if step.state.phase is not Phase.LEFT:
        service.drop_flights(step, Outcome.UNKNOWN)
        step.move(Phase.LEFT, reason)
        step.do(act.Goodbye(reason))
