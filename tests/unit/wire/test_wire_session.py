"""The session: which frames are allowed in it, and when silence is loss."""

import attrs
import pytest

from ctlha_trio._errors import LocalProtocolError, RemoteProtocolError
from ctlha_trio.wire import (
    CHANNEL_OPEN_BODY,
    HEARTBEAT_INTERVAL_S,
    LATELY_S,
    OWN_TERMS,
    SILENCE_S,
    Fault,
    Flag,
    Frame,
    FrameType,
    Lateness,
    SessionCore,
)
from ctlha_trio.wire._frame import HEARTBEAT_BODY

SESSION = 99
HEARTBEAT = Frame(kind=FrameType.HEARTBEAT, session=SESSION, epoch=3, payload=memoryview(bytes(24)))
OPEN = Frame(
    kind=FrameType.CHANNEL_OPEN,
    session=SESSION,
    epoch=3,
    channel=1,
    credit=4,
    payload=memoryview(CHANNEL_OPEN_BODY.pack(16, 4)),
)
MESSAGES = Frame(
    kind=FrameType.MESSAGES,
    session=SESSION,
    epoch=3,
    channel=1,
    count=2,
    first_sequence=1,
    credit=4,
    payload=memoryview(bytes(32)),
)


def begin(now: float = 10.0) -> SessionCore:
    return SessionCore.begin(session=SESSION, epoch=3, peer_epoch=3, now=now)


def begin_with_channel() -> SessionCore:
    core = begin()
    core.open_channel(1, slot_size=16, slots=4, free_slots=4).tell()
    core.receive(OPEN, 10.0)
    return core


def test_messages_are_taken_in_sequence() -> None:
    core = begin_with_channel()
    core.receive(MESSAGES, 10.0)
    core.receive(attrs.evolve(MESSAGES, first_sequence=3), 10.0)


@pytest.mark.parametrize(
    ("frame", "fault"),
    [
        (attrs.evolve(MESSAGES, session=98), Fault.SESSION),
        (attrs.evolve(MESSAGES, epoch=2), Fault.EPOCH),
        (attrs.evolve(MESSAGES, channel=2), Fault.CHANNEL),
        (attrs.evolve(MESSAGES, first_sequence=2), Fault.SEQUENCE),
        (attrs.evolve(MESSAGES, count=1), Fault.SIZE),
        (attrs.evolve(MESSAGES, count=5, payload=memoryview(bytes(80))), Fault.CREDIT),
        (attrs.evolve(MESSAGES, acknowledged=1), Fault.ACKNOWLEDGEMENT),
        (attrs.evolve(MESSAGES, credit=3), Fault.CREDIT),
        (attrs.evolve(MESSAGES, credit=5), Fault.CREDIT),
        (OPEN, Fault.CHANNEL),
        (attrs.evolve(OPEN, channel=2, credit=5), Fault.CREDIT),
        (attrs.evolve(OPEN, channel=2, acknowledged=1), Fault.ACKNOWLEDGEMENT),
        (attrs.evolve(OPEN, channel=2, payload=memoryview(CHANNEL_OPEN_BODY.pack(0, 4))), Fault.SIZE),
        (attrs.evolve(OPEN, channel=2, payload=memoryview(CHANNEL_OPEN_BODY.pack(1 << 17, 4))), Fault.SIZE),
        (attrs.evolve(OPEN, channel=2, credit=0, payload=memoryview(CHANNEL_OPEN_BODY.pack(16, 0))), Fault.COUNT),
        (
            attrs.evolve(MESSAGES, kind=FrameType.PUSH, flags=Flag.MESSAGE_ATTACHED, count=1),
            Fault.SIZE,
        ),
    ],
)
def test_what_a_session_does_not_allow(frame: Frame, fault: Fault) -> None:
    core = begin_with_channel()
    with pytest.raises(RemoteProtocolError) as caught:
        core.receive(frame, 10.0)
    assert caught.value.reason == fault


def test_messages_need_the_channel_opened_on_both_sides() -> None:
    core = begin()
    core.open_channel(1, slot_size=16, slots=4, free_slots=4)
    with pytest.raises(RemoteProtocolError, match="channel"):
        core.receive(MESSAGES, 10.0)


def test_a_channel_opened_first_by_the_peer_has_credit_at_once() -> None:
    core = begin()
    core.receive(OPEN, 10.0)
    flow = core.open_channel(1, slot_size=16, slots=4, free_slots=4)
    assert flow.has_credit
    with pytest.raises(LocalProtocolError):
        core.open_channel(1, slot_size=16, slots=4, free_slots=4)


def test_the_peers_epoch_rises_with_its_frames() -> None:
    core = begin()
    core.receive(attrs.evolve(HEARTBEAT, epoch=5), 10.0)
    assert core.peer_epoch == 5
    with pytest.raises(RemoteProtocolError, match="epoch"):
        core.receive(attrs.evolve(HEARTBEAT, epoch=4), 10.0)


def test_heartbeats_are_due_at_once_and_then_at_intervals() -> None:
    core = begin(10.0)
    assert core.take_heartbeat_due(10.0)
    assert not core.take_heartbeat_due(10.05)
    assert core.next_deadline_s == pytest.approx(10.0 + HEARTBEAT_INTERVAL_S)
    assert core.take_heartbeat_due(10.5)
    assert not core.take_heartbeat_due(10.55), "missed ones are not made up for"


def test_silence_is_counted_from_the_last_frame() -> None:
    core = begin(10.0)
    assert not core.is_silent(10.0 + SILENCE_S - 0.01, planned_s=10.0 + SILENCE_S - 0.01)
    core.hear(10.5)
    assert not core.is_silent(10.0 + SILENCE_S, planned_s=10.0 + SILENCE_S)
    assert core.is_silent(10.5 + SILENCE_S, planned_s=10.5 + SILENCE_S)


def test_part_of_a_frame_is_no_silence_and_ends_a_suspicion() -> None:
    core = begin(10.0)
    assert not core.is_silent(15.0, planned_s=10.1), "its own loop stood still"
    core.hear(15.01)
    assert not core.is_silent(15.01 + SILENCE_S - 0.01, planned_s=15.01 + SILENCE_S - 0.01)
    assert core.is_silent(15.01 + SILENCE_S, planned_s=15.01 + SILENCE_S)


def test_a_watchdog_that_slept_gives_the_reader_one_grace() -> None:
    core = begin(10.0)
    core.heartbeat_due_s = 100.0
    assert not core.is_silent(15.0, planned_s=10.1), "its own loop stood still"
    again_s = core.next_deadline_s
    assert 15.0 < again_s <= 15.1
    assert core.is_silent(again_s, planned_s=again_s)


def test_a_frame_that_waited_while_the_loop_stood_still_ends_the_suspicion() -> None:
    core = begin(10.0)
    assert not core.is_silent(15.0, planned_s=10.1)
    core.hear(15.01)
    core.receive(HEARTBEAT, 15.01)
    assert not core.is_silent(15.2, planned_s=15.2)
    assert not core.is_silent(20.0, planned_s=15.3), "each silence has its own grace"


def test_a_watchdog_that_keeps_waking_late_still_comes_to_a_verdict() -> None:
    core = begin(10.0)
    assert not core.is_silent(15.0, planned_s=10.1)
    assert core.is_silent(17.0, planned_s=15.05)


def test_the_round_trip_leaves_out_what_the_peer_held() -> None:
    one, other = begin(10.0), SessionCore.begin(session=SESSION, epoch=3, peer_epoch=3, now=500.0)
    assert one.round_trip_s is None
    other.receive(attrs.evolve(HEARTBEAT, payload=memoryview(one.heartbeat(10.0, due_s=10.0))), 500.001)
    one.receive(attrs.evolve(HEARTBEAT, payload=memoryview(other.heartbeat(500.051, due_s=500.0))), 10.053)
    assert one.round_trip_s == pytest.approx(0.003, abs=1e-5)


def echo_of(stamp: int, *, held: int = 0) -> Frame:
    return attrs.evolve(HEARTBEAT, payload=memoryview(HEARTBEAT_BODY.pack(1, stamp, held)))


@pytest.mark.parametrize(
    ("echoes", "stamp"),
    [
        ([], 0xFFFF_FFFF_FFFF_FFFF),
        ([], 10_100_001),
        ([], 9_999_999),
        ([], 1),
        ([10_100_000], 10_000_000),
        ([10_000_000], 0),
    ],
    ids=["huge", "of the future", "before the first", "of another session", "falling", "forgotten"],
)
def test_a_heartbeat_answers_one_that_was_written(echoes: list[int], stamp: int) -> None:
    """Else the peer could say that it has lived until any time."""
    core = begin(10.0)
    for now in (10.0, 10.1):
        core.heartbeat(now, due_s=now)
    for echo in (0, *echoes):
        core.receive(echo_of(echo), 10.15)
    answered_s = core.answered_s
    with pytest.raises(RemoteProtocolError, match="heartbeat"):
        core.receive(echo_of(stamp), 10.2)
    assert core.answered_s == answered_s


def test_nothing_is_answered_before_the_first_heartbeat() -> None:
    with pytest.raises(RemoteProtocolError, match="heartbeat"):
        begin(10.0).receive(echo_of(10_000_000), 10.1)


def test_the_same_heartbeat_may_be_answered_again_until_the_next_has_come() -> None:
    core = begin(10.0)
    for now in (10.0, 10.1):
        core.heartbeat(now, due_s=now)
    for echo in (0, 0, 10_000_000, 10_000_000, 10_100_000):
        core.receive(echo_of(echo), 10.2)
    assert core.answered_s == pytest.approx(10.1)


def test_time_that_a_heartbeat_cannot_have_been_held_does_no_harm() -> None:
    core = begin(10.0)
    core.heartbeat(10.0, due_s=10.0)
    core.receive(echo_of(10_000_000, held=0xFFFF_FFFF_FFFF_FFFF), 10.1)
    assert core.round_trip_s == 0.0
    assert len(core.heartbeat(11.0, due_s=11.0)) == 24


def begin_telling(now: float = 10.0) -> SessionCore:
    """Both sides say how late their heartbeats are."""
    return SessionCore.begin(session=SESSION, epoch=3, peer_epoch=3, now=now, version=2, terms=OWN_TERMS)


def beat(sender: SessionCore, receiver: SessionCore, now: float, *, late_s: float = 0.0) -> None:
    payload = memoryview(sender.heartbeat(now, due_s=now - late_s))
    receiver.hear(now)
    receiver.receive(attrs.evolve(HEARTBEAT, payload=payload), now)


def test_a_heartbeat_says_how_late_it_was_written() -> None:
    one, other = begin_telling(), begin_telling()
    assert (other.peer_lateness.last_s, other.peer_lateness.most_s(10.0)) == (None, None)
    for now, late_s in ((10.0, 0.0), (10.5, 0.4), (10.6, 0.002)):
        beat(one, other, now, late_s=late_s)
    assert other.peer_lateness.last_s == pytest.approx(0.002, abs=1e-5)
    assert other.peer_lateness.most_s(10.6) == pytest.approx(0.4, abs=1e-5)
    assert one.own_lateness.most_s(10.6) == pytest.approx(0.4)


def test_a_heartbeat_that_is_early_is_not_late() -> None:
    one, other = begin_telling(), begin_telling()
    beat(one, other, 10.0, late_s=-1.0)
    assert other.peer_lateness.last_s == one.own_lateness.last_s == 0.0


def test_a_heartbeat_says_no_more_than_fits() -> None:
    one, other = begin_telling(), begin_telling()
    beat(one, other, 10.0, late_s=1e9)
    assert other.peer_lateness.last_s == pytest.approx(2**32 / 1e6, abs=1)


@pytest.mark.parametrize(("telling", "size"), [(False, 28), (True, 24), (True, 26)])
def test_a_heartbeat_is_as_long_as_both_sides_agreed(telling: bool, size: int) -> None:
    core = begin_telling() if telling else begin()
    with pytest.raises(RemoteProtocolError) as caught:
        core.receive(attrs.evolve(HEARTBEAT, payload=memoryview(bytes(size))), 10.0)
    assert caught.value.reason == Fault.SIZE


def test_what_was_late_long_ago_is_forgotten() -> None:
    lateness = Lateness()
    lateness.note(0.7, 100.0)
    lateness.note(0.1, 100.0 + LATELY_S)
    assert (lateness.last_s, lateness.most_s(100.0 + LATELY_S)) == (0.1, 0.7)
    assert lateness.most_s(100.0 + 2 * LATELY_S) == 0.1
    assert lateness.most_s(100.0 + 5 * LATELY_S) == 0.0


def test_a_watchdog_that_woke_late_just_before_the_end_of_a_silence_gives_the_reader_its_grace_too() -> None:
    core = begin(10.0)
    assert not core.is_silent(10.0 + SILENCE_S - 0.001, planned_s=10.1), "what is waiting may be of just before"
    again_s = 10.0 + SILENCE_S
    assert not core.is_silent(again_s, planned_s=again_s)
    core.heartbeat_due_s = 100.0
    again_s = core.next_deadline_s
    assert 10.0 + SILENCE_S < again_s <= 10.0 + SILENCE_S + 0.05
    assert core.is_silent(again_s, planned_s=again_s)


def test_a_grace_of_before_the_end_of_a_silence_takes_none_from_the_one_behind_it() -> None:
    core = begin(10.0)
    assert not core.is_silent(10.4, planned_s=10.1)
    assert not core.is_silent(13.0, planned_s=10.5), "its own loop stood still once more"
    assert core.is_silent(13.05, planned_s=13.05)


def test_a_silence_is_told_with_what_both_sides_said_of_themselves() -> None:
    one, other = begin_telling(), begin_telling()
    beat(one, other, 10.5, late_s=0.4)
    beat(one, other, 10.6)
    assert other.is_silent(11.52, planned_s=11.5)
    assert other.describe_silence(11.52, planned_s=11.5) == (
        "nothing received for 0.92 s; its last heartbeat was 0.00 s late, and of the recent ones the latest 0.40 s;"
        " this side looked 0.02 s late, and lately at most 0.02 s"
    )


def test_a_silence_of_a_peer_that_tells_nothing_is_told_as_such() -> None:
    core = begin()
    core.receive(HEARTBEAT, 10.0)
    assert "its heartbeats say nothing of delays" in core.describe_silence(11.0, planned_s=11.0)
