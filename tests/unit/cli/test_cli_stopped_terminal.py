"""``ctlha demo`` and ``ctlha bench`` before a terminal that Ctrl-S has stopped, or a pipe that nobody reads."""

import os
import pty
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from ctlha_trio.cli._init import NewPair, create_pair, loopback_addresses

LONG_S = 30.0
CTLHA = (sys.executable, "-m", "ctlha_trio")
BASE_PORT = 19_470
DEMO = """
from ctlha_trio.cli import _demo_command, main
from ctlha_trio.cli._demo_report import DemoReport

async def run_demo(_, *, progress):
    for number in range(100):
        progress(number, 100, f"step {number}")
    return DemoReport(passed=True, verdict="all there")

_demo_command.run_demo = run_demo
main(["demo"])
"""
BENCH = """
from contextlib import asynccontextmanager
from unittest.mock import MagicMock
from ctlha_trio.bench import Results
from ctlha_trio.cli import _bench, main

@asynccontextmanager
async def open_two_processes(carrier, folder):
    yield MagicMock()

async def run_rounds(bench, *, rounds, sizes, progress):
    for number in range(rounds):
        progress(number, rounds, "a title")
    return Results(figures=(), comparisons=())

_bench.open_two_processes, _bench.link_bench, _bench.run_rounds = open_two_processes, MagicMock(), run_rounds
main(["bench", "--rounds", "50"])
"""


@pytest.fixture
def stopped() -> Iterator[int]:
    """A terminal's other side, as its programs have it. Nothing that they write goes further."""
    outside, inside = pty.openpty()
    with open(outside, "rb"), open(inside, "wb"):
        termios.tcflow(inside, termios.TCOOFF)
        yield inside


@pytest.mark.parametrize(
    ("program", "result"), [(DEMO, "all there"), (BENCH, "median of 50 rounds")], ids=["demo", "bench"]
)
def test_progress_that_nobody_takes_is_not_waited_for(stopped: int, program: str, result: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=stopped, text=True, timeout=LONG_S, check=False
    )
    assert ended.returncode == 0
    assert result in ended.stdout


@pytest.mark.parametrize(
    ("program", "last", "result"),
    [(DEMO, "step 99", "all there"), (BENCH, "round 49 of 50", "median of 50 rounds")],
    ids=["demo", "bench"],
)
def test_the_result_comes_behind_the_progress(program: str, last: str, result: str) -> None:
    both = [sys.executable, "-c", program]
    ended = subprocess.run(
        both, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LONG_S, check=False
    )
    assert 0 <= ended.stdout.index(last) < ended.stdout.index(result)


def test_the_demo_has_its_bar_on_a_terminal() -> None:
    outside, inside = pty.openpty()
    with open(inside, "wb"), open(outside, "rb", buffering=0) as shown:
        demo = [sys.executable, "-c", DEMO]
        subprocess.run(demo, stdout=subprocess.DEVNULL, stderr=inside, timeout=LONG_S, check=True)
        os.set_blocking(outside, False)
        seen = shown.read(1 << 16)
    assert b"\r" in seen
    assert b"of 100 writes" not in seen


def test_one_that_serves_ends_at_once_when_it_is_told_to(stopped: int, tmp_path: Path) -> None:
    create_pair(tmp_path / "p", NewPair(size_bytes=4096, link_addresses=loopback_addresses(BASE_PORT)))
    serving = [*CTLHA, "bench", str(tmp_path / "p" / "a" / "node.toml"), "--serve"]
    with subprocess.Popen(serving, stderr=stopped) as running:
        try:
            while True:
                with socket.socket() as dialling:
                    if dialling.connect_ex(("127.0.0.1", BASE_PORT)) == 0:
                        break
                assert running.poll() is None
            running.send_signal(signal.SIGTERM)
            assert running.wait(LONG_S) == 1
        except BaseException:
            running.kill()
            raise
