"""The way to a local socket, from the other side."""

import errno
import os
import stat
from functools import partial
from pathlib import Path
from typing import Final

import trio

from ctlha_trio._errors import ConfigError, DisconnectError
from ctlha_trio.seams import run_in_thread

CONNECT_S: Final = 2.0
"""For a node that others reach at the same time, and takes one after the other. Not protocol time."""
_AGAIN_S: Final = 0.02
ASK_OWNER: Final = "ask as the user whose node it is"


async def connect(path: Path | str) -> trio.SocketStream:
    """Connect. ``DisconnectError`` if nobody listens there, or takes no connection within ``CONNECT_S``.

    ``ConfigError`` if it is no socket, or another user's. No node runs in a folder that nobody can write.
    """
    try:
        with trio.fail_after(CONNECT_S):
            while not _is_connected(stream := await _open(path)):
                stream.socket.close()
                with trio.move_on_after(_AGAIN_S):
                    await trio.sleep_forever()
            return stream
    except trio.TooSlowError as error:
        raise DisconnectError(f"{path}: takes no connection within {CONNECT_S:g} s") from error


def _is_connected(stream: trio.SocketStream) -> bool:
    """Whether there was room for it: a Unix socket that does not block is neither queued nor refused where many wait.

    Trio takes it for one that is on its way, and then for connected.
    """
    try:
        stream.socket.getpeername()
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            return False
        raise
    return True


async def _open(path: Path | str) -> trio.SocketStream:
    try:
        return await trio.open_unix_socket(os.fspath(path))
    except PermissionError as error:
        # Whether a node listens there nobody can tell, and to start one would help nobody.
        raise access_denied(path) from error
    except (OSError, ValueError) as error:
        if await _is_foreign(path):
            raise ConfigError(path, "", "exists and is not a socket") from error
        if isinstance(error, OSError) and await _is_another_users(path):
            raise ConfigError(path, "", f"its folder may not be written: {ASK_OWNER}") from error
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DisconnectError(f"{path}: no node listens there: {reason or error}") from error


def access_denied(path: Path | str) -> ConfigError:
    """For who is kept out by the socket's mode, and for root, whom only the node can keep out."""
    return ConfigError(path, "", f"access is denied: {ASK_OWNER}")


async def _is_another_users(path: Path | str) -> bool:
    """Whether another user may make the socket that is missing, and this one may not."""
    folder = Path(path).parent

    def look() -> bool:
        if not os.access(folder, os.F_OK) or os.access(folder, os.W_OK | os.X_OK):
            return False
        return not os.statvfs(folder).f_flag & os.ST_RDONLY

    try:
        return await run_in_thread(look)
    except OSError:
        return False  # it has gone meanwhile, or no thread can be had to look


async def _is_foreign(path: Path | str) -> bool:
    """Whether something else lies where a socket is to be. One look: a node that starts removes an old one."""
    try:
        return not stat.S_ISSOCK((await run_in_thread(partial(os.stat, path))).st_mode)
    except (OSError, ValueError):
        return False
