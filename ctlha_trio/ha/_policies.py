"""What the supervisor decides by policy and over time, which the pair core knows nothing of."""

import logging
from collections.abc import Callable

import attrs
import trio

from ctlha_trio._errors import FailedError
from ctlha_trio.ha._give_back import GIVE_BACK_LOOK_S, GiveBack, GiveBackPolicy, GiveBackStand
from ctlha_trio.ha._loop_watch import LoopWatch
from ctlha_trio.ha._pair_driver import PairDriver
from ctlha_trio.ha._peer_returns import PeerReturns
from ctlha_trio.ha._seen_time import seen_after_look
from ctlha_trio.ha._status import Note, Reason
from ctlha_trio.seams import Clock

_LOG = logging.getLogger(__name__)


@attrs.define(eq=False)
class Policies:
    """Takes a peer in later that is lost too often, gives the role back by policy, and watches the node's own loop."""

    _clock: Clock
    _driver: PairDriver
    _policy: GiveBackPolicy | None
    loop: LoopWatch = attrs.field(init=False)
    _returns: PeerReturns = attrs.field(factory=PeerReturns, init=False)
    _held: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    _give_back: GiveBack | None = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.loop = LoopWatch(self._clock)
        self._give_back = None if self._policy is None else GiveBack(self._driver.state.me, self._policy)
        self._driver.on_session = self._session_began
        if self._give_back is not None:
            self._driver.record_followers.append(self._give_back.recorded)

    def start(self, nursery: trio.Nursery, is_protected: Callable[[], bool]) -> None:
        """Start the tasks, which run until cancelled. ``is_protected``: the verdict of this node's status."""
        nursery.start_soon(self.loop.run)
        nursery.start_soon(self._let_in)
        if self._give_back is not None:
            nursery.start_soon(self._give_role_back, self._give_back, is_protected)

    @property
    def flaps(self) -> int:
        """How often the session was lost and resumed within the window, but for those that ended on purpose."""
        return self._returns.flaps.count(self._clock.now())

    @property
    def peer_restarts(self) -> int:
        """How often another process of the peer's came within the window."""
        return self._returns.restarts.count(self._clock.now())

    @property
    def distrusted(self) -> frozenset[Note]:
        """What has brought the peer back too often: the link, or the peer itself."""
        now_s = self._clock.now()
        kinds = (Note.LINK_FLAPS, self._returns.flaps), (Note.PEER_RESTARTS, self._returns.restarts)
        return frozenset(note for note, kind in kinds if kind.too_many(now_s))

    @property
    def waits_for(self) -> frozenset[Reason]:
        """Why a peer that could be a member is not made one yet."""
        state, now_s = self._driver.state, self._clock.now()
        if not state.admission_held or state.resync is None:
            return frozenset()
        kinds = (Reason.LINK_FLAPS, self._returns.flaps), (Reason.PEER_RESTARTS, self._returns.restarts)
        return frozenset(reason for reason, kind in kinds if kind.waits(now_s))

    @property
    def give_back(self) -> GiveBackStand:
        """Where the giving back stands."""
        return GiveBackStand.NOTHING_TO_DO if self._give_back is None else self._give_back.stand

    @property
    def give_back_in_s(self) -> float | None:
        """Seconds until the role is given back if all stays well; None if there is nothing to give back."""
        return None if self._give_back is None else self._give_back.left_s

    def _session_began(self, peer_incarnation: int) -> None:
        now_s = self._clock.now()
        self._returns.returned(now_s, peer_incarnation, on_purpose=self._driver.resync.began_anew)
        if self._returns.quiet_at_s(now_s) > now_s:
            if not self._driver.state.admission_held:
                _LOG.warning(
                    "the session was resumed %d times, the peer started anew %d times: it becomes a member later",
                    self.flaps,
                    self.peer_restarts,
                )
            self._driver.roles.hold_admission(held=True)
            self._held.unpark_all()

    async def _let_in(self) -> None:
        while True:
            while not self._driver.state.admission_held:
                await self._held.park()
            now_s = self._clock.now()
            quiet_at_s = self._returns.quiet_at_s(now_s)
            if quiet_at_s > now_s:
                await self._clock.sleep_until(quiet_at_s)
            else:
                _LOG.info("the session has held long enough: the peer may become a member")
                self._driver.roles.hold_admission(held=False)

    async def _give_role_back(self, give_back: GiveBack, is_protected: Callable[[], bool]) -> None:
        while True:
            seen_s = await seen_after_look(self._clock, GIVE_BACK_LOOK_S)
            verification = self._driver.state.verification
            verifies = verification is not None and verification.running
            trusted = is_protected() and not verifies and not self.distrusted and not self.loop.stalled
            if not give_back.look(self._driver.state, seen_s, trusted=trusted):
                continue
            _LOG.info("giving the role back to node %s", self._driver.state.peer)
            try:
                await self._driver.roles.hand_over()
            except FailedError as error:
                _LOG.warning("the role was not given back: %s", error)
                give_back.ended(well=False)
            else:
                give_back.ended(well=True)
