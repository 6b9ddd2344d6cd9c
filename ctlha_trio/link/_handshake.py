"""The hello exchange: three frames, after which both sides know that the other is there now and agrees.

The dialler sends HELLO, the acceptor HELLO_ACCEPT with the session id, the dialler HELLO_CONFIRM with the same. Each
side may say HELLO_REFUSE instead. A session is live on the acceptor only once it is confirmed: a hello that was given
up on the way, or is an old one sent again, replaces nothing.

Both speak the newest version that both know. Since version 2 the acceptor sends its TERMS right behind HELLO_ACCEPT,
and the dialler its own right before HELLO_CONFIRM: the first frame of each that names the session.
"""

from typing import NoReturn

import attrs
import trio

from ctlha_trio._errors import DisconnectError, RefusedError, RemoteProtocolError
from ctlha_trio.seams import Stream
from ctlha_trio.wire import (
    OWN_TERMS,
    PROTOCOL_VERSION_MIN,
    TERMS_OF_VERSION_1,
    TERMS_VERSION,
    Fault,
    Frame,
    FrameDecoder,
    FrameType,
    Hello,
    Refusal,
    Terms,
    agreed_version,
    decode_hello,
    decode_refusal,
    decode_terms,
    encode_header,
    encode_hello,
    encode_refusal,
    encode_terms,
    session_id,
    why_refused,
)


@attrs.frozen
class Agreed:
    """A session that both hellos lead to."""

    session: int
    peer: Hello
    version: int

    @property
    def has_terms(self) -> bool:
        """Whether both sides state terms."""
        return self.version >= TERMS_VERSION


@attrs.define(eq=False)
class Handshake:
    """Speaks on a stream that has no session yet. Every method may raise ``DisconnectError`` or stream errors."""

    stream: Stream
    decoder: FrameDecoder = attrs.field(factory=FrameDecoder)
    refused_by: Hello | None = attrs.field(default=None, init=False)
    """Who refused, if it said so."""
    has_accepted: bool = attrs.field(default=False, init=False)
    """The other side may have confirmed by now, and be in the session, which has no place for a refusal."""
    _own: Hello | None = attrs.field(default=None, init=False)
    _speaks: int = attrs.field(default=PROTOCOL_VERSION_MIN, init=False)
    """The newest version that the other side is known to speak: the oldest there is until its hello was read."""

    async def receive_hello(self) -> Hello:
        """Acceptor: the dialler's introduction."""
        frame = await self._receive()
        if frame.kind is not FrameType.HELLO:
            raise RemoteProtocolError(Fault.TYPE.value, f"{frame.kind.name} instead of HELLO")
        return self._take_hello(frame)

    def _take_hello(self, frame: Frame) -> Hello:
        theirs = decode_hello(frame.payload)
        self._speaks = theirs.version_max
        return theirs

    async def accept(self, own: Hello, theirs: Hello) -> Agreed:
        """Acceptor: agree. ``hear_terms`` and ``hear_confirmation`` follow."""
        self._own = own
        session = session_id(dialler_half=theirs.session_half, acceptor_half=own.session_half)
        agreed = Agreed(session, theirs, agreed_version(own, theirs))
        hello = encode_hello(own)
        self.has_accepted = True
        accepting = encode_header(FrameType.HELLO_ACCEPT, (hello,), session=session) + hello
        await self.stream.send_all(accepting + self._own_terms(agreed))
        return agreed

    async def hear_terms(self, agreed: Agreed) -> Terms:
        """Either side: what the other one states. ``RefusedError`` if it refuses."""
        if not agreed.has_terms:
            return TERMS_OF_VERSION_1
        frame = await self._receive_answer(FrameType.TERMS)
        if frame.session != agreed.session:
            raise RemoteProtocolError(Fault.SESSION.value, "terms of another session")
        return decode_terms(frame.payload)

    async def hear_confirmation(self, agreed: Agreed) -> None:
        """Acceptor: the session is live from here on. ``RefusedError`` if the dialler refuses."""
        frame = await self._receive_answer(FrameType.HELLO_CONFIRM)
        if frame.session != agreed.session:
            raise RemoteProtocolError(Fault.SESSION.value, "another session confirmed")
        self.decoder.admit()

    async def propose(self, own: Hello) -> Agreed:
        """Dialler: introduce oneself and hear the answer. ``RefusedError`` if the acceptor refuses.

        ``hear_terms`` and ``confirm`` follow.
        """
        self._own = own
        hello = encode_hello(own)
        await self.stream.send_all(encode_header(FrameType.HELLO, (hello,)) + hello)
        frame = await self._receive_answer(FrameType.HELLO_ACCEPT)
        theirs = self._take_hello(frame)
        session = session_id(dialler_half=own.session_half, acceptor_half=theirs.session_half)
        if frame.session != session:
            raise RemoteProtocolError(Fault.SESSION.value, "not made of both halves")
        return Agreed(session, theirs, agreed_version(own, theirs))

    async def confirm(self, agreed: Agreed) -> None:
        """Dialler: the session is live from here on."""
        confirming = encode_header(FrameType.HELLO_CONFIRM, session=agreed.session)
        await self.stream.send_all(self._own_terms(agreed) + confirming)
        self.decoder.admit()

    def _own_terms(self, agreed: Agreed) -> bytes:
        if not agreed.has_terms:
            return b""
        terms = encode_terms(OWN_TERMS)
        return encode_header(FrameType.TERMS, (terms,), session=agreed.session) + terms

    async def refuse(self, refusal: Refusal, own: Hello | None = None) -> None:
        """Say why not; with ``own`` also who refuses, and what it knows. No more: the other side may be anybody."""
        payload = encode_refusal(refusal, own, version=self._speaks)
        await self.stream.send_all(encode_header(FrameType.HELLO_REFUSE, (payload,)) + payload)

    def refuse_nowait(self, refusal: Refusal) -> None:
        """The same to whoever is not waited for: one that does not take it is not told."""
        payload = encode_refusal(refusal, version=self._speaks)
        try:
            self.stream.send_nowait(encode_header(FrameType.HELLO_REFUSE, (payload,)) + payload)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # nobody is there any more

    def _refused(self, frame: Frame) -> NoReturn:
        refusal, by = decode_refusal(frame.payload)
        self.refused_by = by
        detail = "the peer refused"
        if by is not None:
            own = self._own
            assert own is not None, "refused is who has introduced himself"
            detail = ": ".join(filter(None, (detail, why_refused(refusal, own, by))))
        raise RefusedError(refusal, detail, by_peer=True)

    async def _receive_answer(self, kind: FrameType) -> Frame:
        frame = await self._receive()
        if frame.kind is FrameType.HELLO_REFUSE:
            self._refused(frame)
        if frame.kind is not kind:
            raise RemoteProtocolError(Fault.TYPE.value, f"{frame.kind.name} instead of {kind.name}")
        return frame

    async def _receive(self) -> Frame:
        while (frame := self.decoder.next_frame()) is None:
            size_bytes = await self.stream.receive_into(self.decoder.space())
            if size_bytes == 0:
                raise DisconnectError("closed before the hello was over")
            self.decoder.received(size_bytes)
        return frame
