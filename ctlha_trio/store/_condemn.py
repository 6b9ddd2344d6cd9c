"""The last word on a copy whose disk has failed."""

from ctlha_trio._errors import ConfigError, StoreError
from ctlha_trio.pair import Metadata
from ctlha_trio.seams import Disk
from ctlha_trio.store._slots import HEAD_BYTES, SLOT_BYTES, SLOT_COUNT, choose_slot, encode_metadata, encode_slot


async def condemn_copy(disk: Disk, path: str, metadata: Metadata) -> bool:
    """Try to write down that the copy is dead, so that it stays dead after a restart; whether that was possible.

    Opens the file anew, since one that failed refuses everything: close it first. Where the disk does not even take
    this, the arbiter's record still keeps the copy out as soon as the peer has gone on alone.
    """
    try:
        file = await disk.open(path)
    except StoreError:
        return False
    try:
        index, slot = choose_slot(path, await file.pread(0, HEAD_BYTES))
        place = (index + 1) % SLOT_COUNT * SLOT_BYTES
        await file.pwrite([(place, encode_slot(encode_metadata(metadata), slot.generation + 1))])
        await file.flush()
    except (StoreError, ConfigError):
        return False
    finally:
        file.close()
    return True
