from random import Random

import pytest
import trio
from trio.testing import MockClock

from ctlha_trio.testing._drivers.clock import NodeClock


async def test_it_goes_at_its_own_rate_from_where_it_began(autojump_clock: MockClock) -> None:
    clock = NodeClock(1000.0, 1.25)
    await trio.sleep(8.0)
    assert clock.now() == 1010.0
    clock.drift(0.5)
    await trio.sleep(8.0)
    assert clock.now() == 1014.0


async def test_a_sleep_ends_by_this_clock(autojump_clock: MockClock) -> None:
    clock = NodeClock(1000.0, 0.5)
    await clock.sleep_until(1001.0)
    assert (clock.now(), trio.current_time()) == (1001.0, 2.0)


async def test_a_sleep_until_the_past_is_a_checkpoint(autojump_clock: MockClock) -> None:
    with trio.testing.assert_checkpoints():
        await NodeClock(1000.0).sleep_until(0.0)


async def test_a_jump_ends_the_sleeps_that_it_passes(autojump_clock: MockClock) -> None:
    clock = NodeClock(0.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(clock.sleep_until, 50.0)
        await trio.sleep(1.0)
        clock.jump(100.0)
    assert trio.current_time() == 1.0
    assert clock.now() == 101.0


@pytest.mark.parametrize(("jumps", "shown_s", "ended_s"), [(True, 11.0, 11.0), (False, 1.0, 15.0)])
async def test_a_clock_that_stood_still_jumps_or_goes_on(
    *, jumps: bool, shown_s: float, ended_s: float, autojump_clock: MockClock
) -> None:
    clock = NodeClock(0.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(clock.sleep_until, 5.0)
        await trio.sleep(1.0)
        clock.stop()
        await trio.sleep(10.0)
        assert clock.now() == 1.0
        assert nursery.child_tasks
        clock.go_on(jumps=jumps)
        assert clock.now() == shown_s
    assert trio.current_time() == ended_s


async def test_no_rounding_wakes_a_sleeper_before_its_deadline(autojump_clock: MockClock) -> None:
    """One that is woken early looks at the clock, sleeps again for no time, and so on for ever."""
    random = Random(1)
    for _ in range(300):
        clock = NodeClock(random.uniform(0, 1e6), random.uniform(0.8, 1.25))
        deadline_s = clock.now() + random.expovariate(1.0)
        await clock.sleep_until(deadline_s)
        assert deadline_s <= clock.now() < deadline_s + 1e-6


async def test_boottime_goes_on_while_it_stands_still_and_knows_no_jumps(autojump_clock: MockClock) -> None:
    clock = NodeClock(1000.0, 1.1)
    began_s = clock.boottime()
    clock.stop()
    await trio.sleep(10.0)
    clock.go_on(jumps=False)
    clock.drift(0.8)
    clock.jump(60.0)
    assert clock.boottime() - began_s == pytest.approx(11.0)
