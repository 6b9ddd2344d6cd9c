"""Connections inside one process: no sockets, no threads, no randomness, faults at will."""

import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial

import attrs
import trio

from ctlha_trio._errors import DisconnectError
from ctlha_trio.seams._memory_transit import Transit
from ctlha_trio.seams._polled_stream import PolledStream
from ctlha_trio.seams._serve import DIAL_DEADLINE_S, MAX_CONNECTIONS, serve_stream
from ctlha_trio.seams._types import Stream

BUFFER_BYTES = 256 * 1024
"""Bytes on the way in one direction of one connection, by default. In the order of what a kernel holds for a socket."""

MAX_BACKLOG = 16
"""Connections that wait for ``serve``. More are refused, as a kernel does."""

logger = logging.getLogger(__name__)


@attrs.define(eq=False)
class MemoryNetwork:
    """A network of named nodes. Addresses are free strings; whoever listens on one owns it from then on.

    A cut behaves as it does to TCP: what is under way, ends of streams included, is neither delivered nor reported. It
    is kept, as a kernel keeps it to send it again: after ``heal`` it arrives, late, whole and in order. A sender
    notices nothing until ``buffer_bytes`` are under way and then waits. Everything happens in the callers' tasks, and
    delays are on Trio's clock.
    """

    buffer_bytes: int = BUFFER_BYTES
    _listeners: "dict[str, MemoryListener]" = attrs.field(factory=dict, init=False)
    _owners: dict[str, str] = attrs.field(factory=dict, init=False)
    _cuts: dict[tuple[str, str], None] = attrs.field(factory=dict, init=False)
    _delays_s: dict[tuple[str, str], float] = attrs.field(factory=dict, init=False)
    _streams: "dict[MemoryStream, None]" = attrs.field(factory=dict, init=False)
    _changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    def transport(self, name: str) -> "MemoryTransport":
        """Return the transport of the node of that name."""
        return MemoryTransport(network=self, name=name)

    def cut(self, source: str, target: str) -> None:
        """Let nothing more arrive at ``target`` from ``source``. The other direction is another cut."""
        self._cuts[source, target] = None

    def heal(self, source: str | None = None, target: str | None = None) -> None:
        """Undo ``cut`` for what goes from ``source`` to ``target``; an omitted name stands for every node."""
        for cut in list(self._cuts):
            if source in (None, cut[0]) and target in (None, cut[1]):
                del self._cuts[cut]
        self._wake()

    def delay(self, source: str, target: str, seconds_s: float) -> None:
        """Let what ``source`` sends from now on arrive at ``target`` that much later; 0 ends it.

        Connections keep their order: what follows a delayed byte does not overtake it. A dial takes both ways.
        """
        self._delays_s[source, target] = seconds_s

    def arrival_s(self, source: str, target: str) -> float:
        """When something that ``source`` sends now is at ``target``, -inf if at once. For ``MemoryStream``."""
        delay_s = self._delays_s.get((source, target), 0.0)
        return trio.current_time() + delay_s if delay_s else -math.inf

    def reset(self, one: str, other: str) -> None:
        """Break every connection between the two, at once, on both sides, cut or not. Bytes under way are lost."""
        for stream in list(self._streams):
            if {stream.name, stream.peer.name} == {one, other}:
                stream.reset()

    def silence(self, name: str) -> None:
        """Let nothing more get out of the connections that the node has: no byte that it sends, and no end of them.

        As when its machine dies: what it has sent is under way, and the other side hears of no close. The connections
        stay so; those that the node makes later are not concerned.
        """
        for stream in self._streams:
            if stream.name == name:
                stream.silence()

    def is_cut(self, source: str, target: str) -> bool:
        """Whether nothing arrives at ``target`` from ``source`` now."""
        return (source, target) in self._cuts

    def _wake(self) -> None:
        self._changed.unpark_all()
        for stream in self._streams:
            stream.wake()

    async def connect(self, name: str, address: str) -> "MemoryStream":
        """``dial`` of the node ``name``, without its deadline. For ``MemoryTransport``."""
        await trio.lowlevel.checkpoint()
        await self._reach(name, address, name, self._owners.get(address, name))
        listener = self._listeners.get(address)
        if listener is None or not listener.has_room:
            raise DisconnectError(f"{address}: connection refused")
        dialled = MemoryStream(network=self, name=name, description=address)
        accepted = MemoryStream(network=self, name=listener.name, description=name)
        dialled.peer, accepted.peer = accepted, dialled
        self._streams[dialled] = self._streams[accepted] = None
        listener.enqueue(accepted)
        try:
            await self._reach(name, address, listener.name, name)
        except trio.Cancelled:
            dialled.close()
            raise
        return dialled

    async def _reach(self, name: str, address: str, source: str, target: str) -> None:
        """Let one way of a dial pass, which both ways must be open for."""
        due_s = self.arrival_s(source, target)
        while True:
            owner = self._owners.get(address)
            if owner is not None and (self.is_cut(name, owner) or self.is_cut(owner, name)):
                await self._changed.park()
            elif trio.current_time() < due_s:
                await park_until(self._changed, due_s)
            else:
                return

    def bind(self, name: str, address: str) -> "MemoryListener":
        """``listen`` of the node ``name``. For ``MemoryTransport``."""
        if address in self._listeners:
            raise OSError(f"{address}: address already in use")
        listener = MemoryListener(network=self, name=name, address=address)
        self._listeners[address] = listener
        self._owners[address] = name
        return listener

    def forget_listener(self, listener: "MemoryListener") -> None:
        """Free its address. For ``MemoryListener``."""
        if self._listeners.get(listener.address) is listener:
            del self._listeners[listener.address]

    def forget_stream(self, stream: "MemoryStream") -> None:
        """Stop counting it among the connections. For ``MemoryStream``."""
        self._streams.pop(stream, None)


@attrs.frozen(eq=False, kw_only=True)
class MemoryTransport:
    """One node's way into a ``MemoryNetwork``."""

    network: MemoryNetwork
    name: str

    async def dial(self, address: str) -> Stream:
        """Connect. ``DisconnectError`` if nobody listens, or after ``DIAL_DEADLINE_S`` if either way is cut."""
        with trio.move_on_after(DIAL_DEADLINE_S):
            return await self.network.connect(self.name, address)
        raise DisconnectError(f"{address}: no answer within {DIAL_DEADLINE_S:g} s")

    async def listen(self, address: str) -> "MemoryListener":
        """Bind. ``OSError`` if somebody listens there."""
        await trio.lowlevel.checkpoint()
        return self.network.bind(self.name, address)


@attrs.define(eq=False, kw_only=True)
class MemoryListener:
    """A bound address of a ``MemoryNetwork``."""

    network: MemoryNetwork
    name: str
    address: str
    _backlog: "deque[MemoryStream]" = attrs.field(factory=deque, init=False)
    _serving: int = attrs.field(default=0, init=False)
    _closed: bool = attrs.field(default=False, init=False)
    _changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    @property
    def has_room(self) -> bool:
        """Whether one more connection may wait here."""
        return len(self._backlog) < MAX_BACKLOG

    def enqueue(self, stream: "MemoryStream") -> None:
        """Let a connection wait for ``serve``."""
        self._backlog.append(stream)
        self._changed.unpark_all()

    async def serve(self, handler: Callable[[Stream], Awaitable[None]]) -> None:
        """Accept until cancelled or closed; ``trio.ClosedResourceError`` then."""
        async with trio.open_nursery() as nursery:
            while True:
                await trio.lowlevel.checkpoint()
                if self._closed:
                    raise trio.ClosedResourceError(f"{self.address}: the listener was closed")
                if not self._backlog:
                    await self._changed.park()
                    continue
                stream = self._backlog.popleft()
                if self._serving >= MAX_CONNECTIONS:
                    stream.close()
                    continue
                self._serving += 1
                nursery.start_soon(self._serve_one, handler, stream)

    async def _serve_one(self, handler: Callable[[Stream], Awaitable[None]], stream: "MemoryStream") -> None:
        try:
            await serve_stream(handler, stream, partial(logger.info, "a connection ended: %s"))
        finally:
            self._serving -= 1

    def close(self) -> None:
        """Stop listening. Connections that still wait are broken, those in handlers stay."""
        self._closed = True
        self.network.forget_listener(self)
        while self._backlog:
            self._backlog.popleft().abandon()
        self._changed.unpark_all()


@attrs.define(eq=False, kw_only=True)
class MemoryStream(PolledStream):
    """One end of a connection in memory. A send waits while ``buffer_bytes`` are under way."""

    network: MemoryNetwork
    name: str
    """The node that holds this end."""
    description: str
    peer: "MemoryStream" = attrs.field(init=False)
    _arriving: Transit = attrs.field(factory=Transit, init=False)
    _closed: bool = attrs.field(default=False, init=False)
    _end_s: float = attrs.field(default=math.inf, init=False)
    """When the other side may know that this one has closed."""
    _broken: bool = attrs.field(default=False, init=False)
    _silent: bool = attrs.field(default=False, init=False)
    """Its machine is dead: nothing gets out."""
    _changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    def _put(self, pieces: list[memoryview]) -> int:
        self._raise_if_gone()
        if self._silent:
            return sum(map(len, pieces))
        if self._peer_is_known_to_be_closed():
            raise trio.BrokenResourceError(f"{self.description}: the other side has closed")
        arriving = self.peer._arriving
        under_way = len(arriving)
        for piece in pieces:
            if room := self.network.buffer_bytes - len(arriving):
                arriving.put(piece[:room], self.network.arrival_s(self.name, self.peer.name))
        put = len(arriving) - under_way
        if put:
            self.peer.wake()
        return put

    async def _wait_for_room(self) -> None:
        await park_until(self._changed, self._peer_end_s())

    def _take(self, buffer: memoryview) -> int | None:
        self._raise_if_gone()
        if not self._is_cut_off and (count := self._arriving.take(buffer, trio.current_time())):
            self.peer.wake()
            return count
        return 0 if self._peer_is_known_to_be_closed() else None

    async def _wait_for_data(self) -> None:
        await park_until(
            self._changed, math.inf if self._is_cut_off else min(self._arriving.next_s, self._peer_end_s())
        )

    def close(self) -> None:
        """Close at once. What was sent still arrives; what was not received is lost."""
        if not self._closed:
            self._closed = True
            if not self._silent:
                self._end_s = self.peer._arriving.arrival_s(self.network.arrival_s(self.name, self.peer.name))
            self._arriving.clear()
            self.network.forget_stream(self)
            self.wake()
            self.peer.wake()

    def silence(self) -> None:
        """Let nothing that this end does be noticed by the other one any more."""
        self._silent = True
        self.wake()

    def reset(self) -> None:
        """Break both ends at once."""
        for end in (self, self.peer):
            end._broken = True
            end._arriving.clear()
            self.network.forget_stream(end)
            end.wake()

    def abandon(self) -> None:
        """``reset`` by who holds this end, which is only a ``close`` to who is silent."""
        if self._silent:
            self.close()
        else:
            self.reset()

    def wake(self) -> None:
        """Let the tasks that wait on this end look again."""
        self._changed.unpark_all()

    def _raise_if_gone(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError(f"{self.description}: this side has closed")
        if self._broken:
            raise trio.BrokenResourceError(f"{self.description}: the connection was reset")

    def _peer_is_known_to_be_closed(self) -> bool:
        return self._peer_end_s() <= trio.current_time()

    def _peer_end_s(self) -> float:
        """When the other side's end is here: never while it has none, or behind a cut."""
        return math.inf if self._is_cut_off else self.peer._end_s

    @property
    def _is_cut_off(self) -> bool:
        """Whether nothing arrives here."""
        return self.network.is_cut(self.peer.name, self.name)


async def park_until(lot: trio.lowlevel.ParkingLot, deadline_s: float) -> None:
    """Return once woken, or at ``deadline_s`` on Trio's clock. A checkpoint."""
    with trio.move_on_at(deadline_s):
        await lot.park()
