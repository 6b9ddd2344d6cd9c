"""What is said where the file of a volume, or that of an arbiter, is not what a node needs there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ctlha_trio._errors import ConfigError, NotWholeError, StoreError
from ctlha_trio.cli._config import LoadedConfig
from ctlha_trio.cli._remedies import ITSELF

ADOPT: Final = "stop both nodes, then on both: ctlha adopt-arbiter <its node.toml>"


@contextmanager
def needing_whole_volume(loaded: LoadedConfig) -> Iterator[None]:
    """Within, a ``NotWholeError`` also says what helps; ``ConfigError`` for a file that this user may not use."""
    try:
        yield
    except StoreError as error:
        if isinstance(cause := error.__cause__, PermissionError):  # a right that is lacking is no failure of the disk
            raise ConfigError(loaded.volume_path, "volume.file", f"cannot be opened: {cause.strerror}") from error
        raise
    except NotWholeError as error:
        node, peer = loaded.content.node, loaded.content.peer.node
        helps = (
            f"put the whole file back, {ITSELF}; do not make it longer, for what was cut off would read as zeros; "
            f"if the file is lost and node {peer} has a copy that counts, move away what lies there, then: ctlha "
            f"replace {loaded.quoted} {node}"
        )
        raise NotWholeError(error.file, error.key, f"{error.problem}; {helps}") from error


@contextmanager
def needing_arbiter_file(loaded: LoadedConfig, path: Path) -> Iterator[None]:
    """Within, a ``ConfigError`` of the arbiter's file also says what helps."""
    try:
        yield
    except ConfigError as error:
        is_there = loaded.exists("arbiter.sqlite", path)
        if is_there and not os.access(path, os.R_OK | os.W_OK):
            raise  # a right that is lacking loses no data
        raise ConfigError(error.file, error.key, f"{error.problem}; {another_arbiter(foreign=is_there)}") from error


def another_arbiter(*, foreign: bool) -> str:
    """What helps where the pair's arbiter is not; ``foreign``: something that is no arbiter of its lies there."""
    aside = "move away what lies there, " if foreign else ""
    return f"correct the path, or put the pair's own file there; if that is lost, {aside}{ADOPT}"
