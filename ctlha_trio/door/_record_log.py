"""What the supervisor decided by itself, in the log of decisions: each record that the node began to act on."""

import logging
from collections import deque
from typing import Final

import attrs
import trio

from ctlha_trio._errors import StoreError
from ctlha_trio.door._decisions import DecisionLog
from ctlha_trio.pair import Record

CHANGES_MAX: Final = 64
"""Not written yet. A failover and a return are two; more are only there if the disk does not take them."""

_LOG: Final = logging.getLogger(__name__)


@attrs.frozen
class _Change:
    before: Record | None
    after: Record
    revision: int
    why: str


@attrs.define(eq=False)
class RecordLog:
    """Written behind what it tells of: a disk that is slow or full holds up no failover."""

    _decisions: DecisionLog
    _changes: deque[_Change] = attrs.field(factory=lambda: deque(maxlen=CHANGES_MAX), init=False)
    _changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    def note(self, before: Record | None, after: Record, revision: int, why: str) -> None:
        """The node acts on ``after``. The oldest is forgotten if too many wait. Not a checkpoint."""
        self._changes.append(_Change(before, after, revision, why))
        self._changed.unpark_all()

    async def run(self) -> None:
        """Write until cancelled. What cannot be written is told in the program's log, and left out."""
        while True:
            while not self._changes:
                await self._changed.park()
            change = self._changes.popleft()
            try:
                await self._decisions.append(
                    outcome="done",
                    decision=name_of(change.before, change.after),
                    revision=change.revision,
                    epoch=change.after.epoch,
                    why=change.why,
                    before=change.before,
                    after=change.after,
                )
            except StoreError as error:
                _LOG.error("epoch %d is not in the log of decisions: %s", change.after.epoch, error)


def name_of(before: Record | None, after: Record) -> str:
    """What kind of change it was, whoever made it."""
    if before is None:
        return "found"
    if after.lineage != before.lineage:
        return "force"
    if len(after.members) > len(before.members):
        return "admit"
    moved = after.primary != before.primary
    if len(after.members) < len(before.members):
        return "take-over" if moved else "go-alone"
    return "switchover" if moved else "go-on"
