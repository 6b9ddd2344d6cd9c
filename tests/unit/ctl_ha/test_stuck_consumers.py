"""A consumer that does not go on holds up itself: neither the other channel, nor its own other tasks, nor the end."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from ctlha_trio import BusyError, DisconnectError, MessageChannel, Rights
from ctlha_trio.ctl_ha import (
    CTL_HA_CHAN_CTL,
    CTL_HA_CHAN_ZFS,
    CTL_HA_DATA_CTL,
    CTL_HA_DATA_ZFS,
    CTL_HA_DT_CMD_WRITE,
    CTL_HA_EVT_DISCONNECT,
    CTL_HA_EVT_DMA_SENT,
    CTL_HA_EVT_MSG_RECV,
    CTL_HA_EVT_MSG_SENT,
    CTL_HA_STATUS_BUSY,
    CTL_HA_STATUS_DISCONNECT,
    CTL_HA_STATUS_SUCCESS,
    CTL_HA_STATUS_WAIT,
    ctl_dt_req_alloc,
    ctl_dt_req_free,
    ctl_dt_single,
    ctl_ha_channel,
    ctl_ha_dt_req,
    ctl_ha_dtid,
    ctl_ha_event,
    ctl_ha_msg_create,
    ctl_ha_msg_recv,
    ctl_ha_msg_send,
    ctl_ha_status,
)
from ctlha_trio.testing import MemoryPair, open_pair

SIZE, SLOTS = 512, 64
Request = ctl_ha_dt_req[str]


@attrs.define(eq=False)
class Consumer:
    """Node a's, on both channels; ZFS is stuck until its gate opens."""

    pair: MemoryPair
    remote: object
    gate: trio.Event = attrs.field(factory=trio.Event)
    heard: list[tuple[ctl_ha_channel, ctl_ha_event]] = attrs.field(factory=list)
    called: list[str] = attrs.field(factory=list)
    stuck_handler: bool = False

    async def handle(self, channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        self.heard.append((channel, event))
        if channel is CTL_HA_CHAN_ZFS and self.stuck_handler:
            await self.gate.wait()

    async def callback(self, request: Request) -> None:
        self.called.append(str(request.context))
        if request.id is CTL_HA_DATA_ZFS and not self.stuck_handler:
            await self.gate.wait()
        ctl_dt_req_free(request)

    def start(self, data_id: ctl_ha_dtid) -> ctl_ha_status:
        with self.pair.nodes["a"].current():
            request = ctl_dt_req_alloc()
            request.command, request.id, request.context = CTL_HA_DT_CMD_WRITE, data_id, data_id.name
            request.local, request.size, request.remote = b"x", 1, self.remote  # type: ignore[assignment]
            request.callback = self.callback
            status = ctl_dt_single(request)
            if status is not CTL_HA_STATUS_WAIT:
                ctl_dt_req_free(request)
            return status

    async def start_until_busy(self, data_id: ctl_ha_dtid) -> int:
        """Let what has started end, and go on until even that makes no room."""
        started = 0
        while True:
            if self.start(data_id) is CTL_HA_STATUS_WAIT:
                started += 1
                continue
            await self.pair.wait_until(lambda: self.pair.nodes["a"].transfers.in_flight == 0)
            if self.start(data_id) is CTL_HA_STATUS_BUSY:
                return started
            started += 1


@asynccontextmanager
async def consumer_on_a(*, stuck_handler: bool = False) -> AsyncIterator[Consumer]:
    async with open_pair(size_bytes=1 << 16) as pair:
        consumer = Consumer(pair, pair.nodes["b"].register_region(bytearray(8)).remote, stuck_handler=stuck_handler)
        with pair.nodes["a"].current():
            for channel in (CTL_HA_CHAN_CTL, CTL_HA_CHAN_ZFS):
                assert ctl_ha_msg_create(channel, consumer.handle) is CTL_HA_STATUS_SUCCESS
        yield consumer


@pytest.mark.parametrize("stuck_handler", [False, True])
async def test_a_stuck_consumer_leaves_the_other_data_its_transfers(
    autojump_clock: MockClock, stuck_handler: bool
) -> None:
    async with consumer_on_a(stuck_handler=stuck_handler) as a:
        started = await a.start_until_busy(CTL_HA_DATA_ZFS)
        for number in range(300):
            assert a.start(CTL_HA_DATA_CTL) is CTL_HA_STATUS_WAIT
            await a.pair.wait_until(lambda number=number: a.called.count("CTL_HA_DATA_CTL") == number + 1)  # type: ignore[misc]
        a.gate.set()
        await a.pair.wait_until(lambda: a.heard.count((CTL_HA_CHAN_ZFS, CTL_HA_EVT_DMA_SENT)) == started)
        assert a.start(CTL_HA_DATA_ZFS) is CTL_HA_STATUS_WAIT


def channels(
    pair: MemoryPair, handler: Callable[[ctl_ha_channel, ctl_ha_event, int], object]
) -> tuple[MessageChannel, MessageChannel]:
    """CTL of node a with that handler, and of node b without."""
    return (
        pair.nodes["a"].open_channel(CTL_HA_CHAN_CTL, handler),  # type: ignore[arg-type]
        pair.nodes["b"].open_channel(CTL_HA_CHAN_CTL),
    )


async def test_recv_goes_on_beside_a_blocked_handler_and_hears_of_the_loss(autojump_clock: MockClock) -> None:
    heard: list[ctl_ha_event] = []
    gate = trio.Event()

    async def blocked(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        heard.append(event)
        await gate.wait()

    async with open_pair(size_bytes=1 << 16) as pair:
        one, other = channels(pair, blocked)
        for number in range(1000):
            await other.send(number.to_bytes(4, "little") * (SIZE // 4))
            assert (await one.receive())[:4] == number.to_bytes(4, "little")
        pair.crash("b")
        with trio.fail_after(5), pytest.raises(DisconnectError):
            await one.receive()
        gate.set()
        await pair.wait_until(lambda: CTL_HA_EVT_DISCONNECT in heard)
        assert heard.count(CTL_HA_EVT_MSG_RECV) <= 1, "of a message that recv took there is no hint"


async def test_a_blocked_handler_bounds_the_posts_of_its_channel_and_hears_of_each(autojump_clock: MockClock) -> None:
    heard: list[ctl_ha_event] = []
    gate = trio.Event()

    async def blocked(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        await gate.wait()
        heard.append(event)

    async def take_all(channel: MessageChannel) -> None:
        while True:
            await channel.receive()

    async with open_pair(size_bytes=1 << 16) as pair:
        one, other = channels(pair, blocked)
        await one.send(bytes(SIZE))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_all, other)
            posted = 0
            with pytest.raises(BusyError, match="has not heard of"):  # noqa: PT012
                while True:
                    one.post_nowait(bytes(SIZE))
                    posted += 1
                    await wait_all_tasks_blocked()
            assert posted == SLOTS + 1, "the handler has been given one"
            one.send_nowait(bytes(SIZE))  # nobody wants to hear of that one
            gate.set()
            await pair.wait_until(lambda: heard.count(CTL_HA_EVT_MSG_SENT) == posted)
            one.post_nowait(bytes(SIZE))
            await pair.wait_until(lambda: heard.count(CTL_HA_EVT_MSG_SENT) == posted + 1)
            nursery.cancel_scope.cancel()


async def test_a_handler_stuck_over_many_losses_hears_of_each_and_its_channel_works(autojump_clock: MockClock) -> None:
    heard: list[ctl_ha_event] = []
    gate = trio.Event()

    async def blocked(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        await gate.wait()
        heard.append(event)

    async with open_pair(size_bytes=1 << 16) as pair:
        one, other = channels(pair, blocked)
        for _ in range(450):
            await one.wait_connected()
            await other.wait_connected()
            await one.send(bytes(SIZE))
            assert await other.receive() == bytes(SIZE)
            pair.break_link()
            await wait_all_tasks_blocked()
        gate.set()
        await pair.wait_until(lambda: heard.count(CTL_HA_EVT_DISCONNECT) == 450)


async def test_a_callback_may_wait_for_the_event_of_the_one_before_though_the_link_fell(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []
    first_heard, hold = trio.Event(), trio.Event()

    async def handle(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        log.append(event.name.removeprefix("CTL_HA_EVT_"))
        if event is CTL_HA_EVT_DMA_SENT:
            first_heard.set()

    async def callback(request: Request) -> None:
        log.append(str(request.context))
        await (hold if request.context == "one" else first_heard).wait()
        ctl_dt_req_free(request)

    async with open_pair(size_bytes=1 << 16) as pair:
        remote = pair.nodes["b"].register_region(bytearray(8)).remote
        with pair.nodes["a"].current():
            ctl_ha_msg_create(CTL_HA_CHAN_CTL, handle)
            for name in ("one", "two"):
                request: Request = ctl_dt_req_alloc()
                request.command, request.context, request.callback = CTL_HA_DT_CMD_WRITE, name, callback
                request.local, request.size, request.remote = b"x", 1, remote
                assert ctl_dt_single(request) is CTL_HA_STATUS_WAIT
        await pair.wait_until(lambda: log == ["one"])
        pair.break_link()
        await wait_all_tasks_blocked()
        hold.set()
        await pair.wait_until(lambda: len(log) == 5)
    assert log[0] == "one"
    assert sorted(log[1:3]) == ["DMA_SENT", "two"]
    assert log[3:] == ["DMA_SENT", "DISCONNECT"]


async def test_a_handler_that_is_taken_off_and_put_back_hears_once_of_each_message(autojump_clock: MockClock) -> None:
    heard: list[ctl_ha_event] = []
    gate = trio.Event()

    async def handle(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        heard.append(event)
        await gate.wait()

    async with open_pair(size_bytes=1 << 16) as pair:
        one, other = channels(pair, handle)
        for _ in range(3):
            await other.send(bytes(SIZE))
        one.set_handler(None)
        one.set_handler(handle)
        gate.set()
        await wait_all_tasks_blocked()
        assert heard == [CTL_HA_EVT_MSG_RECV] * 3


# The end of a node.


async def test_a_handlers_clean_up_is_still_its_nodes(autojump_clock: MockClock) -> None:
    async def handle(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        request = ctl_dt_req_alloc()
        try:
            await trio.sleep_forever()
        finally:
            ctl_dt_req_free(request)
            with trio.CancelScope(shield=True):
                assert await ctl_ha_msg_send(channel, bytes(SIZE), SIZE, 0) is CTL_HA_STATUS_DISCONNECT

    async with open_pair(size_bytes=1 << 16) as pair:
        _, other = channels(pair, handle)
        await other.send(bytes(SIZE))
        await pair.stop("a")
        assert pair.failures == {}


async def test_callbacks_run_to_their_end_at_a_goodbye_without_a_channel_too(autojump_clock: MockClock) -> None:
    ended: list[ctl_ha_status] = []

    async def callback(request: Request) -> None:
        await trio.sleep(0.01)
        ended.append(request.ret)

    async with open_pair(size_bytes=1 << 16) as pair:
        remote = pair.nodes["b"].register_region(bytearray(1 << 20)).remote
        with pair.nodes["a"].current():
            for _ in range(20):
                request: Request = ctl_dt_req_alloc()
                request.command, request.callback = CTL_HA_DT_CMD_WRITE, callback
                request.local, request.size, request.remote = bytes(1 << 20), 1 << 20, remote
                assert ctl_dt_single(request) is CTL_HA_STATUS_WAIT
        await pair.stop("a")
        assert len(ended) == 20


async def test_a_channel_may_be_opened_during_the_goodbye(autojump_clock: MockClock) -> None:
    statuses: list[ctl_ha_status] = []

    async def ignore(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        pass

    async def handle(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        if event is CTL_HA_EVT_DISCONNECT:
            await trio.sleep(0.2)
            statuses.append(ctl_ha_msg_create(CTL_HA_CHAN_ZFS, ignore))

    async with open_pair(size_bytes=1 << 16) as pair:
        one, _ = channels(pair, handle)
        await one.wait_connected()
        await pair.stop("a")
        assert statuses == [CTL_HA_STATUS_SUCCESS]
        assert pair.failures == {}


async def test_whoever_waits_for_a_session_is_told_of_the_end_of_the_node(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 16) as pair:
        pair.crash("b")
        await pair.wait_alone("a")
        channel = pair.nodes["a"].open_channel(CTL_HA_CHAN_CTL)
        ends: list[Exception] = []

        async def wait() -> None:
            try:
                await channel.wait_connected()
            except DisconnectError as error:
                ends.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            pair.crash("a")
        assert len(ends) == 1


async def test_a_handler_that_raises_frees_the_transfers_that_it_had_not_heard_of(autojump_clock: MockClock) -> None:
    async with consumer_on_a(stuck_handler=True) as a:
        await a.start_until_busy(CTL_HA_DATA_ZFS)

        async def raises(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
            raise LookupError

        a.pair.nodes["a"].channel(CTL_HA_CHAN_ZFS).set_handler(raises)
        a.gate.set()
        await a.pair.wait_until(lambda: bool(a.pair.nodes["a"].handler_errors))
        assert a.start(CTL_HA_DATA_ZFS) is CTL_HA_STATUS_WAIT
        assert list(a.pair.failures) == ["a"]


async def test_a_cancelled_send_that_had_not_begun_sends_nothing(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 16) as pair:
        one, other = (pair.nodes[name].open_channel(CTL_HA_CHAN_CTL) for name in ("a", "b"))
        await one.send(b"1" * SIZE)
        with trio.CancelScope() as scope:
            scope.cancel()
            await one.send(b"2" * SIZE)
        await one.send(b"3" * SIZE)
        assert await other.receive_many() == [b"1" * SIZE, b"3" * SIZE]


async def test_a_size_that_is_not_the_channels_is_invalid_though_the_rest_of_the_buffer_would_fit(
    autojump_clock: MockClock,
) -> None:
    async with open_pair(size_bytes=1 << 16) as pair:
        for name in ("a", "b"):
            pair.nodes[name].open_channel(CTL_HA_CHAN_CTL)
        await pair.nodes["a"].channel(CTL_HA_CHAN_CTL).send(bytes(SIZE))
        with pair.nodes["a"].current():
            for wait in (0, 1):
                status = await ctl_ha_msg_send(CTL_HA_CHAN_CTL, bytes(SIZE + 1), -1, wait)
                assert status.name == "CTL_HA_STATUS_INVALID"
        with pair.nodes["b"].current():
            assert await ctl_ha_msg_recv(CTL_HA_CHAN_CTL, bytearray(SIZE), SIZE, 1) is CTL_HA_STATUS_SUCCESS


# The native transfers.


async def test_transfers_are_awaited(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 16) as pair:
        memory = bytearray(100_000)
        remote = pair.nodes["b"].register_region(memory, Rights.READ | Rights.WRITE).remote
        a = pair.nodes["a"]
        await a.push(remote.at(10), b"pushed" * 1000)
        assert memory[10:6010] == b"pushed" * 1000
        into = bytearray(6000)
        await a.pull(remote.at(10), into)
        assert into == b"pushed" * 1000
        pending = a.pull_nowait(remote, memoryview(into)[:10])
        assert pending.status is CTL_HA_STATUS_WAIT
        await pending.wait()
        await pending.wait()
        assert into[:10] == bytes(10)


async def test_transfers_wait_for_room_and_nowait_does_not(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 16) as pair:
        memory = bytearray(1000)
        remote = pair.nodes["b"].register_region(memory).remote
        a = pair.nodes["a"]
        started = []
        with pytest.raises(BusyError):  # noqa: PT012
            while True:
                started.append(a.push_nowait(remote, b"x"))
        async with trio.open_nursery() as nursery:
            for number in range(1000):
                nursery.start_soon(a.push, remote.at(number), b"y")
        assert memory == b"y" * 1000
        assert all(each.status is CTL_HA_STATUS_SUCCESS for each in started)


async def test_transfers_raise_what_became_of_them(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 16) as pair:
        a, region = pair.nodes["a"], pair.nodes["b"].register_region(bytearray(8 << 20))
        with pytest.raises(Exception, match="out-of-range") as raised:
            await a.push(region.remote.at(8 << 20), b"beyond")
        assert raised.type.__name__ == "FailedError"
        pending = a.push_nowait(region.remote, bytes(8 << 20))
        pair.break_link()
        with pytest.raises(DisconnectError):
            await pending.wait()
        assert pending.status is CTL_HA_STATUS_DISCONNECT
        await pair.wait_protected()
        with pytest.raises(Exception, match="expired-key"):
            await a.pull(region.remote, bytearray(8))
