"""Refusals that repeat: what is told of them, and that it is bounded."""

from ctlha_trio.door._refusals import KINDS_MAX, QUIET_S, Ended, Refusals
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
