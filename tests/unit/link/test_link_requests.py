"""Requests and answers of one session, without a stream: order, bounds, and a peer that answers or asks wrongly."""

import random
from collections.abc import Callable
from contextlib import suppress
from mmap import mmap
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings, strategies as st

from ctlha_trio._errors import BusyError, RemoteProtocolError
from ctlha_trio._vocabulary import RemoteBuffer, ctl_ha_status
from ctlha_trio.link import TRANSFERS_IN_FLIGHT_MAX, Transfer, TransferPlaces
from ctlha_trio.link._answers import ANSWERS_OWED_MAX, PULLS_OWED_MAX, Answers
from ctlha_trio.link._bulk import BulkTurns
from ctlha_trio.link._requests import AHEAD_BYTES, UNANSWERED_MAX, Requests
from ctlha_trio.link._statistics import LinkCounters
from ctlha_trio.link._writing import COPIED_DATA_MAX, FrameWriter
from ctlha_trio.wire import (
    FRAGMENT_PREFIX,
    FRAGMENT_SIZE_MAX,
    FRAGMENT_SIZE_MIN,
    OWN_TERMS,
    Denial,
    Fault,
    Fragment,
    Landing,
    PullRequest,
    SessionCore,
    Terms,
    Verdict,
    fragment_prefix,
)

WAIT, SUCCESS, ERROR, DISCONNECT, BUSY = (
    ctl_ha_status.CTL_HA_STATUS_WAIT,
    ctl_ha_status.CTL_HA_STATUS_SUCCESS,
    ctl_ha_status.CTL_HA_STATUS_ERROR,
    ctl_ha_status.CTL_HA_STATUS_DISCONNECT,
    ctl_ha_status.CTL_HA_STATUS_BUSY,
)
REMOTE = RemoteBuffer(bytes(16), 100)
REPLY_KEY = b"r" * 16
PEER_KEEPS = 256
"""Of each kind, since the first version of the protocol."""


@attrs.define(eq=False)
class Asker:
    """Requests, and what their starter was told."""

    requests: Requests = attrs.field(factory=Requests)
    done: list[Transfer] = attrs.field(factory=list)

    def push(self, size: int = 4, places: TransferPlaces | None = None) -> Transfer:
        return self.requests.push(REMOTE, memoryview(bytes(size)), self.done.append, places=places)

    def pull(self, size: int = 4, places: TransferPlaces | None = None) -> tuple[Transfer, bytearray]:
        into = bytearray(b"." * size)
        return self.requests.pull(REMOTE, memoryview(into), REPLY_KEY, self.done.append, places=places), into

    def can_push(self, places: TransferPlaces | None) -> bool:
        """Whether a push is started."""
        with suppress(BusyError):
            self.push(places=places)
            return True
        return False

    def write(self) -> list[Fragment]:
        """Everything, as a writer does that is never held up."""
        fragments = []
        list(self.requests.take_pulls())
        while (fragment := self.requests.next_fragment()) is not None:
            fragments.append(fragment)
            self.requests.sent()
        return fragments

    @property
    def told(self) -> list[tuple[int, ctl_ha_status, str]]:
        return [(transfer.request, transfer.status, transfer.reason) for transfer in self.done]


def reply(request: int, data: bytes, *, offset: int = 0, left: int | None = None, key: bytes = REPLY_KEY) -> Fragment:
    return Fragment(request, key, offset, len(data) if left is None else left, data)


def take_reply(requests: Requests, answer: Fragment) -> None:
    """As it is received: the place first, then the data, which goes nowhere if the pull was cancelled."""
    landing = requests.open_reply(answer)
    if landing is not None:
        landing.memory[:] = answer.data
    requests.close_reply(answer)


def take(requests: Requests, answer: Verdict | Fragment) -> None:
    if isinstance(answer, Verdict):
        requests.take_verdict(answer)
    else:
        take_reply(requests, answer)


def test_requests_are_numbered_over_both_kinds() -> None:
    asker = Asker()
    assert [asker.push().request, asker.pull()[0].request, asker.push().request] == [1, 2, 3]
    assert [fragment.request for fragment in asker.write()] == [1, 3]
    assert asker.told == []


def test_a_push_is_cut_into_fragments_that_tell_what_is_left() -> None:
    asker = Asker()
    asker.push(2 * FRAGMENT_SIZE_MAX + 1)
    places = [(fragment.offset, fragment.left, len(fragment.data)) for fragment in asker.write()]
    assert places == [
        (100, 2 * FRAGMENT_SIZE_MAX + 1, FRAGMENT_SIZE_MAX),
        (100 + FRAGMENT_SIZE_MAX, FRAGMENT_SIZE_MAX + 1, FRAGMENT_SIZE_MAX),
        (100 + 2 * FRAGMENT_SIZE_MAX, 1, 1),
    ]


def test_a_push_is_done_when_the_peer_says_so() -> None:
    asker = Asker()
    transfer = asker.push()
    asker.push()
    asker.write()
    assert transfer.status is WAIT
    asker.requests.take_verdict(Verdict(1))
    asker.requests.take_verdict(Verdict(2, Denial.RIGHTS))
    assert asker.told == [(1, SUCCESS, ""), (2, ERROR, "rights")]


def test_a_pull_is_done_with_its_last_byte_or_a_denial() -> None:
    asker = Asker()
    _, into = asker.pull(4)
    _, other = asker.pull(4)
    _, third = asker.pull(4)
    asker.write()
    take_reply(asker.requests, reply(1, b"ab", left=4))
    assert asker.told == []
    take_reply(asker.requests, reply(1, b"cd", offset=2))
    take_reply(asker.requests, reply(2, b"ab", left=4))
    asker.requests.take_verdict(Verdict(2, Denial.EXPIRED_KEY, 2))
    asker.requests.take_verdict(Verdict(3, Denial.BUSY, 4))
    assert asker.told == [(1, SUCCESS, ""), (2, ERROR, "expired-key"), (3, BUSY, "busy")]
    assert [into, other, third] == [b"abcd", b"ab..", b"...."]


def test_a_denied_push_sends_no_more_and_its_memory_is_given_back_after_the_senders_hands() -> None:
    asker = Asker()
    asker.push(3 * FRAGMENT_SIZE_MAX)
    asker.push(4)
    asker.requests.next_fragment()
    asker.requests.sent()
    asker.requests.next_fragment()
    asker.requests.take_verdict(Verdict(1, Denial.OUT_OF_RANGE))
    assert asker.told == [], "the second fragment is being sent: its data may not change yet"
    with pytest.raises(RemoteProtocolError, match="request"):
        asker.requests.take_verdict(Verdict(1))
    asker.requests.sent()
    assert asker.told == [(1, ERROR, "out-of-range")]
    fragment = asker.requests.next_fragment()
    assert fragment is not None
    assert fragment.request == 2


def test_what_is_sent_together_is_given_back_once_all_of_it_has_left() -> None:
    asker = Asker()
    asker.push()
    asker.push()
    assert [asker.requests.next_fragment() is not None for _ in range(3)] == [True, True, False]
    asker.requests.take_verdict(Verdict(1))
    asker.requests.take_verdict(Verdict(2, Denial.RIGHTS))
    assert asker.told == [], "both are being sent"
    asker.requests.sent()
    assert asker.told == [(1, SUCCESS, ""), (2, ERROR, "rights")]


def test_whoever_is_told_of_the_first_that_was_sent_may_end_the_session_and_the_others_have_ended_then() -> None:
    asker = Asker()

    def end_session(transfer: Transfer) -> None:
        asker.done.append(transfer)
        asker.requests.lose("closed")
        assert asker.told == [(1, SUCCESS, ""), (2, ERROR, "rights")]

    asker.requests.push(REMOTE, memoryview(bytes(4)), end_session)
    asker.push()
    while asker.requests.next_fragment() is not None:
        pass
    asker.requests.take_verdict(Verdict(1))
    asker.requests.take_verdict(Verdict(2, Denial.RIGHTS))
    asker.requests.sent()
    assert len(asker.told) == 2


def test_little_is_on_its_way_behind_the_oldest_push_that_is_not_answered() -> None:
    woken: list[None] = []
    asker = Asker(Requests(lambda: woken.append(None)))
    ahead = AHEAD_BYTES // FRAGMENT_SIZE_MAX
    whole = ahead + 2
    for _ in range(4):
        asker.push(whole * FRAGMENT_SIZE_MAX)
    assert [fragment.request for fragment in asker.write()] == [1] * whole + [2] * ahead
    assert asker.write() == []
    woken.clear()
    asker.requests.take_verdict(Verdict(1))
    assert woken
    assert [fragment.request for fragment in asker.write()] == [2] * (whole - ahead) + [3] * ahead
    asker.requests.take_verdict(Verdict(2, Denial.RIGHTS, 4))
    asker.requests.take_verdict(Verdict(3, Denial.OUT_OF_RANGE, 4))
    assert [fragment.request for fragment in asker.write()] == [4] * whole
    asker.requests.take_verdict(Verdict(4))
    asker.requests.lose("closed")
    asker.push(whole * FRAGMENT_SIZE_MAX)
    asker.push(AHEAD_BYTES)
    assert sum(len(fragment.data) for fragment in asker.write()) == whole * FRAGMENT_SIZE_MAX + AHEAD_BYTES


def test_little_that_was_asked_for_is_on_its_way() -> None:
    woken: list[None] = []
    asker = Asker(Requests(lambda: woken.append(None)))
    size = AHEAD_BYTES + 2
    for _ in range(4):
        asker.pull(size)
    assert [pull.request for pull in asker.requests.take_pulls()] == [1]
    take_reply(asker.requests, reply(1, b"aa", left=size))
    assert list(asker.requests.take_pulls()) == [], "as much as may be is still to come"
    woken.clear()
    take_reply(asker.requests, reply(1, b"a", offset=2, left=size - 2))
    assert woken
    assert [pull.request for pull in asker.requests.take_pulls()] == [2]
    asker.requests.take_verdict(Verdict(1, Denial.EXPIRED_KEY, size - 3))
    assert list(asker.requests.take_pulls()) == [], "all of the second one"
    asker.requests.take_verdict(Verdict(2, Denial.EXPIRED_KEY, size))
    assert [pull.request for pull in asker.requests.take_pulls()] == [3]


def test_what_comes_of_a_pull_that_was_cancelled_is_on_its_way_no_more() -> None:
    asker = Asker()
    size = 2 * AHEAD_BYTES
    cancelled, _ = asker.pull(size)
    for _ in range(3):
        asker.pull(size)
    list(asker.requests.take_pulls())
    cancelled.cancel()
    take_reply(asker.requests, reply(1, b"aa", left=size))
    asker.requests.take_verdict(Verdict(1, Denial.WITHDRAWN, size - 2))
    assert [pull.request for pull in asker.requests.take_pulls()] == [2]
    take_reply(asker.requests, reply(2, bytes(size - AHEAD_BYTES + 1), left=size))
    assert [pull.request for pull in asker.requests.take_pulls()] == [3]


def test_what_a_long_path_holds_does_not_count() -> None:
    """A hundredth of a second there and back, at ten gigabits a second. The shortest round trip is that of the path."""
    asker = Asker()
    asker.push(4)
    asker.push(1 << 25)
    asker.requests.learn_round_trip(0.01)
    asker.requests.learn_round_trip(7.0)
    written = sum(len(fragment.data) for fragment in asker.write())
    assert AHEAD_BYTES + 12_500_000 <= written < AHEAD_BYTES + 12_500_000 + FRAGMENT_SIZE_MAX + 4


def test_a_verdict_that_came_before_the_loss_counts() -> None:
    asker = Asker()
    asker.push(4)
    asker.requests.next_fragment()
    asker.requests.take_verdict(Verdict(1, Denial.RIGHTS))
    asker.requests.lose("closed")
    asker.requests.sent()
    assert asker.told == [(1, ERROR, "rights")]


def test_a_loss_ends_everything_in_the_order_of_the_starts_once() -> None:
    asker = Asker()
    for _ in range(3):
        asker.push(FRAGMENT_SIZE_MAX + 1)
        asker.pull()
    asker.requests.next_fragment()
    list(asker.requests.take_pulls())
    asker.requests.lose("silent")
    asker.requests.lose("closed")
    asker.requests.sent()
    assert asker.told == [(number, DISCONNECT, "silent") for number in range(1, 7)]
    assert asker.write() == []


@pytest.mark.parametrize("end", ["done", "denied", "cancelled", "lost", "lost before it was asked for"])
@pytest.mark.parametrize("kind", ["push", "pull"])
def test_who_is_told_may_resize_the_memory(kind: str, end: str) -> None:
    requests, memory = Requests(), bytearray(4)
    told: list[ctl_ha_status] = []

    def resize(transfer: Transfer) -> None:
        told.append(transfer.status)
        memory.extend(b"more")

    if kind == "push":
        transfer = requests.push(REMOTE, memoryview(memory), resize)
    else:
        transfer = requests.pull(REMOTE, memoryview(memory), REPLY_KEY, resize)
    if not end.endswith("asked for"):
        list(requests.take_pulls())
        if kind == "push":
            requests.next_fragment()
            requests.sent()
    match end:
        case "done" if kind == "pull":
            take_reply(requests, reply(transfer.request, b"data"))
        case "done":
            requests.take_verdict(Verdict(transfer.request))
        case "denied":
            requests.take_verdict(Verdict(transfer.request, Denial.RIGHTS, 4))
        case "cancelled":
            transfer.cancel()
        case _:
            requests.lose("closed")
    assert len(told) == 1
    assert memory[4:] == b"more"


def test_too_many_in_flight_are_busy_until_one_is_done() -> None:
    asker = Asker()
    for number in range(TRANSFERS_IN_FLIGHT_MAX):
        if number % 2:
            asker.pull()
        else:
            asker.push()
    asker.write()
    for start in (asker.push, asker.pull):
        with pytest.raises(BusyError):
            start()
    asker.requests.take_verdict(Verdict(1))
    assert asker.push().request == TRANSFERS_IN_FLIGHT_MAX + 1
    with pytest.raises(BusyError):
        asker.pull()


def test_each_consumer_has_places_of_its_own() -> None:
    asker, one, other = Asker(), TransferPlaces(), TransferPlaces()
    for _ in range(TRANSFERS_IN_FLIGHT_MAX):
        asker.push(places=one)
    assert [asker.can_push(places) for places in (one, other, None)] == [False, True, True]
    asker.requests.lose("closed")
    assert len(asker.done) == TRANSFERS_IN_FLIGHT_MAX + 2
    assert [one.taken, other.taken] == [0, 0]


def test_the_peer_has_only_so_many_to_keep_in_mind() -> None:
    """However many consumers there are: it would take more for a fault."""
    asker = Asker()
    for _ in range(2):
        places = TransferPlaces()
        for _ in range(PEER_KEEPS // 2 + 1):
            asker.push(places=places)
    for _ in range(2):
        places = TransferPlaces()
        for _ in range(PEER_KEEPS // 2 + 1):
            asker.pull(places=places)
    pulls = [pull.request for pull in asker.requests.take_pulls()]
    assert [len(asker.write()), len(pulls)] == [PEER_KEEPS, PEER_KEEPS]
    asker.requests.take_verdict(Verdict(1))
    asker.requests.take_verdict(Verdict(pulls[0], Denial.RIGHTS, 4))
    assert [pull.request for pull in asker.requests.take_pulls()] == [pulls[-1] + 1]
    assert [fragment.request for fragment in asker.write()] == [PEER_KEEPS + 1]


def test_the_next_may_be_started_from_within() -> None:
    requests, numbers = Requests(), []

    def go_on(transfer: Transfer) -> None:
        numbers.append(transfer.request)
        if transfer.status is SUCCESS:
            requests.push(REMOTE, memoryview(b"data"), go_on)

    for _ in range(TRANSFERS_IN_FLIGHT_MAX):
        requests.push(REMOTE, memoryview(b"data"), go_on)
    for number in range(1, 1001):
        while requests.next_fragment() is not None:
            requests.sent()
        requests.take_verdict(Verdict(number))
    assert numbers == list(range(1, 1001))


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Verdict(1), Fault.REQUEST),
        (Verdict(2, Denial.RIGHTS), Fault.REQUEST),
        (Verdict(3), Fault.REQUEST),
        (Verdict(4), Fault.REQUEST),
        (Verdict(5, Denial.RIGHTS), Fault.REQUEST),
        (Verdict(99, Denial.BUSY), Fault.REQUEST),
        (reply(1, b"data"), Fault.REQUEST),
        (reply(5, b"data"), Fault.REQUEST),
        (reply(99, b"data"), Fault.REQUEST),
        (reply(3, b"da", left=4, offset=1), Fault.FRAGMENT),
        (reply(3, b"dat"), Fault.FRAGMENT),
        (reply(3, b"data+"), Fault.FRAGMENT),
        (reply(3, b"data", left=5), Fault.FRAGMENT),
        (reply(3, b"data", key=bytes(16)), Fault.FRAGMENT),
    ],
)
def test_an_answer_that_nobody_asked_for(answer: Verdict | Fragment, fault: Fault) -> None:
    """1 is half written, 2 is not written, 3 was asked for, 4 was asked for behind it, 5 was not yet asked for."""
    asker = Asker()
    asker.push(FRAGMENT_SIZE_MAX + 1)
    asker.push()
    memories = [asker.pull()[1], asker.pull()[1]]
    list(asker.requests.take_pulls())
    memories.append(asker.pull()[1])
    asker.requests.next_fragment()
    asker.requests.sent()
    with pytest.raises(RemoteProtocolError) as caught:
        take(asker.requests, answer)
    assert caught.value.reason == fault
    assert memories == [b"...."] * 3
    assert asker.told == []
    asker.requests.lose("closed")
    assert len(asker.told) == 5


@pytest.mark.parametrize("answer", [Verdict(1, Denial.RIGHTS), reply(1, b"data")])
def test_a_pull_that_the_peer_cannot_know_of_is_not_answered(answer: Verdict | Fragment) -> None:
    asker = Asker()
    asker.pull(4)
    with pytest.raises(RemoteProtocolError, match="request"):
        take(asker.requests, answer)
    assert asker.told == []


def test_nothing_is_written_after_the_last_byte() -> None:
    asker = Asker()
    _, into = asker.pull(4)
    asker.write()
    take_reply(asker.requests, reply(1, b"data"))
    with pytest.raises(RemoteProtocolError, match="request"):
        take_reply(asker.requests, reply(1, b"evil"))
    with pytest.raises(RemoteProtocolError, match="request"):
        asker.requests.take_verdict(Verdict(1, Denial.RIGHTS))
    assert into == b"data"
    assert asker.told == [(1, SUCCESS, "")]


# What is cancelled


def test_a_push_that_is_not_begun_is_cancelled_without_a_word() -> None:
    asker = Asker()
    asker.push()
    second = asker.push()
    asker.push()
    second.cancel()
    second.cancel()
    assert asker.told == [(2, ERROR, "cancelled")]
    assert second.left_bytes == 4
    assert [fragment.request for fragment in asker.write()] == [1, 3]
    assert list(asker.requests.take_withdrawals()) == []
    asker.requests.take_verdict(Verdict(1))
    asker.requests.take_verdict(Verdict(3))
    assert asker.told == [(2, ERROR, "cancelled"), (1, SUCCESS, ""), (3, SUCCESS, "")]


@pytest.mark.parametrize("answer", [Verdict(1, Denial.WITHDRAWN, 1), Verdict(1, Denial.EXPIRED_KEY, 1)])
def test_a_push_that_is_half_written_is_withdrawn_and_its_answer_is_no_surprise(answer: Verdict) -> None:
    asker = Asker()
    transfer = asker.push(FRAGMENT_SIZE_MAX + 1)
    asker.push()
    asker.requests.next_fragment()
    transfer.cancel()
    assert asker.told == [], "a fragment is being sent: its data may not change yet"
    asker.requests.sent()
    assert asker.told == [(1, ERROR, "cancelled")]
    assert transfer.left_bytes == FRAGMENT_SIZE_MAX + 1, "the peer has confirmed nothing"
    assert list(asker.requests.take_withdrawals()) == [1]
    assert [fragment.request for fragment in asker.write()] == [2]
    with pytest.raises(RemoteProtocolError, match="request"):
        asker.requests.take_verdict(Verdict(1))
    asker.requests.take_verdict(answer)
    asker.requests.take_verdict(Verdict(2))
    assert asker.told == [(1, ERROR, "cancelled"), (2, SUCCESS, "")]


def test_a_verdict_that_comes_for_a_cancelled_push_in_the_senders_hands_changes_nothing() -> None:
    asker = Asker()
    transfer = asker.push(FRAGMENT_SIZE_MAX + 1)
    asker.requests.next_fragment()
    transfer.cancel()
    asker.requests.take_verdict(Verdict(1, Denial.WITHDRAWN, 1))
    assert asker.told == []
    asker.requests.sent()
    assert asker.told == [(1, ERROR, "cancelled")]


def test_a_push_that_is_wholly_written_may_still_succeed_there_when_it_is_cancelled() -> None:
    asker = Asker()
    transfer = asker.push()
    asker.write()
    transfer.cancel()
    assert asker.told == [(1, ERROR, "cancelled")]
    assert list(asker.requests.take_withdrawals()) == [], "nothing can be spared"
    asker.requests.take_verdict(Verdict(1))
    assert asker.told == [(1, ERROR, "cancelled")]
    with pytest.raises(RemoteProtocolError, match="request"):
        asker.requests.take_verdict(Verdict(1))


def test_a_cancelled_pull_is_left_alone_whatever_still_comes() -> None:
    asker = Asker()
    transfer, into = asker.pull(6)
    _, other = asker.pull(4)
    asker.write()
    take_reply(asker.requests, reply(1, b"ab", left=6))
    arriving = reply(1, b"cd", offset=2, left=4)
    landing = asker.requests.open_reply(arriving)
    assert landing is not None
    transfer.cancel()
    assert landing.is_released, "even the fragment that is being received"
    into.extend(b"resizable")
    assert (asker.told, transfer.left_bytes) == ([(1, ERROR, "cancelled")], 4)
    assert list(asker.requests.take_withdrawals()) == [1]
    asker.requests.close_reply(arriving)
    late = reply(1, b"ef", offset=4)
    assert asker.requests.open_reply(late) is None
    asker.requests.close_reply(late)
    take_reply(asker.requests, reply(2, b"data"))
    assert into == b"ab....resizable"
    assert other == b"data"
    assert asker.told == [(1, ERROR, "cancelled"), (2, SUCCESS, "")]


def test_a_pull_that_is_not_asked_for_is_cancelled_without_a_word() -> None:
    asker = Asker()
    transfer, _ = asker.pull()
    transfer.cancel()
    assert list(asker.requests.take_pulls()) == []
    assert list(asker.requests.take_withdrawals()) == []
    assert asker.told == [(1, ERROR, "cancelled")]


def test_what_was_not_withdrawn_is_not_answered_so() -> None:
    for kind in ("push", "pull"):
        asker = Asker()
        if kind == "push":
            asker.push()
        else:
            asker.pull()
        asker.write()
        with pytest.raises(RemoteProtocolError, match="request"):
            asker.requests.take_verdict(Verdict(1, Denial.WITHDRAWN, 4))
        assert asker.told == []


def test_cancelled_requests_count_until_the_peer_has_answered_them() -> None:
    asker = Asker()
    for _ in range(TRANSFERS_IN_FLIGHT_MAX):
        asker.push()
    asker.write()
    for push in list(asker.requests._pushes):
        push.transfer.cancel()
    with pytest.raises(BusyError):
        asker.push()
    asker.requests.take_verdict(Verdict(1))
    asker.push()


def test_a_loss_ends_a_cancelled_request_no_second_time() -> None:
    asker = Asker()
    first, (second, _), third = asker.push(FRAGMENT_SIZE_MAX + 1), asker.pull(), asker.push()
    list(asker.requests.take_pulls())
    asker.requests.next_fragment()
    for transfer in (first, second, third):
        transfer.cancel()
    asker.requests.lose("closed")
    assert asker.told == [(2, ERROR, "cancelled"), (3, ERROR, "cancelled"), (1, ERROR, "cancelled")]


def test_what_is_left_undone_is_told() -> None:
    asker = Asker()
    pushes = [asker.push(10), asker.push(10)]
    pulls = [asker.pull(10)[0] for _ in range(3)]
    assert {transfer.left_bytes for transfer in pushes + pulls} == {10}
    asker.write()
    asker.requests.take_verdict(Verdict(1))
    asker.requests.take_verdict(Verdict(2, Denial.EXPIRED_KEY, 7))
    take_reply(asker.requests, reply(3, b"0123456789"))
    take_reply(asker.requests, reply(4, b"0123", left=10))
    asker.requests.take_verdict(Verdict(4, Denial.EXPIRED_KEY, 6))
    take_reply(asker.requests, reply(5, b"0", left=10))
    asker.requests.lose("closed")
    assert [transfer.left_bytes for transfer in pushes + pulls] == [0, 7, 0, 6, 9]


@pytest.mark.parametrize("answer", [Verdict(1, Denial.RIGHTS, 5), Verdict(2, Denial.RIGHTS, 3)])
def test_what_is_left_undone_is_judged(answer: Verdict) -> None:
    asker = Asker()
    asker.push(4)
    asker.pull(4)
    asker.write()
    if answer.request == 2:
        asker.requests.take_verdict(Verdict(1))
    with pytest.raises(RemoteProtocolError, match="size"):
        asker.requests.take_verdict(answer)


def test_the_arithmetic_of_a_transfer_reaches_beyond_4_gib(tmp_path: Path) -> None:
    """Of memory of which next to nothing is touched."""
    size = (5 << 30) + 1
    with (tmp_path / "sparse").open("w+b") as file:
        file.truncate(size)
        view = memoryview(mmap(file.fileno(), size))
    asker = Asker()
    push = asker.requests.push(REMOTE.at(1 << 40), view, asker.done.append)
    pull = asker.requests.pull(REMOTE, view, REPLY_KEY, asker.done.append)
    assert [request.size for request in asker.requests.take_pulls()] == [size]
    (entry,) = asker.requests._pushes
    entry.written = 5 << 30
    last = asker.requests.next_fragment()
    assert last is not None
    prefix = FRAGMENT_PREFIX.unpack(fragment_prefix(last))
    assert prefix[2:4] == (100 + (1 << 40) + (5 << 30), 1)
    asker.requests.sent()
    asker.requests.take_verdict(Verdict(1, Denial.EXPIRED_KEY, size - FRAGMENT_SIZE_MAX))
    assert push.left_bytes == size - FRAGMENT_SIZE_MAX
    first = reply(2, bytes(FRAGMENT_SIZE_MAX), left=size)
    landing = asker.requests.open_reply(first)
    assert landing is not None
    asker.requests.close_reply(first)
    (asked,) = asker.requests._pulls
    asked.placed = size - 1
    take_reply(asker.requests, reply(2, b"x", offset=size - 1))
    assert (pull.status, pull.left_bytes, bytes(view[-1:])) == (SUCCESS, 0, b"x")


# The other side


@attrs.define(eq=False)
class Memory:
    """One piece of memory for every key but a wrong one."""

    data: bytearray
    wrong_key: bytes = b"w" * 16
    lends_no_more: list[bytes] = attrs.field(factory=list)

    def open(self, key: bytes, offset: int, size: int, *, span: int, epoch: int) -> Landing | Denial:
        if key == self.wrong_key:
            return Denial.UNKNOWN_KEY
        if offset + span > len(self.data):
            return Denial.OUT_OF_RANGE
        return Landing(memoryview(self.data)[offset : offset + size])

    def close(self, landing: Landing, *, is_last: bool) -> Denial | None:
        if landing.is_released:
            return Denial.EXPIRED_KEY
        landing.release()
        return None

    def fetch(self, key: bytes, offset: int, size: int, *, span: int, epoch: int) -> memoryview | Denial:
        if key == self.wrong_key:
            return Denial.UNKNOWN_KEY
        if offset + span > len(self.data):
            return Denial.OUT_OF_RANGE
        return memoryview(self.data)[offset : offset + size]

    def lend_no_more(self, key: bytes) -> None:
        self.lends_no_more.append(key)

    def expire(self) -> None:
        raise AssertionError("not asked for")


def take_push(answers: Answers, fragment: Fragment) -> bool:
    """As it is received: the place first, then the data. Whether it was placed."""
    landing = answers.open_push(fragment)
    if landing is None:
        return False
    landing.memory[:] = fragment.data
    return answers.close_push(fragment, landing)


def make_answers(memory: Memory | None) -> Answers:
    return Answers(SessionCore.begin(session=1, epoch=1, peer_epoch=1, now=0.0), memory)


def test_a_push_is_to_be_told_of_once_its_last_fragment_is_there() -> None:
    """A writer that is woken before has nothing to write."""
    answers = make_answers(Memory(bytearray(8)))
    owed = []
    for fragment in (Fragment(1, bytes(16), 0, 8, b"half"), Fragment(1, bytes(16), 4, 4, b"rest")):
        assert take_push(answers, fragment)
        owed.append(answers.has_verdicts)
    assert owed == [False, True]
    assert list(answers.take_verdicts()) == [Verdict(1)]
    assert not answers.has_verdicts


def fragment(
    request: int, data: bytes, *, offset: int = 0, left: int | None = None, key: bytes = bytes(16)
) -> Fragment:
    return Fragment(request, key, offset, len(data) if left is None else left, memoryview(data))


def test_a_denied_push_is_answered_once_and_the_rest_is_dropped() -> None:
    memory = Memory(bytearray(8))
    answers = make_answers(memory)
    assert not take_push(answers, fragment(1, b"abcd", left=9))
    assert not take_push(answers, fragment(1, b"efgh", offset=4, left=5))
    assert not take_push(answers, fragment(1, b"i", offset=8))
    assert take_push(answers, fragment(2, b"data"))
    assert list(answers.take_verdicts()) == [Verdict(1, Denial.OUT_OF_RANGE, 9), Verdict(2)]
    assert memory.data == b"data" + bytes(4)


def test_a_push_that_is_withdrawn_is_answered_so_and_the_next_may_begin() -> None:
    memory = Memory(bytearray(8))
    answers = make_answers(memory)
    assert take_push(answers, fragment(1, b"abc", left=8))
    answers.take_withdrawal(1)
    answers.take_withdrawal(1)
    assert take_push(answers, fragment(2, b"d"))
    answers.take_withdrawal(2)
    assert list(answers.take_verdicts()) == [Verdict(1, Denial.WITHDRAWN, 5), Verdict(2)]
    with pytest.raises(RemoteProtocolError, match="request"):
        answers.open_push(fragment(1, b"d", offset=3, left=5))


def test_a_pull_that_is_withdrawn_is_answered_in_its_turn_and_gets_no_more() -> None:
    answers = make_answers(Memory(bytearray(2 * FRAGMENT_SIZE_MAX)))
    for number, size in ((1, FRAGMENT_SIZE_MAX + 1), (2, 4), (3, 4)):
        answers.take_pull(PullRequest(number, bytes(16), 0, size, REPLY_KEY))
    assert isinstance(answers.next_reply(), Fragment)
    answers.take_withdrawal(1)
    answers.take_withdrawal(3)
    assert answers.next_reply() == Verdict(1, Denial.WITHDRAWN, 1)
    assert isinstance(answers.next_reply(), Fragment)
    assert answers.next_reply() == Verdict(3, Denial.WITHDRAWN, 4)
    answers.take_withdrawal(3)
    assert answers.next_reply() is None


def test_what_was_never_asked_for_is_not_withdrawn() -> None:
    answers = make_answers(Memory(bytearray(4)))
    answers.take_pull(PullRequest(2, bytes(16), 0, 4, REPLY_KEY))
    with pytest.raises(RemoteProtocolError, match="request"):
        answers.take_withdrawal(3)


def test_where_no_memory_is_every_transfer_is_denied() -> None:
    answers = make_answers(None)
    assert not take_push(answers, fragment(1, b"data"))
    answers.take_pull(PullRequest(2, bytes(16), 0, 4, REPLY_KEY))
    assert list(answers.take_verdicts()) == [Verdict(1, Denial.UNKNOWN_KEY, 4)]
    assert answers.next_reply() == Verdict(2, Denial.UNKNOWN_KEY, 4)
    assert answers.next_reply() is None


def test_more_pulls_than_owed_are_busy_in_their_turn() -> None:
    answers = make_answers(Memory(bytearray(4)))
    for number in range(1, ANSWERS_OWED_MAX + 1):
        answers.take_pull(PullRequest(number, bytes(16), 0, 4, REPLY_KEY))
    with pytest.raises(RemoteProtocolError) as caught:
        answers.take_pull(PullRequest(ANSWERS_OWED_MAX + 1, bytes(16), 0, 4, REPLY_KEY))
    assert caught.value.reason == Fault.REQUEST
    for number in range(1, ANSWERS_OWED_MAX + 1):
        answer = answers.next_reply()
        assert answer is not None
        assert answer.request == number
        assert answer == Verdict(number, Denial.BUSY, 4) if number > PULLS_OWED_MAX else isinstance(answer, Fragment)
    assert answers.next_reply() is None


def test_pushes_without_end_whose_answers_are_not_read_end_the_session() -> None:
    answers = make_answers(Memory(bytearray(4)))
    for number in range(1, ANSWERS_OWED_MAX + 1):
        take_push(answers, fragment(number, b"data"))
    with pytest.raises(RemoteProtocolError) as caught:
        take_push(answers, fragment(ANSWERS_OWED_MAX + 1, b"data"))
    assert caught.value.reason == Fault.REQUEST


def test_pushes_that_are_withdrawn_without_end_end_the_session_too() -> None:
    answers = make_answers(Memory(bytearray(4)))
    for number in range(1, ANSWERS_OWED_MAX + 1):
        take_push(answers, fragment(number, b"da", left=4))
        answers.take_withdrawal(number)
    take_push(answers, fragment(ANSWERS_OWED_MAX + 1, b"da", left=4))
    with pytest.raises(RemoteProtocolError) as caught:
        answers.take_withdrawal(ANSWERS_OWED_MAX + 1)
    assert caught.value.reason == Fault.REQUEST


def test_a_reply_goes_in_fragments_of_the_size_that_is_asked_for() -> None:
    answers = make_answers(Memory(bytearray(7)))
    answers.take_pull(PullRequest(1, bytes(16), 0, 7, REPLY_KEY))
    sizes = list[int]()
    while isinstance(piece := answers.next_reply(3 if sizes else 2), Fragment):
        sizes.append(piece.size)
    assert sizes == [2, 3, 2]


@pytest.mark.parametrize("turn_bytes", [FRAGMENT_SIZE_MIN - 1, FRAGMENT_SIZE_MAX])
def test_fragments_are_as_large_as_the_turn_has_room_for_and_both_sides_take(turn_bytes: int) -> None:
    size, counters = FRAGMENT_SIZE_MAX, LinkCounters()
    core = SessionCore.begin(session=1, epoch=1, peer_epoch=1, now=0.0)
    asker, answers = Asker(), Answers(core, Memory(bytearray(size)))
    bulk = BulkTurns(FrameWriter(core, counters), asker.requests, answers, FRAGMENT_SIZE_MIN)
    asker.push(size)
    answers.take_pull(PullRequest(1, bytes(16), 0, size, REPLY_KEY))
    assert bulk.write_next(2, turn_bytes) == 2
    expected = min(turn_bytes, FRAGMENT_SIZE_MIN)
    assert (counters.pushed_bytes_out, counters.pulled_bytes_out) == (expected, expected)


def lending_answers(memory: Memory, features: int = OWN_TERMS.features) -> Answers:
    terms = Terms(features, FRAGMENT_SIZE_MAX)
    core = SessionCore.begin(session=1, epoch=1, peer_epoch=1, now=0.0, version=2, terms=terms)
    return Answers(core, memory)


def is_next_reply_copied(answers: Answers, memory: Memory) -> bool:
    """Before its checksum is made, which another thread may outrun."""
    memory.data[:] = bytes(len(memory.data))
    reply = answers.next_reply()
    assert isinstance(reply, Fragment)
    memory.data[:] = b"x" * len(memory.data)
    assert bytes(reply.data) in {bytes(reply.size), b"x" * reply.size}
    return bytes(reply.data) == bytes(reply.size)


@pytest.mark.parametrize(("features", "is_copied"), [(OWN_TERMS.features, False), (0, True)])
def test_a_reply_is_copied_for_a_peer_that_would_end_the_session_if_it_changed(features: int, is_copied: bool) -> None:
    memory = Memory(bytearray(FRAGMENT_SIZE_MAX))
    answers = lending_answers(memory, features)
    answers.take_pull(PullRequest(1, bytes(16), 0, FRAGMENT_SIZE_MAX, REPLY_KEY))
    assert is_next_reply_copied(answers, memory) is is_copied


@pytest.mark.parametrize(("size", "is_copied"), [(COPIED_DATA_MAX, True), (COPIED_DATA_MAX + 1, False)])
def test_what_is_joined_with_its_frame_is_copied_before_its_checksum_is_made(size: int, is_copied: bool) -> None:
    memory = Memory(bytearray(FRAGMENT_SIZE_MAX))
    answers = lending_answers(memory)
    answers.take_pull(PullRequest(1, bytes(16), 0, size, REPLY_KEY))
    assert is_next_reply_copied(answers, memory) is is_copied


@pytest.mark.parametrize("size", [FRAGMENT_SIZE_MAX, FRAGMENT_SIZE_MAX + 1])
def test_a_reply_that_is_withdrawn_may_have_changed_and_is_lent_no_more(size: int) -> None:
    """While it goes on, and when all of it has been sent."""
    memory = Memory(bytearray(size))
    answers = lending_answers(memory)
    answers.take_pull(PullRequest(1, b"k" * 16, 0, size, REPLY_KEY))
    answers.next_reply()
    assert memory.lends_no_more == []
    answers.take_withdrawal(1)
    assert memory.lends_no_more == [b"k" * 16]


def test_what_was_not_sent_or_not_lent_has_not_changed() -> None:
    memory = Memory(bytearray(FRAGMENT_SIZE_MAX))
    answers = lending_answers(memory)
    answers.take_pull(PullRequest(1, bytes(16), 0, COPIED_DATA_MAX, REPLY_KEY))
    answers.next_reply()
    answers.take_pull(PullRequest(2, bytes(16), 0, FRAGMENT_SIZE_MAX, REPLY_KEY))
    for request in (1, 2):
        answers.take_withdrawal(request)
    assert memory.lends_no_more == []


def test_of_pulls_that_were_answered_only_so_many_are_kept_in_mind() -> None:
    memory = Memory(bytearray(FRAGMENT_SIZE_MAX))
    answers = lending_answers(memory)
    for request in range(1, UNANSWERED_MAX + 2):
        answers.take_pull(PullRequest(request, request.to_bytes(16, "big"), 0, FRAGMENT_SIZE_MAX, REPLY_KEY))
        answers.next_reply()
    for request in range(1, UNANSWERED_MAX + 2):
        answers.take_withdrawal(request)
    assert memory.lends_no_more == [request.to_bytes(16, "big") for request in range(2, UNANSWERED_MAX + 2)]


def test_pulls_are_numbered_upwards() -> None:
    answers = make_answers(Memory(bytearray(4)))
    answers.take_pull(PullRequest(2, bytes(16), 0, 4, REPLY_KEY))
    for number in (1, 2):
        with pytest.raises(RemoteProtocolError, match="request"):
            answers.take_pull(PullRequest(number, bytes(16), 0, 4, REPLY_KEY))


# Both sides

SIZES = (1, 7, FRAGMENT_SIZE_MAX, FRAGMENT_SIZE_MAX + 1)


@attrs.define(eq=False)
class Session:
    """Two honest sides whose steps come in any order."""

    chance: random.Random
    memory: Memory = attrs.field(factory=lambda: Memory(bytearray(2 * FRAGMENT_SIZE_MAX)))
    requests: Requests = attrs.field(factory=Requests)
    answers: Answers = attrs.field(init=False)
    started: dict[int, str] = attrs.field(factory=dict)
    done: list[Transfer] = attrs.field(factory=list)
    way: Fragment | None = None
    in_hand: bool = False

    def __attrs_post_init__(self) -> None:
        self.answers = make_answers(self.memory)

    def push(self, kind: str = "push", key: bytes = bytes(16)) -> None:
        data = memoryview(bytes(self.chance.choice(SIZES)))
        self.started[self.requests.push(RemoteBuffer(key), data, self.done.append).request] = kind

    def pull(self, kind: str = "pull", key: bytes = bytes(16)) -> None:
        into = memoryview(bytearray(self.chance.choice(SIZES)))
        self.started[self.requests.pull(RemoteBuffer(key), into, REPLY_KEY, self.done.append).request] = kind

    def bad_push(self) -> None:
        self.push("bad push", self.memory.wrong_key)

    def bad_pull(self) -> None:
        self.pull("bad pull", self.memory.wrong_key)

    def ask(self) -> None:
        for pull in self.requests.take_pulls():
            self.answers.take_pull(pull)

    def write(self) -> None:
        if not self.in_hand and self.way is None:
            self.tell()
            self.way = self.requests.next_fragment()
            self.in_hand = True

    def sent(self) -> None:
        self.requests.sent()
        self.in_hand = False

    def carry(self) -> None:
        if self.way is not None:
            take_push(self.answers, self.way)
            self.way = None

    def reply(self) -> None:
        for verdict in self.answers.take_verdicts():
            self.requests.take_verdict(verdict)
        answer = self.answers.next_reply()
        if answer is not None:
            take(self.requests, answer)

    def cancel(self) -> None:
        """One that is under way, if there is any."""
        open_ones = [push.transfer for push in self.requests._pushes]
        open_ones += [pull.transfer for pull in self.requests._pulls]
        if open_ones:
            transfer = self.chance.choice(open_ones)
            transfer.cancel()
            if "cancelled" not in self.started[transfer.request]:
                self.started[transfer.request] += " cancelled"

    def tell(self) -> None:
        """What was cancelled goes behind what was written before."""
        if self.way is None:
            for request in self.requests.take_withdrawals():
                self.answers.take_withdrawal(request)

    def finish(self) -> None:
        for _ in range(2 * len(self.started) + 1):
            for step in (self.ask, self.tell, self.write, self.carry, self.sent, self.reply):
                step()


STEPS = (
    Session.push,
    Session.pull,
    Session.bad_push,
    Session.bad_pull,
    Session.cancel,
    Session.tell,
    Session.ask,
    Session.write,
    Session.sent,
    Session.carry,
    Session.reply,
)


@settings(deadline=None)
@given(st.lists(st.sampled_from(STEPS), max_size=60), st.integers(0, 2**32), st.sampled_from(["loss", "lie", "end"]))
def test_whatever_happens_each_transfer_is_done_once_and_in_order(
    steps: list[Callable[[Session], None]], seed: int, outcome: str
) -> None:
    session = Session(random.Random(seed))
    for step in steps:
        step(session)
    if outcome == "end":
        session.finish()
        for transfer in session.done:
            kind = session.started[transfer.request]
            expected = {ERROR} if "bad" in kind else {SUCCESS}
            assert transfer.status in (expected | {ERROR} if "cancelled" in kind else expected)
            assert (transfer.left_bytes == 0) == (transfer.status is SUCCESS)
        assert len(session.done) == len(session.started)
    elif outcome == "lie":
        with suppress(RemoteProtocolError):
            session.requests.take_verdict(Verdict(session.chance.randint(1, 9), Denial.RIGHTS))
    session.requests.lose("closed")
    session.sent()
    assert sorted(transfer.request for transfer in session.done) == sorted(session.started)
    for kind in ("push", "pull"):
        order = [
            transfer.request
            for transfer in session.done
            if kind in session.started[transfer.request] and "cancelled" not in session.started[transfer.request]
        ]
        assert order == sorted(order)
