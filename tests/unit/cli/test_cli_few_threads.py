"""Commands of a user, or of a service, that may have no more threads: one sentence, and no fault of a configuration."""

import subprocess
import sys
from pathlib import Path

import pytest

from ctlha_trio.cli._init import NewPair, create_pair, loopback_addresses

WITH_FEW_THREADS = """
import sys, threading
from ctlha_trio.cli import main

left, start = int(sys.argv[1]), threading.Thread.start

def start_if_any_is_left(thread):
    global left
    left -= 1
    if left < 0:
        raise RuntimeError("can't start new thread")
    start(thread)

threading.Thread.start = start_if_any_is_left
main(sys.argv[2:], prog_name="ctlha")
"""
AT_THE_LIMIT = """
import os, resource, sys
from ctlha_trio.cli import main

resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
main(sys.argv[1:], prog_name="ctlha")
"""
SAID = "no thread can be started now: this user (ulimit -u), the service (TasksMax=) or the machine may have no more\n"
LONG_S = 60.0


@pytest.fixture
def node(tmp_path: Path) -> str:
    create_pair(tmp_path / "p", NewPair(size_bytes=4096, link_addresses=loopback_addresses(23_620)))
    return str(tmp_path / "p" / "a" / "node.toml")


@pytest.mark.parametrize("threads", [0, 1, 2], ids=["standard error", "loop guard", "first call"])
def test_a_node_that_has_no_thread_says_so_and_may_be_started_again(node: str, threads: int) -> None:
    """Not with exit code 2, after which a service is not started again: others may end."""
    assert run(WITH_FEW_THREADS, str(threads), "node", node) == (1, "", SAID)
    code, _, complained = run(WITH_FEW_THREADS, "9", "status", node)
    assert code == 2
    assert f"no node listens there: No such file or directory\n  if it does not run, start it: ctlha node {node}" in (
        complained
    )


@pytest.mark.parametrize("command", ["copy", "adopt-arbiter"])
def test_so_does_a_command(node: str, command: str) -> None:
    code, _, complained = run(WITH_FEW_THREADS, "0", command, node)
    assert (code, complained[-len(SAID) :]) == (1, SAID)
    assert complained.count("\n") == 1


def test_who_asks_a_node_that_does_not_run_needs_no_thread_to_hear_it(node: str) -> None:
    code, _, complained = run(WITH_FEW_THREADS, "0", "status", node)
    assert (code, "no node listens there" in complained) == (2, True)


def test_a_limit_of_the_system_is_such_a_lack() -> None:
    """The file is not there, and is not looked for."""
    assert run(AT_THE_LIMIT, "node", "node.toml") == (1, "", SAID)


def run(program: str, *arguments: str) -> tuple[int, str, str]:
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=LONG_S, check=False
    )
    return ended.returncode, ended.stdout, ended.stderr
