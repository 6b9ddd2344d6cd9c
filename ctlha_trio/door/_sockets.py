"""Unix sockets in the node's folder: binding them, and who is on the other side."""

import errno
import logging
import os
import socket
import stat
import struct
from pathlib import Path
from typing import Final

import attrs
import trio

from ctlha_trio._errors import ConfigError

STATUS_SOCKET: Final = "status.sock"
DATA_SOCKET: Final = "data.sock"
MAX_SOCKET_PATH_BYTES: Final = 107
"""``sun_path`` of Linux holds 108 bytes, the last of them zero."""

_BACKLOG: Final = 16
_LOG: Final = logging.getLogger(__name__)
_CREDENTIALS: Final = struct.Struct("3i")
_PROBE_TIMEOUT_S: Final = 1.0
"""A living node accepts at once; one that is stopped in a debugger still has a backlog that accepts."""


def is_answered(path: Path) -> bool:
    """Whether a living process listens at the socket. Blocks for at most a second. ``OSError`` if nobody can tell."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_TIMEOUT_S)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:
            return True  # its backlog is full, so somebody holds it
    return True


@attrs.define(eq=False)
class BoundSocket:
    """A listening socket and the name that it was given."""

    path: Path
    listener: trio.SocketListener
    _inode: tuple[int, int]
    _closed: bool = attrs.field(default=False, init=False)

    @staticmethod
    def bind(path: Path) -> "BoundSocket":
        """Listen at ``path``, for this user only, in the place of a dead node's socket.

        ``ConfigError`` if a living process has it, if it is no socket, or if the path is too long for one.
        """
        if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
            raise ConfigError(path, "", f"the path is longer than the {MAX_SOCKET_PATH_BYTES} bytes of a socket's name")
        _make_room(path)
        try:
            bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                bound.bind(os.fspath(path))
                path.chmod(0o600)  # before listen: nobody can have connected
                bound.listen(_BACKLOG)
                return BoundSocket(path, trio.SocketListener(trio.socket.from_stdlib_socket(bound)), _inode_of(path))
            except OSError:
                bound.close()
                raise
        except OSError as error:
            raise ConfigError(path, "", f"cannot listen there: {error.strerror}") from error

    def close(self) -> None:
        """Remove the name, unless another socket has it by now, and stop listening. May be called twice."""
        if self._closed:
            return
        self._closed = True
        try:
            if _inode_of(self.path) == self._inode:
                self.path.unlink()
        except FileNotFoundError:
            pass  # somebody removed it: there is no name left to remove
        except OSError as error:
            # The end of a node is no place to fail, and the next one takes the place of a dead socket.
            _LOG.warning("%s: cannot be removed: %s", self.path, error.strerror)
        finally:
            self.listener.socket.close()


def _inode_of(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


def _make_room(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ConfigError(path, "", "exists and is not a socket")
        if is_answered(path):
            raise ConfigError(path, "", "another process answers there: is this node already running?")
        path.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(path, "", f"cannot be replaced: {error.strerror or error}") from error


def is_own_user(connection: trio.SocketStream) -> bool:
    """Whether the process on the other side ran as this process's user when it connected."""
    try:
        credentials = connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            return False
        raise
    _, uid, _ = _CREDENTIALS.unpack(credentials)
    return bool(uid == os.getuid())
