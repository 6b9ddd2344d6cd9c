"""The clients of a simulated pair, and what must be true whenever one of them is told that its write is done."""

from collections.abc import Callable
from random import Random

import attrs

from ctlha_trio.pair import Copy, Operation, OperationKind, Outcome, Record, actions as act, events as ev
from ctlha_trio.testing._block_history import BlockHistory
from ctlha_trio.testing._core_node import BLOCK_BYTES, BLOCKS, SimulatedNode

OVERWRITTEN = frozenset({Copy.RESYNCING, Copy.REWRITING})
"""What is durable on a node while its copy is neither old nor new."""
FLIGHTS_MAX = 8
"""Operations under way at one node, beyond which no client asks it."""


@attrs.define(eq=False)
class SimulatedClients:
    """Each operation is a client of its own: all that the volume promises to several at once is demanded."""

    random: Random
    nodes: dict[str, SimulatedNode]
    record: Callable[[], Record]
    """What the arbiter holds."""
    history: BlockHistory = attrs.Factory(BlockHistory)
    asked: dict[tuple[str, int], Operation] = attrs.Factory(dict)
    """By node and ticket, while unanswered."""
    values: dict[int, int] = attrs.Factory(dict)
    """By ticket: what a write writes, and what a read has read."""
    tickets: int = 0
    done: int = 0
    """Operations that ended well."""
    acknowledged_by: dict[int, str] = attrs.Factory(dict)
    """The node that acknowledged writes, by epoch."""

    def ask(self, node: SimulatedNode, kinds: tuple[OperationKind, ...]) -> ev.Submitted:
        """A new operation for this node, of one of these kinds."""
        self.tickets += 1
        kind = self.random.choice(kinds)
        block = 0 if kind is OperationKind.FLUSH else self.random.randrange(BLOCKS)
        size = 0 if kind is OperationKind.FLUSH else BLOCK_BYTES
        operation = Operation(kind, self.tickets, 1, block * BLOCK_BYTES, size)
        self.asked[node.name, self.tickets] = operation
        self.values[self.tickets] = self.tickets
        self.history.called(self.tickets, kind, block)
        return ev.Submitted(self.tickets, operation)

    def answered(self, node: SimulatedNode, answer: act.Answer) -> None:
        """``AssertionError`` if the answer cannot be true."""
        operation = self.asked.pop((node.name, answer.ticket))
        block = operation.offset // BLOCK_BYTES
        match answer.outcome:
            case Outcome.DONE:
                self.done += 1
                self.history.done(answer.ticket, operation.kind, block, self.values[answer.ticket])
                if operation.kind is OperationKind.WRITE:
                    self._check_acknowledgement(node, block)
            case Outcome.NOT_PRIMARY:
                self.history.not_executed(answer.ticket, operation.kind, block)
            case Outcome.UNKNOWN:
                self.history.lost(answer.ticket)
            case Outcome.FAILED:
                raise AssertionError(f"operation {answer.ticket} failed, although no rule says so")

    def crashed(self, node: SimulatedNode) -> None:
        """Whoever had asked it is never answered."""
        for name, ticket in list(self.asked):
            if name == node.name:
                del self.asked[name, ticket]
                self.history.lost(ticket)

    def check_members(self) -> None:
        """Every node that the arbiter names holds every acknowledged write, and knows that its copy is whole."""
        for node in self._living_members():
            if node.metadata.copy in OVERWRITTEN:
                raise AssertionError(f"member {node.name} has not persisted that its copy is whole")
            for block, value in enumerate(node.blocks):
                try:
                    self.history.check(block, value)
                except AssertionError as error:
                    raise AssertionError(f"member {node.name}: {error}") from error

    def _living_members(self) -> list[SimulatedNode]:
        """A member whose disk died holds nothing; two copies survive that."""
        members = [self.nodes[name] for name in self.record().members]
        living = [node for node in members if node.metadata.copy is not Copy.FAILED]
        if not living:
            raise AssertionError("the arbiter names only nodes whose copies are dead")
        return living

    def _check_acknowledgement(self, node: SimulatedNode, block: int) -> None:
        assert node.state is not None
        epoch = node.state.epoch
        if self.acknowledged_by.setdefault(epoch, node.name) != node.name:
            raise AssertionError(f"both nodes acknowledged in epoch {epoch}")
        if node.metadata.epoch != epoch:
            raise AssertionError(f"{node.name} acknowledged in epoch {epoch}, but has persisted {node.metadata.epoch}")
        for member in self._living_members():
            self.history.check(block, member.blocks[block])
