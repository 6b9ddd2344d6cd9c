"""This side's pushes and pulls in one session, from their start to the peer's answer."""

import math
from collections import deque
from collections.abc import Callable, Iterator

import attrs

from ctlha_trio._errors import InvalidError, RemoteProtocolError
from ctlha_trio._vocabulary import RemoteBuffer, ctl_ha_status
from ctlha_trio.link._deadlines import Deadlines
from ctlha_trio.link._places import TransferPlaces
from ctlha_trio.link._transfer import OnDone, Transfer
from ctlha_trio.wire import FRAGMENT_SIZE_MAX, NOTHING, Denial, Fault, Fragment, Landing, PullRequest, Verdict

UNANSWERED_MAX = 256
"""Of pushes, and of pulls, that the peer has to keep in mind, whatever there is here: it takes no more."""
AHEAD_BYTES = 1024 * 1024
"""Of bulk data in one direction behind the oldest request that is not answered. The peer's kernel holds what the peer
has not read, megabytes if it is let, and a message waits behind them. Measured on a busy machine with plain TCP,
half of this makes a message no faster beside bulk data, and takes a tenth more of the processor for each MiB, for the
link runs dry more often."""
PATH_BYTES_PER_S = 1_250_000_000
"""What is on the wire of a long path does not count: so much of ten gigabits a second. The round trip tells it."""
DEADLINE = "deadline"
"""The reason of a transfer that was not done in time."""
CHANGED = "changed"
"""The reason of a pull whose data came otherwise than its checksum says."""


@attrs.define(eq=False)
class _Push:
    transfer: Transfer
    remote: RemoteBuffer
    data: memoryview
    written: int = 0
    ending: tuple[ctl_ha_status, str, int] | None = None
    """What it came to, kept back while a fragment is in the sender's hands."""

    @property
    def size(self) -> int:
        return self.transfer.size


@attrs.define(eq=False)
class _Pull:
    transfer: Transfer
    remote: RemoteBuffer
    into: memoryview
    reply_key: bytes
    placed: int = 0
    landing: Landing | None = None
    """Where data is being received into ``into``."""

    @property
    def left(self) -> int:
        """Bytes that have not come."""
        return self.transfer.size - self.placed

    def take_back(self) -> None:
        """Nothing more is written into ``into``."""
        if self.landing is not None:
            self.landing.release()


@attrs.define(eq=False)
class Requests:
    """What was asked of the peer and is not answered. Synchronous; ``RemoteProtocolError`` for a wrong answer.

    Answers come in the order of the requests, for pushes and for pulls. A transfer is taken off before its starter is
    told, so the starter may begin another at once. One that was cancelled and that the peer knows of is kept until the
    peer has answered it, and keeps its place: its answer is then no surprise, and nothing follows from it.
    """

    _wake: Callable[[], None] = lambda: None
    """There is something to write."""
    _deadlines: Deadlines | None = None
    _places: TransferPlaces = attrs.field(factory=TransferPlaces, init=False)
    """Of those who have none of their own."""
    _numbered: int = attrs.field(default=0, init=False)
    _pushes: deque[_Push] = attrs.field(factory=deque, init=False)
    """Unanswered, oldest first."""
    _unwritten: deque[_Push] = attrs.field(factory=deque, init=False)
    """Those of them that are not wholly written."""
    _in_hand: deque[_Push] = attrs.field(factory=deque, init=False)
    """Their data is being sent: the starter must not learn yet that it may change it, or the checksum breaks."""
    _pulls: deque[_Pull] = attrs.field(factory=deque, init=False)
    _unasked: deque[_Pull] = attrs.field(factory=deque, init=False)
    """Those of them whose PULL is not yet written."""
    _withdrawals: deque[int] = attrs.field(factory=deque, init=False)
    """Requests that the peer need not go on with."""
    _ahead_bytes: int = attrs.field(default=AHEAD_BYTES, init=False)
    _round_trip_s: float = attrs.field(default=math.inf, init=False)
    """The shortest so far: of the path, and not of what waits in it."""
    _written_bytes: int = attrs.field(default=0, init=False)
    """Of unanswered pushes."""
    _asked_bytes: int = attrs.field(default=0, init=False)
    """Of pulls that were asked for, what has not come."""

    def learn_round_trip(self, took_s: float) -> None:
        """A heartbeat came back."""
        if took_s < self._round_trip_s:
            self._round_trip_s = took_s
            self._ahead_bytes = AHEAD_BYTES + int(took_s * PATH_BYTES_PER_S)

    def push(
        self,
        remote: RemoteBuffer,
        data: memoryview,
        on_done: OnDone,
        *,
        deadline_s: float | None = None,
        places: TransferPlaces | None = None,
    ) -> Transfer:
        """Queue a push. ``BusyError`` if no place is free."""
        push = _Push(self._number(len(data), on_done, deadline_s, places), remote, data)
        self._pushes.append(push)
        self._unwritten.append(push)
        return push.transfer

    def pull(
        self,
        remote: RemoteBuffer,
        into: memoryview,
        reply_key: bytes,
        on_done: OnDone,
        *,
        deadline_s: float | None = None,
        places: TransferPlaces | None = None,
    ) -> Transfer:
        """Queue a pull. ``BusyError`` if no place is free."""
        pull = _Pull(self._number(len(into), on_done, deadline_s, places), remote, into, reply_key)
        self._pulls.append(pull)
        self._unasked.append(pull)
        return pull.transfer

    def _number(self, size: int, on_done: OnDone, deadline_s: float | None, places: TransferPlaces | None) -> Transfer:
        if deadline_s is not None and math.isnan(deadline_s):
            raise InvalidError("a deadline that is no number")
        places = self._places if places is None else places
        places.take()
        self._numbered += 1
        transfer = Transfer(self._numbered, size, on_done, self.cancel, places)
        if self._deadlines is not None and deadline_s is not None:
            self._deadlines.add(transfer, deadline_s, lambda: self.cancel(transfer, DEADLINE))
        return transfer

    def cancel(self, transfer: Transfer, reason: str) -> None:
        """End it as failed, for that reason; nothing if it has ended, or is about to."""
        for push in self._pushes:
            if push.transfer is transfer:
                return self._cancel_push(push, reason)
        for pull in self._pulls:
            if pull.transfer is transfer:
                return self._cancel_pull(pull, reason)
        return None

    def _cancel_push(self, push: _Push, reason: str) -> None:
        if push.ending is not None or not push.transfer.is_waiting:
            return
        if push.written < push.size:
            self._unwritten.remove(push)
            if push.written:
                self._withdraw(push.transfer)
            else:
                self._pushes.remove(push)
                push.transfer.places.give_back()
                self._wake()  # a farewell may have waited for it
        self._end_push(push, ctl_ha_status.CTL_HA_STATUS_ERROR, reason, push.size)

    def _cancel_pull(self, pull: _Pull, reason: str) -> None:
        if not pull.transfer.is_waiting:
            return
        if pull in self._unasked:
            self._unasked.remove(pull)
            self._pulls.remove(pull)
            pull.transfer.places.give_back()
        else:
            self._withdraw(pull.transfer)
        pull.take_back()
        pull.into = NOTHING
        self._finish(pull.transfer, ctl_ha_status.CTL_HA_STATUS_ERROR, reason, pull.left)

    def _withdraw(self, transfer: Transfer) -> None:
        self._withdrawals.append(transfer.request)
        self._wake()

    def _end_push(self, push: _Push, status: ctl_ha_status, reason: str, left: int) -> None:
        """Tell the starter, as soon as its memory is in nobody's hands; of a cancelled one it knows already."""
        if push.ending is not None or not push.transfer.is_waiting:
            return
        if push in self._in_hand:
            push.ending = status, reason, left
        else:
            push.data = NOTHING
            self._finish(push.transfer, status, reason, left)

    def _finish(self, transfer: Transfer, status: ctl_ha_status, reason: str, left: int) -> None:
        if self._deadlines is not None:
            self._deadlines.discard(transfer)
        transfer.finish(status, reason, left)

    # For the writer

    def take_pulls(self) -> Iterator[PullRequest]:
        """The pulls that are to be asked for now."""
        while (
            self._unasked
            and self._asked_bytes < self._ahead_bytes
            and len(self._pulls) - len(self._unasked) < UNANSWERED_MAX
        ):
            pull = self._unasked.popleft()
            self._asked_bytes += pull.transfer.size
            yield PullRequest(
                pull.transfer.request, pull.remote.key, pull.remote.offset, pull.transfer.size, pull.reply_key
            )

    def take_withdrawals(self) -> Iterator[int]:
        """The requests that the peer is to be told not to go on with, now, before any other fragment."""
        while self._withdrawals:
            yield self._withdrawals.popleft()

    @property
    def has_unwritten(self) -> bool:
        """Whether a push is not wholly written, be it that it may not be yet."""
        return bool(self._unwritten)

    def next_fragment(self, size_bytes: int = FRAGMENT_SIZE_MAX) -> Fragment | None:
        """The next fragment of a push, at most that large; None if none may be written.

        It is in the sender's hands until ``sent``.
        """
        if not self._unwritten:
            return None
        push = self._unwritten[0]
        if self._written_bytes - self._pushes[0].written >= self._ahead_bytes:
            return None
        if not push.written and len(self._pushes) - len(self._unwritten) >= UNANSWERED_MAX:
            return None
        if not self._in_hand or self._in_hand[-1] is not push:
            self._in_hand.append(push)
        start = push.written
        data = push.data[start : start + size_bytes]
        push.written += len(data)
        self._written_bytes += len(data)
        if push.written == push.size:
            self._unwritten.popleft()
        remote = push.remote
        return Fragment(push.transfer.request, remote.key, remote.offset + start, push.size - start, data)

    def sent(self) -> None:
        """Every fragment that was handed out has been sent, and its memory is not looked at any more."""
        while self._in_hand:
            push = self._in_hand.popleft()
            if push.ending is not None:
                ending, push.ending = push.ending, None
                self._end_push(push, *ending)

    # For the reader

    def take_verdict(self, verdict: Verdict) -> None:
        """The peer's answer to a push, or instead of the rest of a pulled reply."""
        if self._pushes and self._pushes[0].transfer.request == verdict.request:
            self._take_push_verdict(self._pushes[0], verdict)
            return
        pull = self._asked_pull(verdict.request)
        if verdict.denial is None:
            raise RemoteProtocolError(Fault.REQUEST.value, f"pull {verdict.request} done without its data")
        _check_denial(pull.transfer, verdict)
        if verdict.left != pull.left:
            raise RemoteProtocolError(Fault.SIZE.value, f"{verdict.left} bytes left of pull {verdict.request}")
        self._pulls.popleft()
        pull.transfer.places.give_back()
        self._came(pull.left)
        if pull.transfer.is_waiting:
            pull.into = NOTHING
            self._finish(pull.transfer, verdict.status, verdict.denial.value, pull.left)

    def _take_push_verdict(self, push: _Push, verdict: Verdict) -> None:
        if push.written < (push.size if verdict.denial is None else 1):
            raise RemoteProtocolError(Fault.REQUEST.value, f"push {verdict.request} answered too early")
        _check_denial(push.transfer, verdict, is_cancelled=push.ending is not None)
        if verdict.left > push.size:
            raise RemoteProtocolError(Fault.SIZE.value, f"{verdict.left} bytes left of push {verdict.request}")
        if self._unwritten and self._unwritten[0] is push:
            self._unwritten.popleft()
        self._pushes.popleft()
        push.transfer.places.give_back()
        self._written_bytes -= push.written
        if self._unwritten:
            self._wake()
        self._end_push(push, verdict.status, verdict.denial or "", verdict.left)

    def open_reply(self, fragment: Fragment) -> Landing | None:
        """Where data that was pulled goes; None if the pull was cancelled."""
        pull = self._asked_pull(fragment.request)
        if (pull.reply_key, pull.placed, pull.left) != (fragment.key, fragment.offset, fragment.left):
            raise RemoteProtocolError(Fault.FRAGMENT.value, f"the reply to pull {fragment.request} has a gap")
        if not pull.transfer.is_waiting:
            return None
        pull.landing = Landing(pull.into[pull.placed : pull.placed + fragment.size])
        return pull.landing

    def close_reply(self, fragment: Fragment, *, is_whole: bool = True) -> None:
        """All of that data was received, or dropped. Not whole, it ends the pull as failed."""
        pull = self._asked_pull(fragment.request)
        ending = ctl_ha_status.CTL_HA_STATUS_SUCCESS, "", 0
        if not is_whole:
            ending = ctl_ha_status.CTL_HA_STATUS_ERROR, CHANGED, pull.left
        pull.take_back()
        pull.placed += fragment.size
        self._came(fragment.size)
        if fragment.is_last:
            self._pulls.popleft()
            pull.transfer.places.give_back()
        elif is_whole:
            return
        if not is_whole:
            self._withdraw(pull.transfer)  # though it be answered: the peer learns that its memory changes
        if pull.transfer.is_waiting:
            pull.into = NOTHING
            self._finish(pull.transfer, *ending)

    def _came(self, size: int) -> None:
        """So much less of what was asked for is under way."""
        self._asked_bytes -= size
        if self._unasked:
            self._wake()

    def _asked_pull(self, request: int) -> _Pull:
        """The oldest pull, if that is the one, and the peer can know of it."""
        if len(self._pulls) == len(self._unasked) or self._pulls[0].transfer.request != request:
            raise RemoteProtocolError(Fault.REQUEST.value, f"an answer to request {request}, which has none due")
        return self._pulls[0]

    # For the end

    def lose(self, reason: str) -> None:
        """The session ended: whatever the peer has not answered is over, in the order of the starts."""
        unanswered: list[_Push | _Pull] = [*self._pushes, *self._pulls]
        for each in unanswered:
            each.transfer.places.give_back()
        unanswered += [push for push in self._in_hand if push not in self._pushes]
        for queue in (self._pushes, self._unwritten, self._in_hand, self._pulls, self._unasked, self._withdrawals):
            queue.clear()
        self._written_bytes = self._asked_bytes = 0
        for each in sorted(unanswered, key=lambda each: each.transfer.request):
            ending: tuple[ctl_ha_status, str, int] | None = None
            if isinstance(each, _Pull):
                each.take_back()
                each.into, remaining = NOTHING, each.left
            else:
                each.data, ending, remaining = NOTHING, each.ending, each.size
            if each.transfer.is_waiting:
                status, why, remaining = ending or (ctl_ha_status.CTL_HA_STATUS_DISCONNECT, reason, remaining)
                self._finish(each.transfer, status, why, remaining)


def _check_denial(transfer: Transfer, verdict: Verdict, *, is_cancelled: bool = False) -> None:
    """The peer may say that a request was withdrawn only of one that was."""
    if verdict.denial is Denial.WITHDRAWN and transfer.is_waiting and not is_cancelled:
        raise RemoteProtocolError(Fault.REQUEST.value, f"request {verdict.request} was not withdrawn")
