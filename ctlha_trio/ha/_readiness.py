"""Whether the components of both nodes run beside each other, so that either could take over at once."""

from collections.abc import Callable

import attrs

from ctlha_trio.pair import ComponentsReady


@attrs.define(eq=False)
class Readiness:
    """What each node tells the other one of its components, when a session begins and whenever it changes."""

    _say: Callable[[ComponentsReady], None]
    own: Callable[[], bool] = attrs.field(default=lambda: False, init=False)
    """The supervisor's."""
    of_peer: bool = attrs.field(default=False, init=False)
    """As the other one has said last in this session."""
    _told: bool = attrs.field(default=False, init=False)

    def session_began(self) -> None:
        """Tell the peer, which knows nothing."""
        self.of_peer, self._told = False, self.own()
        self._say(ComponentsReady(self._told))

    def session_ended(self) -> None:
        """What the peer has said is of the past."""
        self.of_peer = False

    def take(self, told: ComponentsReady) -> None:
        """The peer tells."""
        self.of_peer = told.ready

    def look(self) -> None:
        """Tell the peer if it is another than it was told. Without a session nobody is told."""
        if self.own() is not self._told:
            self._told = not self._told
            self._say(ComponentsReady(self._told))
