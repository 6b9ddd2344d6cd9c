"""Every counter in an explored world, and how worlds that differ by nothing but counters are made one.

The core compares counters and counts on from them; it never looks at their size. So each kind is renamed in a way that
keeps all that the core can tell, and all that it will tell of what it counts later:

- Incarnations, proposals and tickets are equal or not. They get the smallest numbers.
- Epochs, with the revisions, and fetches are moved down together: every distance stays.
- Sequences, with the numbers of searches, and sessions keep their order and get the smallest numbers in it. A node's
  next sequence is above all that it gave itself, and the numbers that two nodes give never meet: a disk is drained
  before it is written for another. So it becomes the next above all, unless a secondary would not count on from it but
  from ``last_sequence``: then both keep their places.
- Proposals keep their order, and get the smallest numbers in it.
- The nodes' names are equal or not: the record's primary is called ``a``.
"""

from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import Any, Final, get_args, get_type_hints

import attrs

from ctlha_trio.pair import Metadata, Operation, PairState, Record, actions as act, events as ev, messages as msg
from ctlha_trio.testing._explore.clients import Clients
from ctlha_trio.testing._explore.marks import Marks
from ctlha_trio.testing._explore.parts import Arbiter, ArbiterCall, DiskCall, Inbox, Node, Push, Session
from ctlha_trio.testing._explore.register import Order, Register
from ctlha_trio.wire import KnownRecord


class Space(Enum):
    """What a field counts."""

    WITHIN = auto()
    """No counter itself, but holds some."""
    NAME = auto()
    MEMBERS = auto()
    EPOCH = auto()
    """0 is none, here and below, except for fetches, sessions and the last proposals."""
    SEQUENCE = auto()
    LAST_SEQUENCE = auto()
    NEXT_SEQUENCE = auto()
    FETCHES = auto()
    """Begun by the node that the part belongs to."""
    FETCH = auto()
    """0 is none."""
    PROPOSED = auto()
    """A proposal under way of the node that the part belongs to."""
    TAKEN = auto()
    """One of the other node."""
    PROPOSED_LAST = auto()
    """The last, under way or not."""
    TAKEN_LAST = auto()
    INCARNATION = auto()
    PROPOSAL = auto()
    PROPOSALS = auto()
    """Made by the incarnation of the part."""
    SESSION = auto()
    TICKET = auto()
    DIGEST = auto()
    """Of a range: its value."""


_HINTS: Final = get_type_hints(PairState)
_FLIGHT: Final[type] = get_args(_HINTS["flights"])[0]
_SWAP_ATTEMPT: Final[type] = get_args(_HINTS["swap"])[0]
_MIRRORED: Final[type] = get_args(_HINTS["unsettled"])[0]
_RESYNC: Final[type] = get_args(_HINTS["resync"])[0]
"""Classes that only the state of the core speaks of."""

_EPOCH_ONLY: Final = {"epoch": Space.EPOCH}
_BASED: Final = _EPOCH_ONLY | {"base_epoch": Space.EPOCH}
_SEQUENCED: Final = _EPOCH_ONLY | {"sequence": Space.SEQUENCE}
_RECORDED: Final = _EPOCH_ONLY | {"revision": Space.EPOCH, "proposal": Space.PROPOSAL}
_OPERATED: Final = {"sequence": Space.SEQUENCE, "ticket": Space.TICKET, "operation": Space.WITHIN}

SPACES: Final[dict[type, dict[str, Space]]] = {
    # The core's state.
    PairState: {
        "me": Space.NAME,
        "peer": Space.NAME,
        "incarnation": Space.INCARNATION,
        "metadata": Space.WITHIN,
        "record": Space.WITHIN,
        "revision": Space.EPOCH,
        "asked_at": Space.EPOCH,
        "heard": Space.WITHIN,
        "asked_heard": Space.WITHIN,
        "swap": Space.WITHIN,
        "proposals": Space.PROPOSALS,
        "persisting": Space.WITHIN,
        "session": Space.INCARNATION,
        "sessions": Space.SESSION,
        "standing": Space.WITHIN,
        "partner": Space.INCARNATION,
        "flights": Space.WITHIN,
        "next_sequence": Space.NEXT_SEQUENCE,
        "last_pushed": Space.SEQUENCE,
        "last_sequence": Space.LAST_SEQUENCE,
        "unsettled": Space.WITHIN,
        "refused": Space.SEQUENCE,
        "storing": Space.SEQUENCE,
        "fetches": Space.FETCHES,
        "proposed": Space.PROPOSED_LAST,
        "taken": Space.TAKEN_LAST,
        "settled_wanted": Space.SEQUENCE,
        "settled_asked": Space.SEQUENCE,
        "resync": Space.WITHIN,
        "base_epoch": Space.EPOCH,
    },
    Metadata: {
        "node": Space.NAME,
        "epoch": Space.EPOCH,
        "revision": Space.EPOCH,
        "primary": Space.NAME,
        "members": Space.MEMBERS,
        "base_epoch": Space.EPOCH,
        "proposed": Space.PROPOSAL,
        "in_doubt": Space.EPOCH,
        "heard": Space.WITHIN,
    },
    KnownRecord: _EPOCH_ONLY | {"revision": Space.EPOCH},
    Record: _EPOCH_ONLY | {"primary": Space.NAME, "members": Space.MEMBERS, "proposal": Space.PROPOSAL},
    _SWAP_ATTEMPT: {"expected_revision": Space.EPOCH, "record": Space.WITHIN},
    _FLIGHT: _OPERATED
    | {
        "fetch": Space.FETCH,
        "shows": Space.SEQUENCE,
        "proposal": Space.PROPOSED,
        "taken": Space.TAKEN,
    },
    _MIRRORED: {"sequence": Space.SEQUENCE},
    _RESYNC: {"search": Space.SEQUENCE},
    Operation: {"client": Space.TICKET},
    # Messages.
    msg.Standing: _EPOCH_ONLY | {"revision": Space.EPOCH, "partner": Space.INCARNATION},
    msg.Resumed: _EPOCH_ONLY | {"last_sequence": Space.SEQUENCE},
    msg.MirrorWrite: _SEQUENCED | {"previous": Space.SEQUENCE, "settled": Space.SEQUENCE},
    msg.MirrorRecord: _SEQUENCED | {"previous": Space.SEQUENCE, "settled": Space.SEQUENCE},
    msg.RecordsDiffer: _EPOCH_ONLY,
    msg.MirrorZeroes: _SEQUENCED | {"previous": Space.SEQUENCE, "settled": Space.SEQUENCE},
    msg.Propose: _EPOCH_ONLY | {"number": Space.TAKEN, "operation": Space.WITHIN},
    msg.Assigned: _SEQUENCED | {"number": Space.PROPOSED, "previous": Space.SEQUENCE, "settled": Space.SEQUENCE},
    msg.Completed: _EPOCH_ONLY | {"number": Space.PROPOSED},
    msg.Unexecuted: _EPOCH_ONLY | {"number": Space.PROPOSED},
    msg.Applied: _SEQUENCED,
    msg.PermitRequest: _EPOCH_ONLY,
    msg.Permit: _EPOCH_ONLY,
    msg.SettledAsked: _SEQUENCED,
    msg.Settled: _SEQUENCED,
    msg.ResyncStart: _BASED | {"proposal": Space.PROPOSAL},
    msg.InDoubt: _EPOCH_ONLY,
    msg.ResyncReady: _BASED,
    msg.OwnRange: _EPOCH_ONLY,
    msg.ResyncBase: _BASED,
    msg.Compare: _SEQUENCED | {"digest": Space.DIGEST},
    msg.Compared: _SEQUENCED,
    msg.CopyData: _SEQUENCED,
    msg.Fetch: _SEQUENCED,
    msg.RepairData: _SEQUENCED,
    msg.Damaged: _SEQUENCED,
    msg.Seal: _EPOCH_ONLY,
    msg.Sealed: _EPOCH_ONLY,
    msg.Admitted: _RECORDED,
    msg.Joined: _EPOCH_ONLY,
    msg.HandoverPrepare: _EPOCH_ONLY | {"proposal": Space.PROPOSAL},
    msg.HandoverReady: _EPOCH_ONLY,
    msg.HandoverDone: _RECORDED,
    msg.Refused: _EPOCH_ONLY | {"stale_epoch": Space.EPOCH},
    # Calls and their answers.
    act.StoreWrite: _OPERATED | {"taken": Space.TAKEN},
    act.StoreMirrored: {"sequence": Space.SEQUENCE},
    act.FetchRead: _EPOCH_ONLY
    | {"fetch": Space.FETCH, "ticket": Space.TICKET, "operation": Space.WITHIN}
    | {"taken": Space.TAKEN},
    act.SendCompare: _SEQUENCED,
    act.CompareRange: {"session": Space.SESSION, "sequence": Space.SEQUENCE, "digest": Space.DIGEST},
    act.CompareRecords: {"proposal": Space.PROPOSAL},
    act.Persist: {"metadata": Space.WITHIN},
    act.Track: {"base_epoch": Space.EPOCH},
    act.FindDirty: {"search": Space.SEQUENCE},
    act.Swap: {"expected_revision": Space.EPOCH, "record": Space.WITHIN},
    ev.RecordRead: {"record": Space.WITHIN, "revision": Space.EPOCH},
    ev.Swapped: {"proposal": Space.PROPOSAL, "revision": Space.EPOCH},
    # The parts of the world. A node's ``held`` and ``kept`` count in two ways: they are renamed below.
    Node: {
        "name": Space.NAME,
        "core": Space.WITHIN,
        "metadata": Space.WITHIN,
        "block": Space.TICKET,
        "marks": Space.WITHIN,
        "ordered": Space.WITHIN,
        "disk": Space.WITHIN,
        "calls": Space.WITHIN,
        "fetched": Space.TICKET,
        "permit": Space.EPOCH,
    },
    Marks: {"base_epoch": Space.EPOCH},
    DiskCall: {"call": Space.WITHIN, "data": Space.TICKET},
    ArbiterCall: {"call": Space.WITHIN, "answer": Space.WITHIN},
    Push: {"message": Space.WITHIN, "data": Space.TICKET},
    Session: {"peer": Space.INCARNATION, "messages": Space.WITHIN, "pushes": Space.WITHIN},
    Inbox: {"name": Space.NAME, "sessions": Space.WITHIN},
    Arbiter: {"record": Space.WITHIN, "revision": Space.EPOCH, "past": Space.WITHIN, "late": Space.WITHIN},
    Order: {"value": Space.TICKET, "took_effect": Space.TICKET, "loose": Space.TICKET},
    Register: {"orders": Space.WITHIN, "writes": Space.TICKET, "reads": Space.TICKET},
    Clients: {"block": Space.WITHIN, "counted": Space.TICKET, "abandoned": Space.WITHIN},
}
"""Of every class that holds counters. A field that is not named is none, and an attempt at a handover is left alone."""

Visit = Callable[[Space, Any], Any]


def visit_counters(value: Any, visit: Visit) -> Any:
    """The value with each counter replaced by what ``visit`` makes of it, in an order that depends on nothing else."""
    if isinstance(value, tuple | frozenset):
        return type(value)(visit_counters(each, visit) for each in value)
    changes = {}
    for field, space in SPACES.get(type(value), {}).items():
        old = getattr(value, field)
        new = visit_counters(old, visit) if space is Space.WITHIN else _leaf(space, old, visit)
        if new is not old:
            changes[field] = new
    if isinstance(value, Node):
        held = frozenset(
            (visit(Space.SEQUENCE, sequence), visit(Space.TICKET, ticket)) for sequence, ticket in value.held
        )
        kept = frozenset((visit(Space.TAKEN, number), visit(Space.TICKET, ticket)) for number, ticket in value.kept)
        changes |= {"held": held, "kept": kept}
    return attrs.evolve(value, **changes) if changes else value


def _leaf(space: Space, value: Any, visit: Visit) -> Any:
    if space is Space.MEMBERS:
        return tuple(sorted(visit(Space.NAME, name) for name in value))
    if isinstance(value, tuple | frozenset):
        return type(value)(_leaf(space, each, visit) for each in value)
    return visit(space, value)


def proposal_parts(proposal: str) -> tuple[int, int] | None:
    """The incarnation and the number that the core put into the proposal; None for one that no core made."""
    return None if proposal == "init" else (int(proposal[:16], 16), int(proposal[16:], 16))


Counters = tuple[tuple[Space, Any], ...]
"""Of one part, each once, in the order in which they are met."""


def counters_of(part: Any) -> Counters:
    """Every counter in a part, without names."""
    found: dict[tuple[Space, Any], None] = {}

    def note(space: Space, value: Any) -> Any:
        if space is Space.DIGEST:
            space, value = Space.TICKET, int.from_bytes(value, "big")
        if space is Space.PROPOSAL:
            value = proposal_parts(value)
        if space is Space.PROPOSALS:
            value = part.core.incarnation, value
        if space is not Space.NAME and value is not None:
            found[space, value] = None
        return value

    visit_counters(part, _quiet(note))
    return tuple(found)


def _quiet(note: Callable[[Space, Any], Any]) -> Visit:
    def visit(space: Space, value: Any) -> Any:
        note(space, value)
        return value

    return visit


def ranks(values: Iterable[int], first: int) -> dict[int, int]:
    """The smallest numbers in the same order."""
    return {value: rank for rank, value in enumerate(sorted(set(values)), first)}
