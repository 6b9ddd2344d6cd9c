"""What is in an arbiter's way: told when it changes, then rarely."""

import pytest

from ctlha_trio._repeats import KINDS_MAX, REPEAT_S
from ctlha_trio.arbiter._problems import CallProblems

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


def test_problems_of_which_each_has_a_text_of_its_own_are_all_told_and_few_are_remembered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    problems = CallProblems(lambda: 0.0)
    for number in range(10 * KINDS_MAX):
        problems.note("swap", f"index {number}")
    assert len(caplog.messages) == 10 * KINDS_MAX
    assert len(problems._repeats["swap"]._told) <= KINDS_MAX
