"""A test that fails, or never ends, is told of in time, also where a machine tests."""

import tomllib
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


def test_a_process_whose_test_never_ends_does_not_go_on_either(pytester: pytest.Pytester) -> None:
    """As the project has it, but for the time."""
    project = tomllib.loads((CONFTEST.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    option = "faulthandler_exit_on_timeout"
    assert project["tool"]["pytest"]["ini_options"]["faulthandler_timeout"] == 300
    pytester.makepyfile("import threading\n\ndef test_without_end():\n    threading.Event().wait()\n")
    pytester.makeini(
        f"[pytest]\nfaulthandler_timeout = 1\n{option} = {project['tool']['pytest']['ini_options'][option]}"
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=60)
    assert result.ret == 1
    result.stderr.fnmatch_lines(["*test_without_end*"])
