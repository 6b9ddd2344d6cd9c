"""Acknowledgements that no answer has carried."""

import pytest

from ctlha_trio.link._acknowledging import LateAcknowledgements
from ctlha_trio.link._channel import Channel
from ctlha_trio.wire import ChannelFlow
from ctlha_trio.wire._flow import ChannelOffer

SLOTS = 8


def in_session(slots: int) -> Channel:
    """In one of which the peer has heard all its room."""
    made = Channel(1, slot_size=16, slots=slots, on_drained=lambda _: None)
    made.session_flow = ChannelFlow(slot_size=16, slots=slots, receive_limit=slots)
    made.session_flow.learn_offer(ChannelOffer(16, slots, slots))
    made.session_flow.tell()
    return made


@pytest.fixture
def channel() -> Channel:
    return in_session(SLOTS)


def come(late: LateAcknowledgements, channel: Channel) -> None:
    channel.session_flow.receive(channel.session_flow.received + 1, 1)
    late.note(channel)


def test_what_nobody_has_answered_in_a_turn_is_late(channel: Channel) -> None:
    late = LateAcknowledgements()
    come(late, channel)
    assert not late.is_any(), "who may answer it has had no turn"
    assert late.turn()
    assert not late.has_news
    assert late.is_any()


def test_what_an_answer_has_carried_is_not(channel: Channel) -> None:
    late = LateAcknowledgements()
    come(late, channel)
    assert late.turn()
    channel.session_flow.tell()
    assert not late.is_any()
    come(late, channel)
    assert not late.is_any(), "what has come since is not late yet"


def test_what_was_answered_before_its_turn_needs_no_look(channel: Channel) -> None:
    late = LateAcknowledgements()
    come(late, channel)
    assert late.has_news
    channel.session_flow.tell()
    assert not late.turn()


def test_what_has_come_behind_an_answer_is_late_after_its_own_turn(channel: Channel) -> None:
    """Also if the writer has not looked meanwhile."""
    late = LateAcknowledgements()
    come(late, channel)
    assert late.turn()
    channel.session_flow.tell()
    come(late, channel)
    assert late.turn()
    assert late.is_any()


def test_room_that_the_peer_waits_for_is_late_however_much_was_told(channel: Channel) -> None:
    late, flow = LateAcknowledgements(), channel.session_flow
    come(late, channel)
    assert late.turn()
    flow.tell()
    flow.release(SLOTS // 2)
    assert late.is_any()
    late.clear()
    assert not late.is_any()
