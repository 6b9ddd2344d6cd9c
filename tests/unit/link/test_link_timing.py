"""Back-off between dials, and time limits and deadlines on protocol time."""

import pytest
import trio
import trio.testing

from ctlha_trio.link._backoff import backoff_s
from ctlha_trio.link._deadline import finish_by
from ctlha_trio.link._deadlines import Deadlines
from ctlha_trio.seams import TrioClock


@pytest.mark.parametrize(("failures", "longest_s"), [(0, 0.1), (1, 0.2), (3, 0.8), (4, 1.0), (10**9, 1.0)])
def test_back_off_is_random_between_50_ms_and_a_bound_that_doubles(failures: int, longest_s: float) -> None:
    assert backoff_s(failures, bytes) == pytest.approx(0.05)
    assert backoff_s(failures, lambda size: b"\xff" * size) == pytest.approx(longest_s)
    assert 0.05 < backoff_s(failures, lambda size: b"\x7f" * size) < longest_s


async def test_what_finishes_in_time_gives_its_result_or_its_error(autojump_clock: trio.testing.MockClock) -> None:
    async def succeed() -> int:
        await trio.sleep(0.9)
        return 5

    async def fail() -> int:
        raise ValueError("its own")

    assert await finish_by(TrioClock(), trio.current_time() + 1, succeed) == 5
    with pytest.raises(ValueError, match="its own"):
        await finish_by(TrioClock(), trio.current_time() + 1, fail)


async def test_what_does_not_is_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    started_s = trio.current_time()
    with pytest.raises(trio.TooSlowError):
        await finish_by(TrioClock(), started_s + 1, trio.sleep_forever)
    assert trio.current_time() == pytest.approx(started_s + 1)


async def test_a_cancelled_caller_is_not_told_that_time_ran_out(autojump_clock: trio.testing.MockClock) -> None:
    with trio.move_on_after(0.5) as scope:
        await finish_by(TrioClock(), trio.current_time() + 1, trio.sleep_forever)
    assert scope.cancelled_caught


async def test_an_error_is_not_lost_to_a_cancellation_from_outside(autojump_clock: trio.testing.MockClock) -> None:
    async def fail_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("in its clean-up")

    with trio.move_on_after(0.5) as scope, pytest.raises(ValueError, match="in its clean-up"):
        await finish_by(TrioClock(), trio.current_time() + 1, fail_when_cancelled)
    assert not scope.cancelled_caught


async def test_deadlines_that_were_slept_through_end_in_their_order_unless_one_ends_another(
    autojump_clock: trio.testing.MockClock,
) -> None:
    deadlines, ended = Deadlines(TrioClock()), list[str]()

    def end_first() -> None:
        ended.append("first")
        deadlines.discard("second")

    began_s = TrioClock().now()
    deadlines.add("third", began_s + 3, lambda: ended.append("third"))
    deadlines.add("second", began_s + 2, lambda: ended.append("second"))
    deadlines.add("first", began_s + 1, end_first)
    await trio.sleep(4)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        await trio.testing.wait_all_tasks_blocked()
        assert ended == ["first", "third"]
        assert len(deadlines) == 0
        nursery.cancel_scope.cancel()
