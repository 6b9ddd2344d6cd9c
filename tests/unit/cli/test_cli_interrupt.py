"""An interrupt ends ``ctlha`` with 130 and without a word, also while it is being loaded."""

import os
import runpy
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from click.testing import CliRunner

import ctlha_trio
from ctlha_trio import _interrupt, cli
from ctlha_trio.cli import _main, ctlha_command
from ctlha_trio.cli._run import EXIT_INTERRUPTED

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


LOADED_AS_MODULE = """
import os, signal, sys

class Interrupt:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == {name!r}:
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.{handler})
sys.meta_path.insert(0, Interrupt)
"""


def interrupted_as_module(folder: Path, name: str, handler: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python itself is told of it by a module that it loads at every start."""
    (folder / "sitecustomize.py").write_text(LOADED_AS_MODULE.format(name=name, handler=handler))
    package = Path(ctlha_trio.__file__).parents[1]
    found = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (folder, package)))}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=found, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("name", ["ctlha_trio._errors", "trio", "ctlha_trio.cli", "click"])
def test_while_it_is_loaded_as_a_module(name: str, tmp_path: Path) -> None:
    ran = interrupted_as_module(tmp_path, name, "default_int_handler", "-m", "ctlha_trio", "--version")
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")


def test_where_interrupts_are_ignored_they_stay_so_for_a_module_too(tmp_path: Path) -> None:
    ran = interrupted_as_module(tmp_path, "trio", "SIG_IGN", "-m", "ctlha_trio", "--version")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("ctlha, version ")


@pytest.mark.parametrize("arguments", [("-c", "import ctlha_trio"), ("-m", "ctlha_trio._errors")])
def test_in_another_program_an_interrupt_is_what_that_says(arguments: tuple[str, ...], tmp_path: Path) -> None:
    ran = interrupted_as_module(tmp_path, "trio", "default_int_handler", *arguments)
    assert ran.stderr.endswith("KeyboardInterrupt\n")


@pytest.mark.parametrize("interrupted", [True, False])
def test_as_a_module_an_interrupt_is_what_it_was_once_all_is_loaded(
    interrupted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def run(**named: str) -> None:
        found.append((named, signal.getsignal(signal.SIGINT)))
        if interrupted:
            raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", run)
    monkeypatch.setattr(sys, "argv", ["-m"])
    monkeypatch.setattr(sys, "orig_argv", ["python", "-X", "dev", "-m", "ctlha_trio"])
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        _interrupt.guard_loading()
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        with pytest.raises(SystemExit) if interrupted else nullcontext() as ended:
            runpy.run_module("ctlha_trio.__main__")
    finally:
        signal.signal(signal.SIGINT, before)
    assert found == [({"prog_name": "ctlha"}, signal.default_int_handler)]
    assert ended is None or ended.value.code == 130


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


def test_the_exit_code_is_that_of_the_command_line() -> None:
    assert ctlha_command.EXIT_INTERRUPTED == EXIT_INTERRUPTED
