"""What a user can get wrong: one clear line that names file and key, exit code 2, nothing written."""

import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

pytestmark = pytest.mark.slow

BASE_PORT = 32_100
SIZE = 1024 * 1024


def run_ctlha(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "ctlha_trio", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@attrs.frozen
class Made:
    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "a" / "node.toml"

    def edit(self, pattern: str, new: str) -> None:
        text, count = re.subn(pattern, new, self.config.read_text(), count=1)
        assert count
        self.config.write_text(text)

    def fingerprint(self) -> dict[str, str]:
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            for path in self.folder.rglob("*")
        }


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template") / "pair"
    done = run_ctlha("init", folder, "--size", "1M", "--base-port", str(BASE_PORT))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"ctlha node {folder / node / 'node.toml'}" for node in ("a", "b")]
    return folder


@pytest.fixture
def made(template: Path, tmp_path: Path) -> Made:
    shutil.copytree(template, tmp_path / "pair")
    return Made(tmp_path / "pair")


def break_text(made: Made) -> None:
    made.config.write_text("format = [")


def misspell_key(made: Made) -> None:
    made.edit("listen", "listne")


def open_key(made: Made) -> None:
    (made.config.parent / "node.key").chmod(0o644)


def spoil_key(made: Made) -> None:
    (made.config.parent / "node.key").write_bytes(b"\0" * 119)


def shorten_volume(made: Made) -> None:
    with (made.config.parent / "volume.img").open("r+b") as file:
        file.truncate(SIZE)


def remove_arbiter(made: Made) -> None:
    (made.folder / "arbiter.db").unlink()


def take_foreign_arbiter(made: Made) -> None:
    other = made.folder.parent / "other"
    assert run_ctlha("init", other, "--size", "1M").returncode == 0
    shutil.copy(other / "arbiter.db", made.folder / "arbiter.db")


def leave_loopback(made: Made) -> None:
    made.edit(r'listen = "127.0.0.1', 'listen = "192.0.2.1')


def take_the_peers_id(made: Made) -> None:
    made.edit('\nnode = "a"', '\nnode = "b"')


@pytest.mark.parametrize(
    ("damage", "key"),
    [
        (break_text, ""),
        (misspell_key, "link.listne"),
        (misspell_key, "link.listen"),
        (open_key, "link.key"),
        (spoil_key, "link.key"),
        (shorten_volume, "volume.file"),
        (remove_arbiter, "arbiter.sqlite"),
        (take_foreign_arbiter, "arbiter.sqlite"),
        (leave_loopback, "link.listen"),
        (take_the_peers_id, "peer.node"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_node_that_cannot_start(made: Made, damage: Callable[[Made], None], key: str) -> None:
    damage(made)
    before = made.fingerprint()
    done = run_ctlha("node", made.config)
    assert done.returncode == 2
    assert made.fingerprint() == before
    lines = done.stderr.splitlines()
    assert all(line.startswith(f"{made.config}: ") for line in lines), done.stderr
    assert any(line.startswith(f"{made.config}: {key}: " if key else f"{made.config}: is not TOML") for line in lines)


def test_faults_of_every_sort_are_one_message(made: Made) -> None:
    """Of the text, of values together, of the files that it names, and of what lies beside them."""
    folder = made.config.parent
    made.edit("format = 1\n", "")
    made.edit('\ncluster = ".*"', "\ncluster = 7")
    made.edit('listen = ".*"', 'listen = "nowhere"\nlisten_too = true')
    made.edit("size_bytes = .*", "size_bytes = 5000")
    made.edit('\nnode = "b"', '\nnode = "a"')
    made.edit('file = "volume.img"', 'file = "gone.img"')
    (folder / "node.key").chmod(0o644)
    (folder / "data.sock").touch()
    before = made.fingerprint()
    done = run_ctlha("node", made.config)
    assert (done.returncode, done.stdout) == (2, "")
    assert made.fingerprint() == before
    assert sorted(line.removeprefix(f"{made.config}: ") for line in done.stderr.splitlines()) == sorted(
        [
            "format: must be 1, the format that this version reads",
            "cluster: must be text in quotes",
            "link.listen: 'nowhere': expected HOST:PORT, with a number for the port",
            "link.listen_too: is not known here",
            "volume.size_bytes: must be a multiple of 4096, up to 64 TiB",
            "peer.node: is 'a', the same as node: two nodes cannot have one id",
            f"link.key: {folder / 'node.key'}: open to others (mode 0644): chmod 600 {folder / 'node.key'}",
            f"volume.file: {folder / 'gone.img'}: there is no such file",
            f"{folder / 'data.sock'} exists and is not a socket",
        ]
    )


@pytest.mark.parametrize("command", ["node", "status", "switchover", "verify"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_what_is_no_file_is_no_configuration(tmp_path: Path, kind: str, command: str) -> None:
    config = tmp_path / "node.toml"
    if kind == "pipe":
        os.mkfifo(config)
    elif kind == "folder":
        config.mkdir()
    else:
        config.symlink_to("/dev/zero")
    done = run_ctlha(command, config)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{config}: cannot be read: it is no file\n"


@pytest.mark.parametrize("command", ["node", "status", "switchover"])
@pytest.mark.parametrize("kind", ["file", "folder", "pipe"])
def test_what_is_no_socket_is_not_taken_for_one(made: Made, kind: str, command: str) -> None:
    path = made.config.parent / "status.sock"
    if kind == "file":
        path.write_text("mine")
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    done = run_ctlha(command, made.config)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.endswith(f"{path} exists and is not a socket" if command == "node" else ": exists and is not a socket")
    assert path.exists()


def test_a_pipe_in_place_of_the_volume(made: Made) -> None:
    volume = made.config.parent / "volume.img"
    volume.unlink()
    os.mkfifo(volume)
    done = run_ctlha("node", made.config)
    assert done.returncode == 2
    assert done.stderr == f"{made.config}: volume.file: {volume}: cannot be opened: neither a file nor a block device\n"


def test_a_port_in_use(made: Made) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        made.edit(f"127.0.0.1:{BASE_PORT}", f"127.0.0.1:{port}")
        before = made.fingerprint()
        done = run_ctlha("node", made.config)
    assert done.returncode == 2
    assert made.fingerprint() == before
    assert done.stderr.startswith(f"{made.config}: link.listen: cannot listen on 127.0.0.1:{port}: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["node", "status", "switchover"])
def test_a_configuration_that_is_not_there(tmp_path: Path, command: str) -> None:
    done = run_ctlha(command, tmp_path / "node.toml")
    assert done.returncode == 2
    assert done.stderr == f"{tmp_path / 'node.toml'}: cannot be read: No such file or directory\n"


def test_a_node_that_does_not_run_gives_no_answer(made: Made) -> None:
    done = run_ctlha("status", made.config, "--json")
    assert (done.returncode, done.stdout) == (2, "")
    socket = made.config.parent / "status.sock"
    assert done.stderr == (
        f"{made.config}: {socket}: no node listens there: No such file or directory\n"
        f"  if it does not run, start it: ctlha node {made.config}\n"
    )


@pytest.mark.parametrize("kind", ["missing", "empty", "folder"])
def test_a_demo_of_a_file_that_cannot_be_used(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "file"
    if kind == "empty":
        file.touch()
    elif kind == "folder":
        file.mkdir()
    done = run_ctlha("demo", file)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{file}: ")
    assert len(done.stderr.splitlines()) == 1
