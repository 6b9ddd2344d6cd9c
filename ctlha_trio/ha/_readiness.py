"""What the two nodes tell each other of their components: whether either could take over at once, and when one did."""

from collections.abc import Callable

import attrs

from ctlha_trio.ha._component_failover import ComponentFailover
from ctlha_trio.pair import SECONDS_MAX, ComponentsReady


@attrs.define(eq=False)
class Readiness:
    """What each node tells the other one, when a session begins and whenever it is ready or is not any more."""

    _say: Callable[[ComponentsReady], None]
    failover: ComponentFailover
    """A process of the peer's that began after the role had moved hears from here that it did."""
    own: Callable[[], bool] = attrs.field(default=lambda: False, init=False)
    """The supervisor's."""
    of_peer: bool = attrs.field(default=False, init=False)
    """As the other one has said last in this session."""
    _told: bool = attrs.field(default=False, init=False)

    def session_began(self) -> None:
        """Tell the peer, which knows nothing."""
        self.of_peer = False
        self._tell()

    def session_ended(self) -> None:
        """What the peer has said is of the past."""
        self.of_peer = False

    def take(self, told: ComponentsReady) -> None:
        """The peer tells."""
        self.of_peer = told.ready
        self.failover.told(told.taken_s, told.hold_down_s)

    def look(self) -> None:
        """Tell the peer if it is another than it was told. Without a session nobody is told."""
        if self.own() is not self._told:
            self._tell()

    def _tell(self) -> None:
        self._told = self.own()
        taken_s = int(min(self.failover.taken_s, SECONDS_MAX))
        self._say(ComponentsReady(self._told, taken_s, int(self.failover.hold_down_s)))
