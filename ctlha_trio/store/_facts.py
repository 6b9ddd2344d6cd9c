"""What a backing file says of its copy, for people: read beside a node that may have it open. Plain synchronous I/O."""

import os

import attrs

from ctlha_trio._errors import ConfigError, StoreError
from ctlha_trio.pair import Metadata
from ctlha_trio.store._activity_log import choose_activity
from ctlha_trio.store._dirty_bitmap import DirtyBitmap
from ctlha_trio.store._files import check_kind
from ctlha_trio.store._layout import ACTIVITY_OFFSET, BITMAP_OFFSET, BITMAP_PAGE_BYTES, GROUP_BYTES, Layout
from ctlha_trio.store._size import check_has_head, check_size
from ctlha_trio.store._slots import HEAD_BYTES, choose_slot


@attrs.frozen(kw_only=True)
class CopyFacts:
    """As durable as it was at that moment. Ranges are offset and size, in bytes of the volume, in order."""

    metadata: Metadata
    written_at_s: float
    """When the file was last written to, in seconds since 1970."""
    open_ranges: tuple[tuple[int, int], ...]
    """Where writes were under way, or may have been."""
    marked_from: int | None
    """The epoch from which marks count; None if nothing is marked."""
    marks: tuple[tuple[int, int], ...]
    """What may differ from the other copy by this one's own doing."""
    damaged: tuple[tuple[int, int], ...]
    """Blocks that were told to be lost, and not written anew since."""
    damage_unnamed: bool
    """Whether there was ever more of that than the file has names for."""


def read_facts(path: str, *, size_bytes: int) -> CopyFacts:
    """Look, and write nothing. Pages that are being written are the older ones, or say that more may differ.

    ``ConfigError`` if the file is not there, not ours or made with another size; ``StoreError`` if its head is damaged
    or the disk fails.
    """
    layout = Layout(size_bytes)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            check_kind(path, status.st_mode)
            # Of a block device too, of which its status does not tell.
            file_bytes = os.lseek(descriptor, 0, os.SEEK_END)
            head = os.pread(descriptor, BITMAP_OFFSET, 0)
            bitmap_pages = os.pread(descriptor, layout.bitmap_pages * BITMAP_PAGE_BYTES, BITMAP_OFFSET)
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise ConfigError(path, "volume.file", "there is no such file") from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    check_has_head(path, len(head))
    slot = choose_slot(path, head[:HEAD_BYTES])[1]
    check_size(path, file_bytes, size_bytes, made_with=slot.size_bytes)
    page = choose_activity(path, head[ACTIVITY_OFFSET:])
    bitmap = DirtyBitmap(layout)
    if page.base_epoch is not None:
        bitmap.load(bitmap_pages, page.base_epoch)
    return CopyFacts(
        metadata=slot.metadata,
        written_at_s=status.st_mtime,
        open_ranges=tuple((group * GROUP_BYTES, layout.group_bytes(group)) for group in sorted(page.extents)),
        marked_from=page.base_epoch,
        marks=tuple(bitmap.ranges()),
        damaged=tuple(page.damage.ranges()),
        damage_unnamed=page.damage.overflowed,
    )
