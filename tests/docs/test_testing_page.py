"""The page on testing: its example passes as it stands there, in ten lines, and its anyio fixture is the right one."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "testing.md").read_text()
COUNTER, TEST, ANYIO = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
STRICT = ("-W", "error", "--strict-markers", "--strict-config")


@pytest.mark.parametrize("wrong", [False, True])
def test_the_example_passes_and_fails_if_the_counter_is_wrong(wrong: bool, pytester: pytest.Pytester) -> None:
    """A reader copies both files into an empty folder."""
    pytester.makepyfile(
        counter=COUNTER.replace("(0, count.to_bytes(8))", "(8, count.to_bytes(8))") if wrong else COUNTER
    )
    pytester.makepyfile(test_counter=TEST)
    result = pytester.runpytest_inprocess(*STRICT)
    result.assert_outcomes(passed=not wrong, failed=wrong)


def test_the_example_runs_under_anyio_with_the_fixture_that_the_page_shows(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(ANYIO)
    pytester.makepyfile(counter=COUNTER, test_counter=TEST.replace("pytest.mark.trio", "pytest.mark.anyio"))
    pytester.runpytest_inprocess(*STRICT, "-p", "no:trio").assert_outcomes(passed=1)


def test_the_test_has_ten_lines() -> None:
    assert len([line for line in TEST.splitlines() if line.strip()]) <= 10


def test_the_sample_project_has_the_same_counter() -> None:
    sample = (ROOT / "tests" / "sample" / "counter.py").read_text()
    assert re.sub(r'^ *""".*"""\n', "", sample, flags=re.MULTILINE).split() == COUNTER.split()
