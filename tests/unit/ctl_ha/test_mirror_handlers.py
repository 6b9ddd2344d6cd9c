"""Handlers that misbehave: each has its defined outcome, and none takes another channel with it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import attrs
import pytest
import trio
from trio.abc import Clock

from ctlha_trio.ctl_ha import (
    ctl_evt_handler,
    ctl_ha_channel,
    ctl_ha_event,
    ctl_ha_msg_create,
    ctl_ha_msg_recv,
    ctl_ha_msg_send,
    ctl_ha_register_evthandler,
    ctl_ha_status,
)
from ctlha_trio.testing import MemoryPair

OpenPair = Callable[..., AbstractAsyncContextManager[MemoryPair]]

CTL, ZFS = ctl_ha_channel.CTL_HA_CHAN_CTL, ctl_ha_channel.CTL_HA_CHAN_ZFS
MSG_RECV = ctl_ha_event.CTL_HA_EVT_MSG_RECV
LOST = ctl_ha_event.CTL_HA_EVT_DISCONNECT
WAIT = ctl_ha_status.CTL_HA_STATUS_WAIT
SUCCESS = ctl_ha_status.CTL_HA_STATUS_SUCCESS
INVALID = ctl_ha_status.CTL_HA_STATUS_INVALID
BUSY = ctl_ha_status.CTL_HA_STATUS_BUSY
SIZE = 512
SLOTS = 64


@attrs.define(eq=False)
class Case:
    pair: MemoryPair
    zfs_got: list[bytes]

    async def send(self, channel: ctl_ha_channel, first: bytes, name: str = "a") -> ctl_ha_status:
        with self.pair.nodes[name].current():
            while (status := await ctl_ha_msg_send(channel, first.ljust(SIZE), SIZE, 0)) is BUSY:
                pass
            return status

    async def break_link(self) -> None:
        """Return once both channels of both nodes are in a session after the broken one."""
        nodes = self.pair.nodes.values()
        before = {node._link.session for node in nodes}
        self.pair.break_link()
        await self.pair.wait_until(lambda: before.isdisjoint({node._link.session for node in nodes} | {None}))
        await self.pair.wait_until(
            lambda: all(node.channel(each)._channel.has_session for node in nodes for each in (CTL, ZFS))
        )

    async def zfs_works(self) -> None:
        """A message goes through the other channel of both nodes."""
        before = len(self.zfs_got)
        assert await self.send(ZFS, b"zfs") is WAIT
        await self.pair.wait_until(lambda: len(self.zfs_got) == before + 1)


@asynccontextmanager
async def with_handler_on_b(open_any: OpenPair, handler: ctl_evt_handler) -> AsyncIterator[Case]:
    """The handler is that of node b's CTL; node a ignores what it is told; ZFS of node b takes messages."""
    async with open_any() as pair:
        case = Case(pair, [])

        async def ignore(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
            pass

        async def take(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
            buffer = bytearray(SIZE)
            if event is MSG_RECV and await ctl_ha_msg_recv(channel, buffer, SIZE, 0) is SUCCESS:
                case.zfs_got.append(bytes(buffer))

        with pair.nodes["a"].current():
            ctl_ha_msg_create(CTL, ignore)
            ctl_ha_msg_create(ZFS, ignore)
        with pair.nodes["b"].current():
            ctl_ha_msg_create(CTL, handler)
            ctl_ha_msg_create(ZFS, take)
        yield case


async def test_one_that_raises_closes_its_channel_and_is_raised_at_the_end(clock: Clock, open_any: OpenPair) -> None:
    calls: list[ctl_ha_event] = []

    async def raises(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        calls.append(event)
        raise LookupError("in the handler")

    async with with_handler_on_b(open_any, raises) as case:
        pair, b = case.pair, case.pair.nodes["b"]
        for _ in range(3):
            await case.send(CTL, b"ctl")
        await pair.wait_until(lambda: "handler-failed" in b.status().reasons)
        assert b.status().verdict == "degraded"
        assert calls == [MSG_RECV]
        with b.current():
            for wait in (0, 1):
                assert await ctl_ha_msg_send(CTL, bytes(SIZE), SIZE, wait) is INVALID
                assert await ctl_ha_msg_recv(CTL, bytearray(SIZE), SIZE, wait) is INVALID
            assert ctl_ha_msg_create(CTL, raises) is INVALID
            ctl_ha_register_evthandler(CTL, raises)
        await case.zfs_works()
        await case.break_link()
        await case.zfs_works()
        assert calls == [MSG_RECV]
        await pair.stop("b")
        with pytest.raises(LookupError, match="in the handler"):
            raise pair.failures["b"]


async def test_nobody_receives_on_a_closed_channel_so_its_sender_becomes_busy(clock: Clock, open_any: OpenPair) -> None:
    async def raises(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        raise LookupError

    async with with_handler_on_b(open_any, raises) as case:
        await case.send(CTL, b"ctl")
        await case.pair.wait_until(lambda: "handler-failed" in case.pair.nodes["b"].status().reasons)
        with case.pair.nodes["a"].current(), trio.fail_after(5):
            sent = 0
            while await ctl_ha_msg_send(CTL, bytes(SIZE), SIZE, 0) is WAIT:
                sent += 1
                await case.pair.wait_until(lambda: True)
        assert sent == SLOTS - 1, "the message that the handler raised at was never taken"
        await case.zfs_works()
        assert list(case.pair.failures) == ["b"]


async def test_a_pending_recv_ends_when_the_handler_raises(clock: Clock, open_any: OpenPair) -> None:
    ends: list[ctl_ha_status] = []

    async def raises(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        raise LookupError

    async with with_handler_on_b(open_any, raises) as case:
        b = case.pair.nodes["b"]

        async def receive() -> None:
            with b.current():
                ends.append(await ctl_ha_msg_recv(CTL, bytearray(SIZE), SIZE, 1))
                ends.append(await ctl_ha_msg_recv(CTL, bytearray(SIZE), SIZE, 1))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await case.send(CTL, b"for recv")
            await case.pair.wait_until(lambda: ends == [SUCCESS])
            assert await case.send(CTL, b"", "b") is WAIT  # its MSG_SENT is what the handler raises at
        assert ends == [SUCCESS, INVALID]
        assert list(case.pair.failures) == ["b"]


async def test_a_send_that_waits_for_room_ends_when_the_handler_raises(clock: Clock, open_any: OpenPair) -> None:
    ends: list[ctl_ha_status] = []

    async def raises(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        raise LookupError

    async with with_handler_on_b(open_any, raises) as case:

        async def send() -> None:
            with case.pair.nodes["b"].current():
                while not ends or ends[-1] is SUCCESS:
                    ends.append(await ctl_ha_msg_send(CTL, bytes(SIZE), SIZE, 1))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await case.pair.wait_until(lambda: len(ends) == SLOTS)
            assert await case.send(CTL, b"the handler raises at it") is WAIT
        assert ends == [*[SUCCESS] * SLOTS, INVALID], "node a takes nothing, and has no room for one more"
        assert list(case.pair.failures) == ["b"]


async def test_one_that_blocks_holds_up_only_its_own_channel(clock: Clock, open_any: OpenPair) -> None:
    release = trio.Event()
    calls: list[ctl_ha_event] = []

    async def blocks(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        calls.append(event)
        await release.wait()

    async with with_handler_on_b(open_any, blocks) as case:
        for _ in range(3):
            await case.send(CTL, b"ctl")
        await case.zfs_works()
        await case.break_link()
        await case.zfs_works()
        assert calls == [MSG_RECV]
        release.set()
        await case.pair.wait_until(lambda: len(calls) == 4)
        assert calls == [MSG_RECV] * 3 + [LOST]


async def test_a_node_ends_though_a_handler_blocks(clock: Clock, open_any: OpenPair) -> None:
    cancelled: list[bool] = []

    async def blocks(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(True)

    async with with_handler_on_b(open_any, blocks) as case:
        await case.send(CTL, b"ctl")
        await case.zfs_works()
        with trio.fail_after(5):
            await case.pair.stop("b")
        assert cancelled == [True]
        assert case.pair.failures == {}


async def test_one_may_send_and_receive(clock: Clock, open_any: OpenPair) -> None:
    async def answers(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        if event is MSG_RECV:
            buffer = bytearray(param)
            assert await ctl_ha_msg_recv(channel, buffer, param, 0) is SUCCESS
            assert await ctl_ha_msg_send(channel, buffer.upper(), param, 1) is SUCCESS
            assert await ctl_ha_msg_send(channel, buffer, param, 0) is WAIT

    async with with_handler_on_b(open_any, answers) as case:
        await case.send(CTL, b"ctl")
        with case.pair.nodes["a"].current():
            answered = [bytearray(SIZE), bytearray(SIZE)]
            for buffer in answered:
                while await ctl_ha_msg_recv(CTL, buffer, SIZE, 0) is WAIT:
                    pass
        assert [bytes(each) for each in answered] == [b"CTL".ljust(SIZE), b"ctl".ljust(SIZE)]


async def test_one_that_replaces_itself_is_not_called_again(clock: Clock, open_any: OpenPair) -> None:
    calls: list[str] = []

    async def second(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        calls.append("second")

    async def first(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        ctl_ha_register_evthandler(channel, second)
        await trio.lowlevel.checkpoint()
        calls.append("first")

    async with with_handler_on_b(open_any, first) as case:
        for _ in range(3):
            await case.send(CTL, b"ctl")
        await case.pair.wait_until(lambda: len(calls) == 3)
        assert calls == ["first", "second", "second"]


async def test_what_comes_while_there_is_none_the_next_hears_of_unless_it_was_taken(
    clock: Clock, open_any: OpenPair
) -> None:
    first, second = (trio.Event() for _ in range(2))
    heard: list[ctl_ha_event] = []

    async def blocks(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        first.set()
        await second.wait()

    async def hears(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        heard.append(event)

    async with with_handler_on_b(open_any, blocks) as case:
        channel = case.pair.nodes["b"].channel(CTL)
        for _ in range(3):
            await case.send(CTL, b"ctl")
        await first.wait()
        await case.pair.wait_until(lambda: channel._available == 3)
        channel.set_handler(None)
        second.set()
        for _ in range(2):
            await case.send(CTL, b"ctl")
        await case.pair.wait_until(lambda: channel._available == 5 and not channel._events)
        channel.receive_nowait()
        channel.receive_nowait()
        channel.set_handler(hears)
        await case.pair.wait_until(lambda: not channel._events)
        assert heard == [MSG_RECV] * 3
        await case.zfs_works()


async def test_one_may_stop_its_node(clock: Clock, open_any: OpenPair) -> None:
    events: list[ctl_ha_event] = []

    async def stops(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        events.append(event)
        case.pair.nodes["b"].stop("asked by the peer")

    async with with_handler_on_b(open_any, stops) as case:
        await case.send(CTL, b"ctl")
        await case.pair.wait_until(lambda: "b" not in case.pair.nodes)
        assert case.pair.failures == {}
        assert events == [MSG_RECV, LOST]
        assert await case.pair.wait_serving("a") is case.pair.nodes["a"]


async def test_one_that_is_no_async_function_closes_its_channel(clock: Clock, open_any: OpenPair) -> None:
    def not_async(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        pass

    async with with_handler_on_b(open_any, not_async) as case:  # type: ignore[arg-type]
        await case.send(CTL, b"ctl")
        await case.pair.wait_until(lambda: "handler-failed" in case.pair.nodes["b"].status().reasons)
        await case.zfs_works()
        assert list(case.pair.failures) == ["b"]
