"""The clients of a simulated pair: several at once on the same few sectors, with values that tell their write."""

from collections.abc import Callable
from random import Random
from typing import Final

import attrs
import trio

from ctlha_trio._errors import DisconnectError
from ctlha_trio.ha import Node
from ctlha_trio.pair import Operation, OperationKind, Outcome
from ctlha_trio.store import BLOCK_BYTES
from ctlha_trio.testing._drivers.chance import happens
from ctlha_trio.testing._drivers.history import RECORDS, VolumeHistory, key_at
from ctlha_trio.testing._drivers.pair import DriverPair
from ctlha_trio.testing._drivers.time import let_pass
from ctlha_trio.testing._drivers.timeline import IN_SECTORS, Timeline
from ctlha_trio.testing._history.block_content import fill_sector
from ctlha_trio.testing._history.linearizability_records import ZEROS
from ctlha_trio.testing._pairs.pair_faults import NAMES, other
from ctlha_trio.testing._power.medium import SECTOR_BYTES

SECTORS_MAX: Final = 4
"""Of one operation: enough to overlap in part, and to be torn."""
BLOCK_SECTORS: Final = BLOCK_BYTES // SECTOR_BYTES
_WITH_DATA: Final = frozenset({OperationKind.WRITE, OperationKind.COMPARE_AND_WRITE, OperationKind.PUT_RECORD})
_WANDERS: Final = 0.1
"""Chance that a client turns to the other node although it was served where it is."""


def whole_blocks(first: int, count: int) -> tuple[OperationKind, int, int]:
    """A write of all blocks that these sectors are in: it needs nothing of what was there."""
    start = first // BLOCK_SECTORS * BLOCK_SECTORS
    return OperationKind.WRITE, start, -(-(first + count) // BLOCK_SECTORS) * BLOCK_SECTORS - start


@attrs.define(eq=False)
class DriverClients:
    """They go on until they are told to stop. Each has one operation under way."""

    pair: DriverPair
    history: VolumeHistory
    timeline: Timeline
    problem: Callable[[str], None]
    _random: Random
    _stopping: bool = attrs.field(default=False, init=False)
    _running: int = attrs.field(default=0, init=False)

    def start(self, nursery: trio.Nursery) -> None:
        """Let them begin."""
        for number in range(1, self.pair.swarm.clients + 1):
            self._running += 1
            nursery.start_soon(self._run, number, Random(self._random.randbytes(16)))

    async def stop(self) -> None:
        """Return once each has its last answer, or has given it up. A checkpoint."""
        self._stopping = True
        await self.pair.wait_until(lambda: not self._running)

    async def _run(self, number: int, random: Random) -> None:
        name = NAMES[0]
        while not self._stopping:
            await let_pass(random.expovariate(1 / self.pair.swarm.think_s))
            wanted = self._choose(random)
            outcome = await self.operate(name, number, wanted)
            if outcome is Outcome.MEDIUM_ERROR and happens(random):
                outcome = await self.operate(name, number, whole_blocks(*wanted[1:]))
            if outcome is not Outcome.DONE or happens(random, _WANDERS):
                name = other(name)
        self._running -= 1

    def _choose(self, random: Random) -> tuple[OperationKind, int, int]:
        """Kind, first sector, sectors."""
        swarm = self.pair.swarm
        if happens(random, swarm.flushes):
            return OperationKind.FLUSH, 0, 0
        first, count = random.choice(swarm.sectors), random.randint(1, SECTORS_MAX)
        if happens(random, swarm.zeroes):
            return random.choice([OperationKind.WRITE_ZEROES, OperationKind.UNMAP]), first, count
        if happens(random, swarm.records):
            if happens(random):
                return OperationKind.READ_RECORDS, -RECORDS, RECORDS
            return OperationKind.PUT_RECORD, -random.randint(1, RECORDS), 1
        if happens(random, swarm.compares):
            return OperationKind.COMPARE_AND_WRITE, first, count
        kind = OperationKind.READ if happens(random, swarm.reads) else OperationKind.WRITE
        return kind, first, count

    async def operate(self, name: str, client: int, wanted: tuple[OperationKind, int, int]) -> Outcome | None:
        """Ask one node, and wait as long as the client's patience lasts; None without an answer. A checkpoint."""
        kind, first, count = wanted
        expected = [self.history.told.get(sector, ZEROS) for sector in range(first, first + count)]
        number = self.history.call(f"client {client} at {name}", kind, first, count, expected)
        data = fill_sector(number) * count if kind in _WITH_DATA else b""
        if kind is OperationKind.COMPARE_AND_WRITE:
            data = b"".join(map(fill_sector, expected)) + data
        key = key_at(first) if kind is OperationKind.PUT_RECORD else ""
        place, size = (first * SECTOR_BYTES, count * SECTOR_BYTES) if first >= 0 else (0, 0)
        operation = Operation(kind, client, number, place, size, key)
        gate = self.pair.machines[name].gate
        self.timeline.note(name, f"client {client} asks {number}: {IN_SECTORS.operation(operation, number)}")
        outcome: Outcome | None = None

        async def ask(node: Node) -> None:
            nonlocal outcome
            await gate.wait_open()
            answer = await node.submit(
                kind,
                client=client,
                number=number,
                offset=place,
                size=size,
                data=data,
                key=key,
            )
            await gate.wait_open()
            outcome = answer.outcome
            if not self.history.was_told(number, answer.outcome, answer.data):
                self.problem(f"client {client} was told something else than node {name} answered to {number}")

        limit = trio.move_on_after(self.pair.swarm.patience_s)
        try:
            with limit:
                await self.pair.ask(name, ask)
        except DisconnectError:
            self.timeline.note(name, f"is down, and client {client} is never told of {number}")
        if limit.cancelled_caught:
            self.timeline.note(name, f"client {client} gives {number} up after {self.pair.swarm.patience_s:g} s")
        return outcome
