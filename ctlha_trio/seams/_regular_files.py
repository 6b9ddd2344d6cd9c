"""Files whose place anything may have: looked at so that what cannot be told is an error, opened without ever waiting.

``Path.exists`` and its like say False, as of Python 3.14, where the system refuses to tell.
"""

import errno
import os
import stat
from pathlib import Path


def is_there(path: Path) -> bool:
    """Whether anything is at the path, or where it leads. ``OSError`` if nobody can tell. Blocks."""
    return _mode_of(path) is not None


def is_regular(path: Path) -> bool:
    """Whether that is a regular file. ``OSError`` if nobody can tell. Blocks."""
    mode = _mode_of(path)
    return mode is not None and stat.S_ISREG(mode)


def open_regular(path: Path, flags: int) -> int:
    """A descriptor of the regular file there, made with mode 0600 if ``flags`` says so. Blocks.

    ``OSError``, as of any file that cannot be opened, for whatever else is there: a named pipe would make its reader or
    its writer wait for ever.
    """
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    except OSError as error:
        # What a named pipe that nobody reads says, and a socket.
        raise (_not_regular() if error.errno == errno.ENXIO else error) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_regular()
    return descriptor


def _mode_of(path: Path) -> int | None:
    try:
        return os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def _not_regular() -> OSError:
    return OSError(errno.EINVAL, "is not a regular file")
