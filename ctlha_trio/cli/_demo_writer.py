"""The demo's writer: outside both nodes, as an initiator is. It sends again what was not acknowledged."""

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs
import trio

from ctlha_trio._errors import DisconnectError
from ctlha_trio.cli._demo_content import Content
from ctlha_trio.cli._demo_report import DemoReport, DemoViolation
from ctlha_trio.door import DoorClient, SentRequest, open_door_client
from ctlha_trio.pair import OperationKind, Outcome
from ctlha_trio.seams import TrioClock

IN_FLIGHT: Final = 16
"""As an initiator with a modest queue; a quarter of what the door takes."""
RETRY_S: Final = 0.01
"""Between two tries at nodes that do not serve; short beside the quarter second of a takeover."""
STALL_S: Final = 5.0
"""Without an answer for so long the other node is tried."""

_CLOCK: Final = TrioClock()


def new_client_id() -> int:
    """An id that no other client of the nodes has."""
    return int.from_bytes(os.urandom(8), "little")


@attrs.define(eq=False)
class Write:
    """One block of one pass, until it is acknowledged."""

    pass_number: int
    block: int
    number: int
    """Under which it is sent; another one where a node cannot say what became of it."""
    sent_s: float = 0.0
    unknown_at: set[int] = attrs.field(factory=set)
    """Nodes, by index, that answered `unknown` to this number."""


@attrs.define(eq=False)
class Written:
    """What was written where, by pass; -1 where nothing was."""

    acknowledged: list[int]
    sent: list[int]
    """The latest that may have been executed."""


@attrs.define(eq=False)
class DemoWriter:
    """Writes the whole content, as far as it is allowed, to whichever node serves."""

    _content: Content
    _sockets: Sequence[Path]
    """Of the nodes, by index."""
    _report: DemoReport
    """Counts what a node said was done."""
    written: Written = attrs.field(init=False)
    _client: int = attrs.field(factory=new_client_id, init=False)
    _target: int = attrs.field(default=0, init=False)
    _allowed: int = attrs.field(default=0, init=False)
    _next_index: int = attrs.field(default=0, init=False)
    _next_number: int = attrs.field(default=1, init=False)
    _pending: dict[int, Write] = attrs.field(factory=dict, init=False)
    """By block: never two on one."""
    _since_s: float = attrs.field(default=math.inf, init=False)
    _first_since_s: float | None = attrs.field(default=None, init=False)
    _changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    def __attrs_post_init__(self) -> None:
        blocks = self._content.blocks
        self.written = Written([-1] * blocks, [-1] * blocks)

    def allow(self, writes: int) -> None:
        """Let so many writes begin, counted from the first."""
        self._allowed = max(self._allowed, min(writes, self._content.writes))
        self._changed.unpark_all()

    @property
    def begun(self) -> int:
        """Writes that were begun."""
        return self._next_index

    async def wait_acknowledged(self, writes: int) -> None:
        """Return once so many are acknowledged."""
        while self._report.acknowledged_writes < writes:
            await self._changed.park()

    async def wait_acknowledged_since(self, moment_s: float) -> float:
        """When the first write that was sent after the moment was acknowledged; for one moment only.

        Both in seconds of the monotonic clock.
        """
        self._since_s = moment_s
        while self._first_since_s is None:
            await self._changed.park()
        return self._first_since_s

    async def run(self) -> None:
        """Write until everything is acknowledged. ``DemoViolation`` if a node says that a write failed."""
        while self._report.acknowledged_writes < self._content.writes:
            try:
                client = await open_door_client(self._sockets[self._target], client=self._client)
            except DisconnectError:
                pass  # that node is down: the other one is next
            else:
                await self._write_through(client)
            self._target = 1 - self._target
            await _CLOCK.sleep_until(_CLOCK.now() + RETRY_S)

    async def _write_through(self, client: DoorClient) -> None:
        """Use one connection until it breaks, the node does not serve, or all is done."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.receive_replies)
            try:
                for write in self._unacknowledged():
                    await self._send(client, write, nursery)
                while (following := await self._next()) is not None:
                    await self._send(client, following, nursery)
                await self.wait_acknowledged(self._content.writes)
            except DisconnectError:
                pass  # what is pending goes to the other node
            nursery.cancel_scope.cancel()

    def _unacknowledged(self) -> list[Write]:
        """What must be sent again, in the order of the numbers."""
        for write in self._pending.values():
            if self._target in write.unknown_at:  # it would say so for ever; the block has no other write under way
                write.number, write.unknown_at = self._take_number(), set()
        return sorted(self._pending.values(), key=lambda write: write.number)

    async def _next(self) -> Write | None:
        """The next write, once it may begin; none if there is none."""
        content = self._content
        while self._next_index < content.writes:
            pass_number, block = divmod(self._next_index, content.blocks)
            if self._next_index < self._allowed and len(self._pending) < IN_FLIGHT and block not in self._pending:
                self._next_index += 1
                write = Write(pass_number, block, self._take_number())
                self._pending[block] = write
                self.written.sent[block] = pass_number
                return write
            await self._changed.park()
        return None

    def _take_number(self) -> int:
        self._next_number += 1
        return self._next_number - 1

    async def _send(self, client: DoorClient, write: Write, nursery: trio.Nursery) -> None:
        write.sent_s = time.monotonic()
        sent = await client.send(
            OperationKind.WRITE,
            number=write.number,
            offset=self._content.offset_of(write.block),
            data=self._content.data_of(write.pass_number, write.block),
        )
        nursery.start_soon(self._settle, write, sent, nursery.cancel_scope)

    async def _settle(self, write: Write, sent: SentRequest, connection: trio.CancelScope) -> None:
        outcome = None
        with trio.move_on_after(STALL_S):
            try:
                outcome = (await sent.wait_reply()).outcome
            except DisconnectError:
                outcome = None
        if outcome is Outcome.DONE:
            self._acknowledge(write)
            return
        if outcome is Outcome.FAILED:
            where = self._content.describe_block(write.block)
            raise DemoViolation(f"node {self._sockets[self._target].parent.name} says that a write of {where} failed")
        if outcome is Outcome.UNKNOWN:
            write.unknown_at.add(self._target)
        elif outcome is Outcome.SUPERSEDED:  # of others under way, which came through the other node
            write.number, write.unknown_at = self._take_number(), set()
        connection.cancel()

    def _acknowledge(self, write: Write) -> None:
        del self._pending[write.block]
        self.written.acknowledged[write.block] = write.pass_number
        self._report.acknowledged_writes += 1
        if self._first_since_s is None and write.sent_s > self._since_s:
            self._first_since_s = time.monotonic()
        self._changed.unpark_all()
