"""Clients outside both nodes, which ask through their sockets and hold every answer against a history."""

import re
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from random import Random
from typing import Final

import attrs
import trio

from ctlha_trio._errors import DisconnectError
from ctlha_trio.door import DoorClient, Reply
from ctlha_trio.pair import OperationKind, Outcome
from ctlha_trio.seams import Buffer, TrioClock
from ctlha_trio.store import read_volume
from ctlha_trio.testing._history.block_history import BlockHistory
from ctlha_trio.testing._processes.hand_pair import NODES, START_S, HandPair

BLOCK_BYTES: Final = 4096
BLOCKS: Final = 16
"""So few that reads and writes of different clients meet on them all the time."""
PAUSE_S: Final = 0.005
"""Of a client between two operations: the nodes' processes need the machine too."""
RETRY_S: Final = 0.02
"""Of a client whose node is down or does not serve."""

_KINDS: Final = (OperationKind.WRITE, OperationKind.READ, OperationKind.WRITE, OperationKind.READ)
"""What each of the clients of a node does."""
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
    history: BlockHistory = attrs.field(factory=BlockHistory, init=False)
    acknowledged: dict[str, int] = attrs.field(factory=lambda: defaultdict(int), init=False)
    """Writes, by node."""
    _latest: dict[str, int] = attrs.field(factory=lambda: defaultdict(int), init=False)
    """The highest ticket among acknowledged writes, by node."""
    _tickets: "count[int]" = attrs.field(factory=lambda: count(1), init=False)
    _clients: "count[int]" = attrs.field(factory=lambda: count(1), init=False)
    _changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    async def run(self) -> None:
        """Ask the nodes, until cancelled."""
        async with trio.open_nursery() as nursery:
            for node in self.asked:
                for kind in _KINDS:
                    nursery.start_soon(self._ask_for_ever, node, kind)

    async def wait_served(self, *nodes: str, within_s: float = START_S) -> None:
        """Return once a write that was sent after the call is acknowledged, by one of the nodes if they are named."""
        with trio.fail_after(within_s):
            sent = next(self._tickets)
            while not any(self._latest[node] > sent for node in nodes or NODES):
                await self._changed.park()

    async def compare_copies(self) -> None:
        """Of a pair in sync, after the clients: stop both nodes; their copies are equal, and hold what they must."""
        # A write that a client has left behind may still be under way; a read of its block waits for it.
        await self._read_all(await self.pair.primary())
        for node in NODES:
            assert await self.pair.end(node, signal.SIGTERM) == 0, self.pair.log(node)
        copies = [self._read_copy(node) for node in NODES]
        assert copies[0] == copies[1]
        for block, value in enumerate(copies[0]):
            self.history.check(block, value)
        self.check_all()

    def check_all(self) -> None:
        """The whole history is possible, and no epoch had two nodes that served as its primary."""
        self.history.verdict().require()
        served: dict[str, set[str]] = defaultdict(set)
        for node in NODES:
            for epoch in _EPOCH_SERVED.findall(self.pair.log(node)):
                served[epoch].add(node)
        assert not [epoch for epoch, nodes in served.items() if len(nodes) > 1], served

    async def _read_all(self, node: str) -> None:
        number = next(self._clients)
        async with trio.open_nursery() as nursery:
            door = await self.pair.connect(node, number, nursery)
            for block in range(BLOCKS):
                assert await self._ask(door, node, OperationKind.READ, block), f"{node} did not serve block {block}"
            door.close()

    def _read_copy(self, node: str) -> list[int]:
        content = b"".join(
            data for _, data in read_volume(str(self.pair.volume(node)), size_bytes=self.pair.size_bytes)
        )
        return [decode_block(content[at : at + BLOCK_BYTES]) for at in range(0, BLOCKS * BLOCK_BYTES, BLOCK_BYTES)]

    async def _ask_for_ever(self, node: str, kind: OperationKind) -> None:
        number = next(self._clients)
        random = Random(number)
        while True:
            async with trio.open_nursery() as nursery:
                with suppress(DisconnectError):  # the node is down or goes down: the next try is as good as another
                    door = await self.pair.connect(node, number, nursery)
                    while True:
                        served = await self._ask(door, node, kind, random.randrange(BLOCKS))
                        await _CLOCK.sleep_until(_CLOCK.now() + (PAUSE_S if served else RETRY_S))
                nursery.cancel_scope.cancel()
            await _CLOCK.sleep_until(_CLOCK.now() + RETRY_S)

    async def _ask(self, door: DoorClient, node: str, kind: OperationKind, block: int) -> bool:
        """Whether it was done."""
        ticket = next(self._tickets)
        self.history.called(ticket, kind, block, client=f"a client of {node}")
        offset = block * BLOCK_BYTES
        reply = None
        try:
            if kind is OperationKind.WRITE:
                reply = await door.execute(kind, number=ticket, offset=offset, data=encode_block(ticket))
            else:
                reply = await door.execute(kind, number=ticket, offset=offset, size=BLOCK_BYTES)
        finally:
            if reply is None:
                self.history.lost(ticket)
        return self._answered(node, ticket, kind, block, reply)

    def _answered(self, node: str, ticket: int, kind: OperationKind, block: int, reply: Reply) -> bool:
        match reply.outcome:
            case Outcome.DONE:
                value = ticket if kind is OperationKind.WRITE else decode_block(reply.data)
                self.history.done(ticket, kind, block, value)
                if kind is OperationKind.WRITE:
                    self.acknowledged[node] += 1
                    self._latest[node] = max(self._latest[node], ticket)
                    self._changed.unpark_all()
            case Outcome.NOT_PRIMARY:
                self.history.not_executed(ticket, kind, block)
            case Outcome.UNKNOWN:
                self.history.lost(ticket)
            case Outcome.FAILED | Outcome.MEDIUM_ERROR:
                raise AssertionError(f"{node} says that operation {ticket} failed, which is no answer to these")
        return reply.outcome is Outcome.DONE


@asynccontextmanager
async def outside_clients(pair: HandPair, asked: Sequence[str] = NODES) -> AsyncIterator[OutsideClients]:
    """Clients that ask the nodes for the length of a block; after it, whatever the history can show was looked at."""
    clients = OutsideClients(pair, asked)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(clients.run)
        yield clients
        nursery.cancel_scope.cancel(reason="the test has seen enough")
    clients.check_all()
