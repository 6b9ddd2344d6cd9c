"""What runs on each node beside its volume, as in a user's program: a component, and a channel with a handler."""

from collections.abc import Sequence
from typing import Final

import attrs
import trio

from ctlha_trio._vocabulary import ctl_ha_channel, ctl_ha_comp_status, ctl_ha_component, ctl_ha_event, ctl_ha_state
from ctlha_trio.ha import DEFAULT_CHANNEL, Node

_CHANNEL: Final = ctl_ha_channel.CTL_HA_CHAN_CTL
_TAKEN: Final = bytes(DEFAULT_CHANNEL.message_size_bytes)
_NOT_UNDERSTOOD: Final = b"\xff" * DEFAULT_CHANNEL.message_size_bytes
"""What the handler raises at."""


class HandlerRaisedError(Exception):
    """What the handler raises, as a program with a bug does."""


def is_meant(failure: BaseException) -> bool:
    """Whether a node has failed by nothing but its handler, which was to raise."""
    if isinstance(failure, BaseExceptionGroup):
        return all(map(is_meant, failure.exceptions))
    return isinstance(failure, HandlerRaisedError)


@attrs.define(eq=False)
class Programs:
    """Of both nodes."""

    broken: frozenset[str] = attrs.field(default=frozenset(), init=False)
    """Nodes whose component answers FAILED to each start."""
    taken: dict[str, int] = attrs.field(factory=dict, init=False)
    """By node: messages that the handlers of all its incarnations have taken."""

    def make(self, node: Node) -> Sequence[ctl_ha_component]:
        """Open the channel of a node that starts, and make its component."""
        name = node.config.node

        async def handle(channel: ctl_ha_channel, event: ctl_ha_event, _: int) -> None:
            await trio.lowlevel.checkpoint()
            if event is not ctl_ha_event.CTL_HA_EVT_MSG_RECV:
                return
            if node.channel(channel).receive_nowait() == _NOT_UNDERSTOOD:
                raise HandlerRaisedError(name)
            self.taken[name] = self.taken.get(name, 0) + 1

        async def agree(_: ctl_ha_component) -> ctl_ha_comp_status:
            await trio.lowlevel.checkpoint()
            return ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK

        async def start(_: ctl_ha_component, __: ctl_ha_state) -> ctl_ha_comp_status:
            await trio.lowlevel.checkpoint()
            if name in self.broken:
                return ctl_ha_comp_status.CTL_HA_COMP_STATUS_FAILED
            return ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK

        node.open_channel(_CHANNEL, handle)
        return (ctl_ha_component("program", init=agree, start=start, quiesce=agree),)

    def say(self, sender: Node, *, understood: bool) -> None:
        """Send the other node a message, which its handler takes or raises at."""
        sender.channel(_CHANNEL).send_nowait(_TAKEN if understood else _NOT_UNDERSTOOD)
