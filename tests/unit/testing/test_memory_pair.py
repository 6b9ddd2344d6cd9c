"""The pair in one process: that its faults are those of the world, and that it notices what a test must not miss."""

import pytest
import trio
from trio.testing import MockClock

from ctlha_trio._errors import DisconnectError, FailedError, InvalidError
from ctlha_trio.ha import Node
from ctlha_trio.testing import CallKind, Moment, open_pair


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
        disk.cut_at(len(disk.calls) + 2, Moment.BEFORE)
        await pair.nodes["a"].volume.write(0, b"data")
        assert disk.calls[-1].kind is CallKind.FLUSH
        assert pair.copy("b")[:4] == b"data"
        assert pair.durable_copy("b")[:4] == bytes(4)
        assert not pair.is_up("b")
        await pair.restart("b")
        assert pair.copy("b")[:4] == bytes(4)
        await pair.wait_protected()
        assert pair.copy("b")[:4] == b"data"
        assert not pair.failures


async def test_power_that_fails_while_a_node_starts(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 16, start=False) as pair:
        pair.disks["a"].cut_at(1, Moment.BEFORE)
        with pytest.raises(FailedError, match="the power of node a failed"):
            await pair.start("a")
        assert not pair.is_up("a")
        await pair.restart("a")
        with pytest.raises(InvalidError):
            await pair.start("a")


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


async def test_failed_node_is_not_waited_for(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 16) as pair:
        pair.failures["b"] = ValueError("planted")
        with pytest.raises(FailedError, match="planted"):
            await pair.wait_protected()


async def test_slow_disk_takes_its_time(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 16, disk_call_s={"a": 0.01, "b": 0.02}) as pair:
        began = trio.current_time()
        await pair.nodes["a"].volume.write(0, b"x")
        # The secondary's write and flush, the primary's meanwhile.
        assert trio.current_time() - began == pytest.approx(0.04)
