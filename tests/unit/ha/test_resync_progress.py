"""What both nodes of a resync say of it: how much is left, and how long that takes at the pace of the last seconds."""

from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import pytest
from trio.testing import MockClock

from ctlha_trio.ha._outbox import Outbox
from ctlha_trio.ha._resync_progress import (
    RATE_FROM_S,
    RATE_OVER_S,
    STALL_S,
    TELL_S,
    UNSEEN_S,
    ResyncProgress,
    ResyncRate,
    left_s,
)
from ctlha_trio.ha._status import Status
from ctlha_trio.pair import OfDrivers, Operation, OperationKind, PairState, Phase, ResyncLeft
from ctlha_trio.pair._state import Flight, Resync
from ctlha_trio.pair.messages import Message
from ctlha_trio.store import BLOCK_BYTES, GROUP_BYTES
from ctlha_trio.testing import MemoryPair, open_pair

MIB = 1 << 20
SIZE = 24 * GROUP_BYTES


def copied(rate: ResyncRate, *, begin_s: float, end_s: float, from_bytes: int, bytes_per_s: int) -> None:
    """Look twice a second at a copy that goes on evenly."""
    looks = round((end_s - begin_s) / TELL_S)
    for number in range(looks + 1):
        rate.look(begin_s + number * TELL_S, from_bytes - round(number * TELL_S * bytes_per_s))


def test_of_the_first_second_no_rate_is_told() -> None:
    rate = ResyncRate()
    assert rate.bytes_per_s == 0
    for now_s in (0.0, RATE_FROM_S / 2):
        rate.look(now_s, 100 * MIB - round(now_s * MIB))
        assert rate.bytes_per_s == 0
    rate.look(RATE_FROM_S, 99 * MIB)
    assert rate.bytes_per_s == MIB


def test_the_rate_is_that_of_the_last_seconds() -> None:
    rate = ResyncRate()
    copied(rate, begin_s=0.0, end_s=20.0, from_bytes=1000 * MIB, bytes_per_s=20 * MIB)
    assert rate.bytes_per_s == 20 * MIB
    copied(rate, begin_s=20.0, end_s=20.0 + RATE_OVER_S, from_bytes=600 * MIB, bytes_per_s=MIB)
    assert rate.bytes_per_s == MIB, "clients came, and it goes in small steps"


def test_steps_that_are_far_apart_are_no_stall_and_no_leap() -> None:
    """A MiB over a slow line takes longer than the time over which a rate is told."""
    rate, step_s = ResyncRate(), 2 * RATE_OVER_S
    for now_s in range(int(10 * step_s)):
        rate.look(float(now_s), (100 - now_s // int(step_s)) * MIB)
        if now_s >= 2 * step_s:
            assert MIB / step_s / 2 <= rate.bytes_per_s <= 2 * MIB / step_s


def test_where_nothing_comes_off_nobody_knows_how_long_it_takes() -> None:
    rate = ResyncRate()
    copied(rate, begin_s=0.0, end_s=5.0, from_bytes=100 * MIB, bytes_per_s=10 * MIB)
    copied(rate, begin_s=5.0 + TELL_S, end_s=5.0 + STALL_S - TELL_S, from_bytes=50 * MIB, bytes_per_s=0)
    assert 0 < rate.bytes_per_s < 3 * MIB
    rate.look(5.0 + STALL_S, 50 * MIB)
    assert rate.bytes_per_s == 0


def test_clients_that_mark_more_than_is_copied_leave_no_rate() -> None:
    rate = ResyncRate()
    copied(rate, begin_s=0.0, end_s=5.0, from_bytes=100 * MIB, bytes_per_s=-MIB)
    assert rate.bytes_per_s == 0


def test_a_process_that_stood_still_did_not_copy_slowly() -> None:
    rate = ResyncRate()
    copied(rate, begin_s=0.0, end_s=5.0, from_bytes=100 * MIB, bytes_per_s=10 * MIB)
    began_s = 5.0 + 2 * UNSEEN_S
    copied(rate, begin_s=began_s, end_s=began_s + RATE_FROM_S, from_bytes=50 * MIB, bytes_per_s=10 * MIB)
    assert rate.bytes_per_s == 10 * MIB


@pytest.mark.parametrize(
    ("left_bytes", "bytes_per_s", "seconds"), [(100, 10, 10), (101, 10, 11), (1, 100, 1), (100, 0, None), (0, 10, None)]
)
def test_time_left_is_in_whole_seconds_and_never_none_by_rounding(
    left_bytes: int, bytes_per_s: int, seconds: int | None
) -> None:
    assert left_s(ResyncLeft(2, left_bytes, bytes_per_s, blocked=False)) == seconds


@contextmanager
def heard_words() -> Iterator[list[ResyncLeft]]:
    """Every word of a source on what is left."""
    words: list[ResyncLeft] = []
    plain = Outbox.say

    def say(outbox: Outbox, message: Message | OfDrivers) -> None:
        if isinstance(message, ResyncLeft):
            words.append(message)
        plain(outbox, message)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Outbox, "say", say)
        yield words


async def fall_behind(pair: MemoryPair) -> None:
    """Node b is outdated, and everything of it differs."""
    await pair.stop("b")
    a = await pair.wait_alone("a")
    for offset in range(0, SIZE, GROUP_BYTES):
        await a.volume.write(offset, b"x" * GROUP_BYTES)


def of_resync(status: Status) -> tuple[int, int, int | None]:
    return status.resync_bytes_left, status.resync_bytes_per_s, status.resync_left_s


NOTHING_LEFT = (0, 0, None)


async def test_both_nodes_say_how_much_is_left_and_for_how_long(autojump_clock: MockClock) -> None:
    with heard_words() as words:
        async with open_pair(size_bytes=SIZE) as pair:
            await fall_behind(pair)
            pair.slow("b", disk_call_s=0.5)
            began_s = autojump_clock.current_time()
            await pair.start("b")
            a, b = pair.nodes["a"], pair.nodes["b"]
            await pair.wait_until(lambda: 0 < b.status().resync_bytes_left < SIZE // 2)
            known_s = autojump_clock.current_time()
            left_bytes, bytes_per_s, seconds = of_resync(b.status())
            assert (left_bytes, bytes_per_s) == (words[-1].left_bytes, words[-1].bytes_per_s)
            assert 0 < a.status().resync_bytes_left <= left_bytes < SIZE
            assert a.status().resync_left_s is not None
            await pair.wait_protected()
            assert of_resync(a.status()) == of_resync(b.status()) == NOTHING_LEFT
            took_s = autojump_clock.current_time()
            assert seconds is not None
            assert seconds / 2 <= took_s - known_s <= 2 * seconds
            assert len(words) <= (took_s - began_s) / TELL_S + 1


async def test_a_resync_that_begins_again_is_measured_anew(autojump_clock: MockClock) -> None:
    """The time in which nothing was copied is no part of the pace."""
    async with open_pair(size_bytes=SIZE) as pair:
        await fall_behind(pair)
        pair.slow("b", disk_call_s=0.5)
        await pair.start("b")
        a = pair.nodes["a"]
        await pair.wait_until(lambda: a.status().resync_left_s is not None)
        pair.crash("b")
        await pair.wait_until(lambda: of_resync(a.status()) == NOTHING_LEFT)
        await pair.restart("b")
        b = pair.nodes["b"]
        await pair.wait_until(lambda: a.status().resync_bytes_left > 0)
        assert a.status().resync_left_s is None
        await pair.wait_until(lambda: b.status().resync_bytes_left > 0)
        assert b.status().resync_left_s is None
        await pair.wait_protected()
        assert pair.copy("a") == pair.copy("b")


async def test_what_was_said_of_one_resync_is_not_said_of_the_next(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_begin: list[ResyncLeft | None] = []
    plain = ResyncProgress.stepped

    def stepped(progress: ResyncProgress, before: PairState, after: PairState) -> None:
        plain(progress, before, after)
        if before.phase is not Phase.RESYNCING and after.phase is Phase.RESYNCING:
            at_begin.append(progress.left)

    monkeypatch.setattr(ResyncProgress, "stepped", stepped)
    async with open_pair(size_bytes=SIZE) as pair:
        await fall_behind(pair)
        pair.slow("b", disk_call_s=0.5)
        await pair.start("b")
        b = pair.nodes["b"]
        await pair.wait_until(lambda: b.status().resync_left_s is not None)
        pair.break_link()
        await pair.wait_protected()
        assert len(at_begin) > 1
        assert set(at_begin) == {None}


async def test_a_target_that_loses_its_source_says_nothing_is_left(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=SIZE) as pair:
        await fall_behind(pair)
        pair.slow("b", disk_call_s=0.5)
        await pair.start("b")
        b = pair.nodes["b"]
        await pair.wait_until(lambda: b.status().resync_left_s is not None)
        pair.crash("a")
        await pair.wait_until(lambda: of_resync(b.status()) == NOTHING_LEFT)


async def test_what_is_under_way_is_counted_once_whether_it_is_marked_or_copied_twice(
    autojump_clock: MockClock,
) -> None:
    """The search went back to 2 MiB: behind it lie 6 MiB of marks, which are still of what is copied there."""
    async with open_pair(size_bytes=SIZE) as pair:
        driver = pair.nodes["a"]._driver
        copies = tuple(Flight(0, Operation(OperationKind.COPY, 0, 0, at, MIB)) for at in (0, 0, 5 * MIB))
        state = attrs.evolve(driver.state, resync=Resync(cursor=2 * MIB), flights=copies)
        progress = attrs.evolve(driver.resync, state=lambda: state, dirty_bytes_from={2 * MIB: 6 * MIB}.__getitem__)
        assert progress.left == ResyncLeft(state.epoch, 7 * MIB, 0, blocked=False)


async def test_a_resync_that_goes_back_for_a_healed_block_has_never_more_left_than_the_volume(
    autojump_clock: MockClock,
) -> None:
    """What is under way behind the search is marked, too. The target ends a session in which it is told nonsense."""
    with heard_words() as words:
        async with open_pair(size_bytes=SIZE) as pair:
            await fall_behind(pair)
            pair.decay("a", 2 * MIB)
            pair.slow("b", disk_call_s=0.5)
            await pair.start("b")
            a = pair.nodes["a"]
            await pair.wait_until(lambda: a.pair.resync is not None and bool(a.pair.resync.left_out))
            await a.volume.write(2 * MIB, b"y" * BLOCK_BYTES)
            assert a.pair.resync is not None
            assert (a.pair.resync.cursor, a.status().resync_bytes_left) == (2 * MIB, SIZE)
            await pair.wait_protected()
            assert max(word.left_bytes for word in words) == SIZE
            assert a.status().flaps == 0
            assert pair.copy("a") == pair.copy("b")
