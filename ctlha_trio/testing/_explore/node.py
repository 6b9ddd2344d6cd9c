"""One node of an explored world: what its driver does, as pure functions from a node to what it may become."""

from collections.abc import Iterator
from typing import Any, Final, assert_never

import attrs

from ctlha_trio.pair import (
    MEMBERS,
    Copy,
    OperationKind,
    Outcome,
    PairState,
    Phase,
    Stage,
    actions as act,
    boot,
    events as ev,
    messages as msg,
    step_pair,
)
from ctlha_trio.testing._core.invariants import ACKNOWLEDGING, OVERWRITTEN, follows_on
from ctlha_trio.testing._explore.marks import carried_out, parts_carried_out
from ctlha_trio.testing._explore.parts import BLOCK_BYTES, ArbiterCall, DiskCall, Node, Push
from ctlha_trio.testing._explore.renaming import digest_of

_WRITES: Final = (act.StoreWrite, act.StoreMirrored)
_OF_OPERATIONS: Final = (
    ev.Submitted, ev.Stored, ev.Fetched, ev.RangeCompared,
    msg.Propose, msg.Assigned, msg.Completed, msg.Unexecuted,
    msg.MirrorWrite, msg.Applied, msg.PermitRequest, msg.SettledAsked, msg.Settled, msg.Compare, msg.Compared,
)  # fmt: skip


@attrs.frozen
class Said:
    """For the peer, if the session is still live."""

    what: msg.Message | Push


@attrs.frozen
class Told:
    """For a client: the operation's ticket and, if it is done, the value that it wrote or read."""

    ticket: int
    outcome: Outcome
    value: int


Output = Said | Told


@attrs.frozen
class Taken:
    """What an event led to. With a ``problem``, the rest is what was done until it showed."""

    node: Node
    outputs: tuple[Output, ...] = ()
    problem: str = ""


def start(node: Node, incarnation: int) -> Node:
    """A process on what the disk holds."""
    core, first = boot(
        me=node.name,
        peer="b" if node.name == "a" else "a",
        incarnation=incarnation,
        size_bytes=BLOCK_BYTES,
        metadata=node.metadata,
        marked_from=node.marks.base_epoch or None,
    )
    started = attrs.evolve(node, core=core)
    for action in first:
        started = _carry_out(started, action, 0, [])
    return started


def ends_of_crash(node: Node) -> Iterator[tuple[Node, tuple[act.Swap, ...]]]:
    """Whatever may be on the disk of a process that ends, and the swaps that are on their way."""
    swaps = tuple(each.call for each in node.calls if isinstance(each.call, act.Swap) and each.answer is None)
    values = {each.data for each in node.disk if isinstance(each.call, _WRITES)}
    ends: dict[Node, None] = {}
    for metadata, marks in parts_carried_out(node.metadata, node.marks, node.ordered):
        marked = marks.mark(metadata.epoch)
        unmarked = marks.settle()
        for value in sorted(values):
            ends[Node(name=node.name, metadata=metadata, block=value, marks=marked)] = None
        listed = node.written and may_differ(node)
        if not listed:
            ends[Node(name=node.name, metadata=metadata, block=node.block, marks=unmarked)] = None
        if listed or marks.cleared or node.written or values:
            ends[Node(name=node.name, metadata=metadata, block=node.block, marks=marked)] = None
    for end in ends:
        yield end, swaps


def may_differ(node: Node) -> bool:
    """Whether the core holds the block for possibly different, or has ordered that it is marked so."""
    ordered = any(isinstance(each, act.Track | act.MarkDirty) and each.ranges for each in node.ordered)
    return ordered or (node.core is not None and bool(node.core.may_differ))


def feed(node: Node, event: ev.Event, data: int = 0) -> Taken:
    """Let the core take an event, and carry out what it orders. ``data`` was placed before a push was heard."""
    before = node.core
    assert before is not None
    if isinstance(event, ev.Received) and isinstance(event.message, msg.Standing):
        # What is said again is another message, even if it says the same.
        event = ev.Received(attrs.evolve(event.message))
    try:
        core, ordered = step_pair(before, event)
        _check_step(node, before, core, event, ordered)
        return _carried_out(node, before, core, event, ordered, data)
    except Exception as error:
        text = str(error) if isinstance(error, AssertionError) else repr(error)
        return Taken(node, (), text)


def _carried_out(  # noqa: PLR0917 (what one step of the core was and did)
    node: Node, before: PairState, core: PairState, event: ev.Event, ordered: tuple[act.Action, ...], data: int
) -> Taken:
    outputs: list[Output] = []
    copied = isinstance(event, ev.Received) and isinstance(event.message, msg.CopyData)
    after = attrs.evolve(node, core=core)
    if isinstance(event, ev.SessionLost):
        # Of a range read for a comparison that nobody can be asked for any more, nothing comes.
        disk = frozenset(each for each in after.disk if not isinstance(each.call, act.SendCompare))
        after = attrs.evolve(after, disk=disk, held=frozenset(), permit=0)
    if isinstance(event, ev.Received) and isinstance(event.message, msg.Propose):
        known = dict(after.kept)
        after = attrs.evolve(after, kept=frozenset((known | {event.message.number: data}).items()))
    for action in ordered:
        if isinstance(action, act.StoreMirrored) and copied and node.metadata.copy not in OVERWRITTEN:
            raise AssertionError(f"I4: {node.name} is overwritten before it has persisted that it will be")
        if isinstance(action, act.Answer):
            _check_answer(after, before, core, action)
        after = _carry_out(after, action, data, outputs)
    open_tickets = {flight.ticket for flight in core.flights if not flight.answered}
    fetched = frozenset(each for each in after.fetched if each[0] in open_tickets)
    timers = frozenset(each for each in after.timers if each is ev.Timer.RECORD_POLL or _matters(core, each))
    # A permit of another epoch is looked for by no read, and what is read for one that began anew is taken by none.
    permit = after.permit if after.permit == core.epoch else 0
    taken = {flight.taken for flight in core.flights}
    kept = frozenset(each for each in after.kept if each[0] in taken)
    fetches = {flight.fetch for flight in core.flights}
    disk = frozenset(
        each for each in after.disk if not isinstance(each.call, act.FetchRead) or each.call.fetch in fetches
    )
    return Taken(
        attrs.evolve(after, fetched=fetched, timers=timers, permit=permit, disk=disk, kept=kept), tuple(outputs)
    )


def _matters(core: PairState, timer: ev.Timer) -> bool:
    """Whether its end would change anything now. If not, it is as good as ended: who waits for it sets it anew."""
    after, ordered = step_pair(core, ev.TimerFired(timer))
    return after != core or bool(ordered)


# The driver.


def _carry_out(node: Node, action: act.Action, data: int, outputs: list[Output]) -> Node:  # noqa: PLR0912 (one each)
    match action:
        case act.Send(message=msg.Standing() as standing):
            # Of the record it tells what helps against an arbiter that goes back, and this one never does.
            outputs.append(Said(attrs.evolve(standing, lineage="", leads=False)))
        case act.Send():
            outputs.append(Said(action.message))
        case act.PushWrite(operation=operation):
            write = msg.MirrorWrite(
                action.epoch, action.sequence, action.previous, action.settled, operation.offset, operation.size
            )
            outputs.append(Said(Push(write, action.ticket)))
        case act.PushProposal():
            propose = msg.Propose(action.epoch, action.number, action.operation, 1)
            outputs.append(Said(Push(propose, action.ticket)))
        case act.PushAssigned() | act.PushReady():
            outputs.append(Said(Push(action.message, 0)))
        case act.PushCopy():
            copy = msg.CopyData(action.epoch, action.sequence, action.offset, action.size)
            outputs.append(Said(Push(copy, dict(node.held)[action.sequence])))
            return attrs.evolve(node, held=frozenset())
        case act.StoreWrite():
            return _begin(node, DiskCall(action, dict(node.kept)[action.taken] if action.taken else action.ticket))
        case act.StoreMirrored():
            return _begin(node, DiskCall(action, data))
        case act.StoreZeroes() | act.StoreRecord() | act.StoreMirroredRecord() | act.VerificationEnded():
            raise AssertionError("nobody asks for that here")
        case act.PushSeal():
            outputs.append(Said(Push(msg.Seal(action.epoch, 0), 0)))
        case act.SendPrepare():
            outputs.append(Said(msg.HandoverPrepare(action.epoch, action.attempt, action.proposal, b"")))
        case act.CompareRecords() | act.FetchRead() | act.SendCompare() | act.CompareRange():
            return _begin(node, DiskCall(action))
        case act.Persist() | act.Track() | act.MarkDirty() | act.FindDirty() | act.StopTracking():
            return attrs.evolve(node, ordered=(*node.ordered, action))
        case act.ClearDirty():
            return attrs.evolve(node, marks=node.marks.clear())
        case act.SendReady():
            if node.marks.dirty:
                outputs.append(Said(msg.OwnRange(action.epoch, 0, BLOCK_BYTES)))
            outputs.append(Said(msg.ResyncReady(action.epoch, action.base_epoch)))
        case act.ReadRecord():  # what else is to be proved decides nothing
            return attrs.evolve(node, calls=(*node.calls, ArbiterCall(act.ReadRecord())))
        case act.Swap():
            return attrs.evolve(node, calls=(*node.calls, ArbiterCall(action)))
        case act.SetTimer():
            return attrs.evolve(node, timers=node.timers | {action.timer})
        case act.CancelTimer():
            return attrs.evolve(node, timers=node.timers - {action.timer})
        case act.Answer():
            outputs.append(Told(action.ticket, action.outcome, dict(node.fetched).get(action.ticket, action.ticket)))
        case act.Goodbye() | act.DropSession():
            raise AssertionError(f"I15: {node.name} leaves without cause: {action.reason}")
        case act.CondemnCopy() | act.StoreRepair() | act.PushRange() | act.ReportMediumError() | act.CheckRoom():
            raise AssertionError("no disk fails here or is full, and no block is damaged")
        case act.ReplaceRecords() | act.Moved() | act.HandoverEnded() | act.ForceEnded():
            pass  # there are no records, and nobody is told
        case _:
            assert_never(action)
    return node


def _begin(node: Node, call: DiskCall) -> Node:
    if call.data and any(other.data for other in node.disk):
        raise AssertionError(f"{node.name} writes a block twice at once: {call.call} and another")
    call = attrs.evolve(call, tracked=bool(call.data) and node.marks.tracking)
    return attrs.evolve(node, disk=node.disk | {call})


def end_ordered(node: Node) -> Taken:
    """The oldest order of those that keep their order is durable, or was searched."""
    order, *rest = node.ordered
    old = node.metadata
    metadata, marks = carried_out(old, node.marks, order)
    if metadata.epoch < old.epoch or metadata.revision < old.revision:
        return Taken(node, (), f"I6: {node.name} persists epoch {metadata.epoch} over {old.epoch}")
    after = attrs.evolve(node, metadata=metadata, marks=marks, ordered=tuple(rest))
    match order:
        case act.Persist():
            return feed(after, ev.Persisted(metadata))
        case act.FindDirty():
            found = ((0, BLOCK_BYTES),) if marks.dirty and not order.offset else ()
            return feed(after, ev.DirtyFound(order.search, found))
        case _:
            return Taken(after)


def end_disk_call(node: Node, ended: DiskCall) -> Taken:
    """One of the calls under way ends."""
    node = attrs.evolve(node, disk=node.disk - {ended})
    if ended.data:
        tracked = ended.tracked and node.marks.tracking
        marks = node.marks.mark(node.metadata.epoch) if tracked else node.marks.settle()
        node = attrs.evolve(node, block=ended.data, marks=marks, written=True)
    match ended.call:
        case act.StoreWrite() | act.StoreMirrored() as call:
            return feed(node, ev.Stored(call.sequence))
        case act.FetchRead() as call:
            others = {each for each in node.fetched if each[0] != call.ticket}
            fetched = frozenset(others | {(call.ticket, node.block)})
            return feed(attrs.evolve(node, fetched=fetched), ev.Fetched(call.fetch))
        case act.SendCompare() as call:
            compare = msg.Compare(call.epoch, call.sequence, call.offset, call.size, digest_of(node.block))
            return Taken(attrs.evolve(node, held=frozenset({(call.sequence, node.block)})), (Said(compare),))
        case act.CompareRange() as call:
            equal = digest_of(node.block) == call.digest
            return feed(node, ev.RangeCompared(call.session, call.sequence, equal))
        case act.CompareRecords() as call:
            return feed(node, ev.RecordsCompared(call.attempt, call.proposal, equal=True))
        case _:
            assert_never(ended.call)


def may_end(node: Node, call: DiskCall) -> bool:
    """Whether it is no read that waits for a permit.

    Nothing is written where a read is under way, so it is the same whether it looks for its permit before or after.
    """
    return not isinstance(call.call, act.FetchRead) or call.call.epoch in {0, node.permit}


def grant(holder: Node, granter: Node) -> tuple[Node, Taken] | None:
    """One node asks for a permit and the other grants it: what becomes of the two; None if it does not."""
    core = holder.core
    if core is None or granter.core is None or core.phase not in MEMBERS or holder.permit == core.epoch:
        return None
    granted = feed(granter, ev.Received(msg.PermitRequest(core.epoch, 0)))
    if not any(isinstance(each, Said) and isinstance(each.what, msg.Permit) for each in granted.outputs):
        return None
    return attrs.evolve(holder, permit=core.epoch), attrs.evolve(granted, outputs=())


def waits_for_permits(node: Node) -> bool:
    """Whether only the permits that it has granted keep it from serving."""
    core = node.core
    return core is not None and core.phase is Phase.SECURING and core.stage is Stage.DRAINING and not core.storing


def reads(node: Node) -> bool:
    """Whether a client waits for a read."""
    return node.core is not None and any(f.operation.kind is OperationKind.READ for f in node.core.flights)


def fire(node: Node, timer: ev.Timer) -> Taken:
    """A timer ran out."""
    return feed(attrs.evolve(node, timers=node.timers - {timer}), ev.TimerFired(timer))


def hear_answer(node: Node, answer: ev.Event) -> Taken:
    """The oldest call at the arbiter is answered."""
    return feed(attrs.evolve(node, calls=node.calls[1:]), answer)


# What is demanded of every step.


def _check_step(
    node: Node, before: PairState, core: PairState, event: ev.Event, ordered: tuple[act.Action, ...]
) -> None:
    durable = node.metadata
    if core.epoch < max(before.epoch, durable.epoch if core.record else 0) or core.revision < before.revision:
        raise AssertionError(
            f"I6: {node.name} went back from epoch {before.epoch}, durable {durable.epoch}, to {core.epoch}"
        )
    _check_force(node, before, core)
    happened: Any = event.message if isinstance(event, ev.Received) else event
    if isinstance(happened, _OF_OPERATIONS):
        for action in ordered:
            if isinstance(action, act.Swap | act.ReadRecord):
                raise AssertionError(f"I11: {event} leads to {action}")


def _check_force(node: Node, before: PairState, core: PairState) -> None:
    """What a person forces begins at a node that hears nobody, and goes no further than what that person was shown."""
    if core.forcing and not before.forcing and before.session:
        raise AssertionError(f"{node.name} is forced although it hears {core.peer}")
    was, tries = before.swap, core.swap
    if before.forcing and core.forcing and was and tries and tries.expected_revision != was.expected_revision:
        raise AssertionError(f"{node.name} is forced on a record that nobody was shown: {core.record}")


def _check_answer(node: Node, before: PairState, core: PairState, answer: act.Answer) -> None:
    if answer.outcome is Outcome.FAILED:
        raise AssertionError(f"operation {answer.ticket} failed, although no rule says so")
    if answer.outcome is not Outcome.DONE:
        return
    is_read = any(f.ticket == answer.ticket and f.operation.kind is OperationKind.READ for f in before.flights)
    follows = follows_on(before, core)
    if not follows and not {before.phase, core.phase} & ACKNOWLEDGING:
        raise AssertionError(f"I8: {node.name} acknowledged as {core.phase.name}")
    record = core.record
    wrong = record is None or (not is_read and follows is (record.primary == node.name))
    if record is None or wrong or node.name not in record.members:
        raise AssertionError(f"I1, I4: {node.name} acknowledged, and the record that it acts on is {record}")
    if not is_read and node.metadata.epoch != record.epoch:
        raise AssertionError(
            f"I6: {node.name} acknowledged in epoch {record.epoch}, but has persisted {node.metadata.epoch}"
        )


def copy_is_whole(node: Node) -> bool:
    """Whether the disk says so."""
    return node.metadata.copy not in OVERWRITTEN | {Copy.FAILED}
