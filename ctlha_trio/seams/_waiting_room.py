"""Who of many strangers is heard next: none gets more by coming more often."""

import ipaddress
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import attrs
import trio

MAX_HANDSHAKES = 8
"""Connections that have not proved who they are, per listener. Each costs a stranger's worth of memory."""

HANDSHAKE_DEADLINE_S = 3.0
"""For such a connection to prove it."""

HANDSHAKE_SHARE_S = 0.25
"""Of that, what it has for certain; then, if somebody waits, it must give way. Enough for an honest handshake, and so
short that the peer's turn comes before its dial ends, whoever was there first."""

MAX_WAITING = 64
"""Accepted connections of which no byte has been read. Each costs a descriptor; all of them are heard, or given up
for others, before the dial of one that waits behind them ends."""

SITE_BITS = 64
"""Of an IPv6 address, those that its owner does not choose."""

Visitor = TypeVar("Visitor")


def source_of(host: str) -> str:
    """What stands for whoever can come from ``host``: the address, of IPv6 the network."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, SITE_BITS), strict=False))


@attrs.frozen(eq=False)
class Admission:
    """A handshake that is under way."""

    source: str
    scope: trio.CancelScope
    """Ends it."""
    share_until_s: float


@attrs.define(eq=False)
class WaitingRoom(Generic[Visitor]):
    """Lets ``MAX_HANDSHAKES`` at a time try to prove themselves, the sources of connections in turn.

    Next comes the first of the source of which the fewest are at it. If there is no room, the one that has been at it
    for longest gives way, of the source of which the most are, once it has had its share. If too many wait, the
    source of which the most do loses its latest. So nobody is kept out by a source that is not its own.
    """

    _start: Callable[[Visitor, Admission], None]
    """Begins a handshake, which says ``leave`` at its end."""
    _waiting: dict[str, deque[Visitor]] = attrs.field(factory=dict, init=False)
    _under_way: list[Admission] = attrs.field(factory=list, init=False)
    """The oldest first."""

    def enter(self, visitor: Visitor, source: str) -> Visitor | None:
        """One more has come; returns who is turned away for it, or itself."""
        self._waiting.setdefault(source, deque()).append(visitor)
        self._let_in()
        if sum(map(len, self._waiting.values())) <= MAX_WAITING:
            return None
        most = max(len(queue) for queue in self._waiting.values())
        crowd = source if len(self._waiting.get(source, ())) == most else self._longest()
        return self._take(crowd, deque.pop)

    def leave(self, admission: Admission) -> None:
        """A handshake is over, one way or the other."""
        self._under_way.remove(admission)
        self._let_in()

    def empty(self) -> Iterator[Visitor]:
        """Everybody who waits, and nobody does any more."""
        while self._waiting:
            yield self._take(next(iter(self._waiting)), deque.popleft)

    def _longest(self) -> str:
        return max(self._waiting, key=lambda source: len(self._waiting[source]))

    def _take(self, source: str, take: "Callable[[deque[Visitor]], Visitor]") -> Visitor:
        queue = self._waiting[source]
        visitor = take(queue)
        if not queue:
            del self._waiting[source]
        return visitor

    def _let_in(self) -> None:
        while self._waiting and len(self._under_way) < MAX_HANDSHAKES:
            busy = Counter(each.source for each in self._under_way)
            source = min(self._waiting, key=lambda source: busy[source])
            visitor = self._take(source, deque.popleft)
            now = trio.current_time()
            scope = trio.CancelScope(deadline=now + HANDSHAKE_DEADLINE_S)
            admission = Admission(source, scope, now + HANDSHAKE_SHARE_S)
            self._under_way.append(admission)
            self._start(visitor, admission)
        if self._waiting:
            self._hurry()

    def _hurry(self) -> None:
        busy = Counter(each.source for each in self._under_way)
        most = max(busy.values())
        oldest = next(each for each in self._under_way if busy[each.source] == most)
        oldest.scope.deadline = min(oldest.scope.deadline, oldest.share_until_s)
