import time

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from ctlha_trio.seams import TrioClock


async def test_sleeps_until_the_deadline_and_not_for_a_past_one(autojump_clock: MockClock) -> None:
    clock = TrioClock()
    began = clock.now()
    await clock.sleep_until(began + 5)
    assert clock.now() == began + 5
    with trio.testing.assert_checkpoints():
        await clock.sleep_until(began)
    assert clock.now() == began + 5


def test_boottime_goes_with_the_machine_and_not_with_a_clock_that_a_test_sets() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= TrioClock().boottime() <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_boottime_counts_the_time_for_which_the_machine_was_suspended(monkeypatch: pytest.MonkeyPatch) -> None:
    suspended_s = 3600.0
    readings = {time.CLOCK_MONOTONIC: 100.0, time.CLOCK_BOOTTIME: 100.0 + suspended_s}
    monkeypatch.setattr(time, "clock_gettime", readings.__getitem__)
    assert TrioClock().boottime() == 100.0 + suspended_s
