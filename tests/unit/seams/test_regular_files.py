"""What is told of a path is the same with every version of Python, and nothing in a file's place is waited for."""

import os
from pathlib import Path

import pytest

from ctlha_trio.seams import is_regular, is_there, open_regular

LONG = "x" * 300


@pytest.mark.parametrize("name", ["file", "folder", "pipe", "link"])
def test_what_is_there(tmp_path: Path, name: str) -> None:
    fill(tmp_path)
    assert is_there(tmp_path / name)
    assert is_regular(tmp_path / name) is (name in {"file", "link"})


@pytest.mark.parametrize("name", ["nothing", "dangling", "file/below"])
def test_what_is_not(tmp_path: Path, name: str) -> None:
    fill(tmp_path)
    assert not is_there(tmp_path / name)
    assert not is_regular(tmp_path / name)


@pytest.mark.parametrize("name", [LONG, "loop"])
def test_what_nobody_can_tell(tmp_path: Path, name: str) -> None:
    """``Path.exists`` says of the first that it is not there, from Python 3.14 on, and of the second always."""
    fill(tmp_path)
    for look in (is_there, is_regular):
        with pytest.raises(OSError, match=r"File name too long|Too many levels"):
            look(tmp_path / name)


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY | os.O_APPEND | os.O_CREAT])
@pytest.mark.parametrize("name", ["pipe", "folder"])
def test_what_is_no_file_is_not_opened(tmp_path: Path, name: str, flags: int) -> None:
    fill(tmp_path)
    with pytest.raises(OSError, match=r"is not a regular file|Is a directory"):
        open_regular(tmp_path / name, flags)


def test_a_file_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    os.close(open_regular(tmp_path / "fresh", os.O_WRONLY | os.O_CREAT))
    assert (tmp_path / "fresh").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "nothing", os.O_RDONLY)


def fill(folder: Path) -> None:
    (folder / "file").touch()
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to("file")
    (folder / "dangling").symlink_to("nothing")
    (folder / "loop").symlink_to("loop")
