"""Clients outside both nodes, which ask through their sockets and hold every answer against a history."""

import re
import signal
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from random import Random
from typing import Final

import attrs
import trio

from ctlha_trio._errors import DisconnectError
from ctlha_trio.door import DoorClient, Reply
from ctlha_trio.pair import OperationKind, Outcome, decode_records
from ctlha_trio.seams import Buffer, TrioClock
from ctlha_trio.store import read_volume
from ctlha_trio.testing._history.block_history import BlockHistory
from ctlha_trio.testing._processes.hand_pair import NODES, START_S, HandPair

BLOCK_BYTES: Final = 4096
BLOCKS: Final = 16
"""So few that reads and writes of different clients meet on them all the time."""
KEPT_BLOCKS: Final = range(BLOCKS, 2 * BLOCKS)
"""Behind those: written once, if at all, so that only a copy that was made of everything has them."""
PAUSE_S: Final = 0.005
"""Of a client between two operations: the nodes' processes need the machine too."""
RETRY_S: Final = 0.02
"""Of a client whose node is down or does not serve."""

PLAIN_KINDS: Final = (OperationKind.WRITE, OperationKind.READ, OperationKind.WRITE, OperationKind.READ)
ALL_KINDS: Final = (
    OperationKind.WRITE,
    OperationKind.READ,
    OperationKind.COMPARE_AND_WRITE,
    OperationKind.PUT_RECORD,
    OperationKind.READ_RECORDS,
    OperationKind.FLUSH,
)

_GOOD: Final = frozenset({Outcome.DONE, Outcome.MISCOMPARE})
_RECORD: Final = "outside"
"""The key of the record that all clients put."""
_RECORD_PLACE: Final = -1
"""Where the history has it."""
_OF_RECORDS: Final = frozenset({OperationKind.PUT_RECORD, OperationKind.READ_RECORDS})
_NUMBER_BYTES: Final = 8
_EPOCH_SERVED: Final = re.compile(
    r" (?:securing|alone|admitting|mirroring|handing-over): .*, epoch (\d+)$", re.MULTILINE
)
"""A line in a node's log: as primary it has come to a phase."""

_CLOCK: Final = TrioClock()


def encode_block(value: int) -> bytes:
    """The content of a block with that value; 0 is what is there before everything."""
    return value.to_bytes(_NUMBER_BYTES, "little") * (BLOCK_BYTES // _NUMBER_BYTES)


def decode_block(content: Buffer) -> int:
    """The value. ``AssertionError`` if no single write can have left this."""
    value = int.from_bytes(bytes(content[:_NUMBER_BYTES]), "little")
    assert content == encode_block(value), "a block that is from no single write"
    return value


@attrs.define(eq=False)
class OutsideClients:
    """Some for each node, each with one operation under way. They ask whatever the node's role: it must say no itself.

    An operation is never sent twice; where the answer is unknown or the connection ends, it stays open for ever.
    ``AssertionError`` at the first answer that cannot be true.
    """

    pair: HandPair
    asked: Sequence[str] = NODES
    """The nodes that are asked."""
    kinds: Sequence[OperationKind] = PLAIN_KINDS
    """What the clients of each of these nodes do, one each."""
    history: BlockHistory = attrs.field(factory=BlockHistory, init=False)
    acknowledged: dict[str, int] = attrs.field(factory=lambda: defaultdict(int), init=False)
    """Writes, by node."""
    ended: Counter[tuple[str, OperationKind, Outcome]] = attrs.field(factory=Counter, init=False)
    """Operations that were answered, by node."""
    disconnections: int = attrs.field(default=0, init=False)
    """Connections that could not be made, or ended."""
    _told: dict[int, int] = attrs.field(factory=lambda: defaultdict(int), init=False)
    """By block, the value that a client was told last: what a compare-and-write expects."""
    _latest: dict[str, int] = attrs.field(factory=lambda: defaultdict(int), init=False)
    """The highest ticket among acknowledged writes, by node."""
    _unserved: dict[tuple[str, int], int] = attrs.field(factory=lambda: defaultdict(int), init=False)
    """By client, which is a node and a place in ``kinds``: a ticket drawn before what came to nothing latest was asked,
    or when the connection ended."""
    _tickets: "count[int]" = attrs.field(factory=lambda: count(1), init=False)
    _clients: "count[int]" = attrs.field(factory=lambda: count(1), init=False)
    _changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    async def run(self) -> None:
        """Ask the nodes, until cancelled."""
        async with trio.open_nursery() as nursery:
            for node in self.asked:
                for place in range(len(self.kinds)):
                    nursery.start_soon(self._ask_for_ever, node, place)

    def done_at(self, node: str) -> int:
        """Operations that this node has answered with their effect or what they found."""
        return sum(count for (at, _, outcome), count in self.ended.items() if at == node and outcome in _GOOD)

    def refused_at(self, node: str) -> int:
        """Operations that this node has answered in any other way."""
        return sum(count for (at, _, outcome), count in self.ended.items() if at == node and outcome not in _GOOD)

    async def wait_served(self, *nodes: str, within_s: float = START_S) -> None:
        """Return once a write that was sent after the call is acknowledged, by one of the nodes if they are named."""
        with trio.fail_after(within_s):
            sent = next(self._tickets)
            while not any(self._latest[node] > sent for node in nodes or NODES):
                await self._changed.park()

    async def served_at_last(self, *nodes: str) -> dict[str, int]:
        """What is acknowledged once no client of these nodes, which serve nothing any more, waits for an answer."""
        clients = [(node, place) for node in nodes for place in range(len(self.kinds))]
        with trio.fail_after(START_S):
            sent = next(self._tickets)
            while not all(self._unserved[client] > sent for client in clients):
                await self._changed.park()
        return dict(self.acknowledged)

    async def compare_copies(self) -> None:
        """Of a pair in sync, after the clients: stop both nodes; their copies are equal, and hold what they must."""
        # A write that a client has left behind may still be under way; a read of its block waits for it.
        await self.read_all(await self.pair.primary())
        for node in NODES:
            assert await self.pair.end(node, signal.SIGTERM) == 0, self.pair.log(node)
        copies = [self._read_copy(node) for node in NODES]
        assert copies[0] == copies[1]
        for block in range(KEPT_BLOCKS.stop):
            self.history.check(block, decode_block(copies[0][block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]))
        self.check_all()

    def check_all(self) -> None:
        """The whole history is possible, and no epoch had two nodes that served as its primary."""
        self.history.verdict().require()
        served: dict[str, set[str]] = defaultdict(set)
        for node in NODES:
            for epoch in _EPOCH_SERVED.findall(self.pair.log(node)):
                served[epoch].add(node)
        assert not [epoch for epoch, nodes in served.items() if len(nodes) > 1], served

    async def write_kept(self, node: str) -> None:
        """Write the blocks that no client writes; the node must serve. Once."""
        await self._must_serve(node, [(OperationKind.WRITE, block) for block in KEPT_BLOCKS])

    async def write_all(self, node: str) -> None:
        """Overwrite every block that clients write, and the record; the node must serve. What was there is stale."""
        writes = [(OperationKind.WRITE, block) for block in range(BLOCKS)]
        await self._must_serve(node, [*writes, (OperationKind.PUT_RECORD, 0)])

    async def read_all(self, node: str) -> None:
        """Hold every block and the record against the history, as this node serves them; it must serve."""
        reads = [(OperationKind.READ, block) for block in range(KEPT_BLOCKS.stop)]
        await self._must_serve(node, [*reads, (OperationKind.READ_RECORDS, 0)])

    async def ask_at_once(self, door: DoorClient, node: str) -> None:
        """Ask for every block that clients write, in one go. The history shows whether what is answered can be true."""
        async with trio.open_nursery() as nursery:
            for block in range(BLOCKS):
                nursery.start_soon(self._ask, door, node, OperationKind.READ, block)

    async def _must_serve(self, node: str, operations: Sequence[tuple[OperationKind, int]]) -> None:
        number = next(self._clients)
        async with trio.open_nursery() as nursery:
            door = await self.pair.connect(node, number, nursery)
            for kind, block in operations:
                assert await self._ask(door, node, kind, block), f"{node} did not serve {kind.name} of block {block}"
            door.close()

    def _read_copy(self, node: str) -> bytes:
        return b"".join(data for _, data in read_volume(str(self.pair.volume(node)), size_bytes=self.pair.size_bytes))

    async def _ask_for_ever(self, node: str, place: int) -> None:
        number, kind = next(self._clients), self.kinds[place]
        random = Random(number)
        while True:
            async with trio.open_nursery() as nursery:
                with suppress(DisconnectError):  # the node is down or goes down: the next try is as good as another
                    door = await self.pair.connect(node, number, nursery)
                    while True:
                        before = next(self._tickets)
                        served = await self._ask(door, node, kind, random.randrange(BLOCKS))
                        if not served:
                            self._came_to_nothing(node, place, before)
                        await _CLOCK.sleep_until(_CLOCK.now() + (PAUSE_S if served else RETRY_S))
                nursery.cancel_scope.cancel()
            self.disconnections += 1
            self._came_to_nothing(node, place, next(self._tickets))
            await _CLOCK.sleep_until(_CLOCK.now() + RETRY_S)

    async def _ask(self, door: DoorClient, node: str, kind: OperationKind, block: int) -> bool:
        """Whether it was done."""
        ticket = next(self._tickets)
        place = _RECORD_PLACE if kind in _OF_RECORDS else block
        expected = self._told[block]
        self.history.called(ticket, kind, place, client=f"a client of {node}", expected=expected)
        reply = None
        try:
            reply = await _send(door, kind, ticket, block, expected)
        finally:
            if reply is None:
                self.history.lost(ticket)
        return self._answered(node, ticket, kind, place, reply)

    def _answered(self, node: str, ticket: int, kind: OperationKind, place: int, reply: Reply) -> bool:
        self.ended[node, kind, reply.outcome] += 1
        match reply.outcome:
            case Outcome.DONE:
                value = _value_in(kind, reply, ticket)
                self.history.done(ticket, kind, place, value)
                if kind is not OperationKind.FLUSH:
                    self._told[place] = value
                if kind is OperationKind.WRITE:
                    self.acknowledged[node] += 1
                    self._latest[node] = max(self._latest[node], ticket)
                    self._changed.unpark_all()
            case Outcome.MISCOMPARE:
                self.history.miscompared(ticket, place)
            case Outcome.NOT_PRIMARY:
                self.history.not_executed(ticket, kind, place)
            case Outcome.UNKNOWN:
                self.history.lost(ticket)
            case Outcome.FAILED | Outcome.MEDIUM_ERROR | Outcome.SUPERSEDED as outcome:
                raise AssertionError(f"{node} says {outcome.name} of operation {ticket}, which is no answer to these")
        return reply.outcome in _GOOD

    def _came_to_nothing(self, node: str, place: int, ticket: int) -> None:
        self._unserved[node, place] = ticket
        self._changed.unpark_all()


async def _send(door: DoorClient, kind: OperationKind, ticket: int, block: int, expected: int) -> Reply:
    """Ask and wait for the answer. A write writes its ticket."""
    offset = block * BLOCK_BYTES
    match kind:
        case OperationKind.WRITE:
            return await door.execute(kind, number=ticket, offset=offset, data=encode_block(ticket))
        case OperationKind.COMPARE_AND_WRITE:
            data = encode_block(expected) + encode_block(ticket)
            return await door.execute(kind, number=ticket, offset=offset, size=BLOCK_BYTES, data=data)
        case OperationKind.READ:
            return await door.execute(kind, number=ticket, offset=offset, size=BLOCK_BYTES)
        case OperationKind.PUT_RECORD:
            return await door.put_record(_RECORD, ticket.to_bytes(_NUMBER_BYTES, "little"), number=ticket)
        case _:
            return await door.execute(kind, number=ticket)


def _value_in(kind: OperationKind, reply: Reply, ticket: int) -> int:
    """Of an operation that was done: what it found, or its own."""
    if kind is OperationKind.READ:
        return decode_block(reply.data)
    if kind is OperationKind.READ_RECORDS:
        found = decode_records(bytes(reply.data)).get(_RECORD)
        return int.from_bytes(found.value, "little") if found is not None else 0
    return ticket


@asynccontextmanager
async def outside_clients(
    pair: HandPair, asked: Sequence[str] = NODES, kinds: Sequence[OperationKind] = PLAIN_KINDS
) -> AsyncIterator[OutsideClients]:
    """Clients that ask the nodes for the length of a block; after it, whatever the history can show was looked at."""
    clients = OutsideClients(pair, asked, kinds)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(clients.run)
        yield clients
        nursery.cancel_scope.cancel(reason="the test has seen enough")
    clients.check_all()
