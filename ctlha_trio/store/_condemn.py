"""Metadata of a copy that no node has open: the last word on one whose disk has failed, and what a person decides."""

from collections.abc import Hashable

from ctlha_trio._errors import ConfigError, StoreError
from ctlha_trio.pair import Metadata
from ctlha_trio.seams import Disk, DiskFile
from ctlha_trio.store._slots import HEAD_BYTES, SLOT_BYTES, SLOT_COUNT, choose_slot, encode_metadata, encode_slot


async def condemn_copy(disk: Disk, path: str, metadata: Metadata, *, identity: Hashable) -> None:
    """Return once it is written down that the copy is dead, so that it stays dead after a restart. A checkpoint.

    Opens the file anew, since one that failed refuses everything: unlock that first, and close it only afterwards, for
    until then no other file bears its ``identity``. ``ConfigError`` if the path names another file by now, such as one
    into which the copy was saved: that is left as it is, for good. ``StoreError`` if it cannot be done, which may be so
    for now only; also if the file's head is nothing of ours, for that is what a failed disk gave back of it.

    Where the disk never takes this, the arbiter's record keeps the copy out as soon as the peer has gone on alone.
    """
    file = await disk.open(path)
    try:
        if file.identity != identity:
            raise ConfigError(path, "volume.file", "names another file by now")
        try:
            # Without the flush that makes a torn write harmless: here it may fail, and the mark would not be made.
            await _put(file, path, metadata)
        except ConfigError as error:
            raise StoreError(str(error)) from error
    finally:
        file.close()


async def rewrite_metadata(disk: Disk, path: str, metadata: Metadata, *, expected: Metadata) -> None:
    """Return once the file says this of its copy; nothing else in it is touched. A checkpoint.

    A power cut leaves the old or the new. ``StoreError`` if a node has the file open, if the disk fails, or if the file
    does not say what is ``expected`` of it any more; ``ConfigError`` if it is not ours.
    """
    file = await disk.open(path)
    try:
        # The newest slot may be what a killed process has left unflushed, and it is all that holds if this one is torn.
        await file.flush()
        await _put(file, path, metadata, expected)
    finally:
        file.close()


async def _put(file: DiskFile, path: str, metadata: Metadata, expected: Metadata | None = None) -> None:
    index, slot = choose_slot(path, await file.pread(0, HEAD_BYTES))
    if expected is not None and slot.metadata != expected:
        raise StoreError(f"{path}: a node has used it meanwhile")
    place = (index + 1) % SLOT_COUNT * SLOT_BYTES
    payload = encode_metadata(metadata, slot.size_bytes)
    await file.pwrite([(place, encode_slot(payload, slot.generation + 1))])
    await file.flush()
