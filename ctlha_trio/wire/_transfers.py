"""Transfers that are answered: their requests, fragments and verdicts, and the order in which these must come.

A push is one or more PUSH frames with the flag REQUEST, and is answered by one TRANSFER_DONE. A pull is a PULL frame,
and is answered by PUSH frames with the flag REPLY, or by one TRANSFER_DONE instead of the rest of them. Each side
numbers its requests from 1, pushes and pulls together; fragments of two pushes never mix, and answers come in the
order of the requests, for pushes and for pulls. A request may be withdrawn once it is written: WITHDRAW ends a push
that is not wholly written and spares what is left of a reply, and changes nothing if the answer is on its way. Every
request is answered once, the withdrawn ones too, so an answer to one that is not open is no late one but a broken peer.
"""

from enum import StrEnum

import attrs
from crc32c import crc32c

from ctlha_trio._errors import RemoteProtocolError
from ctlha_trio._vocabulary import ctl_ha_status
from ctlha_trio.wire._frame import (
    DONE_PREFIX,
    FRAGMENT_PREFIX,
    KEY_SIZE,
    LAST_ONES,
    PULL_BODY,
    PUSH_PREFIX,
    WITHDRAW_BODY,
    Bytes,
    Fault,
    Frame,
)


class Denial(StrEnum):
    """Why a transfer was not carried out by the owner of the memory: a closed list."""

    UNKNOWN_KEY = "unknown-key"
    """No memory has that key, or it was given up."""
    EXPIRED_KEY = "expired-key"
    """Its session or epoch is over."""
    USED_KEY = "used-key"
    """As many transfers as it was for are done."""
    OVERDUE_KEY = "overdue-key"
    """Its time is over."""
    STALE_EPOCH = "stale-epoch"
    """The requester is at another epoch than the memory."""
    RIGHTS = "rights"
    """The memory is not for this direction."""
    OUT_OF_RANGE = "out-of-range"
    """Some of it would lie outside the memory."""
    BUSY = "busy"
    """The owner owes too many answers already; the memory was not looked at."""
    WITHDRAWN = "withdrawn"
    """The requester has taken it back."""


STATUSES = {
    ctl_ha_status.CTL_HA_STATUS_SUCCESS.value: ctl_ha_status.CTL_HA_STATUS_SUCCESS,
    ctl_ha_status.CTL_HA_STATUS_ERROR.value: ctl_ha_status.CTL_HA_STATUS_ERROR,
    ctl_ha_status.CTL_HA_STATUS_BUSY.value: ctl_ha_status.CTL_HA_STATUS_BUSY,
}
"""What a transfer can come to for its owner. Numbers of the wire are those of the header."""


@attrs.frozen
class Fragment:
    """Part of a push, or of the reply to a pull."""

    request: int
    key: bytes = attrs.field(repr=False)
    offset: int
    """Of a push: in the region. Of a reply: in what was asked for."""
    left: int
    """Bytes of the transfer from ``offset`` on, this fragment's included."""
    data: Bytes = attrs.field(default=b"", repr=False)
    """Empty in one that is being received: that goes straight to its place."""
    size: int = attrs.Factory(lambda self: len(self.data), takes_self=True)
    """Bytes of data."""

    @property
    def is_last(self) -> bool:
        """Whether nothing of the transfer comes after it."""
        return self.left == self.size


@attrs.frozen
class PullRequest:
    """The peer wants ``size`` bytes of a region."""

    request: int
    key: bytes = attrs.field(repr=False)
    offset: int
    size: int
    reply_key: bytes = attrs.field(repr=False)
    """Names the requester's memory in the reply."""


@attrs.frozen
class Verdict:
    """What became of a request, said by the owner of the memory."""

    request: int
    denial: Denial | None = None
    """None: it is done."""
    left: int = 0
    """Bytes that were not placed, or not given; 0 only if it is done."""

    @property
    def status(self) -> ctl_ha_status:
        """The same as a status."""
        if self.denial is None:
            return ctl_ha_status.CTL_HA_STATUS_SUCCESS
        if self.denial is Denial.BUSY:
            return ctl_ha_status.CTL_HA_STATUS_BUSY
        return ctl_ha_status.CTL_HA_STATUS_ERROR


def fragment_prefix(fragment: Fragment) -> bytes:
    """What goes before the fragment's data."""
    return FRAGMENT_PREFIX.pack(fragment.request, fragment.key, fragment.offset, fragment.left, crc32c(fragment.data))


def push_prefix(key: bytes, offset: int, *behind: Bytes) -> bytes:
    """What goes before the data of a push without request, and before the message behind that."""
    checksum = 0
    for piece in behind:
        checksum = crc32c(piece, checksum)
    return PUSH_PREFIX.pack(key, offset, checksum)


def decode_fragment(frame: Frame) -> Fragment:
    """The fragment whose data follows the head of a PUSH frame with REQUEST or REPLY."""
    request, key, offset, left, _ = FRAGMENT_PREFIX.unpack_from(frame.payload)
    fragment = Fragment(_check_number(request), key, offset, left, size=frame.data_size)
    if left < fragment.size:
        raise RemoteProtocolError(Fault.SIZE.value, f"{fragment.size} bytes where {left} are left")
    if fragment.is_last != (frame.flags in LAST_ONES):
        raise RemoteProtocolError(Fault.FLAGS.value, f"{frame.flags:#x} with {left} bytes left")
    return fragment


def encode_pull(pull: PullRequest) -> bytes:
    """The payload of a PULL."""
    return PULL_BODY.pack(pull.request, pull.key, pull.offset, pull.size, pull.reply_key)


def decode_pull(payload: Bytes) -> PullRequest:
    """The request in a PULL."""
    request, key, offset, size, reply_key = PULL_BODY.unpack(payload)
    if size == 0:
        raise RemoteProtocolError(Fault.SIZE.value, "a pull of nothing")
    return PullRequest(_check_number(request), key, offset, size, reply_key)


def encode_verdict(verdict: Verdict) -> bytes:
    """The payload of a TRANSFER_DONE."""
    reason = "" if verdict.denial is None else verdict.denial.value
    return DONE_PREFIX.pack(verdict.request, verdict.status, verdict.left) + reason.encode("ascii")


def decode_verdict(payload: Bytes) -> Verdict:
    """The verdict in a TRANSFER_DONE. Status and reason must belong together."""
    request, number, left = DONE_PREFIX.unpack_from(payload)
    status = STATUSES.get(number)
    if status is None:
        raise RemoteProtocolError(Fault.REASON.value, f"status {number} of a transfer")
    try:
        reason = bytes(payload[DONE_PREFIX.size :]).decode("ascii")
        verdict = Verdict(_check_number(request), Denial(reason) if reason else None, left)
    except ValueError as error:
        raise RemoteProtocolError(Fault.REASON.value, "unknown denial") from error
    if verdict.status is not status:
        raise RemoteProtocolError(Fault.REASON.value, f"{status.name} for {reason!r}")
    if (left == 0) != (verdict.denial is None):
        raise RemoteProtocolError(Fault.SIZE.value, f"{left} bytes left, and {status.name}")
    return verdict


def encode_withdrawal(request: int) -> bytes:
    """The payload of a WITHDRAW."""
    return WITHDRAW_BODY.pack(request)


def decode_withdrawal(payload: Bytes) -> int:
    """The request in a WITHDRAW."""
    (request,) = WITHDRAW_BODY.unpack(payload)
    return _check_number(request)


def _check_number(request: int) -> int:
    if request == 0:
        raise RemoteProtocolError(Fault.REQUEST.value, "requests are numbered from 1")
    return request


@attrs.define(eq=False)
class PushOrder:
    """Judges the order of the peer's pushes: one after the other, each without a gap, and cut short only if denied."""

    is_denied: bool = False
    """Whether the current push was answered already. What still comes of it is to be dropped."""
    _request: int = 0
    _key: bytes = attrs.field(default=bytes(KEY_SIZE), repr=False)
    _offset: int = 0
    _left: int = 0

    @property
    def request(self) -> int:
        """The push that was begun last, 0 before the first."""
        return self._request

    def withdraw(self, request: int) -> int:
        """Nothing more comes of that push: the bytes that are missing of it, 0 if it was answered already."""
        if request != self._request or self.is_denied:
            return 0
        self.is_denied = self._left > 0
        return self._left

    def take(self, fragment: Fragment) -> None:
        """The next fragment. ``RemoteProtocolError`` if it cannot be."""
        if fragment.request == self._request and self._left:
            place = (fragment.key, fragment.offset, fragment.left)
            if place != (self._key, self._offset, self._left):
                raise RemoteProtocolError(Fault.FRAGMENT.value, f"push {fragment.request} does not go on where it was")
        elif fragment.request > self._request and (self._left == 0 or self.is_denied):
            self._request, self._key = fragment.request, fragment.key
            self.is_denied = False
        else:
            raise RemoteProtocolError(Fault.REQUEST.value, f"push {fragment.request} after {self._request}")
        self._offset, self._left = fragment.offset + fragment.size, fragment.left - fragment.size
