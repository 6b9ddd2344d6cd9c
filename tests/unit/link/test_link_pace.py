"""How much bulk data goes at once: little beside messages, and no more than the path takes in a short time."""

import pytest

from ctlha_trio.link._pace import FRAGMENTS_MAX, TALK_BYTES, TALK_S, TURN_S, Pace
from ctlha_trio.wire import FRAGMENT_SIZE_MAX

FAST_S = 0.9 * TURN_S / FRAGMENTS_MAX
"""For one fragment."""
SLOW_S = 1.1 * TURN_S / FRAGMENTS_MAX


def widened() -> Pace:
    """After bulk data alone, on a fast path."""
    pace = Pace()
    pace.end_turn(pace.begin_turn(0, 0.0), FAST_S)
    return pace


def test_bulk_data_alone_goes_in_larger_turns() -> None:
    pace = Pace()
    sizes = []
    for _ in range(3):
        sizes.append(pace.begin_turn(0, 0.0))
        assert not pace.end_turn(sizes[-1], sizes[-1] * FAST_S)
    assert sizes == [1, FRAGMENTS_MAX, FRAGMENTS_MAX]


def test_a_slow_path_gets_one_at_a_time_until_it_is_fast_again() -> None:
    pace = widened()
    pace.end_turn(FRAGMENTS_MAX, FRAGMENTS_MAX * SLOW_S)
    assert pace.begin_turn(0, 0.0) == 1
    pace.end_turn(1, SLOW_S)
    assert pace.begin_turn(0, 0.0) == 1
    pace.end_turn(1, FAST_S)
    assert pace.begin_turn(0, 0.0) == FRAGMENTS_MAX


def test_a_turn_that_was_not_full_counts_for_what_it_sent() -> None:
    pace = widened()
    pace.end_turn(1, SLOW_S)
    assert pace.begin_turn(0, 0.0) == 1


@pytest.mark.parametrize("messages", [1, 7])
def test_while_messages_pass_one_small_fragment_goes_and_then_others_run(messages: int) -> None:
    pace = widened()
    assert pace.fragment_bytes == FRAGMENT_SIZE_MAX
    assert pace.begin_turn(messages, 5.0) == 1
    assert pace.fragment_bytes == TALK_BYTES < FRAGMENT_SIZE_MAX
    assert pace.end_turn(1, 0.0)
    assert pace.begin_turn(messages, 5.0 + 0.9 * TALK_S) == 1
    assert pace.fragment_bytes == TALK_BYTES
    assert pace.end_turn(1, 0.0)
    assert pace.begin_turn(messages, 5.0 + 1.1 * TALK_S) == FRAGMENTS_MAX
    assert pace.fragment_bytes == FRAGMENT_SIZE_MAX
    assert not pace.end_turn(FRAGMENTS_MAX, 0.0)
