"""The demo's readers: one looks for every acknowledged write, one tries to catch a node that serves too early."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import attrs
import trio

from ctlha_trio._errors import DisconnectError
from ctlha_trio.cli._demo_content import Content
from ctlha_trio.cli._demo_report import DemoViolation
from ctlha_trio.cli._demo_writer import IN_FLIGHT, RETRY_S, Written, new_client_id
from ctlha_trio.door import DoorClient, open_door_client
from ctlha_trio.ha import Reason
from ctlha_trio.pair import OperationKind, Outcome
from ctlha_trio.seams import TrioClock

WATCH_S: Final = 0.02
"""Between two tries at a node that must not serve: some fifty while it starts and is resynced."""
WATCH_ANSWER_S: Final = 1.0
"""A node that is between two states may hold a request; the watch does not wait for it."""

_CLOCK: Final = TrioClock()
_ALONE: Final = frozenset(
    reason.value for reason in (Reason.PEER_LOST, Reason.PEER_OUTDATED, Reason.RESYNCING, Reason.RESYNC_BLOCKED)
)


def is_alone(status: Mapping[str, object]) -> bool:
    """Whether a node that says this of itself serves with its own copy only.

    That a pair is not ``protected`` is no sign of it: it is so too while the components of its members start.
    """
    reasons = status.get("reasons")
    said = set(reasons) if isinstance(reasons, list) else set()
    return status.get("verdict") == "degraded" and not _ALONE.isdisjoint(said)


@attrs.define(eq=False)
class ReadBack:
    """Reads every block with an acknowledged write through one node."""

    _content: Content
    _written: Written
    _socket: Path
    lost: list[int] = attrs.field(factory=list, init=False)
    """Blocks without the last write that was acknowledged before the read, or a later one."""
    _left: list[int] = attrs.field(factory=list, init=False)
    """Blocks still to read, the next one last."""
    _next_number: int = attrs.field(default=1, init=False)

    async def run(self) -> None:
        """Return when every such block was read and compared. Connects again as often as it must."""
        self._left = [block for block, done in enumerate(self._written.acknowledged) if done >= 0][::-1]
        client_id = new_client_id()
        while self._left:
            try:
                client = await open_door_client(self._socket, client=client_id)
            except DisconnectError:
                pass  # judged by the demo's deadline
            else:
                await self._read_through(client)
            await _CLOCK.sleep_until(_CLOCK.now() + RETRY_S)
        self.lost.sort()

    async def _read_through(self, client: DoorClient) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.receive_replies)
            async with trio.open_nursery() as readers:
                for _ in range(IN_FLIGHT):
                    readers.start_soon(self._read_some, client)
            nursery.cancel_scope.cancel()

    async def _read_some(self, client: DoorClient) -> None:
        while self._left:
            block = self._left.pop()
            if not await self._read_one(client, block):
                self._left.append(block)
                return

    async def _read_one(self, client: DoorClient, block: int) -> bool:
        """Whether the block was read."""
        content, written = self._content, self._written
        oldest = written.acknowledged[block]
        self._next_number += 1
        try:
            reply = await client.execute(
                OperationKind.READ,
                number=self._next_number,
                offset=content.offset_of(block),
                size=content.size_of(block),
            )
        except DisconnectError:
            return False
        if reply.outcome is not Outcome.DONE:
            return False
        allowed = range(oldest, written.sent[block] + 1)
        if all(content.data_of(pass_number, block) != reply.data for pass_number in allowed):
            self.lost.append(block)
        return True


async def watch_for_early_service(
    content: Content, name: str, socket: Path, is_out_of_sync: Callable[[], Awaitable[bool]]
) -> None:
    """Try to read through a node that is coming back, until cancelled. ``DemoViolation`` if it serves before it may.

    ``is_out_of_sync`` asks the survivor, after the answer came: if the node is no member even then, it was none before.
    """
    number, block = 0, 0
    while True:
        await _CLOCK.sleep_until(_CLOCK.now() + WATCH_S)
        try:
            client = await open_door_client(socket, client=new_client_id())
        except DisconnectError:
            continue  # not started yet
        number, block = number + 1, (block + 1) % content.blocks
        if await _is_served(client, content, number, block) and await is_out_of_sync():
            raise DemoViolation(f"node {name} served {content.describe_block(block)} before it was in sync")


async def _is_served(client: DoorClient, content: Content, number: int, block: int) -> bool:
    served = False
    with trio.move_on_after(WATCH_ANSWER_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.receive_replies)
            try:
                reply = await client.execute(
                    OperationKind.READ, number=number, offset=content.offset_of(block), size=content.size_of(block)
                )
                served = reply.outcome is Outcome.DONE
            except DisconnectError:
                served = False
            nursery.cancel_scope.cancel()
    return served
