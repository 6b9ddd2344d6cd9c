"""Commands of a user who may read a node's configuration, and use neither its folder nor its files."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ctlha_trio.cli._init import NewPair, create_pair, loopback_addresses

AS_NOBODY = """
import os, sys
from ctlha_trio.cli import main

os.chdir(sys.argv[1])
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
main(sys.argv[2:], prog_name="ctlha")
"""
LONG_S = 60.0


@pytest.fixture(scope="module")
def pair() -> Iterator[Path]:
    """Open to look at; whoever is not root may not even use what is their own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        create_pair(folder / "p", NewPair(size_bytes=4096, link_addresses=loopback_addresses(7900)))
        node = folder / "p" / "a"
        for each in (folder, folder / "p", node):
            each.chmod(0o555)
        (node / "volume.img").chmod(0)
        yield folder
        for each in (folder, folder / "p", node):
            each.chmod(0o700)


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["status", "--watch"],
        ["switchover"],
        ["switchover", "--dry-run"],
        ["verify"],
        ["force-primary", "--abandon", "b", "--dry-run"],
    ],
    ids=" ".join,
)
def test_who_may_not_start_the_node_is_not_told_to(pair: Path, command: list[str]) -> None:
    """A node makes its sockets in its folder."""
    code, said, complained = as_nobody(pair, *command, "p/a/node.toml")
    assert (code, said) == (2, "")
    socket = pair / "p" / "a" / "status.sock"
    assert complained == f"{socket}: its folder may not be written: ask as the user whose node it is\n"


@pytest.mark.parametrize(
    "command", [["copy"], ["resolve", "--discard", "a"], ["adopt-arbiter", "--dry-run"]], ids=" ".join
)
def test_a_copy_that_may_not_be_read_is_no_failure_of_it(pair: Path, command: list[str]) -> None:
    code, said, complained = as_nobody(pair, *command, "p/a/node.toml")
    assert (code, said) == (2, "")
    assert complained == f"{pair / 'p' / 'a' / 'volume.img'}: volume.file: cannot be opened: Permission denied\n"


def as_nobody(folder: Path, *arguments: str) -> tuple[int, str, str]:
    ended = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(folder), *arguments],
        capture_output=True,
        text=True,
        timeout=LONG_S,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr
