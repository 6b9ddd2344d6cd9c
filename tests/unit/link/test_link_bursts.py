"""Many messages in a row leave, and the room for more comes back, while those who send and receive them go on."""

import pytest
import trio.testing

from ctlha_trio._errors import BusyError
from ctlha_trio.link import Channel, ChannelEvent, Connected
from tests.unit.link.test_link_channels import Pair, open_pair

SIZE = 1024
SLOTS = 256
BURST = 64
"""64 KiB of such messages, and a quarter of the slots."""


def open_channels(pair: Pair) -> tuple[Channel, Channel]:
    one, other = (link.open_channel(1, slot_size=SIZE, slots=SLOTS) for link in (pair.a, pair.b))
    for channel in (one, other):
        channel.hear(lambda _: None, lambda _: None)
    return one, other


def send(channel: Channel, count: int) -> None:
    for number in range(count):
        channel.send_nowait(number.to_bytes(SIZE, "little"))


def take(channel: Channel, count: int) -> list[int]:
    return [int.from_bytes(channel.receive_nowait(), "little") for _ in range(count)]


async def test_a_burst_leaves_while_more_is_sent(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        one, other = open_channels(pair)
        await pair.online()
        send(one, BURST)
        assert pair.a.statistics().messages_out == 1, "what follows the first is gathered"
        send(one, 1)
        assert pair.a.statistics().messages_out == BURST + 1
        send(one, 2 * BURST - 1)
        assert pair.a.statistics().messages_out == 2 * BURST + 1
        await pair.quiet()
        assert take(other, 3 * BURST) == [*range(BURST), 0, *range(2 * BURST - 1)]


async def test_a_burst_that_finds_no_room_in_the_stream_waits_for_the_writer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair() as pair:
        pair.network.buffer_bytes = SIZE * BURST
        one, other = open_channels(pair)
        await pair.online()
        send(one, SLOTS)
        assert pair.a.statistics().messages_out == BURST + 1, (
            "the rest of the first burst is kept, so nothing passes it"
        )
        await pair.quiet()
        assert take(other, SLOTS) == [*range(SLOTS)]


async def test_the_rest_of_a_message_that_found_no_room_is_not_forgotten(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The quiet is shorter than the time between heartbeats."""
    async with open_pair() as pair:
        one, other = open_channels(pair)
        await pair.online()
        pair.network.buffer_bytes = SIZE // 2
        send(one, 1)
        await pair.quiet()
        assert take(other, 1) == [0]


async def test_a_burst_does_not_break_into_what_the_writer_sends(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        one, other = open_channels(pair)
        await pair.online()
        pair.network.buffer_bytes = 2 * SIZE
        send(one, BURST)
        connection = pair.a._connection
        assert connection is not None
        while not connection._sending:
            await trio.lowlevel.checkpoint()
        send(one, 2 * BURST)
        await pair.quiet()
        assert take(other, 3 * BURST) == [*range(BURST), *range(2 * BURST)]


async def test_a_burst_waits_until_the_peer_is_told_of_the_channel(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        other = pair.b.open_channel(1, slot_size=SIZE, slots=SLOTS)
        await pair.online()
        before = pair.a.statistics().frames_out
        one = pair.a.open_channel(1, slot_size=SIZE, slots=SLOTS)
        send(one, SLOTS)
        assert pair.a.statistics().frames_out == before
        await pair.quiet()
        assert take(other, SLOTS) == [*range(SLOTS)]


async def test_who_hears_of_a_session_may_send_in_it_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """Also where the peer has opened the channel before, so that there is credit from the beginning."""
    async with open_pair() as pair:
        other = pair.b.open_channel(1, slot_size=SIZE, slots=SLOTS)
        one = pair.a.open_channel(1, slot_size=SIZE, slots=SLOTS)
        await pair.online()
        other.hear(lambda _: None, lambda _: None)
        pair.a.drop("the next session begins without the channel, of which nobody has yet taken an event")
        await pair.online()

        def send_all(event: ChannelEvent) -> None:
            if isinstance(event, Connected) and one.has_credit:
                send(one, SLOTS)

        one.hear(send_all, lambda _: None)
        await pair.quiet()
        assert take(other, SLOTS) == [*range(SLOTS)]


async def test_the_sender_of_a_burst_is_told_of_room_while_its_receiver_goes_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair() as pair:
        one, other = open_channels(pair)
        await pair.online()
        send(one, SLOTS)
        await pair.quiet()
        with pytest.raises(BusyError):
            send(one, 1)
        before = pair.b.statistics().frames_out
        take(other, BURST - 1)
        assert pair.b.statistics().frames_out == before, "a peer that has no room is told of the first by the writer"
        take(other, 1)
        assert pair.b.statistics().frames_out == before + 1
        take(other, SLOTS // 2)
        assert pair.b.statistics().frames_out == before + 2, "half of the slots"
        await pair.quiet()
        send(one, BURST + SLOTS // 2)
        with pytest.raises(BusyError):
            send(one, 1)


async def test_room_is_told_in_the_middle_of_no_frame(autojump_clock: trio.testing.MockClock) -> None:
    """The reader has counted all messages of it, of which more may lie in the slots than the flow has been told."""
    async with open_pair() as pair:
        one, other = open_channels(pair)
        await pair.online()
        taken: list[int] = []
        told: list[int] = []

        def take_at_once(count: int) -> None:
            before = pair.b.statistics().frames_out
            taken.extend(take(other, count))
            told.append(pair.b.statistics().frames_out - before)

        other._hear_received = take_at_once
        send(one, SLOTS)
        await pair.quiet()
        assert taken == [*range(SLOTS)]
        assert set(told) == {0}
