"""Transfers through the header's functions: every contract, in memory and over TLS."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from trio.abc import Clock
from trio.testing import assert_no_checkpoints

from ctlha_trio import BusyError, InvalidError, Node, RemoteBuffer
from ctlha_trio.ctl_ha import (
    ctl_dt_req_alloc,
    ctl_dt_req_free,
    ctl_dt_single,
    ctl_ha_channel,
    ctl_ha_dt_cmd,
    ctl_ha_dt_req,
    ctl_ha_dtid,
    ctl_ha_event,
    ctl_ha_msg_create,
    ctl_ha_msg_recv,
    ctl_ha_msg_send,
    ctl_ha_register_evthandler,
    ctl_ha_status,
)
from ctlha_trio.dma import Rights
from ctlha_trio.ha._transfers import REQUESTS_MAX
from ctlha_trio.link import TRANSFERS_IN_FLIGHT_MAX
from ctlha_trio.testing import MemoryPair

OpenPair = Callable[..., AbstractAsyncContextManager[MemoryPair]]
Request = ctl_ha_dt_req[Any]

READ, WRITE = ctl_ha_dt_cmd
BOTH = Rights.READ | Rights.WRITE
NONE, CTL, ZFS, MAX = ctl_ha_channel
SENT = ctl_ha_event.CTL_HA_EVT_DMA_SENT
RECEIVED = ctl_ha_event.CTL_HA_EVT_DMA_RECEIVED
LOST = ctl_ha_event.CTL_HA_EVT_DISCONNECT
MSG_RECV = ctl_ha_event.CTL_HA_EVT_MSG_RECV
MSG_SENT = ctl_ha_event.CTL_HA_EVT_MSG_SENT
WAIT = ctl_ha_status.CTL_HA_STATUS_WAIT
SUCCESS = ctl_ha_status.CTL_HA_STATUS_SUCCESS
ERROR = ctl_ha_status.CTL_HA_STATUS_ERROR
INVALID = ctl_ha_status.CTL_HA_STATUS_INVALID
DISCONNECT = ctl_ha_status.CTL_HA_STATUS_DISCONNECT
BUSY = ctl_ha_status.CTL_HA_STATUS_BUSY
PIECE = 1000
PIECES = 40


def released_view() -> memoryview:
    view = memoryview(bytearray(8))
    view.release()
    return view


@attrs.define(eq=False)
class Requester:
    """Node a's side: notes callbacks and events in one list, in their order."""

    node: Node
    happened: list[object] = attrs.field(factory=list)
    freed: bool = True
    gate: trio.Event | None = None
    tasks: set[trio.lowlevel.Task] = attrs.field(factory=set)

    async def handle(self, channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        self.happened.append((event, param))

    async def callback(self, request: Request) -> None:
        self.tasks.add(trio.lowlevel.current_task())
        if self.gate is not None:
            await self.gate.wait()
        await trio.lowlevel.checkpoint()
        self.happened.append((request.context, request.ret))
        if self.freed:
            ctl_dt_req_free(request)

    def request(self, **fields: Any) -> Request:
        with self.node.current():
            request = ctl_dt_req_alloc()
        for name, value in {"callback": self.callback, "context": "done", **fields}.items():
            setattr(request, name, value)
        return request

    def start(self, request: Request, **fields: Any) -> ctl_ha_status:
        for name, value in fields.items():
            setattr(request, name, value)
        with self.node.current():
            return ctl_dt_single(request)

    def free(self, request: Request) -> None:
        with self.node.current():
            ctl_dt_req_free(request)


@asynccontextmanager
async def memory_of_b(
    open_any: OpenPair, size: int = PIECES * PIECE, rights: Rights = BOTH
) -> AsyncIterator[tuple[MemoryPair, Requester, bytearray, RemoteBuffer]]:
    """Node a with a handler on CTL, and memory of node b's that it may reach."""
    async with open_any() as pair:
        requester = Requester(pair.nodes["a"])
        with requester.node.current():
            assert ctl_ha_msg_create(CTL, requester.handle) is SUCCESS
        memory = bytearray(bytes(range(250)) * (size // 250 + 1))[:size]
        region = pair.nodes["b"].register_region(memory, rights)
        yield pair, requester, memory, region.remote


async def test_a_push_of_40_pieces_on_one_request(clock: Clock, open_any: OpenPair) -> None:
    async with memory_of_b(open_any) as (pair, a, memory, remote):
        source = bytes(7 * number % 251 for number in range(PIECES * PIECE))
        request = a.request(callback=None, command=WRITE)
        with assert_no_checkpoints():
            for number in range(PIECES):
                start = number * PIECE
                local = source[start : start + PIECE]
                if number == PIECES - 1:
                    request.callback = a.callback
                assert a.start(request, local=local, size=PIECE, remote=remote.at(start)) is WAIT
                request.local, request.size, request.remote = b"", 0, None
        assert request.ret is WAIT
        await pair.wait_until(lambda: len(a.happened) == 2)
        assert memory == source
        assert a.happened == [("done", SUCCESS), (SENT, SUCCESS)]
        assert trio.lowlevel.current_task() not in a.tasks


async def test_a_pull_of_40_pieces_on_one_request(clock: Clock, open_any: OpenPair) -> None:
    async with memory_of_b(open_any) as (pair, a, memory, remote):
        target = bytearray(PIECES * PIECE)
        request = a.request(callback=None, command=READ)
        for number in range(PIECES):
            start = number * PIECE
            if number == PIECES - 1:
                request.callback = a.callback
            local = memoryview(target)[start : start + PIECE]
            assert a.start(request, local=local, size=PIECE, remote=remote.at(start)) is WAIT
        await pair.wait_until(lambda: len(a.happened) == 2)
        assert target == memory
        assert a.happened == [("done", SUCCESS), (RECEIVED, SUCCESS)]


async def test_a_key_cut_out_of_a_message_and_memory_that_is_closed_in_the_callback(
    clock: Clock, open_any: OpenPair
) -> None:
    async with memory_of_b(open_any) as (pair, a, memory, remote):
        union = bytearray(512)
        union[100:116] = remote.key
        cut_out = RemoteBuffer(memoryview(union)[100:116])
        union[:] = bytes(512)
        local = bytearray(30_000)
        ended = trio.Event()

        async def callback(request: Request) -> None:
            local.append(1)  # BufferError if anybody still held it
            ctl_dt_req_free(request)
            ended.set()

        request = a.request(command=WRITE, local=local, size=30_000, remote=cut_out, callback=callback)
        assert a.start(request) is WAIT
        await ended.wait()
        assert memory[:30_000] == bytes(30_000)
        assert pair.nodes["a"].handler_errors == []


async def test_the_first_error_is_sticky_and_the_last_callback_reports_it(clock: Clock, open_any: OpenPair) -> None:
    async with memory_of_b(open_any) as (pair, a, memory, remote):
        before = bytes(memory)
        request = a.request(callback=None, command=WRITE, local=b"x" * PIECE, size=PIECE)
        for number in range(PIECES):
            place = RemoteBuffer(bytes(16)) if number == 3 else remote.at(number * PIECE)
            callback = a.callback if number == PIECES - 1 else None
            assert a.start(request, remote=place, callback=callback) is WAIT
        await pair.wait_until(lambda: len(a.happened) == 2)
        assert a.happened == [("done", ERROR), (SENT, ERROR)]
        assert memory[3 * PIECE : 4 * PIECE] == before[3 * PIECE : 4 * PIECE]
        assert memory.count(b"x" * PIECE) == PIECES - 1
        assert pair.nodes["a"].status().link == "online"


async def test_a_later_error_does_not_hide_the_first(clock: Clock, open_any: OpenPair) -> None:
    async with memory_of_b(open_any) as (pair, a, _, remote):
        request = a.request(callback=None, command=WRITE, local=b"x", size=1)
        assert a.start(request, remote=RemoteBuffer(bytes(16))) is WAIT
        await pair.wait_until(lambda: a.node.transfers.in_flight == 0)
        assert a.start(request, remote=remote) is WAIT
        assert a.start(request, callback=a.callback) is WAIT
        pair.break_link()
        await pair.wait_until(lambda: (LOST, 0) in a.happened)
        assert a.happened == [("done", ERROR), (SENT, ERROR), (LOST, 0)]


async def test_an_error_ends_with_its_callback(clock: Clock, open_any: OpenPair) -> None:
    async with memory_of_b(open_any) as (pair, a, _, remote):
        a.freed = False
        request = a.request(command=WRITE, local=b"x" * 8, size=8)
        assert a.start(request, remote=RemoteBuffer(bytes(16))) is WAIT
        assert a.start(request, remote=remote) is WAIT
        await pair.wait_until(lambda: len(a.happened) == 4)
        assert [each for each in a.happened if each[0] == "done"] == [("done", ERROR), ("done", SUCCESS)]  # type: ignore[index]
        a.free(request)


@pytest.mark.parametrize("rights", [Rights.READ, Rights.WRITE])
async def test_what_the_owner_does_not_allow_is_an_error(clock: Clock, open_any: OpenPair, rights: Rights) -> None:
    async with memory_of_b(open_any, size=PIECE, rights=rights) as (pair, a, memory, remote):
        before = bytes(memory)
        local = bytearray(PIECE)
        for command, place in ((READ, remote), (WRITE, remote), (READ, remote.at(1)), (WRITE, remote.at(1))):
            assert a.start(a.request(context=command), command=command, local=local, size=PIECE, remote=place) is WAIT
        await pair.wait_until(lambda: len(a.happened) == 8)
        allowed, denied = (READ, WRITE) if rights is Rights.READ else (WRITE, READ)
        outcomes = [each for each in a.happened if not isinstance(each[0], ctl_ha_event)]  # type: ignore[index]
        assert sorted(outcomes) == sorted(  # type: ignore[type-var]
            [(allowed, SUCCESS), (denied, ERROR), (READ, ERROR), (WRITE, ERROR)]
        )
        assert memory == (before if rights is Rights.READ else bytes(PIECE))


async def test_a_dead_key_is_an_error(clock: Clock, open_any: OpenPair) -> None:
    async with memory_of_b(open_any) as (pair, a, _, _):
        region = pair.nodes["b"].register_region(bytearray(8), BOTH)
        region.close()
        for command in (READ, WRITE):
            a.start(a.request(), command=command, local=bytearray(8), size=8, remote=region.remote)
        await pair.wait_until(lambda: len(a.happened) == 4)
        assert a.happened.count(("done", ERROR)) == 2


async def test_the_session_kills_what_is_in_flight_and_disconnect_comes_after_it(
    clock: Clock, open_any: OpenPair
) -> None:
    async with memory_of_b(open_any) as (pair, a, memory, remote):
        a.gate = trio.Event()
        before = bytes(memory)
        for command in (WRITE, READ) * 10:
            local = bytearray(PIECE)
            assert a.start(a.request(), command=command, local=local, size=PIECE, remote=remote) is WAIT
        pair.break_link()
        while pair.nodes["a"]._link.session is not None:
            await trio.lowlevel.checkpoint()
        assert a.happened == []
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        assert a.happened == []
        a.gate.set()
        await pair.wait_until(lambda: (LOST, 0) in a.happened)
        assert a.happened.count(("done", DISCONNECT)) == 20
        assert a.happened.count((SENT, DISCONNECT)) == a.happened.count((RECEIVED, DISCONNECT)) == 10
        assert a.happened[-1] == (LOST, 0)
        assert a.happened.count((LOST, 0)) == 1
        assert memory == before
        with pytest.raises(InvalidError):
            a.free(ctl_ha_dt_req())


@pytest.mark.parametrize("loss", ["crash", "goodbye"])
async def test_a_peer_that_goes_ends_each_transfer_once(clock: Clock, open_any: OpenPair, loss: str) -> None:
    async with memory_of_b(open_any, size=4_000_000) as (pair, a, memory, remote):
        source = b"x" * 1_000_000
        for number in range(4):
            place = remote.at(1_000_000 * number)
            assert a.start(a.request(command=WRITE, local=source, size=1_000_000, remote=place)) is WAIT
        if loss == "crash":
            pair.crash("b")
        else:
            pair.nodes["b"].stop("test")
        await pair.wait_until(lambda: (LOST, 0) in a.happened)
        ends = [each for each in a.happened if each[0] == "done"]  # type: ignore[index]
        assert len(ends) == 4
        assert set(ends) <= {("done", SUCCESS), ("done", DISCONNECT)}
        placed = ends.count(("done", SUCCESS))
        assert ends[:placed] == [("done", SUCCESS)] * placed
        assert memory[: placed * 1_000_000] == source * placed
        assert a.happened[-1] == (LOST, 0)
        assert a.start(a.request(), command=WRITE, local=b"x", size=1, remote=remote) is DISCONNECT


async def test_a_request_in_flight_cannot_be_freed_nor_one_twice(clock: Clock, open_any: OpenPair) -> None:
    async with memory_of_b(open_any) as (pair, a, _, remote):
        a.freed = False
        a.gate = trio.Event()
        request = a.request(command=WRITE, local=b"x", size=1, remote=remote)
        assert a.start(request) is WAIT
        with pytest.raises(InvalidError):
            a.free(request)
        await pair.wait_until(lambda: bool(a.tasks))
        a.gate.set()
        await pair.wait_until(lambda: len(a.happened) == 2)
        a.free(request)
        with pytest.raises(InvalidError):
            a.free(request)
        assert a.start(request) is INVALID
        assert len(a.happened) == 2


async def test_a_callback_that_has_not_begun_keeps_its_request(clock: Clock, open_any: OpenPair) -> None:
    async with memory_of_b(open_any) as (pair, a, _, remote):
        a.gate = trio.Event()
        first, second = (a.request(command=WRITE, local=b"x", size=1, remote=remote) for _ in range(2))
        assert a.start(first) is a.start(second) is WAIT
        await pair.wait_until(lambda: pair.nodes["a"].transfers.callbacks(CTL).waiting == 1)
        with pytest.raises(InvalidError):
            a.free(second)
        a.gate.set()
        await pair.wait_until(lambda: len(a.happened) == 4)


async def test_a_request_without_callback_may_be_freed_when_its_pieces_have_ended(
    clock: Clock, open_any: OpenPair
) -> None:
    async with memory_of_b(open_any) as (pair, a, memory, remote):
        request = a.request(callback=None, command=WRITE, local=b"xy", size=2, remote=remote)
        assert a.start(request) is WAIT
        await pair.wait_until(lambda: memory[:2] == b"xy")

        def is_freed() -> bool:
            try:
                a.free(request)
            except InvalidError:
                return False
            return True

        await pair.wait_until(is_freed)
        assert a.happened == []


async def test_busy_beyond_what_may_be_in_flight(clock: Clock, open_any: OpenPair) -> None:
    async with memory_of_b(open_any) as (pair, a, _, remote):
        fields = {"command": WRITE, "local": b"x", "size": 1, "remote": remote}
        for _ in range(TRANSFERS_IN_FLIGHT_MAX):
            assert a.start(a.request(**fields)) is WAIT
        refused = a.request(**fields)
        assert a.start(refused) is BUSY
        await pair.wait_until(lambda: len(a.happened) == 2 * TRANSFERS_IN_FLIGHT_MAX)
        assert a.happened.count(("done", SUCCESS)) == TRANSFERS_IN_FLIGHT_MAX
        assert a.start(refused) is WAIT
        await pair.wait_until(lambda: len(a.happened) == 2 * TRANSFERS_IN_FLIGHT_MAX + 2)


async def test_one_consumer_s_many_transfers_leave_the_others_their_places(clock: Clock, open_any: OpenPair) -> None:
    async with memory_of_b(open_any) as (pair, a, memory, remote):
        fields = {"command": WRITE, "local": b"x", "size": 1, "remote": remote.at(7)}
        for _ in range(TRANSFERS_IN_FLIGHT_MAX):
            assert a.start(a.request(**fields)) is WAIT
        others = [a.start(a.request(**fields, id=ctl_ha_dtid.CTL_HA_DATA_ZFS)) for _ in range(TRANSFERS_IN_FLIGHT_MAX)]
        assert others == [WAIT] * TRANSFERS_IN_FLIGHT_MAX
        natives = [a.node.push_nowait(remote, b"y") for _ in range(TRANSFERS_IN_FLIGHT_MAX)]
        with pytest.raises(BusyError):
            a.node.push_nowait(remote, b"y")
        with pytest.raises(BusyError):
            a.node.pull_nowait(remote, bytearray(1))
        assert a.start(a.request(**fields)) is BUSY
        for native in natives:
            await native.wait()
        await pair.wait_until(lambda: a.happened.count(("done", SUCCESS)) == 2 * TRANSFERS_IN_FLIGHT_MAX)
        assert memory[:1] + memory[7:8] == b"yx"


@pytest.mark.parametrize("stuck", ["callback", "handler"])
async def test_busy_when_a_stuck_consumer_lets_what_has_ended_pile_up(
    clock: Clock, open_any: OpenPair, stuck: str
) -> None:
    async with memory_of_b(open_any) as (pair, a, _, remote):
        go_on = trio.Event()
        told = 0

        async def handle(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
            nonlocal told
            await go_on.wait()
            told += 1

        if stuck == "callback":
            a.gate = go_on
        else:
            a.node.channel(CTL).set_handler(handle)
        started = 0
        with trio.fail_after(20):
            while started < 4 * TRANSFERS_IN_FLIGHT_MAX:
                command = (WRITE, READ)[started % 2]
                fields = {"command": command, "local": bytearray(1), "size": 1, "remote": remote}
                request = a.request(**fields)
                if a.start(request) is BUSY:
                    a.free(request)
                    await pair.wait_until(lambda: pair.nodes["a"].transfers.in_flight == 0)
                    request = a.request(**fields)
                    if a.start(request) is BUSY:
                        a.free(request)
                        break
                started += 1
        assert TRANSFERS_IN_FLIGHT_MAX <= started < 3 * TRANSFERS_IN_FLIGHT_MAX
        go_on.set()
        await pair.wait_until(lambda: a.happened.count(("done", SUCCESS)) == started)
        if stuck == "handler":
            await pair.wait_until(lambda: told == started)
        assert a.start(a.request(), command=WRITE, local=b"x", size=1, remote=remote) is WAIT


@pytest.mark.parametrize(
    "fields",
    [
        {"size": 0},
        {"size": -1},
        {"size": 9},
        {"local": b""},
        {"local": b"read-only"},
        {"local": memoryview(bytearray(16))[::2]},
        {"local": released_view()},
        {"remote": None},
        {"remote": RemoteBuffer(b"short")},
        {"remote": RemoteBuffer(bytes(16), -1)},
        {"remote": RemoteBuffer(bytes(16), 1 << 63)},
        {"id": ctl_ha_dtid.CTL_HA_DATA_MAX},
    ],
)
async def test_values_that_cannot_be_are_invalid(clock: Clock, open_any: OpenPair, fields: dict[str, Any]) -> None:
    async with memory_of_b(open_any) as (_, a, _, remote):
        request = a.request(command=READ, local=bytearray(8), size=8, remote=remote)
        with assert_no_checkpoints():
            assert a.start(request, **fields) is INVALID
        a.free(request)
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        assert a.happened == []


@pytest.mark.parametrize(
    "fields",
    [
        {"command": 1},
        {"id": 0},
        {"size": 8.0},
        {"size": None},
        {"local": "text"},
        {"local": [1]},
        {"remote": b"x" * 16},
        {"callback": "callback"},
    ],
)
async def test_wrong_types_are_type_errors(clock: Clock, open_any: OpenPair, fields: dict[str, Any]) -> None:
    async with memory_of_b(open_any) as (_, a, _, remote):
        request = a.request(command=READ, local=bytearray(8), size=8, remote=remote)
        with pytest.raises(TypeError):
            a.start(request, **fields)
        a.free(request)
        with a.node.current(), pytest.raises(TypeError):
            ctl_dt_single("request")  # type: ignore[arg-type]
        with a.node.current(), pytest.raises(TypeError):
            ctl_dt_req_free(None)  # type: ignore[arg-type]


async def test_requests_are_bounded_and_of_their_node(clock: Clock, open_any: OpenPair) -> None:
    async with memory_of_b(open_any) as (pair, a, _, remote):
        requests = [a.request() for _ in range(REQUESTS_MAX)]
        with pytest.raises(BusyError):
            a.request()
        a.free(requests.pop())
        a.request()
        other = Requester(pair.nodes["b"])
        foreign = requests[0]
        assert other.start(foreign, command=WRITE, local=b"x", size=1, remote=remote) is INVALID
        with pytest.raises(InvalidError):
            other.free(foreign)


async def test_a_callback_may_start_the_next_piece(clock: Clock, open_any: OpenPair) -> None:
    async with memory_of_b(open_any) as (pair, a, memory, remote):
        request = a.request(command=WRITE, local=b"z", size=1)
        rounds: list[ctl_ha_status] = []

        async def again(request: Request) -> None:
            rounds.append(request.ret)
            if len(rounds) == 5:
                ctl_dt_req_free(request)
            else:
                request.remote = remote.at(len(rounds))
                assert ctl_dt_single(request) is WAIT

        assert a.start(request, callback=again, remote=remote) is WAIT
        await pair.wait_until(lambda: a.happened == [(SENT, SUCCESS)] * 5)
        assert rounds == [SUCCESS] * 5
        assert memory[:5] == b"zzzzz"


async def test_data_ids_have_their_own_handlers_and_callbacks(clock: Clock, open_any: OpenPair) -> None:
    async with memory_of_b(open_any) as (pair, a, _, remote):
        zfs: list[tuple[ctl_ha_channel, ctl_ha_event, int]] = []

        async def handle(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
            zfs.append((channel, event, param))

        with a.node.current():
            assert ctl_ha_msg_create(ZFS, handle) is SUCCESS
        gate = trio.Event()

        async def stuck(request: Request) -> None:
            await gate.wait()

        fields = {"command": WRITE, "local": b"x", "size": 1, "remote": remote}
        a.start(a.request(**{**fields, "callback": stuck}))
        a.start(a.request(**fields, id=ctl_ha_dtid.CTL_HA_DATA_ZFS))
        await pair.wait_until(lambda: bool(zfs))
        assert zfs == [(ZFS, SENT, SUCCESS)]
        assert a.happened == [("done", SUCCESS)]
        gate.set()


async def test_a_callback_that_raises_closes_the_channel_of_its_data(clock: Clock, open_any: OpenPair) -> None:
    async with memory_of_b(open_any) as (pair, a, _, remote):

        async def raises(request: Request) -> None:
            raise LookupError(request.context)

        fields = {"command": WRITE, "local": b"x", "size": 1, "remote": remote}
        a.start(a.request(**{**fields, "callback": raises, "context": "bad"}))
        a.start(a.request(**fields))
        await pair.wait_until(lambda: a.happened == [("done", SUCCESS)])
        with a.node.current():
            assert await ctl_ha_msg_send(CTL, bytes(512), 512, 0) is INVALID
        assert "handler-failed" in a.node.status().reasons
        await pair.stop("a")
        assert "bad" in repr(pair.failures["a"])


async def test_a_callback_that_raises_ends_the_run_of_equal_events_that_the_handler_is_at(
    clock: Clock, open_any: OpenPair
) -> None:
    async with memory_of_b(open_any) as (pair, a, _, remote):
        heard: list[ctl_ha_event] = []
        gate = trio.Event()

        async def note(_: ctl_ha_channel, event: ctl_ha_event, __: int) -> None:
            heard.append(event)
            await gate.wait()

        async def raises(request: Request) -> None:
            raise LookupError(request.context)

        with pair.nodes["b"].current():
            assert ctl_ha_msg_create(CTL, note) is SUCCESS
        with a.node.current():
            ctl_ha_register_evthandler(CTL, note)
            for _ in range(3):
                while await ctl_ha_msg_send(CTL, bytes(512), 512, 0) is not WAIT:
                    pass
        await pair.wait_until(lambda: MSG_SENT in heard)
        a.start(a.request(command=WRITE, local=b"x", size=1, remote=remote, callback=raises, context="bad"))
        await pair.wait_until(lambda: "handler-failed" in a.node.status().reasons)
        gate.set()
        await pair.stop("a")
        assert heard.count(MSG_SENT) == 1
        assert "LookupError('bad')" in repr(pair.failures["a"])
        assert "IndexError" not in repr(pair.failures["a"])


async def test_every_status_and_event_but_the_sentinels_is_reached(clock: Clock, open_any: OpenPair) -> None:
    statuses: set[int] = set()
    events: set[int] = set()
    async with memory_of_b(open_any) as (pair, a, _, remote):
        b = pair.nodes["b"]

        async def note(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
            events.add(event)
            if event in {MSG_SENT, SENT, RECEIVED}:
                statuses.add(param)
            if event is MSG_RECV:
                statuses.add(await ctl_ha_msg_recv(channel, bytearray(param), param, 0))

        async def callback(request: Request) -> None:
            statuses.add(request.ret)

        with a.node.current():
            assert await ctl_ha_msg_send(CTL, bytes(512), 512, 0) is BUSY
            statuses.add(BUSY)
            statuses.add(ctl_ha_msg_create(CTL, note))
        a.node.channel(CTL).set_handler(note)
        with b.current():
            assert ctl_ha_msg_create(CTL, note) is SUCCESS
        for sender in (a.node, b):
            with sender.current():
                while (status := await ctl_ha_msg_send(CTL, bytes(512), 512, 0)) is not WAIT:
                    statuses.add(status)
                statuses.add(status)
        local = bytearray(8)
        for command, place in ((READ, remote), (WRITE, remote), (WRITE, RemoteBuffer(bytes(16)))):
            request = a.request(callback=callback)
            statuses.add(a.start(request, command=command, local=local, size=8, remote=place))
        await pair.wait_until(lambda: ERROR in statuses and {MSG_RECV, MSG_SENT, SENT, RECEIVED} <= events)
        pair.crash("b")
        await pair.wait_until(lambda: LOST in events)
        with a.node.current():
            statuses.add(await ctl_ha_msg_send(CTL, bytes(512), 512, 1))
    assert statuses == set(ctl_ha_status) - {ctl_ha_status.CTL_HA_STATUS_MAX}
    assert events == set(ctl_ha_event) - {ctl_ha_event.CTL_HA_EVT_NONE, ctl_ha_event.CTL_HA_EVT_MAX}
