"""The planned change of roles between two members in a live session."""

from typing import Final

from ctlha_trio.pair import (
    _membership as membership,
    _reads as reads,
    _service as service,
    actions as act,
    events as ev,
    messages as msg,
)
from ctlha_trio.pair._metadata import Copy
from ctlha_trio.pair._phase import Phase
from ctlha_trio.pair._plan import Setback, can_hand_over
from ctlha_trio.pair._state import UNHURT, Flight, Stage
from ctlha_trio.pair._step import Step

HANDOVER_LIMIT_S = 5.0
"""For drain, peer's flush and own flush together; operations are held meanwhile, so a slow disk must not stretch it."""
_PREPARING: Final = frozenset({Stage.COMPARING, Stage.PERSISTING, Stage.ASKING})
"""Of a secondary that is handed the role."""


# The primary that gives the role away.


def asked(step: Step) -> None:
    """Hold new operations and drain."""
    state = step.state
    if not can_hand_over(state):
        step.do(act.HandoverEnded("this node is not the primary of two members in sync"))
        return
    step.change(handover_attempt=state.handover_attempt + 1)
    step.move(Phase.HANDING_OVER, "handover asked", Stage.DRAINING)
    step.set_timer(ev.Timer.HANDOVER_LIMIT, HANDOVER_LIMIT_S)


def drained(step: Step) -> None:
    """Nothing is under way any more: ask the peer to make ready."""
    state = step.state
    if state.phase is not Phase.HANDING_OVER or state.stage is not Stage.DRAINING:
        return
    if not any(f.started or service.mends(f) for f in state.flights):
        step.change(stage=Stage.ASKING)
        step.do(act.SendPrepare(state.epoch, state.handover_attempt, state.next_proposal))


def peer_ready(step: Step, message: msg.HandoverReady) -> None:
    """The peer has flushed, and nothing that it pushed is on its way any more: flush here."""
    state = step.state
    asking = state.phase is Phase.HANDING_OVER and state.stage is Stage.ASKING
    if asking and message.attempt == state.handover_attempt:
        step.change(stage=Stage.PERSISTING)
        step.persist(Copy.MEMBER, proposal=state.next_proposal)


def records_differ(step: Step, message: msg.RecordsDiffer) -> None:
    """The peer cannot be primary: what the layers above put would not all be there. Go on as before."""
    state = step.state
    asking = state.phase is Phase.HANDING_OVER and state.stage is Stage.ASKING
    if asking and message.attempt == state.handover_attempt:
        step.cancel_timer(ev.Timer.HANDOVER_LIMIT)
        step.move(Phase.MIRRORING, "the records of the two nodes differ", setback=Setback.RECORDS_DIFFER)
        service.advance(step)


def persisted_before_swap(step: Step) -> None:
    """Both have flushed: propose the peer. From here on only the arbiter decides."""
    state = step.state
    step.cancel_timer(ev.Timer.HANDOVER_LIMIT)
    step.change(stage=Stage.SWAPPING)
    step.propose(primary=state.peer, members=state.both)


def won(step: Step) -> None:
    """The peer is primary by the record: persist it before telling."""
    step.change(stage=Stage.RECORDING, base_epoch=step.state.epoch)
    step.persist(Copy.MEMBER)


def recorded(step: Step) -> None:
    """Tell the peer and follow it; what clients that were held ask is proposed to it.

    What it had proposed itself and was not begun, it executes.
    """
    step.change(flights=tuple(_as_asked(flight) for flight in step.state.flights if flight.ticket))
    state = step.state
    if not state.partner:
        membership.suspend(step, None, "peer lost during handover")
        return
    if state.record is not None:
        step.send(msg.HandoverDone(state.epoch, state.revision, state.record.proposal))
    # Sequences count within an epoch, and the new primary gives its own.
    step.change(last_sequence=0)
    step.move(Phase.FOLLOWING, "handed over")


def _as_asked(held: Flight) -> Flight:
    """Whatever it met here before it was held, it may meet again at the other node, or not."""
    return reads.not_begun(held.but(equal=False)).but(hurt=UNHURT, mended=UNHURT)


def late(step: Step) -> None:
    """Too slow: nothing has been proposed yet, so this node simply goes on."""
    if step.state.phase is Phase.HANDING_OVER and step.state.stage in {Stage.DRAINING, Stage.ASKING, Stage.PERSISTING}:
        step.move(Phase.MIRRORING, "the nodes were not ready in time", setback=Setback.NOT_IN_TIME)
        service.advance(step)


def refused(step: Step) -> None:
    """The arbiter certainly did not take the swap: go on as before it."""
    step.change(swap=None, stage=Stage.NONE)
    if step.state.partner:
        step.move(Phase.MIRRORING, "the arbiter did not take the handover", setback=Setback.ARBITER_REFUSES)
        service.advance(step)
    else:
        membership.suspend(step, None, "peer lost during handover")


def peer_lost(step: Step, loss: ev.Loss | None) -> None:
    """The session ended. Before the swap this is a loss like any other; after it what comes back decides."""
    if step.state.stage in {Stage.DRAINING, Stage.ASKING, Stage.PERSISTING}:
        step.cancel_timer(ev.Timer.HANDOVER_LIMIT)
        membership.suspend(step, loss, "peer lost during handover")
    else:
        step.change(partner=0)


# The secondary that takes it.


def prepare(step: Step, message: msg.HandoverPrepare) -> None:
    """Everything sent is written: look whether the records are the same, and propose nothing from here on.

    What clients ask waits here. A proposal that came to the primary behind its swap would be of an epoch that is over,
    and such a push ends the session.
    """
    if step.state.phase is Phase.FOLLOWING and not step.state.storing:
        step.change(stage=Stage.COMPARING, handover_attempt=message.attempt)
        step.do(act.CompareRecords(message.attempt, message.proposal, message.digest))


def records_compared(step: Step, event: ev.RecordsCompared) -> None:
    """Flush and persist if they are."""
    state = step.state
    comparing = state.phase is Phase.FOLLOWING and state.stage is Stage.COMPARING
    if not comparing or event.attempt != state.handover_attempt:
        return
    if event.equal:
        step.change(stage=Stage.PERSISTING)
        step.persist(Copy.MEMBER, proposal=event.proposal)
    else:
        step.send(msg.RecordsDiffer(state.epoch, event.attempt))
        _stay_secondary(step)


def prepared(step: Step) -> None:
    """Ready: the role comes with the record, not with this."""
    step.change(stage=Stage.ASKING)
    step.do(act.PushReady(msg.HandoverReady(step.state.epoch, step.state.handover_attempt)))


def given_up(step: Step) -> None:
    """The primary says that it serves on. Once it has told of the swap it says so no more.

    For all that this node knows its arbiter did not take the swap, and it is this node that would need one next.
    """
    if step.state.stage is Stage.ASKING:
        step.change(untaken=max(step.state.untaken, 1))
    if step.state.stage in _PREPARING:
        _stay_secondary(step)


def _stay_secondary(step: Step) -> None:
    step.change(stage=Stage.NONE)
    service.advance(step)


def done(step: Step, message: msg.HandoverDone) -> None:
    """This node is primary by the record: persist it before serving."""
    state = step.state
    record = state.record
    if state.phase is not Phase.FOLLOWING or record is None or message.epoch != record.epoch + 1:
        return
    record = record.succeed(primary=state.me, members=state.both, proposal=message.proposal)
    reads.restart(step)
    # The old primary had drained before its swap; what it asks for before may be an attempt that it has given up.
    step.change(unsettled=(), refused=frozenset())
    step.change(record=record, revision=message.revision, stage=Stage.RECORDING, base_epoch=record.epoch)
    step.persist(Copy.MEMBER)


def recorded_as_primary(step: Step) -> None:
    """Serve."""
    membership.take_role(step)
    step.move(Phase.MIRRORING, "took over by handover")
    service.advance(step)
