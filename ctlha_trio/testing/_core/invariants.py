"""What must be true of the pair, by the numbers of the protocol's invariants, and the moments at which each is checked.

=== ======================================================================== ==========================================
I1  One node at most acknowledges in an epoch: the primary of its record.     every operation that is answered as done
I2  An acknowledged write is on every member of the arbiter's record.         every such write, every new record
I3  A read returns the last acknowledged value, or a concurrent one.          every read that is answered (the history)
    Under a permit, nothing is acknowledged without the reader.               every read under a permit
I4  Who is no member serves nothing and is not promoted.                      every operation done, every new record
I5  What is not marked, and not being written, is equal on source and target. every search for what is left to copy
I6  Neither epoch nor revision goes back, in the state or on the disk.        every step, every persist
I7  After a resync both copies are equal.                                     the record that admits, every heal
I8  Nothing is acknowledged after the role was lost.                          every operation that is answered as done
I10 ``protected`` means that one crash loses nothing.                         every crash
I11 The arbiter is not called for a write, a read or a flush.                 every step that belongs to one
I12 A healthy core serves in bounded time, and ends what it was asked for.    every heal, ``trials``
I14 Queues stay within their limits.                                          every step
I15 Where both copies are bad, the nodes halt and say why.                    ``trials``, every node that ends
=== ======================================================================== ==========================================

I9 (no DMA after the death of a key) and I13 (reservations) concern parts that the core does not have.
"""

from typing import Final

import attrs

from ctlha_trio.ha import judge
from ctlha_trio.pair import (
    COPIES_AT_ONCE,
    FLIGHTS_LIMIT,
    Copy,
    OperationKind,
    Outcome,
    PairState,
    Phase,
    Record,
    actions as act,
    events as ev,
    messages as msg,
)
from ctlha_trio.testing._core.arbiter import SimulatedArbiter
from ctlha_trio.testing._core.clients import SimulatedClients
from ctlha_trio.testing._core.false_record import FALSIFIED
from ctlha_trio.testing._core.node import BLOCK_BYTES, SimulatedNode, blocks_of

ACKNOWLEDGING: Final = frozenset({Phase.ALONE, Phase.ADMITTING, Phase.MIRRORING, Phase.HANDING_OVER, Phase.FOLLOWING})
"""Phases in which what was started is completed."""
_SERVES_ALONE: Final = frozenset({Phase.ALONE, Phase.ADMITTING})
OVERWRITTEN: Final = frozenset({Copy.RESYNCING, Copy.REWRITING})
"""What is durable on a node while its copy is neither old nor new."""
CALLS_MAX: Final = 4
"""Of one node at the arbiter: a read, a swap, and the same of a role that was lost meanwhile."""
DISK_CALLS_MAX: Final = 64
"""Of one node: far above what the clients of two nodes can have under way, with metadata and one range of a resync."""

_OF_OPERATIONS: Final = frozenset(
    {ev.Submitted, ev.Stored, ev.Fetched, ev.RangeCompared}
    | {
        msg.MirrorWrite,
        msg.Applied,
        msg.SettledAsked,
        msg.Settled,
        msg.PermitRequest,
        msg.Propose,
        msg.Assigned,
        msg.Completed,
        msg.Compare,
        msg.Compared,
    }
)
"""Events, and messages heard, that belong to operations."""


@attrs.define(eq=False)
class Invariants:
    """``AssertionError``, with the invariant's number, from the check that finds it broken."""

    arbiter: SimulatedArbiter
    nodes: dict[str, SimulatedNode]
    clients: SimulatedClients
    records: dict[int, Record] = attrs.field(init=False)
    """Every record of the pair, by epoch."""
    shown: dict[str, int] = attrs.field(factory=dict, init=False)
    """By node: the revision of the record that a person saw who forced it last."""

    def __attrs_post_init__(self) -> None:
        """The pair begins with the arbiter's first record."""
        self.records = {self.arbiter.record.epoch: self.arbiter.record}

    def stepped(
        self, node: SimulatedNode, before: PairState, after: PairState, event: ev.Event, ordered: tuple[act.Action, ...]
    ) -> None:
        """A core took an event and gave orders, which have not been carried out."""
        if after.record is not before.record:
            self._check_never_back(node, before, after)
        kind = type(event.message if isinstance(event, ev.Received) else event)
        if kind in _OF_OPERATIONS:
            for action in ordered:
                if isinstance(action, act.Swap | act.ReadRecord):
                    raise AssertionError(f"I11: {event} leads to {action}")
        within = (
            len(after.flights) <= FLIGHTS_LIMIT
            and len(node.calls) <= CALLS_MAX
            and len(node.disk) <= DISK_CALLS_MAX
            and len(node.held) <= COPIES_AT_ONCE
        )
        if not within:
            raise AssertionError(
                f"I14: {node.name} has {len(after.flights)} operations, {len(node.calls)} arbiter calls, "
                f"{len(node.disk)} disk calls and {len(node.held)} ranges under way"
            )

    def _check_never_back(self, node: SimulatedNode, before: PairState, after: PairState) -> None:
        if after.epoch < before.epoch or after.revision < before.revision:
            raise AssertionError(
                f"I6: {node.name} went back from epoch {before.epoch} r{before.revision} "
                f"to {after.epoch} r{after.revision}"
            )
        durable = node.metadata
        if after.phase is not Phase.STOPPED and (after.epoch < durable.epoch or after.revision < durable.revision):
            raise AssertionError(
                f"I6: {node.name} acts on epoch {after.epoch} r{after.revision}, "
                f"but has persisted {durable.epoch} r{durable.revision}"
            )

    def persisted(self, node: SimulatedNode, call: act.Persist) -> None:
        """A node's metadata is about to become this."""
        old, new = node.metadata, call.metadata
        back = new.epoch < old.epoch or new.revision < old.revision
        _demand(not back, f"I6: {node.name} persists {new.epoch} r{new.revision} over {old.epoch} r{old.revision}")
        begun = any(record.lineage == new.lineage for record in self.records.values())
        _demand(begun, f"{node.name} persists a line that nobody began: {new.lineage}")

    def answered(self, node: SimulatedNode, before: Phase, answer: act.Answer) -> None:
        """A client was told, by a node that was in that phase before the step."""
        operation = self.clients.answered(node, answer)
        state = node.state
        if answer.outcome is Outcome.MEDIUM_ERROR:
            self._check_damage(node, answer.ticket, operation.offset // BLOCK_BYTES)
        if answer.outcome is not Outcome.DONE or state is None:
            return
        epoch = state.epoch
        if not {before, state.phase} & ACKNOWLEDGING:
            raise AssertionError(f"I8: {node.name} acknowledged as {state.phase.name}")
        record = self.records.get(epoch)
        if record is None or node.name not in record.members:
            raise AssertionError(f"I1, I4: {node.name} acknowledged in epoch {epoch}, of which the record is {record}")
        if operation.kind is OperationKind.WRITE:
            if node.metadata.epoch != epoch:
                raise AssertionError(
                    f"I6: {node.name} acknowledged in epoch {epoch}, but has persisted {node.metadata.epoch}"
                )
            block = operation.offset // BLOCK_BYTES
            for member in self.living_members():
                self._check_block(member, block)

    def _check_damage(self, node: SimulatedNode, ticket: int, block: int) -> None:
        """No copy that counts for this node is whole at the block of an operation that ended with a medium error."""
        record = node.state.record if node.state is not None else None
        members = record.members if record is not None else ()
        whole = [name for name in members if _is_whole(self.nodes[name], block)]
        if whole and ticket not in self.clients.excused:
            raise AssertionError(f"I3: {node.name} says that block {block} is lost, but {whole[0]} has it")

    def read(self, node: SimulatedNode) -> None:
        """A node has read under a permit: until now, nothing was acknowledged without it."""
        mine, peers = node.state, self.nodes[node.peer].state
        if mine is not None and peers is not None and peers.phase in _SERVES_ALONE and peers.epoch > mine.epoch:
            raise AssertionError(f"I3: {node.name} reads in epoch {mine.epoch}, and {node.peer} serves without it")

    def recorded(self, before: Record, record: Record) -> None:
        """The arbiter applied a swap: every member holds every acknowledged write and knows its copy as whole."""
        self.records[record.epoch] = record
        if record.proposal == FALSIFIED:
            self.check_members()
            return
        if record.lineage != before.lineage and self.arbiter.revision - 1 != self.shown.get(record.primary):
            raise AssertionError(f"{record.primary} is forced on a record that nobody was shown: {before}")
        if record.primary not in before.members and record.lineage == before.lineage:
            raise AssertionError(f"I4: {record.primary}, no member, is made primary of the same line")
        self.check_members()
        _demand(record.fence == "none" or len(record.members) == 1, f"a member passes for fenced: {record}")
        failed = any(node.metadata.copy is Copy.FAILED for node in self.nodes.values())
        if len(before.members) < len(record.members) and not failed:
            # The target's disk may have failed behind its word that it is whole; it is admitted, and known as dead.
            copies = [node.blocks for node in self.nodes.values()]
            _demand(copies[0] == copies[1], f"I7: a resync has ended and the copies differ: {copies}")

    def searched(self, node: SimulatedNode, call: act.FindDirty) -> None:
        """The source of a resync looks for what is left to copy, in the session that both nodes are in."""
        state, target = node.state, self.nodes[node.peer]
        if state is None or state.resync is None or state.resync.search != call.search:
            return
        if target.state is None or target.link.session != node.link.session or target.metadata.copy not in OVERWRITTEN:
            return
        written = {block for where in state.may_differ for block in blocks_of(*where)}
        for block, value in enumerate(node.blocks):
            differs = target.blocks[block] != value
            if differs and block not in node.marks.dirty | written:
                raise AssertionError(f"I5: block {block} differs and is not marked: {node.blocks}, {target.blocks}")

    def verified(self, node: SimulatedNode, problem: str) -> bool:
        """A comparison of the copies is over. Whether it is complete: then it compared everything and found no lie."""
        verification = node.state.verification if node.state else None
        if verification is None or problem:
            return False
        compared = verification.cursor == len(node.blocks) * BLOCK_BYTES and not verification.left
        _demand(compared and not verification.differing_bytes, f"I7: a verification ended so: {verification}")
        return True

    def check_members(self) -> None:
        """Every node that the arbiter names holds every acknowledged write."""
        for node in self.living_members():
            if node.metadata.copy in OVERWRITTEN:
                raise AssertionError(f"I4: member {node.name} has not persisted that its copy is whole")
            for block in range(len(node.blocks)):
                self._check_block(node, block)

    def holds_everything(self, node: SimulatedNode) -> bool:
        """Whether that copy could be the only one that is left."""
        try:
            for block in range(len(node.blocks)):
                self._check_block(node, block)
        except AssertionError:
            return False
        return True

    def crash(self, node: SimulatedNode) -> list[act.Swap]:
        """Crash the node. If one of the two had just said ``protected``, the other copy holds everything."""
        truth = self.arbiter.truth
        protected = any(
            each.state is not None and each.state.epoch == truth.epoch and judge(each.state)[0] == "protected"
            for each in self.nodes.values()
        )
        swaps = node.crash()
        survivor = self.nodes[node.peer]
        if protected and survivor.metadata.copy is not Copy.FAILED:
            _demand(survivor.name in truth.members, f"I10: {survivor.name} is no member although all was protected")
            for block in range(len(survivor.blocks)):
                self._check_block(survivor, block, "I10")
        return swaps

    def living_members(self) -> list[SimulatedNode]:
        """Members of which anything may be demanded: not one whose disk died, or that only a false record names."""
        truth = self.arbiter.truth
        none = OVERWRITTEN | {Copy.FAILED} if truth.proposal == FALSIFIED else {Copy.FAILED}
        living = [self.nodes[name] for name in truth.members if self.nodes[name].metadata.copy not in none]
        _demand(bool(living), "I2: the arbiter names only nodes whose copies are dead")
        return living

    def _check_block(self, node: SimulatedNode, block: int, number: str = "I2") -> None:
        try:
            self.clients.history.check(block, node.blocks[block])
        except AssertionError as error:
            raise AssertionError(f"{number}: {node.name}: {error}") from error


def _is_whole(node: SimulatedNode, block: int) -> bool:
    lives = node.metadata.copy is not Copy.FAILED and not node.failing and not node.stale
    return lives and block not in node.damaged


def _demand(true: bool, otherwise: str) -> None:
    if not true:
        raise AssertionError(otherwise)
