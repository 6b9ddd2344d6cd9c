"""TCP: the ground that TLS stands on, and a transport of its own for tests and benchmarks on one machine."""

import errno
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NoReturn

import attrs
import trio
from trio.socket import SocketType

from ctlha_trio._errors import CtlHaError, DisconnectError, InvalidError, UntrustedPeerError
from ctlha_trio._repeats import Repeats
from ctlha_trio.seams._address import format_address, parse_address
from ctlha_trio.seams._clock import TrioClock
from ctlha_trio.seams._run_in_thread import is_lack_of_threads
from ctlha_trio.seams._serve import DIAL_DEADLINE_S, MAX_CONNECTIONS, serve_stream
from ctlha_trio.seams._stranger_log import Fate, StrangerLog
from ctlha_trio.seams._tcp_stream import TcpStream, take_over
from ctlha_trio.seams._types import Stream
from ctlha_trio.seams._waiting_room import Admission, WaitingRoom, source_of

BACKLOG = 64
"""Connections that the kernel holds for the accept loop, which falls behind while the process does."""

ACCEPT_PAUSE_S = 0.1
"""After an error of ``accept`` that stays, such as too many open files: often enough to recover, too rare to spin."""

ERRORS_OF_ONE_CONNECTION = frozenset(
    {errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN}
    | {errno.EHOSTUNREACH, errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.ETIMEDOUT}
)
"""``accept`` hands on what went wrong with the connection that it would have returned; the next one may be well."""

logger = logging.getLogger(__name__)


Admit = Callable[[TcpStream], Awaitable[Stream]]
"""Finds out who it is: returns the stream to use, or raises ``UntrustedPeerError`` or ``DisconnectError``."""


@attrs.define(eq=False, kw_only=True)
class SocketListener:
    """Bound sockets, and the bounds of what strangers can take. For ``TcpTransport`` and ``TlsTransport``."""

    _sockets: Sequence[SocketType]
    _admit: Admit
    _report: Callable[[CtlHaError], None]
    address: str
    _serving: int = attrs.field(default=0, init=False)
    _clock: TrioClock = attrs.field(factory=TrioClock, init=False)
    _strangers: StrangerLog = attrs.field(init=False)
    _stranger_came: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    def __attrs_post_init__(self) -> None:
        self._strangers = StrangerLog(self.address)

    async def serve(self, handler: Callable[[Stream], Awaitable[None]]) -> None:
        """Accept until cancelled or closed; ``trio.ClosedResourceError`` then.

        A connection that is not admitted within ``HANDSHAKE_DEADLINE_S`` is closed; one with the wrong key is reported.
        The log tells of all of them as ``StrangerLog`` says, so that none writes it full.
        Above ``MAX_HANDSHAKES`` they wait, ``MAX_WAITING`` at most, and get their turns as ``WaitingRoom`` says. Once
        admitted, a connection above ``MAX_CONNECTIONS`` is closed at once.
        """
        async with trio.open_nursery() as nursery:

            def start(accepted: SocketType, admission: Admission) -> None:
                nursery.start_soon(self._serve_one, room, accepted, admission, handler)

            room = WaitingRoom(start)
            try:
                async with trio.open_nursery() as accepting:
                    accepting.start_soon(self._sum_up)
                    for socket in self._sockets:
                        accepting.start_soon(self._accept_all, room, socket)
            finally:
                for accepted in room.empty():
                    accepted.close()

    async def _accept_all(self, room: WaitingRoom[SocketType], socket: SocketType) -> NoReturn:
        repeats = Repeats()
        while True:
            try:
                accepted, (host, *_) = await socket.accept()
            except OSError as error:
                if error.errno == errno.EBADF:
                    raise trio.ClosedResourceError(f"{self.address}: the listener was closed") from error
                if error.errno not in ERRORS_OF_ONE_CONNECTION:
                    line = repeats.came(self._clock.now(), f"{self.address}: cannot accept connections: {error}")
                    if line is not None:
                        logger.warning("%s", line)
                    await self._clock.sleep_until(self._clock.now() + ACCEPT_PAUSE_S)
                continue
            turned_away = room.enter(accepted, source_of(host))
            if turned_away is not None:
                turned_away.close()

    async def _serve_one(
        self,
        room: WaitingRoom[SocketType],
        accepted: SocketType,
        admission: Admission,
        handler: Callable[[Stream], Awaitable[None]],
    ) -> None:
        try:
            stream = await self._try_to_admit(accepted, admission)
        finally:
            room.leave(admission)
        if stream is None:
            return
        if self._serving >= MAX_CONNECTIONS:
            self._tell(admission.source, Fate.SURPLUS, stream.description)
            stream.close()
            return
        self._serving += 1
        try:
            await serve_stream(handler, stream, partial(self._tell, admission.source, Fate.FAILED))
        finally:
            self._serving -= 1

    async def _try_to_admit(self, accepted: SocketType, admission: Admission) -> Stream | None:
        raw: TcpStream | None = None
        admitted: Stream | None = None
        try:
            raw = wrap_socket(accepted)
            with admission.scope:
                admitted = await self._admit(raw)
                return admitted
            self._tell(admission.source, Fate.SLOW, raw.description)
        except UntrustedPeerError as error:
            self._tell(admission.source, Fate.UNTRUSTED, str(error))
            self._report(error)
        except (DisconnectError, OSError) as error:
            self._tell(admission.source, Fate.UNPROVED, str(error))
        finally:
            if admitted is None:
                (raw or accepted).close()
        return None

    def _tell(self, source: str, fate: Fate, detail: str) -> None:
        line = self._strangers.came(self._clock.now(), source, fate, detail)
        if line is not None:
            logger.log(line.level, "%s", line.text)
            self._stranger_came.unpark_all()

    async def _sum_up(self) -> NoReturn:
        try:
            while True:
                while (due_s := self._strangers.due_s) is None:
                    await self._stranger_came.park()
                await self._clock.sleep_until(due_s)
                self._write_sums()
        finally:
            self._write_sums()

    def _write_sums(self) -> None:
        for line in self._strangers.sum_up(self._clock.now()):
            logger.log(line.level, "%s", line.text)

    def close(self) -> None:
        """Stop listening. Connections in handlers stay. May be called twice."""
        for socket in self._sockets:
            socket.close()


def wrap_socket(socket: SocketType) -> TcpStream:
    """Make a stream of a connected socket. ``OSError`` if it is not connected any more."""
    host, port = socket.getpeername()[:2]
    return take_over(socket, format_address(host, port))


async def connect(address: str) -> TcpStream:
    """Connect by TCP, without a deadline. ``DisconnectError`` if nobody answers, ``ValueError`` for no address."""
    host, port = parse_address(address)
    try:
        stream = await trio.open_tcp_stream(host, port)
    except OSError as error:
        raise DisconnectError(f"{address}: {error}") from error
    except RuntimeError as error:
        if not is_lack_of_threads(error):
            raise
        # Nothing of ours runs in there: it is the thread that looks up a host's name, and cannot be had.
        raise DisconnectError(f"{address}: cannot look up the host now: {error}") from error
    return take_over(stream.socket, address)


def report_to_nobody(_: CtlHaError) -> None:
    """The report of listeners that nobody gave another: what there is to say is in the log."""


async def bind(address: str, *, admit: Admit, report: Callable[[CtlHaError], None]) -> SocketListener:
    """Bind every address of the host. ``OSError`` if that fails. Port 0 picks a port of the first address alone."""
    host, port = parse_address(address)
    first, *others = await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)
    if port == 0:
        for listener in others:
            listener.socket.close()
        others = []
    bound_host, bound_port = first.socket.getsockname()[:2]
    return SocketListener(
        sockets=[first.socket, *(listener.socket for listener in others)],
        admit=admit,
        report=report,
        address=format_address(bound_host, bound_port),
    )


@attrs.frozen(eq=False)
class TcpTransport:
    """Connections that prove nothing, within one machine. For tests and benchmarks; no configuration selects it."""

    async def dial(self, address: str) -> Stream:
        """Connect. ``DisconnectError`` if nobody answers; ``InvalidError`` for an address beyond this machine."""
        _refuse_other_machines(address)
        with trio.move_on_after(DIAL_DEADLINE_S):
            return await connect(address)
        raise DisconnectError(f"{address}: no answer within {DIAL_DEADLINE_S:g} s")

    async def listen(self, address: str) -> SocketListener:
        """Bind. ``OSError`` if that fails; ``InvalidError`` for an address beyond this machine."""
        _refuse_other_machines(address)
        return await bind(address, admit=_admit_everybody, report=report_to_nobody)


async def _admit_everybody(stream: TcpStream) -> Stream:
    await trio.lowlevel.checkpoint()
    return stream


def _refuse_other_machines(address: str) -> None:
    host, _ = parse_address(address)
    try:
        is_here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_here = host == "localhost"
    if not is_here:
        raise InvalidError(f"{address}: plain TCP is only for connections within one machine")
