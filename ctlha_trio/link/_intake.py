"""What each frame of the peer does here."""

from collections.abc import Callable
from typing import Final

import attrs

from ctlha_trio._errors import RemoteProtocolError
from ctlha_trio.link._answers import Answers
from ctlha_trio.link._channel import Channel
from ctlha_trio.link._requests import Requests
from ctlha_trio.link._statistics import LinkCounters
from ctlha_trio.link._transfer import Placement
from ctlha_trio.wire import (
    CHANGED,
    PLACED,
    PUSH_PREFIX,
    REPLIES,
    REQUESTS,
    Denial,
    Fault,
    Feature,
    Fragment,
    Frame,
    FrameType,
    Landing,
    SessionCore,
    decode_fragment,
    decode_pull,
    decode_verdict,
    decode_withdrawal,
)

_MESSAGES: Final = FrameType.MESSAGES


@attrs.define(eq=False, kw_only=True)
class Intake:
    """Delivers the frames of one session: messages to channels, data to memory, answers to their requests.

    ``take`` raises ``RemoteProtocolError`` for what the peer may not send. Whoever it tells may end the session from
    within; the rest of the frame is then dropped.
    """

    _core: SessionCore
    _channels: dict[int, Channel]
    """Of the session."""
    _requests: Requests
    _answers: Answers
    _placement: Placement | None
    _counters: LinkCounters
    _has_ended: Callable[[], bool]
    _wake_writer: Callable[[], None]
    _tell_news: Callable[[Channel], None]
    _arriving: tuple[Fragment | None, Landing | None] = attrs.field(default=(None, None), init=False)
    """The fragment whose data is being received, None for a push without request; and where that goes."""
    _is_reply: bool = attrs.field(default=False, init=False)
    """Whether that fragment was pulled."""

    def open(self, frame: Frame, now: float) -> Landing | None:
        """Where the data goes whose head this is; None if it is not wanted. ``take`` follows when it is all there."""
        self._core.receive(frame, now)
        fragment: Fragment | None = None
        self._is_reply = frame.flags in REPLIES
        if frame.flags in REQUESTS:
            fragment = decode_fragment(frame)
            landing = self._answers.open_push(fragment)
            if landing is None:
                self._counters.denied_bytes_in += fragment.size
                self._wake_writer()
        elif self._is_reply:
            fragment = decode_fragment(frame)
            landing = self._requests.open_reply(fragment)
        else:
            landing = self._open_message_push(frame, frame.data_size)
        self._arriving = fragment, landing
        return landing

    def take(self, frame: Frame, now: float) -> None:
        """Take in one whole frame; a last one is the caller's to act on."""
        if frame is PLACED or frame is CHANGED:
            if frame is CHANGED and not self._core.terms.has(Feature.CHANGED_REPLIES):
                raise RemoteProtocolError(Fault.CHECKSUM.value, "data damaged on its way")  # it was sent a copy
            self._close(is_whole=frame is PLACED)
            return
        self._core.receive(frame, now)
        channel = self._channels.get(frame.channel)
        if channel is not None and channel.settle() and self._has_ended():
            return
        if frame.kind is _MESSAGES:  # most are, and each look into the enum costs
            assert channel is not None, "the core knows it"
            self._deliver(channel, frame.payload, frame.count)
            return
        match frame.kind:
            case FrameType.CHANNEL_OPEN:
                if channel is not None and channel.session_flow.has_news:
                    self._tell_news(channel)  # of room that was freed while the peer was not in the channel
            case FrameType.PUSH:
                assert channel is not None, "the core knows it"
                self._take_message_push(frame, channel)
            case FrameType.PULL:
                self._answers.take_pull(decode_pull(frame.payload))
                self._wake_writer()
            case FrameType.WITHDRAW:
                self._answers.take_withdrawal(decode_withdrawal(frame.payload))
                self._wake_writer()
            case FrameType.TRANSFER_DONE:
                self._requests.take_verdict(decode_verdict(frame.payload))
            case _:
                return

    def _deliver(self, channel: Channel, messages: memoryview, count: int) -> None:
        channel.deliver(messages, count)
        self._counters.messages_in += count
        if not self._has_ended() and channel.session_flow.has_news:
            self._tell_news(channel)

    def _close(self, *, is_whole: bool) -> None:
        """All data of a push without a message was received, or dropped; or of a reply, not as its checksum says."""
        fragment, landing = self._arriving
        self._arriving = None, None
        if fragment is None:
            assert landing is not None, "or the session had ended"
            self._close_message_push(landing, is_last=False)
        elif self._is_reply:
            # Counted before: who is told of the end may look.
            if landing is None or landing.is_released or not is_whole:
                self._counters.denied_bytes_in += fragment.size
            else:
                self._counters.pulled_bytes_in += fragment.size
            self._requests.close_reply(fragment, is_whole=is_whole)
        elif landing is not None:
            if self._answers.close_push(fragment, landing):
                self._counters.pushed_bytes_in += fragment.size
            else:
                self._counters.denied_bytes_in += fragment.size
            if self._answers.has_verdicts:
                self._wake_writer()

    def _take_message_push(self, frame: Frame, channel: Channel) -> None:
        end = len(frame.payload) - channel.slot_size
        data = frame.payload[PUSH_PREFIX.size : end]
        landing = self._open_message_push(frame, len(data))
        landing.memory[:] = data
        self._close_message_push(landing, is_last=True)
        self._deliver(channel, frame.payload[end:], frame.count)

    def _open_message_push(self, frame: Frame, size: int) -> Landing:
        """Denied, it ends the session: its message could not be delivered, and nothing else can be answered."""
        key, offset, _ = PUSH_PREFIX.unpack_from(frame.payload)
        landing: Landing | Denial = Denial.UNKNOWN_KEY
        if self._placement is not None:
            landing = self._placement.open(key, offset, size, span=size, epoch=frame.epoch)
        if isinstance(landing, Denial):
            raise RemoteProtocolError(landing.value, f"a push of {size} bytes at {offset}")
        return landing

    def _close_message_push(self, landing: Landing, *, is_last: bool) -> None:
        assert self._placement is not None, "it gave the memory"
        size = 0 if landing.is_released else len(landing.memory)
        denial = self._placement.close(landing, is_last=is_last)
        if denial is not None:
            raise RemoteProtocolError(denial.value, "a push of which a part was received")
        self._counters.pushed_bytes_in += size
