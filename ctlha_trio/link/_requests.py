"""This side's pushes and pulls in one session, from their start to the peer's answer."""

from collections import deque
from collections.abc import Iterator

import attrs

from ctlha_trio._errors import BusyError, RemoteProtocolError
from ctlha_trio._vocabulary import RemoteBuffer, ctl_ha_status
from ctlha_trio.link._transfer import OnDone, Transfer
from ctlha_trio.wire import FRAGMENT_SIZE_MAX, Fault, Fragment, Landing, PullRequest, Verdict

TRANSFERS_IN_FLIGHT_MAX = 256
"""Pushes and pulls together. Four 64-piece scatter/gather lists; their memory is the callers', so this bounds
bookkeeping here and what the peer has to keep in mind."""


@attrs.define(eq=False)
class _Push:
    transfer: Transfer
    remote: RemoteBuffer
    data: memoryview
    written: int = 0
    verdict: Verdict | None = None
    """Of the peer, kept back while a fragment is in the sender's hands."""


@attrs.define(eq=False)
class _Pull:
    transfer: Transfer
    remote: RemoteBuffer
    into: memoryview
    reply_key: bytes
    placed: int = 0
    landing: Landing | None = None
    """Where data is being received into ``into``."""

    def take_back(self) -> None:
        """Nothing more is written into ``into``."""
        if self.landing is not None:
            self.landing.release()


@attrs.define(eq=False)
class Requests:
    """What was asked of the peer and is not answered. Synchronous; ``RemoteProtocolError`` for a wrong answer.

    Answers come in the order of the requests, for pushes and for pulls. A transfer is taken off before its starter is
    told, so the starter may begin another at once.
    """

    _numbered: int = 0
    _pushes: deque[_Push] = attrs.field(factory=deque, init=False)
    """Unanswered, oldest first."""
    _unwritten: deque[_Push] = attrs.field(factory=deque, init=False)
    """Those of them that are not wholly written."""
    _in_hand: _Push | None = attrs.field(default=None, init=False)
    """Its data is being sent: the starter must not learn yet that it may change it, or the checksum breaks."""
    _pulls: deque[_Pull] = attrs.field(factory=deque, init=False)
    _unasked: deque[_Pull] = attrs.field(factory=deque, init=False)
    """Those of them whose PULL is not yet written."""

    def push(self, remote: RemoteBuffer, data: memoryview, on_done: OnDone) -> Transfer:
        """Queue a push. ``BusyError`` if too many transfers are in flight."""
        push = _Push(self._number(on_done), remote, data)
        self._pushes.append(push)
        self._unwritten.append(push)
        return push.transfer

    def pull(self, remote: RemoteBuffer, into: memoryview, reply_key: bytes, on_done: OnDone) -> Transfer:
        """Queue a pull. ``BusyError`` if too many transfers are in flight."""
        pull = _Pull(self._number(on_done), remote, into, reply_key)
        self._pulls.append(pull)
        self._unasked.append(pull)
        return pull.transfer

    def _number(self, on_done: OnDone) -> Transfer:
        if len(self._pushes) + len(self._pulls) >= TRANSFERS_IN_FLIGHT_MAX:
            raise BusyError(f"{TRANSFERS_IN_FLIGHT_MAX} transfers are in flight")
        self._numbered += 1
        return Transfer(self._numbered, on_done)

    # For the writer

    def take_pulls(self) -> Iterator[PullRequest]:
        """The pulls that are to be asked for now."""
        while self._unasked:
            pull = self._unasked.popleft()
            yield PullRequest(
                pull.transfer.request, pull.remote.key, pull.remote.offset, len(pull.into), pull.reply_key
            )

    def next_fragment(self) -> Fragment | None:
        """The next fragment of a push, None if there is none. It is in the sender's hands until ``sent``."""
        assert self._in_hand is None, "the one before was not sent"
        if not self._unwritten:
            return None
        push = self._in_hand = self._unwritten[0]
        start = push.written
        data = push.data[start : start + FRAGMENT_SIZE_MAX]
        push.written += len(data)
        if push.written == len(push.data):
            self._unwritten.popleft()
        remote = push.remote.at(start)
        return Fragment(push.transfer.request, remote.key, remote.offset, len(push.data) - start, data)

    def sent(self) -> None:
        """What was handed out last has been sent, and its memory is not looked at any more."""
        push, self._in_hand = self._in_hand, None
        if push is not None and push.verdict is not None:
            self._finish_push(push.verdict)

    # For the reader

    def take_verdict(self, verdict: Verdict) -> None:
        """The peer's answer to a push, or instead of the rest of a pulled reply."""
        if self._pushes and self._pushes[0].transfer.request == verdict.request:
            self._take_push_verdict(self._pushes[0], verdict)
            return
        pull = self._asked_pull(verdict.request)
        if verdict.denial is None:
            raise RemoteProtocolError(Fault.REQUEST.value, f"pull {verdict.request} done without its data")
        self._pulls.popleft()
        pull.transfer.finish(verdict.status, verdict.denial.value)

    def _take_push_verdict(self, push: _Push, verdict: Verdict) -> None:
        is_early = push.written < (len(push.data) if verdict.denial is None else 1)
        if is_early or push.verdict is not None:
            raise RemoteProtocolError(Fault.REQUEST.value, f"push {verdict.request} answered too early or twice")
        if self._unwritten and self._unwritten[0] is push:
            self._unwritten.popleft()
        if self._in_hand is push:
            push.verdict = verdict
        else:
            self._finish_push(verdict)

    def _finish_push(self, verdict: Verdict) -> None:
        push = self._pushes.popleft()
        push.transfer.finish(verdict.status, verdict.denial or "")

    def open_reply(self, fragment: Fragment) -> Landing:
        """Where data that was pulled goes."""
        pull = self._asked_pull(fragment.request)
        place = (pull.reply_key, pull.placed, len(pull.into) - pull.placed)
        if place != (fragment.key, fragment.offset, fragment.left):
            raise RemoteProtocolError(Fault.FRAGMENT.value, f"the reply to pull {fragment.request} has a gap")
        pull.landing = Landing(pull.into[pull.placed : pull.placed + fragment.size])
        return pull.landing

    def close_reply(self, fragment: Fragment) -> None:
        """All of that data was received."""
        pull = self._asked_pull(fragment.request)
        pull.take_back()
        pull.placed += fragment.size
        if fragment.is_last:
            self._pulls.popleft()
            pull.transfer.finish(ctl_ha_status.CTL_HA_STATUS_SUCCESS, "")

    def _asked_pull(self, request: int) -> _Pull:
        """The oldest pull, if that is the one, and the peer can know of it."""
        if len(self._pulls) == len(self._unasked) or self._pulls[0].transfer.request != request:
            raise RemoteProtocolError(Fault.REQUEST.value, f"an answer to request {request}, which has none due")
        return self._pulls[0]

    # For the end

    def lose(self, reason: str) -> None:
        """The session ended: whatever the peer has not answered is over, in the order of the starts."""
        left: list[_Push | _Pull] = sorted([*self._pushes, *self._pulls], key=lambda each: each.transfer.request)
        for queue in (self._pushes, self._unwritten, self._pulls, self._unasked):
            queue.clear()
        self._in_hand = None
        for each in left:
            if isinstance(each, _Pull):
                each.take_back()
            if isinstance(each, _Push) and each.verdict is not None:
                each.transfer.finish(each.verdict.status, each.verdict.denial or "")
            else:
                each.transfer.finish(ctl_ha_status.CTL_HA_STATUS_DISCONNECT, reason)
