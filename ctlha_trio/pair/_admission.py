"""The return of a node: the source copies what may differ and admits the target as a member; the target follows.

What may differ is marked in the dirty bitmap of each node's disk, of which the core sees one range at a time.
"""

import attrs

from ctlha_trio.pair import (
    _membership as membership,
    _resync_pace as pace,
    _resync_retry as retry,
    _service as service,
    _verify as verify,
    actions as act,
    events as ev,
    messages as msg,
)
from ctlha_trio.pair._metadata import Copy
from ctlha_trio.pair._operation import Operation, OperationKind
from ctlha_trio.pair._phase import Phase
from ctlha_trio.pair._range import Range
from ctlha_trio.pair._state import (
    COPY_CHUNK_BYTES,
    RANGES_LIMIT,
    Flight,
    Resync,
    Stage,
)
from ctlha_trio.pair._step import ARBITER_RETRY_S, Step

# The source.


def offer(step: Step) -> None:
    """Offer this copy to a peer that knows itself outdated by the same record.

    One that was a target in this session refused a write, and answers nothing that came behind it. What was pushed to
    it waits for that, or to be sent, and could reach its copy behind what is compared in the next attempt: with the
    session it is gone. Behind its seal nothing is on its way.
    """
    state, peer = step.state, step.state.standing
    if peer is None or peer.phase is not Phase.OUTDATED:
        return
    if state.stage in {Stage.SWAPPING, Stage.RECORDING}:
        target_lost(step)
    elif state.resync is not None:
        step.do(act.DropSession(ev.BEGUN_ANEW, blames_peer=False))
        step.change(standing=None)
    elif state.phase is Phase.ALONE and state.record is not None and peer.epoch == state.epoch:
        _offer_copy(step, state.record.proposal)


def _offer_copy(step: Step, proposal: str) -> None:
    step.change(told_ranges=())
    step.send(msg.ResyncStart(step.state.epoch, proposal, step.state.base_epoch))


def in_doubt(step: Step) -> None:
    """The target may yet be named by a swap from this record: move the record first, which ends that.

    Clients are held meanwhile, and would be for as long as the arbiter leaves it in doubt: it is asked for a change
    only when it has proved that it takes them. Until then this node serves on, and looks again.
    """
    state = step.state
    if state.phase is not Phase.ALONE or state.resync is not None or state.renewing:
        return
    if state.is_behind:
        step.read_record()
    elif not state.proved:
        step.change(untaken=max(state.untaken, 1), renewing=True)
        step.read_record()
        step.set_timer(ev.Timer.ARBITER_RETRY, ARBITER_RETRY_S)
    else:
        membership.claim(step, "the peer was forced, and that may come late")
        step.change(renewing=True)


def not_renewed(step: Step) -> None:
    """The arbiter certainly did not take that: the record is what it was, and this node the only member; serve on."""
    step.change(swap=None)
    membership.secure(step)


def own_range(step: Step, message: msg.OwnRange) -> None:
    """The target named a range; its readiness follows."""
    state = step.state
    if state.phase is Phase.ALONE and len(state.told_ranges) < RANGES_LIMIT:
        step.change(told_ranges=(*state.told_ranges, (message.offset, message.size)))


def ready(step: Step, message: msg.ResyncReady) -> None:
    """The target has persisted that it is being overwritten: copy what either node has marked, or everything.

    Until the target is a member it keeps its own marks, and names them again after an interruption.
    """
    state = step.state
    if state.phase is not Phase.ALONE or state.resync is not None:
        return
    whole = message.base_epoch != state.base_epoch or len(state.told_ranges) >= RANGES_LIMIT
    ranges = ((0, state.size_bytes),) if whole else state.told_ranges
    if whole:
        verify.forget(step)
    if ranges:
        step.do(act.MarkDirty(ranges))
    step.change(resync=Resync(whole=whole), last_pushed=0, told_ranges=())
    if state.standing is not None:
        # Its own word on where it stands comes behind this; until then it would pass for one that waits for an offer.
        step.change(standing=attrs.evolve(state.standing, phase=Phase.RESYNCING))


def copy_on(step: Step) -> None:
    """Look for the next range, or admit the target: none is left or under way, nor what it had proposed as a member."""
    state = step.state
    resync = state.resync
    if state.phase is not Phase.ALONE or resync is None or resync.search:
        return
    copies = _copies(step)
    if resync.cursor < state.size_bytes:
        if pace.may_search(resync, copies):
            _search(step, resync)
        else:
            pace.rest(step, resync, copies)
    elif copies:
        return
    elif resync.left_out:
        retry.wait(step, resync)
    elif state.arbiter_takes and not (resync.paused or state.admission_held or any(f.taken for f in state.flights)):
        step.move(Phase.ADMITTING, "everything is copied", Stage.DRAINING)


def rested(step: Step) -> None:
    """Clients have had their time: look for the next range."""
    resync = pace.rested(step)
    if resync is not None and step.state.phase is Phase.ALONE and not resync.search and not _copies(step):
        _search(step, resync)


def _copies(step: Step) -> list[int]:
    """Size of each range that is being copied."""
    return [f.operation.size for f in step.state.flights if f.operation.kind is OperationKind.COPY]


def _search(step: Step, resync: Resync) -> None:
    state = step.state
    # A write under way is marked when it ends, perhaps behind the search.
    unseen = tuple((f.operation.offset, f.operation.size) for f in state.flights if f.changes_volume and f.unsettled)
    number = state.next_sequence
    step.change(next_sequence=number + 1, resync=attrs.evolve(resync, search=number, unseen=unseen))
    step.do(act.FindDirty(number, resync.cursor))


def found(step: Step, event: ev.DirtyFound) -> None:
    """Copy what there is room for of the ranges, and of those that the search may have missed; the rest is equal."""
    state = step.state
    resync = state.resync
    if resync is None or resync.search != event.search:
        return
    if resync.whole:
        step.send(msg.ResyncBase(state.epoch, state.base_epoch))
    chosen, cursor = _chosen(step, resync, event.ranges)
    step.change(resync=attrs.evolve(resync, cursor=cursor, whole=False, search=0, unseen=()))
    if chosen:
        copies = (Flight(0, Operation(OperationKind.COPY, 0, 0, offset, size)) for offset, size in chosen)
        step.change(flights=(*state.flights, *copies))
        service.advance(step)


def _chosen(step: Step, resync: Resync, ranges: tuple[Range, ...]) -> tuple[list[Range], int]:
    """What is to be copied next, in order, in pieces for which there is room; and up to where nothing else is."""
    size_bytes = step.state.size_bytes
    # What lies behind the last range was not searched.
    searched_to = sum(ranges[-1]) if ranges else size_bytes
    left = sorted(
        retry.whole_units(each, resync.cursor, size_bytes)
        for each in (*ranges, *resync.unseen)
        if each[0] < searched_to
    )
    copies = _copies(step)
    count, total = len(copies), sum(copies)
    count_max, total_max = pace.room(resync)
    chosen: list[Range] = []
    cursor = resync.cursor
    for offset, size in left:
        cursor = max(cursor, offset)
        while cursor < offset + size:
            piece = min(offset + size - cursor, COPY_CHUNK_BYTES)
            if count >= count_max or total + piece > total_max:
                # With none at all, if clients came since the search began: what it found is looked for again.
                return chosen, sum(chosen[-1]) if chosen else resync.cursor
            chosen.append((cursor, piece))
            count, total, cursor = count + 1, total + piece, cursor + piece
    return chosen, sum(chosen[-1]) if chosen else size_bytes


def compared(step: Step, message: msg.Compared) -> None:
    """The target told whether the range differs; it is asked, and heard, once."""
    flight = service.by_sequence(step, message.sequence)
    if flight is None or flight.operation.kind is not OperationKind.COPY or flight.here:
        return
    operation = flight.operation
    service.replace(step, flight, flight.but(here=True, there=message.equal))
    if message.equal:
        service.advance(step)
    else:
        step.do(act.PushCopy(step.state.epoch, flight.sequence, operation.offset, operation.size))


def drained(step: Step) -> None:
    """Nothing is under way any more: ask the target to seal its copy."""
    state = step.state
    if state.phase is Phase.ADMITTING and state.stage is Stage.DRAINING and not _under_way(step):
        step.change(stage=Stage.ASKING)
        if state.session:
            step.do(act.PushSeal(state.epoch))


def _under_way(step: Step) -> bool:
    return any(f.started for f in step.state.flights)


def sealed(step: Step) -> None:
    """The target's copy is whole and durable: make this one durable too, then propose both."""
    if step.state.phase is Phase.ADMITTING and step.state.stage is Stage.ASKING:
        step.change(stage=Stage.PERSISTING, partner=step.state.session)
        step.persist(Copy.MEMBER, proposal=step.state.next_proposal)


def persisted_before_swap(step: Step) -> None:
    """Both copies are durable and equal, and operations are held: the swap may make both members."""
    state = step.state
    step.change(stage=Stage.SWAPPING)
    step.propose(primary=state.me, members=state.both)


def refused(step: Step) -> None:
    """The arbiter certainly did not take the swap: serve on; the target keeps up and is sealed anew for the next."""
    step.change(swap=None)
    if not step.state.partner:
        service.want_nothing_there(step)
    elif step.state.resync is not None:
        step.change(resync=attrs.evolve(step.state.resync, paused=True))
        step.set_timer(ev.Timer.ARBITER_RETRY, ARBITER_RETRY_S)
    step.change(partner=0)
    membership.serve_alone(step, "the arbiter did not take the admission")


def try_again(step: Step) -> None:
    """Time for another admission, or for what must come before it: the target says whether."""
    renews = step.state.renewing
    step.change(renewing=False)
    if step.state.resync is not None:
        step.change(resync=attrs.evolve(step.state.resync, paused=False))
    elif renews and step.state.record is not None:
        _offer_copy(step, step.state.record.proposal)


def won(step: Step) -> None:
    """Both are members by the record. Nothing is acknowledged before both have persisted it."""
    # A target that runs anew numbers its proposals anew.
    step.change(stage=Stage.RECORDING, base_epoch=step.state.epoch, taken=0)
    step.persist(Copy.MEMBER)


def recorded(step: Step) -> None:
    """Persisted here: tell the target, or, if it is gone by now, lose it like any member."""
    state = step.state
    step.change(resync=None)
    if not state.partner:
        membership.suspend(step, None, "peer lost during admission")
    elif state.record is not None:
        step.change(stage=Stage.TELLING)
        step.send(msg.Admitted(state.epoch, state.revision, state.record.proposal))


def joined(step: Step) -> None:
    """Persisted there too: mirror from now on."""
    state = step.state
    if state.phase is Phase.ADMITTING and state.stage is Stage.TELLING:
        step.do(act.StopTracking())
        step.move(Phase.MIRRORING, "peer is a member")
        service.advance(step)


def target_lost(step: Step) -> None:
    """The session ended while the peer was no member yet, or not known to be one."""
    state = step.state
    if state.phase is Phase.ALONE:
        service.want_nothing_there(step)
        service.advance(step)
        return
    if state.stage in {Stage.DRAINING, Stage.ASKING, Stage.PERSISTING}:
        service.want_nothing_there(step)
        step.change(partner=0)
        membership.serve_alone(step, "target lost before it was a member")
    elif state.stage is Stage.TELLING:
        membership.suspend(step, None, "peer lost during admission")
    else:
        # What comes back from the arbiter decides; a later session is not with the copy that was sealed.
        step.change(partner=0)


# The target.


def offered(step: Step, message: msg.ResyncStart) -> None:
    """The sole member offers its copy: first everything still running on this disk must end.

    Only by the very record that this node knows, of which its disk is about to say that it follows it. An arbiter that
    answers for a while with what is not this pair's leaves two of one epoch; asked again, it tells who believes which.
    """
    state, record = step.state, step.state.record
    if state.phase is not Phase.OUTDATED or record is None:
        return
    newest = state.persisting or state.metadata
    if message.proposal != record.proposal:
        step.read_record()
    elif newest.in_doubt == state.revision:
        step.send(msg.InDoubt(state.epoch))
    elif newest.counted_alone_since(record.lineage, message.base_epoch):
        membership.keep_apart(step)
    else:
        step.change(stage=Stage.DRAINING)
        prepare(step)


def prepare(step: Step) -> None:
    """Persist that the copy is being overwritten, before the first range is."""
    state = step.state
    if state.phase is Phase.OUTDATED and state.stage is Stage.DRAINING and not state.storing:
        step.change(stage=Stage.PERSISTING)
        # After a failed flush the kernel may show as clean and equal what never reached the medium.
        failed = state.metadata.copy in {Copy.FAILED, Copy.REWRITING}
        step.persist(Copy.REWRITING if failed else Copy.RESYNCING)


def prepared(step: Step) -> None:
    """It is persisted: let the source begin."""
    step.change(last_sequence=0)
    step.move(Phase.RESYNCING, "resync from the sole member")
    step.do(act.SendReady(step.state.epoch, step.state.metadata.synced_epoch))


def resync_base(step: Step, message: msg.ResyncBase) -> None:
    """Whatever is left from now on is marked at the source: an interrupted copy of everything can go on."""
    copy = step.state.metadata.copy
    if copy in {Copy.RESYNCING, Copy.REWRITING}:
        verify.forget(step)
        step.persist(copy, base_epoch=message.base_epoch)


def compare(step: Step, message: msg.Compare) -> None:
    """Compare a range, unless what this disk reads is not to be believed: then it is to be sent."""
    if step.state.metadata.copy is Copy.REWRITING:
        step.send(msg.Compared(message.epoch, message.sequence, equal=False))
    else:
        step.do(act.CompareRange(step.state.sessions, message.sequence, message.offset, message.size, message.digest))


def copy_data(step: Step, message: msg.CopyData) -> None:
    """A range that differed, its data placed. The source holds the range, so nothing else is under way in it."""
    step.change(storing=step.state.storing | {message.sequence})
    step.do(act.StoreMirrored(message.sequence, message.offset, message.size))


def seal(step: Step) -> None:
    """Everything was copied and answered as durable: persist that this copy is whole at the source's epoch.

    It carries the source's records then, and no others.
    """
    if step.state.phase is Phase.RESYNCING and not step.state.storing:
        step.do(act.ReplaceRecords())
        step.change(stage=Stage.PERSISTING, unsettled=(), refused=frozenset())
        step.persist(Copy.SEALED)


def seal_persisted(step: Step) -> None:
    """Tell the source. Whether this node is a member is the record's word, not this."""
    step.change(stage=Stage.ASKING)
    step.send(msg.Sealed(step.state.epoch))


def admitted(step: Step, message: msg.Admitted) -> None:
    """The record names both: persist it before acting as a member."""
    state = step.state
    record = state.record
    if state.phase is not Phase.RESYNCING or state.stage is not Stage.ASKING or record is None:
        return
    if message.epoch != record.epoch + 1:
        return
    record = record.succeed(primary=state.peer, members=state.both, proposal=message.proposal)
    step.change(record=record, revision=message.revision, stage=Stage.RECORDING, base_epoch=record.epoch)
    step.persist(Copy.MEMBER)


def admission_persisted(step: Step) -> None:
    """A member from now on."""
    step.do(act.StopTracking())
    step.change(partner=step.state.session)
    step.move(Phase.FOLLOWING, "admitted")
    step.send(msg.Joined(step.state.epoch))
