"""The clients of a simulated pair: what they ask of which node, and what they were told."""

from random import Random
from typing import Final

import attrs

from ctlha_trio.pair import WRITING, ZEROING, Operation, OperationKind, Outcome, actions as act, events as ev
from ctlha_trio.testing._core.link import Blocks
from ctlha_trio.testing._core.node import BLOCK_BYTES, BLOCKS, PLACES, RECORDS, SimulatedNode, place_of
from ctlha_trio.testing._history.block_history import BlockHistory
from ctlha_trio.testing._history.linearizability_records import ZEROS

FLIGHTS_MAX: Final = 8
"""Operations under way at one node, beyond which no client asks it."""
STALE_CHANCE: Final = 0.3
"""Of a compare-and-write: it expects something that some write wrote, which is hardly ever there."""
_NOT_OF_BLOCKS: Final = frozenset({OperationKind.FLUSH, OperationKind.PUT_RECORD, OperationKind.READ_RECORDS})


def places_of(operation: Operation) -> tuple[int, ...]:
    """The places that it reads or writes: of a block its number, of records those below."""
    match operation.kind:
        case OperationKind.FLUSH:
            return ()
        case OperationKind.PUT_RECORD:
            return (place_of(operation.key),)
        case OperationKind.READ_RECORDS:
            return tuple(PLACES)
        case _:
            return (operation.offset // BLOCK_BYTES,)


@attrs.define(eq=False)
class SimulatedClients:
    """Each operation is a client of its own: all that the volume promises to several at once is demanded."""

    random: Random
    history: BlockHistory = attrs.Factory(BlockHistory)
    asked: dict[tuple[str, int], Operation] = attrs.Factory(dict)
    """By node and ticket, while unanswered."""
    values: dict[int, int] = attrs.Factory(dict)
    """By ticket: what a write writes, and what a read has read."""
    tables: dict[int, Blocks] = attrs.Factory(dict)
    """By ticket: all records as a read has found them, by place."""
    expected: dict[int, int] = attrs.Factory(dict)
    """By ticket: what a compare-and-write must find."""
    told: dict[int, int] = attrs.Factory(dict)
    """By place, what a client was told last: it wrote that, or read it."""
    tickets: int = 0
    done: int = 0
    """Operations that ended well."""
    latest_done: int = 0
    """The latest asked of those."""
    acknowledged: int = 0
    """Writes among them."""

    def ask(self, node: SimulatedNode, kinds: tuple[OperationKind, ...]) -> ev.Submitted:
        """A new operation for this node, of one of these kinds."""
        self.tickets += 1
        kind = self.random.choice(kinds)
        if kind in _NOT_OF_BLOCKS:
            key = str(self.random.randrange(RECORDS)) if kind is OperationKind.PUT_RECORD else ""
            operation = Operation(kind, self.tickets, 1, 0, 0, key)
        else:
            operation = Operation(kind, self.tickets, 1, self.random.randrange(BLOCKS) * BLOCK_BYTES, BLOCK_BYTES)
        self.asked[node.name, self.tickets] = operation
        self.values[self.tickets] = ZEROS if kind in ZEROING else self.tickets
        if kind is OperationKind.COMPARE_AND_WRITE:
            self.expected[self.tickets] = self._guess(operation.offset // BLOCK_BYTES)
        self._call(self.tickets, operation, node.name)
        return ev.Submitted(self.tickets, operation)

    def _guess(self, block: int) -> int:
        """What a client may believe that a block holds."""
        stale = self.random.random() < STALE_CHANCE
        return self.random.choice(list(self.values)) if stale else self.told.get(block, ZEROS)

    def _call(self, ticket: int, operation: Operation, node: str) -> None:
        for place in places_of(operation):
            self.history.called(ticket, operation.kind, place, node, expected=self.expected.get(ticket, ZEROS))

    def found(self, call: act.FetchRead, node: SimulatedNode) -> None:
        """A node has read for an operation."""
        if call.operation.kind is OperationKind.READ_RECORDS:
            self.tables[call.ticket] = dict(node.records)
        else:
            self.values[call.ticket] = node.blocks[call.operation.offset // BLOCK_BYTES]

    def answered(self, node: SimulatedNode, answer: act.Answer) -> Operation:
        """The operation that was answered. ``AssertionError`` if the answer cannot be true."""
        operation = self.asked.pop((node.name, answer.ticket))
        places = places_of(operation)
        match answer.outcome:
            case Outcome.DONE:
                self.done += 1
                self.latest_done = max(self.latest_done, answer.ticket)
                self.acknowledged += operation.kind in WRITING
                table = self.tables.pop(answer.ticket, {})
                for place in places:
                    self.told[place] = table.get(place, self.values[answer.ticket])
                    self.history.done(answer.ticket, operation.kind, place, self.told[place])
            case Outcome.NOT_PRIMARY:
                for place in places:
                    self.history.not_executed(answer.ticket, operation.kind, place)
            case Outcome.UNKNOWN:
                self.history.lost(answer.ticket)
            case Outcome.MISCOMPARE:
                assert operation.kind is OperationKind.COMPARE_AND_WRITE, "nothing else compares"
                self.done += 1
                self.latest_done = max(self.latest_done, answer.ticket)
                self.history.miscompared(answer.ticket, places[0])
            case Outcome.FAILED:
                raise AssertionError(f"operation {answer.ticket} failed, although no rule says so")
        return operation

    def crashed(self, node: SimulatedNode) -> None:
        """Whoever had asked it is never answered."""
        for name, ticket in list(self.asked):
            if name == node.name:
                del self.asked[name, ticket]
                self.history.lost(ticket)

    def forsake(self, chosen: SimulatedNode, under_way: list[Blocks]) -> None:
        """A person chose this copy: what was acknowledged and is not on it is lost, by that person's word.

        ``under_way`` may still be written to it.
        """
        self.start_over(chosen)
        for data in under_way:
            for place, value in data.items():
                if value == ZEROS:
                    self.tickets += 1
                    self.history.called(self.tickets, OperationKind.WRITE_ZEROES, place)
                elif value not in self.values:
                    self.values[value] = value
                    self.history.called(value, OperationKind.WRITE, place)
        for (node, ticket), operation in self.asked.items():
            self.values[ticket] = ZEROS if operation.kind in ZEROING else ticket
            self._call(ticket, operation, node)

    def start_over(self, copy: SimulatedNode) -> None:
        """Nothing is under way anywhere, and every copy holds what this one does: all before it is settled."""
        self.history.verdict().require()
        self.history = BlockHistory()
        self.told = dict(enumerate(copy.blocks)) | copy.records
        self.values = {value: value for value in self.told.values()}
        asked = {ticket for _, ticket in self.asked}
        self.expected = {ticket: value for ticket, value in self.expected.items() if ticket in asked}
        for place, value in self.told.items():
            if value != ZEROS:
                self.history.called(value, OperationKind.WRITE, place)
                self.history.done(value, OperationKind.WRITE, place, value)
