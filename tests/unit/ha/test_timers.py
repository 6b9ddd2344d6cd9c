"""Named timers on a mock clock."""

import pytest
import trio
from trio.testing import MockClock

from ctlha_trio.ha._timers import Timers
from ctlha_trio.pair.events import Timer
from ctlha_trio.seams import TrioClock


async def test_timers_fire_once_in_their_order(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    fired: list[tuple[Timer, float]] = []
    timers = Timers(TrioClock(), lambda timer: fired.append((timer, trio.current_time())))
    nursery.start_soon(timers.run)
    timers.set(Timer.CLAIM, 0.25)
    timers.set(Timer.PEER_WAIT, 0.1)
    timers.set(Timer.RECORD_POLL, 0.0)
    await trio.sleep(10.0)
    assert [timer for timer, _ in fired] == [Timer.RECORD_POLL, Timer.PEER_WAIT, Timer.CLAIM]
    assert [at_s for _, at_s in fired] == pytest.approx([0.0, 0.1, 0.25])
    nursery.cancel_scope.cancel()


async def test_set_again_starts_again_and_cancelled_never_fires(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    fired: list[tuple[Timer, float]] = []
    timers = Timers(TrioClock(), lambda timer: fired.append((timer, trio.current_time())))
    nursery.start_soon(timers.run)
    await trio.sleep(1.0)
    timers.set(Timer.CLAIM, 0.5)
    timers.set(Timer.PEER_WAIT, 0.5)
    await trio.sleep(0.4)
    timers.set(Timer.CLAIM, 0.5)
    timers.cancel(Timer.PEER_WAIT)
    timers.cancel(Timer.ARBITER_RETRY)
    await trio.sleep(10.0)
    assert [timer for timer, _ in fired] == [Timer.CLAIM]
    assert fired[0][1] == pytest.approx(1.9)
    nursery.cancel_scope.cancel()


async def test_timer_that_fires_may_set_itself_and_cancel_another(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    fired: list[tuple[Timer, float]] = []

    def fire(timer: Timer) -> None:
        fired.append((timer, trio.current_time()))
        if timer is Timer.RECORD_POLL and len(fired) < 3:
            timers.set(Timer.RECORD_POLL, 1.0)
        timers.cancel(Timer.CLAIM)

    timers = Timers(TrioClock(), fire)
    nursery.start_soon(timers.run)
    timers.set(Timer.RECORD_POLL, 1.0)
    timers.set(Timer.CLAIM, 1.0)
    await trio.sleep(10.0)
    assert [timer for timer, _ in fired] == [Timer.RECORD_POLL] * 3
    assert [at_s for _, at_s in fired] == pytest.approx([1.0, 2.0, 3.0])
    nursery.cancel_scope.cancel()


async def test_earlier_timer_set_meanwhile_wakes_the_sleeper(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    fired: list[float] = []
    timers = Timers(TrioClock(), lambda _: fired.append(trio.current_time()))
    nursery.start_soon(timers.run)
    timers.set(Timer.PEER_WAIT, 3.0)
    await trio.sleep(1.0)
    timers.set(Timer.CLAIM, 0.1)
    await trio.sleep(0.5)
    assert fired == [pytest.approx(1.1)]
    nursery.cancel_scope.cancel()
