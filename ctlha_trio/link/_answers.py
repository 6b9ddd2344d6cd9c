"""What the peer asked of this node's memory in one session, and what it is owed for it."""

from collections import deque
from collections.abc import Iterator

import attrs

from ctlha_trio._errors import RemoteProtocolError
from ctlha_trio.link._requests import UNANSWERED_MAX
from ctlha_trio.link._transfer import Placement
from ctlha_trio.link._writing import COPIED_DATA_MAX
from ctlha_trio.wire import (
    FRAGMENT_SIZE_MAX,
    Bytes,
    Denial,
    Fault,
    Feature,
    Fragment,
    Landing,
    PullRequest,
    PushOrder,
    SessionCore,
    Verdict,
)

PULLS_OWED_MAX = UNANSWERED_MAX
"""A peer of this version never asks for more; one that does learns BUSY."""
ANSWERS_OWED_MAX = 2 * UNANSWERED_MAX
"""Of each kind, those that say BUSY included. A peer that asks on and reads nothing ends its session."""


@attrs.define(eq=False)
class _Owed:
    """A reply that waits for its turn."""

    pull: PullRequest
    denial: Denial | None
    replied: int = 0


@attrs.define(eq=False)
class Answers:
    """Synchronous. ``RemoteProtocolError`` for what the peer may not ask; a denial leaves everything else alone.

    Keys are looked up anew for each fragment: what dies in the middle of a transfer ends the rest of it.
    """

    _core: SessionCore
    _placement: Placement | None
    _order: PushOrder = attrs.field(factory=PushOrder, init=False)
    _verdicts: deque[Verdict] = attrs.field(factory=deque, init=False)
    _owed: deque[_Owed] = attrs.field(factory=deque, init=False)
    _last_pull: int = attrs.field(default=0, init=False)
    _lent: dict[int, bytes] = attrs.field(factory=dict, init=False)
    """The keys of pulls that were answered of late, out of memory that may have changed as it was sent; by request."""

    # For the reader

    def open_push(self, fragment: Fragment) -> Landing | None:
        """Where the data of a fragment goes; None if its push is denied, and the data is to be dropped."""
        self._order.take(fragment)
        if self._order.is_denied:
            return None
        landing: Landing | Denial = Denial.UNKNOWN_KEY
        if self._placement is not None:
            landing = self._placement.open(
                fragment.key, fragment.offset, fragment.size, span=fragment.left, epoch=self._core.peer_epoch
            )
        if isinstance(landing, Denial):
            self._answer_push(fragment, landing)
            return None
        return landing

    def close_push(self, fragment: Fragment, landing: Landing) -> bool:
        """All of its data was received. Returns whether it is placed: its memory may have been taken back meanwhile."""
        assert self._placement is not None, "it gave the memory"
        denial = self._placement.close(landing, is_last=fragment.is_last)
        if denial is not None or fragment.is_last:
            self._answer_push(fragment, denial)
        return denial is None

    def _answer_push(self, fragment: Fragment, denial: Denial | None) -> None:
        self._order.is_denied = denial is not None
        self._check_owed(len(self._verdicts))
        self._verdicts.append(Verdict(fragment.request, denial, 0 if denial is None else fragment.left))

    def take_pull(self, pull: PullRequest) -> None:
        """Owe the peer a reply."""
        if pull.request <= self._last_pull:
            raise RemoteProtocolError(Fault.REQUEST.value, f"pull {pull.request} after {self._last_pull}")
        self._last_pull = pull.request
        self._check_owed(len(self._owed))
        self._owed.append(_Owed(pull, Denial.BUSY if len(self._owed) >= PULLS_OWED_MAX else None))

    def take_withdrawal(self, request: int) -> None:
        """The peer does not want any more what it asked for, maybe because that changed as it was sent.

        So what it asks for by the same key is copied from here on: it may be at it again.
        """
        if request > max(self._order.request, self._last_pull):
            raise RemoteProtocolError(Fault.REQUEST.value, f"request {request} is withdrawn and was never made")
        left = self._order.withdraw(request)
        if left:
            self._check_owed(len(self._verdicts))
            self._verdicts.append(Verdict(request, Denial.WITHDRAWN, left))
            return
        key = self._lent.pop(request, None)
        for owed in self._owed:
            if owed.pull.request >= request:
                if owed.pull.request == request:
                    owed.denial = owed.denial or Denial.WITHDRAWN
                    key = owed.pull.key if owed.replied else None
                break
        if key is not None and self._placement is not None:
            self._placement.lend_no_more(key)

    def _check_owed(self, owed: int) -> None:
        if owed >= ANSWERS_OWED_MAX:
            raise RemoteProtocolError(Fault.REQUEST.value, f"more than {ANSWERS_OWED_MAX} requests without an answer")

    # For the writer

    @property
    def owes_replies(self) -> bool:
        """Whether ``next_reply`` has something."""
        return bool(self._owed)

    @property
    def has_verdicts(self) -> bool:
        """Whether there is something to be told of pushes."""
        return bool(self._verdicts)

    def take_verdicts(self) -> Iterator[Verdict]:
        """What became of pushes, to be told now."""
        while self._verdicts:
            yield self._verdicts.popleft()

    def next_reply(self, size_bytes: int = FRAGMENT_SIZE_MAX) -> Fragment | Verdict | None:
        """The next piece that a pull is owed: data, at most so much, or why there is none. None: nothing is owed.

        Data that is no copy is to be sent, or copied, before anything else runs: it lies in memory that its owner may
        change, and the checksum would be wrong. A copy of it here would be a tenth of the cost of sending it.
        """
        if not self._owed:
            return None
        owed = self._owed[0]
        pull = owed.pull
        left = pull.size - owed.replied
        data = owed.denial or self._fetch(pull, owed.replied, left, min(left, size_bytes))
        if isinstance(data, Denial):
            self._owed.popleft()
            return Verdict(pull.request, data, left)
        fragment = Fragment(pull.request, pull.reply_key, owed.replied, left, data)
        owed.replied += len(data)
        if fragment.is_last:
            self._owed.popleft()
            if pull.size > COPIED_DATA_MAX:
                self._note_lent(pull)
        return fragment

    def _note_lent(self, pull: PullRequest) -> None:
        self._lent[pull.request] = pull.key
        if len(self._lent) > UNANSWERED_MAX:
            del self._lent[next(iter(self._lent))]

    def _fetch(self, pull: PullRequest, start: int, left: int, size: int) -> Bytes | Denial:
        if self._placement is None:
            return Denial.UNKNOWN_KEY
        data = self._placement.fetch(pull.key, pull.offset + start, size, span=left, epoch=self._core.peer_epoch)
        if isinstance(data, Denial) or (len(data) > COPIED_DATA_MAX and self._core.terms.has(Feature.CHANGED_REPLIES)):
            return data
        # Another thread may change it at any moment. A peer that does not take that would end the session; and what is
        # to be joined with its frame is copied before its checksum is made, so that little never changes.
        return bytes(data)
