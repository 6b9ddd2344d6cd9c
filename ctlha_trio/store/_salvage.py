"""A copy that no node takes for whole, while no node has it open: what is left of it, and making it one that counts.

Plain synchronous I/O, as in ``_files``.
"""

import errno
import fcntl
import os
from collections.abc import Iterable, Iterator
from typing import Final

import attrs

from ctlha_trio._errors import ConfigError, StoreError
from ctlha_trio.pair import Metadata
from ctlha_trio.store._activity_log import ActivityPage, choose_activity, new_activity_pages
from ctlha_trio.store._checksums import damaged_blocks, written_blocks
from ctlha_trio.store._files import locked_file
from ctlha_trio.store._known_damage import NO_DAMAGE, blocks_in
from ctlha_trio.store._layout import (
    ACTIVITY_OFFSET,
    BITMAP_OFFSET,
    BLOCK_BYTES,
    GROUP_BLOCKS,
    PAGE_BYTES,
    RECORDS_OFFSET,
    Layout,
)
from ctlha_trio.store._record_copies import choose_table, new_record_areas
from ctlha_trio.store._size import check_has_head, check_size
from ctlha_trio.store._slots import (
    HEAD_BYTES,
    SLOT_BYTES,
    SLOT_COUNT,
    Flaw,
    Slot,
    choose_slot,
    decode_slot,
    encode_metadata,
    encode_slot,
)

_UNREADABLE: Final = frozenset({errno.EIO, errno.ENODATA, errno.EILSEQ})


@attrs.frozen(kw_only=True)
class Head:
    """What a backing file says of itself."""

    metadata: Metadata | None
    """None if neither slot can be believed."""
    has_records: bool
    """Whether a table of the records of the layers above can be believed."""
    problems: tuple[str, ...]
    """Why no node starts with it; none if it does."""


@attrs.frozen
class Remains:
    """What is left of one group of blocks."""

    written: int
    """Blocks that were written and are whole."""
    damaged: tuple[int, ...]
    """Where blocks begin, in bytes of the volume, that are not what was written there last, or cannot be read."""
    read_bytes: int
    """Of the volume: the size of the group."""


def read_head(path: str, *, size_bytes: int) -> Head:
    """``ConfigError`` if the file is not there, of another format, or not of a volume of this size.

    ``StoreError`` if a node has it open, or not even its beginning can be read.
    """
    with locked_file(path, os.O_RDONLY, fcntl.LOCK_SH) as descriptor:
        file_bytes = os.lseek(descriptor, 0, os.SEEK_END)
        check_has_head(path, file_bytes)
        head = _read(descriptor, 0, BITMAP_OFFSET)
    problems, metadata, made_with = list[str](), None, None
    try:
        slot = choose_slot(path, head[:HEAD_BYTES])[1]
        metadata, made_with = slot.metadata, slot.size_bytes
    except StoreError as error:
        problems.append(str(error))
    except ConfigError as error:
        if not _is_foreign(head):
            raise
        problems.append(f"{path}: {error.problem}")
    check_size(path, file_bytes, size_bytes, made_with=made_with)
    try:
        choose_activity(path, head[ACTIVITY_OFFSET:])
    except StoreError as error:
        problems.append(str(error))
    has_records = True
    try:
        choose_table(path, head[RECORDS_OFFSET:])
    except StoreError as error:
        has_records = False
        problems.append(str(error))
    return Head(metadata=metadata, has_records=has_records, problems=tuple(problems))


def read_remains(path: str, *, size_bytes: int) -> Iterator[Remains]:
    """Each group of blocks in order. Errors, as of ``read_head``, come with the iteration."""
    layout = Layout(size_bytes)
    with locked_file(path, os.O_RDONLY, fcntl.LOCK_SH) as descriptor:
        for group in range(layout.groups):
            yield _remains_of(descriptor, layout, group)


def salvage_copy(path: str, metadata: Metadata, *, size_bytes: int, damaged: Iterable[tuple[int, int]] = ()) -> None:
    """Make it a copy that says this of itself. Durable when this returns; cut off, it says what it did before, or that.

    Blocks are left as they are, and those that are damaged stay so: nothing that a crash may have torn is taken for
    whole, nor ever will be what was known to be damaged, or is in ``damaged``, offset and size of each range.
    Nothing is marked any more as different from the peer's copy. A table of records that cannot be believed is
    replaced by an empty one. Errors as of ``read_head``.
    """
    has_records = read_head(path, size_bytes=size_bytes).has_records
    payload = encode_metadata(metadata, size_bytes)
    with locked_file(path, os.O_RDWR, fcntl.LOCK_EX) as descriptor:
        older, newest = _generations(_read(descriptor, 0, HEAD_BYTES))
        page = _activity_of(path, _read(descriptor, ACTIVITY_OFFSET, RECORDS_OFFSET - ACTIVITY_OFFSET))
        known = (page.damage if page is not None else NO_DAMAGE).add_all(blocks_in(damaged))
        os.pwrite(descriptor, new_activity_pages(known), ACTIVITY_OFFSET)
        if not has_records:
            os.pwrite(descriptor, new_record_areas(), RECORDS_OFFSET)
        os.fsync(descriptor)
        # Behind all that they make believed. The slot that counts comes last: it alone holds if the other one is torn.
        for number in range(SLOT_COUNT):
            place = (older + number) % SLOT_COUNT * SLOT_BYTES
            os.pwrite(descriptor, encode_slot(payload, newest + 1 + number), place)
            os.fsync(descriptor)


def _generations(slots: bytes) -> tuple[int, int]:
    """The index of the older slot, or of one that says nothing, and the newest generation; 0 if neither does."""
    found = list[int]()
    for at in range(0, HEAD_BYTES, SLOT_BYTES):
        try:
            slot = decode_slot(slots[at : at + SLOT_BYTES])
        except StoreError:
            slot = Flaw.DAMAGED
        found.append(slot.generation if isinstance(slot, Slot) else 0)
    return found.index(min(found)), max(found)


def _is_foreign(head: bytes) -> bool:
    """Whether neither slot begins like one of ours, of whatever format."""
    slots = (head[at : at + SLOT_BYTES] for at in range(0, HEAD_BYTES, SLOT_BYTES))
    return all(decode_slot(slot) is Flaw.FOREIGN for slot in slots)


def _activity_of(path: str, raw: bytes) -> ActivityPage | None:
    """None if no page of the log can be believed."""
    try:
        return choose_activity(path, raw)
    except StoreError:
        return None


def _remains_of(descriptor: int, layout: Layout, group: int) -> Remains:
    first, size = group * GROUP_BLOCKS, layout.group_bytes(group)
    offset, blocks = layout.entry_page_offset(group), -(-size // BLOCK_BYTES)
    try:
        page = _read(descriptor, offset, PAGE_BYTES)
    except StoreError:
        # Nothing tells which of its blocks are whole.
        return Remains(0, tuple(block * BLOCK_BYTES for block in range(first, first + blocks)), size)
    try:
        data, unreadable = _read(descriptor, offset + PAGE_BYTES, size), set[int]()
    except StoreError:
        data, unreadable = _read_block_by_block(descriptor, offset + PAGE_BYTES, size)
    damaged = {*damaged_blocks(page, first, memoryview(data)), *(first + block for block in unreadable)}
    written = written_blocks(page, first, blocks) - damaged
    return Remains(len(written), tuple(block * BLOCK_BYTES for block in sorted(damaged)), size)


def _read_block_by_block(descriptor: int, offset: int, size: int) -> tuple[bytes, set[int]]:
    pieces: list[bytes] = []
    unreadable = set[int]()
    for block, at in enumerate(range(0, size, BLOCK_BYTES)):
        wanted = min(BLOCK_BYTES, size - at)
        try:
            pieces.append(_read(descriptor, offset + at, wanted))
        except StoreError:
            unreadable.add(block)
            pieces.append(bytes(wanted))
    return b"".join(pieces), unreadable


def _read(descriptor: int, offset: int, size: int) -> bytes:
    """``StoreError`` if the medium does not give it back."""
    pieces: list[bytes] = []
    while size:
        try:
            piece = os.pread(descriptor, size, offset)
        except OSError as error:
            if error.errno in _UNREADABLE:
                raise StoreError(f"{size} bytes at {offset} cannot be read: {error.strerror}") from error
            raise
        if not piece:
            raise StoreError(f"the file ended at {offset} while it was read")
        pieces.append(piece)
        offset, size = offset + len(piece), size - len(piece)
    return b"".join(pieces)
