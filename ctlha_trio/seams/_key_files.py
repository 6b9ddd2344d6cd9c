"""Files with keys and certificates, read so that nothing in their place can stop a node or leak a secret."""

import os
import shlex
import stat
from pathlib import Path

from ctlha_trio._errors import ConfigError

MAX_KEY_FILE_BYTES = 64 * 1024
"""A key file has about 120 bytes, a chain of certificates some thousands; anything long is another file."""


def read_key_file(path: str | Path, config_key: str, *, private: bool = True) -> bytes:
    """The content of a file, of which only its owner may have any right if it is ``private``.

    ``ConfigError`` names the file, the key of the configuration that led here, and what is wrong with it.
    """
    try:
        # Not blocking, or a named pipe in the file's place would stop the node for good.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise ConfigError(path, config_key, "there is no such file") from error
    except (OSError, ValueError) as error:
        raise ConfigError(path, config_key, f"cannot be read: {error}") from error
    try:
        problem = _problem(path, os.fstat(descriptor), private=private)
        if problem:
            raise ConfigError(path, config_key, problem)
        return os.read(descriptor, MAX_KEY_FILE_BYTES)
    except OSError as error:
        raise ConfigError(path, config_key, f"cannot be read: {error}") from error
    finally:
        os.close(descriptor)


def _problem(path: str | Path, status: os.stat_result, *, private: bool) -> str:
    if not stat.S_ISREG(status.st_mode):
        return "not a file"
    if not private:
        return ""
    if status.st_uid != os.geteuid():
        return "belongs to another user"
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        command = shlex.join(["chmod", "600", os.fspath(path)])
        return f"open to others (mode {stat.S_IMODE(status.st_mode):04o}): {command}"
    return ""
