"""The clients of a simulated pair: what they ask of which node, and what they were told."""

from collections import defaultdict
from collections.abc import Callable, Set
from random import Random
from typing import Final

import attrs

from ctlha_trio.pair import (
    WRITING,
    ZEROING,
    Operation,
    OperationKind,
    Outcome,
    actions as act,
    events as ev,
    messages as msg,
)
from ctlha_trio.testing._core.link import Blocks
from ctlha_trio.testing._core.node import SimulatedNode
from ctlha_trio.testing._core.volume import (
    BLOCKS,
    PLACES,
    RECORDS,
    SECTORS,
    blocks_of,
    partly_covered,
    place_blocks,
    place_of,
    place_sectors,
    sectors_of,
)
from ctlha_trio.testing._history.block_history import BlockHistory
from ctlha_trio.testing._history.linearizability_records import NOT_EXECUTED, ZEROS

FLIGHTS_MAX: Final = 8
"""Operations under way at one node, beyond which no client asks it."""
STALE_CHANCE: Final = 0.3
"""Of a compare-and-write: it expects something that some write wrote, which is hardly ever there."""
WHOLE_CHANCE: Final = 0.5
"""Of an operation on the volume: it is on one block, and on all of that."""
COUNTS: Final = (1, 1, 2, 3, 5)
"""Of sectors that the others are on, from any on: parts of blocks, several blocks, and more than is copied at once."""
PLAINLY_WRITING: Final = ZEROING | {OperationKind.WRITE}
"""What changes the volume whatever it holds."""
_NOT_OF_BLOCKS: Final = frozenset({OperationKind.FLUSH, OperationKind.PUT_RECORD, OperationKind.READ_RECORDS})


def places_of(operation: Operation) -> tuple[int, ...]:
    """The places that it reads or writes, in their order: of sectors their numbers, of records those below."""
    match operation.kind:
        case OperationKind.FLUSH:
            return ()
        case OperationKind.PUT_RECORD:
            return (place_of(operation.key),)
        case OperationKind.READ_RECORDS:
            return tuple(PLACES)
        case _:
            return sectors_of(*operation.where)


def blocks_read(operation: Operation) -> list[int]:
    """The blocks of which it reads something: a write does so of those that it does not cover."""
    if operation.kind not in PLAINLY_WRITING:
        return list(blocks_of(*operation.where))
    return sorted(partly_covered(sectors_of(*operation.where)))


@attrs.frozen
class KeptProposal:
    """What came with a proposal to the node at which it is under way."""

    data: Blocks
    expected: Blocks
    """What a compare-and-write must find."""


@attrs.define(eq=False)
class SimulatedClients:
    """Each operation is a client of its own: all that the volume promises to several at once is demanded."""

    random: Random
    _now_s: Callable[[], float]
    _without_room: Set[int]
    """Tickets of puts that must not be executed."""
    history: BlockHistory = attrs.field(init=False)
    asked: dict[tuple[str, int], Operation] = attrs.Factory(dict)
    """By node and ticket, while unanswered."""
    values: dict[int, int] = attrs.Factory(dict)
    """By ticket: what a write writes to each of its places."""
    found: dict[int, Blocks] = attrs.Factory(dict)
    """By ticket: what a read has found, by place."""
    expected: dict[int, Blocks] = attrs.Factory(dict)
    """By ticket: what a compare-and-write must find, by place."""
    proposals: dict[tuple[str, int], KeptProposal] = attrs.Factory(dict)
    """By the node that keeps it, and number."""
    told: dict[int, int] = attrs.Factory(dict)
    """By place, what a client was told last: it wrote that, or read it."""
    tickets: int = 0
    done: int = 0
    """Operations that ended well."""
    latest_done: int = 0
    """The latest asked of those."""
    acknowledged: int = 0
    """Writes among them."""
    medium_errors: int = 0
    abandoned: dict[str, BlockHistory] = attrs.field(factory=dict, init=False)
    """By node that lives and has not found out that the other one was forced: what its own clients are told."""
    refused: dict[str, set[int]] = attrs.field(factory=lambda: defaultdict(set), init=False)
    """By node: tickets of what it said not to have executed."""
    excused: set[int] = attrs.field(factory=set, init=False)
    """Tickets of operations that may have met damage which is none any more."""

    def __attrs_post_init__(self) -> None:
        """Begin with nothing asked."""
        self.history = BlockHistory(self._now_s)

    def ask(self, node: SimulatedNode, kinds: tuple[OperationKind, ...]) -> ev.Submitted:
        """A new operation for this node, of one of these kinds."""
        kind = self.random.choice(kinds)
        if kind in _NOT_OF_BLOCKS:
            key = str(self.random.randrange(RECORDS)) if kind is OperationKind.PUT_RECORD else ""
            return self._ask(node, Operation(kind, self.tickets + 1, 1, 0, 0, key))
        if self.random.random() < WHOLE_CHANCE:
            return self.ask_for(node, kind, self.random.randrange(BLOCKS))
        first = self.random.randrange(SECTORS)
        return self.ask_of(node, kind, first, min(self.random.choice(COUNTS), SECTORS - first))

    def ask_for(self, node: SimulatedNode, kind: OperationKind, block: int) -> ev.Submitted:
        """A new operation for this node and block."""
        return self._ask(node, Operation(kind, self.tickets + 1, 1, *place_blocks(block)))

    def ask_of(self, node: SimulatedNode, kind: OperationKind, first: int, count: int) -> ev.Submitted:
        """A new operation for this node, on so many sectors."""
        return self._ask(node, Operation(kind, self.tickets + 1, 1, *place_sectors(first, count)))

    def _ask(self, node: SimulatedNode, operation: Operation) -> ev.Submitted:
        kind = operation.kind
        self.tickets += 1
        self.asked[node.name, self.tickets] = operation
        if kind in WRITING:
            self.values[self.tickets] = ZEROS if kind in ZEROING else self.tickets
        if kind is OperationKind.COMPARE_AND_WRITE:
            self.expected[self.tickets] = self._guess(places_of(operation))
        self._call(self.tickets, operation, node.name)
        return ev.Submitted(self.tickets, operation)

    def history_of(self, node: str) -> BlockHistory:
        """What the clients of that node may be told belongs to this."""
        return self.abandoned.get(node, self.history)

    def keep(self, node: str, proposal: msg.Propose, data: Blocks) -> None:
        """A node hears a proposal of the other one."""
        expected = self.expected.get(proposal.operation.client, {})
        self.proposals.setdefault((node, proposal.number), KeptProposal(data, expected))

    def keep_only(self, node: str, numbers: Set[int]) -> None:
        """These alone are under way at that node."""
        for key in [key for key in self.proposals if key[0] == node and key[1] not in numbers]:
            del self.proposals[key]

    def written(self, ticket: int, operation: Operation) -> Blocks:
        """What that write writes, by place."""
        return dict.fromkeys(places_of(operation), self.values[ticket])

    def _guess(self, places: tuple[int, ...]) -> Blocks:
        """What a client may believe that these places hold."""
        guess = {place: self.told.get(place, ZEROS) for place in places}
        if self.random.random() < STALE_CHANCE:
            guess[self.random.choice(places)] = self.random.choice(list(self.values))
        return guess

    def _call(self, ticket: int, operation: Operation, node: str) -> None:
        history, expected = self.history_of(node), self.expected.get(ticket, {})
        for place in places_of(operation):
            # A copy that was chosen may hold a write, or a part of it, that has not been answered.
            if not history.knows(place, ticket):
                expects = expected.get(place, ZEROS)
                history.called(ticket, operation.kind, place, f"a client at {node}", expected=expects)

    def answered(self, node: SimulatedNode, answer: act.Answer) -> Operation:
        """The operation that was answered. ``AssertionError`` if the answer cannot be true."""
        operation = self.asked.pop((node.name, answer.ticket))
        if answer.outcome in NOT_EXECUTED:
            self.refused[node.name].add(answer.ticket)
        try:
            self._hear(self.history_of(node.name), answer, operation)
        except AssertionError as error:
            raise AssertionError(f"I3: {error}") from error
        return operation

    def _hear(self, history: BlockHistory, answer: act.Answer, operation: Operation) -> None:
        match answer.outcome:
            case Outcome.DONE:
                self._hear_done(history, answer.ticket, operation)
            case Outcome.UNKNOWN:
                history.lost(answer.ticket)
            case Outcome.MISCOMPARE:
                self._hear_miscompare(history, answer, operation)
            case Outcome.SUPERSEDED:
                raise AssertionError("what a client has asked the other node no core knows")
            case Outcome.NOT_PRIMARY | Outcome.MEDIUM_ERROR | Outcome.FAILED:
                self.medium_errors += answer.outcome is Outcome.MEDIUM_ERROR
                explained = answer.outcome is not Outcome.FAILED or answer.ticket in self._without_room
                assert explained, f"operation {answer.ticket} failed, although no rule says so"
                for place in places_of(operation):
                    history.not_executed(answer.ticket, operation.kind, place)

    def _hear_done(self, history: BlockHistory, ticket: int, operation: Operation) -> None:
        writes = operation.kind in WRITING
        self._count_done(ticket)
        self.acknowledged += writes
        told, places = self.written(ticket, operation) if writes else self.found.pop(ticket, {}), places_of(operation)
        assert len(told) == len(places), f"read {ticket} is answered without its data"
        for place in places:
            history.done(ticket, operation.kind, place, told[place])
        self.told |= told

    def _hear_miscompare(self, history: BlockHistory, answer: act.Answer, operation: Operation) -> None:
        """What lies before the place that it names is what the client expected."""
        assert operation.kind is OperationKind.COMPARE_AND_WRITE, "nothing else compares"
        assert answer.miscompare_at is not None, "a miscompare says where"
        self._count_done(answer.ticket)
        places = places_of(operation)
        differs = places.index(sectors_of(operation.offset + answer.miscompare_at, 1)[0])
        for place in places[:differs]:
            history.compared_equal(answer.ticket, place)
        history.miscompared(answer.ticket, places[differs])
        for place in places[differs + 1 :]:
            history.not_executed(answer.ticket, operation.kind, place)

    def _count_done(self, ticket: int) -> None:
        self.done += 1
        self.latest_done = max(self.latest_done, ticket)

    def excuse(self, blocks: Set[int]) -> None:
        """These blocks have become whole in a way that no node knows of: who asked before may be told of damage."""
        for (_, ticket), each in self.asked.items():
            if not blocks.isdisjoint(blocks_of(*each.where)):
                self.excused.add(ticket)

    def waiting_for(self, node: SimulatedNode) -> list[int]:
        """Tickets of what this node was asked and has not answered."""
        return [ticket for name, ticket in self.asked if name == node.name]

    def crashed(self, node: SimulatedNode) -> None:
        """Whoever had asked it is never answered."""
        for ticket in self.waiting_for(node):
            del self.asked[node.name, ticket]
            self.history_of(node.name).lost(ticket)
        self.keep_only(node.name, set())
        self.found_out(node.name)

    def forsake(self, chosen: SimulatedNode, abandoned: SimulatedNode) -> None:
        """A person chose a copy that does not count: what is not on it is lost, by that person's word.

        The other node, if it lives, goes on to tell its clients what is true of its own copy, until it finds out.
        """
        before, values = self.history, self.values
        _require(before)
        self._begin(chosen)
        if abandoned.state is not None:
            self.abandoned[abandoned.name] = before
        for under_way in chosen.disk:
            for place, value in under_way.data.items():
                if value == ZEROS:
                    self.tickets += 1
                    self.history.called(self.tickets, OperationKind.WRITE_ZEROES, place)
                elif not self.history.knows(place, value):
                    self.values[value] = value
                    self.values[value] = value
                    self.history.called(value, OperationKind.WRITE, place)
        for (name, ticket), operation in self.asked.items():
            if operation.kind in WRITING:
                self.values[ticket] = values[ticket]
            if name not in self.abandoned:
                self._call(ticket, operation, name)

    def found_out(self, node: str) -> None:
        """That node has ended, or serves nothing more of what was abandoned."""
        history = self.abandoned.pop(node, None)
        if history is not None:
            _require(history)

    def start_over(self, copy: SimulatedNode) -> None:
        """Nothing is under way anywhere, and every copy holds what this one does: all before it is settled."""
        if self.abandoned:
            raise AssertionError(f"I4: {', '.join(self.abandoned)} serves although it was abandoned")
        _require(self.history)
        self._begin(copy)

    def _begin(self, copy: SimulatedNode) -> None:
        self.history = BlockHistory(self._now_s)
        self.told = dict(enumerate(copy.sectors)) | copy.records
        self.values = {value: value for value in self.told.values()}
        asked = {ticket for _, ticket in self.asked}
        self.expected = {ticket: values for ticket, values in self.expected.items() if ticket in asked}
        self.found = {ticket: values for ticket, values in self.found.items() if ticket in asked}
        for place, value in self.told.items():
            if value != ZEROS:
                self.history.called(value, OperationKind.WRITE, place, "somebody before all began anew")
                self.history.done(value, OperationKind.WRITE, place, value)


def _require(history: BlockHistory) -> None:
    try:
        history.verdict().require()
    except AssertionError as error:
        raise AssertionError(f"I3: {error}") from error
