"""A flush that failed once and succeeds later has made nothing durable; a copy that it happened to is written anew."""

from trio.testing import MockClock

from ctlha_trio.pair import Copy
from ctlha_trio.testing import CallKind, MemoryPair, Moment, open_pair

BLOCK = 4096
NEW = b"n" * BLOCK


async def fail_the_flush_of_b(pair: MemoryPair) -> None:
    """B's flush of a write fails; a acknowledges it alone, and b, stopped, has its copy marked as dead."""
    disk = pair.disks["b"]
    disk.fail_flush_at(disk.count(CallKind.FLUSH) + 1)
    await pair.nodes["a"].volume.write(0, NEW)
    await pair.wait_until(lambda: pair.durable_metadata("b").copy is Copy.FAILED)
    await pair.stop("b")


async def test_what_reads_show_is_not_taken_for_what_is_durable(autojump_clock: MockClock) -> None:
    """B's page cache holds the very bytes that its medium lost: comparing would find them equal."""
    async with open_pair() as pair:
        await fail_the_flush_of_b(pair)
        await pair.start("b")
        await pair.wait_protected()
        pair.crash("a")
        pair.crash("b")
        b = await pair.restart("b")
        await pair.wait_serving("b")
        assert await b.volume.read(0, BLOCK) == NEW


async def test_an_interrupted_full_copy_stays_a_full_copy(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=4 << 20) as pair:
        await fail_the_flush_of_b(pair)
        disk = pair.disks["b"]
        # One read, the seven calls of a recovery, the three of a persist, and two of four ranges with four calls each.
        disk.cut_at(len(disk.calls) + 19, Moment.AFTER)
        await pair.start("b")
        await pair.wait_until(lambda: disk.is_cut)
        await pair.wait_alone("a")
        await pair.restart("b")
        assert pair.durable_metadata("b").copy in {Copy.REWRITING, Copy.MEMBER}
        await pair.wait_protected()
        pair.crash("a")
        pair.crash("b")
        b = await pair.restart("b")
        await pair.wait_serving("b")
        assert await b.volume.read(0, BLOCK) == NEW
