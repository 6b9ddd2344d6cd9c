"""The transport of production: TLS 1.3 in which each side knows the other's key."""

import hmac
import logging
import ssl
from collections.abc import Callable, Sequence

import attrs
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ctlha_trio._errors import CtlHaError, DisconnectError, InvalidError, UntrustedPeerError
from ctlha_trio.seams._certificates import make_context, pin_of_certificate
from ctlha_trio.seams._identity import Pin
from ctlha_trio.seams._serve import DIAL_DEADLINE_S
from ctlha_trio.seams._tcp import SocketListener, bind, connect, report_to_nobody
from ctlha_trio.seams._tcp_stream import TcpStream
from ctlha_trio.seams._tls_stream import TlsStream, wrap
from ctlha_trio.seams._types import Stream

MAX_PINS = 2
"""Of one peer: its key, and the next one while keys are being changed."""

TRUSTED = b"+"
REFUSED = b"-"
"""One byte of judgement from each side, the accepting side first. TLS 1.3 lets a client finish before it is judged."""

WORDS_OF_REFUSAL = ("CERTIFICATE", "UNKNOWN_CA", "UNKNOWN CA", "DECRYPT", "ACCESS")
"""In the names of the alerts that mean that the other side does not want our key, in OpenSSL's spellings."""

logger = logging.getLogger(__name__)


@attrs.define(eq=False, kw_only=True)
class TlsTransport:
    """Connections to the one node whose key is pinned.

    Raises ``InvalidError`` unless there are one or two pins. ``report`` gets an ``UntrustedPeerError`` for each
    accepted connection on which either side did not trust the other's key; strangers can cause any number of them. The
    log has them too, by few lines.
    """

    _key: Ed25519PrivateKey = attrs.field(repr=False)
    _pins: Sequence[Pin]
    _report: Callable[[CtlHaError], None] = report_to_nobody
    _client: ssl.SSLContext = attrs.field(init=False, repr=False)
    _server: ssl.SSLContext = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        """Prepare both contexts: from here on the key is not needed on disk."""
        if not 1 <= len(self._pins) <= MAX_PINS:
            raise InvalidError(f"peer.pins: one or two keys, not {len(self._pins)}")
        self._client = make_context(self._key, self._pins, server_side=False)
        self._server = make_context(self._key, self._pins, server_side=True)

    async def dial(self, address: str) -> Stream:
        """Connect and have both keys judged, within ``DIAL_DEADLINE_S``. ``ValueError`` for no address.

        ``DisconnectError`` if nobody answers in time, ``UntrustedPeerError`` if either side does not trust the other.
        """
        with trio.move_on_after(DIAL_DEADLINE_S):
            return await self._authenticate(await connect(address), server_side=False)
        raise DisconnectError(f"{address}: no answer within {DIAL_DEADLINE_S:g} s")

    async def shows_pinned_key(self, address: str) -> bool:
        """Whether whoever answers there within ``DIAL_DEADLINE_S`` has a pinned key, whatever it thinks of this one.

        ``ValueError`` for no address. A checkpoint.
        """
        with trio.move_on_after(DIAL_DEADLINE_S):
            try:
                stream = wrap(await connect(address), self._client, server_side=False)
            except DisconnectError:
                return False
            try:
                await stream.handshake()
                return self._is_pinned(pin_of_certificate(stream.peer_certificate))
            except (trio.BrokenResourceError, ValueError):
                return False
            finally:
                stream.close()
        return False

    async def listen(self, address: str) -> SocketListener:
        """Bind. ``OSError`` if that fails, ``ValueError`` for no address."""
        return await bind(address, admit=self._admit, report=self._report)

    async def _admit(self, raw: TcpStream) -> Stream:
        return await self._authenticate(raw, server_side=True)

    async def _authenticate(self, raw: TcpStream, *, server_side: bool) -> Stream:
        stream = wrap(raw, self._server if server_side else self._client, server_side=server_side)
        authenticated = False
        try:
            await stream.handshake()
            if server_side:
                await self._judge(stream)
                await _await_judgement(stream)
            else:
                # The judge's word must not cross with ours: a connection closed on unread bytes may lose its last ones.
                await _await_judgement(stream)
                await self._judge(stream)
            authenticated = True
            return stream
        except DisconnectError:
            raise
        except trio.BrokenResourceError as error:
            raise _explain(error, stream.description) from error
        finally:
            if not authenticated:
                stream.close()

    async def _judge(self, stream: TlsStream) -> None:
        """Compare the key itself, whatever TLS thought of the certificate around it."""
        try:
            shown = pin_of_certificate(stream.peer_certificate)
        except ValueError as error:
            raise UntrustedPeerError(f"{stream.description}: showed no readable certificate") from error
        trusted = self._is_pinned(shown)
        await stream.send_all(TRUSTED if trusted else REFUSED)
        if not trusted:
            raise UntrustedPeerError(f"{stream.description}: its key {shown} is not among peer.pins")

    def _is_pinned(self, shown: Pin | None) -> bool:
        return shown is not None and sum(hmac.compare_digest(shown.raw, pin.raw) for pin in self._pins) > 0


async def _await_judgement(stream: TlsStream) -> None:
    judgement = bytearray(1)
    count = await stream.receive_into(memoryview(judgement))
    if not count:
        raise DisconnectError(f"{stream.description}: closed before it said whether it trusts us")
    if judgement == REFUSED:
        raise _refused_by(stream.description)
    if judgement != TRUSTED:
        raise DisconnectError(f"{stream.description}: did not say whether it trusts us")


def _refused_by(address: str) -> UntrustedPeerError:
    return UntrustedPeerError(f"{address}: it does not trust our key; see peer.pins in its configuration")


def _explain(error: trio.BrokenResourceError, address: str) -> CtlHaError:
    """Say in the terms of ``Transport`` why a connection broke before both sides were trusted."""
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return UntrustedPeerError(f"{address}: its key is not among peer.pins ({cause.verify_message})")
    if isinstance(cause, ssl.SSLError):
        text = f"{cause.reason} {cause}".upper()
        if "ALERT" in text and any(word in text for word in WORDS_OF_REFUSAL):
            return _refused_by(address)
        if "PEER_DID_NOT_RETURN" in text or "PEER DID NOT RETURN" in text:
            return UntrustedPeerError(f"{address}: it showed no key, so none that is among peer.pins")
        return DisconnectError(f"{address}: no TLS 1.3 with it: {cause.reason or cause}")
    return DisconnectError(f"{address}: the connection broke before both sides had proved themselves: {error}")
