"""Whether the path of a node's copy still names the file that the node has open.

A file that was removed, or another one put in its place, goes on taking writes, and is gone when the process ends. The
node goes on: what it has open may be the only copy. It tells. The same look shows the store what size the file has.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import attrs

from ctlha_trio._errors import StoreError
from ctlha_trio.seams import Clock

FILE_LOOK_S: Final = 1.0
"""Between two looks: soon for whoever has just removed the wrong file, and one call of a thread a second."""

_LOG: Final = logging.getLogger(__name__)


@attrs.define(eq=False)
class FileWatch:
    """Looks again and again, beside the writes. No look of its own hurries the end of a node."""

    _clock: Clock
    _path: str
    _peer: str
    _look: Callable[[], Awaitable[str | None]]
    """None while the path names the open file; else by what name that can still be read, empty if by none."""
    _told: Callable[[bool], None]
    """Of each change: whether the file is gone."""
    _gone_as: str | None = attrs.field(default=None, init=False)
    """What was last seen."""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self._clock.sleep_until(self._clock.now() + FILE_LOOK_S)
            try:
                gone_as = await self._look()
            except StoreError:
                # Nothing is known anew: of a store that died others tell, and a path that cannot be looked at, as in a
                # folder whose rights were taken away, may well name the file.
                continue
            if (gone_as is None) is not (self._gone_as is None):
                self._gone_as = gone_as
                self._tell()

    def stopping(self) -> None:
        """The node was asked to end: tell what ends with it, and what to do then. For more it is too late."""
        if self._gone_as is not None:
            _LOG.warning(
                "stopping: %s; if the file was only moved, move it back; if not, and node %s is a member, move away "
                "what lies there, then make the copy anew: ctlha replace",
                self._what_is_lost(),
                self._peer,
            )

    def _tell(self) -> None:
        if self._gone_as is None:
            _LOG.warning("%s: names the file of this node's copy again", self._path)
        else:
            _LOG.error("%s; %s", self._what_is_lost(), self._what_helps(self._gone_as))
        self._told(self._gone_as is not None)

    def _what_is_lost(self) -> str:
        return f"{self._path}: was removed or replaced, and the copy of this node ends with its process"

    def _what_helps(self, name: str) -> str:
        return (
            f"before that, if node {self._peer} is no member, hold the process with SIGSTOP, save the copy: cp "
            f"--sparse=always {name or '<the open file>'} <another path>, and end the process with SIGKILL, for what "
            f"it writes later is in no copy; if node {self._peer} is one, and the status tells of neither "
            "arbiter-silent nor peer-disk-failing, stop this node, then make its copy anew: ctlha replace"
        )
