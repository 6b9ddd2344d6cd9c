"""The fence of the other node that a component needs: ordered in one epoch, and only while this node serves alone.

The record goes first: while it names the other node too, that one is a member whose loss would cost a copy. Whoever
restarts goes on by itself, for its component is asked again and answers the same, and a fence is idempotent.
"""

import logging
from collections.abc import Callable
from typing import Final

import attrs
import trio

from ctlha_trio.ha._notices import REFUSED
from ctlha_trio.pair import Record
from ctlha_trio.seams import FenceAnswer, FenceOutcome, Fencer

_LOG: Final = logging.getLogger(__name__)


@attrs.define(eq=False)
class PeerFence:
    """Of one node. Only what is confirmed counts, and only in the epoch for which it was asked."""

    _fencer: Fencer | None
    _peer: str
    _serving: Callable[[], Record | None]
    """The record by which this node serves; None while it does not."""
    _tell: Callable[[str, str, str], None]
    """Writes what, its outcome and why into the log of decisions."""
    _changed: trio.lowlevel.ParkingLot
    """Unparked whenever the record may be another."""
    on_end: Callable[[], None] = attrs.field(default=lambda: None, init=False)
    """Told when a fence has ended, however."""
    _wanted: Record | None = attrs.field(default=None, init=False)
    _told: Record | None = attrs.field(default=None, init=False)
    """That the log says of that a fence was asked for under it: a retry all night is one line."""
    _last: tuple[Record, FenceAnswer | None] | None = attrs.field(default=None, init=False)
    """The record and the answer; none while it is under way."""
    _asked: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    def shown(self, record: Record) -> Record:
        """The record, with the evidence if the other node was fenced under it."""
        answer = self._answer_under(record)
        if answer is None or answer.outcome is not FenceOutcome.CONFIRMED:
            return record
        return attrs.evolve(record, fence="confirmed", evidence=answer.evidence)

    def stand(self, record: Record) -> str:
        """Where it stands, for people; empty if this node knows no way to fence the other one."""
        if self._fencer is None:
            return ""
        if len(record.members) > 1:
            return f"node {self._peer} is still a member, and is not fenced before this node serves alone"
        if (shown := self.shown(record)).fence == "confirmed":
            return f"node {self._peer} was fenced: {shown.evidence}"
        answer = self._answer_under(record)
        if answer is None:
            return f"node {self._peer} is being fenced"
        return f"the fence of node {self._peer}: {answer.outcome.value}: {answer.evidence}"

    def ask(self, record: Record) -> None:
        """A component needs it now. Nothing where that cannot be, where one is under way, or was confirmed."""
        under_way = self._last is not None and self._last[0] == record and self._last[1] is None
        alone = self._fencer is not None and len(record.members) == 1
        if alone and not under_way and self.shown(record).fence != "confirmed":
            self._wanted = record
            self._last = record, None
            self._asked.unpark_all()

    async def run(self) -> None:
        """Carry out what is asked for, one at a time, until cancelled. The answer of one cut off is not known."""
        assert self._fencer is not None
        while True:
            record, self._wanted = self._wanted, None
            if record is None:
                await self._asked.park()
                continue
            if record != self._told:
                self._told = record
                self._tell("fence", "asked", f"node {self._peer}, for a component")
            answer = await self._fence(self._fencer, record)
            confirmed = answer.outcome is FenceOutcome.CONFIRMED
            if self._last is not None and self._last[0] == record:
                self._last = record, answer
            why = f"node {self._peer}: {answer.outcome.value}: {answer.evidence}"
            self._tell("fence", "done" if confirmed else REFUSED, why)
            self.on_end()
            self._changed.unpark_all()

    @property
    def is_possible(self) -> bool:
        """Whether this node knows a way."""
        return self._fencer is not None

    def _answer_under(self, record: Record) -> FenceAnswer | None:
        return self._last[1] if self._last is not None and self._last[0] == record else None

    async def _fence(self, fencer: Fencer, record: Record) -> FenceAnswer:
        """Until the record is another: then the other node may have become a member again, and must be left alone.

        A fencer that raises, against its promise, has done nobody knows what, and ends no node that serves.
        """
        answer = FenceAnswer(FenceOutcome.UNKNOWN, "given up: this node does not serve alone any more in that epoch")

        async def give_up() -> None:
            while self._serving() == record:
                await self._changed.park()
            nursery.cancel_scope.cancel()

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(give_up)
                if self._serving() == record:
                    answer = await fencer.fence(self._peer, record.resource, record.epoch)
                nursery.cancel_scope.cancel()
        except* Exception as bugs:
            _LOG.error("the fence of node %s", self._peer, exc_info=bugs)
            answer = FenceAnswer(FenceOutcome.UNKNOWN, f"raised {bugs.exceptions[0]!r}")
        return answer
