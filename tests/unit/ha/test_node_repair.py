"""Whole nodes whose disks lose blocks: what clients read, what is written anew, what the status says of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
import trio
from trio.testing import MockClock

from ctlha_trio._errors import FailedError, MediumError, NotPrimaryError, StoreError
from ctlha_trio.ha import Node, VerificationStatus
from ctlha_trio.ha._disk_work import DiskWork
from ctlha_trio.ha._local_reads import LocalReads
from ctlha_trio.ha._medium import REPAIRED_MAX
from ctlha_trio.ha._peer_reads import PeerReads
from ctlha_trio.pair import Phase, actions, events
from ctlha_trio.pair._resync_retry import LOST_RETRY_S
from ctlha_trio.pair.messages import RepairData
from ctlha_trio.store import BLOCK_BYTES, DIRTY_BYTES, Layout
from ctlha_trio.testing import CallKind, MemoryPair, Moment, open_pair

VOLUME = "volume"
SIZE_BYTES = 1 << 20
CONTENT = bytes(range(1, 129)) * (SIZE_BYTES // 128)
FAR = 2 * SIZE_BYTES - BLOCK_BYTES
"""The last block of a volume of twice the size."""
LARGE_BYTES = 64 << 20
"""Of a volume that takes a while to copy."""


async def filled(pair: MemoryPair) -> None:
    await pair.nodes["a"].volume.write(0, CONTENT)


async def told_of_a_lost_block(pair: MemoryPair) -> Node:
    """Node a, alone, of which a client has read the first block."""
    await filled(pair)
    pair.crash("b")
    a = await pair.wait_alone("a")
    pair.decay("a", 100)
    with pytest.raises(MediumError):
        await a.volume.read(0, 1)
    return a


def decay(pair: MemoryPair, name: str, offset: int) -> None:
    pair.decay(name, offset)


def lose_sector(pair: MemoryPair, name: str, offset: int) -> None:
    pair.disks[name].lose_sector(VOLUME, Layout(SIZE_BYTES).file_offset(offset))


@contextmanager
def cannot_be_read(pair: MemoryPair, name: str, offset: int) -> Iterator[None]:
    """A sector, for a while."""
    lose_sector(pair, name, offset)
    yield
    pair.disks[name].find_sector(VOLUME, Layout(SIZE_BYTES).file_offset(offset))


def tear(pair: MemoryPair, name: str, offset: int) -> None:
    for at in range(offset, offset + 512, 2):
        pair.decay(name, at)


FAULTS = [decay, lose_sector, tear]
Fault = Callable[[MemoryPair, str, int], None]


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_lost_block_that_the_secondary_s_client_meets_is_written_anew(
    fault: Fault, autojump_clock: MockClock
) -> None:
    """The client turns to the primary, which finds nothing damaged itself."""
    async with open_pair() as pair:
        await filled(pair)
        fault(pair, "b", 5 * BLOCK_BYTES + 100)
        b = pair.nodes["b"]
        with pytest.raises(NotPrimaryError):
            await b.volume.read(4 * BLOCK_BYTES, 3 * BLOCK_BYTES)
        await pair.wait_until(lambda: b.status().repaired_blocks == 1)
        assert pair.durable_copy("b") == CONTENT
        pair.crash("a")
        await pair.wait_alone("b")
        assert await b.volume.read(0, SIZE_BYTES) == CONTENT


async def test_a_block_that_is_lost_on_both_is_repaired_for_no_reader(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        await filled(pair)
        for name in ("a", "b"):
            decay(pair, name, 5 * BLOCK_BYTES)
        with pytest.raises(NotPrimaryError):
            await pair.nodes["b"].volume.read(5 * BLOCK_BYTES, 1)
        await pair.wait_until(lambda: "medium-error" in pair.nodes["a"].status().reasons)
        assert not pair.nodes["a"].pair.flights
        await pair.nodes["b"].volume.write(5 * BLOCK_BYTES, bytes(BLOCK_BYTES))
        assert await pair.nodes["b"].volume.read(5 * BLOCK_BYTES, 1) == b"\0"


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_lost_block_is_read_from_the_peer_and_written_anew(fault: Fault, autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        await filled(pair)
        await pair.nodes["a"].switchover()
        b = await pair.wait_serving("b")
        fault(pair, "b", 5 * BLOCK_BYTES + 100)
        assert await b.volume.read(5 * BLOCK_BYTES, 2 * BLOCK_BYTES) == CONTENT[5 * BLOCK_BYTES : 7 * BLOCK_BYTES]
        assert (b.status().verdict, b.status().reasons, b.status().repaired_blocks) == ("protected", (), 1)
        assert pair.durable_copy("b") == CONTENT
        assert await b.volume.read(0, SIZE_BYTES) == CONTENT
        assert b.status().repaired_blocks == 1


@pytest.mark.parametrize("name", ["a", "b"])
async def test_a_write_of_a_part_of_a_lost_block_is_on_both_copies(name: str, autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        await filled(pair)
        pair.decay(name, 5 * BLOCK_BYTES + 100)
        await pair.nodes["a"].volume.write(5 * BLOCK_BYTES + 3000, b"part")
        expected = bytearray(CONTENT)
        expected[5 * BLOCK_BYTES + 3000 : 5 * BLOCK_BYTES + 3004] = b"part"
        assert pair.durable_copy("a") == pair.durable_copy("b") == expected
        assert pair.nodes[name].status().repaired_blocks == 1


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_both_have_lost_is_an_error_by_name(fault: Fault, autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        await filled(pair)
        for name in ("a", "b"):
            fault(pair, name, 5 * BLOCK_BYTES + 100)
        a = pair.nodes["a"]
        with pytest.raises(MediumError, match="damaged on every copy"):
            await a.volume.read(5 * BLOCK_BYTES, 1)
        with pytest.raises(MediumError):
            await a.volume.write(5 * BLOCK_BYTES, b"part")
        assert (a.status().verdict, a.status().reasons) == ("degraded", ("medium-error",))
        assert a.status().damaged_bytes == BLOCK_BYTES
        assert pair.record.members == ("a", "b")
        assert await a.volume.read(6 * BLOCK_BYTES, 9) == CONTENT[:9]
        await a.volume.write(5 * BLOCK_BYTES, CONTENT[:BLOCK_BYTES])
        assert (a.status().verdict, a.status().reasons, a.status().damaged_bytes) == ("protected", (), 0)
        assert pair.durable_copy("a") == pair.durable_copy("b") == CONTENT


async def test_what_both_have_lost_is_told_also_by_processes_that_never_met_it(autojump_clock: MockClock) -> None:
    """Each disk names it. It lies where nothing is copied when the two come together again."""
    async with open_pair(size_bytes=2 * SIZE_BYTES) as pair:
        await pair.nodes["a"].volume.write(0, CONTENT)
        for name in ("a", "b"):
            pair.decay(name, FAR)
        with pytest.raises(MediumError):
            await pair.nodes["a"].volume.read(FAR, 1)
        for name in ("a", "b"):
            await pair.stop(name)
        for name in ("b", "a"):
            await pair.start(name)
        await pair.wait_until(lambda: pair.record.members == ("a", "b"))
        for node in pair.nodes.values():
            assert "medium-error" in node.status().reasons
        await trio.sleep(60.0)
        for node in pair.nodes.values():
            assert (node.status().verdict, node.status().reasons) == ("degraded", ("medium-error",))
            assert node.status().damaged_bytes == BLOCK_BYTES
        (serving,) = (node for node in pair.nodes.values() if node.status().role == "primary")
        await serving.volume.write(FAR, CONTENT[:BLOCK_BYTES])
        await pair.wait_protected()


async def test_a_block_that_is_whole_again_is_told_to_be_lost_until_it_is_read(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        a = await told_of_a_lost_block(pair)
        await pair.stop("a")
        pair.decay("a", 100)
        await pair.start("a")
        a = await pair.wait_alone("a")
        assert "medium-error" in a.status().reasons
        assert await a.volume.read(0, BLOCK_BYTES) == CONTENT[:BLOCK_BYTES]
        assert a.status().reasons == ("peer-lost",)


async def test_a_sole_member_goes_on_and_its_copy_is_no_source_until_the_block_is_written(
    autojump_clock: MockClock,
) -> None:
    async with open_pair() as pair:
        await filled(pair)
        pair.crash("b")
        a = await pair.wait_alone("a")
        await a.volume.write(5 * BLOCK_BYTES, b"n" * BLOCK_BYTES)
        pair.decay("a", 5 * BLOCK_BYTES)
        with pytest.raises(MediumError):
            await a.volume.read(5 * BLOCK_BYTES, 1)
        await pair.restart("b")
        b = pair.nodes["b"]
        await pair.wait_until(lambda: "resync-blocked" in a.status().reasons)
        await pair.wait_until(lambda: "resync-blocked" in b.status().reasons)
        await trio.sleep(60.0)
        assert pair.record.members == ("a",)
        assert (a.status().verdict, a.status().reasons) == ("degraded", ("resync-blocked", "medium-error"))
        assert (b.status().verdict, b.status().reasons) == ("degraded", ("resync-blocked", "medium-error"))
        await a.volume.write(5 * BLOCK_BYTES, b"m" * BLOCK_BYTES)
        await pair.wait_protected()
        assert pair.durable_copy("a") == pair.durable_copy("b")


async def test_what_the_source_cannot_read_for_a_while_is_copied_later_and_its_log_says_so_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pair() as pair:
        await filled(pair)
        await pair.stop("b")
        a = await pair.wait_alone("a")
        await a.volume.write(5 * BLOCK_BYTES, CONTENT[:BLOCK_BYTES])
        with cannot_be_read(pair, "a", 5 * BLOCK_BYTES):
            await pair.start("b")
            b = pair.nodes["b"]
            await pair.wait_until(lambda: "resync-blocked" in a.status().reasons)
            await trio.sleep(10 * LOST_RETRY_S)
            for node in (a, b):
                assert node.status().reasons == ("resync-blocked", "medium-error")
            line = f"damaged on every copy that counts: {BLOCK_BYTES} bytes at {5 * BLOCK_BYTES}"
            assert caplog.messages.count(line) == 2, "the log of each node names the block, once"
        with trio.fail_after(LOST_RETRY_S + 10.0):
            await pair.wait_protected()
        for node in (a, b):
            assert (node.status().reasons, node.status().damaged_bytes) == ((), 0)
        assert pair.durable_copy("a") == pair.durable_copy("b") == CONTENT


async def test_what_clients_of_the_primary_read_whole_is_not_lost(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        await filled(pair)
        a, b = pair.nodes["a"], pair.nodes["b"]
        with cannot_be_read(pair, "a", 5 * BLOCK_BYTES), cannot_be_read(pair, "b", 5 * BLOCK_BYTES):
            with pytest.raises(MediumError):
                await a.volume.read(5 * BLOCK_BYTES, 1)
            await pair.wait_until(lambda: "medium-error" in b.status().reasons)
        await b.volume.read(5 * BLOCK_BYTES, 1)
        assert (a.status().damaged_bytes, b.status().damaged_bytes) == (BLOCK_BYTES, BLOCK_BYTES)
        await a.volume.read(5 * BLOCK_BYTES, 1)
        await pair.wait_until(lambda: not a.status().reasons and not b.status().reasons)


async def test_a_comparison_reads_what_was_lost_for_a_while(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        await filled(pair)
        a, b = pair.nodes["a"], pair.nodes["b"]
        lost = 5 * BLOCK_BYTES
        with cannot_be_read(pair, "a", lost), cannot_be_read(pair, "b", lost), pytest.raises(MediumError):
            await a.volume.read(lost, 1)
        assert (await verified(pair, "a")).unreadable_bytes == 0
        await pair.wait_until(lambda: not a.status().reasons and not b.status().reasons)


async def test_a_block_that_is_not_to_be_copied_is_repaired_after_the_return(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=2 * SIZE_BYTES) as pair:
        await filled(pair)
        await pair.stop("b")
        a = await pair.wait_alone("a")
        far = 2 * SIZE_BYTES - BLOCK_BYTES
        pair.decay("a", far)
        await a.volume.write(0, b"n" * BLOCK_BYTES)
        with pytest.raises(MediumError):
            await a.volume.read(far, 1)
        assert a.status().reasons == ("peer-lost", "medium-error")
        await pair.start("b")
        await pair.wait_until(lambda: pair.record.members == ("a", "b"))
        assert await a.volume.read(far, 1) == b"\0"
        await pair.wait_protected()
        assert pair.durable_copy("a") == pair.durable_copy("b")


async def test_a_write_that_the_only_member_refused_is_undone_though_its_process_is_killed_then(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target has executed it, and hears with the next write that it need not remember it."""
    async with open_pair(size_bytes=2 * SIZE_BYTES) as pair:
        await pair.stop("b")
        a = await pair.wait_alone("a")
        await a.volume.write(0, b"n" * BLOCK_BYTES)
        a._driver.feed(events.AdmissionHeld(held=True))
        b = await pair.start("b")
        await pair.wait_until(lambda: a.pair.resync is not None and a.pair.resync.cursor == a.pair.size_bytes)
        await pair.wait_until(lambda: not a.pair.flights)
        pair.decay("a", SIZE_BYTES)
        monkeypatch.setattr(DiskWork, "mark_dirty", lambda *_: None)  # as if what was ordered before took long
        with pytest.raises(MediumError):
            await a.volume.write(SIZE_BYTES + 100, b"r" * (2 * DIRTY_BYTES - 100))
        await a.volume.write(0, b"m" * BLOCK_BYTES)
        assert [each.where for each in b.pair.unsettled] == [(0, BLOCK_BYTES)]
        pair.crash("a")
        monkeypatch.undo()
        await pair.restart("a")
        a = await pair.wait_serving("a")
        await a.volume.write(SIZE_BYTES, b"w" * BLOCK_BYTES)
        await pair.wait_protected()
        assert pair.durable_copy("a") == pair.durable_copy("b")
        assert await a.volume.read(SIZE_BYTES + DIRTY_BYTES, DIRTY_BYTES) == bytes(DIRTY_BYTES)


async def test_a_place_that_takes_no_write_any_more_is_the_end_of_the_disk(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        await filled(pair)
        a = pair.nodes["a"]
        lose_sector(pair, "a", 5 * BLOCK_BYTES)
        pair.disks["a"].fail_write_at(pair.disks["a"].count(CallKind.WRITE) + 1)
        with pytest.raises(FailedError):
            await a.volume.read(5 * BLOCK_BYTES, 1)
        assert a.status().reasons == ("store-failed",)
        b = await pair.wait_alone("b")
        assert await b.volume.read(0, SIZE_BYTES) == CONTENT


async def test_a_disk_that_loses_many_blocks_is_said_to_fail(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        await filled(pair)
        a = pair.nodes["a"]
        for block in range(REPAIRED_MAX + 1):
            assert a.status().verdict == "protected"
            pair.decay("a", block * BLOCK_BYTES)
            await a.volume.read(block * BLOCK_BYTES, 1)
        assert (a.status().verdict, a.status().reasons) == ("degraded", ("disk-failing",))


# What a driver must not do.

Plant = Callable[[pytest.MonkeyPatch], None]


def give_zeros_for_a_damaged_block(patch: pytest.MonkeyPatch) -> None:
    fetch = LocalReads.fetch

    def pretend(
        reads: LocalReads, action: actions.FetchRead, done: Callable[[bytes], None], _: Callable[[int, int], None]
    ) -> None:
        fetch(reads, action, done, lambda *_: done(bytes(action.operation.size)))

    patch.setattr(LocalReads, "fetch", pretend)


def say_that_a_repair_is_durable_and_write_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DiskWork, "repair", lambda work, sequence, *_: work._feed(events.Stored(sequence)))


def condemn_the_copy(patch: pytest.MonkeyPatch) -> None:
    """As if any error of the store were that of a dead disk."""
    fetch = LocalReads.fetch

    def condemn(
        reads: LocalReads, action: actions.FetchRead, done: Callable[[bytes], None], _: Callable[[int, int], None]
    ) -> None:
        fetch(reads, action, done, lambda *_: reads._failed(StoreError("a block is damaged")))

    patch.setattr(LocalReads, "fetch", condemn)


def push_without_reading(patch: pytest.MonkeyPatch) -> None:
    def push_range(reads: PeerReads, action: actions.PushRange) -> None:
        repair = RepairData(action.epoch, action.sequence, action.offset, action.size)
        reads._outbox.push(repair, bytes(action.size))

    patch.setattr(PeerReads, "push_range", push_range)


@pytest.mark.parametrize(
    "plant",
    [
        None,
        give_zeros_for_a_damaged_block,
        say_that_a_repair_is_durable_and_write_nothing,
        condemn_the_copy,
        push_without_reading,
    ],
)
async def test_a_read_is_answered_from_a_copy_that_is_durably_whole(
    plant: Plant | None, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_pair() as pair:
        await filled(pair)
        pair.decay("a", 5 * BLOCK_BYTES)
        if plant is not None:
            plant(monkeypatch)
        found = b""
        with suppress(FailedError), trio.move_on_after(1.0):
            found = await pair.nodes["a"].volume.read(5 * BLOCK_BYTES, BLOCK_BYTES)
        kept = pair.durable_copy("a") == CONTENT and pair.nodes["a"].status().verdict == "protected"
        assert (found == CONTENT[:BLOCK_BYTES] and kept) == (plant is None)


# The comparison of both copies.


async def verified(pair: MemoryPair, name: str = "a") -> VerificationStatus:
    number = pair.nodes[name].verify()
    found: list[VerificationStatus] = []

    def has_ended() -> bool:
        status = pair.nodes[name].status().verification
        if status is not None and status.number == number and status.state != "running":
            found.append(status)
        return bool(found)

    await pair.wait_until(has_ended)
    return found[0]


async def test_equal_copies_are_compared_while_clients_write(autojump_clock: MockClock) -> None:
    async with open_pair() as pair, trio.open_nursery() as nursery:
        await filled(pair)
        a = pair.nodes["a"]
        assert a.status().verification is None

        async def write() -> None:
            while True:
                await a.volume.write(7 * BLOCK_BYTES, b"w" * 100)
                await trio.sleep(0.001)

        nursery.start_soon(write)
        status = await verified(pair)
        assert (status.state, status.bytes_compared, status.bytes_total) == ("complete", SIZE_BYTES, SIZE_BYTES)
        assert (status.differing_bytes, status.repaired_bytes, status.unreadable_bytes, status.found) == (0, 0, 0, ())
        assert status.ended_at_s is not None
        assert status.ended_at_s >= status.began_at_s
        nursery.cancel_scope.cancel()


async def test_a_verification_repairs_what_either_copy_has_lost(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        await filled(pair)
        pair.decay("a", 5 * BLOCK_BYTES)
        lose_sector(pair, "b", 100 * BLOCK_BYTES)
        for name in ("a", "b"):
            pair.decay(name, 200 * BLOCK_BYTES)
        status = await verified(pair)
        assert {(each.what, each.offset, each.size) for each in status.found} == {
            ("repaired-here", 5 * BLOCK_BYTES, BLOCK_BYTES),
            ("repaired-there", 100 * BLOCK_BYTES, BLOCK_BYTES),
            ("unreadable", 200 * BLOCK_BYTES, BLOCK_BYTES),
        }
        assert (status.state, status.bytes_compared) == ("complete", SIZE_BYTES)
        assert [pair.nodes[name].status().repaired_blocks for name in ("a", "b")] == [1, 1]
        assert pair.nodes["a"].status().reasons == ("medium-error",)


async def test_copies_that_differ_are_named_and_left_alone(autojump_clock: MockClock) -> None:
    """A write of which a disk lost data and checksum alike shows in nothing but the comparison."""
    async with open_pair() as pair:
        await filled(pair)
        b = pair.nodes["b"]
        await b._driver._store.write(9 * BLOCK_BYTES, b"another")
        before = pair.durable_copy("a"), pair.durable_copy("b")
        status = await verified(pair)
        assert [(each.what, each.offset, each.size) for each in status.found] == [("differs", 0, DIRTY_BYTES)]
        assert (status.state, status.differing_bytes) == ("complete", DIRTY_BYTES)
        assert (pair.durable_copy("a"), pair.durable_copy("b")) == before
        a = pair.nodes["a"]
        assert (a.status().verdict, a.status().reasons) == ("degraded", ("copies-differ",))
        await a.volume.write(8 * BLOCK_BYTES, bytes(3 * BLOCK_BYTES))
        assert (await verified(pair)).differing_bytes == 0
        assert a.status().verdict == "protected"


async def test_only_the_primary_of_two_members_verifies(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        with pytest.raises(FailedError, match="not the primary of two members"):
            pair.nodes["b"].verify()
        pair.crash("b")
        a = await pair.wait_alone("a")
        with pytest.raises(FailedError, match="not the primary of two members"):
            a.verify()
        assert a.status().verification is None


async def test_a_verification_that_is_interrupted_says_so(autojump_clock: MockClock) -> None:
    async with open_pair(disk_call_s={"b": 0.05}) as pair:
        await filled(pair)
        a = pair.nodes["a"]
        assert a.verify() == a.verify(), "one that runs goes on"
        pair.crash("b")
        await pair.wait_alone("a")
        status = a.status().verification
        assert status is not None
        assert (status.state, status.bytes_compared) == ("interrupted", 0)
        assert status.why.startswith("the pair changed")
        await pair.restart("b")
        await pair.wait_protected()
        assert (await verified(pair)).state == "complete"


async def copies_to_b(pair: MemoryPair, *, network_s: float) -> Node:
    """``a``, which has written everything anew while ``b`` was down, and copies it there, slowly."""
    await pair.stop("b")
    a = await pair.wait_alone("a")
    for offset in range(0, LARGE_BYTES, SIZE_BYTES):
        await a.volume.write(offset, CONTENT)
    pair.slow(disk_call_s=0.02, network_s=network_s)
    await pair.start("b")
    return a


async def until_copied(pair: MemoryPair, size_bytes: int) -> None:
    """So much of the volume has been copied to ``b``, or is being copied."""

    def is_copied() -> bool:
        resync = pair.nodes["a"].pair.resync
        return resync is not None and resync.cursor >= size_bytes

    await pair.wait_until(is_copied)


async def test_a_write_that_only_the_target_executed_is_served_by_nobody(autojump_clock: MockClock) -> None:
    """The source has lost a block since it copied it: its client is told of an error of the medium."""
    async with open_pair(size_bytes=LARGE_BYTES) as pair:
        a = await copies_to_b(pair, network_s=0.005)
        await until_copied(pair, 8 * SIZE_BYTES)
        pair.decay("a", 5 * BLOCK_BYTES)
        with pytest.raises(MediumError):
            await a.volume.write(5 * BLOCK_BYTES + 7, b"n" * (2 * BLOCK_BYTES - 7))
        await pair.wait_until(lambda: "resync-blocked" in a.status().reasons)
        assert bytes(await a.volume.read(6 * BLOCK_BYTES, BLOCK_BYTES)) == CONTENT[:BLOCK_BYTES]
        await a.volume.write(5 * BLOCK_BYTES, CONTENT[:BLOCK_BYTES])
        await pair.wait_protected()
        assert pair.durable_copy("a") == pair.durable_copy("b")


async def test_a_resync_ends_though_its_target_refuses_writes(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Blocks of the target decay behind the cursor, and a client writes parts of them."""
    caplog.set_level("INFO", "ctlha_trio.ha")
    async with open_pair(size_bytes=LARGE_BYTES) as pair:
        a = await copies_to_b(pair, network_s=0.05)
        for number in range(4):
            await until_copied(pair, (8 + 4 * number) * SIZE_BYTES)
            pair.decay("b", (5 + number) * BLOCK_BYTES)
            await a.volume.write((5 + number) * BLOCK_BYTES + 7, b"part")
            await pair.wait_until(lambda: pair.nodes["b"].pair.phase is Phase.OUTDATED)
            await pair.wait_until(lambda: pair.nodes["b"].pair.phase is Phase.RESYNCING)
        await pair.wait_protected()
        assert pair.durable_copy("a") == pair.durable_copy("b")
    assert "the session ends, and another one begins: the copy of the other node is begun anew" in caplog.text
    assert "broke the protocol" not in caplog.text


async def test_a_block_that_was_told_to_be_lost_is_not_served_after_a_kill(autojump_clock: MockClock) -> None:
    """In an extent that was open: a start takes what is torn there for what it is, but not this."""
    async with open_pair() as pair:
        a = await told_of_a_lost_block(pair)
        await a.volume.write(2 * BLOCK_BYTES, b"n" * BLOCK_BYTES)
        pair.crash("a")
        await pair.restart("a")
        a = await pair.wait_alone("a")
        with pytest.raises(MediumError):
            await a.volume.read(0, 1)
        await pair.restart("b")
        await pair.wait_until(lambda: "resync-blocked" in a.status().reasons)
        assert pair.record.members == ("a",)
        await a.volume.write(0, b"w" * BLOCK_BYTES)
        await pair.wait_protected()
        assert pair.durable_copy("a") == pair.durable_copy("b")
        assert await a.volume.read(0, 3 * BLOCK_BYTES) == (
            b"w" * BLOCK_BYTES + CONTENT[BLOCK_BYTES : 2 * BLOCK_BYTES] + b"n" * BLOCK_BYTES
        )


async def read_far(pair: MemoryPair) -> bytes | None:
    """What whoever serves has of the last block; None if nobody has it."""
    while True:
        for node in list(pair.nodes.values()):
            try:
                return await node.volume.read(FAR, BLOCK_BYTES)
            except MediumError:
                return None
            except (NotPrimaryError, FailedError):
                await trio.sleep(0.1)


async def cut_repair(call: int, moment: Moment, state: int) -> tuple[bool, bytes | None]:
    """The power of both fails in a repair of what was told, in an open extent: whether it does, and what is read."""
    async with open_pair(size_bytes=2 * SIZE_BYTES) as pair:
        await pair.stop("b")
        a = await pair.wait_alone("a")
        for at in (FAR, FAR + 3000):
            pair.decay("a", at)
        with pytest.raises(MediumError):
            await a.volume.read(FAR, 1)
        await a.volume.write(0, CONTENT[:BLOCK_BYTES])
        await pair.start("b")
        await pair.wait_until(lambda: pair.record.members == ("a", "b"))
        await a.volume.write(FAR - BLOCK_BYTES, CONTENT[:BLOCK_BYTES])
        disk = pair.disks["a"]
        disk.cut_at(len(disk.calls) + call, moment)
        pair.on_power_cut = lambda name: pair.disks["b"].cut_now() if name == "a" else None
        with trio.move_on_after(1), suppress(FailedError, NotPrimaryError, StoreError):
            assert await a.volume.read(FAR, BLOCK_BYTES) == bytes(BLOCK_BYTES)
        pair.on_power_cut = None
        outcomes = disk.outcomes() if disk.is_cut else []
        if state >= len(outcomes):
            return False, None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.restart, "a", outcomes[state])
            nursery.start_soon(pair.restart, "b")
        with trio.fail_after(60):
            return True, await read_far(pair)


@pytest.mark.parametrize("moment", Moment)
def test_a_repair_that_both_lose_their_power_in_leaves_no_mixture(moment: Moment) -> None:
    found, runs = set[bytes | None](), 0
    for call in range(1, 8):
        for state in range(32):
            is_one, block = trio.run(cut_repair, call, moment, state, clock=MockClock(autojump_threshold=0))
            if not is_one:
                break
            found.add(block)
            runs += 1
    assert runs >= 4
    assert found <= {bytes(BLOCK_BYTES), None}
