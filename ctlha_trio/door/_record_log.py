"""What the supervisor does by itself, in the log of decisions: records that it acts on, stops, what it refuses."""

import logging
from collections import deque
from collections.abc import Iterable
from typing import Final

import attrs
import trio

from ctlha_trio._errors import StoreError
from ctlha_trio.door._decisions import DecisionLog
from ctlha_trio.door._refusals import Ended, Refusals
from ctlha_trio.ha import REFUSED, Notice
from ctlha_trio.pair import Record
from ctlha_trio.seams import Clock

CHANGES_MAX: Final = 64
"""Not written yet. A failover and a return are two; more are only there if the disk does not take them."""
LOOK_S: Final = 10.0
"""Between two looks for refusals that have ended."""
END_S: Final = 1.0
"""For what is still to be written when the node has ended: a disk that hangs holds up no end."""

_LOG: Final = logging.getLogger(__name__)


@attrs.define(eq=False)
class RecordLog:
    """Written behind what it tells of: a disk that is slow or full holds up no failover."""

    _decisions: DecisionLog
    _clock: Clock
    _refusals: Refusals = attrs.field(factory=Refusals, init=False)
    _lines: deque[dict[str, object]] = attrs.field(factory=lambda: deque(maxlen=CHANGES_MAX), init=False)
    _changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    _ending: bool = attrs.field(default=False, init=False)

    def note(self, before: Record | None, after: Record, revision: int, why: str) -> None:
        """The node acts on ``after``. The oldest is forgotten if too many wait. Not a checkpoint."""
        self._add(
            outcome="done",
            decision=name_of(before, after),
            revision=revision,
            epoch=after.epoch,
            why=why,
            before=before,
            after=after,
        )

    def notice(self, notice: Notice) -> None:
        """The node stops, or something was refused. What is refused again and again is told once. Not a checkpoint."""
        if notice.outcome != REFUSED or self._refusals.came(self._clock.now(), notice):
            self._add(**_fields_of(notice))

    def _add(self, **line: object) -> None:
        self._lines.append(line)
        self._changed.unpark_all()

    async def run(self) -> None:
        """Write until cancelled, and then what is left. What cannot be written is told in the program's log."""
        writing = trio.CancelScope(shield=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write_on, writing)
            try:
                await self._look_for_ends()
            finally:
                self._tell(self._refusals.end_all())
                self._ending = True
                writing.deadline = trio.current_time() + END_S
                self._changed.unpark_all()

    async def _write_on(self, writing: trio.CancelScope) -> None:
        with writing:
            while True:
                await self._write_all()
                if self._ending:
                    return
                await self._changed.park()

    async def _look_for_ends(self) -> None:
        while True:
            await self._clock.sleep_until(self._clock.now() + LOOK_S)
            self._tell(self._refusals.ended(self._clock.now()))

    def _tell(self, ended: Iterable[Ended]) -> None:
        for each in ended:
            self._add(**_fields_of(each.last), count=each.count)

    async def _write_all(self) -> None:
        decisions = attrs.evolve(self._decisions, abandons=True)
        while self._lines:
            line = self._lines[0]
            try:
                await decisions.append(**line)
            except StoreError as error:
                _LOG.error("epoch %s is not in the log of decisions: %s", line["epoch"], error)
            if self._lines and self._lines[0] is line:
                self._lines.popleft()


def _fields_of(notice: Notice) -> dict[str, object]:
    return {
        "outcome": notice.outcome,
        "decision": notice.what,
        "revision": notice.revision,
        "epoch": notice.epoch,
        "why": notice.why,
    }


def name_of(before: Record | None, after: Record) -> str:
    """What kind of change it was, whoever asked for it. No command has such a name: those have lines of their own."""
    if before is None:
        return "found"
    if after.lineage != before.lineage:
        return "force"
    if len(after.members) > len(before.members):
        return "admit"
    moved = after.primary != before.primary
    if len(after.members) < len(before.members):
        return "take-over" if moved else "go-alone"
    return "handover" if moved else "go-on"
