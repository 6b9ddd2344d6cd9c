"""Backing files while no node has them open: making one, its image in memory, reading a whole volume.

Plain synchronous I/O: for ``ctlha init``, for comparing copies after both nodes ended, for simulated disks.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator

from ctlha_trio._errors import ConfigError, InvalidError, StoreError
from ctlha_trio.pair import Metadata
from ctlha_trio.seams import Buffer
from ctlha_trio.store._blocks import check_size
from ctlha_trio.store._slots import DATA_OFFSET, HEAD_BYTES, choose_slot, new_head

READ_BYTES = 1024 * 1024
"""Bytes that ``read_volume`` reads at a time: large enough for the disk's full speed, small beside any volume."""


def image(metadata: Metadata, size_bytes: int) -> bytes:
    """The content of a new backing file for a volume of ``size_bytes`` zeros."""
    return new_head(metadata) + bytes(size_bytes)


def create_store_file(path: str, metadata: Metadata, size_bytes: int, fill: Iterable[Buffer] | None = None) -> None:
    """Make a backing file, mode 0600, with all its room allocated; durable when this returns.

    ``fill`` gives the volume's first bytes, the rest is zero. ``ConfigError`` if the path exists: nothing is ever
    overwritten. ``InvalidError`` if ``fill`` is larger than the volume. ``StoreError`` if the disk fails. After any
    error there is no new file.
    """
    head = new_head(metadata)
    if size_bytes <= 0:
        raise InvalidError(f"a volume of {size_bytes} bytes")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise ConfigError(path, "volume.file", "exists; it is not overwritten") from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    try:
        try:
            os.posix_fallocate(descriptor, 0, DATA_OFFSET + size_bytes)
            _fill(descriptor, size_bytes, fill or ())
            # The head makes it a volume, so it comes last: a file that was cut off while being filled is none.
            os.fsync(descriptor)
            _write_all(descriptor, 0, head)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        _sync_folder(path)
    except OSError as error:
        os.unlink(path)
        raise StoreError(f"{path}: {error.strerror}") from error
    except BaseException:
        os.unlink(path)
        raise


def read_volume(path: str, *, size_bytes: int) -> Iterator[tuple[int, bytes]]:
    """The volume's bytes in order, as (offset, bytes) of up to ``READ_BYTES``. Errors come with the iteration.

    ``ConfigError`` if the file is not there, not ours or made for another size; ``StoreError`` if a node has it open or
    the disk fails.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise ConfigError(path, "volume.file", "there is no such file") from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    try:
        # The same lock that keeps two nodes off one file: half of a write under way is no copy to compare.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        file_bytes = os.lseek(descriptor, 0, os.SEEK_END)
        if file_bytes < DATA_OFFSET:
            raise ConfigError(path, "volume.file", "is not a ctlha volume")
        choose_slot(path, _read_exactly(descriptor, 0, HEAD_BYTES))
        check_size(path, file_bytes, size_bytes)
        for offset in range(0, size_bytes, READ_BYTES):
            yield offset, _read_exactly(descriptor, DATA_OFFSET + offset, min(READ_BYTES, size_bytes - offset))
    except BlockingIOError as error:
        raise StoreError(f"{path}: a node has it open") from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _fill(descriptor: int, size_bytes: int, fill: Iterable[Buffer]) -> None:
    filled = 0
    for piece in fill:
        data = bytes(piece)
        if filled + len(data) > size_bytes:
            raise InvalidError(f"the content is larger than the volume of {size_bytes} bytes")
        _write_all(descriptor, DATA_OFFSET + filled, data)
        filled += len(data)


def _write_all(descriptor: int, offset: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _read_exactly(descriptor: int, offset: int, size: int) -> bytes:
    pieces: list[bytes] = []
    while size:
        piece = os.pread(descriptor, size, offset)
        if not piece:
            raise StoreError(f"the file ended at {offset} while it was read")
        pieces.append(piece)
        offset, size = offset + len(piece), size - len(piece)
    return b"".join(pieces)


def _sync_folder(path: str) -> None:
    folder = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
