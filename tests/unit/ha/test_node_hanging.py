"""Whole nodes beside an arbiter or on a disk that neither answers nor fails."""

from collections.abc import Sequence

import attrs
import pytest
import trio
from trio.testing import MockClock

from ctlha_trio.arbiter import MemoryArbiter
from ctlha_trio.ha._disk_watch import DISK_STALL_S
from ctlha_trio.pair import Record
from ctlha_trio.seams import Buffer, Disk, DiskFile, Seams, SwapAnswer, Versioned
from ctlha_trio.testing import MemoryPair, open_pair
from ctlha_trio.testing._drivers.clock import NodeClock


class HangingArbiter(MemoryArbiter):
    """An arbiter whose reads, or whose swaps, do not return while they hang."""

    hanging_reads = False
    hanging_swaps = False
    hung = 0

    async def read(self) -> Versioned:
        if self.hanging_reads:
            self.hung += 1
            await trio.sleep_forever()
        return await super().read()

    async def cas(self, expected_revision: int, record: Record) -> SwapAnswer:
        if self.hanging_swaps:
            self.hung += 1
            await trio.sleep_forever()
        return await super().cas(expected_revision, record)


def hanging_client(arbiter: MemoryArbiter) -> HangingArbiter:
    """A client of the same record."""
    client = HangingArbiter.__new__(HangingArbiter)
    client.__attrs_init__(arbiter._cell)
    return client


async def test_an_arbiter_that_hangs_is_not_called_online(autojump_clock: MockClock) -> None:
    async with open_pair(start=False) as pair:
        pair.arbiters["b"] = arbiter = hanging_client(pair.arbiter)
        for name in ("a", "b"):
            await pair.start(name)
        await pair.wait_protected()
        arbiter.hanging_reads = True
        await trio.sleep(6.0)
        status = pair.nodes["b"].status()
        assert (status.verdict, status.reasons, status.arbiter) == ("degraded", ("arbiter-silent",), "unknown")
        assert pair.nodes["a"].status().verdict == "protected"


async def test_a_hanging_read_does_not_keep_the_swap_from_being_made(autojump_clock: MockClock) -> None:
    async with open_pair(start=False) as pair:
        pair.arbiters["b"] = arbiter = hanging_client(pair.arbiter)
        for name in ("a", "b"):
            await pair.start(name)
        await pair.wait_protected()
        await pair.nodes["a"].volume.write(0, b"kept")
        arbiter.hanging_reads = True
        await trio.sleep(30.0)
        assert 3 <= arbiter.hung <= 10, "one call at a time, each with its limit"
        pair.crash("a")
        arbiter.hanging_reads = False
        b = await pair.wait_alone("b")
        assert await b.volume.read(0, 4) == b"kept"


async def test_a_swap_that_hangs_is_unknown_and_nobody_acknowledges(autojump_clock: MockClock) -> None:
    async with open_pair(start=False) as pair:
        pair.arbiters["b"] = arbiter = hanging_client(pair.arbiter)
        for name in ("a", "b"):
            await pair.start(name)
        await pair.wait_protected()
        arbiter.hanging_swaps = True
        pair.crash("a")
        await trio.sleep(10.0)
        b = pair.nodes["b"]
        assert b.status().verdict == "at-risk"
        assert b.status().role == "secondary"
        arbiter.hanging_swaps = False
        await pair.wait_alone("b")


@attrs.define(eq=False)
class HangingDisk:
    """A disk whose flushes, or whose reads, do not return while they hang."""

    disk: Disk
    reads_hang: bool = attrs.field(default=False, init=False)
    answering: trio.Event = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.hang()
        self.answering.set()

    def hang(self) -> None:
        self.answering = trio.Event()

    async def open(self, path: str) -> DiskFile:
        await self.answering.wait()
        return HangingFile(self, await self.disk.open(path))


@attrs.frozen(eq=False)
class HangingFile:
    owner: HangingDisk
    file: DiskFile

    @property
    def size_bytes(self) -> int:
        return self.file.size_bytes

    async def pread(self, offset: int, size: int) -> bytes:
        if self.owner.reads_hang:
            await trio.sleep_forever()
        return await self.file.pread(offset, size)

    async def pread_all(self, places: Sequence[tuple[int, int]]) -> list[bytes]:
        return [await self.pread(offset, size) for offset, size in places]

    async def pwrite(self, extents: Sequence[tuple[int, Buffer]]) -> None:
        await self.file.pwrite(extents)

    async def flush(self) -> None:
        await self.owner.answering.wait()
        await self.file.flush()

    async def write_through(self, extents: Sequence[tuple[int, Buffer]]) -> None:
        await self.pwrite(extents)
        await self.flush()

    def close(self) -> None:
        self.file.close()


@pytest.fixture
def disks(monkeypatch: pytest.MonkeyPatch) -> dict[str, HangingDisk]:
    """Those that the nodes of a pair are given, by node."""
    given: dict[str, HangingDisk] = {}
    seams = MemoryPair.seams

    def hanging_seams(pair: MemoryPair, name: str) -> Seams:
        usual = seams(pair, name)
        given[name] = HangingDisk(usual.disk)
        return attrs.evolve(usual, disk=given[name])

    monkeypatch.setattr(MemoryPair, "seams", hanging_seams)
    return given


async def test_a_disk_that_hangs_is_a_disk_that_failed(
    autojump_clock: MockClock, disks: dict[str, HangingDisk]
) -> None:
    """With a live session and no goodbye the primary would wait for the secondary's flush for ever."""
    async with open_pair() as pair:
        a, b = pair.nodes["a"], pair.nodes["b"]
        disks["b"].hang()
        began_s = trio.current_time()
        with trio.fail_after(30):
            await a.volume.write(0, b"kept")
        assert 5.0 <= trio.current_time() - began_s < 7.0
        assert (b.status().verdict, b.status().reasons) == ("stopped", ("store-failed",))
        assert pair.record.members == ("a",)


async def test_a_node_does_not_go_on_alone_by_a_disk_of_which_a_read_hangs(
    autojump_clock: MockClock, disks: dict[str, HangingDisk]
) -> None:
    """It would be the only one that counts when the disk is found to have failed, and nobody would serve."""
    async with open_pair() as pair:
        await pair.nodes["a"].volume.write(0, b"kept")
        disks["a"].reads_hang = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.nodes["a"].volume.read, 0, 4)
            await trio.testing.wait_all_tasks_blocked()
            pair.partition()
            b = await pair.wait_alone("b")
            assert await b.volume.read(0, 4) == b"kept"
            nursery.cancel_scope.cancel()


async def test_a_disk_that_hangs_while_a_node_starts_is_named(
    autojump_clock: MockClock,
    disks: dict[str, HangingDisk],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(HangingDisk, "__attrs_post_init__", HangingDisk.hang)
    async with open_pair(start=False) as pair:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.start, "a")
            await trio.sleep(DISK_STALL_S - 1)
            assert not caplog.records
            await trio.sleep(2)
            assert "the disk has not answered for 5 s" in caplog.text
            disks["a"].answering.set()
        await pair.wait_alone("a")


async def test_a_machine_that_stood_still_in_a_disk_call_believes_its_disk(
    autojump_clock: MockClock, disks: dict[str, HangingDisk], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the time that passed without it is no time in which the disk did not answer."""
    clocks: dict[str, NodeClock] = {}
    seams = MemoryPair.seams

    def clocked_seams(pair: MemoryPair, name: str) -> Seams:
        clocks[name] = NodeClock(0.0)
        return attrs.evolve(seams(pair, name), clock=clocks[name])

    monkeypatch.setattr(MemoryPair, "seams", clocked_seams)
    async with open_pair(start=False) as pair:
        a = await pair.start("a")
        await pair.wait_alone("a")
        disks["a"].hang()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.volume.write, 0, b"kept")
            await trio.sleep(2.0)
            clocks["a"].jump(100.0)
            await trio.sleep(2.0)
            disks["a"].answering.set()
        assert a.status().verdict == "degraded"
        assert await a.volume.read(0, 4) == b"kept"
