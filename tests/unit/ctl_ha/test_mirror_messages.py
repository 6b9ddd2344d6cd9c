"""Messages through the header's functions: every contract, in memory and over TLS."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, cast

import attrs
import pytest
import trio
from trio.abc import Clock
from trio.testing import assert_checkpoints, assert_no_checkpoints, wait_all_tasks_blocked

from ctlha_trio import BusyError, ChannelConfig, DisconnectError, EmptyError, InvalidError, Node, NodeConfig
from ctlha_trio.ctl_ha import (
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

NONE, CTL, ZFS, MAX = ctl_ha_channel
MSG_RECV = ctl_ha_event.CTL_HA_EVT_MSG_RECV
MSG_SENT = ctl_ha_event.CTL_HA_EVT_MSG_SENT
LOST = ctl_ha_event.CTL_HA_EVT_DISCONNECT
WAIT = ctl_ha_status.CTL_HA_STATUS_WAIT
SUCCESS = ctl_ha_status.CTL_HA_STATUS_SUCCESS
INVALID = ctl_ha_status.CTL_HA_STATUS_INVALID
DISCONNECT = ctl_ha_status.CTL_HA_STATUS_DISCONNECT
BUSY = ctl_ha_status.CTL_HA_STATUS_BUSY
SIZE = 512
SLOTS = 64


def released_view() -> memoryview:
    view = memoryview(bytearray(SIZE))
    view.release()
    return view


def message(number: int) -> bytes:
    return number.to_bytes(4, "little") * (SIZE // 4)


@attrs.define(eq=False)
class Consumer:
    """A handler that notes what it is told and takes what it is told of."""

    node: Node
    events: list[tuple[ctl_ha_event, int]] = attrs.field(factory=list)
    messages: list[bytes] = attrs.field(factory=list)
    statuses: list[ctl_ha_status] = attrs.field(factory=list)
    tasks: set[trio.lowlevel.Task] = attrs.field(factory=set)
    gate: trio.Event | None = None
    running: int = 0

    async def handle(self, channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        assert self.running == 0, "two at a time"
        self.running += 1
        self.tasks.add(trio.lowlevel.current_task())
        self.events.append((event, param))
        if self.gate is not None:
            await self.gate.wait()
        await trio.lowlevel.checkpoint()
        if event is MSG_RECV:
            buffer = bytearray(param)
            status = await ctl_ha_msg_recv(channel, buffer, param, 0)
            self.statuses.append(status)
            if status is SUCCESS:
                self.messages.append(bytes(buffer))
        self.running -= 1

    def count(self, event: ctl_ha_event, param: int | None = None) -> int:
        return sum(1 for each in self.events if each[0] is event and param in {None, each[1]})

    async def send(self, number: int = 0, wait: Any = 0, channel: ctl_ha_channel = CTL) -> ctl_ha_status:
        with self.node.current():
            return await ctl_ha_msg_send(channel, message(number), SIZE, wait)

    async def receive(self, wait: Any, into: bytearray, channel: ctl_ha_channel = CTL) -> ctl_ha_status:
        with self.node.current():
            return await ctl_ha_msg_recv(channel, into, SIZE, wait)


def consume(pair: MemoryPair, name: str, channel: ctl_ha_channel = CTL) -> Consumer:
    consumer = Consumer(pair.nodes[name])
    with consumer.node.current():
        assert ctl_ha_msg_create(channel, consumer.handle) is SUCCESS
    return consumer


async def acquaint(pair: MemoryPair, one: Consumer, other: Consumer, channel: ctl_ha_channel = CTL) -> None:
    """Return once both can send; forget what it took."""
    for sender, receiver in ((one, other), (other, one)):
        await sender.node.channel(channel).send(message(0))
        await pair.wait_until(lambda receiver=receiver: bool(receiver.messages))  # type: ignore[misc]
    for each in (one, other):
        for noted in (each.events, each.messages, each.statuses):
            cast("list[object]", noted).clear()
        each.tasks.clear()


@asynccontextmanager
async def two(open_any: OpenPair) -> AsyncIterator[tuple[MemoryPair, Consumer, Consumer]]:
    async with open_any() as pair:
        a, b = consume(pair, "a"), consume(pair, "b")
        await acquaint(pair, a, b)
        yield pair, a, b


async def test_a_channel_is_created_once(clock: Clock, open_any: OpenPair) -> None:
    async with open_any() as pair:
        consumer = consume(pair, "a")
        with consumer.node.current(), assert_no_checkpoints():
            assert [ctl_ha_msg_create(each, consumer.handle) for each in (CTL, NONE, MAX)] == [INVALID] * 3
            assert ctl_ha_msg_create(ZFS, consumer.handle) is SUCCESS


async def test_wait_0_copies_and_neither_blocks_nor_yields(clock: Clock, open_any: OpenPair) -> None:
    async with two(open_any) as (pair, a, b):
        buffer = bytearray(message(1))
        with a.node.current(), assert_no_checkpoints():
            assert await ctl_ha_msg_send(CTL, buffer, SIZE, 0) is WAIT
        buffer[:] = message(2)
        await pair.wait_until(lambda: bool(b.messages))
        assert b.messages == [message(1)]


async def test_no_handler_runs_in_a_callers_task(clock: Clock, open_any: OpenPair) -> None:
    async with two(open_any) as (pair, a, b):
        for number in range(5):
            with assert_no_checkpoints():
                await a.send(number)
            assert len(a.tasks) <= 1
            assert await a.send(number, wait=1) is SUCCESS
        await pair.wait_until(lambda: len(b.messages) == 10 and a.count(MSG_SENT) == 5)
        assert len(a.tasks) == len(b.tasks) == 1
        assert trio.lowlevel.current_task() not in a.tasks | b.tasks


async def test_each_wait_makes_one_msg_sent_and_a_success_none(clock: Clock, open_any: OpenPair) -> None:
    async with two(open_any) as (pair, a, b):
        returned = [await a.send(number, wait) for number, wait in enumerate((0, 0, 1, 0, 1, 1, 0))]
        assert returned == [WAIT, WAIT, SUCCESS, WAIT, SUCCESS, SUCCESS, WAIT]
        await pair.wait_until(lambda: a.count(MSG_SENT) >= 4 and len(b.messages) == 7)
        assert await a.send(7, wait=1) is SUCCESS
        await pair.wait_until(lambda: len(b.messages) == 8)
        assert a.events == [(MSG_SENT, SUCCESS)] * 4
        assert b.events == [(MSG_RECV, SIZE)] * 8
        assert b.messages == [message(number) for number in range(8)]


@pytest.mark.parametrize("loss", ["broken", "crash", "goodbye"])
async def test_each_wait_makes_one_msg_sent_when_the_link_falls(clock: Clock, open_any: OpenPair, loss: str) -> None:
    async with two(open_any) as (pair, a, b):
        for number in range(10):
            assert await a.send(number) is WAIT
        if loss == "broken":
            pair.break_link()
        elif loss == "crash":
            pair.crash("b")
        else:
            b.node.stop("test")
        await pair.wait_until(lambda: a.count(LOST) == 1)
        if loss == "broken":
            assert a.events == [*[(MSG_SENT, DISCONNECT)] * 10, (LOST, 0)]
        assert a.count(MSG_SENT) == 10
        assert {param for event, param in a.events if event is MSG_SENT} <= {SUCCESS, DISCONNECT}
        assert a.events[-1] == (LOST, 0)
        delivered = a.count(MSG_SENT, SUCCESS)
        if loss == "goodbye":
            assert b.messages[:delivered] == [message(number) for number in range(delivered)]


async def test_a_node_that_leaves_hears_of_its_messages_and_of_the_end(clock: Clock, open_any: OpenPair) -> None:
    async with two(open_any) as (pair, a, b):
        for number in range(10):
            assert await a.send(number) is WAIT
        await pair.stop("a")
        assert a.count(MSG_SENT) == 10
        assert a.count(LOST) == 1
        assert a.events[-1] == (LOST, 0)
        await pair.wait_until(lambda: b.count(LOST) == 1)
        assert b.messages[: a.count(MSG_SENT, SUCCESS)] == [message(n) for n in range(a.count(MSG_SENT, SUCCESS))]


async def test_wait_1_is_a_disconnect_when_the_link_falls(clock: Clock, open_any: OpenPair) -> None:
    async with two(open_any) as (pair, a, _):
        ends: list[ctl_ha_status] = []

        async def send_and_wait() -> None:
            ends.append(await a.send(1, wait=1))

        async def receive_and_wait() -> None:
            ends.append(await a.receive(1, bytearray(SIZE)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive_and_wait)
            await wait_all_tasks_blocked()
            nursery.start_soon(send_and_wait)
            while not a.node.channel(CTL)._channel.live_flow.unsettled:
                await trio.lowlevel.checkpoint()
            pair.break_link()
        assert ends == [DISCONNECT, DISCONNECT]
        await pair.wait_until(lambda: a.count(LOST) == 1)
        assert a.events == [(LOST, 0)]


async def test_without_a_session_nothing_is_sent(clock: Clock, open_any: OpenPair) -> None:
    async with two(open_any) as (pair, a, _):
        pair.crash("b")
        await pair.wait_until(lambda: a.count(LOST) == 1)
        assert [await a.send(0), await a.send(0, 1), await a.receive(1, bytearray(SIZE))] == [DISCONNECT] * 3
        assert await a.receive(0, bytearray(SIZE)) is WAIT
        assert a.events == [(LOST, 0)]


async def test_each_loss_is_one_disconnect_and_the_channel_returns(clock: Clock, open_any: OpenPair) -> None:
    async with two(open_any) as (pair, a, b):
        for losses in (1, 2, 3):
            pair.break_link()
            await pair.wait_until(lambda losses=losses: a.count(LOST) == b.count(LOST) == losses)  # type: ignore[misc]
            for each in (a, b):
                await each.node.channel(CTL).wait_connected()
            while await a.send(losses, wait=1) is not SUCCESS:
                pass
            await pair.wait_until(lambda losses=losses: len(b.messages) == losses)  # type: ignore[misc]
        assert a.events == [(LOST, 0)] * 3
        assert b.events == [(LOST, 0), (MSG_RECV, SIZE)] * 3


async def test_a_pending_recv_takes_the_next_message_and_no_msg_recv_is_made(clock: Clock, open_any: OpenPair) -> None:
    async with two(open_any) as (pair, a, b):
        buffer = bytearray(SIZE)
        ends: list[ctl_ha_status] = []

        async def receive() -> None:
            ends.append(await b.receive(1, buffer))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            await a.send(1)
        assert ends == [SUCCESS]
        assert buffer == message(1)
        await a.send(2)
        await pair.wait_until(lambda: bool(b.messages))
        assert b.messages == [message(2)]
        assert b.events == [(MSG_RECV, SIZE)]


async def test_recv_after_msg_recv_may_find_nothing(clock: Clock, open_any: OpenPair) -> None:
    async with two(open_any) as (pair, a, b):
        b.gate = trio.Event()
        await a.send(1)
        await pair.wait_until(lambda: b.events == [(MSG_RECV, SIZE)])
        buffer = bytearray(SIZE)
        with assert_no_checkpoints():
            assert await b.receive(0, buffer) is SUCCESS
        assert buffer == message(1)
        b.gate.set()
        await pair.wait_until(lambda: bool(b.statuses))
        assert b.statuses == [WAIT]


async def test_recv_right_after_create_waits_for_the_first_message(clock: Clock, open_any: OpenPair) -> None:
    async with open_any() as pair:
        a, b = consume(pair, "a"), Consumer(pair.nodes["b"])
        buffer = bytearray(SIZE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.node.channel(CTL).send, message(3))
            with b.node.current():
                assert ctl_ha_msg_create(CTL, b.handle) is SUCCESS
                assert await ctl_ha_msg_recv(CTL, buffer, SIZE, 1) is SUCCESS
        assert buffer == message(3)


async def test_a_cancelled_recv_loses_nothing(clock: Clock, open_any: OpenPair) -> None:
    async with two(open_any) as (pair, a, b):
        for _ in range(3):
            with trio.move_on_after(0.01):
                await b.receive(1, bytearray(SIZE))
        await a.send(1)
        await pair.wait_until(lambda: bool(b.messages))
        b.gate = trio.Event()
        await a.send(2)
        await pair.wait_until(lambda: len(b.events) == 2)
        with trio.CancelScope() as scope:
            scope.cancel()
            await b.receive(1, bytearray(SIZE))
        b.gate.set()
        await pair.wait_until(lambda: len(b.messages) == 2)
        assert b.messages == [message(1), message(2)]


async def test_iterating_needs_a_channel_without_handler(clock: Clock, open_any: OpenPair) -> None:
    async with open_any() as pair:
        a = consume(pair, "a")
        with pytest.raises(trio.BusyResourceError):
            aiter(a.node.channel(CTL))
        channel = pair.nodes["b"].open_channel(CTL)
        for number in range(3):
            await a.node.channel(CTL).send(message(number))
        received: list[bytes] = []

        async def receive_all() -> None:
            async for each in channel:
                received.append(each)
                if len(received) == 3:
                    pair.break_link()

        with pytest.raises(DisconnectError):
            await receive_all()
        assert received == [message(number) for number in range(3)]
        channel.set_handler(Consumer(pair.nodes["b"]).handle)
        with pytest.raises(trio.BusyResourceError):
            await channel.__anext__()


async def test_a_wrong_size_is_invalid_and_never_a_truncation(clock: Clock, open_any: OpenPair) -> None:
    async with two(open_any) as (pair, a, b):
        b.gate = trio.Event()
        with a.node.current():
            for buffer, size in (
                (bytes(SIZE), SIZE - 1),
                (bytes(SIZE + 1), SIZE + 1),
                (bytes(SIZE - 1), SIZE),
                (bytes(SIZE), 0),
                (bytes(SIZE), -1),
                (memoryview(bytes(2 * SIZE))[::2], SIZE),
                (released_view(), SIZE),
            ):
                assert [await ctl_ha_msg_send(CTL, buffer, size, 0), await ctl_ha_msg_send(CTL, buffer, size, 1)] == [
                    INVALID,
                    INVALID,
                ]
            assert await ctl_ha_msg_send(CTL, message(1) + b"more", SIZE, 0) is WAIT
        await pair.wait_until(lambda: bool(b.events))
        with b.node.current():
            for into, size in (
                (bytearray(SIZE), SIZE - 1),
                (bytearray(SIZE + 1), SIZE + 1),
                (bytearray(SIZE - 1), SIZE),
                (bytearray(SIZE), 0),
                (memoryview(bytes(SIZE)), SIZE),
                (memoryview(bytearray(2 * SIZE))[::2], SIZE),
                (released_view(), SIZE),
            ):
                assert [await ctl_ha_msg_recv(CTL, into, size, 0), await ctl_ha_msg_recv(CTL, into, size, 1)] == [
                    INVALID,
                    INVALID,
                ]
            large = bytearray(b"." * (SIZE + 2))
            assert await ctl_ha_msg_recv(CTL, large, SIZE, 1) is SUCCESS
        assert large == message(1) + b".."
        assert b.events == [(MSG_RECV, SIZE)]


async def test_wrong_values_are_invalid(clock: Clock, open_any: OpenPair) -> None:
    async with two(open_any) as (_, a, _):
        for channel in (NONE, ZFS, MAX):
            assert await a.send(0, 0, channel) is INVALID
            assert await a.receive(0, bytearray(SIZE), channel) is INVALID
        for wait in (2, -1):
            assert await a.send(0, wait) is INVALID
            assert await a.receive(wait, bytearray(SIZE)) is INVALID
        assert a.events == []


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("create", (1, print)),
        ("create", (CTL, None)),
        ("register", ("CTL", print)),
        ("register", (CTL, None)),
        ("send", (1, bytes(SIZE), SIZE, 0)),
        ("send", (CTL, "x" * SIZE, SIZE, 0)),
        ("send", (CTL, [0] * SIZE, SIZE, 0)),
        ("send", (CTL, bytes(SIZE), float(SIZE), 0)),
        ("send", (CTL, bytes(SIZE), SIZE, None)),
        ("send", (CTL, None, SIZE, 0)),
        ("recv", (1, bytearray(SIZE), SIZE, 0)),
        ("recv", (CTL, "x" * SIZE, SIZE, 0)),
        ("recv", (CTL, bytearray(SIZE), str(SIZE), 0)),
        ("recv", (CTL, bytearray(SIZE), SIZE, 0.0)),
    ],
)
async def test_wrong_types_are_type_errors(
    clock: Clock, open_any: OpenPair, name: str, arguments: tuple[Any, ...]
) -> None:
    functions: dict[str, Callable[..., Any]] = {
        "create": ctl_ha_msg_create,
        "register": ctl_ha_register_evthandler,
        "send": ctl_ha_msg_send,
        "recv": ctl_ha_msg_recv,
    }
    async with open_any() as pair:
        a = consume(pair, "a")
        with a.node.current(), pytest.raises(TypeError):  # noqa: PT012 - the coroutine raises when it is awaited
            result = functions[name](*arguments)
            await result


async def test_busy_until_the_peer_has_opened_the_channel(clock: Clock, open_any: OpenPair) -> None:
    async with open_any() as pair:
        a = consume(pair, "a")
        await a.node.channel(CTL).wait_connected()
        with assert_checkpoints():
            assert await a.send(1) is BUSY
        b = consume(pair, "b")
        with trio.fail_after(5):
            while (status := await a.send(2)) is BUSY:
                pass
        assert status is WAIT
        await pair.wait_until(lambda: bool(b.messages))
        assert b.messages == [message(2)]


async def test_two_nodes_that_disagree_on_the_size_are_told(
    clock: Clock, open_any: OpenPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = MemoryPair.config

    def config(pair: MemoryPair, name: str) -> NodeConfig:
        channels = {CTL: ChannelConfig(message_size_bytes=SIZE // 2)} if name == "b" else {}
        return attrs.evolve(plain(pair, name), channels=channels)

    monkeypatch.setattr(MemoryPair, "config", config)
    async with open_any() as pair:
        a = consume(pair, "a")
        await a.node.channel(CTL).wait_connected()
        ends: list[ctl_ha_status] = []

        async def send_and_wait() -> None:
            ends.append(await a.send(1, wait=1))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_and_wait)
            await wait_all_tasks_blocked()
            assert ends == []
            consume(pair, "b")
        assert ends == [INVALID]
        assert await a.send(2) is INVALID
        with pytest.raises(InvalidError, match="512 bytes here and 256 at the peer"):
            a.node.channel(CTL).send_nowait(message(3))
        assert a.events == []


async def test_busy_when_the_slots_are_taken_and_nothing_is_lost(clock: Clock, open_any: OpenPair) -> None:
    async with two(open_any) as (pair, a, b):
        b.gate = trio.Event()
        sent = 0
        with trio.fail_after(5):
            while await a.send(sent) is WAIT:
                sent += 1
        assert sent >= SLOTS
        with pytest.raises(BusyError) as raised:
            a.node.channel(CTL).send_nowait(message(0))
        assert isinstance(raised.value, trio.WouldBlock)
        b.gate.set()
        await pair.wait_until(lambda: len(b.messages) == sent)
        assert b.messages == [message(number) for number in range(sent)]
        assert await a.send(sent) is WAIT
        await pair.wait_until(lambda: a.count(MSG_SENT) == sent + 1)
        assert a.events == [(MSG_SENT, SUCCESS)] * (sent + 1)


async def test_wait_0_yields_only_when_it_changed_nothing(clock: Clock, open_any: OpenPair) -> None:
    async with two(open_any) as (pair, a, b):
        with assert_checkpoints():
            assert await a.receive(0, bytearray(SIZE)) is WAIT
        with assert_checkpoints(), a.node.current():
            assert await ctl_ha_msg_send(CTL, b"", 0, 0) is INVALID
        b.gate = trio.Event()
        with assert_no_checkpoints():
            assert await a.send(0) is WAIT
        await pair.wait_until(lambda: bool(b.events))
        with assert_no_checkpoints():
            assert await b.receive(0, bytearray(SIZE)) is SUCCESS


async def test_wait_1_always_yields(clock: Clock, open_any: OpenPair) -> None:
    async with two(open_any) as (pair, a, b):
        with assert_checkpoints():
            assert await a.send(0, 1) is SUCCESS
        await pair.wait_until(lambda: bool(b.messages))
        b.gate = trio.Event()
        await a.send(0)
        await pair.wait_until(lambda: len(b.events) == 2)
        with assert_checkpoints():
            assert await b.receive(1, bytearray(SIZE)) is SUCCESS
        with assert_checkpoints(), a.node.current():
            assert await ctl_ha_msg_send(CTL, b"", 0, 1) is INVALID
        pair.crash("b")
        await pair.wait_until(lambda: a.count(LOST) == 1)
        with assert_checkpoints():
            assert await a.send(0, 1) is DISCONNECT
        with assert_checkpoints():
            assert await a.receive(1, bytearray(SIZE)) is DISCONNECT


async def test_events_come_in_order_and_never_two_at_a_time(clock: Clock, open_any: OpenPair) -> None:
    async with two(open_any) as (pair, a, b):

        async def flood(sender: Consumer) -> None:
            for number in range(300):
                while await sender.send(number) is BUSY:
                    pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood, a)
            nursery.start_soon(flood, b)
        await pair.wait_until(
            lambda: all(len(each.messages) == each.count(MSG_SENT, SUCCESS) == 300 for each in (a, b))
        )
        for each in (a, b):
            assert each.messages == [message(number) for number in range(300)]
            assert len(each.events) == 600


async def test_a_replaced_handler_ends_and_the_new_one_gets_the_next_event(clock: Clock, open_any: OpenPair) -> None:
    async with two(open_any) as (pair, a, b):
        b.gate = trio.Event()
        await a.send(1)
        await pair.wait_until(lambda: len(b.events) == 1)
        new = Consumer(b.node)
        with b.node.current(), assert_no_checkpoints():
            ctl_ha_register_evthandler(CTL, new.handle)
            ctl_ha_register_evthandler(ZFS, new.handle)  # not open: nothing
        await a.send(2)
        await wait_all_tasks_blocked()
        assert new.events == []
        b.gate.set()
        await pair.wait_until(lambda: bool(new.messages))
        assert (b.messages, new.messages) == ([message(1)], [message(2)])
        assert len(b.events) == len(new.events) == 1


async def send_while_it_waits(pair: MemoryPair, a: Consumer, b: Consumer, count: int) -> None:
    """The other side's handler is at its first event, and has to hear of so many more."""
    b.gate = trio.Event()
    await a.send(0)
    await pair.wait_until(lambda: len(b.events) == 1)
    for number in range(1, count + 1):
        await a.send(number)
    await wait_all_tasks_blocked()
    assert len(b.events) == 1


async def test_a_handler_that_replaces_itself_hears_of_nothing_more(clock: Clock, open_any: OpenPair) -> None:
    async with two(open_any) as (pair, a, b):
        new = Consumer(b.node)

        async def replace(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
            await b.handle(channel, event, param)
            if len(b.events) == 3:
                ctl_ha_register_evthandler(channel, new.handle)

        with b.node.current():
            ctl_ha_register_evthandler(CTL, replace)
        await send_while_it_waits(pair, a, b, 4)
        assert b.gate is not None
        b.gate.set()
        await pair.wait_until(lambda: len(b.messages + new.messages) == 5)
        assert b.messages == [message(number) for number in (0, 1, 2)]
        assert new.messages == [message(number) for number in (3, 4)]


async def test_a_handler_that_takes_all_hears_of_none_of_them(clock: Clock, open_any: OpenPair) -> None:
    async with two(open_any) as (pair, a, b):
        await send_while_it_waits(pair, a, b, 3)
        for number in range(4):
            buffer = bytearray(SIZE)
            assert await b.receive(0, buffer) is SUCCESS
            assert buffer == message(number)
        assert b.gate is not None
        b.gate.set()
        await pair.wait_until(lambda: b.statuses == [WAIT])
        await wait_all_tasks_blocked()
        await a.send(9)
        await pair.wait_until(lambda: bool(b.messages))
        assert b.statuses == [WAIT, SUCCESS]
        assert b.messages == [message(9)]


async def test_the_native_channel_raises_and_takes_batches(clock: Clock, open_any: OpenPair) -> None:
    async with open_any() as pair:
        left, right = (pair.nodes[name].open_channel(CTL) for name in ("a", "b"))
        with pytest.raises(EmptyError) as empty:
            right.receive_nowait()
        assert isinstance(empty.value, trio.WouldBlock)
        for node in pair.nodes.values():
            with pytest.raises(InvalidError):
                node.open_channel(CTL)
            with pytest.raises(InvalidError):
                node.channel(ZFS)
        with pytest.raises(InvalidError):
            await left.send(b"short")
        for number in range(5):
            await left.send(message(number))
        received: list[bytes] = []
        while len(received) < 5:
            received += await right.receive_many()
        assert received == [message(number) for number in range(5)]
        await left.send(message(6))
        with pytest.raises(InvalidError):
            right.receive_into_nowait(bytearray(SIZE - 1))
        buffer = bytearray(SIZE + 1)
        right.receive_into_nowait(buffer)
        assert buffer == message(6) + b"\0"
        with pytest.raises(EmptyError):
            right.receive_into_nowait(buffer)
        pair.crash("b")
        with pytest.raises(DisconnectError):
            await left.receive()


async def test_who_was_busy_waits_for_credit_and_is_told_of_a_loss(clock: Clock, open_any: OpenPair) -> None:
    async with open_any() as pair:
        left, right = (pair.nodes[name].open_channel(CTL) for name in ("a", "b"))
        await left.send(message(0))

        def fill() -> None:
            with pytest.raises(BusyError):  # noqa: PT012
                while True:
                    left.send_nowait(message(1))

        fill()
        waited = trio.Event()

        async def wait() -> None:
            await left.wait_for_credit()
            left.send_nowait(message(2))
            waited.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            assert not waited.is_set()
            await right.receive_many()
        with assert_checkpoints():
            await left.wait_for_credit()
        fill()
        pair.crash("b")
        with pytest.raises(DisconnectError):
            await left.wait_for_credit()


async def test_a_handler_that_comes_later_hears_of_what_waits(clock: Clock, open_any: OpenPair) -> None:
    async with open_any() as pair:
        a, b = consume(pair, "a"), Consumer(pair.nodes["b"])
        opened = b.node.open_channel(CTL)
        for number in range(3):
            await a.node.channel(CTL).send(message(number))
        await pair.wait_until(lambda: opened._available == 3)
        with b.node.current():
            ctl_ha_register_evthandler(CTL, b.handle)
        await pair.wait_until(lambda: len(b.messages) == 3)
        assert b.messages == [message(number) for number in range(3)]
        assert b.events == [(MSG_RECV, SIZE)] * 3


@pytest.mark.parametrize("end", ["crash", "stop"])
async def test_whoever_waits_when_its_own_node_ends_is_told(clock: Clock, open_any: OpenPair, end: str) -> None:
    async with open_any() as pair:
        a = Consumer(pair.nodes["a"])
        opened = a.node.open_channel(CTL)
        waits = {"recv": lambda: a.receive(1, bytearray(SIZE)), "send": lambda: a.send(0, 1)}
        ends: dict[str, ctl_ha_status] = {}

        async def wait(what: str) -> None:
            ends[what] = await waits[what]()

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for what in waits:
                    nursery.start_soon(wait, what)
                await wait_all_tasks_blocked()
                if end == "crash":
                    pair.crash("a")
                else:
                    a.node.stop("test")
            assert ends == dict.fromkeys(waits, DISCONNECT)
            await pair.wait_until(lambda: "a" not in pair.nodes)
            for native in (opened.receive, opened.wait_connected):
                with pytest.raises(DisconnectError):
                    await native()
