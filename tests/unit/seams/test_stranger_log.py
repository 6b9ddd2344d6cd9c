"""What is logged of strangers is bounded, whoever comes and however often."""

import logging

from ctlha_trio.seams._stranger_log import SOURCES_MAX, WINDOW_S, Fate, Line, StrangerLog

HERE = "10.0.0.1:7900"


def log() -> StrangerLog:
    return StrangerLog(HERE)


def test_the_first_of_a_source_and_fate_is_told_at_once_with_what_is_known_of_it() -> None:
    strangers = log()
    told = [
        strangers.came(5.0, "10.0.0.9", Fate.UNPROVED, "10.0.0.9:4711: no TLS"),
        strangers.came(5.0, "10.0.0.9", Fate.UNTRUSTED, "10.0.0.9:4712: its key"),
        strangers.came(5.0, "10.0.0.8", Fate.SLOW),
    ]
    assert told == [
        Line(logging.INFO, f"a connection to {HERE} did not prove itself: 10.0.0.9:4711: no TLS"),
        Line(logging.WARNING, f"a connection to {HERE} is not trusted: 10.0.0.9:4712: its key"),
        Line(logging.INFO, f"a connection to {HERE} did not prove itself in time"),
    ]


def test_those_behind_it_are_counted_and_summed_up_once_a_window() -> None:
    strangers = log()
    lines = [strangers.came(10.0 + n / 1000, "10.0.0.9", Fate.UNTRUSTED, f"10.0.0.9:{n}") for n in range(4213)]
    assert sum(line is not None for line in lines) == 1
    assert strangers.due_s == 10.0 + WINDOW_S
    assert strangers.sum_up(10.0 + WINDOW_S) == [
        Line(logging.WARNING, f"a connection to {HERE} is not trusted: and 4,212 more from 10.0.0.9 in 60 s")
    ]


def test_one_that_goes_on_is_only_summed_up_and_one_that_stays_away_is_told_afresh() -> None:
    strangers = log()
    for _ in range(2):
        strangers.came(0.0, "10.0.0.9", Fate.UNPROVED)
    strangers.came(0.0, "10.0.0.8", Fate.UNPROVED)
    strangers.sum_up(60.0)
    assert strangers.came(61.0, "10.0.0.9", Fate.UNPROVED) is None
    assert strangers.came(61.0, "10.0.0.8", Fate.UNPROVED) is not None
    assert [line.text for line in strangers.sum_up(120.0)] == [
        f"a connection to {HERE} did not prove itself: and 1 more from 10.0.0.9 in 60 s"
    ]
    assert strangers.sum_up(180.0) == []
    due_while_nobody_comes_s = strangers.due_s
    assert due_while_nobody_comes_s is None
    assert strangers.came(181.0, "10.0.0.9", Fate.UNPROVED) is not None
    assert strangers.due_s == 181.0 + WINDOW_S


def test_sources_beyond_those_that_may_be_named_are_one_line_together_and_cost_nothing() -> None:
    strangers = log()
    for n in range(10_000):
        strangers.came(0.0, f"10.0.{n // 256}.{n % 256}", Fate.UNPROVED, f"from {n}")
    strangers.came(1.0, "10.9.9.9", Fate.UNTRUSTED, "of a key")
    strangers.came(2.0, "10.9.9.8", Fate.UNPROVED)
    assert len(strangers._again) == SOURCES_MAX
    others = 10_000 + 2 - SOURCES_MAX
    assert strangers.sum_up(60.0) == [
        Line(
            logging.WARNING,
            f"a connection to {HERE} is not trusted: of a key; and {others - 1:,} more from other sources in 60 s",
        )
    ]


def test_no_crowd_writes_more_than_a_line_in_two_seconds() -> None:
    strangers, lines = log(), 0
    for second in range(600):
        for n in range(200):
            fate = (Fate.UNTRUSTED, Fate.UNPROVED, Fate.SLOW)[n % 3]
            lines += strangers.came(float(second), f"10.0.{second % 7}.{n}", fate) is not None
        due_s = strangers.due_s
        assert due_s is not None
        if second >= due_s:
            lines += len(strangers.sum_up(float(second)))
    assert 0 < lines <= 10 * (2 * SOURCES_MAX + 1)
