"""A session that one side drops: both know why, and to neither is it a planned stop."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from ctlha_trio._vocabulary import RemoteBuffer
from ctlha_trio.dma import Dma
from ctlha_trio.link import ChannelEvent, Disconnected, LossReason
from ctlha_trio.wire import OWN_TERMS, Feature, FrameType, Terms, decode_reason
from tests.unit.link.test_link_sessions import Pair, dial, hello, open_pair, until
from tests.unit.link.test_link_versions import Peer

WHY = "the peer does not take its messages"


@asynccontextmanager
async def online() -> AsyncIterator[Pair]:
    async with open_pair() as pair:
        Dma(pair.b.link, random.Random(1).randbytes)
        await pair.online()
        yield pair


def losses(pair: Pair) -> tuple[list[ChannelEvent], list[ChannelEvent]]:
    return pair.a.events_of(Disconnected)[:1], pair.b.events_of(Disconnected)[:1]


async def test_both_sides_know_why_one_drops_the_session(autojump_clock: trio.testing.MockClock) -> None:
    async with online() as pair:
        pair.a.link.drop(WHY)
        await until(lambda: bool(pair.b.losses))
        assert losses(pair) == (
            [Disconnected(LossReason.CLOSED, WHY)],
            [Disconnected(LossReason.DROPPED, WHY)],
        )
        assert pair.a.reports == pair.b.reports == []
        assert await until(lambda: pair.is_online) < 1.0, "and they find each other at once"


async def test_who_breaks_the_protocol_is_told_by_which_fault(autojump_clock: trio.testing.MockClock) -> None:
    async with online() as pair:
        pair.a.link.push_nowait(RemoteBuffer(bytes(16)), b"evil", pair.a.channel, bytes(pair.a.channel.slot_size))
        await until(lambda: bool(pair.a.losses and pair.b.losses))
        fault = "unknown-key: a push of 4 bytes at 0"
        assert losses(pair) == (
            [Disconnected(LossReason.DROPPED, fault)],
            [Disconnected(LossReason.CLOSED, fault)],
        )
        assert [str(report) for report in pair.b.reports] == [fault]


async def last_frames(pair: Pair, peer: Peer) -> list[FrameType]:
    """All kinds that come until the end of the connection."""
    kinds, buffer = [], peer.decoder
    while size := await peer.stream.receive_into(buffer.space()):
        buffer.received(size)
        while (frame := buffer.next_frame()) is not None:
            kinds.append(frame.kind)
            if frame.kind is FrameType.DROP:
                assert decode_reason(frame.payload) == WHY
    return kinds


@pytest.mark.parametrize(
    ("newest", "features", "is_told"),
    [(2, OWN_TERMS.features, True), (2, int(Feature.HEARTBEAT_LATENESS), False), (1, 0, False)],
)
async def test_only_who_states_that_it_takes_reasons_is_told(
    newest: int, features: int, is_told: bool, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_pair(start="a") as pair:
        peer = Peer(await dial(pair.network, "b", "a-address", hello("b", newest=newest)))
        await peer.confirm(Terms(features, OWN_TERMS.fragment_size), states=newest > 1)
        await until(lambda: pair.a.link.session is not None)
        pair.a.link.drop(WHY)
        kinds = await last_frames(pair, peer)
        assert (FrameType.DROP in kinds) is is_told
        assert not is_told or kinds[-1] is FrameType.DROP


async def test_who_has_not_stated_it_may_not_say_why(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(start="a") as pair:
        peer = Peer(await dial(pair.network, "b", "a-address", hello("b", newest=1)))
        await peer.confirm(states=False)
        await peer.stream.send_all(peer.frame(FrameType.DROP, b"because"))
        await until(lambda: bool(pair.a.losses))
        assert [str(report) for report in pair.a.reports] == ["type: DROP, which was not agreed on"]


async def test_a_frame_that_is_partly_sent_is_not_broken_into(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(start="a") as pair:
        peer = Peer(await dial(pair.network, "b", "a-address", hello("b", newest=2)))
        await peer.confirm()
        await until(lambda: pair.a.link.session is not None)
        done: list[object] = []
        pair.a.link.start_push(RemoteBuffer(bytes(16)), bytes(4 * pair.network.buffer_bytes), done.append)
        await trio.sleep(0.1)
        pair.a.link.drop(WHY)
        assert pair.a.link.session is None
        assert len(done) == 1
        with trio.fail_after(1):
            while size := await peer.stream.receive_into(peer.decoder.space()):
                peer.decoder.received(size)
                while (frame := peer.decoder.next_frame()) is not None:
                    assert frame.kind is not FrameType.DROP
                    if frame.data_size:
                        peer.decoder.place(None)
