"""An interrupt ends ``ctlha`` with 130 and without a word, also while it is being loaded."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner

from ctlha_trio import cli
from ctlha_trio._errors import FailedError
from ctlha_trio.cli import _bench, _demo, _demo_pair, _main, _node, ctlha_command
from ctlha_trio.cli._run import EXIT_INTERRUPTED, ending_signals, leaves_of

LOADED = """
import os, runpy, signal, sys

class Interrupt:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "ctlha_trio":
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.{handler})
sys.meta_path.insert(0, Interrupt)
sys.argv[1:] = ["--version"]
runpy.run_path({file!r})["main"]()
"""

LONG_S = 60.0


def interrupted_while_loading(handler: str) -> subprocess.CompletedProcess[str]:
    program = LOADED.format(handler=handler, file=str(Path(ctlha_command.__file__)))
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)


def test_while_it_is_loaded() -> None:
    ran = interrupted_while_loading("default_int_handler")
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")


def test_where_interrupts_are_ignored_they_stay_so() -> None:
    ran = interrupted_while_loading("SIG_IGN")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("ctlha, version ")


def test_once_it_is_loaded_an_interrupt_is_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []

    def interrupted() -> None:
        found.append(signal.getsignal(signal.SIGINT))
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", interrupted)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as ended:
        ctlha_command.main()
    assert (ended.value.code, found) == (130, [before])


def test_before_a_command_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """As while it loads what only that command needs."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_main, "run_command", interrupted)
    done = CliRunner().invoke(cli.main, ["status", "node.toml"])
    assert (done.exit_code, done.output) == (130, "")


async def test_while_the_demo_starts_its_first_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_demo_pair.DemoNode, "start", interrupted)
    file = tmp_path / "file"
    file.write_bytes(bytes(4096))
    with pytest.raises(BaseExceptionGroup) as ended:
        await _demo.run_demo(file)
    assert list(map(type, leaves_of(ended.value))) == [KeyboardInterrupt]


@pytest.fixture
def background() -> Iterator[None]:
    """As a shell that is no terminal's starts what it does not wait for, and as nohup does."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP)}
    # What nobody takes from Trio is raised again, and would end the tests.
    before[signal.SIGTERM] = signal.signal(signal.SIGTERM, lambda *_: None)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def raise_signals() -> None:
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.raise_signal(number)


@pytest.mark.usefixtures("background")
def test_what_is_ignored_stays_so() -> None:
    assert ending_signals(signal.SIGINT, signal.SIGHUP) == [signal.SIGTERM]


@pytest.mark.usefixtures("background")
async def test_a_benchmark_ignores_what_was_ignored() -> None:
    async def work() -> None:
        raise_signals()
        await trio.sleep_forever()

    with trio.fail_after(LONG_S), pytest.raises(FailedError, match=r"^ended by SIGTERM$"):
        await _bench._unless_signalled(work)


@pytest.mark.usefixtures("background")
async def test_a_node_ignores_what_was_ignored(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(*_: object) -> None:
        raise_signals()
        await trio.sleep_forever()

    def end_at_once() -> None:
        raise AssertionError("a signal that was ignored has counted")

    monkeypatch.setattr(_node, "run_loaded_node", run)
    monkeypatch.setattr(_node, "end_stderr", end_at_once)
    loaded: Any = None
    with trio.fail_after(LONG_S), caplog.at_level("INFO"):
        await _node._Running(loaded).run()
    assert caplog.messages == ["stopping: SIGTERM"]


def test_the_exit_code_is_that_of_the_command_line() -> None:
    assert ctlha_command.EXIT_INTERRUPTED == EXIT_INTERRUPTED


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short name: the path of a socket may have 107 bytes."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def children_of(pid: int, module: str) -> list[int]:
    """Those that run it: others come and go while the command is being loaded."""
    found = []
    for each in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in each.read_text().split():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if module in Path(f"/proc/{child}/cmdline").read_text():
                    found.append(int(child))
    return found


@pytest.mark.parametrize(
    ("command", "module", "processes"),
    [("demo", "ctlha_trio.cli._demo_node", 2), ("bench", "ctlha_trio.bench", 1)],
    ids=["demo", "bench"],
)
def test_while_its_other_processes_boot(command: str, module: str, processes: int, short: Path) -> None:
    """A terminal tells all that are in its foreground, and these are not ready for it: the command alone decides."""
    with subprocess.Popen(
        [sys.executable, "-m", "ctlha_trio", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(short)},
        start_new_session=True,
    ) as running:
        try:
            while len(children := children_of(running.pid, module)) < processes:
                assert running.poll() is None
            told = [child for child in children if os.getpgid(child) == running.pid]
            os.killpg(running.pid, signal.SIGINT)
            said, complained = running.communicate(timeout=LONG_S)
        except BaseException:
            running.kill()
            raise
    assert told == []
    assert (running.returncode, said) == (130, "")
    assert complained in {"", "     0 of 4180 writes  waiting for the pair\n"}
    assert list(short.iterdir()) == []
