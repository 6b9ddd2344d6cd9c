"""What a core keeps but never looks at again: replaced by one value, so that worlds which differ by it alone are one.

Each rule names where the core reads the field. That the rules hold is not believed but tested: what is reached without
them is, made plain, exactly what is reached with them.
"""

from typing import Final

import attrs

from ctlha_trio.pair import (
    Copy,
    Metadata,
    OperationKind,
    PairState,
    Phase,
    Stage,
    actions as act,
    events as ev,
    messages as msg,
)
from ctlha_trio.testing._explore.parts import ArbiterCall, Inbox, Node

_PAIRED: Final = frozenset({Phase.MIRRORING, Phase.HANDING_OVER, Phase.FOLLOWING, Phase.SUSPENDED})
_ALIKE: Final = dict.fromkeys((Phase.BOOTING, Phase.SECURING, Phase.ADMITTING, Phase.RESYNCING), Phase.ALONE)
"""Phases of the peer that no rule tells apart."""
_PUSHES: Final = frozenset({Phase.ADMITTING, Phase.MIRRORING, Phase.HANDING_OVER})
_LEADS: Final = frozenset({Phase.ALONE, Phase.ADMITTING, Phase.MIRRORING, Phase.HANDING_OVER})
_TAKES_NOTHING: Final = _LEADS | {Phase.WAITING, Phase.OUTDATED}
"""``last_sequence`` begins anew before the next write of a peer is taken."""
_UNMOVED: Final = frozenset(
    {Phase.WAITING, Phase.CLAIMING, Phase.SECURING, Phase.ALONE, Phase.ADMITTING, Phase.OUTDATED}
)
"""Phases in which most of what the peer says of itself leads to nothing, nor will in any that may follow on them."""
_LOSES: Final = frozenset({Phase.FOLLOWING, Phase.MIRRORING})
"""Phases that come after those in the same session. A node hears in them that it has lost its peer."""
_LEADS_NOWHERE: Final = _UNMOVED | _LOSES | {Phase.RESYNCING}
_SAYS_NOTHING: Final = frozenset({Phase.SUSPENDED, Phase.CLAIMING, Phase.ALONE})
"""Phases of the peer, or of all that are like them, for a node in one of those."""
_SAYS_NOTHING_OF_BEFORE: Final = _SAYS_NOTHING | {
    Phase.MIRRORING,
    Phase.HANDING_OVER,
    Phase.FOLLOWING,
    Phase.OUTDATED,
}
"""The same, once the node's own epoch is a later one."""


def plain_core(core: PairState) -> PairState:
    """The state without what decides nothing."""
    return attrs.evolve(
        core,
        metadata=_plain_metadata(core.metadata),
        persisting=None if core.persisting is None else _plain_metadata(core.persisting),
        why="",
        # Whoever waits until the arbiter answers, and takes changes, is in no other state than before.
        arbiter_answers=True,
        untaken=0,
        # It does before it is asked for what else waits for that.
        proved=True,
        # An arbiter that never goes back is never found to have done so.
        asked_at=(0, 0),
        standing=None if core.standing is None else _plain_standing(core.standing, core.epoch),
        last_pushed=core.last_pushed if _pushes(core) else 0,
        # Whoever comes to serve counts on from the larger of the two.
        next_sequence=max(core.next_sequence, core.last_sequence + 1),
        last_sequence=0 if core.phase in _TAKES_NOTHING else core.last_sequence,
    )


def _plain_metadata(metadata: Metadata) -> Metadata:
    """``synced_epoch``, which alone reads the base, does not look at that of one of two members."""
    unread = metadata.copy is Copy.MEMBER and len(metadata.members) > 1
    return attrs.evolve(metadata, base_epoch=0) if unread else metadata


def _pushes(core: PairState) -> bool:
    """A node that comes to push begins with what its peer says that it has, or with nothing."""
    return core.phase in _PUSHES or (core.phase is Phase.ALONE and core.resync is not None)


def plain_message(message: msg.Message) -> msg.Message:
    """The message without what its receiver does not read."""
    if isinstance(message, msg.Standing):
        return _plain_standing(message, 0)
    if isinstance(message, msg.Refused):
        return attrs.evolve(message, stale_epoch=0)
    return message


def _plain_standing(standing: msg.Standing, epoch: int) -> msg.Standing:
    """A standing of an earlier epoch is only known to be earlier; who is not paired has no partner that counts."""
    phase = _ALIKE.get(standing.phase, standing.phase)
    behind = standing.epoch < epoch
    partner = standing.partner if phase in _PAIRED and not behind else 0
    return msg.Standing(0 if behind else standing.epoch, 0, phase, partner)


def plain_node(node: Node) -> Node:
    """The node without what its driver will not be asked for."""
    core = node.core
    node = attrs.evolve(node, metadata=_plain_metadata(node.metadata))
    if core is None:
        return node
    waiting = {f.sequence for f in core.flights if f.operation.kind is OperationKind.COPY and not f.here}
    calls = tuple(each for each in node.calls if not _teaches_nothing(core, each))
    reading = any(isinstance(each.call, act.ReadRecord) for each in calls)
    waits = core.renewing if core.resync is None else core.resync.paused
    retries = core.phase is Phase.ALONE and waits
    return attrs.evolve(
        node,
        core=attrs.evolve(plain_core(core), reading=reading),
        calls=calls,
        # Whether a write was begun while all were marked is asked when it ends, and the block is marked by now.
        disk=frozenset(attrs.evolve(each, tracked=False) for each in node.disk) if node.marks.dirty else node.disk,
        # Else its end asks for the record and does nothing more.
        timers=node.timers if retries else node.timers - {ev.Timer.ARBITER_RETRY},
        held=frozenset(each for each in node.held if each[0] in waiting),
        # What a search finds is taken only by the resync that waits for it.
        ordered=tuple(
            act.Persist(_plain_metadata(each.metadata)) if isinstance(each, act.Persist) else each
            for each in node.ordered
            if not isinstance(each, act.FindDirty) or (core.resync is not None and core.resync.search == each.search)
        ),
    )


def _teaches_nothing(core: PairState, call: ArbiterCall) -> bool:
    """A read that a poll can take the place of at any time, or that found what leads to nothing when it is answered.

    ``_resolve`` does not look at one that is answered before the swap behind it, nor at the same record before a claim
    is persisted; without a swap the same record, or an older one, is none to act on.
    """
    if not isinstance(call.call, act.ReadRecord):
        return False
    if not isinstance(call.answer, ev.RecordRead) or (core.swap is not None and core.swap.calling):
        return True
    in_doubt = core.swap is not None and core.stage is not Stage.PERSISTING
    return call.answer.revision < core.revision + (not in_doubt)


def plain_hearing(node: Node, inbox: Inbox, *, refusals: int) -> tuple[Node, Inbox]:
    """Without what leads to nothing when it is heard: refusals that teach no later epoch, words of the peer on itself.

    Of those the last that it has heard, and the next that it will hear: behind one that does not lead to nothing, one
    that does still takes its place. ``refusals`` of the arbiter may still come: only after one does a claim end in what
    was before it.
    """
    core = node.core
    if core is None:
        return node, inbox
    inbox = _without_refusals(core, inbox)
    if core.phase not in _LEADS_NOWHERE or (core.phase is Phase.CLAIMING and core.partner and refusals):
        return node, inbox
    if core.standing is not None:
        if not _leads_nowhere(core, core.standing, refusals):
            return node, inbox
        node = attrs.evolve(node, core=attrs.evolve(core, standing=None))
    return node, _without_standings(core, inbox, refusals) if core.phase not in _LOSES else inbox


def _without_standings(core: PairState, inbox: Inbox, refusals: int) -> Inbox:
    if not inbox.sessions:
        return inbox
    session, *later = inbox.sessions
    if session.peer and core.phase is Phase.ADMITTING:
        # When it hears that this session begins, it may have lost the one before like any member.
        return inbox
    messages = session.messages
    while messages and isinstance(messages[0], msg.Standing) and _leads_nowhere(core, messages[0], refusals):
        messages = messages[1:]
    if len(messages) == len(session.messages):
        return inbox
    return attrs.evolve(inbox, sessions=(attrs.evolve(session, messages=messages), *later))


def _without_refusals(core: PairState, inbox: Inbox) -> Inbox:
    """A node asks for the record if its peer knows of a later epoch than it does itself."""
    if not any(_refuses_nothing(core, message) for session in inbox.sessions for message in session.messages):
        return inbox
    sessions = (
        attrs.evolve(session, messages=tuple(each for each in session.messages if not _refuses_nothing(core, each)))
        for session in inbox.sessions
    )
    return attrs.evolve(inbox, sessions=tuple(sessions))


def _refuses_nothing(core: PairState, message: msg.Message) -> bool:
    return isinstance(message, msg.Refused) and message.epoch <= core.epoch


def _leads_nowhere(core: PairState, standing: msg.Standing, refusals: int) -> bool:
    """Whether it changes nothing at this node but what is known of the peer, and nobody looks at that.

    A node that waits looks for a peer that waits, has left or is outdated in its own epoch (``_waiting``), a sole
    member for one that is outdated in its own (``offer``), a primary for one that follows (``can_hand_over``);
    ``displaced`` and ``standing`` look for a later epoch. Each epoch that a node comes to is later than the one before
    it, and one that has been a member loses its session, with all that was heard in it, or hears what makes it move,
    before it looks for a peer that resumes (``_suspended``, ``resume``). A forced node whose swap is refused is what it
    was, in the same epoch.
    """
    if standing.epoch > core.epoch:
        return False
    phase = _ALIKE.get(standing.phase, standing.phase)
    if core.phase not in _UNMOVED:
        return phase is Phase.ALONE
    moves_on = core.phase is Phase.CLAIMING and not (core.forcing and refusals)
    before = standing.epoch < core.epoch or moves_on
    return phase in (_SAYS_NOTHING_OF_BEFORE if before else _SAYS_NOTHING)
