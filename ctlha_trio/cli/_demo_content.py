"""What the demo writes: a file, cut into blocks, and variations of it that lead up to it."""

import hashlib
import os
import stat
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

from ctlha_trio._errors import ConfigError
from ctlha_trio.cli._config_values import BLOCK_BYTES

WRITES: Final = 4096
"""At least so many, in as many passes as that takes: enough to be in the middle of something at any moment."""
MAX_UNIT_BYTES: Final = 1024 * 1024
"""The largest request of the data socket."""
MAX_FILE_BYTES: Final = 1024 * 1024 * 1024
"""The file is held in memory."""

_SKIPPED_FOLDERS: Final = frozenset({"site-packages", "dist-packages", "__pycache__", "test", "tests", "idlelib"})
_SEED_BYTES: Final = 16


@attrs.frozen
class Content:
    """The volume's final bytes and what is written on the way to them. Write number k is block k % blocks of a pass."""

    volume: bytes
    """The file, filled up with zeros."""
    unit_bytes: int
    """Size of one write; the last block may be shorter."""
    seed: bytes = attrs.field(factory=lambda: os.urandom(_SEED_BYTES), repr=False)
    """Makes the variations of this run unlike those of any other."""

    @property
    def blocks(self) -> int:
        """Writes in one pass."""
        return -(-len(self.volume) // self.unit_bytes)

    @property
    def passes(self) -> int:
        """The last one writes the file."""
        return -(-WRITES // self.blocks)

    @property
    def writes(self) -> int:
        """Writes in all passes."""
        return self.blocks * self.passes

    def offset_of(self, block: int) -> int:
        """Where the block begins, in bytes."""
        return block * self.unit_bytes

    def size_of(self, block: int) -> int:
        """Bytes in the block."""
        return min(self.unit_bytes, len(self.volume) - self.offset_of(block))

    def data_of(self, pass_number: int, block: int) -> bytes:
        """What the pass writes there."""
        offset, size = self.offset_of(block), self.size_of(block)
        if pass_number == self.passes - 1:
            return self.volume[offset : offset + size]
        name = pass_number.to_bytes(8, "little") + block.to_bytes(8, "little")
        return hashlib.shake_128(self.seed + name).digest(size)

    def describe_block(self, block: int) -> str:
        """The block and where it lies, for messages."""
        return f"block {block} (offset {self.offset_of(block)})"


def read_content(file: Path) -> Content:
    """Cut a file up. ``ConfigError`` if it is missing, empty, no regular file, too large or unreadable."""
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(file, "", "is a folder" if stat.S_ISDIR(status.st_mode) else "is not a regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise ConfigError(file, "", "is larger than 1 GiB, the most that the demo holds in memory")
        data = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(file, "", "there is no such file") from error
    except OSError as error:
        raise ConfigError(file, "", f"cannot be read: {error.strerror}") from error
    if not data:
        raise ConfigError(file, "", "is empty: there would be nothing to write")
    return cut(data)


def cut(data: bytes) -> Content:
    """A volume for the data, and the size of its writes: a 4,096th of it, whole pages, up to 1 MiB."""
    volume_bytes = _round_up(len(data))
    unit_bytes = min(_round_up(-(-len(data) // WRITES)), MAX_UNIT_BYTES)
    return Content(data.ljust(volume_bytes, b"\0"), unit_bytes)


def random_content(size_bytes: int) -> Iterator[bytes]:
    """Random bytes, in pieces."""
    for start in range(0, size_bytes, MAX_UNIT_BYTES):
        yield os.urandom(min(MAX_UNIT_BYTES, size_bytes - start))


def largest_module_file() -> Path:
    """The largest file of the running Python's standard library, tests and what was installed beside it left out."""
    root = Path(sysconfig.get_path("stdlib"))
    return max(_module_files(root), key=lambda path: (path.stat().st_size, path.name))


def _module_files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in _SKIPPED_FOLDERS and not name.startswith("config-")]
        for name in names:
            path = Path(folder) / name
            if path.suffix in {".py", ".so"} and path.is_file() and not path.is_symlink() and os.access(path, os.R_OK):
                yield path


def _round_up(size_bytes: int) -> int:
    return -(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES
