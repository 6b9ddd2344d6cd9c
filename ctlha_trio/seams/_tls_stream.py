"""One TLS connection over one of TCP."""

import socket
import ssl
from typing import ClassVar

import attrs
import trio

from ctlha_trio._errors import DisconnectError
from ctlha_trio.seams._kernel_queue import received_bytes
from ctlha_trio.seams._socket_stream import SocketStream
from ctlha_trio.seams._tcp_stream import TcpStream

MAX_HANDSHAKE_BYTES = 8 * 1024
"""From the other side until it has proved itself. An honest handshake has about two thousand, and
three with a key share against quantum computers. What is kept of more would not stay under 64 KiB."""

RECORD_BYTES = 16 * 1024
"""The most that one record of TLS holds, and the most that one read returns."""

MAX_CALL_BYTES = 256 * 1024
"""Encrypted or decrypted in one call, during which nothing else runs: a quarter of a millisecond."""


@attrs.define(eq=False)
class TlsStream(SocketStream[ssl.SSLSocket]):
    """A connection whose bytes TLS protects, which OpenSSL itself moves from and to the socket.

    Trio's own ``SSLStream`` moves them by way of buffers in memory, which makes each byte three times as dear.

    Two rules of OpenSSL hold: a write that found no room must be tried again with the same data before any other, and
    only a send may follow one that was cut short. What it wants to answer to what came, a change of keys, goes out with
    the next write; a read that comes in the middle of that waits for room too.
    """

    turn_bytes: ClassVar[int] = 2 * MAX_CALL_BYTES
    """Half a millisecond. Measured, with twice of it the slowest hundredth of messages beside bulk data takes a fifth
    longer, and no more of that is moved."""
    _read_wants_room: bool = attrs.field(default=False, init=False)
    _broken_by: OSError | None = attrs.field(default=None, init=False)
    """What a read met behind something that had come before: the next one raises it."""
    _awaits_room: bool = attrs.field(default=False, init=False)
    _room: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    @property
    def peer_certificate(self) -> bytes:
        """What the other side showed, in DER. Empty before the handshake."""
        return self._socket.getpeercert(binary_form=True) or b""

    async def handshake(self) -> None:
        """Run the handshake. ``trio.BrokenResourceError`` if it fails, caused by ``ssl.SSLError`` if TLS refused it.

        A client's handshake ends before the server has judged the client's certificate.
        """
        while True:
            if received_bytes(self._socket) > MAX_HANDSHAKE_BYTES:
                raise trio.BrokenResourceError(f"{self.description}: a handshake without end")
            try:
                self._socket.do_handshake()
            except ssl.SSLWantReadError:
                await self._wait_for_data()
            except ssl.SSLWantWriteError:
                await self._wait_for_room()
            except OSError as error:
                self._take_the_rest()
                raise trio.BrokenResourceError(f"{self.description}: {error}") from error
            else:
                return

    def _take_the_rest(self) -> None:
        # TLS has said why it refused. A connection closed on unread bytes may lose its last words, and those are they.
        rest = bytearray(MAX_HANDSHAKE_BYTES)
        try:
            socket.socket.recv_into(self._socket, rest)
        except OSError:
            return  # nothing came behind what was refused, or nobody is left to tell

    def _write(self, pieces: list[memoryview]) -> int:
        try:
            return self._socket.send(next_record(pieces))
        except ssl.SSLWantWriteError:
            return 0

    def _read_into(self, buffer: memoryview) -> int | None:
        if self._broken_by is not None:
            raise self._broken_by
        filled = 0
        size_bytes = min(len(buffer), MAX_CALL_BYTES)
        try:
            while filled < size_bytes:
                count = self._socket.recv_into(buffer[filled:size_bytes])
                filled += count
                if count < RECORD_BYTES:
                    # The end, or of what was sent at once: to look for more costs more than it mostly finds.
                    break
        except ssl.SSLWantReadError:
            return filled or None
        except ssl.SSLWantWriteError:
            self._read_wants_room = True
            return filled or None
        except OSError as error:
            if not filled:
                raise
            self._broken_by = error
        return filled

    async def _wait_for_data(self) -> None:
        if self._read_wants_room:
            await self._wait_for_room()
            self._read_wants_room = False
        else:
            await trio.lowlevel.wait_readable(self._socket)

    async def _wait_for_room(self) -> None:
        # Only one task may wait for a socket; the other one waits for that task.
        if self._awaits_room:
            await self._room.park()
            return
        self._awaits_room = True
        try:
            await trio.lowlevel.wait_writable(self._socket)
        finally:
            self._awaits_room = False
            self._room.unpark_all()


def wrap(raw: TcpStream, context: ssl.SSLContext, *, server_side: bool) -> TlsStream:
    """Take over a connection, without sending anything. ``DisconnectError`` if there is none any more."""
    plain = raw.detach()
    try:
        plain.getpeername()  # what ``ssl`` makes of a connection that is gone it forgets to close
        tls = context.wrap_socket(plain, server_side=server_side, do_handshake_on_connect=False)
    except OSError as error:
        raise DisconnectError(f"{raw.description}: {error}") from error
    finally:
        plain.close()
    return TlsStream(tls, raw.description)


def next_record(pieces: list[memoryview]) -> memoryview:
    """What to encrypt next: the same for the same pieces.

    A short piece is filled up to a whole record from those behind it, since a record of its own costs both sides calls.
    """
    first = pieces[0]
    if len(first) >= RECORD_BYTES or len(pieces) == 1:
        return first[:MAX_CALL_BYTES]
    record = bytearray()
    for piece in pieces:
        record += piece[: RECORD_BYTES - len(record)]
        if len(record) == RECORD_BYTES:
            break
    return memoryview(record)
