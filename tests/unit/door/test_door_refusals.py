"""Refusals that repeat: what is told of them, and that it is bounded."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from ctlha_trio.door._refusals import KINDS_MAX, QUIET_S, STANDS_FOR, Ended, Refusals, stands
from ctlha_trio.ha import Notice


def refusal(why: str, kind: str = "", what: str = "peer") -> Notice:
    return Notice(what=what, outcome="refused", why=why, kind=kind, epoch=1, revision=1)


def test_one_that_came_once_is_told_once() -> None:
    refusals = Refusals()
    assert refusals.came(0.0, refusal("twin"))
    assert list(refusals.ended(QUIET_S)) == []
    assert refusals.came(QUIET_S, refusal("twin"))


def test_one_that_comes_each_second_for_a_day_is_two_lines() -> None:
    refusals = Refusals()
    told = [refusals.came(float(second), refusal(f"port {second}", "twin")) for second in range(86_400)]
    assert told == [True, *[False] * 86_399]
    assert list(refusals.ended(86_399 + QUIET_S - 1)) == []
    assert list(refusals.ended(86_399 + QUIET_S)) == [Ended(refusal("port 86399", "twin"), 86_400)]
    assert list(refusals.end_all()) == []


def test_kinds_are_told_apart() -> None:
    refusals = Refusals()
    assert refusals.came(0.0, refusal("x", "twin"))
    assert refusals.came(0.0, refusal("x", "size"))
    assert refusals.came(0.0, refusal("x", "twin", what="claim"))
    assert not refusals.came(1.0, refusal("x", "size"))
    assert [ended.count for ended in refusals.end_all()] == [2]


def test_kinds_that_somebody_makes_up_are_bounded() -> None:
    refusals = Refusals()
    told = sum(refusals.came(0.0, refusal(f"{number}")) for number in range(10_000))
    assert told == KINDS_MAX + 1
    assert [ended.count for ended in refusals.end_all()] == [10_000 - KINDS_MAX]


# In the log of a node that is stopped.

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def line(outcome: str = "refused", why: str = "w", decision: str = "resolve", ago: timedelta = timedelta()) -> bytes:
    at = (NOW - ago).isoformat(timespec="milliseconds")
    return json.dumps({"at": at, "decision": decision, "outcome": outcome, "why": why}).encode()


OLD = STANDS_FOR + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], False),
        ([line()], True),
        ([line(why="another")], False),
        ([line(decision="replace")], False),
        ([line(), line(why="another"), line(decision="replace", outcome="asked")], True),
        ([line(), line(outcome="asked")], False),
        ([line(outcome="asked"), line()], True),
        ([line(ago=OLD)], False),
        ([line(ago=OLD), line()], True),
        ([line(ago=-timedelta(seconds=1))], False),
        ([line()[9:], b"[]", b"1", b'{"decision": "resolve"}', b"\xff", b"[" * 60_000], False),
        ([b'{"decision": "resolve", "outcome": "refused", "why": "w", "at": "2026-11-26T12:00:00"}'], False),
    ],
)
def test_a_refusal_that_stands_in_the_log_is_not_told_again(lines: list[bytes], told: bool) -> None:
    assert stands(lines, "resolve", "w", NOW) is told
