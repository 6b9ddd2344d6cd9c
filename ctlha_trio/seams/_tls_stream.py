"""One TLS connection over one of TCP."""

import ssl
from collections.abc import Callable
from typing import ClassVar, cast

import attrs
import trio

from ctlha_trio.seams._kernel_queue import received_bytes
from ctlha_trio.seams._sending import NOTHING
from ctlha_trio.seams._socket_stream import SocketStream
from ctlha_trio.seams._tcp_stream import TcpStream

MAX_HANDSHAKE_BYTES = 8 * 1024
"""From the other side until it has proved itself. An honest handshake has about two thousand, and
three with a key share against quantum computers. What is kept of more would not stay under 64 KiB."""

HANDSHAKE_READ_BYTES = 1024
"""Of it at once: what goes through is kept room for, beside what OpenSSL itself makes of it."""

RECORD_BYTES = 16 * 1024
"""The most that one record of TLS holds, and the most that one read returns."""

MAX_CALL_BYTES = 132 * 1024
"""Encrypted or decrypted in one call, during which nothing else runs: a twentieth of a millisecond. An eighth of a MiB
with a head, and a burst of messages. Measured between two processes, with twice of it a MiB takes a tenth more of the
sender's processor: the other side runs dry before the next part comes, sleeps, and has to be woken. Cut where a record
is full, which saves one of each fragment's, the parts were slower."""

RECEIVED_BYTES = 128 * 1024
"""Taken from the kernel at once, to be decrypted while it is in the processor's nearest large cache."""

Decrypt = Callable[[int, memoryview], int]
"""``SSLObject.read`` into a buffer: at most one record, 0 at the end that the other side told."""


@attrs.define(eq=False)
class TlsStream(SocketStream):
    """A connection whose bytes TLS protects.

    OpenSSL reads and writes memory, and this moves what lies there from and to the socket, many records at once.
    Left to do that itself, it calls the kernel for each record, twice to receive one. Measured between two processes, a
    MiB takes 0.39 ms so, and 0.62 ms on an ``ssl.SSLSocket``, though each byte is copied twice more.

    What is encrypted must be sent, for the other side counts the records. So data whose records found no room is not
    taken before they have left, and must be offered again. What OpenSSL wants to answer to what came, a change of keys,
    goes out with the next write.
    """

    turn_bytes: ClassVar[int] = 512 * 1024
    """Half a millisecond. Measured, with twice of it the slowest hundredth of messages beside bulk data takes a fifth
    longer, and no more of that is moved."""
    _tls: ssl.SSLObject
    _incoming: ssl.MemoryBIO
    """Received, not decrypted: at most ``RECEIVED_BYTES`` and a part of a record."""
    _outgoing: ssl.MemoryBIO
    """Encrypted, not yet handed to the socket."""
    _received: memoryview = attrs.field(factory=lambda: memoryview(bytearray(HANDSHAKE_READ_BYTES)), init=False)
    """What is received goes through it."""
    _unsent: memoryview = attrs.field(default=NOTHING, init=False)
    """Encrypted, for which the socket had no room."""
    _encrypted_bytes: int = attrs.field(default=0, init=False)
    """Of the data that was offered, what is in there."""
    _is_starved: bool = attrs.field(default=True, init=False)
    """Nothing can be read before more is received."""
    _is_drained: bool = attrs.field(default=False, init=False)
    """The socket gave less than there was space for."""
    _broken_by: OSError | None = attrs.field(default=None, init=False)
    """What a read met behind something that had come before: the next one raises it."""

    @property
    def peer_certificate(self) -> bytes:
        """What the other side showed, in DER, once the handshake is done."""
        return self._tls.getpeercert(binary_form=True) or b""

    async def handshake(self) -> None:
        """Run the handshake. ``trio.BrokenResourceError`` if it fails, caused by ``ssl.SSLError`` if TLS refused it.

        A client's handshake ends before the server has judged the client's certificate.
        """
        try:
            while self._is_shaking_hands():
                while not self._send_encrypted():
                    await self._wait_for_room()
                if received_bytes(self._socket) > MAX_HANDSHAKE_BYTES:
                    raise trio.BrokenResourceError(f"{self.description}: a handshake without end")
                while (count := self._receive()) is None:
                    await self._wait_for_data()
                if not count:
                    self._incoming.write_eof()
            while not self._send_encrypted():
                await self._wait_for_room()
        except OSError as error:
            self._say_why()
            self._take_the_rest()
            raise trio.BrokenResourceError(f"{self.description}: {error}") from error
        self._received = memoryview(bytearray(RECEIVED_BYTES))

    def _is_shaking_hands(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return True
        self._is_starved = False
        return False

    def _say_why(self) -> None:
        """Let the other side know what TLS had against it. Behind what found no room nothing can be said."""
        try:
            self._send_encrypted()
        except OSError:
            return  # nobody is left to tell

    def _take_the_rest(self) -> None:
        # TLS has said why it refused. A connection closed on unread bytes may lose its last words, and those are they.
        try:
            self._socket.recv(MAX_HANDSHAKE_BYTES)
        except OSError:
            return  # nothing came behind what was refused, or nobody is left to tell

    def _write(self, pieces: list[memoryview]) -> int:
        if not self._encrypted_bytes:
            self._encrypt(pieces)
        if not self._send_encrypted():
            return 0
        taken, self._encrypted_bytes = self._encrypted_bytes, 0
        return taken

    def _encrypt(self, pieces: list[memoryview]) -> None:
        left_bytes = MAX_CALL_BYTES
        for piece in pieces:
            if len(piece) > left_bytes < RECORD_BYTES:
                break  # it would begin with less than a record
            offered = piece[:left_bytes]
            taken = self._tls.write(offered)
            left_bytes -= taken
            if taken < len(offered):
                break
        self._encrypted_bytes = MAX_CALL_BYTES - left_bytes

    def _send_encrypted(self) -> bool:
        """Whether all that is encrypted was sent."""
        if not self._unsent:
            self._unsent = memoryview(self._outgoing.read())
        try:
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            return False
        self._unsent = NOTHING  # an empty part would keep the memory of the whole
        return True

    def _read_into(self, buffer: memoryview) -> int | None:
        self._raise_if_closed()
        if self._broken_by is not None:
            raise self._broken_by
        filled, came = 0, None
        space: memoryview | None = None
        size_bytes = min(len(buffer), MAX_CALL_BYTES)
        decrypt, incoming = cast("Decrypt", self._tls.read), self._incoming
        try:
            while filled < size_bytes:
                if self._is_starved and ((filled and self._is_drained) or not (came := self._receive())):
                    break
                left = size_bytes - filled
                try:
                    space = buffer[filled:size_bytes]
                    count = decrypt(left, space)
                except ssl.SSLWantReadError:
                    self._is_starved = True
                    continue
                if not count:
                    return filled
                self._is_starved = count < left and not incoming.pending
                filled += count
        except OSError as error:
            if space is not None:
                space.release()  # not by ``with``, whose two calls each record would pay for
            self._say_why()
            if not filled:
                raise
            # Without what led to it, which holds the buffer: its owner may resize that once it has what came.
            self._broken_by = error.with_traceback(None)
            self._broken_by.__context__ = None
        return filled or came

    def _receive(self) -> int | None:
        """Take what has come, to be decrypted: how many bytes, 0 at the end, None if there are none yet."""
        count = self._take_from_kernel(self._received)
        if count:
            self._incoming.write(self._received[:count])
            self._is_starved = False
            self._is_drained = count < len(self._received)
        return count


def wrap(raw: TcpStream, context: ssl.SSLContext, *, server_side: bool) -> TlsStream:
    """Take over a connection, without sending anything."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=server_side)
    return TlsStream(raw.detach(), raw.description, tls, incoming, outgoing)
