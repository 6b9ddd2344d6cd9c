"""A file system of a few megabytes that can be filled to its last byte, and to its last name."""

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

import attrs

from ctlha_trio._errors import FailedError

_NAMES_MAX: Final = 128
"""Files and folders that it holds at most."""
_CAP_SYS_ADMIN: Final = 1 << 21


def missing_for_mounts() -> str:
    """Why this process may not mount a file system; empty if it may."""
    if os.geteuid() != 0:
        return "a file system of its own that is full: only root may mount one"
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    if not int(status["CapEff"], 16) & _CAP_SYS_ADMIN:
        return "a file system of its own that is full: this root lacks CAP_SYS_ADMIN, so it may not mount one"
    return ""


@attrs.frozen
class SmallFileSystem:
    """Mounted in a folder."""

    folder: Path

    def fill_space(self) -> None:
        """Take all that is left, to the last byte."""
        descriptor = os.open(self._ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            for piece in (bytes(4096), bytes(1)):
                with _until_full():
                    while True:
                        os.write(descriptor, piece)
        finally:
            os.close(descriptor)

    def fill_names(self) -> None:
        """Let no file, folder or socket be made, even an empty one."""
        with _until_full():
            self._names.mkdir(exist_ok=True)
            for number in count():
                (self._names / str(number)).touch()

    def empty(self) -> None:
        """Give back what was taken."""
        self._ballast.unlink()
        shutil.rmtree(self._names, ignore_errors=True)

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    @property
    def _names(self) -> Path:
        return self.folder / "names"


@contextmanager
def mounted_file_system(folder: Path, *, size_bytes: int) -> Iterator[SmallFileSystem]:
    """In a new folder, for the length of a block. ``FailedError`` if it cannot be mounted."""
    folder.mkdir()
    options = f"size={size_bytes},nr_inodes={_NAMES_MAX},mode=0700"
    _run("mount", "-t", "tmpfs", "-o", options, "ctlha-test", str(folder))
    try:
        yield SmallFileSystem(folder)
    finally:
        _run("umount", "--lazy", str(folder))


@contextmanager
def _until_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError as error:
        raise FailedError(f"{command[0]} is not installed (on Debian: apt install mount)") from error
    if done.returncode:
        raise FailedError(f"{' '.join(command)}: {done.stderr.strip()}")
