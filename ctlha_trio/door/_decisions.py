"""What people decided, in a file that only grows: one JSON object a line."""

import errno
import fcntl
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import attrs
import trio

from ctlha_trio._errors import StoreError
from ctlha_trio.door._jsonable import jsonable

DECISIONS_FILE: Final = "decisions.jsonl"
"""In the node's folder."""


@attrs.frozen
class DecisionLog:
    """The log of one node."""

    path: Path
    abandons: bool = False
    """Whether a call that is cancelled leaves the line to the disk, and returns."""

    async def append(self, **fields: object) -> None:
        """Add a line: the time, this process's user, and ``fields``, records too. Durable at the return. A checkpoint.

        ``StoreError`` if it cannot be written; what it tells of is not to be done then.
        """
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"at": at, "uid": os.getuid(), **fields}, default=jsonable).encode() + b"\n"
        try:
            await trio.to_thread.run_sync(self._append, line, abandon_on_cancel=self.abandons)
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}") from error

    def _append(self, line: bytes) -> None:
        created = not self.path.exists()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # so that what is taken back below is of this line only
            size_bytes = os.fstat(descriptor).st_size
            try:
                if os.write(descriptor, line) != len(line):
                    raise OSError(errno.ENOSPC, "only a part of the line could be written; the disk may be full")
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, size_bytes)  # or the next line would be appended to a part of this one
                raise
        finally:
            os.close(descriptor)
        if created:
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
