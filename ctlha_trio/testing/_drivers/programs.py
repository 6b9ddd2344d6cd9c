"""What runs on each node beside its volume, as in a user's program: a component, and a channel with a handler."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from random import Random
from typing import Final

import attrs
import trio

from ctlha_trio._errors import BusyError, ComponentError, DisconnectError, InvalidError
from ctlha_trio._vocabulary import ctl_ha_channel, ctl_ha_comp_status, ctl_ha_component, ctl_ha_event, ctl_ha_state
from ctlha_trio.ha import DEFAULT_CHANNEL, Node
from ctlha_trio.testing._drivers.chance import happens
from ctlha_trio.testing._drivers.time import let_pass
from ctlha_trio.testing._pairs.pair_faults import NAMES

_CHANNEL: Final = ctl_ha_channel.CTL_HA_CHAN_CTL
_TAKEN: Final = bytes(DEFAULT_CHANNEL.message_size_bytes)
_NOT_UNDERSTOOD: Final = b"\xff" * DEFAULT_CHANNEL.message_size_bytes
"""What the handler raises at, until it is mended."""
_NAME: Final = "program"
_ENDED: Final = f"{_NAME}: start answered {ctl_ha_comp_status.CTL_HA_COMP_STATUS_ERROR.name}"
"""What a node says that ends because its component answers ERROR."""
_ERRS: Final = 0.05
"""Share of the starts after which a node with flaws in its program needs another process."""
_RAISES: Final = 0.05
"""Share of the starts in which such a program raises."""
_FAILS: Final = 0.2
"""Share of the starts, and of the messages, that a program with flaws fails at."""
_TALKS_S: Final = 2.0
"""Mean time between two messages."""


class BugError(Exception):
    """What a handler or a component raises that has a bug."""


def is_meant(failure: BaseException) -> bool:
    """Whether a node has failed by nothing but its program: a handler or a component that was to."""
    if isinstance(failure, BaseExceptionGroup):
        return all(map(is_meant, failure.exceptions))
    if isinstance(failure, ComponentError):
        return str(failure) == _ENDED or isinstance(failure.__cause__, BugError)
    return isinstance(failure, BugError)


@attrs.define(eq=False)
class Programs:
    """Of both nodes."""

    random: Random
    flawed: bool = attrs.field(default=True, init=False)
    """Components do not start now and then, or never again, or raise, and now and then a handler does at a message."""
    broken: frozenset[str] = attrs.field(default=frozenset(), init=False)
    """Nodes whose component answers FAILED to each start."""
    puzzled: frozenset[str] = attrs.field(default=frozenset(), init=False)
    """Nodes whose handler raises at what it does not understand."""
    erring: frozenset[str] = attrs.field(default=frozenset(), init=False)
    """Nodes whose component answers ERROR to each start."""
    buggy: frozenset[str] = attrs.field(default=frozenset(), init=False)
    """Nodes whose component raises in each start."""
    failed: dict[str, Node] = attrs.field(factory=dict, init=False)
    """By name: nodes whose component answered FAILED, and was not asked for anything since."""
    erred: dict[str, Node] = attrs.field(factory=dict, init=False)
    """By name: nodes whose component has answered ERROR."""
    had_bug: dict[str, Node] = attrs.field(factory=dict, init=False)
    """By name: nodes whose component raised, and was not asked for anything since."""
    raised: dict[str, Node] = attrs.field(factory=dict, init=False)
    """By name: nodes whose handler has raised."""
    asked: dict[str, int] = attrs.field(factory=dict, init=False)
    """By node: starts that the components of all its incarnations were asked for."""
    taken: dict[str, int] = attrs.field(factory=dict, init=False)
    """By node: messages that the handlers of all its incarnations have taken."""

    def make(self, node: Node) -> Sequence[ctl_ha_component]:
        """Open the channel of a node that starts, and make its component."""
        name = node.config.node

        async def handle(channel: ctl_ha_channel, event: ctl_ha_event, _: int) -> None:
            await trio.lowlevel.checkpoint()
            if event is not ctl_ha_event.CTL_HA_EVT_MSG_RECV:
                return
            message = node.channel(channel).receive_nowait()
            if message == _NOT_UNDERSTOOD and (self.flawed or name in self.puzzled):
                self.raised[name] = node
                raise BugError(name)
            self.taken[name] = self.taken.get(name, 0) + 1

        async def agree(_: ctl_ha_component) -> ctl_ha_comp_status:
            await trio.lowlevel.checkpoint()
            return ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK

        async def quiesce(component: ctl_ha_component) -> ctl_ha_comp_status:
            self.failed.pop(name, None)
            self.had_bug.pop(name, None)
            return await agree(component)

        async def start(_: ctl_ha_component, __: ctl_ha_state) -> ctl_ha_comp_status:
            await trio.lowlevel.checkpoint()
            self.asked[name] = self.asked.get(name, 0) + 1
            if name in self.erring or (self.flawed and happens(self.random, _ERRS)):
                self.erred[name] = node
                return ctl_ha_comp_status.CTL_HA_COMP_STATUS_ERROR
            if name in self.buggy or (self.flawed and happens(self.random, _RAISES)):
                self.had_bug[name] = node
                raise BugError(name)
            if name in self.broken or (self.flawed and happens(self.random, _FAILS)):
                self.failed[name] = node
                return ctl_ha_comp_status.CTL_HA_COMP_STATUS_FAILED
            return ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK

        node.open_channel(_CHANNEL, handle)
        return (ctl_ha_component(_NAME, init=agree, start=start, quiesce=quiesce),)

    async def talk(self, nodes: Mapping[str, Node]) -> None:
        """Let each program send the other one messages for as long as they have flaws. A checkpoint."""
        while self.flawed:
            await let_pass(self.random.expovariate(1 / _TALKS_S))
            sender = nodes.get(self.random.choice(NAMES))
            # Without a session, without credit, or by a channel that a handler has closed, nothing can be said.
            with suppress(DisconnectError, BusyError, InvalidError):
                if sender is not None:
                    self.say(sender, understood=not happens(self.random, _FAILS))

    def say(self, sender: Node, *, understood: bool) -> None:
        """Send the other node a message, which its handler takes or raises at."""
        sender.channel(_CHANNEL).send_nowait(_TAKEN if understood else _NOT_UNDERSTOOD)
