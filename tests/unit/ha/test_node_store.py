"""Two whole nodes whose disks fail: the copy dies, the pair goes on, the copy comes back whole."""

from collections.abc import Awaitable, Callable, Sequence

import pytest
import trio
from trio.testing import MockClock

from ctlha_trio._errors import NotPrimaryError, UnknownOutcomeError
from ctlha_trio.ha import HALT, Notice
from ctlha_trio.ha._condemnation import Condemnation
from ctlha_trio.pair import Copy
from ctlha_trio.seams import Buffer
from ctlha_trio.store import GROUP_BYTES, BlockStore
from ctlha_trio.testing import CallKind, MemoryPair, open_pair
from ctlha_trio.testing._pairs.slow_disk import SlowFile

BLOCK = 4096
WriteThrough = Callable[[SlowFile, Sequence[tuple[int, Buffer]]], Awaitable[None]]


def fail_next(pair: MemoryPair, name: str, kind: CallKind) -> None:
    disk = pair.disks[name]
    fail = disk.fail_write_at if kind is CallKind.WRITE else disk.fail_flush_at
    fail(disk.count(kind) + 1)


@pytest.mark.parametrize("kind", [CallKind.WRITE, CallKind.FLUSH])
async def test_failed_disk_of_the_secondary_costs_no_write(kind: CallKind, autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        a, b = pair.nodes["a"], pair.nodes["b"]
        fail_next(pair, "b", kind)
        began = trio.current_time()
        await a.volume.write(0, b"x" * BLOCK)
        assert trio.current_time() - began < 0.1, "a goodbye need not be waited for"
        assert pair.record.members == ("a",)
        assert (b.status().verdict, b.status().reasons) == ("stopped", ("store-failed",))
        assert await a.volume.read(0, BLOCK) == b"x" * BLOCK


@pytest.mark.parametrize("kind", [CallKind.WRITE, CallKind.FLUSH])
async def test_failed_disk_of_the_primary_hands_service_to_the_peer(kind: CallKind, autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        a = pair.nodes["a"]
        await a.volume.write(0, b"x" * BLOCK)
        fail_next(pair, "a", kind)
        with pytest.raises(UnknownOutcomeError):
            await a.volume.write(BLOCK, b"y" * BLOCK)
        b = await pair.wait_alone("b")
        assert (a.status().verdict, a.status().reasons) == ("stopped", ("store-failed",))
        with pytest.raises(NotPrimaryError):
            await a.volume.read(0, BLOCK)
        assert await b.volume.read(0, BLOCK) == b"x" * BLOCK
        assert await b.volume.read(BLOCK, BLOCK) in {b"y" * BLOCK, bytes(BLOCK)}


@pytest.mark.parametrize("name", ["a", "b"])
async def test_failed_copy_is_marked_and_returns_by_a_full_copy(name: str, autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        other = "b" if name == "a" else "a"
        fail_next(pair, name, CallKind.WRITE)
        pair_write = pair.nodes["a"].volume.write
        try:
            await pair_write(0, b"x" * BLOCK)
        except UnknownOutcomeError:
            assert name == "a"
        serving = await pair.wait_alone(other)
        await pair.wait_until(lambda: pair.durable_metadata(name).copy is Copy.FAILED)
        await serving.volume.write(BLOCK, b"z" * BLOCK)
        await pair.stop(name)
        await pair.start(name)
        await pair.wait_protected()
        assert pair.durable_metadata(name).copy is Copy.MEMBER
        assert pair.copy("a") == pair.copy("b")
        assert pair.copy(name)[BLOCK : 2 * BLOCK] == b"z" * BLOCK


async def test_a_node_says_that_it_has_stopped_once_its_mark_is_durable(autojump_clock: MockClock) -> None:
    """Whoever ends the process then finds that the copy is dead, also where the other node is gone."""
    async with open_pair() as pair:
        a, b, told = pair.nodes["a"], pair.nodes["b"], list[Notice]()
        b.follow_notices(lambda notice: told.append(notice) if notice.what == HALT else None)
        pair.slow("b", disk_call_s=0.2)
        fail_next(pair, "b", CallKind.WRITE)
        await a.volume.write(0, b"x" * BLOCK)
        await pair.wait_until(lambda: b.status().reasons == ("store-failed",))
        assert b.status().verdict == "at-risk"
        assert pair.durable_metadata("b").copy is Copy.MEMBER
        assert told == []
        await pair.wait_until(lambda: b.status().verdict == "stopped")
        assert pair.durable_metadata("b").copy is Copy.FAILED
        assert [each.why for each in told] == ["store-failed"]


@pytest.mark.parametrize("hangs_s", [0.0, 8.0])
async def test_a_copy_whose_disk_fails_while_its_node_leaves_is_marked(
    hangs_s: float, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the flush did not make durable reads as if it was: compared equal, it would be on no medium of this node."""
    monkeypatch.setattr(SlowFile, "write_through", never_left_behind(SlowFile.write_through))
    async with open_pair() as pair:
        a, b = pair.nodes["a"], pair.nodes["b"]
        await a.volume.write(0, b"o" * BLOCK)
        pair.slow("b", disk_call_s=hangs_s or 0.1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.volume.write, 0, b"n" * BLOCK)
            await trio.sleep(0.05)
            fail_next(pair, "b", CallKind.FLUSH)
            b.stop("asked while it writes")
        await pair.wait_until(lambda: "b" not in pair.nodes)
        assert pair.durable_metadata("b").copy is Copy.FAILED
        pair.slow("b", disk_call_s=0.0)
        await pair.restart("b")
        await pair.wait_protected()
        assert pair.durable_copy("b")[:BLOCK] == pair.durable_copy("a")[:BLOCK] == b"n" * BLOCK


async def test_a_node_has_not_ended_while_its_mark_may_still_be_made(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    had_ended, end = list[bool](), Condemnation.end

    async def look_first(condemnation: Condemnation) -> None:
        had_ended.append(b.has_ended)
        await end(condemnation)

    monkeypatch.setattr(Condemnation, "end", look_first)
    async with open_pair() as pair:
        b = pair.nodes["b"]
        await pair.stop("b")
        assert had_ended == [False]
        assert b.has_ended


def never_left_behind(call: WriteThrough) -> WriteThrough:
    """As at a real disk, a call that was begun is waited for."""

    async def shielded(file: SlowFile, extents: Sequence[tuple[int, Buffer]]) -> None:
        with trio.CancelScope(shield=True):
            await call(file, extents)

    return shielded


async def test_copy_that_failed_unmarked_is_kept_out_by_the_record(autojump_clock: MockClock) -> None:
    """A disk that takes no write takes no mark either."""
    async with open_pair() as pair:
        pair.disks["b"].full()
        await pair.nodes["a"].volume.write(0, b"x" * BLOCK)
        await trio.sleep(1.0)
        assert pair.durable_metadata("b").copy is Copy.MEMBER
        pair.crash("b")
        b = await pair.restart("b")
        assert b.status().role in {"none", "outdated"}
        await pair.wait_protected()
        assert pair.copy("a") == pair.copy("b")


async def test_failed_copy_of_the_only_member_stops_for_a_person(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        pair.crash("b")
        a = await pair.wait_alone("a")
        fail_next(pair, "a", CallKind.WRITE)
        with pytest.raises(UnknownOutcomeError):
            await a.volume.write(0, b"x" * BLOCK)
        await pair.wait_until(lambda: pair.durable_metadata("a").copy is Copy.FAILED)
        await pair.stop("a")
        a = await pair.start("a")
        await pair.wait_until(lambda: a.status().verdict == "stopped")
        assert a.status().reasons == ("copy-failed",)
        b = await pair.restart("b")
        await trio.sleep(10.0)
        assert b.status().role == "outdated"


async def test_failing_read_is_the_copy_s_death_too(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        a = pair.nodes["a"]
        await a.volume.write(0, b"x" * BLOCK)
        pair.nodes["a"].volume._driver._store.close()
        with pytest.raises(NotPrimaryError):
            await a.volume.read(0, BLOCK)
        b = await pair.wait_alone("b")
        assert await b.volume.read(0, BLOCK) == b"x" * BLOCK


@pytest.mark.parametrize("cleanly", [True, False])
async def test_only_a_node_that_stopped_has_nothing_to_recover(cleanly: bool, autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        await pair.nodes["a"].volume.write(0, b"x" * BLOCK)
        if cleanly:
            await pair.stop("b")
        else:
            pair.crash("b")
            await pair.restore_power("b")
        seams = pair.seams("b")
        store = await BlockStore.open(seams.disk, "volume", size_bytes=pair.size_bytes, clock=seams.clock)
        assert store.crash_extents == (() if cleanly else ((0, GROUP_BYTES),))
        store.close()
