"""What a node's own folder has to be, for it makes its sockets and its log of decisions there."""

import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from ctlha_trio.door import DATA_SOCKET, DECISIONS_FILE, MAX_SOCKET_PATH_BYTES, STATUS_SOCKET
from ctlha_trio.seams import is_regular, is_there

_SOCKETS: Final = (STATUS_SOCKET, DATA_SOCKET)
MAX_FOLDER_PATH_BYTES: Final = MAX_SOCKET_PATH_BYTES - len("/") - max(map(len, _SOCKETS))
"""Of the whole path, from the root on."""


def problems_of_folder(folder: Path) -> Iterator[str]:
    """Each reason why no node can have it; ``folder`` is absolute. Looks, and changes nothing. ``OSError`` if gone."""
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        command = shlex.join(["chmod", "700", str(folder)])
        yield f"its folder {folder} is open to others (mode {mode:04o}): {command}"
    if not os.access(folder, os.W_OK | os.X_OK):
        yield f"its folder {folder} may not be written, and its sockets and its log of decisions are made there"
    if excess := path_excess(folder):
        yield f"its folder {folder} is {excess}; move it to a place with a shorter path"
    for path in _foreign_sockets(folder):
        yield f"{path} exists and is not a socket"
    decisions = folder / DECISIONS_FILE
    if is_there(decisions) and not is_regular(decisions):
        yield f"{decisions} exists and is not a regular file"


def path_excess(folder: Path) -> str:
    """In what way the path is too long for a node; empty if it is not."""
    size = len(os.fsencode(folder.absolute()))
    if size <= MAX_FOLDER_PATH_BYTES:
        return ""
    return f"too long for a node's sockets: its whole path has {size} bytes, of at most {MAX_FOLDER_PATH_BYTES}"


def free_sockets(folder: Path) -> Iterator[Path]:
    """The names of the node's sockets that a node may have, or a process may listen at already."""
    if not path_excess(folder):
        foreign = frozenset(_foreign_sockets(folder))
        yield from (folder / name for name in _SOCKETS if folder / name not in foreign)


def _foreign_sockets(folder: Path) -> Iterator[Path]:
    """What lies where the node's sockets are to be, and is none."""
    for name in _SOCKETS:
        path = folder / name
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(path.lstat().st_mode):
                yield path
