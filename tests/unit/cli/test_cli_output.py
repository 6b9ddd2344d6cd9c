"""Standard streams that fail: what was done is not said to have failed, and no traceback is shown."""

import errno
import io
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from ctlha_trio._errors import FailedError
from ctlha_trio.cli import _force, _sim, _status, _switchover, main
from ctlha_trio.cli._init import NewPair, create_pair, loopback_addresses
from ctlha_trio.cli._output import output_failure, unfailing_output

RECORD: dict[str, Any] = {"epoch": 4, "primary": "a", "members": ["a", "b"], "lineage": "l"}
TOLD = "standard output could not be written: No space left on device\n"
STATEMENT = "b is powered off"


class Medium(io.RawIOBase):
    """Takes a few bytes with each call, and from some call on none."""

    def __init__(self, failing: int | None = None, room: int = 0) -> None:
        super().__init__()
        self.failing, self.room = failing, room
        self.content = b""

    def writable(self) -> bool:
        return True

    def write(self, content: Any, /) -> int | None:
        if self.failing is None or len(self.content) < self.room:
            self.content += bytes(content[:7])
            return min(7, len(content))
        if self.failing == errno.EAGAIN:
            return None
        raise OSError(self.failing, os.strerror(self.failing))


@attrs.frozen
class Ended:
    code: object
    stdout: str
    stderr: str


def ctlha(
    monkeypatch: pytest.MonkeyPatch, *arguments: str | Path, out: Medium | None = None, err: Medium | None = None
) -> Ended:
    """As ``main`` runs where standard output and standard error are these."""
    out, err = out or Medium(), err or Medium()
    streams = [io.TextIOWrapper(io.BufferedWriter(medium), encoding="utf-8") for medium in (out, err)]
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", streams[0])
        patched.setattr(sys, "stderr", streams[1])
        with pytest.raises(SystemExit) as end:
            main([str(each) for each in arguments], prog_name="ctlha")
    for stream in streams:
        stream.flush()  # as the interpreter does when it ends: nothing may be left that fails again
    return Ended(end.value.code, out.content.decode(), err.content.decode())


@pytest.fixture
def config(tmp_path: Path) -> Path:
    create_pair(tmp_path / "p", NewPair(size_bytes=4096, link_addresses=loopback_addresses(7900)))
    return tmp_path / "p" / "a" / "node.toml"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the node was asked for. It does everything, and is protected."""
    found: list[str] = []

    async def switchover_of(_: Path) -> None:
        found.append("switchover")

    async def force_plan_of(_: Path, __: str) -> dict[str, Any]:
        return {"before": RECORD, "after": RECORD, "revision": 7, "copy_epoch": 4, "fence_command": ""}

    async def force_primary_of(_: Path, __: str, **___: object) -> None:
        found.append("force-primary")

    async def status_of(_: Path) -> dict[str, object]:
        found.append("status")
        return {"verdict": "protected"}

    monkeypatch.setattr(_switchover, "switchover_of", switchover_of)
    monkeypatch.setattr(_force, "force_plan_of", force_plan_of)
    monkeypatch.setattr(_force, "force_primary_of", force_primary_of)
    monkeypatch.setattr(_status, "status_of", status_of)
    return found


def test_what_can_be_written_is_written_whole_and_in_order(
    config: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = ctlha(monkeypatch, "switchover", config)
    assert ended == Ended(0, "node a handed its role over to node b\n", "")


@pytest.mark.parametrize(
    "out",
    [(errno.ENOSPC, 0), (errno.ENOSPC, 14), (errno.EAGAIN, 0), (errno.EPIPE, 0), (errno.EPIPE, 14)],
    ids=["full", "fills", "would block", "closed", "closes"],
)
@pytest.mark.parametrize("command", ["switchover", "status", "status --json", "status --watch"])
def test_what_was_done_has_not_failed(
    config: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch, command: str, out: tuple[int, int]
) -> None:
    (failing, room), (name, *options) = out, command.split()
    ended = ctlha(monkeypatch, name, config, *options, out=Medium(failing, room))
    told = "" if failing == errno.EPIPE else f"standard output could not be written: {os.strerror(failing)}\n"
    assert (ended.code, ended.stderr, asked) == (5, told, [name])
    assert len(ended.stdout) == room


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("status", "--help")])
def test_help_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    assert ctlha(monkeypatch, *arguments, out=Medium(errno.ENOSPC)) == Ended(5, "", TOLD)


def test_an_encoding_that_click_replaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """For ASCII, click writes to the bytes below the stream."""
    out = io.TextIOWrapper(io.BufferedWriter(Medium(errno.ENOSPC)), encoding="ascii")
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", out)
        with pytest.raises(SystemExit) as end:
            main(["--help"], prog_name="ctlha")
    assert end.value.code == 5


def test_what_was_refused_stays_refused(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_: Path) -> dict[str, Any]:
        return {"plan": {"obstacles": ["resyncing"]}, "accepted": False}

    monkeypatch.setattr(_switchover, "switchover_plan_of", refuse)
    assert ctlha(monkeypatch, "switchover", config, "--dry-run", out=Medium(errno.ENOSPC)) == Ended(1, "", TOLD)


def test_a_log_on_a_full_disk_takes_neither_and_the_exit_code_tells(
    config: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Medium(errno.ENOSPC), Medium(errno.ENOSPC)
    assert ctlha(monkeypatch, "switchover", config, out=full[0], err=full[1]) == Ended(5, "", "")


def test_what_was_refused_has_its_exit_code_though_the_reason_is_lost(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_: Path) -> None:
        raise FailedError("not now")

    monkeypatch.setattr(_switchover, "switchover_of", refuse)
    assert ctlha(monkeypatch, "switchover", config, err=Medium(errno.ENOSPC)) == Ended(1, "", "")


# Output before the change.


def test_what_was_stated_beforehand_is_done_though_the_plan_is_lost(
    config: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = "force-primary", config, "--abandon", "b", "--statement", STATEMENT
    ended = ctlha(monkeypatch, *arguments, out=Medium(errno.ENOSPC))
    assert (ended, asked) == (Ended(5, "", TOLD), ["force-primary"])


@pytest.mark.parametrize("is_shown", [False, True])
def test_nobody_is_asked_about_what_was_not_shown(
    config: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch, is_shown: bool
) -> None:
    """Nor is what is typed below a question that was lost itself a statement."""
    shown = ctlha(monkeypatch, "force-primary", config, "--abandon", "b", "--dry-run").stdout
    room = len(shown.partition(" 1. a person says")[0]) if is_shown else 0
    typed = io.StringIO(f"{STATEMENT}\n")
    monkeypatch.setattr(sys, "stdin", typed)
    ended = ctlha(monkeypatch, "force-primary", config, "--abandon", "b", out=Medium(errno.ENOSPC, room))
    assert (ended.code, asked) == (1, [])
    assert ended.stderr == f"nothing was changed: what would change could not be shown\n{TOLD}"
    assert bool(typed.tell()) == bool(room)


# What would go on for long.


def test_a_sweep_ends_when_its_output_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []

    def map_seeds(run: Callable[[int], object], seeds: range, *, processes: int) -> Iterator[object]:
        for seed in seeds:
            begun.append(seed)
            yield run(seed)

    monkeypatch.setattr(_sim, "map_seeds", map_seeds)
    ended = ctlha(monkeypatch, "sim", "--count", "3", out=Medium(errno.EPIPE))
    assert (ended, begun) == (Ended(5, "", ""), [0])


def test_a_stream_without_bytes_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    with unfailing_output():
        assert sys.stdout is stream
        assert output_failure() is None


# Standard streams that whoever started the command has closed.

CLOSED = "standard output could not be written: it is closed\n"


@pytest.mark.parametrize(
    ("command", "closed", "ended"),
    [
        ("--version", ">&-", (5, CLOSED)),
        ("copy {config} --json", ">&-", (5, CLOSED)),
        ("copy {config}", ">&- 2>&-", (5, "")),
        ("copy {config}", "<&- 2>&-", (0, "")),
        ("demo missing", "2>&-", (2, "")),
        ("demo missing", ">&- 2>&-", (2, "")),
        ("force-primary {config} --abandon b --salvage", "<&- >&- 2>&-", (1, "")),
    ],
)
def test_a_closed_stream_is_one_that_cannot_be_written(
    config: Path, command: str, closed: str, ended: tuple[int, str]
) -> None:
    line = f"{shlex.quote(sys.executable)} -m ctlha_trio {command.format(config=shlex.quote(str(config)))} {closed}"
    ran = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == ended


def test_nothing_that_a_command_opens_takes_the_place_of_a_closed_stream() -> None:
    """What is then written there, by whichever library, would go into a file of the node. In its processes too."""
    program = """
import os
from ctlha_trio.cli._output import unfailing_output
with unfailing_output():
    assert os.open("/dev/null", os.O_RDONLY) > 2
    import subprocess, sys
    other = "import os; assert os.open('/dev/null', os.O_RDONLY) > 2"
    subprocess.run([sys.executable, "-c", other], check=True)
    print("lost", file=sys.stderr)
    assert not sys.stderr.isatty()
"""
    line = f"{shlex.quote(sys.executable)} -c {shlex.quote(program)} <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", line], check=False).returncode == 0


def test_the_program_leaves_nothing_to_the_end_of_the_interpreter() -> None:
    """Which would flush once more, fail, and end with 120."""
    program = "from ctlha_trio.cli import main; main(['--version'], prog_name='ctlha')"
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (ended.returncode, ended.stderr) == (5, TOLD)
