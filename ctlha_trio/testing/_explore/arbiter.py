"""The arbiter of an explored world: what may become of the oldest call of a node, and of swaps that nobody waits for.

A call is executed at one moment and answered at a later one. A read changes nothing, so that when it was executed
matters only if the record changes before it is answered: then it was executed just before the change, or not yet. A
swap that is lost stays lost: it is executed when it is answered.
"""

from collections.abc import Iterator

import attrs

from ctlha_trio.pair import SwapOutcome, actions as act, events as ev
from ctlha_trio.testing._explore.parts import Arbiter, ArbiterCall, Node


@attrs.frozen
class Progress:
    """Of a call: answered, or executed without an answer."""

    arbiter: Arbiter
    answer: ev.RecordRead | ev.ReadFailed | ev.Swapped | None = None
    spends: str = ""
    """What of the bound it takes."""
    records: bool = False
    """The record has changed."""


def advance_call(arbiter: Arbiter, call: ArbiterCall) -> Iterator[Progress]:
    """All that may happen to it next."""
    made, answer = call.call, call.answer
    if isinstance(made, act.ReadRecord):
        # Whatever it is asked for, it takes changes: one that does not is one that does later.
        yield Progress(arbiter, answer or ev.RecordRead(arbiter.record, arbiter.revision, takes_changes=True))
        if answer is None:
            yield Progress(arbiter, ev.ReadFailed(), "refusals")
        return
    proposal = made.record.proposal
    unknown = ev.Swapped(proposal, SwapOutcome.UNKNOWN)
    if answer is not None:
        yield Progress(arbiter, answer)
        yield Progress(arbiter, unknown, "lost_replies")
        return
    yield Progress(arbiter, ev.Swapped(proposal, SwapOutcome.REFUSED), "refusals")
    if made.expected_revision == arbiter.revision:
        yield Progress(apply(arbiter, made), records=True)
        yield Progress(attrs.evolve(arbiter, late=arbiter.late | {made}), unknown, "lost_replies")
    else:
        yield Progress(arbiter, ev.Swapped(proposal, SwapOutcome.LOST))
        yield Progress(arbiter, unknown, "lost_replies")


def apply(arbiter: Arbiter, swap: act.Swap) -> Arbiter:
    """The record after a swap whose revision is the record's. No swap on an older revision can be applied any more."""
    revision = arbiter.revision + 1
    return Arbiter(
        swap.record,
        revision,
        (*arbiter.past, arbiter.record),
        frozenset(late for late in arbiter.late if late.expected_revision == revision),
    )


def won(call: ArbiterCall, arbiter: Arbiter) -> ArbiterCall:
    """A swap that has just been applied, with the answer that is on its way."""
    assert isinstance(call.call, act.Swap)
    return ArbiterCall(call.call, ev.Swapped(call.call.record.proposal, SwapOutcome.WON, arbiter.revision))


def leave_behind(arbiter: Arbiter, swaps: tuple[act.Swap, ...]) -> Arbiter:
    """Swaps of a process that ended are on their way, those that can still be applied."""
    possible = {swap for swap in swaps if swap.expected_revision == arbiter.revision}
    return attrs.evolve(arbiter, late=arbiter.late | possible)


def executed_before(node: Node, arbiter: Arbiter) -> Iterator[Node]:
    """A node whose oldest call may have been executed just before the record changes from this one."""
    yield node
    if node.calls and isinstance(node.calls[0].call, act.ReadRecord) and node.calls[0].answer is None:
        yield executed(node, arbiter)


def executed(node: Node, arbiter: Arbiter) -> Node:
    """A node whose oldest call, which reads the record, is executed."""
    oldest, *later = node.calls
    read = ArbiterCall(oldest.call, ev.RecordRead(arbiter.record, arbiter.revision))
    return attrs.evolve(node, calls=(read, *later))


def has_news(node: Node, arbiter: Arbiter) -> bool:
    """Whether a read of the record can change the node, beside that it was read."""
    core = node.core
    assert core is not None
    in_doubt = core.swap is not None and not core.swap.calling
    return not core.reading and (core.revision != arbiter.revision or in_doubt)
