"""What transfers have moved is told by whose the data is: the pair's own, CTL's, ZFS's, or native. Virtual time."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from ctlha_trio import FailedError, InvalidError, Node, RemoteBuffer, Rights
from ctlha_trio.ctl_ha import (
    CTL_HA_DATA_CTL,
    CTL_HA_DATA_ZFS,
    CTL_HA_DT_CMD_READ,
    CTL_HA_DT_CMD_WRITE,
    CTL_HA_STATUS_WAIT,
    ctl_dt_req_alloc,
    ctl_dt_single,
    ctl_ha_dt_cmd,
    ctl_ha_dt_req,
    ctl_ha_dtid,
)
from ctlha_trio.dma import TransferTotals
from ctlha_trio.door._jsonable import jsonable
from ctlha_trio.ha import TransferStatistics
from ctlha_trio.testing import MemoryPair, open_pair

BOTH = Rights.READ | Rights.WRITE
SIZE = 300_000
"""More than a fragment."""
NOTHING = TransferTotals(
    pushed_bytes_in=0,
    pushed_bytes_out=0,
    pulled_bytes_in=0,
    pulled_bytes_out=0,
    denied_transfers=0,
    failed_transfers=0,
)


def totals_of(node: Node) -> TransferStatistics:
    told = node.status().transfers
    assert told is not None
    return told


def moved(totals: TransferTotals) -> tuple[int, int, int, int]:
    return totals.pushed_bytes_out, totals.pulled_bytes_in, totals.pushed_bytes_in, totals.pulled_bytes_out


async def transfer(node: Node, data_id: ctl_ha_dtid, command: ctl_ha_dt_cmd, remote: RemoteBuffer, size: int) -> None:
    """One through the header's functions, to its callback."""
    done = trio.Event()

    async def callback(_: ctl_ha_dt_req[object]) -> None:
        done.set()

    with node.current():
        req: ctl_ha_dt_req[object] = ctl_dt_req_alloc()
        req.id, req.command, req.remote, req.callback = data_id, command, remote, callback
        req.local, req.size = bytearray(size), size
        assert ctl_dt_single(req) is CTL_HA_STATUS_WAIT
    await done.wait()


async def test_each_kind_of_data_is_counted_by_itself_at_both_nodes(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        a, b = pair.nodes["a"], pair.nodes["b"]
        ctl = b.register_region(bytearray(SIZE), BOTH, data_id=CTL_HA_DATA_CTL).remote
        zfs = b.register_region(bytearray(SIZE), BOTH, data_id=CTL_HA_DATA_ZFS).remote
        native = b.register_region(bytearray(SIZE), BOTH).remote
        await transfer(a, CTL_HA_DATA_CTL, CTL_HA_DT_CMD_WRITE, ctl, SIZE)
        await transfer(a, CTL_HA_DATA_CTL, CTL_HA_DT_CMD_READ, ctl, 100)
        await transfer(a, CTL_HA_DATA_ZFS, CTL_HA_DT_CMD_READ, zfs, SIZE)
        await a.push(native, bytes(7))
        await a.pull(native, bytearray(SIZE))
        here, there = totals_of(a), totals_of(b)
        assert (moved(here.ctl), moved(there.ctl)) == ((SIZE, 100, 0, 0), (0, 0, SIZE, 100))
        assert (moved(here.zfs), moved(there.zfs)) == ((0, SIZE, 0, 0), (0, 0, 0, SIZE))
        assert (moved(here.native), moved(there.native)) == ((7, SIZE, 0, 0), (0, 0, 7, SIZE))
        assert jsonable(a.status())["transfers"]["ctl"]["pushed_bytes_out"] == SIZE  # type: ignore[index]


async def test_all_kinds_together_are_what_the_link_has_moved(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        a, b = pair.nodes["a"], pair.nodes["b"]
        async with trio.open_nursery() as nursery:
            for number in range(40):  # beyond what can be pushed without waiting
                nursery.start_soon(a.volume.write, number * 4096, bytes([number]) * 4096)
                nursery.start_soon(b.volume.write, (100 + number) * 4096, bytes([number]) * 4096)
            for number in range(4):
                nursery.start_soon(a.volume.write, number << 18, bytes(1 << 18))
        await a.push(b.register_region(bytearray(SIZE), data_id=CTL_HA_DATA_ZFS).remote, bytes(SIZE))
        await b.pull(a.register_region(bytearray(SIZE), BOTH).remote, bytearray(SIZE))
        for node in (a, b):
            told, link = totals_of(node), node._link.statistics()
            kinds = [moved(each) for each in (told.pair, told.ctl, told.zfs, told.native)]
            assert tuple(map(sum, zip(*kinds, strict=True))) == (
                link.pushed_bytes_out,
                link.pulled_bytes_in,
                link.pushed_bytes_in,
                link.pulled_bytes_out,
            )
        here, there = totals_of(a).pair, totals_of(b).pair
        assert here.pushed_bytes_out == there.pushed_bytes_in >= 40 * 4096 + (1 << 20)
        assert there.pushed_bytes_out == here.pushed_bytes_in >= 40 * 4096


async def test_what_is_copied_to_a_node_that_was_away_is_the_pairs_own(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        pair.crash("b")
        a = await pair.wait_alone("a")
        await a.volume.write(0, b"x" * (1 << 20))
        before = totals_of(a).pair.pushed_bytes_out
        b = await pair.restart("b")
        await pair.wait_protected()
        assert totals_of(a).pair.pushed_bytes_out - before >= 1 << 20
        assert totals_of(b).pair.pushed_bytes_in >= 1 << 20
        assert [totals_of(b).ctl, totals_of(b).zfs, totals_of(b).native] == [NOTHING] * 3


async def denied(pair: MemoryPair, remote: RemoteBuffer) -> None:
    with pytest.raises(FailedError, match="out-of-range"):
        await pair.nodes["a"].push(remote.at(1), bytes(8))


async def cancelled(pair: MemoryPair, remote: RemoteBuffer) -> None:
    pending = pair.nodes["a"].pull_nowait(remote, bytearray(8))
    pending.cancel()
    with pytest.raises(FailedError, match="cancelled"):
        await pending.wait()


async def late(pair: MemoryPair, remote: RemoteBuffer) -> None:
    pending = pair.nodes["a"].push_nowait(remote, bytes(8), timeout_s=0.0)
    with pytest.raises(FailedError, match="deadline"):
        await pending.wait()


async def lost(pair: MemoryPair, remote: RemoteBuffer) -> None:
    pair.nodes["a"].push_nowait(remote, bytes(8))
    pair.crash("b")
    await pair.wait_alone("a")


@pytest.mark.parametrize(("happen", "counted"), [(denied, (1, 0)), (cancelled, (0, 1)), (late, (0, 1)), (lost, (0, 1))])
async def test_a_transfer_that_did_not_succeed_was_denied_or_failed(
    happen: Callable[[MemoryPair, RemoteBuffer], Awaitable[None]],
    counted: tuple[int, int],
    autojump_clock: MockClock,
) -> None:
    async with open_pair() as pair:
        a, b = pair.nodes["a"], pair.nodes["b"]
        await happen(pair, b.register_region(bytearray(8), BOTH).remote)
        told = totals_of(a)
        assert (told.native.denied_transfers, told.native.failed_transfers) == counted
        assert moved(told.native) == (0, 0, 0, 0)
        assert (told.ctl, told.zfs) == (NOTHING, NOTHING)


async def test_it_is_counted_before_anybody_hears_of_the_end(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        a, b = pair.nodes["a"], pair.nodes["b"]
        remote = b.register_region(bytearray(8), data_id=CTL_HA_DATA_ZFS).remote
        seen: list[int] = []
        with a.current():
            req: ctl_ha_dt_req[object] = ctl_dt_req_alloc()
            req.id, req.command, req.remote = CTL_HA_DATA_ZFS, CTL_HA_DT_CMD_READ, remote
            req.local, req.size = bytearray(8), 8
            done = trio.Event()

            async def callback(_: ctl_ha_dt_req[object]) -> None:
                seen.append(totals_of(a).zfs.denied_transfers)
                done.set()

            req.callback = callback
            assert ctl_dt_single(req) is CTL_HA_STATUS_WAIT
        await done.wait()
        assert seen == [1]


async def test_memory_is_of_a_data_id_or_of_none(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        with pytest.raises(InvalidError, match="7 is no data id"):
            pair.nodes["a"].register_region(bytearray(8), data_id=7)  # type: ignore[arg-type]
