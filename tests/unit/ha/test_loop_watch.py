"""A loop that stood still is noticed by the node itself, and told for a while."""

import logging

import pytest
import trio
from trio.testing import MockClock

from ctlha_trio.ha._loop_watch import LATENESS_KEPT_S, LOOP_LOOK_S, LOOP_STALL_S, LoopWatch
from ctlha_trio.testing import open_pair
from ctlha_trio.testing._drivers.clock import NodeClock


async def watching(nursery: trio.Nursery) -> tuple[LoopWatch, NodeClock]:
    """A clock that jumps is what a loop that stood still looks like from inside."""
    clock = NodeClock(1000.0)
    watch = LoopWatch(clock)
    nursery.start_soon(watch.run)
    await trio.sleep(2.0)
    return watch, clock


async def test_a_loop_that_runs_is_not_late(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    watch, _ = await watching(nursery)
    assert watch.late_s < 0.001
    assert not watch.stalled
    nursery.cancel_scope.cancel()


async def test_a_stall_is_measured_logged_and_told_for_a_minute(
    autojump_clock: MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    watch, clock = await watching(nursery)
    clock.jump(3.0)
    await trio.sleep(1.0)
    assert 3.0 - LOOP_LOOK_S <= watch.late_s <= 3.0
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "stood still for" in caplog.text
    clock.jump(LOOP_STALL_S + LOOP_LOOK_S)
    await trio.sleep(LATENESS_KEPT_S - 3.0)
    assert watch.late_s > 2.0
    await trio.sleep(2.0)
    assert LOOP_STALL_S <= watch.late_s < 1.0, "the larger stall is forgotten first, for it was first"
    await trio.sleep(2.0)
    assert not watch.stalled
    nursery.cancel_scope.cancel()


async def test_a_short_delay_is_no_stall(
    autojump_clock: MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    watch, clock = await watching(nursery)
    clock.jump(LOOP_STALL_S - 0.01)
    await trio.sleep(1.0)
    assert 0.0 < watch.late_s < LOOP_STALL_S
    assert (watch.stalled, caplog.records) == (False, [])
    nursery.cancel_scope.cancel()


async def test_a_node_says_that_its_loop_stood_still(autojump_clock: MockClock) -> None:
    """A handler that computes for seconds holds up everything: the mock clock jumps while the loop runs one task."""
    async with open_pair() as pair:
        a = pair.nodes["a"]
        await trio.sleep(1.0)
        assert (a.status().loop_late_s < 0.001, a.status().notes) == (True, ())
        autojump_clock.jump(0.7)
        await trio.sleep(0.2)
        status = a.status()
        assert 0.5 <= status.loop_late_s <= 0.7
        assert status.notes == ("loop-stalled",)
        assert status.verdict == "protected", "it is over, and what it could do is guarded elsewhere"
