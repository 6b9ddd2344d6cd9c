"""The measuring side: each workload once, as a program that uses the package would write it."""

import statistics
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
import trio

from ctlha_trio._errors import BusyError, DisconnectError, FailedError
from ctlha_trio._vocabulary import CTL_HA_CHAN_CTL, RemoteBuffer
from ctlha_trio.bench._bare import BareListener, BareSockets
from ctlha_trio.bench._bare_blocking import CHUNK_BYTES
from ctlha_trio.bench._header import HeaderChannel
from ctlha_trio.bench._node import Side
from ctlha_trio.bench._orders import MESSAGE, receive_order, send_order
from ctlha_trio.ha import MessageChannel, Node, PendingTransfer

IN_FLIGHT: Final = 4
"""Transfers: one that is sent, one that is confirmed, and two so that neither side ever waits for the other."""
P99: Final = 0.99


@attrs.frozen
class RoundTrips:
    """Seconds."""

    p50_s: float
    p99_s: float

    @classmethod
    def of(cls, took_s: list[float]) -> "RoundTrips":
        """Of each message."""
        ordered = sorted(took_s)
        return cls(statistics.median(ordered), ordered[min(len(ordered) - 1, int(P99 * len(ordered)))])


@attrs.define(eq=False)
class Measuring:
    """Connected to the serving side. Made by ``open_measuring``.

    ``DisconnectError`` from each measurement if the other side is lost, ``FailedError`` if it could not do its half.
    """

    _node: Node
    _channel: MessageChannel
    _header: HeaderChannel
    _listener: BareListener
    _key: bytes
    _chunk: bytearray = attrs.field(factory=lambda: bytearray(CHUNK_BYTES), init=False)
    """Of all transfers, at one place at the other side: as sockets are measured, whose caches must not count more."""

    async def one_way(self, count: int, *, after_s: float = 0.0) -> float:
        """Messages a second: ``send_nowait`` for each, batches at the other side, until its word that all are there.

        The other side reads none before ``after_s``.
        """
        send = self._channel.send_nowait
        left = count
        began_s = time.perf_counter()
        send_order(self._channel, do="receive", count=count, after_s=after_s)
        while left:
            try:
                while left:
                    send(MESSAGE)
                    left -= 1
            except BusyError:
                await self._channel.wait_for_credit()
        await self._done()
        return count / (time.perf_counter() - began_s)

    async def one_way_header(self, count: int) -> float:
        """Messages a second by the header's functions, likewise."""
        send_order(self._channel, do="receive-header", count=count)
        # They are of another channel, whose first ones could be there before the order.
        await receive_order(self._channel)
        began_s = time.perf_counter()
        await self._header.send(count)
        await self._done()
        return count / (time.perf_counter() - began_s)

    async def round_trips(self, count: int) -> RoundTrips:
        """A message there and back, one after the other."""
        send_order(self._channel, do="echo", count=count)
        took_s = []
        for _ in range(count):
            began_s = time.perf_counter()
            self._channel.send_nowait(MESSAGE)
            await self._channel.receive()
            took_s.append(time.perf_counter() - began_s)
        return RoundTrips.of(took_s)

    async def loaded_round_trips(self, what: str, count: int) -> RoundTrips:
        """The same while transfers keep the link busy. ``what``: ``push`` or ``pull``."""
        busy = True
        start = self._start_of(what)

        async def keep_busy() -> None:
            under_way: deque[PendingTransfer] = deque()
            while busy:
                while len(under_way) < IN_FLIGHT:
                    under_way.append(start())
                await under_way.popleft().wait()
            while under_way:
                await under_way.popleft().wait()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_busy)
            trips = await self.round_trips(count)
            busy = False
        return trips

    async def transfers(self, what: str, count: int) -> float:
        """Bytes a second by transfers of 1 MiB, ``IN_FLIGHT`` at a time, until the last is confirmed."""
        start = self._start_of(what)
        under_way: deque[PendingTransfer] = deque()
        began_s = time.perf_counter()
        for _ in range(count):
            if len(under_way) == IN_FLIGHT:
                await under_way.popleft().wait()
            under_way.append(start())
        while under_way:
            await under_way.popleft().wait()
        return count * CHUNK_BYTES / (time.perf_counter() - began_s)

    async def bare_round_trips(self, count: int) -> RoundTrips:
        """On a bare Trio socket, or Trio's ``SSLStream``."""
        return RoundTrips.of(await self._bare("ping", count))

    async def bare_transfers(self, kind: str, count: int) -> float:
        """Bytes a second on bare sockets. ``kind``: one of the uses that carry chunks."""
        return count * CHUNK_BYTES / float(await self._bare(kind, count))

    async def _bare(self, kind: str, count: int) -> Any:
        send_order(self._channel, do="bare", kind=kind, count=count)
        try:
            stream = await self._listener.accept()
        except trio.TooSlowError as error:
            await self._done()
            raise FailedError("the other side's connection to compare with did not come") from error
        measured = await self._listener.sockets.measure(kind, stream, count)
        await self._done()
        return measured

    def _start_of(self, what: str) -> Callable[[], PendingTransfer]:
        remote = RemoteBuffer(self._key)
        start = {"push": self._node.push_nowait, "pull": self._node.pull_nowait}[what]
        return lambda: start(remote, self._chunk)

    async def _done(self) -> None:
        answer = await receive_order(self._channel)
        if "done" not in answer:
            raise FailedError("the other side does not say what is expected: both must be of one version")


@asynccontextmanager
async def open_measuring(
    node: Node, side: Side, wait_connected: Callable[[MessageChannel], Awaitable[None]]
) -> AsyncIterator[Measuring]:
    """Once there is a session; ``wait_connected`` says how long to wait for it, and what it is if none comes.

    ``side`` is where bare sockets listen, with the node's keys. ``OSError`` if that address cannot be had.
    """
    header = HeaderChannel(node)
    header.open()
    channel = node.open_channel(CTL_HA_CHAN_CTL)
    await wait_connected(channel)
    await header.wait_connected()
    sockets = BareSockets.of(side, server_side=True)
    async with sockets.listening() as listener:
        await channel.wait_for_credit()
        send_order(channel, do="memory")
        key = bytes.fromhex(str((await receive_order(channel)).get("key", "")))
        if not key:
            raise DisconnectError("the other side gives no memory")
        yield Measuring(node, channel, header, listener, key)
