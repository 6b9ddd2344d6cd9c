"""Who counts: what a record read means for this node, going alone, and securing it before the first answer."""

import attrs

from ctlha_trio.pair import _proposals as proposals, _reads as reads, _service as service, actions as act, events as ev
from ctlha_trio.pair._metadata import Copy, Metadata
from ctlha_trio.pair._operation import Outcome
from ctlha_trio.pair._phase import Phase
from ctlha_trio.pair._record import Kind, Record
from ctlha_trio.pair._state import PairState, Stage
from ctlha_trio.pair._step import ARBITER_RETRY_S, Step
from ctlha_trio.wire import KnownRecord

PEER_WAIT_S = 3.0
"""A member that boots gives the other one this long: two machines that get their power back together boot within
seconds of each other, and going on alone costs a resync."""
CLAIM_PRIMARY_S = 0.1
"""After a closed connection the primary goes first, so that a flap does not move the role."""
CLAIM_SECONDARY_S = 0.25
COPY_WENT_BACK = "copy-went-back"
STORE_FAILED = "store-failed"


def decide(step: Step, record: Record, revision: int, why: str) -> None:
    """Act on a record read afresh, with no swap of this node's under way."""
    state = step.state
    made_since = state.record is not None and revision > state.revision
    problem = _contradiction(step, record, revision)
    if problem:
        # It is not acted on, nor is the peer told of it.
        stop(step, problem)
        return
    step.change(record=record, revision=revision, partner=0)
    member = state.me in record.members
    if member:
        flaw = _flaw(state, record)
        if flaw == COPY_WENT_BACK and made_since:
            # While this process runs, another one with its identity has changed the record, or was made a member.
            problem = "twin"
        elif record.members == (state.me,):
            problem = flaw
        elif flaw:
            member, why = False, flaw
    if (problem or not member) and record.primary in state.both:
        # Nothing else makes it durable that this was seen: an arbiter that shows less later must not mislead this node.
        # A record of others is none to remember: whoever configured them is told.
        step.hear(KnownRecord(record.lineage, record.epoch, revision, leads=record.primary == state.peer))
    if problem:
        stop(step, problem)
        return
    if not member:
        become_outdated(step, why)
    elif record.members == (state.me,):
        claim(step, why)
    else:
        service.drop_flights(step, Outcome.UNKNOWN)
        step.move(Phase.WAITING, why)
        step.set_timer(ev.Timer.PEER_WAIT, PEER_WAIT_S)


def _contradiction(step: Step, record: Record, revision: int) -> str:
    """Why the record and this node's disk cannot both be right, or nothing."""
    state = step.state
    metadata = state.metadata
    if (record.cluster, record.resource) != (metadata.cluster, metadata.resource) or record.kind is not Kind.MIRROR:
        return "foreign-record"
    if record.lineage in metadata.ancestors:
        # Whatever its revision has become since, the line that this copy's was begun from is over.
        return "arbiter-went-back"
    if record.lineage != metadata.lineage and not _descends(metadata, record):
        return "foreign-lineage"
    if metadata.is_apart and record.lineage == metadata.lineage:
        return "arbiter-went-back"
    same = (record.epoch, record.primary, record.members) == (metadata.epoch, metadata.primary, metadata.members)
    # The same revision or epoch with another content: a copy of the arbiter's data that went on from an older state.
    # Revisions alone do not tell: those of etcd rise with whatever else it keeps, or by the hand that restores it.
    known = revision == metadata.revision or (record.lineage, record.epoch) == (metadata.lineage, metadata.epoch)
    return "arbiter-went-back" if known and not same else ""


def _descends(metadata: Metadata, record: Record) -> bool:
    """Whether a person began the record's line from this copy's: by abandoning this copy, or by choosing it."""
    return metadata.lineage in record.ancestors and record.epoch > metadata.epoch


def _flaw(state: PairState, record: Record) -> str:
    """Why this disk does not hold what a member of the record holds, or nothing.

    Nothing that names a node is proposed before that node's disk knows of it, nor before its copy is whole. A disk that
    does not is an older copy of the one that does, which may be in use elsewhere: what was acknowledged since may not
    be on it.
    """
    metadata = state.metadata
    if metadata.copy is Copy.FAILED:
        return "copy-failed"
    if metadata.copy in {Copy.RESYNCING, Copy.REWRITING}:
        return "copy-incomplete"
    if metadata.copy is Copy.SEALED:
        admitted = (metadata.lineage, metadata.epoch + 1, state.both)
        known = (record.lineage, record.epoch, record.members) == admitted
    else:
        known = record.epoch <= metadata.epoch
    return "" if known or record.proposal in metadata.proposed else COPY_WENT_BACK


def stop(step: Step, why: str) -> None:
    """Serve nothing more until a person has looked."""
    service.drop_flights(step, Outcome.UNKNOWN)
    step.move(Phase.STOPPED, why)
    step.do(act.Goodbye(why))


def keep_apart(step: Step) -> None:
    """The peer's copy has no part in what this one acknowledged alone, nor has the record: it is kept as it is."""
    step.note_apart()
    stop(step, "arbiter-went-back")


def store_failed(step: Step) -> None:
    """The disk is not to be believed any more: this copy is dead, whatever this node has stopped for before."""
    state = step.state
    if is_condemned(state):
        return
    step.do(act.CondemnCopy(attrs.evolve(state.metadata, copy=Copy.FAILED)))
    if state.phase is not Phase.LEFT:
        stop(step, STORE_FAILED)


def is_condemned(state: PairState) -> bool:
    """Whether this process has found its copy dead."""
    return state.phase is Phase.STOPPED and state.why == STORE_FAILED


def become_outdated(step: Step, why: str) -> None:
    """This node's copy does not count: whatever was not acknowledged may differ."""
    service.drop_flights(step, Outcome.UNKNOWN)
    step.change(partner=0, swap=None, base_epoch=0)
    step.move(Phase.OUTDATED, why)


def claim(step: Step, why: str) -> None:
    """Propose to be the sole member. Nothing is acknowledged until the arbiter has said that it is so.

    Not from a record that the peer knows to be past: the arbiter is asked, and shows the later one, or that it went
    back. Nor to one that is silent while there is a session to be resumed: it would leave this node in doubt, and two
    that are connected again go on without it.
    """
    state = step.state
    step.cancel_timer(ev.Timer.CLAIM)
    step.cancel_timer(ev.Timer.PEER_WAIT)
    step.change(renewing=False)
    if state.is_behind or (state.partner and not state.arbiter_answers):
        if state.phase not in {Phase.WAITING, Phase.SUSPENDED}:
            step.move(Phase.SUSPENDED, why)
        step.read_record()
        if step.state.phase is Phase.SUSPENDED:
            step.set_timer(ev.Timer.CLAIM, ARBITER_RETRY_S)
        return
    step.move(Phase.CLAIMING, why, Stage.PERSISTING)
    step.intend(step.successor(primary=state.me, members=(state.me,)))


def unclaim(step: Step) -> None:
    """The arbiter certainly did not take the claim: wait like before it, for the peer or for the next try."""
    step.change(swap=None)
    reads.restart(step)
    step.move(Phase.SUSPENDED, "the arbiter did not take the claim")
    step.set_timer(ev.Timer.CLAIM, ARBITER_RETRY_S)


def secure(step: Step) -> None:
    """The claim was won: what was written for the old primary must end, and the record be durable, before serving.

    So this node serves on, too, if it was the only member before and its claim was certainly not taken.
    """
    state = step.state
    why = "the arbiter did not take the claim" if state.renewing else "claim won"
    # No node was ever a member in this epoch: who counts from it copies everything.
    base_epoch = state.base_epoch or state.epoch
    step.do(act.Track(base_epoch, state.may_differ))
    service.want_nothing_there(step)
    reads.restart(step)
    proposals.take_back(step)
    step.change(partner=0, base_epoch=base_epoch, unsettled=(), refused=frozenset())
    step.move(Phase.SECURING, why, Stage.RECORDING)
    step.persist(Copy.MEMBER, base_epoch=base_epoch)


def secured(step: Step) -> None:
    """Serve alone once the record is durable, no write of another order runs on this disk and no permit is out."""
    state = step.state
    if state.phase is not Phase.SECURING or state.stage is not Stage.DRAINING or state.storing or state.granted:
        return
    step.change(next_sequence=max(state.next_sequence, state.last_sequence + 1))
    if state.renewing:
        step.set_timer(ev.Timer.ARBITER_RETRY, ARBITER_RETRY_S)
    serve_alone(step, "secured")


def serve_alone(step: Step, why: str) -> None:
    """Nothing of this node's own keeps the sole member from serving: it does, unless the peer's word does."""
    if step.state.is_behind:
        hold_alone(step)
        return
    step.move(Phase.ALONE, why)
    service.advance(step)


def hold_alone(step: Step) -> None:
    """The peer has told of a later record than the one by which this node is the sole member: answer nobody.

    Somebody forced the peer, or the arbiter went back; which of the two, the arbiter shows. One that is silent may be
    so for long, and the peer serves meanwhile.
    """
    service.want_nothing_there(step)
    step.move(Phase.SUSPENDED, f"node {step.state.peer} has told of a later record")
    claim(step, step.state.why)


def suspend(step: Step, loss: ev.Loss | None, why: str) -> None:
    """A member lost its peer: acknowledge nothing, and after the time that the protocol gives, claim."""
    reads.restart(step)
    if step.state.phase is Phase.FOLLOWING and step.state.stage is Stage.RECORDING:
        # It was handed the role, which may be durable by the time that the session is resumed.
        take_role(step)
    step.move(Phase.SUSPENDED, why)
    if loss is ev.Loss.GOODBYE or (loss is ev.Loss.SILENT and step.state.primary):
        claim(step, why)
    else:
        wait_to_claim(step)


def take_role(step: Step) -> None:
    """Of two members: count sequences, and the other one's proposals, anew, and execute what it was to execute."""
    state = step.state
    step.change(next_sequence=max(state.next_sequence, state.last_sequence + 1), last_pushed=0, taken=0)
    proposals.take_back(step)


def wait_to_claim(step: Step) -> None:
    """Give the peer the time that the protocol gives it, from now on."""
    step.set_timer(ev.Timer.CLAIM, CLAIM_PRIMARY_S if step.state.primary else CLAIM_SECONDARY_S)


def displaced(step: Step, record: Record, revision: int) -> None:
    """A newer record was read while this node acts on an older one and has no swap under way."""
    state = step.state
    told_soon = bool(state.session) and record.members == state.both and record.epoch == state.epoch + 1
    if told_soon and state.phase is Phase.FOLLOWING and record.primary == state.me:
        # A handover: the old primary tells when it has persisted it, and its session still lives.
        return
    if told_soon and state.phase is Phase.RESYNCING:
        # This node's admission: likewise.
        return
    source_knows = state.standing is not None and state.standing.epoch >= record.epoch
    if state.phase is Phase.RESYNCING and state.session and state.me not in record.members and not source_knows:
        # The source restarts; the end of its session ends this resync.
        return
    decide(step, record, revision, f"{record.primary} made epoch {record.epoch}")
