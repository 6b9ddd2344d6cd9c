"""What pytest says of a comparison that failed is told in seconds, also where a machine tests."""

from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
TEST = """
import os
import random

def test_that_fails():
    assert bytearray(1 << 20) == random.Random(0).randbytes(1 << 20)

def test_that_is_not_told_where_it_runs():
    assert not {"CI", "BUILD_NUMBER"} & os.environ.keys()
"""


@pytest.mark.parametrize("variable", ["CI", "BUILD_NUMBER"])
def test_what_differs_in_a_megabyte_is_told_in_short(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    pytester.makeconftest(CONFTEST.read_text(encoding="utf-8"))
    pytester.makepyfile(TEST)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=60)
    result.assert_outcomes(passed=1, failed=1)
    assert len(result.outlines) < 100
