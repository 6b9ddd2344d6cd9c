"""What both configurations are to say alike: each node tells the other what its own says, and shows what differs.

Nothing follows from a difference but that it is told: a pair whose configurations differ serves as well as any other.
"""

import logging
from collections.abc import Callable, Mapping

import attrs

from ctlha_trio.link import SessionInfo
from ctlha_trio.pair import Setting
from ctlha_trio.wire import Feature

_LOG = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class DifferingSetting:
    """One that the other node's configuration says otherwise. A value is empty where nothing is said."""

    name: str
    here: str
    peer: str


@attrs.define(eq=False)
class SharedSettings:
    """Of one node. What the peer tells is of its session; of what is not known here nothing is kept."""

    _own: Mapping[str, str]
    _peer: str
    """The other node."""
    _say: Callable[[Setting], None]
    _of_peer: dict[str, str] = attrs.field(factory=dict, init=False)
    """By name, as it has told in this session: of each what it said first."""

    def session_began(self, session: SessionInfo | None) -> None:
        """Tell the peer, if it is of a version that hears such."""
        self._of_peer.clear()
        if session is not None and session.terms.has(Feature.SETTINGS):
            for name, value in self._own.items():
                self._say(Setting(name, value))

    def session_ended(self) -> None:
        """The peer may come back with another configuration."""
        self._of_peer.clear()

    def take(self, told: Setting) -> None:
        """The peer tells."""
        here = self._own.get(told.name)
        if here is None or told.name in self._of_peer:
            return
        self._of_peer[told.name] = told.value
        if told.value != here:
            _LOG.warning(
                "the configurations differ: %s is %s here, and %s at node %s",
                told.name,
                here or "not set",
                told.value or "not set",
                self._peer,
            )

    @property
    def differing(self) -> tuple[DifferingSetting, ...]:
        """As the peer has told in this session; none without one, or if it is of a version that does not tell."""
        return tuple(
            DifferingSetting(name=name, here=self._own[name], peer=value)
            for name, value in self._of_peer.items()
            if value != self._own[name]
        )
