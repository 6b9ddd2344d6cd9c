"""Which node the header's functions mean: the right one or a clear error, never the other one's."""

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from ctlha_trio import InvalidError, Node, open_node
from ctlha_trio.ctl_ha import (
    ctl_dt_req_alloc,
    ctl_dt_req_free,
    ctl_dt_single,
    ctl_evt_handler,
    ctl_ha_channel,
    ctl_ha_comp_status,
    ctl_ha_component,
    ctl_ha_dt_cmd,
    ctl_ha_dt_req,
    ctl_ha_event,
    ctl_ha_msg_create,
    ctl_ha_msg_recv,
    ctl_ha_msg_send,
    ctl_ha_register_evthandler,
    ctl_ha_state,
    ctl_ha_status,
)
from ctlha_trio.dma import Rights
from ctlha_trio.ha import current_node
from ctlha_trio.seams import Seams, TrioClock
from ctlha_trio.testing import MemoryPair, open_pair

CTL, ZFS = ctl_ha_channel.CTL_HA_CHAN_CTL, ctl_ha_channel.CTL_HA_CHAN_ZFS
SUCCESS = ctl_ha_status.CTL_HA_STATUS_SUCCESS
INVALID = ctl_ha_status.CTL_HA_STATUS_INVALID
OK = ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK


async def ignore(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
    pass


def whose() -> str:
    return current_node().config.node


async def call_each() -> list[str]:
    """The names of the functions that found no node."""
    refused = []
    request: ctl_ha_dt_req[None] = ctl_ha_dt_req()
    calls: dict[str, Callable[[], object]] = {
        "create": functools.partial(ctl_ha_msg_create, CTL, ignore),
        "register": functools.partial(ctl_ha_register_evthandler, CTL, ignore),
        "alloc": ctl_dt_req_alloc,
        "free": functools.partial(ctl_dt_req_free, request),
        "single": functools.partial(ctl_dt_single, request),
    }
    for name, call in calls.items():
        try:
            call()
        except RuntimeError:
            refused.append(name)
        except InvalidError:
            pass  # it has found a node, which knows nothing of this request
    try:
        await ctl_ha_msg_send(CTL, b"", 0, 0)
    except RuntimeError:
        refused.append("send")
    try:
        await ctl_ha_msg_recv(CTL, bytearray(), 0, 0)
    except RuntimeError:
        refused.append("recv")
    return refused


@asynccontextmanager
async def open_only_a(clock: MockClock) -> AsyncIterator[Node]:
    """Node a alone, and no virtual time that runs off while a thread works."""
    clock.autojump_threshold = float("inf")
    async with open_pair(start=False) as pair:
        seams = Seams(
            clock=TrioClock(),
            entropy=pair.random.randbytes,
            disk=pair.disks["a"],
            transport=pair.network.transport("a"),
            arbiter=pair.arbiters["a"],
        )
        async with open_node(pair.config("a"), seams) as node:
            yield node
            clock.autojump_threshold = 0


ALL = ["create", "register", "alloc", "free", "single", "send", "recv"]


async def test_opening_a_node_sets_nothing(autojump_clock: MockClock) -> None:
    async with open_pair():
        assert await call_each() == ALL
    assert await call_each() == ALL


async def test_two_nodes_in_one_task(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        a, b = pair.nodes["a"], pair.nodes["b"]
        with a.current():
            assert whose() == "a"
            with b.current():
                assert whose() == "b"
                assert ctl_ha_msg_create(CTL, ignore) is SUCCESS
            assert whose() == "a"
            assert ctl_ha_msg_create(CTL, ignore) is SUCCESS
            assert ctl_ha_msg_create(CTL, ignore) is INVALID
        assert await call_each() == ALL


async def test_an_error_in_the_block_restores_the_one_before(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        with pair.nodes["a"].current():
            with pytest.raises(LookupError), pair.nodes["b"].current():
                raise LookupError
            assert whose() == "a"


async def test_tasks_that_a_task_of_the_other_node_starts(autojump_clock: MockClock) -> None:
    """A node opened by a task of the other's: its handlers, callbacks and components are its own all the same."""
    seen: dict[str, list[str]] = {}

    def note(what: str) -> None:
        seen.setdefault(what, []).append(whose())

    def components(node: Node) -> list[ctl_ha_component]:
        note(f"factory of {node.config.node}")

        async def hook(component: ctl_ha_component) -> ctl_ha_comp_status:
            note(f"hook of {node.config.node}")
            return OK

        async def start(component: ctl_ha_component, state: ctl_ha_state) -> ctl_ha_comp_status:
            note(f"start of {node.config.node}")
            return OK

        return [ctl_ha_component("mine", init=hook, start=start, quiesce=hook)]

    def handler_of(name: str) -> ctl_evt_handler:
        async def handler(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
            note(f"handler of {name}")

        return handler

    async with open_pair(components=components, start=False) as pair:
        a = await pair.start("a")
        with a.current():
            b = await pair.start("b")
            await pair.wait_protected()
            for node in (a, b):  # the other's handlers and callbacks are made while node a is current
                node.open_channel(CTL, handler_of(node.config.node))
            note("task of a")
        for sender, receiver in ((a, b), (b, a)):
            with receiver.current():
                await sender.channel(CTL).send(bytes(512))
            region = receiver.register_region(bytearray(8), Rights.WRITE)

            async def callback(request: ctl_ha_dt_req[str]) -> None:
                note(f"callback of {request.context}")

            with sender.current():
                request = ctl_dt_req_alloc()
                request.command, request.local, request.size = ctl_ha_dt_cmd.CTL_HA_DT_CMD_WRITE, b"12345678", 8
                request.remote, request.callback, request.context = region.remote, callback, sender.config.node
            with receiver.current():
                sender.transfers.start(request)
        await pair.wait_until(lambda: {"callback of a", "callback of b", "handler of a", "handler of b"} <= set(seen))
        await pair.stop("a")
        await pair.stop("b")
    assert {what.rpartition(" of ")[2] for what in seen} == {"a", "b"}
    assert {what: set(names) for what, names in seen.items()} == {what: {what[-1]} for what in seen}
    assert {f"{what} of {name}" for what in ("factory", "hook", "start") for name in "ab"} <= set(seen)


async def test_a_worker_thread_has_no_node(autojump_clock: MockClock) -> None:
    def in_thread() -> str:
        with pytest.raises(RuntimeError, match="threads"):
            ctl_dt_req_alloc()
        return trio.from_thread.run_sync(whose)

    async with open_only_a(autojump_clock) as node:
        with node.current():
            assert await trio.to_thread.run_sync(in_thread) == "a"


async def test_another_run_of_trio_has_no_node(autojump_clock: MockClock) -> None:
    def in_thread() -> list[str]:
        with pytest.raises(RuntimeError, match="another run"):
            trio.run(message_of_refusal)
        return trio.run(call_each)

    async def message_of_refusal() -> None:
        current_node()

    async with open_only_a(autojump_clock) as node:
        with node.current():
            assert await trio.to_thread.run_sync(in_thread) == ALL
            assert whose() == "a"


def test_a_node_leaked_out_of_its_run_is_refused() -> None:
    leaked: list[Node] = []

    async def run() -> None:
        async with open_pair() as pair:
            leaked.append(pair.nodes["a"])

    trio.run(run, clock=MockClock(autojump_threshold=0))
    with leaked[0].current():
        with pytest.raises(RuntimeError):
            ctl_dt_req_alloc()
        assert trio.run(call_each) == ALL


@pytest.mark.parametrize("end", ["stop", "crash"])
async def test_a_node_that_has_ended_is_refused(autojump_clock: MockClock, end: str) -> None:
    async with open_pair() as pair:
        a = pair.nodes["a"]
        with a.current():
            assert whose() == "a"
            if end == "stop":
                await pair.stop("a")
            else:
                pair.crash("a")
                await pair.wait_until(lambda: not pair.is_up("a"))
            with pytest.raises(RuntimeError, match="a has ended"):
                ctl_dt_req_alloc()
            assert await call_each() == [name for name in ALL if name != "free"]
            with pair.nodes["b"].current():
                assert whose() == "b"


async def test_a_request_is_freed_once_after_the_end_of_its_node_too(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        with pair.nodes["a"].current():
            request = ctl_dt_req_alloc()
            pair.crash("a")
            await pair.wait_until(lambda: not pair.is_up("a"))
            ctl_dt_req_free(request)
            with pytest.raises(InvalidError):
                ctl_dt_req_free(request)


async def test_the_next_incarnation_is_another_node(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        old = pair.nodes["a"]
        pair.crash("a")
        new = await pair.restart("a")
        with old.current(), pytest.raises(RuntimeError):
            whose()
        with new.current():
            assert current_node() is new


@pytest.fixture
async def started(autojump_clock: MockClock) -> AsyncIterator[MemoryPair]:
    async with open_pair() as pair:
        yield pair


@pytest.fixture
def entered_by_a_fixture(started: MemoryPair) -> Iterator[Node]:
    with started.nodes["b"].current():
        yield started.nodes["b"]


async def test_a_pair_from_a_fixture_sets_nothing(autojump_clock: MockClock, started: MemoryPair) -> None:
    assert await call_each() == ALL
    with started.nodes["b"].current():
        assert whose() == "b"


async def test_a_fixture_may_set_it(autojump_clock: MockClock, started: MemoryPair, entered_by_a_fixture: Node) -> None:
    assert current_node() is entered_by_a_fixture
    with started.nodes["a"].current():
        assert whose() == "a"
