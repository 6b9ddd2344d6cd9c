"""Transfers of a node that are taken back or come too late, and keys that are for little."""

import math
from typing import Any

import pytest
import trio
import trio.testing

from ctlha_trio import DisconnectError, FailedError, InvalidError, RemoteBuffer, Rights
from ctlha_trio.ctl_ha import CTL_HA_STATUS_ERROR, CTL_HA_STATUS_SUCCESS
from ctlha_trio.ha._direct_transfers import PendingTransfer
from ctlha_trio.link import TRANSFERS_IN_FLIGHT_MAX
from ctlha_trio.testing import MemoryPair, open_pair

SIZE = 8 << 20


async def test_a_transfer_can_be_taken_back(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        a, b = pair.nodes["a"], pair.nodes["b"]
        memory, into = bytearray(SIZE), bytearray(SIZE)
        region = b.register_region(memory, Rights.READ | Rights.WRITE)
        push, pull = a.push_nowait(region.remote, b"x" * SIZE), a.pull_nowait(region.remote, into)
        assert (push.left_bytes, pull.left_bytes) == (SIZE, SIZE)
        pull.cancel()
        push.cancel()
        for pending in (push, pull):
            with pytest.raises(FailedError, match="cancelled"):
                await pending.wait()
            assert (pending.status, pending.left_bytes) == (CTL_HA_STATUS_ERROR, SIZE)
            pending.cancel()
        await a.push(region.remote, b"next")
        assert memory[:5] == b"next\0"
        assert into == bytes(SIZE)


@pytest.mark.parametrize("kind", ["push", "pull"])
async def test_a_transfer_may_have_so_much_time(autojump_clock: trio.testing.MockClock, kind: str) -> None:
    async with open_pair() as pair:
        a, b = pair.nodes["a"], pair.nodes["b"]
        region = b.register_region(bytearray(4), Rights.READ | Rights.WRITE)

        def start(timeout_s: float) -> PendingTransfer:
            if kind == "push":
                return a.push_nowait(region.remote, b"data", timeout_s=timeout_s)
            return a.pull_nowait(region.remote, bytearray(4), timeout_s=timeout_s)

        await trio.sleep(60)  # what it may have begins with it, not with the process
        late, in_time = start(0.0), start(5.0)
        with pytest.raises(FailedError, match="deadline"):
            await late.wait()
        await in_time.wait()
        assert in_time.status is CTL_HA_STATUS_SUCCESS


async def test_a_transfer_goes_to_a_remote_buffer_and_nowhere_else(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        a: Any = pair.nodes["a"]
        for nowhere in ("x", b"x" * 16, None):
            with pytest.raises(TypeError, match="RemoteBuffer"):
                a.push_nowait(nowhere, b"data")
            with pytest.raises(TypeError, match="RemoteBuffer"):
                a.pull_nowait(nowhere, bytearray(4))


@pytest.mark.parametrize("timeout_s", [math.nan, -math.inf, -1.0])
async def test_a_transfer_has_no_time_that_cannot_be(autojump_clock: trio.testing.MockClock, timeout_s: float) -> None:
    async with open_pair() as pair:
        a, b = pair.nodes["a"], pair.nodes["b"]
        remote = b.register_region(bytearray(4), Rights.READ | Rights.WRITE).remote
        with pytest.raises(InvalidError):
            a.push_nowait(remote, b"data", timeout_s=timeout_s)
        with pytest.raises(InvalidError):
            a.pull_nowait(remote, bytearray(4), timeout_s=timeout_s)
        await trio.sleep(1)
        await a.push(remote, b"data")


async def test_what_may_take_for_ever_has_no_deadline(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        a, b = pair.nodes["a"], pair.nodes["b"]
        region = b.register_region(bytearray(4), lifetime_s=math.inf)
        await trio.sleep(5)
        await a.push_nowait(region.remote, b"data", timeout_s=math.inf).wait()
        assert region.alive


async def test_a_key_may_be_for_one_transfer_and_for_so_long(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        a, b = pair.nodes["a"], pair.nodes["b"]
        once = b.register_region(bytearray(4), uses=1)
        await a.push(once.remote, b"data")
        with pytest.raises(FailedError, match="used-key"):
            await a.push(once.remote, b"more")
        await trio.sleep(60)
        brief = b.register_region(bytearray(4), lifetime_s=0.5)
        await a.push(brief.remote, b"data")
        await trio.sleep(1)
        with pytest.raises(FailedError, match="overdue-key"):
            await a.push(brief.remote, b"more")


@pytest.mark.parametrize("uses", [0, -1, 1.5, 1.0, math.nan, True])
async def test_a_key_is_for_a_whole_number_of_transfers(autojump_clock: trio.testing.MockClock, uses: Any) -> None:
    async with open_pair() as pair:
        with pytest.raises(InvalidError):
            pair.nodes["b"].register_region(bytearray(4), uses=uses)


@pytest.mark.parametrize("lifetime_s", [0.0, -1.0, math.nan, -math.inf])
async def test_a_key_has_some_time_to_live(autojump_clock: trio.testing.MockClock, lifetime_s: float) -> None:
    async with open_pair() as pair:
        a, b = pair.nodes["a"], pair.nodes["b"]
        with pytest.raises(InvalidError):
            b.register_region(bytearray(4), lifetime_s=lifetime_s)
        await trio.sleep(1)
        await a.push(b.register_region(bytearray(4)).remote, b"data")


async def fill(pair: MemoryPair, kind: str, remote: RemoteBuffer) -> None:
    """Node a has all the transfers that it may: their time is over, and they hold their places until the answer."""
    a = pair.nodes["a"]
    pair.partition()
    started = [
        a.push_nowait(remote, b"x", timeout_s=0.1)
        if kind == "push"
        else a.pull_nowait(remote, bytearray(1), timeout_s=0.1)
        for _ in range(TRANSFERS_IN_FLIGHT_MAX)
    ]
    for pending in started:
        with pytest.raises(FailedError, match="deadline"):
            await pending.wait()


async def transfer(pair: MemoryPair, kind: str, remote: RemoteBuffer) -> None:
    await (pair.nodes["a"].push(remote, b"y") if kind == "push" else pair.nodes["a"].pull(remote, bytearray(1)))


@pytest.mark.parametrize("kind", ["push", "pull"])
async def test_who_waits_for_room_has_it_once_what_was_given_up_is_answered(
    autojump_clock: trio.testing.MockClock, kind: str
) -> None:
    async with open_pair() as pair:
        region = pair.nodes["b"].register_region(bytearray(8), Rights.READ | Rights.WRITE)
        await fill(pair, kind, region.remote)
        with trio.fail_after(0.5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(transfer, pair, kind, region.remote)
                await trio.testing.wait_all_tasks_blocked()
                pair.heal()
        assert region.alive, "in the same session"


@pytest.mark.parametrize("kind", ["push", "pull"])
async def test_who_waits_for_room_is_told_that_the_session_ended(
    autojump_clock: trio.testing.MockClock, kind: str
) -> None:
    async with open_pair() as pair:
        region = pair.nodes["b"].register_region(bytearray(8), Rights.READ | Rights.WRITE)
        await fill(pair, kind, region.remote)
        with trio.fail_after(2), pytest.raises(DisconnectError):
            await transfer(pair, kind, region.remote)
