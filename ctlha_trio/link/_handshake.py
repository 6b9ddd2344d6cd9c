"""The hello exchange: three frames, after which both sides know that the other is there now and agrees.

The dialler sends HELLO, the acceptor HELLO_ACCEPT with the session id, the dialler HELLO_CONFIRM with the same. Each
side may say HELLO_REFUSE instead. A session is live on the acceptor only once it is confirmed: a hello that was given
up on the way, or is an old one sent again, replaces nothing.
"""

from typing import NoReturn

import attrs

from ctlha_trio._errors import DisconnectError, RefusedError, RemoteProtocolError
from ctlha_trio.seams import Buffer, Stream
from ctlha_trio.wire import (
    Fault,
    Frame,
    FrameDecoder,
    FrameType,
    Hello,
    Refusal,
    decode_hello,
    decode_refusal,
    encode_header,
    encode_hello,
    encode_refusal,
    session_id,
)


@attrs.frozen
class Agreed:
    """A session that both hellos lead to."""

    session: int
    peer: Hello


@attrs.define(eq=False)
class Handshake:
    """Speaks on a stream that has no session yet. Every method may raise ``DisconnectError`` or stream errors."""

    stream: Stream
    decoder: FrameDecoder = attrs.field(factory=FrameDecoder)
    refused_by: Hello | None = attrs.field(default=None, init=False)
    """Who refused, if it said so."""

    async def receive_hello(self) -> Hello:
        """Acceptor: the dialler's introduction."""
        frame = await self._receive()
        if frame.kind is not FrameType.HELLO:
            raise RemoteProtocolError(Fault.TYPE.value, f"{frame.kind.name} instead of HELLO")
        return decode_hello(frame.payload)

    async def accept(self, own: Hello, theirs: Hello) -> Agreed:
        """Acceptor: agree, and wait for the confirmation. ``RefusedError`` if the dialler refuses."""
        session = session_id(dialler_half=theirs.session_half, acceptor_half=own.session_half)
        await self._send(FrameType.HELLO_ACCEPT, encode_hello(own), session=session)
        frame = await self._receive()
        if frame.kind is FrameType.HELLO_REFUSE:
            self._refused(frame)
        if frame.kind is not FrameType.HELLO_CONFIRM:
            raise RemoteProtocolError(Fault.TYPE.value, f"{frame.kind.name} instead of HELLO_CONFIRM")
        if frame.session != session:
            raise RemoteProtocolError(Fault.SESSION.value, "another session confirmed")
        self.decoder.admit()
        return Agreed(session, theirs)

    async def propose(self, own: Hello) -> Agreed:
        """Dialler: introduce oneself and hear the answer. ``RefusedError`` if the acceptor refuses."""
        await self._send(FrameType.HELLO, encode_hello(own))
        frame = await self._receive()
        if frame.kind is FrameType.HELLO_REFUSE:
            self._refused(frame)
        if frame.kind is not FrameType.HELLO_ACCEPT:
            raise RemoteProtocolError(Fault.TYPE.value, f"{frame.kind.name} instead of HELLO_ACCEPT")
        theirs = decode_hello(frame.payload)
        session = session_id(dialler_half=own.session_half, acceptor_half=theirs.session_half)
        if frame.session != session:
            raise RemoteProtocolError(Fault.SESSION.value, "not made of both halves")
        return Agreed(session, theirs)

    async def confirm(self, agreed: Agreed) -> None:
        """Dialler: the session is live from here on."""
        await self._send(FrameType.HELLO_CONFIRM, session=agreed.session)
        self.decoder.admit()

    async def refuse(self, refusal: Refusal, own: Hello | None = None) -> None:
        """Say why not; with ``own`` also who refuses, and what it knows. No more: the other side may be anybody."""
        await self._send(FrameType.HELLO_REFUSE, encode_refusal(refusal, own))

    def _refused(self, frame: Frame) -> NoReturn:
        refusal, self.refused_by = decode_refusal(frame.payload)
        raise RefusedError(refusal.value, "the peer refused", by_peer=True)

    async def _send(self, kind: FrameType, payload: Buffer = b"", *, session: int = 0) -> None:
        await self.stream.send_all(encode_header(kind, (payload,), session=session) + payload)

    async def _receive(self) -> Frame:
        while (frame := self.decoder.next_frame()) is None:
            size_bytes = await self.stream.receive_into(self.decoder.space())
            if size_bytes == 0:
                raise DisconnectError("closed before the hello was over")
            self.decoder.received(size_bytes)
        return frame
