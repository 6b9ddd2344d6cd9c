"""Sessions: who the peer is, where it stands, what follows for this node; flaps, and peers that lost their memory."""

from ctlha_trio.pair import (
    _admission as admission,
    _handover as handover,
    _membership as membership,
    _proposals as proposals,
    _service as service,
    actions as act,
    events as ev,
    messages as msg,
)
from ctlha_trio.pair._phase import Phase
from ctlha_trio.pair._state import Stage
from ctlha_trio.pair._step import Step
from ctlha_trio.wire import KnownRecord

_MIRRORS = frozenset({Phase.MIRRORING, Phase.FOLLOWING, Phase.HANDING_OVER})
_STILL_PAIRED = frozenset({Phase.MIRRORING, Phase.FOLLOWING, Phase.HANDING_OVER, Phase.SUSPENDED})
_UNDECIDED = frozenset({Phase.BOOTING, Phase.WAITING, Phase.OUTDATED})
"""Phases of a node that serves nothing and has no swap under way."""
_GONE = frozenset({Phase.STOPPED, Phase.LEFT})


def session_up(step: Step, event: ev.SessionUp) -> None:
    """A session: tell where this node stands. A partner that runs anew has lost what it had under way."""
    step.change(session=event.incarnation, sessions=step.state.sessions + 1, standing=None, proved=False)
    step.moved = True
    state = step.state
    if state.phase is Phase.SUSPENDED and state.partner != event.incarnation:
        membership.claim(step, "the peer restarted")


def session_lost(step: Step, event: ev.SessionLost) -> None:
    """The session is over."""
    step.change(session=0, standing=None, settled_wanted=0)
    proposals.say_again(step)
    match step.state.phase:
        case Phase.MIRRORING | Phase.FOLLOWING:
            membership.suspend(step, event.loss, f"session lost: {event.loss.value}")
        case Phase.HANDING_OVER:
            handover.peer_lost(step, event.loss)
        case Phase.ALONE | Phase.ADMITTING:
            admission.target_lost(step)
        case Phase.OUTDATED:
            step.change(stage=Stage.NONE)
        case Phase.RESYNCING:
            _source_lost(step)
        case Phase.SUSPENDED if event.loss is ev.Loss.GOODBYE:
            membership.claim(step, "the peer left")
        case Phase.SUSPENDED:
            membership.suspend(step, event.loss, f"session lost again: {event.loss.value}")
        case _:
            pass


def disowned(step: Step) -> None:
    """Of two processes with one identity the peer keeps the one that it is in session with.

    One that serves, or whose swap decides who does, is not stopped by the peer's word: then the record is what counts,
    and stops the other one, or this one. So the two never both stop.
    """
    if step.state.phase in _UNDECIDED and not step.state.session:
        membership.stop(step, "twin")


def _source_lost(step: Step) -> None:
    state = step.state
    record = state.record
    if record is not None and state.me in record.members:
        membership.decide(step, record, state.revision, "source lost after the admission")
    else:
        membership.become_outdated(step, "source lost")
        step.read_record()


def standing(step: Step, message: msg.Standing) -> None:
    """The peer told where it stands."""
    step.change(standing=message)
    if message.lineage:
        peer_knows(step, message.knows)
    if step.state.phase is Phase.FOLLOWING:
        if message.epoch == step.state.epoch and message.phase is Phase.MIRRORING:
            handover.given_up(step)
        service.advance(step)
    if message.epoch > step.state.epoch and step.state.phase is not Phase.BOOTING:
        step.read_record()


def peer_knows(step: Step, record: KnownRecord) -> None:
    """The peer has that record from the arbiter. Whoever is behind asks the arbiter, which can show no older one.

    One that has stopped remembers it too: when it starts again, nobody may be there to tell it.
    """
    state = step.state
    if membership.is_condemned(state) or state.phase is Phase.LEFT:
        # Metadata written behind the condemnation would make a copy that counts of it again.
        return
    step.hear(record)
    if not step.state.is_behind or state.phase in {Phase.BOOTING, Phase.STOPPED}:
        return
    if state.phase is Phase.ALONE:
        membership.hold_alone(step)
    else:
        step.read_record()


def reconsider(step: Step, *, fresh: bool) -> None:
    """What the peer's standing means for this node, now that this node's changed or (``fresh``) the peer's."""
    state = step.state
    message = state.standing
    if message is None or message.epoch > state.epoch:
        return
    match state.phase:
        case Phase.WAITING:
            _waiting(step, message)
        case Phase.SUSPENDED:
            _suspended(step, message)
        case Phase.MIRRORING | Phase.FOLLOWING | Phase.HANDING_OVER if fresh:
            # Only what is said after this node entered the phase can tell that the peer has left it.
            _paired(step, message)
        case Phase.ALONE | Phase.ADMITTING:
            admission.offer(step)
        case _:
            pass


def _waiting(step: Step, peer: msg.Standing) -> None:
    """Both run anew: the record's primary goes first. A peer that kept running will claim; then the record moves.

    One that is outdated although the record names it knows that its copy does not count, and never claims.
    """
    outdated = peer.phase is Phase.OUTDATED and peer.epoch == step.state.epoch
    if peer.phase in _GONE or outdated or (peer.phase is Phase.WAITING and step.state.primary):
        membership.claim(step, "the peer restarted too" if peer.phase is Phase.WAITING else "the peer serves nothing")


def _suspended(step: Step, peer: msg.Standing) -> None:
    if still_paired(step, peer):
        # The secondary's answer, which its disk may delay, or the end of this session is the next step for both; a
        # timer of either would race with it.
        step.cancel_timer(ev.Timer.CLAIM)
    elif peer.phase is Phase.CLAIMING:
        # It may have been paired still, and its arbiter may leave it in doubt for long.
        membership.wait_to_claim(step)
    else:
        membership.claim(step, f"the peer is {peer.phase.name.lower()}")


def still_paired(step: Step, peer: msg.Standing | None) -> bool:
    """Whether both nodes mean the same pair of processes in the same epoch."""
    state = step.state
    return (
        peer is not None
        and peer.epoch == state.epoch
        and peer.phase in _STILL_PAIRED
        and peer.partner == state.incarnation
        and state.partner == state.session != 0
    )


def _paired(step: Step, peer: msg.Standing) -> None:
    if peer.phase in _MIRRORS or peer.epoch < step.state.epoch:
        # A peer that is behind is about to learn of this epoch, or to be lost.
        return
    if step.state.phase is Phase.HANDING_OVER:
        handover.peer_lost(step, None)
    elif peer.phase in {Phase.SUSPENDED, Phase.CLAIMING}:
        membership.suspend(step, None, "the peer does not follow")
    else:
        membership.claim(step, f"the peer is {peer.phase.name.lower()}")


def resume(step: Step) -> None:
    """Secondary after a flap: once nothing is running here, tell the primary what is durable, and follow on."""
    state = step.state
    if state.phase is not Phase.SUSPENDED or state.primary or state.storing:
        return
    if still_paired(step, state.standing):
        step.cancel_timer(ev.Timer.CLAIM)
        if state.refused:
            # What was not executed is as if it had not come: it is pushed again, and all behind it.
            step.change(last_sequence=min(state.refused) - 1, refused=frozenset())
        # A primary that claimed, and was refused, has taken nothing meanwhile, whether or not the session lived on.
        proposals.say_again(step)
        step.send(msg.Resumed(state.epoch, step.state.last_sequence))
        step.move(Phase.FOLLOWING, "resumed after a flap")
        service.advance(step)


def resumed(step: Step, message: msg.Resumed) -> None:
    """Primary after a flap: both agree on what is under way; the rest is pushed again."""
    state = step.state
    # The secondary says so only to the process that it was paired with; what it said of itself before may be of a claim
    # that the arbiter refused.
    if state.phase is Phase.SUSPENDED and state.primary and state.partner == state.session:
        if state.metadata.epoch < state.epoch:
            # The role came by a handover and is not durable here yet: the claim's own persist makes up for it.
            membership.claim(step, "resumed before the role was persisted")
            return
        step.cancel_timer(ev.Timer.CLAIM)
        # The secondary has persisted that it is a member. Where its word of that was lost, this node marks until now.
        step.do(act.StopTracking())
        service.ask_anew(step)
        service.resend_from(step, message.last_sequence)
        step.move(Phase.MIRRORING, "resumed after a flap")
        service.advance(step)
