"""Backing files while no node has them open: making one, its image in memory, reading a whole volume.

Plain synchronous I/O: for ``ctlha init``, for comparing copies after both nodes ended, for simulated disks.
"""

import fcntl
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ctlha_trio._errors import ConfigError, DamagedBlockError, InvalidError, StoreError
from ctlha_trio.pair import Metadata
from ctlha_trio.seams import Buffer, sync_folder
from ctlha_trio.store._activity_log import choose_activity, new_activity_pages
from ctlha_trio.store._allocation import allocate
from ctlha_trio.store._checksums import damaged_blocks, seal_blocks
from ctlha_trio.store._layout import (
    ACTIVITY_OFFSET,
    BITMAP_OFFSET,
    BLOCK_BYTES,
    GROUP_BLOCKS,
    GROUP_BYTES,
    PAGE_BYTES,
    RECORDS_OFFSET,
    Layout,
)
from ctlha_trio.store._record_copies import new_record_areas
from ctlha_trio.store._size import check_has_head, check_size
from ctlha_trio.store._slots import HEAD_BYTES, choose_slot, new_slots


def image(metadata: Metadata, size_bytes: int) -> bytes:
    """The content of a new backing file for a volume of ``size_bytes`` zeros."""
    return _new_head(metadata, size_bytes) + bytes(Layout(size_bytes).file_bytes - BITMAP_OFFSET)


def _new_head(metadata: Metadata, size_bytes: int) -> bytes:
    """Everything before the bitmap, which says nothing as long as the activity log names no base for it."""
    return (new_slots(metadata, size_bytes) + new_activity_pages() + new_record_areas()).ljust(BITMAP_OFFSET, b"\0")


def create_store_file(path: str, metadata: Metadata, size_bytes: int, fill: Iterable[Buffer] | None = None) -> None:
    """Make a backing file, mode 0600, with all its room allocated; durable when this returns.

    ``fill`` gives the volume's first bytes, the rest is zero. ``ConfigError`` if the path exists: nothing is ever
    overwritten. ``InvalidError`` if ``fill`` is larger than the volume. ``StoreError`` if the disk fails. After any
    error there is no new file.
    """
    if size_bytes <= 0:
        raise InvalidError(f"a volume of {size_bytes} bytes")
    head = _new_head(metadata, size_bytes)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise ConfigError(path, "volume.file", "exists; it is not overwritten") from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    try:
        try:
            allocate(descriptor, Layout(size_bytes).file_bytes)
            _fill(descriptor, Layout(size_bytes), fill or (), metadata.epoch)
            # The head makes it a volume, so it comes last: a file that was cut off while being filled is none.
            os.fsync(descriptor)
            _write_all(descriptor, 0, head)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_folder(Path(path).parent)
    except OSError as error:
        os.unlink(path)
        raise StoreError(f"{path}: {error.strerror}") from error
    except BaseException:
        os.unlink(path)
        raise


def read_volume(path: str, *, size_bytes: int) -> Iterator[tuple[int, bytes]]:
    """The volume's bytes in order, as (offset, bytes) of up to ``GROUP_BYTES``. Errors come with the iteration.

    ``ConfigError`` if the file is not there, not ours, or of another size; ``StoreError`` if a node has it open or
    the disk fails; ``DamagedBlockError`` names the damaged blocks of the next piece. After an unclean end the extents
    that were open are given as they are, but for known damage, as the next start of a node would take them.
    """
    with locked_file(path, os.O_RDONLY, fcntl.LOCK_SH) as descriptor:
        file_bytes = os.lseek(descriptor, 0, os.SEEK_END)
        check_has_head(path, file_bytes)
        head = _read_exactly(descriptor, 0, BITMAP_OFFSET)
        slot = choose_slot(path, head[:HEAD_BYTES])[1]
        check_size(path, file_bytes, size_bytes, made_with=slot.size_bytes)
        page = choose_activity(path, head[ACTIVITY_OFFSET:])
        layout = Layout(size_bytes)
        for group in range(layout.groups):
            raw = _read_exactly(descriptor, layout.entry_page_offset(group), PAGE_BYTES + layout.group_bytes(group))
            data = memoryview(raw)[PAGE_BYTES:]
            found = damaged_blocks(raw[:PAGE_BYTES], group * GROUP_BLOCKS, data)
            damaged = tuple(each for each in found if group not in page.extents or page.damage.covers((each,)))
            if damaged:
                raise DamagedBlockError(tuple(block * BLOCK_BYTES for block in damaged))
            yield group * GROUP_BYTES, bytes(data)


def check_kind(path: str, mode: int) -> None:
    """``ConfigError`` if what is there can hold no volume, such as a named pipe or a folder."""
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise ConfigError(path, "volume.file", "is neither a file nor a block device")


@contextmanager
def locked_file(path: str, mode: int, lock: int) -> Iterator[int]:
    """The descriptor of a backing file that no node has open, for the length of a block.

    ``ConfigError`` if it is not there; ``StoreError`` if a node has it open, and for every ``OSError`` in the block.
    """
    try:
        descriptor = os.open(path, mode | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise ConfigError(path, "volume.file", "there is no such file") from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    try:
        check_kind(path, os.fstat(descriptor).st_mode)
        # The same lock that keeps two nodes off one file: half of a write under way is no copy to look at.
        fcntl.flock(descriptor, lock | fcntl.LOCK_NB)
        yield descriptor
    except BlockingIOError as error:
        raise StoreError(f"{path}: a node has it open") from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    finally:
        os.close(descriptor)


def open_extents_in(content: bytes) -> tuple[int, ...]:
    """Groups in which a block may be torn, by the activity log in a whole backing file. For tests and tools."""
    return choose_activity("the file", content[ACTIVITY_OFFSET:RECORDS_OFFSET]).extents


def damaged_in(content: bytes, size_bytes: int, groups: Iterable[int]) -> Iterator[int]:
    """Where blocks of these groups begin that a whole backing file does not hold as they were written.

    For tests and tools.
    """
    layout, raw = Layout(size_bytes), memoryview(content)
    for group in groups:
        page, data = layout.entry_page_offset(group), layout.file_offset(group * GROUP_BYTES)
        found = raw[data : data + layout.group_bytes(group)]
        for block in damaged_blocks(raw[page : page + PAGE_BYTES], group * GROUP_BLOCKS, found):
            yield block * BLOCK_BYTES


def entries_for(content: bytes, size_bytes: int, group: int, epoch: int) -> bytes:
    """The page of entries by which what a whole backing file holds of a group is right. For tests and tools."""
    layout, page = Layout(size_bytes), bytearray(PAGE_BYTES)
    data = layout.file_offset(group * GROUP_BYTES)
    seal_blocks(page, group * GROUP_BLOCKS, memoryview(content)[data : data + layout.group_bytes(group)], epoch)
    return bytes(page)


def _fill(descriptor: int, layout: Layout, fill: Iterable[Buffer], epoch: int) -> None:
    for group, data in enumerate(_in_groups(fill)):
        if group * GROUP_BYTES + len(data) > layout.size_bytes:
            raise InvalidError(f"the content is larger than the volume of {layout.size_bytes} bytes")
        whole = bytes(data).ljust(min(-(-len(data) // BLOCK_BYTES) * BLOCK_BYTES, layout.group_bytes(group)), b"\0")
        page = bytearray(PAGE_BYTES)
        seal_blocks(page, group * GROUP_BLOCKS, memoryview(whole), epoch)
        _write_all(descriptor, layout.entry_page_offset(group), bytes(page) + whole)


def _in_groups(pieces: Iterable[Buffer]) -> Iterator[bytearray]:
    """The same bytes in pieces of ``GROUP_BYTES``, the last one smaller."""
    group = bytearray()
    for piece in pieces:
        view = memoryview(piece).cast("B")
        while view:
            taken = view[: GROUP_BYTES - len(group)]
            group += taken
            view = view[len(taken) :]
            if len(group) == GROUP_BYTES:
                yield group
                group = bytearray()
    if group:
        yield group


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
