"""Pushes into the peer's memory: placed before their message, refused by name, interleaved. All under virtual time."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from ctlha_trio._errors import BusyError, CtlHaError, DisconnectError, InvalidError, RemoteProtocolError
from ctlha_trio._vocabulary import RemoteBuffer, ctl_ha_event, ctl_ha_status
from ctlha_trio.dma import Dma
from ctlha_trio.ha._inbox import Inbox
from ctlha_trio.link import (
    Channel,
    ChannelEvent,
    Connected,
    Disconnected,
    EventRange,
    Link,
    LinkConfig,
    _handshake,
    _meeting,
)
from ctlha_trio.seams import Buffer, MemoryNetwork, TrioClock
from ctlha_trio.seams._memory_network import MemoryStream
from ctlha_trio.wire import FRAGMENT_SIZE_MIN, OWN_TERMS, Terms

SLOT = 16
SLOTS = 64
MIB = 1024 * 1024
PIECE = 64 * 1024


def message(number: int) -> bytes:
    return number.to_bytes(SLOT, "little")


@attrs.define(eq=False)
class Side:
    """One node: link, channel, DMA."""

    link: Link
    channel: Channel
    dma: Dma
    reports: list[CtlHaError]

    def take(self) -> list[int]:
        """Numbers of the messages that have arrived."""
        numbers: list[int] = []
        while True:
            try:
                numbers.append(int.from_bytes(self.channel.receive_nowait(), "little"))
            except trio.WouldBlock:
                return numbers

    async def events(self) -> list[ChannelEvent]:
        events: list[ChannelEvent] = []
        with trio.move_on_after(0.0001):
            while True:
                events += await self.channel.receive_events()
        return events

    @property
    def faults(self) -> list[str]:
        return [error.reason for error in self.reports if isinstance(error, RemoteProtocolError)]


def make_side(network: MemoryNetwork, node: str, peer: str) -> Side:
    reports: list[CtlHaError] = []
    entropy = random.Random(node).randbytes
    link = Link(
        LinkConfig(cluster="c", node=node, peer=peer, resource="r", listen=node, peer_address=peer),
        clock=TrioClock(),
        entropy=entropy,
        transport=network.transport(node),
        incarnation=1,
        alive=lambda: True,
        report=reports.append,
    )
    link.announce(epoch=5, revision=5)
    return Side(link, link.open_channel(1, slot_size=SLOT, slots=SLOTS), Dma(link, entropy), reports)


@attrs.define(eq=False)
class Pair:
    network: MemoryNetwork
    nursery: trio.Nursery
    a: Side
    b: Side

    async def online(self) -> None:
        with trio.fail_after(10):
            while self.a.link.session is None or self.b.link.session is None:  # noqa: ASYNC110 - two nodes
                await trio.sleep(0.001)
        await self.quiet()

    async def quiet(self) -> None:
        await trio.sleep(0.01)


@asynccontextmanager
async def open_pair() -> AsyncIterator[Pair]:
    network = MemoryNetwork()
    async with trio.open_nursery() as nursery:
        pair = Pair(network, nursery, make_side(network, "a", "b"), make_side(network, "b", "a"))
        await nursery.start(pair.a.link.run)
        await nursery.start(pair.b.link.run)
        await pair.online()
        yield pair
        nursery.cancel_scope.cancel()


def random_bytes(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize("size", [0, 1, 4096, 16 * 1024 + 1, 256 * 1024, 256 * 1024 + 1, 3 * MIB + 7])
async def test_the_data_is_placed_before_its_message(autojump_clock: trio.testing.MockClock, size: int) -> None:
    async with open_pair() as pair:
        memory = bytearray(b"\xaa" * (size + 200))
        region = pair.b.dma.register(memory, epoch=5)
        data = random_bytes(size)
        await pair.b.events()
        await pair.a.dma.push_message(RemoteBuffer(region.key, 100), data, pair.a.channel, message(7))
        while not any(isinstance(event, EventRange) for event in await pair.b.channel.receive_events()):
            assert pair.b.take() == []
        assert bytes(memory) == b"\xaa" * 100 + data + b"\xaa" * 100
        assert pair.b.take() == [7]
        await pair.quiet()
        assert (await pair.a.events())[-1] == EventRange(
            ctl_ha_event.CTL_HA_EVT_MSG_SENT, 1, ctl_ha_status.CTL_HA_STATUS_SUCCESS
        )
        assert pair.b.link.statistics().pushed_bytes_in == size
        assert pair.a.link.statistics().pushed_bytes_out == size


async def test_messages_pass_a_large_push(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        region = pair.b.dma.register(bytearray(8 * MIB), epoch=5)
        await pair.a.dma.push_message(RemoteBuffer(region.key), bytes(8 * MIB), pair.a.channel, message(1))
        for number in range(2, 5):
            await trio.lowlevel.checkpoint()
            pair.a.channel.send_nowait(message(number))
        await pair.quiet()
        assert pair.b.take() == [2, 3, 4, 1]


async def test_pushes_keep_their_order_and_each_has_its_data(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        memory = bytearray(100 * 4096)
        region = pair.b.dma.register(memory, epoch=5)
        blocks = [random_bytes(4096 - number) for number in range(100)]

        async def push() -> None:
            for number, block in enumerate(blocks):
                remote = RemoteBuffer(region.key).at(number * 4096)
                await pair.a.dma.push_message(remote, block, pair.a.channel, message(number))

        numbers: list[int] = []
        with trio.fail_after(1):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(push)
                while len(numbers) < 100:
                    await pair.b.channel.receive_events()
                    numbers += pair.b.take()
        assert numbers == list(range(100))
        for number, block in enumerate(blocks):
            assert memory[number * 4096 :].startswith(block)


async def test_small_pushes_are_sent_together_and_no_more_than_a_fragment_of_them(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each send costs both sides a turn; a message that comes meanwhile waits behind no more than for a large push."""
    sent: list[int] = []
    plain = MemoryStream.send_all

    async def send_all(stream: MemoryStream, *pieces: Buffer) -> None:
        sent.append(sum(memoryview(piece).nbytes for piece in pieces))
        await plain(stream, *pieces)

    async with open_pair() as pair:
        region = pair.b.dma.register(bytearray(16 * PIECE), epoch=5)
        monkeypatch.setattr(MemoryStream, "send_all", send_all)
        for number in range(10):
            remote = RemoteBuffer(region.key, number * PIECE)
            pair.a.dma.push_message_nowait(remote, bytes(PIECE), pair.a.channel, message(number))
        await pair.quiet()
        assert pair.b.take() == list(range(10))
        assert [size // PIECE for size in sent if size >= PIECE] == [4, 4, 2]


async def test_a_push_that_does_not_fit_behind_small_ones_waits_for_the_next_turn(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair() as pair:
        region = pair.b.dma.register(bytearray(8 * MIB), epoch=5)
        sizes = [0, PIECE, 4 * PIECE, 0, 1, 5 * PIECE, 3 * PIECE + 1, PIECE]
        for number, size in enumerate(sizes):
            pair.a.dma.push_message_nowait(RemoteBuffer(region.key), bytes(size), pair.a.channel, message(number))
        await pair.quiet()
        assert pair.b.take() == list(range(len(sizes)))
        assert pair.b.link.statistics().pushed_bytes_in == sum(sizes)


async def test_a_small_push_of_many_fragments_is_sent_to_its_end(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peer states how large one may be; the quiet is shorter than the time between heartbeats."""
    for module in (_handshake, _meeting):
        monkeypatch.setattr(module, "OWN_TERMS", Terms(OWN_TERMS.features, FRAGMENT_SIZE_MIN))
    async with open_pair() as pair:
        memory, data = bytearray(4 * FRAGMENT_SIZE_MIN), random_bytes(4 * FRAGMENT_SIZE_MIN)
        region = pair.b.dma.register(memory, epoch=5)
        pair.a.dma.push_message_nowait(RemoteBuffer(region.key), data, pair.a.channel, message(1))
        await pair.quiet()
        assert pair.b.take() == [1]
        assert memory == data


async def test_a_small_push_by_one_channel_takes_along_none_of_another_whose_messages_wait(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair() as pair:
        second, there = (side.link.open_channel(2, slot_size=SLOT, slots=SLOTS) for side in (pair.a, pair.b))
        await pair.quiet()
        remote = pair.b.dma.register(bytearray(SLOT), epoch=5).remote
        for number in range(3):
            second.send_nowait(message(number))
        pair.a.dma.push_message_nowait(remote, b"data", second, message(3))
        pair.a.dma.push_message_nowait(remote, b"data", pair.a.channel, message(4))
        await pair.quiet()
        assert [int.from_bytes(there.receive_nowait(), "little") for _ in range(4)] == [0, 1, 2, 3]
        assert pair.b.take() == [4]


async def test_a_message_does_not_wait_behind_many_pushes(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        region = pair.b.dma.register(bytearray(64 * MIB), epoch=5)
        for number in range(8):
            await pair.a.dma.push_message(RemoteBuffer(region.key), bytes(8 * MIB), pair.a.channel, message(number))
        pair.a.channel.send_nowait(message(99))
        await pair.quiet()
        assert pair.b.take() == [99, *range(8)]


async def refused_with(pair: Pair, remote: RemoteBuffer, memory: bytearray, size: int = 4096) -> str:
    """Push from a to b, which must refuse it; the reason."""
    before = bytes(memory)
    await pair.b.events()
    await pair.a.dma.push_message(remote, b"\xee" * size, pair.a.channel, message(1))
    with trio.fail_after(0.01):
        await pair.b.channel.receive_events()
    assert pair.b.link.session is None
    assert bytes(memory) == before, "nothing was written"
    assert pair.b.take() == []
    (reason,) = pair.b.faults
    return reason


async def test_a_wrong_key_ends_the_session(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        memory = bytearray(4096)
        region = pair.b.dma.register(memory, epoch=5)
        wrong = bytes([region.key[0] ^ 1]) + region.key[1:]
        assert await refused_with(pair, RemoteBuffer(wrong), memory) == "unknown-key"
        events = await pair.a.events()
        assert EventRange(ctl_ha_event.CTL_HA_EVT_MSG_SENT, 1, ctl_ha_status.CTL_HA_STATUS_DISCONNECT) in events


@pytest.mark.parametrize(
    ("offset", "size"), [(1, 4096), (4096, 1), (4097, 0), (0, 4097), (2**63 - 1, 1), (2**63 - 1, 0)]
)
async def test_a_push_out_of_range_ends_the_session(
    autojump_clock: trio.testing.MockClock, offset: int, size: int
) -> None:
    async with open_pair() as pair:
        memory = bytearray(4096)
        region = pair.b.dma.register(memory, epoch=5)
        assert await refused_with(pair, RemoteBuffer(region.key, offset), memory, size) == "out-of-range"


async def test_a_push_of_another_epoch_ends_the_session(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        memory = bytearray(4096)
        region = pair.b.dma.register(memory, epoch=5)
        pair.a.link.announce(epoch=6, revision=6)
        assert await refused_with(pair, RemoteBuffer(region.key), memory) == "stale-epoch"


async def test_a_key_dies_with_its_epoch(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        memory = bytearray(4096)
        region = pair.b.dma.register(memory, epoch=5)
        pair.b.link.announce(epoch=5, revision=6)
        still_alive = region.alive
        assert still_alive
        pair.b.link.announce(epoch=6, revision=7)
        assert not region.alive
        assert await refused_with(pair, RemoteBuffer(region.key), memory) == "expired-key"


async def test_a_key_dies_with_its_session(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        memory = bytearray(4096)
        region = pair.b.dma.register(memory, epoch=5)
        await pair.a.events()
        await pair.b.events()
        pair.b.link.drop("test")
        assert not region.alive
        await pair.online()
        assert await refused_with(pair, RemoteBuffer(region.key), memory) == "expired-key"


async def test_a_key_dies_when_its_region_is_closed(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        memory = bytearray(4096)
        region = pair.b.dma.register(memory, epoch=5)
        region.close()
        region.close()
        memory.extend(b"resizable again")
        assert await refused_with(pair, RemoteBuffer(region.key), memory) == "unknown-key"


async def test_a_push_where_nothing_is_registered(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        assert await refused_with(pair, RemoteBuffer(bytes(16)), bytearray()) == "unknown-key"


async def test_a_region_needs_a_session_its_epoch_and_a_free_place(autojump_clock: trio.testing.MockClock) -> None:
    side = make_side(MemoryNetwork(), "a", "b")
    with pytest.raises(DisconnectError):
        side.dma.register(bytearray(1), epoch=5)
    async with open_pair() as pair:
        for epoch in (4, 6):
            with pytest.raises(InvalidError):
                pair.a.dma.register(bytearray(1), epoch=epoch)
        regions = [pair.a.dma.register(bytearray(1), epoch=5) for _ in range(1024)]
        assert len({region.key for region in regions}) == 1024
        assert {len(region.key) for region in regions} == {16}
        with pytest.raises(BusyError):
            pair.a.dma.register(bytearray(1), epoch=5)
        regions[0].close()
        pair.a.dma.register(bytearray(1), epoch=5)


async def test_the_pair_s_ring_has_its_place_whatever_consumers_register(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair() as pair:
        nobody: Any = object()
        inbox = Inbox(pair.a.link, pair.a.channel, pair.a.dma, nobody, nobody, size_bytes=4096)
        with suppress(BusyError):
            while True:
                pair.a.dma.register(bytearray(1), epoch=5)
        grants = [inbox.grant(5) for _ in range(3)]
        keys = [grant.key for grant in grants if grant is not None]
        assert len(set(keys)) == 3
        await pair.b.dma.push_message(RemoteBuffer(keys[-1]), b"data", pair.b.channel, message(1))
        await pair.quiet()
        assert pair.a.take() == [1]


async def test_a_key_never_shows_in_a_text(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        region = pair.a.dma.register(bytearray(1), epoch=5)
        assert repr(region.key) not in repr(region)
        assert region.key.hex() not in repr(region)


async def test_what_cannot_be_pushed(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        push = pair.a.dma.push_message
        with pytest.raises(InvalidError):
            await push(RemoteBuffer(b"short"), b"", pair.a.channel, message(1))
        with pytest.raises(InvalidError):
            await push(RemoteBuffer(bytes(16), -1), b"", pair.a.channel, message(1))
        with pytest.raises(InvalidError):
            await push(RemoteBuffer(bytes(16)), b"", pair.a.channel, b"short")
        with pytest.raises(DisconnectError):
            await push(RemoteBuffer(bytes(16)), b"", pair.b.channel, message(1))
        pair.a.link.drop("test")
        with pytest.raises(DisconnectError):
            await push(RemoteBuffer(bytes(16)), b"", pair.a.channel, message(1))


async def test_a_push_waits_for_credit_and_a_loss_or_a_cancellation_ends_the_wait(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair() as pair:
        region = pair.b.dma.register(bytearray(4096), epoch=5)
        remote = RemoteBuffer(region.key)
        for number in range(SLOTS):
            await pair.a.dma.push_message(remote, b"data", pair.a.channel, message(number))
        with trio.move_on_after(1) as scope:
            await pair.a.dma.push_message(remote, b"data", pair.a.channel, message(99))
        assert scope.cancelled_caught
        async with trio.open_nursery() as nursery:

            async def push_and_lose() -> None:
                with pytest.raises(DisconnectError):
                    await pair.a.dma.push_message(remote, b"data", pair.a.channel, message(99))

            nursery.start_soon(push_and_lose)
            await pair.quiet()
            pair.a.link.drop("test")
        assert pair.b.take() == list(range(SLOTS))


async def test_a_push_that_may_not_wait_is_refused_for_what_it_would_wait_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair() as pair:
        remote = RemoteBuffer(pair.b.dma.register(bytearray(4096), epoch=5).key)
        at_once, queued = 1, 32
        for number in range(at_once + queued):
            pair.a.dma.push_message_nowait(remote, b"data", pair.a.channel, message(number))
        with pytest.raises(BusyError):
            pair.a.dma.push_message_nowait(remote, b"data", pair.a.channel, message(99))
        await pair.quiet()
        for number in range(at_once + queued, SLOTS):
            pair.a.dma.push_message_nowait(remote, b"data", pair.a.channel, message(number))
            await pair.quiet()
        with pytest.raises(BusyError):
            pair.a.dma.push_message_nowait(remote, b"data", pair.a.channel, message(99))
        assert pair.b.take() == list(range(SLOTS))
        with pytest.raises(DisconnectError):
            pair.a.dma.push_message_nowait(remote, b"data", pair.b.channel, message(1))
        pair.a.link.drop("test")
        with pytest.raises(DisconnectError):
            pair.a.dma.push_message_nowait(remote, b"data", pair.a.channel, message(1))


async def test_queued_pushes_are_bounded_and_reported_when_the_session_ends(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair() as pair:
        region = pair.b.dma.register(bytearray(MIB), epoch=5)
        await pair.a.events()
        pair.network.cut("a", "b")
        queued = 0
        with trio.move_on_after(0.1):
            while True:
                await pair.a.dma.push_message(RemoteBuffer(region.key), bytes(MIB), pair.a.channel, message(queued))
                queued += 1
        assert queued == 32
        await trio.sleep(2)
        events = await pair.a.events()
        assert events[0] == EventRange(ctl_ha_event.CTL_HA_EVT_MSG_SENT, queued, ctl_ha_status.CTL_HA_STATUS_DISCONNECT)
        assert isinstance(events[1], Disconnected)


async def test_who_waits_to_push_is_told_that_the_session_ended(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        remote = RemoteBuffer(pair.b.dma.register(bytearray(MIB), epoch=5).key)
        pair.network.cut("a", "b")
        with suppress(BusyError):
            while True:
                pair.a.dma.push_message_nowait(remote, bytes(MIB), pair.a.channel, message(1))
        assert pair.a.channel.has_credit, "so it waits for room"
        told: list[bool] = []

        async def push() -> None:
            with pytest.raises(DisconnectError):
                await pair.a.dma.push_message(remote, b"data", pair.a.channel, message(2))
            told.append(True)

        pair.nursery.start_soon(push)
        await pair.quiet()
        assert told == []
        pair.a.link.drop("test")
        await pair.quiet()
        assert told == [True]


async def test_a_push_that_was_not_written_is_not_told_to_who_sent_the_message_before_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair() as pair:
        region = pair.b.dma.register(bytearray(8 * MIB), epoch=5)
        await pair.a.events()
        pair.network.cut("a", "b")
        told: list[ctl_ha_status] = []
        await pair.a.dma.push_message(RemoteBuffer(region.key), bytes(8 * MIB), pair.a.channel, message(1))
        pair.a.channel.send_nowait(message(2), on_settled=told.append)
        await pair.quiet()
        pair.a.link.drop("test")
        assert told == [ctl_ha_status.CTL_HA_STATUS_DISCONNECT]
        events = await pair.a.events()
        assert events[0] == EventRange(ctl_ha_event.CTL_HA_EVT_MSG_SENT, 1, ctl_ha_status.CTL_HA_STATUS_DISCONNECT)


async def test_goodbye_waits_for_queued_pushes(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        memory = bytearray(2 * MIB)
        region = pair.b.dma.register(memory, epoch=5)
        data = random_bytes(2 * MIB)
        await pair.a.dma.push_message(RemoteBuffer(region.key), data, pair.a.channel, message(1))
        await pair.a.link.goodbye("bye")
        await pair.quiet()
        assert pair.b.take() == [1]
        assert memory == data
        kinds = [type(event) for event in await pair.b.events()]
        assert kinds == [Connected, EventRange, Disconnected]


async def test_memory_is_attached_once(autojump_clock: trio.testing.MockClock) -> None:
    side = make_side(MemoryNetwork(), "a", "b")
    with pytest.raises(InvalidError):
        Dma(side.link, random.Random(1).randbytes)


@attrs.define(eq=False)
class Consumer:
    """Of side ``b``: waits for messages by receiving them itself, and answers each at once, if it does."""

    side: Side
    received: list[int] = attrs.field(factory=list)
    leads: bool = False
    answers: bool = False
    """What the peer has to say to an answer ends a lead."""
    _news: trio.Event = attrs.field(factory=trio.Event)

    def hear_received(self, _: int) -> None:
        self._news.set()

    async def run(self) -> None:
        self.side.channel.hear(lambda _: None, self.hear_received)
        while True:
            self._news = trio.Event()
            lead = self.side.channel.lead
            if lead is not None:
                self.leads = True
                await lead()
                self.leads = False
            if not self._news.is_set():
                await self._news.wait()
            self.received += self.side.take()
            if self.answers:
                with suppress(DisconnectError, BusyError):
                    self.side.channel.send_nowait(message(100))


async def test_a_message_whose_push_is_denied_is_acknowledged_by_nobody(autojump_clock: trio.testing.MockClock) -> None:
    """Also if a consumer received it for the session, and answers what came before it in the same turn.

    Whether the writer runs before the session's own task is the loop's choice: so several times.
    """
    for _ in range(20):
        async with open_pair() as pair:
            consumer = Consumer(pair.b)
            pair.nursery.start_soon(consumer.run)
            await pair.quiet()
            while not consumer.leads:  # which it may when something has come, if it runs before the session's own task
                pair.a.channel.send_nowait(message(1))
                await pair.quiet()
            consumer.answers = True
            await pair.a.events()
            consumer.received.clear()
            pair.a.channel.send_nowait(message(2))
            pair.a.channel.send_nowait(message(3))
            pair.a.dma.push_message_nowait(RemoteBuffer(bytes(16)), b"data", pair.a.channel, message(4))
            await trio.sleep(0.05)
            told = [each for each in await pair.a.events() if isinstance(each, EventRange)]
            sent = [each for each in told if each.event is ctl_ha_event.CTL_HA_EVT_MSG_SENT]
            acknowledged = sum(each.count for each in sent if each.param == ctl_ha_status.CTL_HA_STATUS_SUCCESS)
            assert sum(each.count for each in sent) == 3
            assert acknowledged <= len(consumer.received)
