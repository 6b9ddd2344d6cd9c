"""What people decided, in a file that only grows: one JSON object a line."""

import errno
import fcntl
import json
import logging
import os
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import attrs

from ctlha_trio._errors import StoreError
from ctlha_trio.door._jsonable import jsonable
from ctlha_trio.door._refusals import stands
from ctlha_trio.ha import REFUSED
from ctlha_trio.seams import open_regular, run_in_thread, sync_folder

DECISIONS_FILE: Final = "decisions.jsonl"
"""In the node's folder."""
LOOKED_AT_BYTES: Final = 64 * 1024
"""Of the end of the log, for a refusal that stands there already: some hundred lines."""

_LOG: Final = logging.getLogger(__name__)


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
            await run_in_thread(partial(self._append, line), abandon_on_cancel=self.abandons)
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}") from error

    async def append_refusal(self, *, decision: str, why: str, revision: int, epoch: int) -> None:
        """As ``append``, of a command that was refused; nothing if the log's end says so already."""
        try:
            found = await run_in_thread(partial(self._stands, decision, why))
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}") from error
        if not found:
            await self.append(outcome=REFUSED, decision=decision, revision=revision, epoch=epoch, why=why)

    async def append_end(self, **fields: object) -> None:
        """As ``append``, of how a decision has ended. What cannot be written is told in the program's log.

        It is no error: whoever was told of one would take what is done for not done.
        """
        try:
            await self.append(**fields)
        except StoreError as error:
            _LOG.error("%s: how it ended is not in the log of decisions: %s", fields["decision"], error)

    def _stands(self, decision: str, why: str) -> bool:
        try:
            with open(open_regular(self.path, os.O_RDONLY), "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - LOOKED_AT_BYTES))
                return stands(file.read(LOOKED_AT_BYTES).splitlines(), decision, why, datetime.now(UTC))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}") from error

    def _append(self, line: bytes) -> None:
        descriptor = open_regular(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        try:
            # Or a line that is taken back would take those with it that others have written behind its beginning.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            size_bytes = os.fstat(descriptor).st_size
            if size_bytes and os.pread(descriptor, 1, size_bytes - 1) != b"\n":
                line = b"\n" + line  # a power cut has left a part of the last one
            try:
                if os.write(descriptor, line) != len(line):
                    raise OSError(errno.ENOSPC, "only a part of the line could be written; the disk may be full")
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, size_bytes)  # or the next line would be appended to a part of this one
                raise
        finally:
            os.close(descriptor)
        # Whoever made the file may have ended, or failed, before its name was durable.
        sync_folder(self.path.parent)
