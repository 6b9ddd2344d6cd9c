"""The clients of a simulated pair: what they ask of which node, and what they were told."""

from collections.abc import Callable, Collection
from random import Random
from typing import Final

import attrs

from ctlha_trio.pair import Operation, OperationKind, Outcome, actions as act, events as ev
from ctlha_trio.testing._core.link import Blocks
from ctlha_trio.testing._core.node import BLOCK_BYTES, BLOCKS, SimulatedNode
from ctlha_trio.testing._history.block_history import BlockHistory
from ctlha_trio.testing._history.linearizability_records import ZEROS

FLIGHTS_MAX: Final = 8
"""Operations under way at one node, beyond which no client asks it."""


@attrs.define(eq=False)
class SimulatedClients:
    """Each operation is a client of its own: all that the volume promises to several at once is demanded."""

    random: Random
    _now_s: Callable[[], float]
    history: BlockHistory = attrs.field(init=False)
    asked: dict[tuple[str, int], Operation] = attrs.Factory(dict)
    """By node and ticket, while unanswered."""
    values: dict[int, int] = attrs.Factory(dict)
    """By ticket: what a write writes, and what a read has read."""
    tickets: int = 0
    done: int = 0
    """Operations that ended well."""
    latest_done: int = 0
    """The latest asked of those."""
    acknowledged: int = 0
    """Writes among them."""
    medium_errors: int = 0
    excused: set[int] = attrs.field(factory=set, init=False)
    """Tickets of operations that may have met damage which is none any more."""

    def __attrs_post_init__(self) -> None:
        """Begin with nothing asked."""
        self.history = BlockHistory(self._now_s)

    def ask(self, node: SimulatedNode, kinds: tuple[OperationKind, ...]) -> ev.Submitted:
        """A new operation for this node, of one of these kinds."""
        kind = self.random.choice(kinds)
        return self.ask_for(node, kind, 0 if kind is OperationKind.FLUSH else self.random.randrange(BLOCKS))

    def ask_for(self, node: SimulatedNode, kind: OperationKind, block: int) -> ev.Submitted:
        """A new operation for this node and block."""
        self.tickets += 1
        size = 0 if kind is OperationKind.FLUSH else BLOCK_BYTES
        operation = Operation(kind, self.tickets, 1, block * BLOCK_BYTES, size)
        self.asked[node.name, self.tickets] = operation
        self.values[self.tickets] = self.tickets
        self.history.called(self.tickets, kind, block, f"a client at {node.name}")
        return ev.Submitted(self.tickets, operation)

    def answered(self, node: SimulatedNode, answer: act.Answer) -> Operation:
        """The operation that was answered. ``AssertionError`` if the answer cannot be true."""
        operation = self.asked.pop((node.name, answer.ticket))
        try:
            self._hear(answer, operation)
        except AssertionError as error:
            raise AssertionError(f"I3: {error}") from error
        return operation

    def _hear(self, answer: act.Answer, operation: Operation) -> None:
        block = operation.offset // BLOCK_BYTES
        match answer.outcome:
            case Outcome.DONE:
                self.done += 1
                self.latest_done = max(self.latest_done, answer.ticket)
                self.acknowledged += operation.kind is OperationKind.WRITE
                self.history.done(answer.ticket, operation.kind, block, self.values[answer.ticket])
            case Outcome.NOT_PRIMARY:
                self.history.not_executed(answer.ticket, operation.kind, block)
            case Outcome.UNKNOWN:
                self.history.lost(answer.ticket)
            case Outcome.MEDIUM_ERROR:
                self.medium_errors += 1
                self.history.not_executed(answer.ticket, operation.kind, block)
            case Outcome.FAILED:
                raise AssertionError(f"operation {answer.ticket} failed, although no rule says so")

    def excuse(self, blocks: Collection[int]) -> None:
        """These blocks have become whole in a way that no node knows of: who asked before may be told of damage."""
        unanswered = self.asked.items()
        self.excused.update(ticket for (_, ticket), each in unanswered if each.offset // BLOCK_BYTES in blocks)

    def waiting_for(self, node: SimulatedNode) -> list[int]:
        """Tickets of what this node was asked and has not answered."""
        return [ticket for name, ticket in self.asked if name == node.name]

    def crashed(self, node: SimulatedNode) -> None:
        """Whoever had asked it is never answered."""
        for ticket in self.waiting_for(node):
            del self.asked[node.name, ticket]
            self.history.lost(ticket)

    def forsake(self, blocks: list[int], under_way: list[Blocks]) -> None:
        """A person chose a copy that holds this: what was acknowledged and is not on it is lost, by that person's word.

        ``under_way`` may still be written to it.
        """
        self.start_over(blocks)
        for data in under_way:
            for block, value in data.items():
                if value not in self.values:
                    self.values[value] = value
                    self.history.called(value, OperationKind.WRITE, block)
        for (node, ticket), operation in self.asked.items():
            if ticket in self.values:
                # The chosen copy holds this write already, although it has not been answered.
                continue
            self.values[ticket] = ticket
            self.history.called(ticket, operation.kind, operation.offset // BLOCK_BYTES, f"a client at {node}")

    def start_over(self, blocks: list[int]) -> None:
        """Nothing is under way anywhere, and this is what every copy holds: all before it is settled."""
        try:
            self.history.verdict().require()
        except AssertionError as error:
            raise AssertionError(f"I3: {error}") from error
        self.history = BlockHistory(self._now_s)
        self.values = {value: value for value in blocks}
        for block, value in enumerate(blocks):
            if value != ZEROS:
                self.history.called(value, OperationKind.WRITE, block, "somebody before all began anew")
                self.history.done(value, OperationKind.WRITE, block, value)
