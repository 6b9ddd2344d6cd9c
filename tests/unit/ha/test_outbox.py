"""The two queues of what a node says: pushes keep their order, whether they wait or not. Under virtual time."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing

from ctlha_trio._errors import BusyError
from ctlha_trio.dma import Dma
from ctlha_trio.ha._outbox import Outbox
from ctlha_trio.link import Channel, Link, LinkConfig
from ctlha_trio.pair import SLOT_BYTES, Grant, Pushed, decode
from ctlha_trio.pair.messages import MirrorWrite, Seal
from ctlha_trio.seams import MemoryNetwork, TrioClock

EPOCH = 5
BLOCK = 512
SLOTS = 64


@attrs.define(eq=False)
class Side:
    link: Link
    channel: Channel
    dma: Dma


def make_side(network: MemoryNetwork, node: str, peer: str) -> Side:
    entropy = random.Random(node).randbytes
    link = Link(
        LinkConfig(cluster="c", node=node, peer=peer, resource="r", listen=node, peer_address=peer),
        clock=TrioClock(),
        entropy=entropy,
        transport=network.transport(node),
        incarnation=1,
        alive=lambda: True,
        report=lambda _: None,
    )
    link.announce(epoch=EPOCH, revision=EPOCH)
    return Side(link, link.open_channel(0x80, slot_size=SLOT_BYTES, slots=SLOTS, answered=True), Dma(link, entropy))


@attrs.define(eq=False)
class Scene:
    """A node that pushes into the ring of its peer."""

    here: Side
    there: Side
    ring: bytearray
    outbox: Outbox

    async def connected(self) -> None:
        """Return once there is a session, and its peer has opened the channel in it."""
        with trio.fail_after(10):
            while not self.here.channel.has_credit:
                for side in (self.here, self.there):
                    with trio.move_on_after(0.001):
                        await side.channel.receive_events()

    def begin(self) -> None:
        """The core knows the session."""
        assert self.here.link.session is not None
        self.outbox.begin(self.here.link.session.session)

    def grant(self) -> None:
        region = self.there.dma.register(self.ring, epoch=EPOCH)
        self.outbox.granted(Grant(EPOCH, region.key, len(self.ring)))

    def push(self, sequence: int, *, epoch: int = EPOCH) -> None:
        message = MirrorWrite(epoch, sequence, sequence - 1, 1, 0, BLOCK)
        self.outbox.push(message, bytes([sequence]) * BLOCK)

    async def take(self) -> list[int]:
        """Sequences of what has come, each with its data."""
        await trio.sleep(0.01)
        found: list[int] = []
        while True:
            try:
                spoken = decode(self.there.channel.receive_nowait())
            except trio.WouldBlock:
                return found
            assert isinstance(spoken, Pushed)
            assert isinstance(spoken.message, MirrorWrite)
            start = spoken.ring_offset
            assert self.ring[start : start + BLOCK] == bytes([spoken.message.sequence]) * BLOCK
            found.append(spoken.message.sequence)


@asynccontextmanager
async def opened(*, blocks: int) -> AsyncIterator[Scene]:
    network = MemoryNetwork()
    here, there = make_side(network, "a", "b"), make_side(network, "b", "a")
    async with trio.open_nursery() as nursery:
        await nursery.start(here.link.run)
        await nursery.start(there.link.run)
        outbox = Outbox(here.link, here.channel, here.dma)
        nursery.start_soon(outbox.run_messages)
        nursery.start_soon(outbox.run_pushes)
        scene = Scene(here, there, bytearray(blocks * BLOCK), outbox)
        await scene.connected()
        scene.begin()
        yield scene
        nursery.cancel_scope.cancel()


async def test_what_waits_for_nothing_is_on_its_way_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with opened(blocks=4) as scene:
        scene.grant()
        scene.push(1)
        assert scene.here.channel.session_flow.unsettled == 1
        assert await scene.take() == [1]


@pytest.mark.parametrize("blocks", [1, 2, 7])
async def test_pushes_arrive_in_order_however_often_the_ring_is_full(
    autojump_clock: trio.testing.MockClock, blocks: int
) -> None:
    async with opened(blocks=blocks) as scene:
        scene.grant()
        for sequence in range(1, 20):
            scene.push(sequence)
        arrived: list[int] = []
        while len(arrived) < 20:
            fresh = await scene.take()
            assert 1 <= len(fresh) <= blocks
            for sequence in fresh:
                scene.outbox.placed_no_more(sequence)
            if not arrived:
                scene.push(20)  # not its turn, although there is room now
            arrived += fresh
        assert arrived == list(range(1, 21))


async def test_what_is_pushed_again_in_one_session_takes_no_more_room(autojump_clock: trio.testing.MockClock) -> None:
    """A primary that claimed in vain does so, and is answered once for each, or not at all before it does."""
    async with opened(blocks=4) as scene:
        scene.grant()
        for _ in range(9):
            for sequence in (1, 2, 3):
                scene.push(sequence)
            assert await scene.take() == [1, 2, 3]
        for sequence in (1, 2, 3):
            scene.outbox.placed_no_more(sequence)
        for sequence in (4, 5, 6, 7):
            scene.push(sequence)
        assert await scene.take() == [4, 5, 6, 7]


def busy(*_: object) -> None:
    raise BusyError("no more now")


async def test_what_is_pushed_again_keeps_its_room_where_the_link_takes_no_more(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peer's disk may still write from there."""
    async with opened(blocks=4) as scene:
        scene.grant()
        scene.push(1)
        with monkeypatch.context() as full:
            full.setattr(Dma, "push_message_nowait", busy)
            before = dict(scene.outbox._places)
            scene.push(1)
            assert scene.outbox._places == before
            scene.push(2)
        assert await scene.take() == [1, 1, 2]
        assert scene.outbox._places[1] == before[1] != scene.outbox._places[2]


async def test_a_second_seal_that_the_link_does_not_take_now_keeps_no_room(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have one number, and each may have the records of its own moment."""
    async with opened(blocks=4) as scene:
        scene.grant()
        scene.outbox.push(Seal(EPOCH, BLOCK), bytes(BLOCK))
        with monkeypatch.context() as full:
            full.setattr(Dma, "push_message_nowait", busy)
            scene.outbox.push(Seal(EPOCH, BLOCK), bytes(BLOCK))
            assert not scene.outbox._places


async def test_more_pushes_than_the_link_takes_arrive_in_order(autojump_clock: trio.testing.MockClock) -> None:
    async with opened(blocks=60) as scene:
        scene.grant()
        for sequence in range(1, 61):
            scene.push(sequence)
        arrived: list[int] = []
        with trio.fail_after(1):
            while len(arrived) < 60:
                arrived += await scene.take()
        assert arrived == list(range(1, 61))


async def test_a_push_waits_for_the_ring_of_its_epoch(autojump_clock: trio.testing.MockClock) -> None:
    async with opened(blocks=4) as scene:
        scene.push(1)
        scene.push(2)
        assert await scene.take() == []
        scene.push(3, epoch=EPOCH - 1)
        scene.grant()
        scene.push(4)
        assert await scene.take() == [1, 2, 4], "the third is of an epoch that is over"


async def test_what_was_meant_for_another_session_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    async with opened(blocks=4) as scene:
        scene.push(1)
        scene.here.link.drop("test")
        scene.push(2)
        scene.outbox.begin(0)
        scene.push(3)
        await scene.connected()
        scene.begin()
        scene.grant()
        scene.push(4)
        assert await scene.take() == [4]
