"""The pytest plugin in projects of others: each way to run an async test, and a project that does not use it."""

import re
import shutil
from pathlib import Path

import attrs
import pytest

SAMPLE = Path(__file__).parents[2] / "sample"
STRICT = ("-W", "error", "--strict-markers", "--strict-config")
BODIES = """
import time

import pytest
import trio

from ctlha_trio import FailedError
from ctlha_trio.ctl_ha import *

OK = ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK
CTL = ctl_ha_channel.CTL_HA_CHAN_CTL


async def time_is_virtual(ctlha_clock):
    began = time.monotonic()
    await trio.sleep(10_000)
    assert ctlha_clock.current_time() == trio.current_time() >= 10_000
    assert time.monotonic() - began < 60


async def survivor_has_it(ctlha_pair, ctlha_clock):
    async with ctlha_pair(size_bytes=1 << 16, seed=3) as pair:
        await pair.nodes["a"].volume.write(0, b"kept")
        pair.crash("a", silently=True)
        b = await pair.wait_alone("b")
        assert await b.volume.read(0, 4) == b"kept"


async def both_crash_and_return(ctlha_pair, ctlha_clock):
    for order in ("ab", "ba"):
        async with ctlha_pair(start=False) as pair:
            for name in order:
                await pair.start(name)
            await pair.wait_protected()
            for name in order:
                pair.crash(name)
            for name in order:
                await pair.restart(name)
            await pair.wait_protected()


async def pair_and_mirrors_together(ctlha_mirrors, ctlha_pair, ctlha_clock):
    async def ignore(channel, event, param):
        pass

    async with ctlha_pair() as pair, ctlha_mirrors() as mirrors:
        pair.partition()
        for node in (mirrors.a, mirrors.b):
            with node.current():
                assert ctl_ha_msg_create(CTL, ignore) is ctl_ha_status.CTL_HA_STATUS_SUCCESS
        with mirrors.a.current():
            assert await ctl_ha_msg_send(CTL, bytes(512), 512, 1) is ctl_ha_status.CTL_HA_STATUS_SUCCESS
        await pair.wait_until(lambda: len(pair.record.members) == 1)


async def raises_its_own(ctlha_pair, ctlha_clock):
    async with ctlha_pair():
        raise LookupError("of the test")


async def node_fails_unseen(ctlha_pair, ctlha_clock):
    def components(node):
        async def hook(component):
            return OK

        async def start(component, state):
            if node.config.node == "b" and state is ctl_ha_state.CTL_HA_STATE_SINGLE:
                raise ArithmeticError("of the component")
            return OK

        return [ctl_ha_component("mine", init=hook, start=start, quiesce=hook)]

    async with ctlha_pair(components=components) as pair:
        pair.crash("a")
        await pair.wait_until(lambda: bool(pair.nodes["b"].component_errors))
"""
GOOD = ("time_is_virtual", "survivor_has_it", "both_crash_and_return", "pair_and_mirrors_together")
BAD = ("raises_its_own", "node_fails_unseen")


@attrs.frozen
class Mode:
    """A way to run async tests, as a project's files."""

    test: str
    ini: str = ""
    conftest: str = ""
    options: tuple[str, ...] = ()


ANYIO_CONFTEST = """
import pytest


@pytest.fixture
def anyio_backend(ctlha_clock):
    return "trio", {"clock": ctlha_clock}
"""
MODES = {
    "pytest-trio": Mode("@pytest.mark.trio\nasync def test_{name}({fixtures}):\n    await {name}({fixtures})\n"),
    "pytest-trio-mode": Mode(
        "async def test_{name}({fixtures}):\n    await {name}({fixtures})\n", ini="[pytest]\ntrio_mode = true\n"
    ),
    "anyio": Mode(
        "@pytest.mark.anyio\nasync def test_{name}({fixtures}):\n    await {name}({fixtures})\n",
        conftest=ANYIO_CONFTEST,
        options=("-p", "no:trio"),
    ),
    "trio.run": Mode(
        "def test_{name}({fixtures}):\n    trio.run({name}, {fixtures}, clock=ctlha_clock)\n",
        options=("-p", "no:trio", "-p", "no:anyio"),
    ),
}


def make_project(pytester: pytest.Pytester, mode: Mode, names: tuple[str, ...]) -> None:
    fixtures = {name: re.search(rf"async def {name}\((.*)\)", BODIES) for name in names}
    tests = [mode.test.format(name=name, fixtures=found[1]) for name, found in fixtures.items() if found is not None]
    assert len(tests) == len(names)
    pytester.makeini(mode.ini or "[pytest]\n")
    pytester.makeconftest(mode.conftest)
    pytester.makepyfile(bodies=BODIES)
    pytester.makepyfile("\n".join(["import pytest", "import trio", f"from bodies import {', '.join(names)}", *tests]))


@pytest.mark.parametrize("mode", MODES)
def test_fixtures_work_in_each_mode(mode: str, pytester: pytest.Pytester) -> None:
    make_project(pytester, MODES[mode], GOOD)
    result = pytester.runpytest_inprocess(*STRICT, *MODES[mode].options)
    result.assert_outcomes(passed=len(GOOD))


@pytest.mark.parametrize("mode", MODES)
def test_failing_tests_show_what_failed_in_each_mode(mode: str, pytester: pytest.Pytester) -> None:
    make_project(pytester, MODES[mode], BAD)
    result = pytester.runpytest_inprocess(*STRICT, *MODES[mode].options)
    result.assert_outcomes(failed=len(BAD))
    shown = result.stdout.str()
    assert re.search(r"\bLookupError: of the test\b", shown)
    assert re.search(r"\bArithmeticError: of the component\b", shown)
    assert re.search(r"FailedError: node b failed: ComponentError\(.mine: start raised ArithmeticError\('of the", shown)
    if not mode.startswith("pytest-trio"):  # which puts every exception of a test into a group of its own
        assert "Exception Group" not in shown


def test_plugin_is_no_burden_for_a_project_that_does_not_use_it(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import sys

        def pytest_sessionfinish(session):
            assert session.config.pluginmanager.has_plugin("ctlha")
            heavy = {"ctlha_trio", "trio", "attrs", "attr", "cryptography", "crc32c", "cattrs", "click"}
            print("LOADED", sorted(heavy.intersection(sys.modules)))
        """
    )
    pytester.makepyfile("def test_mine(): pass")
    others = ("-p", "no:trio", "-p", "no:anyio", "-p", "no:hypothesispytest")
    result = pytester.runpytest_subprocess(*STRICT, *others, "-s", "--setup-show")
    result.assert_outcomes(passed=1)
    assert "LOADED []" in result.stdout.str()
    result.stdout.no_fnmatch_line("*ctlha_*")


def test_plugin_defines_its_fixtures_and_nothing_else(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("--fixtures", "--color=no")
    section = re.search(
        r"^-+ fixtures defined from pytest_ctlha -+\n(.*?)\n\n(?=-|=|$)", result.stdout.str(), re.M | re.S
    )
    assert section is not None
    assert re.findall(r"^(\w+)(.*?) -- ", section[1], re.M) == [
        ("ctlha_clock", ""),
        ("ctlha_pair", ""),
        ("ctlha_mirrors", ""),
    ], "of function scope, all of them"


def test_sample_project_passes(pytester: pytest.Pytester) -> None:
    """Here with the tools of this run; ``.ci/run`` installs it with the wheel alone."""
    shutil.copytree(SAMPLE, pytester.path, dirs_exist_ok=True)
    result = pytester.runpytest_inprocess(*STRICT)
    result.assert_outcomes(passed=6)
