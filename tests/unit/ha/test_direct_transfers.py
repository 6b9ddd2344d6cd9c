"""Transfers of a node that are taken back or come too late, and keys that are for little."""

import pytest
import trio
import trio.testing

from ctlha_trio import FailedError, InvalidError, Rights
from ctlha_trio.ctl_ha import CTL_HA_STATUS_ERROR, CTL_HA_STATUS_SUCCESS
from ctlha_trio.ha._direct_transfers import PendingTransfer
from ctlha_trio.testing import open_pair

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
        with pytest.raises(InvalidError):
            b.register_region(bytearray(4), uses=0)
        with pytest.raises(InvalidError):
            b.register_region(bytearray(4), lifetime_s=0.0)
