"""Turns of bulk data: as much as a fragment each, so that no kind of it starves another."""

from collections import deque
from collections.abc import Callable

import attrs
import trio

from ctlha_trio._errors import DisconnectError
from ctlha_trio.link._answers import Answers
from ctlha_trio.link._requests import Requests
from ctlha_trio.link._transfer import MessagePush
from ctlha_trio.link._writing import FrameWriter
from ctlha_trio.wire import Flag, Verdict

MESSAGE_PUSHES_MAX = 32
"""Those that wait for the writer. Their data stays the caller's, so this bounds only what the writer owes."""


@attrs.define(eq=False)
class BulkTurns:
    """Message pushes, pushes and replies to pulls take turns. Within each the order is that of the requests.

    Turns among the pushes of one kind would gain nothing: a later one may not be done before an earlier one. In flight
    are the bytes that were written together here, and what the socket holds: who receives keeps none.
    """

    _writer: FrameWriter
    _requests: Requests
    _answers: Answers
    _fragment_size: int
    _message_pushes: deque[MessagePush] = attrs.field(factory=deque, init=False)
    _room: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    _transfers_written: bool = attrs.field(default=False, init=False)
    """Parts of pushes or replies wait to be sent."""
    _transfer_bytes: int = attrs.field(default=0, init=False)
    """The most of a transfer that goes into a fragment of this turn."""
    _turns: deque[Callable[[], bool]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._turns = deque([self.write_message_pushes, self._write_push, self._write_reply])

    def has_room(self, push: MessagePush) -> bool:
        """Whether ``queue`` may be called. ``DisconnectError`` without a session."""
        return push.channel.live_flow.has_credit and len(self._message_pushes) < MESSAGE_PUSHES_MAX

    async def wait_for_room(self, push: MessagePush) -> None:
        """Return once ``queue`` may be called; ``DisconnectError`` on loss. A checkpoint only if it must wait."""
        channel = push.channel
        flow = channel.live_flow
        while True:
            if channel.live_flow is not flow:
                raise DisconnectError("the session ended before the push was queued")
            if not flow.has_credit:
                await channel.wait_for_credit()
            elif len(self._message_pushes) >= MESSAGE_PUSHES_MAX:
                await self._room.park()
            else:
                return

    def queue(self, push: MessagePush) -> None:
        """Queue a push for which there is room."""
        push.channel.live_flow.reserve()
        push.fragment_size = self._fragment_size
        self._message_pushes.append(push)

    def lose(self) -> None:
        """The session ended."""
        self._message_pushes.clear()
        self._room.unpark_all()

    def write_orders(self) -> None:
        """All that is to be said of transfers now, but for their data."""
        for verdict in self._answers.take_verdicts():
            self._writer.write_verdict(verdict)
        for request in self._requests.take_withdrawals():
            self._writer.write_withdrawal(request)
        for pull in self._requests.take_pulls():
            self._writer.write_pull(pull)

    def write_next(self, fragments: int, size_bytes: int) -> int:
        """Write so many fragments, each of the kind whose turn it is; how many there were.

        Of transfers they are at most that large.

        Everything accepted on the channels must be written before.
        """
        self._transfer_bytes = min(size_bytes, self._fragment_size)
        written = 0
        while written < fragments and self._write_fragment():
            written += 1
        return written

    def _write_fragment(self) -> bool:
        for _ in range(len(self._turns)):
            write = self._turns[0]
            self._turns.rotate(-1)
            if write():
                return True
        return False

    def sent(self) -> bool:
        """What was written has been sent, and its memory is not looked at any more. Whether transfers were in it."""
        self._requests.sent()
        transfers, self._transfers_written = self._transfers_written, False
        return transfers

    def write_message_pushes(self) -> bool:
        """Small ones together, as many as make up one fragment: each send, and each turn of a reader, has its price."""
        if not self._message_pushes:
            return False
        room = self._fragment_size
        while self._message_pushes and self._message_pushes[0].next_size <= room:
            push = self._message_pushes[0]
            room -= push.next_size
            if self._writer.write_message_push(push):
                self._message_pushes.popleft()
        self._room.unpark_all()
        return True

    def _write_push(self) -> bool:
        fragment = self._requests.next_fragment(self._transfer_bytes)
        if fragment is None:
            return False
        self._writer.write_fragment(fragment, Flag.REQUEST)
        self._transfers_written = True
        return True

    def _write_reply(self) -> bool:
        reply = self._answers.next_reply(self._transfer_bytes)
        if reply is None:
            return False
        if isinstance(reply, Verdict):
            self._writer.write_verdict(reply)
        else:
            self._writer.write_fragment(reply, Flag.REPLY)
            self._transfers_written = True
        return True
