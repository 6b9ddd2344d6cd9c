import errno
import gc
import os
import random
import select
import socket
import ssl
import struct
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from pathlib import Path
from typing import cast

import attrs
import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from trio.testing import wait_all_tasks_blocked

from ctlha_trio._errors import CtlHaError, DisconnectError, InvalidError, UntrustedPeerError
from ctlha_trio.seams import Pin, Stream, TlsTransport, _certificates, _tls, _waiting_room, parse_address
from ctlha_trio.seams._certificates import make_certificate, make_context, pin_of_certificate
from ctlha_trio.seams._identity import pin_of
from ctlha_trio.seams._kernel_queue import received_bytes
from ctlha_trio.seams._serve import DIAL_DEADLINE_S
from ctlha_trio.seams._tcp import connect
from ctlha_trio.seams._tls_stream import MAX_CALL_BYTES, MAX_HANDSHAKE_BYTES, RECEIVED_BYTES, RECORD_BYTES, TlsStream

ANYWHERE = "127.0.0.1:0"

ENDLESS_HELLO = (
    b"\x16\x03\x01\x40\x00\x01\x01\x80\x00" + bytes(0x4000 - 4) + (b"\x16\x03\x01\x40\x00" + bytes(0x4000)) * 4
)


@attrs.define(eq=False)
class Server:
    """A listening node that echoes, and what it noticed."""

    key: Ed25519PrivateKey
    address: str = ""
    reports: list[CtlHaError] = attrs.field(factory=list)
    served: int = 0
    reported: trio.Event = attrs.field(factory=trio.Event)

    def report(self, error: CtlHaError) -> None:
        self.reports.append(error)
        self.reported.set()

    async def echo(self, stream: Stream) -> None:
        self.served += 1
        buffer = memoryview(bytearray(65536))
        while count := await stream.receive_into(buffer):
            await stream.send_all(buffer[:count])


def new_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


def pin(key: Ed25519PrivateKey) -> Pin:
    return pin_of(key.public_key())


@asynccontextmanager
async def serving(key: Ed25519PrivateKey, *pins: Pin) -> AsyncIterator[Server]:
    server = Server(key)
    with trio.fail_after(20):
        listener = await TlsTransport(key=key, pins=pins, report=server.report).listen(ANYWHERE)
        server.address = listener.address
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.serve, server.echo)
            yield server
            nursery.cancel_scope.cancel()
        listener.close()


async def works(stream: Stream) -> bool:
    await stream.send_all(b"?")
    answer = bytearray(2)
    return await stream.receive_into(memoryview(answer)) == 1 and answer[:1] == b"?"


async def test_either_of_two_pins_is_enough_on_both_sides() -> None:
    a, b, next_a, next_b = new_key(), new_key(), new_key(), new_key()
    for server_key in (a, next_a):
        async with serving(server_key, pin(b), pin(next_b)) as server:
            for client_key in (b, next_b):
                stream = await TlsTransport(key=client_key, pins=[pin(a), pin(next_a)]).dial(server.address)
                assert await works(stream)
                stream.close()
            assert not server.reports


@pytest.mark.parametrize("wrong_side", ["server", "client"])
async def test_a_wrong_key_is_named_on_both_sides(wrong_side: str) -> None:
    a, b, stranger = new_key(), new_key(), new_key()
    async with serving(stranger if wrong_side == "server" else a, pin(b)) as server:
        client = TlsTransport(key=stranger if wrong_side == "client" else b, pins=[pin(a)])
        with pytest.raises(UntrustedPeerError, match=r"peer\.pins") as caught:
            await client.dial(server.address)
        assert server.address in str(caught.value)
        await server.reported.wait()
        (report,) = server.reports
        assert isinstance(report, UntrustedPeerError)
        assert "peer.pins" in str(report)
        assert not server.served
        refuser = str(caught.value) if wrong_side == "server" else str(report)
        assert "is not among peer.pins" in refuser


async def test_a_foreign_key_under_the_pinned_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, stranger = new_key(), new_key(), new_key()
    monkeypatch.setattr(_certificates, "pin_of", lambda _: pin(b))
    forger = TlsTransport(key=stranger, pins=[pin(a)])
    monkeypatch.undo()
    async with serving(a, pin(b)) as server:
        with pytest.raises(UntrustedPeerError, match="does not trust our key"):
            await forger.dial(server.address)
        await server.reported.wait()
        assert not server.served


@pytest.mark.parametrize("delegated_side", ["server", "client"])
async def test_a_key_that_the_pinned_key_only_vouches_for_is_refused(
    delegated_side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, delegate = new_key(), new_key(), new_key()
    voucher = a if delegated_side == "server" else b

    def vouch(_: Ed25519PrivateKey) -> object:
        return make_certificate(voucher, subject_key=delegate.public_key())

    def delegated(pinned: Pin) -> TlsTransport:
        with monkeypatch.context() as patch:
            patch.setattr(_certificates, "make_certificate", vouch)
            return TlsTransport(key=delegate, pins=[pinned], report=server.report)

    server = Server(a)
    on_a = delegated(pin(b)) if delegated_side == "server" else TlsTransport(key=a, pins=[pin(b)], report=server.report)
    on_b = delegated(pin(a)) if delegated_side == "client" else TlsTransport(key=b, pins=[pin(a)])
    listener = await on_a.listen(ANYWHERE)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.serve, server.echo)
            with pytest.raises(UntrustedPeerError):
                await on_b.dial(listener.address)
            await server.reported.wait()
            nursery.cancel_scope.cancel()
    listener.close()
    assert isinstance(server.reports[0], UntrustedPeerError)
    assert not server.served


async def test_a_client_without_a_key_is_refused_and_reported() -> None:
    a, b = new_key(), new_key()
    async with serving(a, pin(b)) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        await refused(server, context)
        await server.reported.wait()
        assert "no key" in str(server.reports[0])


async def test_a_key_that_is_not_pinned_is_not_shown_as_one_whatever_tls_thinks_of_it() -> None:
    a, b, pinned = new_key(), new_key(), new_key()
    async with serving(a, pin(b)) as server:
        assert await TlsTransport(key=b, pins=[pin(a)]).shows_pinned_key(server.address)
        asking = TlsTransport(key=b, pins=[pin(pinned)])
        asking._client.verify_mode = ssl.CERT_NONE
        assert not await asking.shows_pinned_key(server.address)


async def test_older_tls_is_refused_even_with_the_right_key() -> None:
    a, b = new_key(), new_key()
    context = make_context(b, [pin(a)], server_side=False)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serving(a, pin(b)) as server:
        await refused(server, context)


async def refused(server: Server, context: ssl.SSLContext) -> None:
    raw = await trio.open_tcp_stream(*parse_address(server.address))
    async with trio.SSLStream(raw, context, https_compatible=True) as stream:
        try:
            answer = await stream.receive_some(10)
        except trio.BrokenResourceError:
            answer = b""
        assert not answer
    assert not server.served


@pytest.mark.parametrize(
    "words",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(200_000),
        ENDLESS_HELLO,
    ],
    ids=["plain", "zeros", "endless handshake"],
)
async def test_garbage_is_closed_at_once_and_reaches_no_handler(words: bytes) -> None:
    a, b = new_key(), new_key()
    async with serving(a, pin(b)) as server:
        began = trio.current_time()
        stream = await trio.open_tcp_stream(*parse_address(server.address))
        async with stream:
            with suppress(trio.BrokenResourceError):
                await stream.send_all(words)
                while await stream.receive_some(1000):
                    continue
        assert trio.current_time() - began < _waiting_room.HANDSHAKE_DEADLINE_S / 2
        assert not server.served
        assert not server.reports
        with closing(await TlsTransport(key=b, pins=[pin(a)]).dial(server.address)) as honest:
            assert await works(honest)


async def test_a_handshake_without_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fed so slowly that each piece is read by itself, a hello of TLS that would be legal is refused by its size."""
    refusals: list[tuple[int, str]] = []
    plain = TlsStream.handshake

    async def handshake(stream: TlsStream) -> None:
        try:
            await plain(stream)
        except trio.BrokenResourceError as error:
            refusals.append((received_bytes(stream._socket), str(error)))
            raise

    monkeypatch.setattr(TlsStream, "handshake", handshake)
    async with serving(new_key(), pin(new_key())) as server:
        stream = await trio.open_tcp_stream(*parse_address(server.address))
        sent = 0
        async with stream:
            with suppress(trio.BrokenResourceError):
                while sent < len(ENDLESS_HELLO):
                    await stream.send_all(ENDLESS_HELLO[sent : sent + 1024])
                    sent += 1024
                    await wait_all_tasks_blocked(0.001)
    ((size_bytes, reason),) = refusals
    assert "without end" in reason
    assert MAX_HANDSHAKE_BYTES < size_bytes <= MAX_HANDSHAKE_BYTES + 1024
    assert MAX_HANDSHAKE_BYTES <= 64 * 1024


@asynccontextmanager
async def both_ends() -> AsyncIterator[tuple[TlsStream, TlsStream]]:
    """A connection: the end that dialled, and the one that accepted."""
    a, b = new_key(), new_key()
    accepted, take = trio.open_memory_channel[Stream](1)

    async def keep(stream: Stream) -> None:
        await accepted.send(stream)
        await trio.sleep_forever()

    with trio.fail_after(20):
        listener = await TlsTransport(key=a, pins=[pin(b)]).listen(ANYWHERE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.serve, keep)
            with closing(await TlsTransport(key=b, pins=[pin(a)]).dial(listener.address)) as dialled:
                other = await take.receive()
                assert isinstance(dialled, TlsStream)
                assert isinstance(other, TlsStream)
                yield dialled, other
            nursery.cancel_scope.cancel()
        listener.close()


async def test_what_found_no_room_is_offered_again_while_the_end_receives() -> None:
    """Both ends have sends that wait, in pieces of all sizes, while both receive: nothing is lost or mixed."""
    pieces = [bytes([number % 251]) * (1 + number * 7919 % 50_000) for number in range(300)]
    async with both_ends() as ends, trio.open_nursery() as nursery:
        whole = [bytes(fill(end)) + b"".join(pieces) for end in ends]
        for end in ends:
            nursery.start_soon(end.send_all, *pieces)
        await wait_all_tasks_blocked(0.01)
        for end, expected in zip(reversed(ends), whole, strict=True):
            nursery.start_soon(expect_whole, end, expected)


def fill(stream: TlsStream) -> int:
    """Send zeros until some are kept; how many."""
    count = 100_000
    while stream.send_nowait(bytes(100_000)):
        count += 100_000
    return count


async def expect_whole(stream: TlsStream, expected: bytes) -> None:
    received = bytearray()
    buffer = memoryview(bytearray(70_000))
    while len(received) < len(expected):
        count = await stream.receive_into(buffer)
        assert count
        received += buffer[:count]
    assert received == expected


DAMAGED_RECORD = b"\x17\x03\x03\x00\x40" + bytes(64)


async def test_what_came_is_read_while_a_send_waits_for_room() -> None:
    async with both_ends() as (here, there):
        await there.send_all(b"word")
        fill(here)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.flush)
            await wait_all_tasks_blocked(0.01)
            buffer = memoryview(bytearray(10))
            assert await here.receive_into(buffer) == 4
            assert bytes(buffer[:4]) == b"word"
            nursery.start_soon(read_all, there)
            await wait_all_tasks_blocked(0.01)
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("size", [1, RECORD_BYTES, RECEIVED_BYTES, 2 * MAX_CALL_BYTES + 1])
async def test_what_had_come_before_a_connection_broke_is_received_first(size: int) -> None:
    """What comes behind it is no record of TLS, which the other side is told. The first may hold a farewell."""
    words = random.Random(size).randbytes(size)
    async with both_ends() as (here, there):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_whole, here, words)
            await there.send_all(words)
            there._socket.send(DAMAGED_RECORD)
        await there.send_all(words[:1])  # of which nobody can make anything
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError, match=r"(?i)bad.record.mac"):
                await here.receive_into(memoryview(bytearray(RECORD_BYTES)))
        with pytest.raises(trio.BrokenResourceError, match=r"(?i)alert.bad.record.mac"):
            await there.receive_into(memoryview(bytearray(RECORD_BYTES)))


async def test_a_connection_that_broke_holds_no_memory_of_who_received() -> None:
    async with both_ends() as (here, there):
        await there.send_all(b"word")
        there._socket.send(DAMAGED_RECORD)
        await wait_all_tasks_blocked(0.01)
        memory = bytearray(2 * RECORD_BYTES)
        gc.disable()
        try:
            with memoryview(memory) as view:
                assert await here.receive_into(view) == 4
            memory += b"resized"
        finally:
            gc.enable()


async def test_an_error_that_is_kept_keeps_no_memory_of_who_received() -> None:
    async with both_ends() as (here, there):
        there._socket.send(DAMAGED_RECORD)
        memory = bytearray(RECORD_BYTES)
        with memoryview(memory) as view, pytest.raises(trio.BrokenResourceError) as caught:
            await here.receive_into(view)
        memory += b"resized"
        assert caught.value.__traceback__ is not None


async def test_a_record_and_a_damaged_one_that_come_together(monkeypatch: pytest.MonkeyPatch) -> None:
    async with both_ends() as (here, there):
        await there.send_all(b"word")
        there._socket.send(DAMAGED_RECORD)
        await wait_all_tasks_blocked(0.01)
        buffer = memoryview(bytearray(2 * RECORD_BYTES))
        assert await here.receive_into(buffer) == 4
        monkeypatch.setattr(here, "_tls", None)
        with pytest.raises(trio.BrokenResourceError, match=r"(?i)bad.record.mac"):
            await here.receive_into(buffer)


async def test_after_little_has_come_it_waits_before_it_looks_again() -> None:
    async with both_ends() as (here, there):
        await there.send_all(b"word")
        assert await here.receive_into(memoryview(bytearray(10))) == 4
        await there.send_all(b"more")
        await trio.lowlevel.wait_readable(here._socket)
        assert here._read_into(memoryview(bytearray(10))) is None
        assert here._read_into(memoryview(bytearray(10))) == 4


@pytest.mark.parametrize("taken", [4, 1], ids=["all was taken", "a part was taken"])
async def test_a_closed_end_receives_nothing_however_little_came_last(taken: int) -> None:
    async with both_ends() as (here, there):
        await there.send_all(b"word")
        buffer = memoryview(bytearray(taken))
        assert await here.receive_into(buffer) == taken
        here.close()
        with pytest.raises(trio.ClosedResourceError):
            await here.receive_into(buffer)


@pytest.mark.parametrize("size", [1, RECORD_BYTES - 1, RECORD_BYTES, RECEIVED_BYTES + 1, MAX_CALL_BYTES + 1])
async def test_records_are_cut_anywhere_on_their_way(size: int) -> None:
    """Bytes that come one by one, and by the thousand, make the same records."""
    words = random.Random(size).randbytes(size)
    async with both_ends() as (here, there):
        there._encrypt([memoryview(words[:MAX_CALL_BYTES])])
        encrypted = there._outgoing.read()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_whole, here, words[:MAX_CALL_BYTES])
            step = 1 if size == 1 else 4099
            for start in range(0, len(encrypted), step):
                there._socket.send(encrypted[start : start + step])
                await wait_all_tasks_blocked()


@attrs.define
class NarrowSocket:
    """Has room for so many bytes."""

    room: int = 0
    sent: bytearray = attrs.field(factory=bytearray)

    def send(self, data: memoryview) -> int:
        if not self.room:
            raise BlockingIOError
        count = min(self.room, len(data))
        self.room -= count
        self.sent += data[:count]
        return count


def narrow_stream() -> tuple[TlsStream, NarrowSocket, Callable[[], bytes]]:
    """A stream after its handshake, its socket, and what the other side makes of what was sent."""
    ours, theirs = new_key(), new_key()
    wires = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = make_context(ours, [pin(theirs)], server_side=False).wrap_bio(wires[0], wires[1])
    server = make_context(theirs, [pin(ours)], server_side=True).wrap_bio(wires[1], wires[0], server_side=True)
    for end in (client, server, client, server):
        with suppress(ssl.SSLWantReadError):
            end.do_handshake()
    narrow = NarrowSocket()

    def read() -> bytes:
        wires[1].write(narrow.sent)
        words = bytearray()
        with suppress(ssl.SSLWantReadError):
            while True:
                words += server.read(RECORD_BYTES)
        return bytes(words)

    stream = TlsStream(cast("socket.socket", narrow), "narrow", client, wires[0], wires[1])
    return stream, narrow, read


def test_data_is_not_taken_before_its_records_have_left_and_then_once() -> None:
    stream, narrow, read = narrow_stream()
    words = b"word" * RECORD_BYTES
    for narrow.room in (0, 100, 20_000):
        assert stream._write([memoryview(words)]) == 0, "who offers it must offer it again"
    narrow.room = 1 << 20
    assert stream._write([memoryview(words)]) == len(words)
    assert read() == words


@attrs.define
class FailingSocket(NarrowSocket):
    """Fails once."""

    failed: bool = False

    def fileno(self) -> int:
        return 0

    def send(self, data: memoryview) -> int:
        if not self.failed:
            self.failed = True
            raise OSError(errno.ENOBUFS, "no buffers")
        return super().send(data)


async def test_a_send_that_broke_is_the_last() -> None:
    """What it left encrypted would pass for a part of what comes next."""
    stream, _, read = narrow_stream()
    stream._socket = cast("socket.socket", FailingSocket(1 << 20))
    with pytest.raises(trio.BrokenResourceError, match="no buffers"):
        await stream.send_all(b"A" * 30)
    with pytest.raises(trio.BrokenResourceError, match="broke"):
        await stream.send_all(b"B" * 30 + b"C" * 10)
    assert read() == b""


async def test_no_piece_is_begun_with_less_than_a_record() -> None:
    """Two fragments with their heads, as the link sends them: one is cut at a call's limit, none begun there."""
    fragment = memoryview(bytes(16 * RECORD_BYTES))
    head = memoryview(bytes(110))
    async with both_ends() as (here, _):
        here._encrypt([head, fragment, head, fragment])
        assert here._encrypted_bytes == MAX_CALL_BYTES
        rest = fragment[MAX_CALL_BYTES - len(head) :]
        assert 0 < MAX_CALL_BYTES - len(rest) - len(head) < RECORD_BYTES
        here._encrypt([rest, head, fragment])
        assert here._encrypted_bytes == len(rest) + len(head)
        here._encrypt([head] * 3)
        assert here._encrypted_bytes == 3 * len(head)


async def test_what_is_kept_of_a_connection_is_bounded() -> None:
    """Neither what waits to be sent nor what waits to be decrypted grows while one side does nothing."""
    async with both_ends() as (here, there):
        fill(here)
        assert len(here._unsent) + here._outgoing.pending <= MAX_CALL_BYTES + RECORD_BYTES
        buffer = memoryview(bytearray(100))
        for _ in range(20):
            assert await there.receive_into(buffer) == len(buffer)
        assert there._incoming.pending <= RECEIVED_BYTES


async def read_all(stream: TlsStream) -> None:
    while await stream.receive_into(memoryview(bytearray(100_000))):
        continue


async def test_a_connection_that_is_gone_before_tls_begins_is_a_disconnect() -> None:
    with trio.fail_after(20):
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        raw = await connect(f"127.0.0.1:{listener.socket.getsockname()[1]}")
        linger = struct.pack("ii", 1, 0)
        accepted = await listener.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        await accepted.aclose()
        await trio.lowlevel.wait_readable(raw._socket)
        key = new_key()
        with pytest.raises(DisconnectError, match="127"):
            await TlsTransport(key=key, pins=[pin(new_key())])._authenticate(raw, server_side=False)
        await listener.aclose()


async def silent_strangers(address: str, count: int) -> list[trio.SocketStream]:
    return [await trio.open_tcp_stream(*parse_address(address)) for _ in range(count)]


async def test_of_many_silent_strangers_only_so_many_stay_and_none_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _waiting_room.HANDSHAKE_DEADLINE_S <= 3
    monkeypatch.setattr(_waiting_room, "HANDSHAKE_SHARE_S", 0.02)
    a, b = new_key(), new_key()
    async with serving(a, pin(b)) as server, AsyncExitStack() as opened:
        with closing(await TlsTransport(key=b, pins=[pin(a)]).dial(server.address)) as established:
            monkeypatch.setattr(_waiting_room, "HANDSHAKE_DEADLINE_S", 1000.0)
            strangers = await silent_strangers(server.address, 50)
            for each in strangers:
                opened.push_async_callback(each.aclose)
            pushed_out, staying = strangers[: -_waiting_room.MAX_HANDSHAKES], strangers[-_waiting_room.MAX_HANDSHAKES :]
            for each in pushed_out:
                assert await each.receive_some(1) == b"", "nothing but the next one can have ended it"
            assert await works(established)
            closed, _, _ = select.select([each.socket.fileno() for each in staying], [], [], 0)
            assert closed == [], "nobody waits any more"

            monkeypatch.setattr(_waiting_room, "HANDSHAKE_SHARE_S", 1000.0)
            monkeypatch.setattr(_waiting_room, "HANDSHAKE_DEADLINE_S", 0.02)
            for each in staying:
                await each.aclose()
            for each in await silent_strangers(server.address, _waiting_room.MAX_HANDSHAKES):
                opened.push_async_callback(each.aclose)
                assert await each.receive_some(1) == b"", "nothing but its time can have ended it"
            assert await works(established)


async def test_silent_strangers_that_come_back_at_once_do_not_keep_the_peer_out() -> None:
    assert _waiting_room.MAX_WAITING / _waiting_room.MAX_HANDSHAKES * _waiting_room.HANDSHAKE_SHARE_S < DIAL_DEADLINE_S
    a, b = new_key(), new_key()
    client = TlsTransport(key=b, pins=[pin(a)])
    pushed_out = trio.Event()

    async def come_back_for_ever(address: str) -> None:
        while True:
            async with await trio.open_tcp_stream(*parse_address(address)) as stranger:
                with suppress(trio.BrokenResourceError):
                    await stranger.receive_some(1)
                pushed_out.set()

    async with serving(a, pin(b)) as server, trio.open_nursery() as nursery:
        for _ in range(12):
            nursery.start_soon(come_back_for_ever, server.address)
        # From now on some always wait. The loop is never idle for long, and on a busy machine not at all.
        await pushed_out.wait()
        for _ in range(5):
            with closing(await client.dial(server.address)) as stream:
                assert await works(stream)
        nursery.cancel_scope.cancel()


async def test_a_listener_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tls, "DIAL_DEADLINE_S", 0.1)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    client = TlsTransport(key=new_key(), pins=[pin(new_key())])
    with trio.fail_after(20), pytest.raises(DisconnectError, match="no answer"):
        await client.dial(f"127.0.0.1:{listener.socket.getsockname()[1]}")
    await listener.aclose()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=["close", "garbage"])
async def test_a_listener_of_another_kind_is_a_disconnect(answer: bytes) -> None:
    async def say(stream: trio.SocketStream) -> None:
        if answer:
            await stream.receive_some(10_000)
            await stream.send_all(answer)

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    client = TlsTransport(key=new_key(), pins=[pin(new_key())])
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, say, [listener])
            with pytest.raises(DisconnectError):
                await client.dial(f"127.0.0.1:{listener.socket.getsockname()[1]}")
            nursery.cancel_scope.cancel()


async def test_a_send_that_was_cut_short_is_the_last() -> None:
    a, b = new_key(), new_key()
    async with serving(a, pin(b)) as server:
        stream = await TlsTransport(key=b, pins=[pin(a)]).dial(server.address)
        with trio.move_on_after(0.05) as scope:
            await stream.send_all(bytes(64 * 1024 * 1024))
        assert scope.cancelled_caught
        with pytest.raises(trio.BrokenResourceError, match="cut short"):
            await stream.send_all(b"more")
        stream.close()


async def test_certificates_do_not_expire_and_need_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = new_key(), new_key()
    monkeypatch.setattr(_certificates, "FIRST_DAY", _certificates.LAST_DAY)
    client = TlsTransport(key=b, pins=[pin(a)])
    monkeypatch.undo()
    monkeypatch.setattr(_certificates, "LAST_DAY", _certificates.FIRST_DAY)
    async with serving(a, pin(b)) as server:
        with closing(await client.dial(server.address)) as stream:
            assert await works(stream)


@pytest.mark.parametrize("count", [0, 3])
def test_one_or_two_pins(count: int) -> None:
    with pytest.raises(InvalidError, match=r"peer\.pins"):
        TlsTransport(key=new_key(), pins=[pin(new_key()) for _ in range(count)])


def test_the_private_key_is_in_no_file_at_any_moment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of a process that is killed in that moment nothing would be left: not even an empty folder."""
    found: list[Path] = []
    links: list[int] = []
    load = ssl.SSLContext.load_cert_chain

    def spy(context: ssl.SSLContext, file: Path, **options: str) -> None:
        found.extend(tmp_path.iterdir())
        links.append(file.stat().st_nlink)
        load(context, file, **options)

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", spy)
    before = set(os.listdir("/proc/self/fd"))
    make_context(new_key(), [pin(new_key())], server_side=True)
    assert (found, links) == ([], [0])
    assert set(os.listdir("/proc/self/fd")) == before


def test_where_proc_is_not_mounted_the_key_is_not_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_nothing(_: ssl.SSLContext, file: Path) -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", find_nothing)
    with pytest.raises(FileNotFoundError, match="/proc is not mounted, by which TLS is given its key"):
        make_context(new_key(), [pin(new_key())], server_side=True)


@pytest.mark.parametrize("server_side", [False, True])
def test_nothing_older_nothing_resumed_nobody_unverified(server_side: bool) -> None:
    context = make_context(new_key(), [pin(new_key())], server_side=server_side)
    assert context.minimum_version == context.maximum_version == ssl.TLSVersion.TLSv1_3
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.options & ssl.OP_NO_TICKET
    if server_side:
        assert context.num_tickets == 0


def test_a_certificate_of_another_kind_of_key_has_no_pin() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, _certificates.FIRST_DAY, _certificates.LAST_DAY)
    assert pin_of_certificate(builder.sign(key, SHA256()).public_bytes(Encoding.DER)) is None
