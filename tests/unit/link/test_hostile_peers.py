"""Hostile peers at a link: each attack ends in a refusal with a name, and costs no session but, at most, its own.

Before a session comes a stranger, whose first bytes are the attack, or somebody who has introduced itself as the peer
and been accepted. In a session it is the peer itself. All under virtual time; what is of TLS and of sockets is in
``test_hostile_strangers.py``. The table of ``docs/explain/security.md`` has a row for each attack.
"""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import attrs
import pytest
import trio
import trio.testing
from crc32c import crc32c

from ctlha_trio._errors import RemoteProtocolError
from ctlha_trio.dma import Dma, Rights
from ctlha_trio.link import Connected, Disconnected, LossReason
from ctlha_trio.link._meeting import HELLO_TIMEOUT_S, IN_HELLO_MAX
from ctlha_trio.seams import MemoryNetwork, Stream
from ctlha_trio.wire import (
    CHANNEL_OPEN_BODY,
    PULL_BODY,
    Denial,
    Fault,
    Flag,
    Fragment,
    FrameDecoder,
    FrameType,
    decode_verdict,
    encode_header,
    fragment_prefix,
    push_prefix,
)
from ctlha_trio.wire._frame import HELLO_SIZE_MAX, REASON_SIZE_MAX
from tests.unit.link.test_link_sessions import CONFIGS, Pair, Side, confirm, dial, hello, make_side, refusal, until

CHANNEL: Final = 0x80
SLOT: Final = 16
OLD_SESSION: Final = 0x0123456789ABCDEF


def changed(frame: bytes, offset: int, value: int, size: int = 1) -> bytes:
    """With another number in its header, and a checksum that is right."""
    data = bytearray(frame)
    data[offset : offset + size] = value.to_bytes(size, "little")
    data[4:8] = bytes(4)
    data[4:8] = crc32c(bytes(data)).to_bytes(4, "little")
    return bytes(data)


Attack = Callable[[bytes], bytes]
ATTACKS: Final[dict[str, tuple[Attack, Fault | None]]] = {
    "truncated": (lambda frame: frame[:-1], None),
    "oversized": (lambda frame: changed(frame, 52, 512 * 1024, 4), Fault.SIZE),
    "length overflow": (lambda frame: changed(frame, 52, 0xFFFFFFFF, 4), Fault.SIZE),
    "wrong magic": (lambda frame: b"X" + frame[1:], Fault.MAGIC),
    "wrong layout": (lambda frame: changed(frame, 3, 9), Fault.FRAME_VERSION),
    "wrong checksum": (lambda frame: frame[:5] + bytes([frame[5] ^ 1]) + frame[6:], Fault.CHECKSUM),
    "wrong sequence": (lambda frame: changed(frame, 32, 9, 8), Fault.SEQUENCE),
    "unknown channel": (lambda frame: changed(frame, 10, 9, 2), Fault.CHANNEL),
    "unknown type": (lambda frame: changed(frame, 8, 200), Fault.TYPE),
    "unknown flag": (lambda frame: changed(frame, 9, 0x80), Fault.FLAGS),
    "reserved bits": (lambda frame: changed(frame, 14, 1, 2), Fault.RESERVED),
    "replayed session": (lambda frame: changed(frame, 16, OLD_SESSION, 8), Fault.SESSION),
}
"""What is done to a frame that would be right, and the name of it; None: nothing is wrong with what has come."""


@attrs.define(eq=False)
class Traffic:
    """Messages between both nodes of a pair, and whatever of them has arrived."""

    pair: Pair
    sent: dict[str, int] = attrs.field(factory=lambda: {"a": 0, "b": 0})
    received: dict[str, list[int]] = attrs.field(factory=lambda: {"a": [], "b": []})
    is_over: bool = False

    async def flow(self, name: str) -> None:
        side, other = (self.pair.a, self.pair.b) if name == "a" else (self.pair.b, self.pair.a)
        while not self.is_over or len(self.received[name]) < self.sent["b" if name == "a" else "a"]:
            if not self.is_over:
                await side.channel.send(self.sent[name].to_bytes(SLOT, "little"))
                self.sent[name] += 1
            await trio.sleep(0.01)
            self.received[name] += [int.from_bytes(each, "little") for each in side.channel.receive_all_nowait()]
        assert other.link.session is not None


@asynccontextmanager
async def in_session(limit_s: float = 60.0) -> AsyncIterator[Pair]:
    """Two nodes whose session must be the same in the end, without a message lost, and with some throughout."""
    network = MemoryNetwork()
    sides = [make_side(network, CONFIGS[node]) for node in ("a", "b")]
    with trio.fail_after(limit_s):
        async with trio.open_nursery() as nursery:
            pair = Pair(network, nursery, *sides)
            for side in sides:
                await pair.start(side)
            await pair.online()
            before, traffic = pair.a.link.session_id, Traffic(pair)
            async with trio.open_nursery() as both:
                for name in ("a", "b"):
                    both.start_soon(traffic.flow, name)
                await trio.sleep(0.1)
                began = dict(traffic.sent)
                yield pair
                await trio.sleep(0.1)
                traffic.is_over = True
            assert pair.is_online
            assert pair.a.link.session_id == before
            assert pair.a.losses == pair.b.losses == []
            for name, other in (("a", "b"), ("b", "a")):
                assert traffic.received[name] == list(range(traffic.sent[other])), "nothing lost, nothing added"
                assert traffic.sent[name] > began[name] + 5, "all the time"
            nursery.cancel_scope.cancel()


async def introduced(pair: Pair) -> tuple[Stream, bytes]:
    """Accepted as the peer; and the confirmation that would be right."""
    stream = await dial(pair.network, "x", "a-address", hello("b"))
    decoder = FrameDecoder()
    while (frame := decoder.next_frame()) is None:
        decoder.received(await stream.receive_into(decoder.space()))
    assert frame.kind is FrameType.HELLO_ACCEPT
    return stream, encode_header(FrameType.HELLO_CONFIRM, session=frame.session)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("who", ["stranger", "introduced"])
async def test_before_a_session(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, who: str, attack: str
) -> None:
    caplog.set_level("INFO")
    change, fault = ATTACKS[attack]
    async with in_session() as pair:
        if who == "stranger":
            stream, frame = await dial(pair.network, "x", "a-address", b""), hello("b")
        else:
            stream, frame = await introduced(pair)
        began_s = trio.current_time()
        await stream.send_all(change(frame))
        if fault is not None:
            assert await refusal(stream) == "malformed"
        elif who == "stranger":
            assert await refusal(stream) == "simultaneous", "for nobody knows whether it knows `slow`"
        assert await stream.receive_into(memoryview(bytearray(1))) == 0, "and it is closed"
        if fault is None:
            assert trio.current_time() - began_s <= HELLO_TIMEOUT_S
            assert "RefusedError('slow: no session after 3 s')" in caplog.text
            assert pair.a.reports == []
        else:
            assert trio.current_time() == began_s
            (report,) = pair.a.reports
            assert str(report).startswith(f"malformed: {fault}: ")


@pytest.mark.parametrize("size", [HELLO_SIZE_MAX + REASON_SIZE_MAX, HELLO_SIZE_MAX + REASON_SIZE_MAX + 1])
async def test_a_refusal_as_large_as_may_be_instead_of_a_hello(
    autojump_clock: trio.testing.MockClock, size: int
) -> None:
    async with in_session() as pair:
        body = bytes(size)
        stream = await dial(pair.network, "x", "a-address", encode_header(FrameType.HELLO_REFUSE, (body,)) + body)
        assert await refusal(stream) == "malformed"
        assert pair.a.reasons == ["malformed"]


async def test_an_old_hello_that_is_sent_again_with_its_old_confirmation(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with in_session() as pair:
        old = hello("b") + encode_header(FrameType.HELLO_CONFIRM, session=77 << 32 | 1)
        stream = await dial(pair.network, "x", "a-address", old)
        decoder = FrameDecoder()
        kinds = []
        while size := await stream.receive_into(decoder.space()):
            decoder.received(size)
            while (frame := decoder.next_frame()) is not None:
                kinds.append(frame.kind)
        assert kinds == [FrameType.HELLO_ACCEPT, FrameType.HELLO_REFUSE]
        assert [str(report) for report in pair.a.reports] == ["malformed: session: another session confirmed"]


async def test_too_many_that_nobody_authenticates(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """As in plain TCP: those that are too many are told so, in a word that every version knows."""
    caplog.set_level("INFO")
    async with in_session() as pair:
        silent = [await dial(pair.network, "x", "a-address", b"") for _ in range(IN_HELLO_MAX)]
        await trio.sleep(0.01)
        for _ in range(500):
            stream = await dial(pair.network, "x", "a-address", hello("b"))
            assert await refusal(stream) == "simultaneous"
            stream.close()
        assert caplog.text.count("RefusedError('busy: ") == 500
        for stream in silent:
            assert await refusal(stream) == "simultaneous"
        assert caplog.text.count("RefusedError('slow: ") == IN_HELLO_MAX
        assert pair.a.reports == []


async def test_a_node_that_strangers_keep_busy_finds_its_peer_by_its_own_dial(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = MemoryNetwork()
    sides = [make_side(network, CONFIGS[node]) for node in ("a", "b")]
    async with trio.open_nursery() as nursery:
        pair = Pair(network, nursery, *sides)
        await pair.start(pair.a)

        async def come_back_for_ever() -> None:
            while True:
                stream = await dial(network, "x", "a-address", b"")
                while await stream.receive_into(memoryview(bytearray(1000))):
                    pass
                stream.close()
                await trio.sleep(0.001)

        for _ in range(IN_HELLO_MAX):
            nursery.start_soon(come_back_for_ever)
        await trio.sleep(1)
        await pair.start(pair.b)
        assert await until(lambda: pair.is_online) < 4.0
        nursery.cancel_scope.cancel()


# In a session


@attrs.define(eq=False)
class Own:
    """A session of node a with a peer made of bytes, on a channel that both have opened."""

    pair: Pair
    stream: Stream
    session: int
    dma: Dma
    memory: bytearray
    decoder: FrameDecoder = attrs.field(factory=FrameDecoder)

    def __attrs_post_init__(self) -> None:
        self.decoder.admit()

    @property
    def a(self) -> Side:
        return self.pair.a

    def message(self, sequence: int = 1) -> bytes:
        body = b"evil" * (SLOT // 4)
        return (
            encode_header(
                FrameType.MESSAGES,
                (body,),
                session=self.session,
                channel=CHANNEL,
                count=1,
                first_sequence=sequence,
                credit=4,
            )
            + body
        )

    def push(self, key: bytes, request: int, *, offset: int = 0) -> bytes:
        prefix = fragment_prefix(Fragment(request, key, offset, 4, b"evil"))
        header = encode_header(FrameType.PUSH, (prefix, b"evil"), flags=Flag.REQUEST | Flag.LAST, session=self.session)
        return header + prefix + b"evil"

    def push_without_request(self, key: bytes, *, offset: int = 0) -> bytes:
        prefix = push_prefix(key, offset, b"evil")
        return encode_header(FrameType.PUSH, (prefix, b"evil"), session=self.session) + prefix + b"evil"

    def pull(self, key: bytes, request: int, *, offset: int = 0) -> bytes:
        body = PULL_BODY.pack(request, key, offset, 4, bytes(16))
        return encode_header(FrameType.PULL, (body,), session=self.session) + body

    async def verdict(self) -> Denial | None:
        """The next answer to a request."""
        decoder = self.decoder
        with trio.fail_after(1):
            while True:
                while (frame := decoder.next_frame()) is not None:
                    if frame.data_size:
                        decoder.place(None)
                    elif frame.kind is FrameType.TRANSFER_DONE:
                        return decode_verdict(frame.payload).denial
                decoder.received(await self.stream.receive_into(decoder.space()))

    async def ends(self, data: bytes) -> None:
        await self.stream.send_all(data)
        await until(lambda: self.a.link.session is None, within_s=1.0)
        await trio.sleep(0.001)

    async def honest_peer_comes(self) -> None:
        """At once, and all is well with it."""
        await self.pair.start(self.pair.b)
        assert await until(lambda: self.pair.is_online) < 1.0
        await trio.sleep(0.01)
        self.pair.b.channel.send_nowait(b"good" * 4)
        await trio.sleep(0.01)
        assert self.a.channel.receive_all_nowait() == [b"good" * 4], "and nothing of before"
        assert len(self.a.events_of(Connected)) == 2


@asynccontextmanager
async def own_session() -> AsyncIterator[Own]:
    network = MemoryNetwork()
    sides = [make_side(network, CONFIGS[node]) for node in ("a", "b")]
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            pair = Pair(network, nursery, *sides)
            dma = Dma(pair.a.link, random.Random(5).randbytes)
            await pair.start(pair.a)
            stream = await dial(network, "x", "a-address", hello("b"))
            session = await confirm(stream)
            offer = CHANNEL_OPEN_BODY.pack(SLOT, 4)
            await stream.send_all(
                encode_header(FrameType.CHANNEL_OPEN, (offer,), session=session, channel=CHANNEL, credit=4) + offer
            )
            await until(lambda: pair.a.link.session is not None)
            yield Own(pair, stream, session, dma, bytearray(b"." * 8))
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("attack", ATTACKS)
async def test_in_a_session(autojump_clock: trio.testing.MockClock, attack: str) -> None:
    change, fault = ATTACKS[attack]
    async with own_session() as own:
        await own.ends(change(own.message()))
        (lost,) = own.a.events_of(Disconnected)
        assert isinstance(lost, Disconnected)
        if fault is None:
            assert lost.reason is LossReason.SILENT
        else:
            assert lost.reason is LossReason.CLOSED
            assert lost.detail.startswith(f"{fault}: ")
            (report,) = own.a.reports
            assert isinstance(report, RemoteProtocolError)
            assert report.reason == fault
        await own.honest_peer_comes()


KEYS: Final[dict[str, Denial]] = {
    "key guessing": Denial.UNKNOWN_KEY,
    "key reuse": Denial.USED_KEY,
    "key out of range": Denial.OUT_OF_RANGE,
    "key after role change": Denial.EXPIRED_KEY,
    "key after its session": Denial.EXPIRED_KEY,
    "key after its time": Denial.OVERDUE_KEY,
    "key of another epoch": Denial.STALE_EPOCH,
    "key for the other direction": Denial.RIGHTS,
}
"""Attacks with a key, and their names."""


async def key_for(own: Own, attack: str, way: str) -> tuple[bytes, int]:
    """A key that is of no use in that way any more, and an offset."""
    wanted, other = (Rights.READ, Rights.WRITE) if way == "pull" else (Rights.WRITE, Rights.READ)
    rights = other if attack == "key for the other direction" else wanted
    uses = 1 if attack == "key reuse" else None
    expires_s = own.dma.now() + 0.1 if attack == "key after its time" else None
    if attack == "key after its session":
        region = own.dma.register(own.memory, epoch=0, rights=rights)
        own.a.link.drop("made by the test")
        own.stream = await dial(own.pair.network, "x", "a-address", hello("b"))
        own.session = await confirm(own.stream)
        await until(lambda: own.a.link.session is not None)
        return region.key, 0
    if attack == "key of another epoch":
        # The node has moved on, and the peer, whose frames say so, has not.
        own.a.link.announce(epoch=1, revision=1)
        return own.dma.register(own.memory, epoch=1, rights=rights).key, 0
    region = own.dma.register(own.memory, epoch=0, rights=rights, uses=uses, expires_s=expires_s)
    match attack:
        case "key guessing":
            return bytes([region.key[0] ^ 1]) + region.key[1:], 0
        case "key reuse":
            await own.stream.send_all(own.pull(region.key, 1) if way == "pull" else own.push(region.key, 1))
            await until(lambda: not region.alive)
            own.memory[:] = b"." * 8
        case "key out of range":
            return region.key, 5
        case "key after role change":
            own.a.link.announce(epoch=1, revision=1)
        case "key after its time":
            await trio.sleep(0.2)
        case _:
            pass
    return region.key, 0


@pytest.mark.parametrize("attack", KEYS)
@pytest.mark.parametrize("way", ["push", "pull"])
async def test_with_a_key_by_a_request(autojump_clock: trio.testing.MockClock, way: str, attack: str) -> None:
    """It is told, and the session goes on: with messages, and with what an honest key allows."""
    async with own_session() as own:
        key, offset = await key_for(own, attack, way)
        before = own.a.link.session_id
        ask = own.pull if way == "pull" else own.push
        await own.stream.send_all(ask(key, 2, offset=offset))
        denial = await own.verdict()
        while denial is None:  # of the first use
            denial = await own.verdict()
        assert denial is KEYS[attack]
        assert own.memory == b"." * 8
        assert own.a.link.statistics().denied_transfers_in == 1
        assert own.a.reports == []
        if attack != "key after its session":
            await own.stream.send_all(own.message())
            await trio.sleep(0.01)
            assert own.a.channel.receive_nowait() == b"evil" * 4
        assert own.a.link.session_id == before


@pytest.mark.parametrize("attack", KEYS)
async def test_with_a_key_where_nothing_can_be_answered(autojump_clock: trio.testing.MockClock, attack: str) -> None:
    """It ends the session by name."""
    async with own_session() as own:
        key, offset = await key_for(own, attack, "push")
        losses = len(own.a.losses)
        await own.ends(own.push_without_request(key, offset=offset))
        lost = own.a.events_of(Disconnected)[-1]
        assert isinstance(lost, Disconnected)
        assert len(own.a.losses) == losses + 1
        assert lost.detail.startswith(f"{KEYS[attack]}: ")
        (report,) = own.a.reports
        assert isinstance(report, RemoteProtocolError)
        assert report.reason == KEYS[attack]
        assert own.memory == b"." * 8
        if losses == 0:
            await own.honest_peer_comes()
