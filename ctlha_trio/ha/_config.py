"""What a node must be told."""

from collections.abc import Mapping
from typing import Final

import attrs

from ctlha_trio._errors import InvalidError
from ctlha_trio._vocabulary import ctl_ha_channel
from ctlha_trio.ha._give_back import GiveBackPolicy
from ctlha_trio.pair import SETTING_NAME_MAX, SETTING_VALUE_MAX


@attrs.frozen(kw_only=True)
class ChannelConfig:
    """The fixed size of a channel's messages, and how many of them are preallocated in each direction."""

    message_size_bytes: int = 512
    """FreeBSD 9's CTL sends 432 bytes, whatever the message."""
    slots: int = 64


DEFAULT_CHANNEL: Final = ChannelConfig()
CONSUMER_CHANNELS: Final = (ctl_ha_channel.CTL_HA_CHAN_CTL, ctl_ha_channel.CTL_HA_CHAN_ZFS)
"""Those of the header that anybody can open."""


def check_channels(channels: Mapping[ctl_ha_channel, ChannelConfig]) -> None:
    """``InvalidError`` for what is no channel of a consumer, ``TypeError`` for what is no ``ChannelConfig``."""
    for number, config in channels.items():
        if number not in CONSUMER_CHANNELS:
            names = ", ".join(each.name for each in CONSUMER_CHANNELS)
            raise InvalidError(f"channels have sizes, but {number!r} is none of them: {names}")
        if not isinstance(config, ChannelConfig):
            raise TypeError(f"{ctl_ha_channel(number).name} has {config!r}: give a ChannelConfig")


@attrs.frozen(kw_only=True)
class NodeConfig:
    """One node of a pair. Everything else comes from its disk, the arbiter and the peer."""

    cluster: str
    node: str
    """This node's id."""
    peer: str
    """The other node's id."""
    resource: str
    """The volume's name in the arbiter's record."""
    listen: str
    """Address of this node's link."""
    peer_address: str
    volume_path: str
    """The backing file, as the disk seam names it."""
    size_bytes: int
    """Of the volume."""
    channels: Mapping[ctl_ha_channel, ChannelConfig] = attrs.field(factory=dict)
    """Of consumers; those that are not named have the defaults. Both nodes must agree on the size.

    ``InvalidError`` for what is no channel, ``TypeError`` for what is no ``ChannelConfig``.
    """
    give_back: GiveBackPolicy | None = None
    """None: only a person moves the role back."""
    notes: tuple[str, ...] = ()
    """What is true of the set-up but no fault, for ``status``."""
    settings: Mapping[str, str] = attrs.field(factory=dict)
    """What both nodes' configurations are to say alike, by name, as text: what differs is logged, and in ``status``.

    An empty value: nothing is said. ``InvalidError`` for what is not printable ASCII, or is too long to be told.
    """

    def __attrs_post_init__(self) -> None:
        check_channels(self.channels)
        for name, value in self.settings.items():
            fits = 1 <= len(name) <= SETTING_NAME_MAX and len(value) <= SETTING_VALUE_MAX
            if not (fits and (name + value).isascii() and (name + value).isprintable()):
                raise InvalidError(f"the other node cannot be told of the setting {name!r}: {value!r}")
