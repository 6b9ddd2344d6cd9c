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
