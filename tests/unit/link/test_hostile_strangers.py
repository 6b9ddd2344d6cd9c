"""Hostile strangers at a node's port, over TLS and real sockets, beside a session of two links that goes on.

``test_hostile_peers.py`` has what comes after TLS.
"""

import os
import random
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from subprocess import PIPE
from typing import Any, Final

import attrs
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ctlha_trio._errors import CtlHaError, UntrustedPeerError
from ctlha_trio.link import Channel, Link, LinkConfig
from ctlha_trio.link._meeting import IN_HELLO_MAX
from ctlha_trio.seams import Pin, Stream, TlsTransport, TrioClock, _certificates, _waiting_room, parse_address
from ctlha_trio.seams._certificates import make_context
from ctlha_trio.seams._identity import pin_of
from ctlha_trio.seams._serve import MAX_CONNECTIONS
from ctlha_trio.wire import Refusal
from ctlha_trio.wire._hello import IN_WORDS_OF_VERSION_1
from tests.unit.link.half_open_cost import client_hello

SLOT: Final = 16
NOWHERE: Final = "127.0.0.1:1"
HERE: Final = "127.0.0.1"
ELSEWHERE: Final = "127.0.0.2"
"""Another address of this machine, from which strangers come."""
HALF_OPEN_BYTES: Final = 64 * 1024


def pin(key: Ed25519PrivateKey) -> Pin:
    return pin_of(key.public_key())


@attrs.define(eq=False)
class Node:
    """A link over TLS, and what it refused."""

    key: Ed25519PrivateKey
    link: Link
    channel: Channel
    reports: list[CtlHaError]
    received: list[int] = attrs.field(factory=list)
    sent: int = 0

    async def watch(self) -> None:
        """Take the events: whoever does not has no room for more in the end."""
        while True:
            await self.channel.receive_events()

    async def flow(self) -> None:
        """Send a number every few milliseconds, and take what comes."""
        while True:
            if self.channel.has_session and self.channel.has_credit:
                self.channel.send_nowait(self.sent.to_bytes(SLOT, "little"))
                self.sent += 1
            await trio.sleep(0.005)
            self.received += [int.from_bytes(each, "little") for each in self.channel.receive_all_nowait()]


@attrs.define(eq=False)
class Both:
    """Node b dials node a, which does not know where b is."""

    a: Node
    b: Node
    address: str
    """Of node a."""

    @property
    def session(self) -> int:
        """That both are in, 0 without one."""
        one, other = self.a.link.session_id, self.b.link.session_id
        return one if one == other else 0

    async def online(self) -> None:
        while not self.session:  # noqa: ASYNC110 - two nodes have no common event
            await trio.sleep(0.002)


def free_address() -> str:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@asynccontextmanager
async def two_links() -> AsyncIterator[Both]:
    keys = {"a": Ed25519PrivateKey.generate(), "b": Ed25519PrivateKey.generate()}
    addresses = {"a": free_address(), "b": "127.0.0.1:0"}

    def make(name: str, peer: str, peer_address: str) -> Node:
        reports: list[CtlHaError] = []
        link = Link(
            LinkConfig(
                cluster="c",
                node=name,
                peer=peer,
                resource="r",
                listen=addresses[name],
                peer_address=peer_address,
            ),
            clock=TrioClock(),
            entropy=random.Random(name).randbytes,
            transport=TlsTransport(key=keys[name], pins=[pin(keys[peer])], report=reports.append),
            incarnation=1,
            alive=lambda: True,
            report=reports.append,
        )
        return Node(keys[name], link, link.open_channel(1, slot_size=SLOT, slots=64), reports)

    both = Both(make("a", "b", NOWHERE), make("b", "a", addresses["a"]), addresses["a"])
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for node in (both.a, both.b):
                await nursery.start(node.link.run)
            await both.online()
            for node in (both.a, both.b):
                nursery.start_soon(node.flow)
                nursery.start_soon(node.watch)
            yield both
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def untouched(both: Both) -> AsyncIterator[None]:
    """The session is the same afterwards, and no message was lost meanwhile."""
    before, counts = both.session, (both.a.sent, both.b.sent)
    assert before
    yield
    assert both.session == before
    assert both.a.link.statistics().sessions == both.b.link.statistics().sessions == 1
    sent = both.a.sent + 1, both.b.sent + 1
    while both.b.sent < sent[1] or len(both.a.received) < sent[1] or len(both.b.received) < sent[0]:  # noqa: ASYNC110
        await trio.sleep(0.002)
    for node in (both.a, both.b):
        assert node.received == list(range(len(node.received)))
    assert both.a.sent > counts[0]
    assert both.b.sent > counts[1]


@asynccontextmanager
async def stranger(address: str, source: str = ELSEWHERE) -> AsyncIterator[trio.SocketStream]:
    sock = trio.socket.socket()
    with sock:
        await sock.bind((source, 0))
        await sock.connect(parse_address(address))
        yield trio.SocketStream(sock)


async def read_to_the_end(stream: trio.SocketStream) -> None:
    with suppress(trio.BrokenResourceError):
        while await stream.receive_some(1000):
            pass


@pytest.mark.parametrize("kind", ["of its own", "under the peer's name", "vouched for by the peer"])
async def test_a_valid_certificate_with_another_key(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named on both sides, and logged where it was refused."""
    async with two_links() as both, untouched(both):
        key, known = Ed25519PrivateKey.generate(), pin(both.a.key)
        with monkeypatch.context() as patch:
            if kind == "under the peer's name":
                patch.setattr(_certificates, "pin_of", lambda _: pin(both.b.key))
            elif kind == "vouched for by the peer":
                vouched = _certificates.make_certificate(both.b.key, subject_key=key.public_key())
                patch.setattr(_certificates, "make_certificate", lambda _: vouched)
            forger = TlsTransport(key=key, pins=[known])
        with pytest.raises(UntrustedPeerError, match=r"does not trust our key"):
            await forger.dial(both.address)
        while not both.a.reports:  # noqa: ASYNC110 - a report is no event
            await trio.sleep(0.002)
        (report,) = both.a.reports
        assert isinstance(report, UntrustedPeerError)
        assert "peer.pins" in str(report)


async def test_the_peer_s_key_at_another_node_of_its_name_is_refused_by_the_one_that_dials() -> None:
    """Whoever has taken the peer's address and has a certificate, but not its key."""
    impostor, known = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    own = Ed25519PrivateKey.generate()
    reports: list[CtlHaError] = []
    with trio.fail_after(20):
        listener = await TlsTransport(key=impostor, pins=[pin(own)], report=reports.append).listen("127.0.0.1:0")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.serve, fail)
            with pytest.raises(UntrustedPeerError, match=r"its key .*is not among peer\.pins"):
                await TlsTransport(key=own, pins=[pin(known)]).dial(listener.address)
            nursery.cancel_scope.cancel()
        listener.close()


async def fail(_: Stream) -> None:
    raise AssertionError("admitted")


@pytest.mark.parametrize("words", ["nothing", "byte by byte", "half of its first", "all of its first"])
async def test_a_slow_handshake(words: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert _waiting_room.HANDSHAKE_DEADLINE_S == 3.0
    monkeypatch.setattr(_waiting_room, "HANDSHAKE_DEADLINE_S", 0.3)
    async with two_links() as both, untouched(both):
        first = client_hello(make_context(both.b.key, [pin(both.a.key)], server_side=False))
        began_s = trio.current_time()
        async with stranger(both.address) as slow:
            if words == "byte by byte":
                with suppress(trio.BrokenResourceError):
                    for byte in first:
                        await slow.send_all(bytes([byte]))
                        await trio.sleep(0.01)
            elif words != "nothing":
                await slow.send_all(first if words.startswith("all") else first[: len(first) // 2])
            await read_to_the_end(slow)
        assert 0.25 < trio.current_time() - began_s < 3.0, "for the whole of it, however its bytes come"
        assert f"a connection to {both.address} did not prove itself in time" in caplog.text
        assert both.a.reports == []


@asynccontextmanager
async def flood(address: str, count: int) -> AsyncIterator[trio.Process]:
    """A process of strangers that come back whenever they are turned away."""
    host, port = parse_address(address)
    command = [sys.executable, str(Path(__file__).with_name("flood.py")), ELSEWHERE, host, str(port), str(count)]
    process = await trio.lowlevel.open_process(command, stdout=PIPE)
    try:
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


def note_turns(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What becomes of whoever comes: ``comes`` and ``begins``, each with the source."""
    turns: list[tuple[str, str]] = []
    enter, admission = _waiting_room.WaitingRoom.enter, _waiting_room.Admission

    def come(room: _waiting_room.WaitingRoom[Any], visitor: Any, source: str) -> Any:
        turns.append(("comes", source))
        return enter(room, visitor, source)

    def begin(source: str, scope: trio.CancelScope, share_until_s: float) -> _waiting_room.Admission:
        turns.append(("begins", source))
        return admission(source, scope, share_until_s)

    monkeypatch.setattr(_waiting_room.WaitingRoom, "enter", come)
    monkeypatch.setattr(_waiting_room, "Admission", begin)
    return turns


async def test_thousands_of_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """The session goes on beside them, descriptors stay few, and the peer's turn is the next whenever it comes.

    So it waits for the share of one of them: ``test_another_source_is_next_however_many_came_before``.
    """
    turns = note_turns(monkeypatch)
    async with two_links() as both:
        before, peak = len(os.listdir("/proc/self/fd")), 0
        async with flood(both.address, 2000) as strangers:
            assert strangers.stdout is not None

            async def count() -> None:
                nonlocal peak
                while True:
                    peak = max(peak, len(os.listdir("/proc/self/fd")))
                    await trio.sleep(0.01)

            async with untouched(both), trio.open_nursery() as nursery:
                nursery.start_soon(count)
                assert await strangers.stdout.receive_some() == b"twice\n"
                nursery.cancel_scope.cancel()
            for _ in range(4):
                ended = both.session
                both.a.link.drop("made by the test")
                while both.session in {0, ended}:  # noqa: ASYNC110 - as above
                    await trio.sleep(0.002)
        assert turns.count(("begins", ELSEWHERE)) > _waiting_room.MAX_HANDSHAKES
        comings = [place for place, turn in enumerate(turns) if turn == ("comes", HERE)]
        next_begun = [next(source for what, source in turns[place:] if what == "begins") for place in comings]
        assert len(comings) >= 5
        assert set(next_begun) == {HERE}
        assert peak - before > _waiting_room.MAX_HANDSHAKES
        assert peak - before <= _waiting_room.MAX_HANDSHAKES + _waiting_room.MAX_WAITING + MAX_CONNECTIONS
        assert both.a.reports == []


@pytest.mark.parametrize("words", ["honest", "endless"])
async def test_what_a_connection_costs_before_it_has_proved_itself(words: str) -> None:
    """It has said the first words of TLS, or as many as are read of anybody, and waits."""
    script = str(Path(__file__).with_name("half_open_cost.py"))
    with trio.fail_after(30):
        measured = await trio.run_process([sys.executable, script, words], capture_stdout=True)
    assert 1024 < int(measured.stdout) <= HALF_OPEN_BYTES


async def test_a_port_scan_and_a_connection_of_another_protocol(caplog: pytest.LogCaptureFixture) -> None:
    """Told of once by their source, and then counted: nobody writes the log full."""
    caplog.set_level("INFO")
    async with two_links() as both, untouched(both):
        for words in (b"", b"GET / HTTP/1.1\r\n\r\n", bytes(100_000)):
            async with stranger(both.address) as scan:
                with suppress(trio.BrokenResourceError):
                    await scan.send_all(words)
                    await scan.send_eof()
                await read_to_the_end(scan)
        assert caplog.text.count("did not prove itself: ") == 1
        assert both.a.reports == []
    told, summed_up = (line for line in caplog.messages if "did not prove itself: " in line)
    assert f"{ELSEWHERE}:" in told
    assert f"and 2 more from {ELSEWHERE} in " in summed_up


async def test_the_peer_itself_may_introduce_itself_only_so_often_at_a_time() -> None:
    """With its key, it fills all that there is: its session goes on, and it is heard again when one ends.

    What it speaks is not known yet, so it is refused in a word of the first version.
    """
    word = IN_WORDS_OF_VERSION_1[Refusal.BUSY].value.encode()
    refused: list[Stream] = []

    async def read(stream: Stream) -> None:
        buffer = bytearray(200)
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            if await stream.receive_into(memoryview(buffer)):
                assert word in buffer
                refused.append(stream)

    async with two_links() as both:
        async with untouched(both), trio.open_nursery() as nursery:
            transport = TlsTransport(key=both.b.key, pins=[pin(both.a.key)])
            streams = [await transport.dial(both.address) for _ in range(IN_HELLO_MAX + 4)]
            for stream in streams:
                nursery.start_soon(read, stream)
            while len(refused) < 4:  # noqa: ASYNC110 - an answer is no event
                await trio.sleep(0.002)
            for stream in streams:
                stream.close()
        assert len(refused) == 4
        ended = both.session
        both.a.link.drop("made by the test")
        while both.session in {0, ended}:  # noqa: ASYNC110 - as above
            await trio.sleep(0.002)
