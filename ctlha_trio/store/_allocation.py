"""Room for a new backing file: all of it is taken from the start, and what is written later needs no more."""

import errno
import fcntl
import os
import struct
from contextlib import suppress
from typing import Final

_LONG: Final = struct.Struct("@l")
_GET_FLAGS: Final = 0x8000_6601 | _LONG.size << 16
"""``FS_IOC_GETFLAGS`` and ``FS_IOC_SETFLAGS`` of linux/fs.h, as on x86 and ARM."""
_SET_FLAGS: Final = 0x4000_6602 | _LONG.size << 16
_NO_COPY_ON_WRITE: Final = 0x0080_0000
"""``FS_NOCOW_FL``."""


def allocate(descriptor: int, file_bytes: int) -> None:
    """Of an empty file. Blocks. ``OSError`` if there is too little room, then at once.

    Where a file system cannot allocate, the C library writes to each block instead: for hours, if room is missing. Some
    say nothing of their size, and are tried.
    """
    found = os.fstatvfs(descriptor)
    if found.f_blocks and file_bytes > found.f_bfree * found.f_frsize:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    # Other file systems write in place anyway, or know no such choice.
    with suppress(OSError):
        _write_in_place(descriptor)
    os.posix_fallocate(descriptor, 0, file_bytes)


def _write_in_place(descriptor: int) -> None:
    """Btrfs writes each change to a new place, which a full one does not have; and the volume has its own checksums."""
    flags = bytearray(_LONG.size)
    fcntl.ioctl(descriptor, _GET_FLAGS, flags)
    fcntl.ioctl(descriptor, _SET_FLAGS, _LONG.pack(_LONG.unpack(flags)[0] | _NO_COPY_ON_WRITE))
