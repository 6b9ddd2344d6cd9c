"""How much of a resync is left, and how fast it goes: the source counts and tells its target; both can say so."""

from collections import deque
from collections.abc import Callable
from math import ceil
from typing import Final

import attrs
import trio

from ctlha_trio.link import Link
from ctlha_trio.pair import OperationKind, PairState, Phase, ResyncLeft
from ctlha_trio.seams import Clock

TELL_S: Final = 0.5
"""Between two words to the target, however many ranges are copied meanwhile."""
RATE_OVER_S: Final = 10.0
"""A rate over less time jumps, one over more does not tell what is so now."""
RATE_FROM_S: Final = 1.0
"""Less than that is no rate: it may be one rest beside clients, or one range."""
CHANGES_MIN: Final = 2
"""However far apart they are."""
STALL_S: Final = 30.0
"""Nothing came off for so long: nobody knows how long the rest takes."""
UNSEEN_S: Final = 4 * TELL_S
"""A process that has not looked for so long stood still, and so did the copy."""


@attrs.define(eq=False)
class ResyncRate:
    """Of one resync, by what is found left of it at each look, in seconds of whoever looks.

    A range is large beside a slow line: what counts are the moments at which something changed.
    """

    _changes: deque[tuple[float, int]] = attrs.field(factory=deque, init=False)
    _looked_s: float = attrs.field(default=float("-inf"), init=False)

    def look(self, now_s: float, left_bytes: int) -> None:
        """That much is left now."""
        changes = self._changes
        if now_s > self._looked_s + UNSEEN_S:
            changes.clear()
        self._looked_s = now_s
        if not changes or changes[-1][1] != left_bytes:
            changes.append((now_s, left_bytes))
        while len(changes) > CHANGES_MIN and changes[1][0] <= now_s - RATE_OVER_S:
            changes.popleft()

    @property
    def bytes_per_s(self) -> int:
        """By which it became less lately; 0 while that is not known, or clients mark more than is copied."""
        if not self._changes:
            return 0
        (then_s, then_bytes), (changed_s, left_bytes) = self._changes[0], self._changes[-1]
        took_s = self._looked_s - then_s
        if took_s < RATE_FROM_S or self._looked_s >= changed_s + STALL_S:
            return 0
        return max(0, int((then_bytes - left_bytes) / took_s))


@attrs.define(eq=False)
class ResyncProgress:
    """Of the resync that this node is the source or the target of."""

    _clock: Clock
    _link: Link
    _say: Callable[[ResyncLeft], None]
    _state: Callable[[], PairState]
    _dirty_bytes_from: Callable[[int], int]
    _rate: ResyncRate = attrs.field(factory=ResyncRate, init=False)
    _told: ResyncLeft | None = attrs.field(default=None, init=False)
    """The last word to the target of this resync."""
    _heard: ResyncLeft | None = attrs.field(default=None, init=False)
    """The last word of the source of this resync."""
    _begun: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    _void_session: int | None = attrs.field(default=None, init=False)
    """As the core counts them: one that ends on purpose, for its target begins anew in the next."""

    @property
    def left(self) -> ResyncLeft | None:
        """At the source as of now, at the target as it was last told; None: there is no resync, or nothing is known."""
        state = self._state()
        if state.resync is None:
            return self._heard if state.phase is Phase.RESYNCING else None
        cursor = state.resync.cursor
        copies = (f.operation for f in state.flights if f.operation.kind is OperationKind.COPY)
        # Where the search went back, what is under way behind it is counted by its marks, or is under way twice.
        under_way = {copy.offset: copy.size for copy in copies if copy.offset < cursor}
        left_bytes = self._dirty_bytes_from(cursor) + sum(under_way.values())
        return ResyncLeft(
            state.epoch,
            min(left_bytes, state.size_bytes),
            self._rate.bytes_per_s,
            blocked=bool(state.resync.left_out),
        )

    def stepped(self, before: PairState, after: PairState) -> None:
        """The core took a step: what is known of one resync says nothing of the next."""
        if _is_counted(after) and not _is_counted(before):
            self._rate, self._told = ResyncRate(), None
            self._begun.unpark_all()
        if before.phase is Phase.RESYNCING and after.phase is not Phase.RESYNCING:
            self._heard = None
            if after.phase is Phase.OUTDATED and after.session:
                # The source ends the session for that. It says so only if nothing else is being sent.
                self._void_session = after.sessions
        elif before.phase is Phase.OUTDATED and after.phase is not Phase.OUTDATED:
            self._void_session = None

    def session_dropped(self, *, blames_peer: bool) -> None:
        """This node's core ends the session: if not for what the peer said, because that begins anew as its target."""
        if not blames_peer:
            self._void_session = self._state().sessions

    @property
    def began_anew(self) -> bool:
        """Whether the session before this one ended on purpose, so that a resync begins anew: no fault of the link."""
        return self._void_session == self._state().sessions - 1

    def heard(self, told: ResyncLeft) -> None:
        """The source tells. What it says of a resync that is over here is nothing."""
        state = self._state()
        if state.phase is Phase.RESYNCING and told.epoch == state.epoch:
            self._heard = told

    async def run(self) -> None:
        """Measure, and tell the target what has changed, while this node is the source of a resync. Until cancelled."""
        while True:
            while not _is_counted(self._state()):
                await self._begun.park()
            self._look()
            await self._clock.sleep_until(self._clock.now() + TELL_S)

    def _look(self) -> None:
        left = self.left
        if left is None:
            return
        self._rate.look(self._clock.now(), left.left_bytes)
        left = attrs.evolve(left, bytes_per_s=self._rate.bytes_per_s)
        if left != self._told and self._link.session is not None:
            self._told = left
            self._say(left)


def _is_counted(state: PairState) -> bool:
    """Whether this node is the source of a resync, and has marked all that may differ."""
    return state.resync is not None and state.resync.cursor > 0


def left_s(left: ResyncLeft) -> int | None:
    """Whole seconds, at the rate of the last ones; None while that is not known, or nothing is left."""
    return ceil(left.left_bytes / left.bytes_per_s) if left.left_bytes and left.bytes_per_s else None
