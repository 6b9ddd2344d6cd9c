"""The mark of a copy whose disk has failed under a node that still runs, or that is about to end."""

import logging
from collections.abc import Callable
from typing import Final

import attrs
import trio

from ctlha_trio._errors import ConfigError, StoreError
from ctlha_trio._repeats import Repeats
from ctlha_trio.ha._seen_time import LOOK_S
from ctlha_trio.pair import Metadata
from ctlha_trio.seams import Seams
from ctlha_trio.store import BlockStore, condemn_copy

LAST_TRY_S: Final = 30.0
"""For a node that ends to make its mark. The call that failed may have hung for long, and the next ones do; who stops a
service does not wait for ever: systemd 90 s, if it is not told otherwise."""

_NOT_MARKED: Final = (
    "the copy on the failed disk is not marked as dead: before this node is started again, look at the disk, "
    "and have the copy made anew by ctlha replace if another one counts"
)
_HANGS: Final = "; a call of the disk hangs, and is waited for: a second signal ends ctlha node"
_LOG: Final = logging.getLogger(__name__)


@attrs.define(eq=False)
class Condemnation:
    """Of the copy of one node, once at most."""

    _seams: Seams
    _store: BlockStore
    _volume_path: str
    _on_tried: Callable[[], None]
    """Called once, when ``tried`` has become true."""
    tried: bool = attrs.field(default=False, init=False)
    """Whether the mark is made, or the disk has not taken it, in ``LAST_TRY_S``: then it may never be made."""
    is_calling: bool = attrs.field(default=False, init=False)
    """Whether the disk has been asked, and has not answered."""
    _owed: Metadata | None = attrs.field(default=None, init=False)
    """What the copy is to be marked with, and is not yet."""

    def begin(self, metadata: Metadata, nursery: trio.Nursery) -> None:
        """Mark the copy as dead, however long it takes, or until the nursery is cancelled.

        A call that hangs is waited for also then, and told of in time.
        """
        self._owed = metadata
        nursery.start_soon(self._mark_in_time, metadata)

    async def end(self) -> None:
        """The node's tasks have ended: try once more, for ``LAST_TRY_S`` seconds, what is not done yet.

        A flush may fail when the node has been asked to stop, or has been waited for until then. What was being
        written may look durable to whoever reads it next, so the copy must not be taken for whole. A checkpoint.

        A call that hangs then is waited for beyond that, and told of in time. It cannot be left behind: what it writes
        could come later, over what somebody has made of the file by then.
        """
        if self._owed is None:
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._expire, nursery.cancel_scope)
            await self._mark(self._owed)
            nursery.cancel_scope.cancel()

    async def _expire(self, scope: trio.CancelScope) -> None:
        await self._seams.clock.sleep_until(self._seams.clock.now() + LAST_TRY_S)
        _LOG.error("%s", _NOT_MARKED + (_HANGS if self.is_calling else ""))
        scope.cancel()

    async def _mark_in_time(self, metadata: Metadata) -> None:
        in_time = trio.CancelScope(shield=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell_of_first_call, in_time)
            try:
                await self._mark(metadata)
            finally:
                in_time.cancel()

    async def _tell_of_first_call(self, scope: trio.CancelScope) -> None:
        with scope:
            await self._seams.clock.sleep_until(self._seams.clock.now() + LAST_TRY_S)
            if not self.tried:
                _LOG.error("%s", _NOT_MARKED + _HANGS)
                self._note_tried()

    async def _mark(self, metadata: Metadata) -> None:
        """Unless its name is another file's by then: the copy ends with this process."""
        repeats = Repeats()
        self._store.unlock()
        identity = self._store.file_identity
        while self._owed is not None:
            try:
                # A call that still hangs keeps the file from opening.
                self.is_calling = True
                await condemn_copy(self._seams.disk, self._volume_path, metadata, identity=identity)
            except StoreError as error:
                self.is_calling = False
                line = repeats.came(self._seams.clock.now(), str(error))
                if line is not None:
                    _LOG.warning("the copy on the failed disk is not marked as dead yet: %s", line)
                self._note_tried()
                await self._seams.clock.sleep_until(self._seams.clock.now() + LOOK_S)
            except ConfigError as error:
                _LOG.warning("the copy on the failed disk is not marked as dead: %s", error)
                self._owed = None
            else:
                _LOG.error("the copy on the failed disk is marked as dead")
                self._owed = None
        self._store.close()
        self._note_tried()

    def _note_tried(self) -> None:
        if not self.tried:
            self.tried = True
            self._on_tried()
