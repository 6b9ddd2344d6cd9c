"""A peer made of bytes, in an agreed session: what it may not say of transfers ends the session by name."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing

from ctlha_trio._errors import CtlHaError, RemoteProtocolError
from ctlha_trio._vocabulary import RemoteBuffer, ctl_ha_event, ctl_ha_status
from ctlha_trio.dma import TRANSFERS_IN_FLIGHT_MAX, Dma, Rights, Transfer, TransferPlaces
from ctlha_trio.link import Channel, Connected, Disconnected, EventRange, Link, LinkConfig
from ctlha_trio.seams import MemoryNetwork, Stream, TrioClock
from ctlha_trio.wire import (
    CHANNEL_OPEN_BODY,
    DONE_PREFIX,
    HEAD_SIZE_MAX,
    OWN_TERMS,
    PULL_BODY,
    Flag,
    Fragment,
    FrameDecoder,
    FrameType,
    Hello,
    Landing,
    ResourceState,
    Terms,
    decode_verdict,
    decode_withdrawal,
    encode_header,
    encode_hello,
    encode_terms,
    encode_withdrawal,
    fragment_prefix,
    push_prefix,
)

SUCCESS, ERROR, DISCONNECT, BUSY = (
    ctl_ha_status.CTL_HA_STATUS_SUCCESS,
    ctl_ha_status.CTL_HA_STATUS_ERROR,
    ctl_ha_status.CTL_HA_STATUS_DISCONNECT,
    ctl_ha_status.CTL_HA_STATUS_BUSY,
)
REMOTE = RemoteBuffer(b"k" * 16)


@attrs.define(eq=False)
class Peer:
    """The other end of the session, and the node that it tries its luck with."""

    stream: Stream
    session: int
    decoder: FrameDecoder
    link: Link
    channel: Channel
    dma: Dma
    reports: list[CtlHaError]
    done: list[Transfer] = attrs.field(factory=list)

    def frame(self, kind: FrameType, body: bytes, *, flags: Flag = Flag.NONE) -> bytes:
        return encode_header(kind, (body,), flags=flags, session=self.session) + body

    def fragment(self, request: int, data: bytes, *, flags: Flag, key: bytes, offset: int = 0, left: int = 0) -> bytes:
        left = left or len(data)
        if left == len(data):
            flags |= Flag.LAST
        return self.frame(
            FrameType.PUSH, fragment_prefix(Fragment(request, key, offset, left, data)) + data, flags=flags
        )

    def pull(self, request: int, key: bytes, size: int = 4) -> bytes:
        return self.frame(FrameType.PULL, PULL_BODY.pack(request, key, 0, size, bytes(16)))

    def verdict(self, request: int, status: int, reason: bytes = b"", *, left: int | None = None) -> bytes:
        if left is None:
            left = 0 if status == SUCCESS else 4
        return self.frame(FrameType.TRANSFER_DONE, DONE_PREFIX.pack(request, status, left) + reason)

    def withdrawal(self, request: int) -> bytes:
        return self.frame(FrameType.WITHDRAW, encode_withdrawal(request))

    async def next(self, *wanted: FrameType) -> tuple[FrameType, Flag, bytes]:
        """The next frame of one of those types."""
        prefix, data = b"", bytearray()
        with trio.fail_after(1):
            while True:
                frame = self.decoder.next_frame()
                if frame is not None and frame.data_size:
                    prefix, data = bytes(frame.payload), bytearray(frame.data_size)
                    self.decoder.place(Landing(memoryview(data)))
                elif frame is not None and frame.kind in wanted:
                    return (
                        frame.kind,
                        frame.flags,
                        prefix + data if frame.kind is FrameType.PUSH else bytes(frame.payload),
                    )
                elif frame is None:
                    size = await self.stream.receive_into(self.decoder.space())
                    assert size, "the session has ended"
                    self.decoder.received(size)

    async def fault_after(self, data: bytes) -> str:
        """Send it; the name under which the session then ends."""
        await self.stream.send_all(data)
        with trio.fail_after(0.05):
            while self.link.session is not None:  # noqa: ASYNC110 - the end has no event here, and time is virtual
                await trio.sleep(0.0001)
        (reason,) = [error.reason for error in self.reports if isinstance(error, RemoteProtocolError)]
        return reason


@asynccontextmanager
async def open_session(terms: Terms | None = None) -> AsyncIterator[Peer]:
    """Of version 1, or with these terms."""
    network = MemoryNetwork()
    reports: list[CtlHaError] = []
    entropy = random.Random(1).randbytes
    link = Link(
        LinkConfig(cluster="c", node="a", peer="b", resource="r", listen="a", peer_address="b"),
        clock=TrioClock(),
        entropy=entropy,
        transport=network.transport("a"),
        incarnation=1,
        alive=lambda: True,
        report=reports.append,
    )
    channel, dma = link.open_channel(1, slot_size=16, slots=4), Dma(link, entropy)
    async with trio.open_nursery() as nursery:
        await nursery.start(link.run)
        stream = await network.transport("b").dial("a")
        resources = (ResourceState("r", 0, 0),)
        hello = encode_hello(
            Hello(
                cluster="c", node="b", incarnation=1, session_half=7, resources=resources, version_max=1 + bool(terms)
            )
        )
        await stream.send_all(encode_header(FrameType.HELLO, (hello,)) + hello)
        decoder = FrameDecoder()
        while (frame := decoder.next_frame()) is None:
            decoder.received(await stream.receive_into(decoder.space()))
        session = frame.session
        if terms is not None:
            while decoder.next_frame() is None:
                decoder.received(await stream.receive_into(decoder.space()))
            stated = encode_terms(terms)
            await stream.send_all(encode_header(FrameType.TERMS, (stated,), session=session) + stated)
        await stream.send_all(encode_header(FrameType.HELLO_CONFIRM, session=session))
        decoder.admit()
        with trio.fail_after(1):
            while link.session is None:  # noqa: ASYNC110 - as above
                await trio.sleep(0.0001)
        yield Peer(stream, session, decoder, link, channel, dma, reports)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("lie", "fault"),
    [
        ("another request", "request"),
        ("another key", "fragment"),
        ("a gap", "fragment"),
        ("too much", "fragment"),
        ("too little", "fragment"),
        ("done without data", "request"),
        ("unknown reason", "reason"),
        ("unknown status", "reason"),
    ],
)
async def test_a_pull_that_is_answered_wrongly(autojump_clock: trio.testing.MockClock, lie: str, fault: str) -> None:
    async with open_session() as peer:
        into = bytearray(b"....")
        peer.dma.start_pull(REMOTE, memoryview(into), on_done=peer.done.append)
        _, _, body = await peer.next(FrameType.PULL)
        request, key, offset, size, reply_key = PULL_BODY.unpack(body)
        assert (key, offset, size) == (REMOTE.key, 0, 4)
        reply = Flag.REPLY
        frames = {
            "another request": peer.fragment(request + 1, b"evil", flags=reply, key=reply_key),
            "another key": peer.fragment(request, b"evil", flags=reply, key=bytes(16)),
            "a gap": peer.fragment(request, b"il", flags=reply, key=reply_key, offset=2),
            "too much": peer.fragment(request, b"very evil", flags=reply, key=reply_key),
            "too little": peer.fragment(request, b"bad", flags=reply, key=reply_key),
            "done without data": peer.verdict(request, SUCCESS),
            "unknown reason": peer.verdict(request, 2, b"because"),
            "unknown status": peer.verdict(request, 0),
        }
        assert await peer.fault_after(frames[lie]) == fault
        assert into == b"....", "nothing was written"
        assert [(transfer.status, transfer.reason) for transfer in peer.done] == [(DISCONNECT, "closed")]


@pytest.mark.parametrize("lie", ["too early", "twice", "unknown"])
async def test_a_push_that_is_answered_wrongly(autojump_clock: trio.testing.MockClock, lie: str) -> None:
    async with open_session() as peer:
        transfer = peer.dma.start_push(REMOTE, bytes(1 << 20), on_done=peer.done.append)
        await peer.next(FrameType.PUSH)
        verdicts = {
            "too early": peer.verdict(transfer.request, SUCCESS),
            "twice": peer.verdict(transfer.request, 2, b"rights") * 2,
            "unknown": peer.verdict(transfer.request + 1, SUCCESS),
        }
        assert await peer.fault_after(verdicts[lie]) == "request"
        assert len(peer.done) == 1


async def test_an_answer_that_nobody_asked_for(autojump_clock: trio.testing.MockClock) -> None:
    for data in ("verdict", "reply"):
        async with open_session() as peer:
            frame = (
                peer.verdict(1, SUCCESS)
                if data == "verdict"
                else peer.fragment(1, b"evil", flags=Flag.REPLY, key=bytes(16))
            )
            assert await peer.fault_after(frame) == "request"


@pytest.mark.parametrize(
    ("lie", "fault"), [("gap", "fragment"), ("key", "fragment"), ("cut short", "request"), ("again", "request")]
)
async def test_a_push_in_disorder(autojump_clock: trio.testing.MockClock, lie: str, fault: str) -> None:
    async with open_session() as peer:
        memory = bytearray(b"." * 8)
        key = peer.dma.register(memory, epoch=0).key
        ask = Flag.REQUEST
        begin = peer.fragment(2, b"ab", flags=ask, key=key, left=8)
        rest = {
            "gap": peer.fragment(2, b"evil", flags=ask, key=key, offset=4),
            "key": peer.fragment(2, b"evil!!", flags=ask, key=bytes(16), offset=2),
            "cut short": peer.fragment(3, b"evil", flags=ask, key=key),
            "again": peer.fragment(2, b"cdefgh", flags=ask, key=key, offset=2)
            + peer.fragment(2, b"evil", flags=ask, key=key),
        }
        assert await peer.fault_after(begin + rest[lie]) == fault
        assert b"evil" not in memory


async def test_memory_outside_of_the_region_cannot_be_reached_by_a_fragment_behind_a_good_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_session() as peer:
        memory = bytearray(b"." * 8)
        key = peer.dma.register(memory, epoch=0).key
        too_long = peer.fragment(1, b"evil", flags=Flag.REQUEST, key=key, left=9)
        await peer.stream.send_all(too_long)
        _, _, body = await peer.next(FrameType.TRANSFER_DONE)
        assert decode_verdict(body).denial == "out-of-range"
        assert memory == b"." * 8, "not even what would have fitted"
        assert peer.link.session is not None


async def test_many_pulls_are_answered_in_order_and_the_surplus_is_busy(autojump_clock: trio.testing.MockClock) -> None:
    async with open_session() as peer:
        key = peer.dma.register(bytearray(b"data"), epoch=0, rights=Rights.READ).key
        await peer.stream.send_all(b"".join(peer.pull(number, key) for number in range(1, 301)))
        busy = []
        for number in range(1, 301):
            kind, _, body = await peer.next(FrameType.PUSH, FrameType.TRANSFER_DONE)
            assert int.from_bytes(body[:8], "little") == number
            if kind is FrameType.PUSH:
                assert body.endswith(b"data")
            else:
                busy.append(number)
                assert decode_verdict(body).status is BUSY
        assert busy == list(range(257, 301))


KEY_DIES = ["close", "epoch", "session"]


@pytest.mark.parametrize("how", KEY_DIES)
@pytest.mark.parametrize("came", [0, 1, 100])
async def test_a_key_that_dies_while_data_is_received_keeps_the_rest_of_it_out(
    autojump_clock: trio.testing.MockClock, how: str, came: int
) -> None:
    async with open_session() as peer:
        memory = bytearray(b"." * 200)
        region = peer.dma.register(memory, epoch=0)
        push = peer.fragment(1, b"x" * 200, flags=Flag.REQUEST, key=region.key)
        begun = len(push) - 200 + came
        await peer.stream.send_all(push[:begun])
        await trio.sleep(0.01)
        assert memory == b"x" * came + b"." * (200 - came), "the reader waits for the rest"
        match how:
            case "close":
                region.close()
            case "epoch":
                peer.link.announce(epoch=1, revision=1)
            case _:
                peer.link.drop("test")
        memory.extend(b"may be resized again")
        if how == "session":
            with pytest.raises(trio.BrokenResourceError):
                await peer.stream.send_all(push[begun:])
        else:
            await peer.stream.send_all(push[begun:])
            _, _, body = await peer.next(FrameType.TRANSFER_DONE)
            assert decode_verdict(body).denial == ("unknown-key" if how == "close" else "expired-key")
            assert peer.link.statistics().denied_bytes_in == 200
            assert await peer.fault_after(peer.pull(1, region.key) * 2) == "request", "the stream was still in step"
        assert memory == b"x" * came + b"." * (200 - came) + b"may be resized again"


@pytest.mark.parametrize("how", [*KEY_DIES, "time"])
async def test_a_key_that_dies_under_a_push_without_request_ends_the_session_alone(
    autojump_clock: trio.testing.MockClock, how: str
) -> None:
    async with open_session() as peer:
        memory = bytearray(b"." * 200)
        region = peer.dma.register(memory, epoch=0, expires_s=peer.dma.now() + 0.1 if how == "time" else None)
        data = b"x" * 200
        push = peer.frame(FrameType.PUSH, push_prefix(region.key, 0, data) + data)
        await peer.stream.send_all(push[:-100])
        await trio.sleep(0.01)
        match how:
            case "close":
                region.close()
            case "epoch":
                peer.link.announce(epoch=1, revision=1)
            case "session":
                peer.link.drop("test")
            case _:
                await trio.sleep(0.1)
        if how == "session":
            with pytest.raises(trio.BrokenResourceError):
                await peer.stream.send_all(push[-100:])
        else:
            reason = {"close": "unknown-key", "epoch": "expired-key", "time": "overdue-key"}[how]
            assert await peer.fault_after(push[-100:]) == reason
        assert memory == b"x" * 100 + b"." * 100


async def test_a_session_that_is_dropped_with_frames_still_to_be_taken(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with open_session() as peer:
        region = peer.dma.register(bytearray(8), epoch=0)

        def drop(_: Transfer) -> None:
            peer.link.drop("test")

        peer.dma.start_push(REMOTE, b"data", on_done=drop)
        await trio.sleep(0.01)
        push = peer.fragment(1, b"x" * 8, flags=Flag.REQUEST, key=region.key)
        await peer.stream.send_all(push + peer.verdict(1, SUCCESS) + peer.pull(2, region.key) * 2)
        await trio.sleep(0.01)
        assert peer.link.session is None
    assert "LocalProtocolError" not in caplog.text


async def test_an_answer_goes_before_the_bulk_data_of_the_same_turn(autojump_clock: trio.testing.MockClock) -> None:
    async with open_session() as peer:
        region = peer.dma.register(bytearray(8), epoch=0)

        def go_on(_: Transfer) -> None:
            peer.dma.start_push(REMOTE, bytes(1 << 20), on_done=peer.done.append)

        peer.dma.start_push(REMOTE, b"data", on_done=go_on)
        await peer.next(FrameType.PUSH)
        push = peer.fragment(1, b"x" * 8, flags=Flag.REQUEST, key=region.key)
        await peer.stream.send_all(peer.verdict(1, SUCCESS) + push)
        kinds = [(await peer.next(FrameType.PUSH, FrameType.TRANSFER_DONE))[0] for _ in range(2)]
        assert kinds == [FrameType.TRANSFER_DONE, FrameType.PUSH]


async def test_damaged_data_ends_the_session_and_is_no_success(autojump_clock: trio.testing.MockClock) -> None:
    async with open_session() as peer:
        region = peer.dma.register(bytearray(8), epoch=0)
        push = bytearray(peer.fragment(1, b"x" * 8, flags=Flag.REQUEST, key=region.key))
        push[-1] ^= 1
        assert await peer.fault_after(bytes(push)) == "checksum"
        assert not region.alive
    async with open_session() as peer:
        peer.dma.start_pull(REMOTE, memoryview(bytearray(8)), on_done=peer.done.append)
        request, _, _, _, key = PULL_BODY.unpack((await peer.next(FrameType.PULL))[2])
        assert (
            await peer.fault_after(bytes(changed(peer.fragment(request, b"x" * 8, flags=Flag.REPLY, key=key))))
            == "checksum"
        )
        assert [transfer.status for transfer in peer.done] == [DISCONNECT]


def changed(fragment: bytes) -> bytearray:
    """Its data is not what its checksum says."""
    return bytearray(fragment[:-1] + bytes([fragment[-1] ^ 1]))


@pytest.mark.parametrize("part", ["first", "last", "only"])
async def test_a_reply_that_changed_on_its_way_ends_its_pull_and_not_the_session(
    autojump_clock: trio.testing.MockClock, part: str
) -> None:
    async with open_session(OWN_TERMS) as peer:
        into = bytearray(b"." * 8)
        peer.dma.start_pull(REMOTE, memoryview(into), on_done=peer.done.append)
        request, _, _, _, key = PULL_BODY.unpack((await peer.next(FrameType.PULL))[2])
        size = 8 if part == "only" else 4
        fragments = [
            bytearray(peer.fragment(request, b"x" * size, flags=Flag.REPLY, key=key, offset=offset, left=8 - offset))
            for offset in range(0, 8, size)
        ]
        fragments[0 if part == "first" else -1][-1] ^= 1
        await peer.stream.send_all(*fragments)
        left = 4 if part == "last" else 8
        await trio.sleep(0.01)
        assert [(each.status, each.reason, each.left_bytes) for each in peer.done] == [(ERROR, "changed", left)]
        assert decode_withdrawal((await peer.next(FrameType.WITHDRAW))[2]) == request
        if part == "first":
            assert into[4:] == b"....", "what comes behind it is dropped"
        into.extend(b"may be resized")
        counted = peer.link.statistics()
        assert (counted.pulled_bytes_in, counted.denied_bytes_in) == ((4, 4) if part == "last" else (0, 8))
        again = bytearray(4)
        peer.dma.start_pull(REMOTE, memoryview(again), on_done=peer.done.append)
        request, _, _, _, key = PULL_BODY.unpack((await peer.next(FrameType.PULL))[2])
        await peer.stream.send_all(peer.fragment(request, b"next", flags=Flag.REPLY, key=key))
        await trio.sleep(0.01)
        assert (peer.done[-1].status, bytes(again)) == (SUCCESS, b"next")
        assert peer.link.session is not None
        assert peer.reports == []


@pytest.mark.parametrize("left", [0, 4])
async def test_who_is_told_that_a_reply_changed_may_end_the_session(
    autojump_clock: trio.testing.MockClock, left: int
) -> None:
    async with open_session(OWN_TERMS) as peer:
        places = TransferPlaces()

        def end(transfer: Transfer) -> None:
            peer.done.append(transfer)
            peer.link.drop("enough")

        peer.dma.start_pull(REMOTE, memoryview(bytearray(4 + left)), on_done=end, places=places)
        request, _, _, _, key = PULL_BODY.unpack((await peer.next(FrameType.PULL))[2])
        await peer.stream.send_all(changed(peer.fragment(request, b"data", flags=Flag.REPLY, key=key, left=4 + left)))
        await trio.sleep(0.01)
        assert ([each.reason for each in peer.done], places.taken) == (["changed"], 0)


async def test_who_is_told_that_a_reply_changed_may_pull_once_more_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_session(OWN_TERMS) as peer:
        places = TransferPlaces()
        places.taken = TRANSFERS_IN_FLIGHT_MAX - 1

        def again(transfer: Transfer) -> None:
            peer.done.append(transfer)
            peer.dma.start_pull(REMOTE, memoryview(bytearray(4)), on_done=peer.done.append, places=places)

        peer.dma.start_pull(REMOTE, memoryview(bytearray(4)), on_done=again, places=places)
        request, _, _, _, key = PULL_BODY.unpack((await peer.next(FrameType.PULL))[2])
        await peer.stream.send_all(changed(peer.fragment(request, b"data", flags=Flag.REPLY, key=key)))
        request, _, _, _, key = PULL_BODY.unpack((await peer.next(FrameType.PULL))[2])
        await peer.stream.send_all(peer.fragment(request, b"data", flags=Flag.REPLY, key=key))
        await trio.sleep(0.01)
        assert [each.status for each in peer.done] == [ERROR, SUCCESS]


@pytest.mark.parametrize("position", range(8, HEAD_SIZE_MAX))
async def test_a_damaged_head_places_nothing_anywhere(autojump_clock: trio.testing.MockClock, position: int) -> None:
    """Though the place that it names may be memory that the peer may reach."""
    async with open_session() as peer:
        memory = bytearray(b"." * 300)
        region = peer.dma.register(memory, epoch=0)
        push = bytearray(peer.fragment(1, b"x" * 4, flags=Flag.REQUEST, key=region.key, offset=64))
        push[position] ^= 1
        fault = await peer.fault_after(bytes(push))
        assert fault in {"checksum", "type", "flags", "size"}
        assert memory == b"." * 300


async def test_what_is_pulled_is_left_alone_once_the_session_is_lost(autojump_clock: trio.testing.MockClock) -> None:
    async with open_session() as peer:
        into = bytearray(8)
        peer.dma.start_pull(REMOTE, memoryview(into), on_done=peer.done.append)
        _, _, body = await peer.next(FrameType.PULL)
        request, _, _, _, reply_key = PULL_BODY.unpack(body)
        reply = peer.fragment(request, b"x" * 8, flags=Flag.REPLY, key=reply_key)
        await peer.stream.send_all(reply[:-4])
        await trio.sleep(0.01)
        assert into == b"x" * 4 + bytes(4)
        await peer.stream.send_all(reply[-4:])
        peer.link.drop("test")
        assert [transfer.status for transfer in peer.done] == [DISCONNECT]
        into.extend(b"resizable")
        await trio.sleep(0.01)
        assert into == b"x" * 4 + bytes(4) + b"resizable"


async def test_what_was_being_sent_when_the_session_was_lost_is_let_go_soon_after(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The peer reads nothing, so a fragment is in the sender's hands."""
    async with open_session() as peer:
        data = bytearray(1 << 20)
        peer.dma.start_push(REMOTE, data, on_done=peer.done.append)
        await trio.sleep(0.1)
        peer.link.drop("test")
        assert [transfer.status for transfer in peer.done] == [DISCONNECT]
        await trio.testing.wait_all_tasks_blocked()
        data.extend(b"resizable")


@pytest.mark.parametrize("limit", ["uses", "time"])
@pytest.mark.parametrize("kind", ["push", "pull"])
async def test_a_key_that_was_used_up_or_is_overdue_is_of_no_use(
    autojump_clock: trio.testing.MockClock, limit: str, kind: str
) -> None:
    async with open_session() as peer:
        memory = bytearray(b"....")
        rights, now = Rights.READ | Rights.WRITE, peer.dma.now()
        if limit == "uses":
            region = peer.dma.register(memory, epoch=0, rights=rights, uses=1)
            await peer.stream.send_all(peer.fragment(1, b"good", flags=Flag.REQUEST, key=region.key))
            await peer.next(FrameType.TRANSFER_DONE)
        else:
            region = peer.dma.register(memory, epoch=0, rights=rights, expires_s=now + 0.01)
            memory[:] = b"good"
            await trio.sleep(0.01)
        late = (
            peer.fragment(2, b"evil", flags=Flag.REQUEST, key=region.key)
            if kind == "push"
            else peer.pull(2, region.key)
        )
        await peer.stream.send_all(late)
        _, _, body = await peer.next(FrameType.TRANSFER_DONE, FrameType.PUSH)
        verdict = decode_verdict(body)
        assert (verdict.denial, verdict.left) == ("used-key" if limit == "uses" else "overdue-key", 4)
        assert memory == b"good"
        assert peer.link.statistics().denied_transfers_in == 1
        assert peer.link.session is not None


async def test_data_that_comes_when_the_key_is_overdue_stays_out_though_its_head_was_in_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_session() as peer:
        memory = bytearray(b"." * 8)
        region = peer.dma.register(memory, epoch=0, expires_s=peer.dma.now() + 0.01)
        push = peer.fragment(1, b"x" * 8, flags=Flag.REQUEST, key=region.key)
        await peer.stream.send_all(push[:-4])
        await trio.sleep(0.02)
        assert memory == b"xxxx...."
        memory.extend(b"resizable")
        await peer.stream.send_all(push[-4:])
        _, _, body = await peer.next(FrameType.TRANSFER_DONE)
        assert decode_verdict(body).denial == "overdue-key"
        assert memory == b"xxxx....resizable"


async def test_guessing_keys_finds_none_and_each_try_is_counted(autojump_clock: trio.testing.MockClock) -> None:
    async with open_session() as peer:
        memory = bytearray(b"....")
        key = peer.dma.register(memory, epoch=0).key
        began_s = trio.current_time()
        for number in range(1, 129):
            guess = (int.from_bytes(key, "big") ^ 1 << number - 1).to_bytes(16, "big")
            await peer.stream.send_all(peer.fragment(number, b"evil", flags=Flag.REQUEST, key=guess))
            _, _, body = await peer.next(FrameType.TRANSFER_DONE)
            assert decode_verdict(body).denial == "unknown-key"
        assert trio.current_time() == began_s, "each is answered at once"
        assert memory == b"...."
        assert peer.link.statistics().denied_transfers_in == 128


async def test_what_comes_of_a_cancelled_pull_is_dropped_and_judged(autojump_clock: trio.testing.MockClock) -> None:
    async with open_session() as peer:
        into = bytearray(b"." * 8)
        transfer = peer.dma.start_pull(REMOTE, memoryview(into), on_done=peer.done.append)
        _, _, body = await peer.next(FrameType.PULL)
        request, _, _, _, reply_key = PULL_BODY.unpack(body)
        cancelled_s = trio.current_time()
        transfer.cancel()
        assert [(each.status, each.reason, each.left_bytes) for each in peer.done] == [(ERROR, "cancelled", 8)]
        _, _, body = await peer.next(FrameType.WITHDRAW)
        assert trio.current_time() == cancelled_s, "the peer is told at once"
        assert decode_withdrawal(body) == request
        late = peer.fragment(request, b"late", flags=Flag.REPLY, key=reply_key, left=8)
        await peer.stream.send_all(late + peer.verdict(request, ERROR, b"withdrawn"))
        await trio.sleep(0.01)
        assert (bytes(into), len(peer.done)) == (b"." * 8, 1)
        assert peer.link.session is not None
        assert peer.link.statistics().denied_bytes_in == 4
        assert await peer.fault_after(peer.verdict(request, ERROR, b"withdrawn")) == "request", "it was answered"


async def test_what_was_being_received_of_a_cancelled_pull_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    async with open_session() as peer:
        into = bytearray(b"." * 8)
        transfer = peer.dma.start_pull(REMOTE, memoryview(into), on_done=peer.done.append)
        _, _, body = await peer.next(FrameType.PULL)
        request, _, _, _, reply_key = PULL_BODY.unpack(body)
        reply = peer.fragment(request, b"x" * 8, flags=Flag.REPLY, key=reply_key)
        await peer.stream.send_all(reply[:-4])
        await trio.sleep(0.01)
        transfer.cancel()
        await peer.stream.send_all(reply[-4:])
        await trio.sleep(0.01)
        assert into == b"xxxx...."
        counted = peer.link.statistics()
        assert (counted.pulled_bytes_in, counted.denied_bytes_in) == (0, 8)
        assert peer.link.session is not None


@pytest.mark.parametrize(
    ("lie", "fault"), [("not withdrawn", "request"), ("too much left", "size"), ("nothing left", "size")]
)
async def test_a_verdict_with_a_lie_about_what_is_left(
    autojump_clock: trio.testing.MockClock, lie: str, fault: str
) -> None:
    async with open_session() as peer:
        transfer = peer.dma.start_push(REMOTE, b"data", on_done=peer.done.append)
        await peer.next(FrameType.PUSH)
        verdicts = {
            "not withdrawn": peer.verdict(transfer.request, ERROR, b"withdrawn"),
            "too much left": peer.verdict(transfer.request, ERROR, b"rights", left=5),
            "nothing left": peer.verdict(transfer.request, ERROR, b"rights", left=0),
        }
        assert await peer.fault_after(verdicts[lie]) == fault
        assert [each.status for each in peer.done] == [DISCONNECT]


async def test_what_was_never_asked_for_cannot_be_withdrawn(autojump_clock: trio.testing.MockClock) -> None:
    async with open_session() as peer:
        key = peer.dma.register(bytearray(4), epoch=0, rights=Rights.READ).key
        await peer.stream.send_all(peer.pull(3, key))
        await peer.next(FrameType.PUSH)
        await peer.stream.send_all(peer.withdrawal(3) + peer.withdrawal(1))
        await trio.sleep(0.01)
        assert peer.link.session is not None, "it was answered; the other may have been"
        assert await peer.fault_after(peer.withdrawal(4)) == "request"


async def test_a_push_is_not_gone_on_with_after_it_was_withdrawn(autojump_clock: trio.testing.MockClock) -> None:
    async with open_session() as peer:
        memory = bytearray(b"." * 8)
        key = peer.dma.register(memory, epoch=0).key
        begin = peer.fragment(1, b"data", flags=Flag.REQUEST, key=key, left=8)
        await peer.stream.send_all(begin + peer.withdrawal(1))
        _, _, body = await peer.next(FrameType.TRANSFER_DONE)
        verdict = decode_verdict(body)
        assert (verdict.denial, verdict.left) == ("withdrawn", 4)
        rest = peer.fragment(1, b"evil", flags=Flag.REQUEST, key=key, offset=4)
        await peer.stream.send_all(rest + peer.fragment(2, b"good", flags=Flag.REQUEST, key=key, offset=4))
        _, _, body = await peer.next(FrameType.TRANSFER_DONE)
        assert decode_verdict(body).request == 2, "the first is answered once"
        assert memory == b"datagood"
        assert peer.link.statistics().denied_transfers_in == 0


async def test_pulls_without_end_and_without_reading_end_the_session(autojump_clock: trio.testing.MockClock) -> None:
    async with open_session() as peer:
        key = peer.dma.register(bytearray(1 << 20), epoch=0, rights=Rights.READ).key
        pulls = b"".join(peer.pull(number, key, 1 << 20) for number in range(1, 601))
        assert await peer.fault_after(pulls) == "request"


async def test_the_number_of_a_pull_is_not_used_again(autojump_clock: trio.testing.MockClock) -> None:
    async with open_session() as peer:
        assert await peer.fault_after(peer.pull(2, bytes(16)) + peer.pull(2, bytes(16))) == "request"


async def test_messages_acknowledged_by_a_frame_that_ends_the_session_are_sent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What the peer acknowledges counts, though the same frame carries what it may not."""
    async with open_session() as peer:
        offer = CHANNEL_OPEN_BODY.pack(16, 4)
        opened = encode_header(FrameType.CHANNEL_OPEN, (offer,), session=peer.session, channel=1, credit=4) + offer
        await peer.stream.send_all(opened)
        await trio.sleep(0.01)
        told: list[ctl_ha_status] = []
        peer.channel.send_nowait(bytes(16), on_settled=told.append)
        peer.channel.send_nowait(bytes(16))
        peer.channel.send_nowait(bytes(16), on_settled=told.append)
        for _ in ("the first", "those behind it"):
            await peer.next(FrameType.MESSAGES)
        wrong = encode_header(
            FrameType.MESSAGES,
            (bytes(16),),
            session=peer.session,
            channel=1,
            count=1,
            first_sequence=9,
            acknowledged=2,
            credit=4,
        )
        assert await peer.fault_after(wrong + bytes(16)) == "sequence"
        assert told == [SUCCESS, DISCONNECT]
        connected, sent, disconnected = await peer.channel.receive_events()
        assert isinstance(connected, Connected)
        assert sent == EventRange(ctl_ha_event.CTL_HA_EVT_MSG_SENT, 1, SUCCESS)
        assert isinstance(disconnected, Disconnected)


async def test_what_comes_with_the_frame_in_which_the_session_was_ended_here_is_dropped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_session() as peer:
        offer = CHANNEL_OPEN_BODY.pack(16, 4)
        opened = encode_header(FrameType.CHANNEL_OPEN, (offer,), session=peer.session, channel=1, credit=4) + offer
        await peer.stream.send_all(opened)
        await trio.sleep(0.01)
        peer.channel.send_nowait(bytes(16), on_settled=lambda _: peer.link.drop("from within"))
        await peer.next(FrameType.MESSAGES)
        answer = encode_header(
            FrameType.MESSAGES,
            (bytes(16),),
            session=peer.session,
            channel=1,
            count=1,
            first_sequence=1,
            acknowledged=1,
            credit=4,
        )
        await peer.stream.send_all(answer + bytes(16))
        await trio.sleep(0.01)
        events = await peer.channel.receive_events()
        assert [type(event) for event in events] == [Connected, Disconnected]
        assert peer.reports == []


async def test_nothing_is_answered_after_the_farewell(autojump_clock: trio.testing.MockClock) -> None:
    async with open_session() as peer:
        key = peer.dma.register(bytearray(4), epoch=0, rights=Rights.READ | Rights.WRITE).key
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.link.goodbye, "bye")
            await peer.next(FrameType.GOODBYE)
            await peer.stream.send_all(peer.pull(1, key) + peer.fragment(2, b"data", flags=Flag.REQUEST, key=key))
            with pytest.raises(AssertionError, match="the session has ended"):
                await peer.next(*FrameType)
