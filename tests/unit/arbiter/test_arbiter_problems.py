"""What is in an arbiter's way: told when it changes, then rarely."""

from collections.abc import Sequence

import pytest

from ctlha_trio._repeats import KINDS_MAX, REPEAT_S
from ctlha_trio.arbiter._problems import SETTLED_S, CallProblems

FULL = "database or disk is full"


def test_a_problem_that_stays_is_told_once_and_after_a_long_time_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    times_s = iter([0.0, 0.25, REPEAT_S - 0.1, *([REPEAT_S] * 3)])
    problems = CallProblems(lambda: next(times_s))
    for _ in range(4):
        problems.note("swap", FULL)
        problems.note("read", "")
    problems.note("swap", "locked")
    problems.note("swap", "")
    problems.note("swap", "")
    problems.note("swap", FULL)
    assert caplog.messages == [
        f"the arbiter: {FULL}",
        f"the arbiter: {FULL}, 2 times since it was last said",
        "the arbiter: locked",
        "the arbiter answers again",
        f"the arbiter: {FULL}",
    ]


def test_another_problem_is_not_said_to_have_come_as_often_as_the_one_before_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    problems = CallProblems(lambda: 0.0)
    for problem in (FULL, FULL, FULL, "locked"):
        problems.note("swap", problem)
    assert caplog.messages == [f"the arbiter: {FULL}", "the arbiter: locked"]


def told_of(each_s: float, problems: Sequence[str], caplog: pytest.LogCaptureFixture) -> list[str]:
    """What is logged of calls in a row that end with these, each so long after the one before."""
    times_s = iter([number * each_s for number in range(len(problems))])
    noted = CallProblems(lambda: next(times_s))
    for problem in problems:
        noted.note("read", problem)
    return [message.removeprefix("the arbiter: ") for message in caplog.messages]


def test_a_problem_that_comes_back_is_told_once_it_has_stayed(caplog: pytest.LogCaptureFixture) -> None:
    """Or the last line would name a cause that is over."""
    stays = round(SETTLED_S)
    problems = ["silent", "denied", *["silent"] * 3 * stays, *["denied"] * 3 * stays]
    assert told_of(1.0, problems, caplog) == ["silent", "denied", "silent", "denied"]
    caplog.clear()
    assert told_of(1.0, problems[: 2 + stays], caplog) == ["silent", "denied"]
    caplog.clear()
    assert told_of(1.0, problems[: 3 + stays], caplog) == ["silent", "denied", "silent"]


def test_problems_that_alternate_are_one_line_each(caplog: pytest.LogCaptureFixture) -> None:
    assert told_of(SETTLED_S - 1.0, ["silent", "denied"] * 20, caplog) == ["silent", "denied"]
    caplog.clear()
    by_turns_for_long = ["silent", "silent", "denied", "denied"] * 20
    assert len(told_of(SETTLED_S, by_turns_for_long, caplog)) <= len(by_turns_for_long) / 2


def test_problems_of_which_each_has_a_text_of_its_own_are_all_told_and_few_are_remembered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    problems = CallProblems(lambda: 0.0)
    for number in range(10 * KINDS_MAX):
        problems.note("swap", f"index {number}")
    assert len(caplog.messages) == 10 * KINDS_MAX
    assert len(problems._ongoing["swap"]._repeats._told) <= KINDS_MAX
