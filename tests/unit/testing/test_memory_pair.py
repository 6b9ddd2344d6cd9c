"""The pair in one process: that its faults are those of the world, and that it notices what a test must not miss."""

import traceback
from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from ctlha_trio._errors import (
    ArbiterError,
    ComponentError,
    CtlHaError,
    DisconnectError,
    FailedError,
    InvalidError,
    NotPrimaryError,
    RoleStaysError,
    UnknownOutcomeError,
)
from ctlha_trio._vocabulary import (
    ctl_ha_channel,
    ctl_ha_comp_status,
    ctl_ha_component,
    ctl_ha_event,
    ctl_ha_state,
)
from ctlha_trio.ha import Node
from ctlha_trio.pair import SwapOutcome
from ctlha_trio.seams import Stream
from ctlha_trio.store import BLOCK_BYTES as STORE_BLOCK_BYTES
from ctlha_trio.testing import CallKind, Components, Kept, Loss, MemoryPair, Moment, open_pair


async def test_pair_starts_protected_with_equal_copies(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 16) as pair:
        assert sorted(pair.nodes) == ["a", "b"]
        assert pair.record.members == ("a", "b")
        await pair.nodes["a"].volume.write(0, b"both")
        assert pair.durable_copy("a") == pair.durable_copy("b") == pair.copy("a") == b"both".ljust(1 << 16, b"\0")
        assert pair.durable_metadata("b").epoch == pair.record.epoch


async def test_crash_loses_what_was_not_flushed(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 16) as pair:
        disk = pair.disks["b"]
        await pair.nodes["a"].volume.write(0, bytes(STORE_BLOCK_BYTES))
        disk.cut_at(len(disk.calls) + 2, Moment.BEFORE)
        await pair.nodes["a"].volume.write(0, b"data".ljust(STORE_BLOCK_BYTES))
        assert disk.calls[-1].kind is CallKind.FLUSH
        assert pair.copy("b")[:4] == b"data"
        assert pair.durable_copy("b")[:4] == bytes(4)
        assert not pair.is_up("b")
        await pair.restart("b")
        assert pair.copy("b")[:4] == bytes(4)
        await pair.wait_protected()
        assert pair.copy("b")[:4] == b"data"
        assert not pair.failures


async def test_a_dead_node_says_nothing_even_when_its_power_is_back(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 16) as pair:
        listener = await pair.transport("b").listen("elsewhere")
        heard, dead = bytearray(), trio.Event()

        async def listen(stream: Stream) -> None:
            buffer = memoryview(bytearray(100))
            while count := await stream.receive_into(buffer):
                heard.extend(buffer[:count])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.serve, listen)
            stream = await pair.transport("a").dial("elsewhere")

            async def say() -> None:
                await stream.send_all(b"alive, ")
                await dead.wait()
                await stream.send_all(b"and dead")
                stream.close()

            nursery.start_soon(say)
            await trio.testing.wait_all_tasks_blocked()
            pair.crash("a", silently=True)
            dead.set()
            await pair.restart("a")
            await pair.wait_protected()
            nursery.cancel_scope.cancel()
        assert heard == b"alive, "


@pytest.mark.parametrize("silently", [False, True])
async def test_whoever_holds_a_node_that_has_crashed_is_told_so(autojump_clock: MockClock, silently: bool) -> None:
    told: dict[str, Exception] = {}

    async def note(what: str, ask: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(CtlHaError) as caught:
            await ask()
        told[what] = caught.value

    async with open_pair(size_bytes=1 << 16) as pair:
        node = pair.nodes["a"]
        pair.partition()
        with trio.fail_after(600):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(note, "write under way", lambda: node.volume.write(0, b"x"))
                nursery.start_soon(note, "read under way", lambda: node.volume.read(0, 1))
                await trio.testing.wait_all_tasks_blocked()
                pair.crash("a", silently=silently)
            pair.heal()
            await pair.restart("a")
            await pair.wait_protected()
            await note("write", lambda: node.volume.write(0, b"y"))
            await note("read", lambda: node.volume.read(0, 1))
            await note("flush", node.volume.flush)
            await note("switchover", node.switchover)
    assert (node.status().verdict, node.status().role) == ("stopped", "none")
    assert {what: type(error) for what, error in told.items()} == {
        "write under way": UnknownOutcomeError,
        "read under way": NotPrimaryError,
        "write": NotPrimaryError,
        "read": NotPrimaryError,
        "flush": NotPrimaryError,
        "switchover": RoleStaysError,
    }


async def test_what_a_dead_node_had_open_is_of_no_use(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 16) as pair:
        node, disk = pair.nodes["a"], pair.disks["a"]
        channel = node.open_channel(ctl_ha_channel.CTL_HA_CHAN_CTL)
        region = node.register_region(bytearray(8))
        pair.nodes["b"].open_channel(ctl_ha_channel.CTL_HA_CHAN_CTL)
        pair.crash("a")
        await pair.wait_alone("b")
        for _ in ("down", "up again"):
            with pytest.raises(DisconnectError):
                await channel.send(bytes(channel.message_size_bytes))
            with pytest.raises(DisconnectError):
                await node.push(region.remote, b"x")
            if "a" not in pair.nodes:
                await pair.restart("a")
        assert pair.nodes["a"] is not node
        assert pair.disks["a"] is not disk


async def test_what_a_test_holds_is_described_in_a_line(autojump_clock: MockClock) -> None:
    """A failed assertion describes what stands in it."""
    async with open_pair(size_bytes=1 << 16) as pair:
        for held in (pair, pair.nodes, pair.nodes["a"], pair.nodes["a"].volume, pair.disks["a"]):
            assert len(repr(held)) < 200


async def test_power_that_fails_while_a_node_starts(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 16, start=False) as pair:
        pair.disks["a"].cut_at(1, Moment.BEFORE)
        with pytest.raises(FailedError, match="the power of node a failed"):
            await pair.start("a")
        assert not pair.is_up("a")
        await pair.restart("a")
        with pytest.raises(InvalidError):
            await pair.start("a")


async def test_a_crashed_node_is_restarted_and_not_started(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 16) as pair:
        pair.crash("a")
        for _ in ("still ending", "down"):
            with pytest.raises(InvalidError, match=r"node a has no power: await restart\('a'\) instead"):
                await pair.start("a")
            await trio.sleep(1.0)
        await pair.restart("a")


async def test_a_node_is_started_once_at_a_time(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 16) as pair:
        refused: list[str] = []

        async def again(how: Callable[[str], Awaitable[Node]]) -> None:
            with pytest.raises(InvalidError) as caught:
                await how("a")
            refused.append(str(caught.value))

        pair.crash("a")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.restart, "a")
            await trio.testing.wait_all_tasks_blocked(0.0)
            nursery.start_soon(again, pair.restart)
        assert refused == ["node a is being started already"]
        await again(pair.restart)
        await again(pair.start)
        assert set(refused[1:]) == {"node a runs, or is still ending: crash it, or await stop('a'), first"}
        await pair.wait_protected()


async def test_a_restart_keeps_what_this_disk_may_have_kept_and_nothing_else(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 16) as pair:
        elsewhere = Loss("of another crash", (Kept(99, 0, 1),))
        pair.crash("b")
        with pytest.raises(InvalidError, match=r"take one of disks\['b'\].outcomes\(\) after the crash"):
            await pair.restart("b", elsewhere)
        await pair.restart("b", pair.disks["b"].outcomes()[-1])
        await pair.wait_protected()
        await pair.stop("b")
        with pytest.raises(InvalidError, match="node b was not crashed, so its disk has lost nothing"):
            await pair.restart("b", elsewhere)
        await pair.restart("b")
        await pair.wait_protected()


async def test_a_node_that_is_down_is_told_as_that(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 16) as pair:
        pair.crash("a")
        with pytest.raises(DisconnectError, match="node a is down"):
            pair.nodes["a"].status()
        assert pair.nodes.get("a") is None


async def test_whoever_asks_for_no_node_is_told_so(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 16) as pair:
        asked: list[Callable[[], object]] = [
            lambda: pair.nodes["c"],
            lambda: pair.copy("c"),
            lambda: pair.durable_copy("c"),
            lambda: pair.durable_metadata("c"),
            lambda: pair.is_up("c"),
            lambda: pair.config("c"),
            lambda: pair.seams("c"),
        ]
        for ask in asked:
            with pytest.raises(InvalidError, match="no node 'c'"):
                ask()
        with pytest.raises(InvalidError, match="no node 'c'"):
            await pair.ask("c", read_role)


async def test_question_to_a_node_that_goes_down_is_not_answered(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 16) as pair:

        async def never(_: Node) -> None:
            await trio.sleep_forever()

        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(DisconnectError, match="node a is down"):
                    await pair.ask("a", never)

            nursery.start_soon(ask)
            await trio.sleep(1.0)
            pair.crash("a")
        with pytest.raises(DisconnectError):
            await pair.ask("a", never)
        assert await pair.ask("b", read_role) == "secondary"


async def read_role(node: Node) -> str:
    await trio.lowlevel.checkpoint()
    return node.status().role


async def test_silent_crash_is_noticed_later_than_a_broken_connection(autojump_clock: MockClock) -> None:
    took_s: list[float] = []
    for silently in (False, True):
        async with open_pair(size_bytes=1 << 16) as pair:
            began = trio.current_time()
            pair.crash("a", silently=silently)
            await pair.wait_alone("b")
            took_s.append(trio.current_time() - began)
    assert took_s[0] < 0.3
    assert took_s[1] > 0.8


async def test_waiting_for_what_never_comes_ends(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 16) as pair:
        with pytest.raises(trio.TooSlowError, match="protected"):
            await pair.wait_until(lambda: False)


def failing(name: str) -> Components:
    """A component that fails when it is started on that node."""

    async def answer(component: ctl_ha_component) -> ctl_ha_comp_status:
        return ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK

    async def start(component: ctl_ha_component, _: ctl_ha_state) -> ctl_ha_comp_status:
        raise ValueError("planted")

    def components(node: Node) -> list[ctl_ha_component]:
        return [ctl_ha_component("bad", init=answer, start=start, quiesce=answer)] if node.config.node == name else []

    return components


async def test_failed_node_is_not_waited_for(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 16, start=False, components=failing("b")) as pair:
        for name in ("a", "b"):
            await pair.start(name)
        with pytest.raises(FailedError, match="planted"):
            await pair.wait_protected()


@pytest.mark.parametrize("wait", [MemoryPair.wait_serving, MemoryPair.wait_alone])
async def test_who_waits_for_a_node_sees_why_it_failed(
    wait: Callable[[MemoryPair, str], Awaitable[Node]], autojump_clock: MockClock
) -> None:
    async with open_pair(size_bytes=1 << 16, start=False, components=failing("b")) as pair:
        for name in ("a", "b"):
            await pair.start(name)
        with pytest.raises(FailedError, match=r"node b failed.*planted") as caught:
            await wait(pair, "b")
        assert isinstance(caught.value.__cause__, ComponentError)
        cause = caught.value.__cause__.__cause__
        assert isinstance(cause, ValueError)
        assert traceback.extract_tb(cause.__traceback__)[-1].name == "start", "the line that raised"


async def test_what_does_not_come_true_is_told_with_why_a_node_failed(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 16, start=False, components=failing("b")) as pair:
        for name in ("a", "b"):
            await pair.start(name)
        await pair.wait_until(lambda: "b" not in pair.nodes)
        with pytest.raises(trio.TooSlowError, match="b has failed") as caught:
            await pair.wait_until(lambda: "b" in pair.nodes)
        assert isinstance(caught.value.__cause__, ComponentError)
        assert list(pair.failures) == ["b"]


async def test_what_does_not_come_true_is_told_with_what_a_component_raised(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 16, start=False, components=failing("a")) as pair:
        await pair.start("a")
        said = "a is primary, degraded: peer-lost, component-raised; b is down"
        with pytest.raises(trio.TooSlowError, match=said) as caught:
            await pair.wait_until(lambda: "b" in pair.nodes)
        assert isinstance(caught.value.__cause__, ComponentError)
        assert list(pair.failures) == ["a"]


async def test_the_survivor_is_waited_for_although_the_other_one_failed(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 16, start=False, components=failing("b")) as pair:
        for name in ("a", "b"):
            await pair.start(name)
        await pair.wait_alone("a")
        assert list(pair.failures) == ["b"]


async def test_what_a_handler_raised_is_raised_at_the_end_unless_looked_at(autojump_clock: MockClock) -> None:
    async def handler(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        raise ValueError("in the handler")

    async def fail_in_b(*, looked_at: bool) -> None:
        async with open_pair(size_bytes=1 << 16) as pair:
            one, other = (
                pair.nodes[name].open_channel(ctl_ha_channel.CTL_HA_CHAN_CTL, handler if name == "b" else None)
                for name in ("a", "b")
            )
            await one.send(bytes(other.message_size_bytes))
            await pair.wait_until(lambda: bool(pair.nodes["b"].handler_errors))
            if looked_at:
                assert list(pair.failures) == ["b"]

    with pytest.raises(FailedError, match="in the handler"):
        await fail_in_b(looked_at=False)
    await fail_in_b(looked_at=True)


async def test_slow_disk_takes_its_time(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 16, disk_call_s={"a": 0.01, "b": 0.02}) as pair:
        await pair.nodes["a"].volume.write(0, bytes(STORE_BLOCK_BYTES))
        began = trio.current_time()
        await pair.nodes["a"].volume.write(0, b"x" * STORE_BLOCK_BYTES)
        # The secondary's write and flush, the primary's meanwhile.
        assert trio.current_time() - began == pytest.approx(0.04)


async def test_a_crashed_node_is_no_node_any_more_at_once(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 16) as pair:
        pair.crash("a")
        assert "a" not in pair.nodes
        began = trio.current_time()
        await pair.wait_alone("b")
        assert trio.current_time() > began, "it has to be noticed first"
        new = await pair.restart("a")
        await pair.wait_protected()
        assert pair.nodes["a"] is new


async def test_a_node_that_failed_once_is_waited_for_when_it_runs_again(autojump_clock: MockClock) -> None:
    async def answer(component: ctl_ha_component) -> ctl_ha_comp_status:
        return ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK

    async def start(component: ctl_ha_component, _: ctl_ha_state) -> ctl_ha_comp_status:
        if fails:
            raise ValueError("boom")
        return ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK

    def components(node: Node) -> list[ctl_ha_component]:
        return [ctl_ha_component("moody", init=answer, start=start, quiesce=answer)] if node.config.node == "b" else []

    fails = True
    async with open_pair(size_bytes=1 << 16, start=False, components=components) as pair:
        for name in ("a", "b"):
            await pair.start(name)
        with pytest.raises(FailedError, match="boom"):
            await pair.wait_protected()
        assert list(pair.failures) == ["b"]
        fails = False
        await pair.restart("b")
        await pair.wait_protected()
        assert list(pair.failures) == ["b"], "what happened is not forgotten"


async def test_what_cannot_be_asked_of_a_pair_is_refused_at_once(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 16) as pair:
        for wrong in (pair.restart("a"), pair.start("a"), pair.start("c"), pair.stop("c"), pair.wait_serving("c")):
            with pytest.raises(InvalidError, match=r"node a runs|no node 'c'"):
                await wrong
        with pytest.raises(InvalidError, match="no node 'c'"):
            pair.crash("c")
        await pair.stop("b")
        with pytest.raises(InvalidError, match="b is down"):
            await pair.stop("b")
        await pair.restart("b")
        await pair.wait_protected()
    for late in (pair.wait_protected(), pair.start("a")):
        with pytest.raises(InvalidError, match="its block has ended"):
            await late


async def test_a_dead_nodes_clean_up_does_not_reach_the_arbiter(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 16) as pair:
        seams, before = pair.seams("a"), await pair.arbiter.read()
        pair.crash("a")
        answer = await seams.arbiter.cas(before.revision, attrs.evolve(before.record, primary="b"))
        assert answer.outcome is SwapOutcome.REFUSED
        with pytest.raises(ArbiterError):
            await seams.arbiter.read()
        assert seams.arbiter.identity == pair.arbiter.identity
        assert pair.record == before.record
