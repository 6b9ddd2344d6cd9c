"""The way to a local socket, from the other side."""

import os
import stat
from pathlib import Path

import trio

from ctlha_trio._errors import ConfigError, DisconnectError


async def connect(path: Path | str) -> trio.SocketStream:
    """Connect. ``DisconnectError`` if nobody listens there, ``ConfigError`` if it is no socket, or another user's."""
    try:
        return await trio.open_unix_socket(os.fspath(path))
    except PermissionError as error:
        # Whether a node listens there nobody can tell, and to start one would help nobody.
        raise access_denied(path) from error
    except (OSError, ValueError) as error:
        if await _is_foreign(path):
            raise ConfigError(path, "", "exists and is not a socket") from error
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DisconnectError(f"{path}: no node listens there: {reason or error}") from error


def access_denied(path: Path | str) -> ConfigError:
    """For who is kept out by the socket's mode, and for root, whom only the node can keep out."""
    return ConfigError(path, "", "access is denied: ask as the user whose node it is")


async def _is_foreign(path: Path | str) -> bool:
    """Whether something else lies where a socket is to be. One look: a node that starts removes an old one."""
    try:
        return not stat.S_ISSOCK((await trio.Path(path).stat()).st_mode)
    except (OSError, ValueError):
        return False
