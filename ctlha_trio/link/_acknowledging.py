"""When what was received is acknowledged in a frame of its own, for no answer carries that."""

import attrs

from ctlha_trio.link._channel import Channel


@attrs.define(eq=False)
class LateAcknowledgements:
    """An acknowledgement travels with the answer, if one is given in the turn of the loop behind its arrival."""

    _news: dict[Channel, None] = attrs.field(factory=dict, init=False)
    """Of these there was something to acknowledge when it came."""
    _late: dict[Channel, int] = attrs.field(factory=dict, init=False)
    """What nobody has answered yet, up to that sequence; who does it before the writer's turn still may."""

    @property
    def has_news(self) -> bool:
        """Whether something has come since the last ``turn``."""
        return bool(self._news)

    def note(self, channel: Channel) -> None:
        """Something has come there that is to be acknowledged."""
        self._news[channel] = None

    def turn(self) -> bool:
        """Who might have answered what has come had a turn. Whether the writer is to look."""
        for channel in self._news:
            flow = channel.session_flow
            if flow.has_news:
                self._late[channel] = flow.received
        self._news.clear()
        return bool(self._late)

    def is_any(self) -> bool:
        """Whether something is still to be acknowledged. What has come since is not late yet."""
        flows = ((channel.session_flow, received) for channel, received in self._late.items())
        return any(flow.told_received < received or flow.has_room_to_tell for flow, received in flows)

    def clear(self) -> None:
        """The writer has looked."""
        self._late.clear()
