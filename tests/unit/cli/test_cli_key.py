"""The pin of a node's key, and a new key that takes nothing away from the old one."""

import re
import shlex
import stat
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ctlha_trio.cli import main
from ctlha_trio.cli._config import load_config
from ctlha_trio.cli._init import NewPair, create_pair, loopback_addresses
from ctlha_trio.seams import describe_key, load_key


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of node a, in a path that a shell has to be told of."""
    create_pair(tmp_path / "the pair", NewPair(size_bytes=4096, link_addresses=loopback_addresses(7900)))
    return tmp_path / "the pair" / "a"


def key(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["key", str(folder / "node.toml"), *options])


def test_the_pin_is_the_one_that_the_other_node_has(folder: Path) -> None:
    done = key(folder)
    (pin,) = load_config(folder.parent / "b" / "node.toml").content.peer.pins
    assert (done.exit_code, done.output) == (0, f"{pin}\n")


def test_a_new_key_lies_beside_the_old_one_for_its_owner_only(folder: Path) -> None:
    before = (folder / "node.key").read_bytes()
    done = key(folder, "--new")
    assert done.exit_code == 0, done.output
    made = folder / "node.key.new"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert (folder / "node.key").read_bytes() == before != made.read_bytes()
    assert done.output.splitlines()[0] == describe_key(load_key(made))


def test_the_steps_lead_to_the_new_key(folder: Path) -> None:
    """The commands in them are run as they stand there."""
    old_pin = key(folder).output.strip()
    new_pin, both, change, one, end = key(folder, "--new").output.splitlines()
    assert f'pins = ["{old_pin}", "{new_pin}"]' in both
    assert f'pins = ["{new_pin}"]' in one
    commands = re.search(r"; (ln .*); start", change)
    assert commands is not None
    (folder / "node.key.old").touch()
    assert subprocess.run(["sh", "-c", commands[1]], check=False).returncode != 0, "an older one is not overwritten"
    assert key(folder).output.strip() == old_pin
    (folder / "node.key.old").unlink()
    subprocess.run(["sh", "-c", commands[1]], check=True)
    assert key(folder).output.strip() == new_pin
    assert describe_key(load_key(folder / "node.key.old")) == old_pin
    subprocess.run(shlex.split(end.partition("on node a: ")[2]), check=True)
    assert not [path for path in folder.iterdir() if path.suffix in {".old", ".new"}]


def test_a_new_key_that_is_there_is_told_with_its_pin_and_stays(folder: Path) -> None:
    new_pin = key(folder, "--new").output.splitlines()[0]
    made = (folder / "node.key.new").read_bytes()
    again = key(folder, "--new")
    said = f"{folder / 'node.key.new'} is there already, with the pin {new_pin}; it is not overwritten\n"
    assert (again.exit_code, again.output) == (1, said)
    assert (folder / "node.key.new").read_bytes() == made


def test_an_old_key_that_is_there_still_would_be_in_the_way(folder: Path) -> None:
    (folder / "node.key.old").touch()
    done = key(folder, "--new")
    assert (done.exit_code, "node.key.old is there still" in done.output) == (1, True)
    assert not (folder / "node.key.new").exists()


@pytest.mark.parametrize("options", [(), ("--new",)])
def test_a_key_that_is_open_to_others_is_not_used(folder: Path, options: tuple[str, ...]) -> None:
    (folder / "node.key").chmod(0o640)
    done = key(folder, *options)
    assert (done.exit_code, "chmod 600" in done.output) == (2, True)
    assert not (folder / "node.key.new").exists()


def test_a_key_that_cannot_be_written_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    done = key(folder, "--new")
    assert (done.exit_code, done.output) == (1, f"{folder / 'node.key.new'}: No space left on device\n")
    assert not (folder / "node.key.new").exists()
