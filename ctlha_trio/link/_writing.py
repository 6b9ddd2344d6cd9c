"""Puts what is queued into frames."""

from collections.abc import Iterable

import attrs

from ctlha_trio.link._channel import Channel
from ctlha_trio.link._statistics import LinkCounters
from ctlha_trio.link._transfer import MessagePush
from ctlha_trio.wire import (
    CHANNEL_OPEN_BODY,
    Bytes,
    Denial,
    Feature,
    Flag,
    Fragment,
    FrameType,
    PullRequest,
    SessionCore,
    Verdict,
    encode_header,
    encode_messages,
    encode_pull,
    encode_reason,
    encode_verdict,
    encode_withdrawal,
    fragment_prefix,
    push_prefix,
)

LAST = {way: way | Flag.LAST for way in (Flag.REQUEST, Flag.REPLY)}
COPIED_DATA_MAX = 64 * 1024
"""Pushed data up to this size is joined with its frame: a copy is cheaper than a send of its own."""


@attrs.define(eq=False)
class FrameWriter:
    """Collects frames between two sends. Each frame is whole by the time that ``take`` hands it out."""

    _core: SessionCore
    _counters: LinkCounters
    _out: bytearray = attrs.field(factory=bytearray, init=False)
    _pieces: list[Bytes] = attrs.field(factory=list, init=False)
    _opening: dict[int, Channel] = attrs.field(factory=dict, init=False)
    _heartbeat_due_s: float | None = attrs.field(default=None, init=False)
    """When the one that is asked for was due."""
    _goodbye_written: bool = attrs.field(default=False, init=False)

    def open(self, channel: Channel) -> None:
        """Tell the peer of this channel before anything is sent on it."""
        self._opening[channel.number] = channel

    @property
    def is_opening(self) -> bool:
        """Whether there are channels of which the peer has still to be told."""
        return bool(self._opening)

    def ask_heartbeat(self, due_s: float) -> None:
        """Put one heartbeat in front of what is written next."""
        if self._heartbeat_due_s is None:
            self._heartbeat_due_s = due_s

    def take(self) -> list[Bytes]:
        """All that was written since the last call, to be sent in this order."""
        if self._out:
            self._pieces.append(self._out)
            self._out = bytearray()
        pieces, self._pieces = self._pieces, []
        return pieces

    def take_joined(self) -> Bytes:
        """As ``take``, in one piece."""
        if self._pieces:
            return b"".join(self.take())
        written, self._out = self._out, bytearray()
        return written

    def write_control(self, channels: Iterable[Channel], now: float) -> None:
        """Heartbeat, new channels, then of each channel its messages, or what is to be acknowledged."""
        if self._heartbeat_due_s is not None:
            self._frame(FrameType.HEARTBEAT, self._core.heartbeat(now, due_s=self._heartbeat_due_s))
            self._heartbeat_due_s = None
        for channel in self._opening.values():
            self._write_opening(channel)
        self._opening.clear()
        for channel in channels:
            self.write_messages(channel)

    def _write_opening(self, channel: Channel) -> None:
        _, credit = channel.session_flow.tell()
        body = CHANNEL_OPEN_BODY.pack(channel.slot_size, channel.slots)
        self._frame(FrameType.CHANNEL_OPEN, body, channel=channel.number, credit=credit)

    def write_messages(self, channel: Channel) -> None:
        """All that is accepted on a channel, or else what is to be acknowledged."""
        flow = channel.session_flow
        if flow.written < flow.accepted:
            self._out += self.join_messages(channel)
        elif flow.has_news:
            acknowledged, credit = flow.tell()
            self._frame(FrameType.ACKNOWLEDGE, channel=channel.number, acknowledged=acknowledged, credit=credit)

    def join_messages(self, channel: Channel) -> bytes:
        """The frames of all that is accepted on a channel, which must be some. The caller sends them at once."""
        flow, core, counters = channel.session_flow, self._core, self._counters
        frames: list[bytes] = []
        while flow.written < flow.accepted:
            messages, count = channel.next_messages()
            first_sequence = flow.write(count)
            acknowledged, credit = flow.tell()
            frame = encode_messages(
                messages, channel.number, count, core.session, core.epoch, first_sequence, acknowledged, credit
            )
            frames.append(frame)
            counters.frames_out += 1
            counters.messages_out += count
        channel.due = flow.accepted + 1
        return b"".join(frames)  # which does not copy a single one

    def write_pull(self, pull: PullRequest) -> None:
        """Ask for data."""
        self._frame(FrameType.PULL, encode_pull(pull))

    def write_withdrawal(self, request: int) -> None:
        """Say that the answer to a request is not wanted any more."""
        self._frame(FrameType.WITHDRAW, encode_withdrawal(request))

    def write_verdict(self, verdict: Verdict) -> None:
        """Say what became of a request."""
        if verdict.denial not in {None, Denial.WITHDRAWN}:
            self._counters.denied_transfers_in += 1
        self._frame(FrameType.TRANSFER_DONE, encode_verdict(verdict))

    def write_fragment(self, fragment: Fragment, way: Flag) -> None:
        """Part of a push (REQUEST) or of what was asked for (REPLY)."""
        if way is Flag.REQUEST:
            self._counters.pushed_bytes_out += len(fragment.data)
        else:
            self._counters.pulled_bytes_out += len(fragment.data)
        flags = LAST[way] if fragment.is_last else way
        self._frame(FrameType.PUSH, fragment_prefix(fragment), fragment.data, flags=flags)

    def write_message_push(self, push: MessagePush) -> bool:
        """The next fragment of a push without request; True if it was the last, with the message behind it.

        Everything accepted on the channel must be written before the last one.
        """
        is_last = push.is_last_fragment
        offset, data = push.next_fragment()
        self._counters.pushed_bytes_out += len(data)
        if is_last:
            acknowledged, credit = push.channel.session_flow.tell()
            self._frame(
                FrameType.PUSH,
                push_prefix(push.key, offset, data, push.message),
                data,
                push.message,
                flags=Flag.MESSAGE_ATTACHED,
                channel=push.channel.number,
                count=1,
                first_sequence=push.channel.redeem(),
                acknowledged=acknowledged,
                credit=credit,
            )
            self._counters.messages_out += 1
        else:
            self._frame(FrameType.PUSH, push_prefix(push.key, offset, data), data)
        return is_last

    @property
    def has_said_goodbye(self) -> bool:
        """Whether the last frame is written, and so nothing may be any more."""
        return self._goodbye_written

    def write_goodbye(self, reason: str) -> None:
        """The farewell, once. Nothing is written after it."""
        self._goodbye_written = True
        self._frame(FrameType.GOODBYE, encode_reason(reason))

    def write_drop(self, reason: str) -> None:
        """Why the session is dropped, if the peer takes that. Nothing is written after it."""
        if self._core.terms.has(Feature.DROP_REASONS) and not self._goodbye_written:
            self._goodbye_written = True
            self._frame(FrameType.DROP, encode_reason(reason))

    def _frame(
        self,
        kind: FrameType,
        *payload: Bytes,
        flags: Flag = Flag.NONE,
        channel: int = 0,
        count: int = 0,
        first_sequence: int = 0,
        acknowledged: int = 0,
        credit: int = 0,
    ) -> None:
        self._counters.frames_out += 1
        self._out += encode_header(
            kind,
            payload,
            flags=flags,
            channel=channel,
            count=count,
            session=self._core.session,
            epoch=self._core.epoch,
            first_sequence=first_sequence,
            acknowledged=acknowledged,
            credit=credit,
        )
        for piece in payload:
            if len(piece) <= COPIED_DATA_MAX:
                self._out += piece
            else:
                self._pieces += [self._out, piece]
                self._out = bytearray()
