"""One TLS connection over one of TCP."""

import ssl
from contextlib import suppress
from typing import cast

import attrs
import trio

from ctlha_trio.seams._one_at_a_time import OneAtATime
from ctlha_trio.seams._tcp import TcpStream
from ctlha_trio.seams._types import Buffer

MAX_HANDSHAKE_BYTES = 16 * 1024
"""From the other side until it has proved itself. An honest handshake has about two thousand."""

RECEIVE_BYTES = 64 * 1024
"""Asked of the socket at once: four records of TLS."""

SEND_BYTES = 256 * 1024
"""Encrypted at once; bounds the memory that a large send takes beside its data."""


@attrs.define(eq=False)
class TlsStream:
    """A connection whose bytes TLS protects.

    Trio's own ``SSLStream`` drops the alert that tells the other side why a handshake failed, and reads by way of new
    byte strings; this one sends the alert, and decrypts into the caller's buffer.
    """

    _raw: TcpStream
    _context: ssl.SSLContext
    _server_side: bool
    _incoming: ssl.MemoryBIO = attrs.field(factory=ssl.MemoryBIO, init=False)
    _outgoing: ssl.MemoryBIO = attrs.field(factory=ssl.MemoryBIO, init=False)
    _tls: ssl.SSLObject = attrs.field(init=False)
    _received: memoryview = attrs.field(factory=lambda: memoryview(bytearray(RECEIVE_BYTES)), init=False)
    _closed: bool = attrs.field(default=False, init=False)
    _cut_short: bool = attrs.field(default=False, init=False)
    _ended: bool = attrs.field(default=False, init=False)
    """TCP ended during the handshake, and TLS has been told."""
    _sending: OneAtATime = attrs.field(factory=lambda: OneAtATime("sending"), init=False)
    _receiving: OneAtATime = attrs.field(factory=lambda: OneAtATime("receiving"), init=False)

    def __attrs_post_init__(self) -> None:
        """Begin the protocol, without sending anything."""
        self._tls = self._context.wrap_bio(self._incoming, self._outgoing, server_side=self._server_side)

    @property
    def description(self) -> str:
        """The other side's address."""
        return self._raw.description

    @property
    def peer_certificate(self) -> bytes:
        """What the other side showed, in DER. Empty before the handshake."""
        return self._tls.getpeercert(binary_form=True) or b""

    async def handshake(self) -> None:
        """Run the handshake. ``trio.BrokenResourceError`` if it fails, caused by ``ssl.SSLError`` if TLS refused it.

        A client's handshake ends before the server has judged the client's certificate.
        """
        received_bytes = 0
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
            except ssl.SSLError as error:
                await self._say_why()
                raise trio.BrokenResourceError(f"{self.description}: {error}") from error
            else:
                await self._flush()
                return
            if received_bytes > MAX_HANDSHAKE_BYTES:
                raise trio.BrokenResourceError(f"{self.description}: a handshake without end")
            count = await self._feed()
            if not count and self._ended:
                raise trio.BrokenResourceError(f"{self.description}: closed during the handshake")
            self._ended = not count
            received_bytes += count

    async def send_all(self, data: Buffer) -> None:
        """Send everything. Cancelled: an unknown part was sent, and nothing can be sent any more."""
        with self._sending, memoryview(data) as whole, whole.cast("B") as view:
            # To send is a checkpoint: one more before it would cost each frame a turn of the loop.
            if view:
                await trio.lowlevel.checkpoint_if_cancelled()
            else:
                await trio.lowlevel.checkpoint()
            if self._closed:
                raise trio.ClosedResourceError(f"{self.description}: this side has closed")
            if self._cut_short:
                raise trio.BrokenResourceError(f"{self.description}: an earlier send was cut short")
            sent = 0
            while sent < len(view):
                try:
                    sent += self._tls.write(view[sent : sent + SEND_BYTES])
                except ssl.SSLError as error:
                    raise trio.BrokenResourceError(f"{self.description}: {error}") from error
                await self._flush()

    async def receive_into(self, buffer: memoryview) -> int:
        """Wait for at least one byte, fill up to the buffer's size with what has come; 0 at the end of the stream.

        The end is the end of the TCP connection: nobody says farewell, and whoever uses the stream must know from its
        contents whether it is whole.
        """
        if not len(buffer):
            raise ValueError("the buffer has no room: 0 would read as the end of the stream")
        with self._receiving:
            await trio.lowlevel.checkpoint_if_cancelled()
            fed = False
            while True:
                if self._closed:
                    raise trio.ClosedResourceError(f"{self.description}: this side has closed")
                count = self._decrypt_into(buffer)
                if count is not None:
                    break
                await self._feed()
                fed = True
            if not fed:
                await trio.lowlevel.cancel_shielded_checkpoint()
            return count

    def close(self) -> None:
        """Close at once, without a farewell."""
        self._closed = True
        self._raw.close()

    def _decrypt_into(self, buffer: memoryview) -> int | None:
        """Bytes that were there, 0 at the end, ``None`` if more must come first."""
        filled = 0
        try:
            while filled < len(buffer):
                count = read_into(self._tls, buffer[filled:])
                if not count:
                    return filled
                filled += count
        except ssl.SSLWantReadError:
            return filled or None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return filled
        except ssl.SSLError as error:
            raise trio.BrokenResourceError(f"{self.description}: {error}") from error
        return filled

    async def _feed(self) -> int:
        count = await self._raw.receive_into(self._received)
        if count:
            self._incoming.write(self._received[:count])
        else:
            self._incoming.write_eof()
        return count

    async def _flush(self) -> None:
        # The receiving task never sends: what TLS wants to answer to what came waits here for the next send.
        pending = self._outgoing.read()
        if pending:
            self._cut_short = True
            await self._raw.send_all(pending)
            self._cut_short = False

    async def _say_why(self) -> None:
        # If nobody is left to tell, what went wrong is still raised.
        with suppress(trio.BrokenResourceError):
            await self._flush()


def read_into(tls: ssl.SSLObject, buffer: memoryview) -> int:
    """Decrypt into ``buffer``; at least one byte, or one of the errors of ``ssl``.

    0 is the end too: after a farewell in every version, after the end of TCP where ``OP_IGNORE_UNEXPECTED_EOF`` is a
    default, as in Python 3.11.2.
    """
    # The stubs know only the form without a buffer.
    return cast("int", tls.read(len(buffer), buffer))
