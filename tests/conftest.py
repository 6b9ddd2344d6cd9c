"""What needs a program that is not Python's."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator

import pytest

from ctlha_trio.testing._processes.etcd_server import started_etcd

WAITING, COMPUTING = {"e2e"}, {"power", "sim"}
"""Folders of tests that mostly wait for processes and clocks, and of those that keep a processor busy for long."""


def pytest_configure(config: pytest.Config) -> None:
    """Before any process is started."""
    _find_compiled(config)
    # Ignored, as for what a script runs in the background or under nohup, it would be by the processes that tests end.
    for number, as_usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, as_usual)


def _find_compiled(config: pytest.Config) -> None:
    """Let the processes that tests start find the package compiled, also where Python is told to leave no bytecode.

    Each of some hundred would compile every module anew, which is a third of the processor time of its start.
    """
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        os.environ["PYTHONPYCACHEPREFIX"] = folder = tempfile.mkdtemp(prefix="ctlha-bytecode-")
        config.add_cleanup(lambda: shutil.rmtree(folder))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes long first: files that wait and files that compute by turns, and all the short ones behind them.

    Several processes of which each takes the next file then wait and compute beside each other, and end together.
    """
    files = list(dict.fromkeys(item.path for item in items))
    groups = [[path for path in files if path.parent.name in folders] for folders in (WAITING, COMPUTING)]
    turns = {path: (number + 0.5) / len(group) for group in groups for number, path in enumerate(group)}
    items.sort(key=lambda item: turns.get(item.path, 1.0))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Let what a test compares be shown in short.

    Where one of these says that a machine tests, pytest tells all that differs, which takes hours for a few megabytes.
    """
    said = {name: os.environ.pop(name) for name in ("CI", "BUILD_NUMBER") if name in os.environ}
    try:
        yield
    finally:
        os.environ |= said


@pytest.fixture(scope="session")
def etcd_program() -> str:
    """Where etcd is."""
    return _program("etcd", "etcd-server")


@pytest.fixture(scope="session")
def etcdctl_program() -> str:
    """Where etcd's own client is."""
    return _program("etcdctl", "etcd-client")


def _program(name: str, package: str) -> str:
    """Where it is. Without it the test is skipped, but not where everything has to be tested."""
    program = shutil.which(name)
    if program is not None:
        return program
    missing = f"{name} is not installed (on Debian: apt install {package})"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture(scope="session")
def etcd_endpoint(etcd_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real etcd of one member that all tests share, and none stops or sets up in another way."""
    with started_etcd(etcd_program, tmp_path_factory.mktemp("etcd")) as (member,):
        yield member.endpoint
