"""What each frame of the peer does here."""

from collections.abc import Callable

import attrs

from ctlha_trio._errors import RemoteProtocolError
from ctlha_trio.link._answers import Answers
from ctlha_trio.link._channel import Channel
from ctlha_trio.link._requests import Requests
from ctlha_trio.link._statistics import LinkCounters
from ctlha_trio.link._transfer import Placement
from ctlha_trio.wire import (
    PUSH_PREFIX,
    Denial,
    Flag,
    Frame,
    FrameType,
    SessionCore,
    decode_fragment,
    decode_pull,
    decode_verdict,
)


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
    _tell_news: Callable[[], None]

    def take(self, frame: Frame, now: float) -> None:
        """Take in one frame; a goodbye is the caller's to act on."""
        self._core.receive(frame, now)
        channel = self._channels.get(frame.channel)
        if channel is not None:
            channel.settle()
            if self._has_ended():
                return
        match frame.kind:
            case FrameType.MESSAGES:
                assert channel is not None, "the core knows it"
                self._deliver(channel, frame.payload, frame.count)
            case FrameType.PUSH if frame.flags & Flag.REQUEST:
                self._take_push(frame)
            case FrameType.PUSH if frame.flags & Flag.REPLY:
                self._take_reply(frame)
            case FrameType.PUSH:
                self._take_message_push(frame, channel)
            case FrameType.PULL:
                self._answers.take_pull(decode_pull(frame.payload))
                self._wake_writer()
            case FrameType.TRANSFER_DONE:
                self._requests.take_verdict(decode_verdict(frame.payload))
            case _:
                return

    def _deliver(self, channel: Channel, messages: memoryview, count: int) -> None:
        channel.deliver(messages, count)
        self._counters.messages_in += count
        if channel.session_flow.has_news:
            self._tell_news()

    def _take_message_push(self, frame: Frame, channel: Channel | None) -> None:
        """Denied, it ends the session: its message could not be delivered, and nothing else can be answered."""
        end = len(frame.payload) - (0 if channel is None else channel.slot_size)
        key, offset = PUSH_PREFIX.unpack_from(frame.payload)
        data = frame.payload[PUSH_PREFIX.size : end]
        denial: Denial | None = Denial.UNKNOWN_KEY
        if self._placement is not None:
            denial = self._placement.place(key, offset, data, span=len(data), epoch=frame.epoch)
        if denial is not None:
            raise RemoteProtocolError(denial.value, f"a push of {len(data)} bytes at {offset}")
        self._counters.pushed_bytes_in += len(data)
        if channel is not None:
            self._deliver(channel, frame.payload[end:], frame.count)

    def _take_push(self, frame: Frame) -> None:
        fragment = decode_fragment(frame)
        if self._answers.take_push(fragment):
            self._counters.pushed_bytes_in += len(fragment.data)
        else:
            self._counters.denied_bytes_in += len(fragment.data)
        self._wake_writer()

    def _take_reply(self, frame: Frame) -> None:
        fragment = decode_fragment(frame)
        self._counters.pulled_bytes_in += len(fragment.data)
        self._requests.take_reply(fragment)
