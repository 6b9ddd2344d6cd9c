"""The page on testing: its example passes as it stands there, in eight lines, and its anyio fixture is the right one.

The signatures on it are those of the code.
"""

import inspect
import re
from pathlib import Path

import attrs
import pytest

from ctlha_trio.testing import MemoryPair, Mirrors, open_mirrors, open_pair

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "testing.md").read_text()
COUNTER, TEST, CLIENT, ANYIO = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
TEXTS = re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
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


OUTLIVES = """
import pytest
from client import write_somewhere


@pytest.mark.trio
async def test_a_client_outlives_both_nodes(ctlha_pair, ctlha_clock):
    async with ctlha_pair() as pair:
        assert await write_somewhere(pair, b"1") == "a"
        pair.crash("a", silently=True)
        assert await write_somewhere(pair, b"2") == "b"
        await pair.restart("a")
        await pair.wait_protected()
        pair.crash("b")
        assert await write_somewhere(pair, b"3") == "a"
        assert pair.durable_copy("a")[:1] == b"3"
"""


def test_the_client_outlives_both_nodes(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(client=CLIENT)
    pytester.makepyfile(test_client=OUTLIVES)
    pytester.runpytest_inprocess(*STRICT).assert_outcomes(passed=1)


def test_the_test_has_eight_lines_behind_its_imports() -> None:
    imports, _, test = TEST.partition("\n\n\n")
    assert all("import" in line for line in imports.splitlines())
    assert len(test.splitlines()) <= 8


def test_the_sample_project_has_the_same_counter() -> None:
    sample = (ROOT / "tests" / "sample" / "counter.py").read_text()
    assert re.sub(r'^ *""".*"""\n', "", sample, flags=re.MULTILINE).split() == COUNTER.split()


def signature_of(function: object) -> str:
    """As the page writes it: names without their modules."""
    assert callable(function)
    return re.sub(r"[A-Za-z_][\w.]*\.|~|'", "", str(inspect.signature(function)))


@pytest.mark.parametrize("kind", [MemoryPair, Mirrors])
def test_what_the_page_says_of_a_type_is_what_it_has(kind: type) -> None:
    (text,) = [each for each in TEXTS if each.startswith(f"class {kind.__name__}:")]
    methods = re.findall(r"^    (async )?def (\w+)(\(.*)$", text, re.MULTILINE)
    for is_async, name, signature in methods:
        function = getattr(kind, name)
        assert signature == signature_of(function), name
        assert inspect.iscoroutinefunction(function) is bool(is_async), name
    assert len(methods) + len(re.findall(r"^    \w+: ", text, re.MULTILINE)) == len(text.splitlines()) - 1
    has = {field.name for field in attrs.fields(kind)} | set(dir(kind))
    assert set(re.findall(r"^    (\w+): ", text, re.MULTILINE)) <= has


@pytest.mark.parametrize(("name", "function"), [("ctlha_pair", open_pair), ("ctlha_mirrors", open_mirrors)])
def test_what_the_page_says_that_a_fixture_takes_is_what_it_takes(name: str, function: object) -> None:
    (text,) = [each for each in TEXTS if each.startswith(f"{name}(")]
    said = re.findall(r"^    (\w+): .*?(?: = .*)?,$", text, re.MULTILINE)
    assert callable(function)
    assert said == list(inspect.signature(function).parameters)
