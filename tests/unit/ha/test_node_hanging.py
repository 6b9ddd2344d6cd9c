"""Whole nodes beside an arbiter or on a disk that neither answers nor fails."""

from collections.abc import Hashable, Sequence
from contextlib import suppress

import attrs
import pytest
import trio
from trio.testing import MockClock

from ctlha_trio._errors import NotPrimaryError, StoreError, UnknownOutcomeError
from ctlha_trio.arbiter import MemoryArbiter
from ctlha_trio.ha import Node
from ctlha_trio.ha._disk_watch import DISK_STALL_S
from ctlha_trio.pair import Copy, Record, SwapOutcome
from ctlha_trio.seams import Buffer, Disk, DiskFile, Seams, SwapAnswer, Versioned
from ctlha_trio.testing import MemoryPair, open_pair
from ctlha_trio.testing._drivers.clock import NodeClock


class HangingArbiter(MemoryArbiter):
    """An arbiter whose reads, or whose swaps, or whose proofs, do not return while they hang."""

    hanging_reads = False
    hanging_swaps = False
    proofs_end: trio.Event | None = None
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

    async def probe(self) -> bool:
        if self.proofs_end is not None:
            self.hung += 1
            with trio.CancelScope(shield=True):  # as in a thread
                await self.proofs_end.wait()
        return await super().probe()


def hanging_client(arbiter: MemoryArbiter) -> HangingArbiter:
    """A client of the same record."""
    client = HangingArbiter.__new__(HangingArbiter)
    client.__attrs_init__(arbiter._cell)
    return client


async def alone_with_an_arbiter_that_may_hang(pair: MemoryPair, name: str, *, lost: str) -> tuple[Node, HangingArbiter]:
    """Start both nodes, and crash the other one once they are protected."""
    pair.arbiters[name] = arbiter = hanging_client(pair.arbiter)
    for each in ("a", "b"):
        await pair.start(each)
    await pair.wait_protected()
    pair.crash(lost)
    return await pair.wait_alone(name), arbiter


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


async def test_two_that_find_each_other_again_go_on_without_an_arbiter_that_hangs(autojump_clock: MockClock) -> None:
    """Neither has asked it for a change, of which nobody would know whether it comes."""
    async with open_pair(start=False) as pair:
        arbiters = [hanging_client(pair.arbiter) for _ in range(2)]
        for name, arbiter in zip(("a", "b"), arbiters, strict=True):
            pair.arbiters[name] = arbiter
            await pair.start(name)
        await pair.wait_protected()
        for arbiter in arbiters:
            arbiter.hanging_reads = arbiter.hanging_swaps = True
        await pair.wait_until(lambda: all(node.status().arbiter == "unknown" for node in pair.nodes.values()))
        pair.partition()
        await trio.sleep(5.0)
        for node in pair.nodes.values():
            assert (node.status().verdict, node.status().reasons) == (
                "at-risk",
                ("arbiter-silent", "peer-lost", "claiming"),
            )
        pair.heal()
        with trio.fail_after(5.0):
            await pair.nodes["a"].volume.write(0, b"served")
        assert pair.record.members == ("a", "b")


async def test_a_copy_that_is_ready_waits_for_an_arbiter_that_hangs_and_no_client_does(
    autojump_clock: MockClock,
) -> None:
    """Without an answer nobody changes the set: the only member serves on, as it did before the other one was back."""
    async with open_pair(start=False) as pair:
        b, arbiter = await alone_with_an_arbiter_that_may_hang(pair, "b", lost="a")
        arbiter.hanging_reads = arbiter.hanging_swaps = True
        await pair.wait_until(lambda: b.status().arbiter == "unknown")
        await pair.restart("a")
        await pair.wait_until(lambda: b.pair.resync is not None and b.pair.resync.cursor == b.pair.size_bytes)
        for _ in range(20):
            with trio.fail_after(0.5):
                await b.volume.write(0, b"served")
            await trio.sleep(0.5)
        assert (b.status().verdict, b.status().reasons) == ("degraded", ("arbiter-silent", "resyncing"))
        arbiter.hanging_reads = arbiter.hanging_swaps = False
        await pair.wait_protected()


async def test_a_proof_that_hangs_is_one_that_failed_and_hides_no_record(autojump_clock: MockClock) -> None:
    """The record was read before it: a node that it does not name must not serve on for want of the proof."""
    async with open_pair(start=False) as pair:
        a, arbiter = await alone_with_an_arbiter_that_may_hang(pair, "a", lost="b")
        arbiter.takes_swaps = False
        await pair.restart("b")
        await pair.wait_until(lambda: a.pair.arbiter_refuses)
        arbiter.proofs_end = proofs_end = trio.Event()
        try:
            pair.crash("b")
            await trio.sleep(30.0)
            assert arbiter.hung > 0
            assert (a.status().verdict, a.status().reasons) == ("degraded", ("arbiter-refuses", "peer-lost"))
            forced = pair.record.succeed(primary="b", members=("b",), proposal="forced")
            assert (await pair.arbiter.cas(a.pair.revision, forced)).outcome is SwapOutcome.WON
            await pair.wait_until(lambda: a.status().role == "outdated")
            with pytest.raises(NotPrimaryError):
                await a.volume.read(0, 4)
        finally:
            proofs_end.set()


@attrs.define(eq=False)
class HangingDisk:
    """A disk whose flushes, or whose reads, do not return while they hang."""

    disk: Disk
    reads_hang: bool = attrs.field(default=False, init=False)
    fails: bool = attrs.field(default=False, init=False)
    """Flushes that hang fail in the end."""
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

    @property
    def identity(self) -> Hashable:
        return self.file.identity

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
        if self.owner.fails:
            raise StoreError("a flush failed")
        await self.file.flush()

    async def write_through(self, extents: Sequence[tuple[int, Buffer]]) -> None:
        await self.pwrite(extents)
        await self.flush()

    async def actual_bytes(self) -> int:
        return await self.file.actual_bytes()

    async def stray_name(self) -> str | None:
        return await self.file.stray_name()

    def unlock(self) -> None:
        self.file.unlock()

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


async def test_the_other_node_goes_on_while_a_disk_hangs(
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
        assert pair.record.members == ("a",)
        await trio.sleep(30.0)
        status = b.status()
        assert (status.verdict, status.reasons[0]) == ("at-risk", "disk-hangs")
        assert (a.status().verdict, a.status().reasons) == ("degraded", ("peer-lost",))
        disks["b"].answering.set()
        await pair.wait_protected()
        assert pair.durable_metadata("b").copy is Copy.MEMBER
        assert pair.durable_copy("a") == pair.durable_copy("b")
        assert not b.status().reasons


async def test_a_primary_whose_disk_hangs_gives_the_role_away_and_returns(
    autojump_clock: MockClock, disks: dict[str, HangingDisk]
) -> None:
    async with open_pair() as pair:
        a, b = pair.nodes["a"], pair.nodes["b"]
        disks["a"].hang()
        with trio.fail_after(30):
            with pytest.raises(UnknownOutcomeError):
                await a.volume.write(0, b"lost")
            await b.volume.write(0, b"kept")
        await trio.sleep(30.0)
        disks["a"].answering.set()
        await pair.wait_protected()
        assert pair.record.primary == "b"
        assert await a.volume.read(0, 4) == b"kept"
        assert pair.durable_copy("a") == pair.durable_copy("b")


async def test_both_disks_hang_and_answer(autojump_clock: MockClock, disks: dict[str, HangingDisk]) -> None:
    """A stall of what both disks have in common is no failure of either copy: the pair serves again by itself."""
    async with open_pair() as pair:
        await pair.nodes["a"].volume.write(0, b"kept")
        for name in ("a", "b"):
            disks[name].hang()
        ended = trio.Event()

        async def write() -> None:
            with suppress(UnknownOutcomeError):
                await pair.nodes["a"].volume.write(8192, b"doubtful")
            ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await trio.sleep(20.0)
            for name in ("a", "b"):
                status = pair.nodes[name].status()
                assert (status.verdict, status.reasons[0]) == ("at-risk", "disk-hangs")
            assert not ended.is_set()
            assert pair.record.members == ("a", "b")
            for name in ("a", "b"):
                disks[name].answering.set()
            await pair.wait_protected()
        primary = pair.nodes[pair.record.primary]
        await primary.volume.write(4096, b"more")
        assert await primary.volume.read(0, 4) == b"kept"
        assert pair.durable_copy("a") == pair.durable_copy("b")


async def test_the_only_member_waits_for_its_disk_and_serves_again(
    autojump_clock: MockClock, disks: dict[str, HangingDisk]
) -> None:
    async with open_pair() as pair:
        pair.crash("b")
        a = await pair.wait_alone("a")
        disks["a"].hang()
        done = trio.Event()

        async def write() -> None:
            await a.volume.write(0, b"kept")
            done.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await trio.sleep(60.0)
            assert (a.status().verdict, a.status().reasons) == ("at-risk", ("disk-hangs", "peer-lost"))
            assert not done.is_set(), "nothing is acknowledged that is not durable"
            await pair.restart("b")
            await trio.sleep(10.0)
            assert pair.nodes["b"].status().reasons == ("outdated", "peer-lost")
            disks["a"].answering.set()
            await done.wait()
        await pair.wait_protected()
        assert await a.volume.read(0, 4) == b"kept"


async def test_a_call_that_hung_and_then_failed_is_the_death_of_the_copy(
    autojump_clock: MockClock, disks: dict[str, HangingDisk]
) -> None:
    async with open_pair() as pair:
        a, b = pair.nodes["a"], pair.nodes["b"]
        disks["b"].hang()
        await a.volume.write(0, b"kept")
        disks["b"].fails = True
        disks["b"].answering.set()
        await pair.wait_until(lambda: b.status().verdict == "stopped")
        assert b.status().reasons == ("store-failed",)
        disks["b"].fails = False
        await pair.wait_until(lambda: pair.durable_metadata("b").copy is Copy.FAILED)
        assert a.status().verdict == "degraded"


async def test_a_disk_hangs_as_long_as_any_call_that_hung_does(
    autojump_clock: MockClock, disks: dict[str, HangingDisk]
) -> None:
    """One call that ends is no sign that another one will."""
    async with open_pair() as pair:
        a, b = pair.nodes["a"], pair.nodes["b"]
        await a.volume.write(0, b"kept")
        disks["b"].hang()

        async def read() -> None:
            with suppress(NotPrimaryError):
                await b.volume.read(0, 4)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.volume.write, 4096, b"more")
            await trio.sleep(3.0)
            disks["b"].reads_hang = True
            nursery.start_soon(read)
            await trio.sleep(9.0)
            assert b.status().reasons[0] == "disk-hangs"
            disks["b"].answering.set()
            await trio.sleep(5.0)
            assert b.status().reasons[0] == "disk-hangs"
            nursery.cancel_scope.cancel()


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
    autojump_clock: MockClock,
    disks: dict[str, HangingDisk],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
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
        assert "a disk call has been running" not in caplog.text
        assert await a.volume.read(0, 4) == b"kept"
