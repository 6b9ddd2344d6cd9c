"""Channels of two connected links: credit, order, events, independence. All under virtual time."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing

from ctlha_trio._errors import BusyError, CtlHaError, DisconnectError, EmptyError, InvalidError
from ctlha_trio._vocabulary import ctl_ha_event, ctl_ha_status
from ctlha_trio.link import (
    Channel,
    ChannelEvent,
    Connected,
    Disconnected,
    EventRange,
    Link,
    LinkConfig,
    LossReason,
    unwatched,
)
from ctlha_trio.seams import MemoryNetwork, TrioClock

SLOT = 16
SLOTS = 4


def received(count: int) -> EventRange:
    return EventRange(ctl_ha_event.CTL_HA_EVT_MSG_RECV, count, SLOT)


def sent(count: int, status: ctl_ha_status = ctl_ha_status.CTL_HA_STATUS_SUCCESS) -> EventRange:
    return EventRange(ctl_ha_event.CTL_HA_EVT_MSG_SENT, count, status)


def message(number: int) -> bytes:
    return number.to_bytes(SLOT, "little")


def take(channel: Channel, count: int) -> list[int]:
    return [int.from_bytes(channel.receive_nowait(), "little") for _ in range(count)]


def make_link(network: MemoryNetwork, node: str, peer: str, reports: list[CtlHaError]) -> Link:
    return Link(
        LinkConfig(cluster="c", node=node, peer=peer, resource="r", listen=node, peer_address=peer),
        clock=TrioClock(),
        entropy=random.Random(node).randbytes,
        transport=network.transport(node),
        incarnation=1,
        alive=lambda: True,
        report=reports.append,
    )


@attrs.define(eq=False)
class Pair:
    network: MemoryNetwork
    nursery: trio.Nursery
    a: Link
    b: Link
    reports: list[CtlHaError]

    def open(
        self, number: int = 1, *, slots: int = SLOTS, b_slot_size: int = SLOT, answered: bool = False
    ) -> tuple[Channel, Channel]:
        return (
            self.a.open_channel(number, slot_size=SLOT, slots=slots, answered=answered),
            self.b.open_channel(number, slot_size=b_slot_size, slots=slots, answered=answered),
        )

    async def online(self) -> None:
        """Return once both are in one session and have nothing more to say before the next heartbeat."""
        with trio.fail_after(10):
            while self.a.session is None or self.b.session is None:  # noqa: ASYNC110 - two nodes have no common event
                await trio.sleep(0.001)
        await self.quiet()

    async def quiet(self) -> None:
        await trio.sleep(0.01)


@asynccontextmanager
async def open_pair() -> AsyncIterator[Pair]:
    network = MemoryNetwork()
    reports: list[CtlHaError] = []
    a, b = make_link(network, "a", "b", reports), make_link(network, "b", "a", reports)
    async with trio.open_nursery() as nursery:
        await nursery.start(a.run)
        await nursery.start(b.run)
        yield Pair(network, nursery, a, b, reports)
        nursery.cancel_scope.cancel()
    assert reports == []


async def gather_events(channel: Channel) -> list[ChannelEvent]:
    """What is queued, empty if nothing is."""
    events: list[ChannelEvent] = []
    with trio.move_on_after(0.0001):
        while True:
            events += await channel.receive_events()
    return events


async def test_messages_arrive_in_order_and_are_acknowledged(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        one, other = pair.open()
        await pair.online()
        assert [type(event) for event in await gather_events(one)] == [Connected]
        assert [type(event) for event in await gather_events(other)] == [Connected]
        for number in range(SLOTS):
            one.send_nowait(message(number))
        await pair.quiet()
        assert await gather_events(other) == [received(SLOTS)]
        assert await gather_events(one) == [sent(SLOTS)]
        assert take(other, SLOTS) == [0, 1, 2, 3]
        with pytest.raises(EmptyError):
            other.receive_nowait()


async def test_who_sent_is_told_whatever_was_sent_behind_it_by_one_who_is_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair() as pair:
        one, _ = pair.open(slots=8)
        await pair.online()
        await gather_events(one)
        for on_settled in (None, unwatched, None, unwatched, unwatched):
            one.send_nowait(message(1), on_settled)
        await pair.quiet()
        assert await gather_events(one) == [sent(2)]


@pytest.mark.parametrize("answered", [True, False])
async def test_an_answer_acknowledges_so_that_no_frame_is_sent_for_that(
    autojump_clock: trio.testing.MockClock, *, answered: bool
) -> None:
    async with open_pair() as pair:
        a, b = pair.open(answered=answered)
        await pair.online()
        await gather_events(a)
        await gather_events(b)
        before = pair.a.statistics().frames_out + pair.b.statistics().frames_out
        a.send_nowait(message(1))
        await pair.quiet()
        assert await gather_events(a) == ([] if answered else [sent(1)])
        assert await gather_events(b) == [received(1)]
        b.send_nowait(message(2))
        await pair.quiet()
        assert await gather_events(a) == ([sent(1)] if answered else []) + [received(1)]
        frames = pair.a.statistics().frames_out + pair.b.statistics().frames_out - before
        assert frames == (2 if answered else 4)


async def test_what_nobody_answers_is_acknowledged_when_half_of_the_slots_wait(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair() as pair:
        a, _ = pair.open(answered=True)
        await pair.online()
        await gather_events(a)
        for number in range(1, SLOTS // 2):
            a.send_nowait(message(number))
            await pair.quiet()
            assert await gather_events(a) == []
        a.send_nowait(message(SLOTS // 2))
        await pair.quiet()
        assert await gather_events(a) == [sent(SLOTS // 2)]


async def test_nothing_is_sent_without_a_session(autojump_clock: trio.testing.MockClock) -> None:
    link = make_link(MemoryNetwork(), "a", "b", [])
    channel = link.open_channel(1, slot_size=SLOT, slots=SLOTS)
    with pytest.raises(DisconnectError):
        channel.send_nowait(message(1))
    with pytest.raises(DisconnectError):
        await channel.send(message(1))
    with pytest.raises(EmptyError):
        channel.receive_nowait()


async def test_there_is_no_credit_before_the_peer_has_opened(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        one = pair.a.open_channel(1, slot_size=SLOT, slots=SLOTS)
        await pair.online()
        with pytest.raises(BusyError):
            one.send_nowait(message(1))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.send, message(2))
            await pair.quiet()
            other = pair.b.open_channel(1, slot_size=SLOT, slots=SLOTS)
        await pair.quiet()
        assert take(other, 1) == [2]


async def test_another_slot_size_is_invalid_once_both_have_opened_the_channel(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair() as pair:
        one, other = pair.open(b_slot_size=2 * SLOT)
        await pair.online()
        await trio.sleep(1)
        with pytest.raises(InvalidError, match="at the peer"):
            one.send_nowait(message(1))
        with pytest.raises(InvalidError, match="at the peer"):
            await other.send(bytes(2 * SLOT))


async def test_a_full_channel_is_busy_until_the_consumer_takes(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        one, other = pair.open()
        await pair.online()
        await gather_events(other)
        for number in range(SLOTS):
            one.send_nowait(message(number))
        with pytest.raises(BusyError):
            one.send_nowait(message(9))
        await pair.quiet()
        with pytest.raises(BusyError):
            one.send_nowait(message(9))
        assert take(other, 1) == [0]
        await pair.quiet()
        with pytest.raises(BusyError):
            one.send_nowait(message(9))
        assert await gather_events(other) == [received(SLOTS)]
        await pair.quiet()
        one.send_nowait(message(4))
        with pytest.raises(BusyError):
            one.send_nowait(message(9))
        await pair.quiet()
        assert take(other, SLOTS) == [1, 2, 3, 4]


async def test_many_messages_pass_through_few_slots_both_ways(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        channels = pair.open(slots=7)
        await pair.online()

        async def send(channel: Channel) -> None:
            for number in range(1000):
                await channel.send(message(number))

        async def receive(channel: Channel) -> None:
            expected = 0
            while expected < 1000:
                for event in await channel.receive_events():
                    if isinstance(event, EventRange) and event.event is ctl_ha_event.CTL_HA_EVT_MSG_RECV:
                        assert take(channel, event.count) == list(range(expected, expected + event.count))
                        expected += event.count

        with trio.fail_after(1):
            async with trio.open_nursery() as nursery:
                for channel in channels:
                    nursery.start_soon(send, channel)
                    nursery.start_soon(receive, channel)
        assert pair.a.statistics().messages_in == pair.b.statistics().messages_in == 1000


async def test_a_slow_consumer_stops_only_its_own_channel(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        stuck, _ = pair.open(1)
        one, other = pair.open(2)
        await pair.online()
        for number in range(SLOTS):
            stuck.send_nowait(message(number))
        for number in range(20):
            with trio.fail_after(0.001):
                await one.send(message(number))
                while not any(isinstance(event, EventRange) for event in await other.receive_events()):
                    pass
            assert take(other, 1) == [number]
        with pytest.raises(BusyError):
            stuck.send_nowait(message(9))


async def test_events_keep_their_order_over_sessions(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        one, other = pair.open()
        await pair.online()
        await gather_events(one)
        (first,) = await gather_events(other)
        one.send_nowait(message(1))
        one.send_nowait(message(2))
        await pair.quiet()
        pair.a.drop("test")
        await pair.online()
        one.send_nowait(message(3))
        await pair.quiet()
        events = await gather_events(other)
        assert [type(event) for event in events] == [EventRange, Disconnected, Connected, EventRange]
        assert (events[0], events[3]) == (received(2), received(1))
        second = events[2]
        assert isinstance(first, Connected)
        assert isinstance(second, Connected)
        assert first.session != second.session
        assert take(other, 3) == [1, 2, 3], "messages of the old session stay readable"


async def test_what_was_not_acknowledged_is_reported_before_the_loss(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        one, _ = pair.open()
        await pair.online()
        await gather_events(one)
        one.send_nowait(message(1))
        await pair.quiet()
        pair.network.cut("a", "b")
        one.send_nowait(message(2))
        one.send_nowait(message(3))
        await trio.sleep(1)
        events = await gather_events(one)
        assert events[:2] == [sent(1), sent(2, ctl_ha_status.CTL_HA_STATUS_DISCONNECT)]
        assert isinstance(events[2], Disconnected)
        assert len(events) == 3


async def test_unread_messages_of_an_old_session_hold_their_slots(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        one, other = pair.open()
        await pair.online()
        await gather_events(one)
        for number in range(3):
            one.send_nowait(message(number))
        await pair.quiet()
        await gather_events(other)
        pair.b.drop("test")
        await pair.online()
        one.send_nowait(message(3))
        with pytest.raises(BusyError):
            one.send_nowait(message(9))
        await pair.quiet()
        await gather_events(other)
        assert take(other, 4) == [0, 1, 2, 3]
        await pair.quiet()
        for number in range(SLOTS):
            one.send_nowait(message(number))


async def test_room_is_told_only_to_a_peer_that_has_opened_the_channel(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its consumer sleeps, and so it stays out of the session; then it wakes, and must come to know of all the room."""
    async with open_pair() as pair:
        one, other = pair.open(slots=1)
        await pair.online()
        other.send_nowait(message(1))
        await pair.quiet()
        await gather_events(one)
        pair.a.drop("again")
        await trio.sleep(3)
        await pair.online()
        session = pair.a.session_id
        assert (one.has_session, other.has_session) == (True, False)
        assert take(one, 1) == [1]
        await gather_events(one)
        await trio.sleep(1)
        assert pair.a.session_id == pair.b.session_id == session
        await gather_events(other)
        await pair.quiet()
        other.send_nowait(message(2))
        await pair.quiet()
        assert take(one, 1) == [2]


async def test_a_consumer_that_sleeps_through_sessions_keeps_a_bounded_queue(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair() as pair:
        one, other = pair.open()
        await pair.online()
        await gather_events(one)
        for _ in range(10):
            pair.b.drop("test")
            await pair.online()
            await gather_events(one)
        events = await gather_events(other)
        assert [type(event) for event in events] == [Connected, Disconnected, Connected]
        assert other.has_session, "it joined the current session when it had caught up"
        await pair.quiet()
        one.send_nowait(message(5))
        await pair.quiet()
        assert take(other, 1) == [5]


async def test_every_session_has_one_beginning_and_one_end(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        one, other = pair.open(slots=100)
        seen: list[ChannelEvent] = []

        async def watch(channel: Channel, events: list[ChannelEvent]) -> None:
            while True:
                events.extend(await channel.receive_events())

        pair.nursery.start_soon(watch, one, seen)
        pair.nursery.start_soon(watch, other, [])
        for number in range(10):
            await pair.online()
            one.send_nowait(message(number))
            (pair.a if number % 2 else pair.b).drop("test")
        await pair.online()
        marks = [type(event) for event in seen if not isinstance(event, EventRange)]
        assert marks == [Connected, Disconnected] * 10 + [Connected]
        assert sum(event.count for event in seen if isinstance(event, EventRange)) == 10, (
            "each message has one MSG_SENT"
        )


async def test_send_waits_for_room_and_a_loss_wakes_it(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        one, _ = pair.open()
        await pair.online()
        for number in range(SLOTS):
            await one.send(message(number))
        async with trio.open_nursery() as nursery:

            async def send_and_lose() -> None:
                with pytest.raises(DisconnectError):
                    await one.send(message(9))

            nursery.start_soon(send_and_lose)
            await pair.quiet()
            pair.a.drop("test")


async def test_a_cancelled_send_sends_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        one, other = pair.open()
        await pair.online()
        with trio.CancelScope() as scope:
            scope.cancel()
            await one.send(message(1))
        for number in range(SLOTS):
            await one.send(message(number))
        with trio.move_on_after(1):
            await one.send(message(9))
        await gather_events(other)
        assert take(other, SLOTS) == [0, 1, 2, 3]
        await pair.quiet()
        with pytest.raises(EmptyError):
            other.receive_nowait()


async def test_asynchronous_calls_are_checkpoints(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        one, _ = pair.open()
        await pair.online()
        with trio.testing.assert_checkpoints():
            await one.receive_events()
        with trio.testing.assert_checkpoints():
            await one.send(message(1))
        with trio.testing.assert_checkpoints():
            await pair.a.goodbye("bye")
        with trio.testing.assert_checkpoints():
            await pair.a.goodbye("bye")
        await pair.b.goodbye("bye")


@pytest.mark.parametrize("size", [0, SLOT - 1, SLOT + 1])
async def test_a_message_has_the_size_of_its_slot(autojump_clock: trio.testing.MockClock, size: int) -> None:
    async with open_pair() as pair:
        one, _ = pair.open()
        await pair.online()
        for data in (bytes(size), bytearray(size), memoryview(bytes(size))):
            with pytest.raises(InvalidError):
                one.send_nowait(data)
            with pytest.raises(InvalidError):
                await one.send(data)


async def test_a_message_is_copied_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        one, other = pair.open()
        await pair.online()
        data = bytearray(message(1))
        one.send_nowait(data)
        data[:] = message(2)
        one.send_nowait(memoryview(data).cast("Q"))
        data[:] = message(3)
        await pair.quiet()
        assert take(other, 2) == [1, 2]


@pytest.mark.parametrize(
    ("number", "slot_size", "slots"),
    [(0, 16, 4), (256, 16, 4), (5, 16, 4), (1, 0, 4), (1, 1 << 17, 4), (1, 16, 0), (1, 16, 5000), (1, 1 << 16, 65)],
)
async def test_channels_beyond_the_bounds_are_refused(
    autojump_clock: trio.testing.MockClock, number: int, slot_size: int, slots: int
) -> None:
    link = make_link(MemoryNetwork(), "a", "b", [])
    link.open_channel(5, slot_size=16, slots=4)
    with pytest.raises(InvalidError):
        link.open_channel(number, slot_size=slot_size, slots=slots)


async def test_large_slots_are_cut_into_frames(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        one = pair.a.open_channel(1, slot_size=60_000, slots=10)
        other = pair.b.open_channel(1, slot_size=60_000, slots=10)
        await pair.online()
        await gather_events(other)
        for number in range(10):
            one.send_nowait(bytes([number]) * 60_000)
        await pair.quiet()
        assert [other.receive_nowait() for _ in range(10)] == [bytes([number]) * 60_000 for number in range(10)]


async def test_a_burst_goes_out_in_two_frames_the_first_message_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        one, _ = pair.open(slots=100)
        await pair.online()
        before = pair.a.statistics()
        for number in range(100):
            one.send_nowait(message(number))
            assert pair.a.statistics().messages_out - before.messages_out == 1
        await pair.quiet()
        after = pair.a.statistics()
        assert after.messages_out - before.messages_out == 100
        assert after.frames_out - before.frames_out == 2


async def test_a_silent_peer_costs_a_bounded_amount(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        one, _ = pair.open(slots=1000)
        await pair.online()
        await gather_events(one)
        pair.network.cut("a", "b")
        accepted = 0
        with pytest.raises(BusyError):  # noqa: PT012
            while True:
                one.send_nowait(message(accepted))
                accepted += 1
        assert accepted == 1000
        await trio.sleep(2)
        events = await gather_events(one)
        assert events[0] == sent(1000, ctl_ha_status.CTL_HA_STATUS_DISCONNECT)
        assert isinstance(events[1], Disconnected)
        assert events[1].reason in {LossReason.CLOSED, LossReason.SILENT}


# Messages that report to a function of their own

SUCCESS, DISCONNECT = ctl_ha_status.CTL_HA_STATUS_SUCCESS, ctl_ha_status.CTL_HA_STATUS_DISCONNECT


@attrs.define(eq=False)
class Settled:
    """What the senders of messages were told, and whether the channel was still in its session."""

    channel: Channel
    told: list[tuple[int, ctl_ha_status]] = attrs.field(factory=list)

    def send(self, number: int) -> None:
        def on_settled(status: ctl_ha_status) -> None:
            assert self.channel.has_session, "told before the loss is"
            self.told.append((number, status))

        before = list(self.told)
        self.channel.send_nowait(message(number), on_settled=on_settled)
        assert self.told == before, "never from within"


async def test_a_watched_message_reports_instead_of_its_event(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        one, other = pair.open()
        await pair.online()
        await gather_events(one)
        settled = Settled(one)
        settled.send(0)
        one.send_nowait(message(1))
        settled.send(2)
        settled.send(3)
        assert settled.told == []
        await pair.quiet()
        assert settled.told == [(0, SUCCESS), (2, SUCCESS), (3, SUCCESS)]
        assert await gather_events(one) == [sent(1)]
        assert take(other, 4) == [0, 1, 2, 3]


@pytest.mark.parametrize("end", ["drop", "peer-drop", "reset", "cut", "goodbye", "peer-goodbye", "stop"])
async def test_a_watched_message_reports_a_loss_once(autojump_clock: trio.testing.MockClock, end: str) -> None:
    async with open_pair() as pair:
        one, _ = pair.open()
        await pair.online()
        await gather_events(one)
        settled = Settled(one)
        settled.send(0)
        await pair.quiet()
        pair.network.cut("b", "a")
        if end == "cut":
            pair.network.cut("a", "b")
        settled.send(1)
        one.send_nowait(message(2))
        settled.send(3)
        await pair.quiet()
        assert settled.told == [(0, SUCCESS)]
        match end:
            case "drop":
                pair.a.drop("test")
            case "peer-drop":
                pair.b.drop("test")
                pair.network.heal()
            case "reset":
                pair.network.reset("a", "b")
            case "goodbye":
                await pair.a.goodbye("bye")
            case "peer-goodbye":
                pair.network.cut("a", "b")
                pair.network.heal("b", "a")
                pair.nursery.start_soon(pair.b.goodbye, "bye")
            case "stop":
                pair.nursery.cancel_scope.cancel()
                await trio.lowlevel.cancel_shielded_checkpoint()
                with trio.CancelScope(shield=True):
                    await trio.sleep(0.1)
            case _:
                pass
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
            first, second, third = settled.told
            assert first == (0, SUCCESS)
            assert [number for number, _ in (second, third)] == [1, 3]
            acknowledged = {status for _, status in (second, third)}
            assert len(acknowledged) == 1
            events = await gather_events(one)
            assert events[0] == sent(1, acknowledged.pop())
            assert isinstance(events[1], Disconnected)
            pair.reports.clear()


async def test_who_is_told_may_end_the_session_and_the_others_are_told_still(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair() as pair:
        one, _ = pair.open()
        await pair.online()
        await gather_events(one)
        told: list[ctl_ha_status] = []

        def drop(status: ctl_ha_status) -> None:
            told.append(status)
            pair.a.drop("from within")
            with pytest.raises(DisconnectError):
                one.send_nowait(message(9))

        settled = Settled(one)
        one.send_nowait(message(0), on_settled=drop)
        settled.send(1)
        one.send_nowait(message(2))
        await trio.sleep(0.05)
        assert told == [SUCCESS]
        assert settled.told == [(1, SUCCESS)], "the peer had acknowledged it"
        events = await gather_events(one)
        assert events[:2] == [sent(1), Disconnected(LossReason.CLOSED, "from within")]


async def test_who_is_told_may_send_the_next(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        one, other = pair.open()
        await pair.online()
        numbers: list[int] = []

        def send_next(status: ctl_ha_status) -> None:
            assert status is SUCCESS
            if len(numbers) < 100:
                numbers.append(len(numbers))
                one.send_nowait(message(numbers[-1]), on_settled=send_next)

        async def drain() -> None:
            while True:
                await other.receive_events()
                with pytest.raises(EmptyError):  # noqa: PT012
                    while True:
                        other.receive_nowait()

        pair.nursery.start_soon(drain)
        send_next(SUCCESS)
        await trio.sleep(1)
        assert numbers == list(range(100))


async def test_a_message_without_credit_is_not_watched(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        one, _ = pair.open()
        await pair.online()
        settled = Settled(one)
        for number in range(SLOTS):
            settled.send(number)
        with pytest.raises(BusyError):
            settled.send(SLOTS)
        with pytest.raises(InvalidError):
            one.send_nowait(b"short", on_settled=lambda status: settled.told.append((99, status)))
        pair.a.drop("test")
        with pytest.raises(DisconnectError):
            settled.send(SLOTS)
        assert settled.told == [(number, DISCONNECT) for number in range(SLOTS)]


async def test_who_hears_late_hears_of_the_session_before_first(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        channel, _ = pair.open()
        await pair.quiet()
        pair.a.drop("test")
        await pair.online()
        heard: list[type[ChannelEvent]] = []
        channel.hear(lambda event: heard.append(type(event)), lambda count: pytest.fail(f"{count} messages"))
        assert heard == [Connected, Disconnected, Connected]
