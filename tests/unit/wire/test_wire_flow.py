"""Sequences, acknowledgements and credit of one channel."""

import pytest
from hypothesis import example, given, strategies as st

from ctlha_trio._errors import BusyError, InvalidError, LocalProtocolError, RemoteProtocolError
from ctlha_trio.wire import ChannelFlow, ChannelOffer, Fault


def open_flow(*, slots: int = 4, peer_slots: int = 4, answered: bool = False) -> ChannelFlow:
    flow = ChannelFlow(slot_size=16, slots=slots, receive_limit=slots, answered=answered)
    flow.learn_offer(ChannelOffer(16, peer_slots, peer_slots))
    flow.tell()
    return flow


def has_news(flow: ChannelFlow) -> bool:
    return flow.has_news


def has_credit(flow: ChannelFlow) -> bool:
    return flow.has_credit


def test_nothing_can_be_sent_before_the_peer_has_opened() -> None:
    flow = ChannelFlow(slot_size=16, slots=4, receive_limit=4)
    with pytest.raises(BusyError):
        flow.accept()
    flow.learn_offer(ChannelOffer(16, 4, 4))
    assert flow.accept() == 1


def test_another_slot_size_is_invalid_and_stays_without_credit() -> None:
    flow = ChannelFlow(slot_size=16, slots=4, receive_limit=4)
    flow.learn_offer(ChannelOffer(32, 4, 3))
    flow.learn_acknowledgement(0, 4)
    assert not has_credit(flow)
    with pytest.raises(InvalidError):
        flow.accept()


def test_credit_is_the_smaller_of_both_sides() -> None:
    for flow in (open_flow(slots=2, peer_slots=9), open_flow(slots=9, peer_slots=2)):
        assert [flow.accept(), flow.accept()] == [1, 2]
        with pytest.raises(BusyError):
            flow.accept()


def test_an_acknowledgement_frees_the_senders_slot_and_credit_the_peers() -> None:
    flow = open_flow(slots=2, peer_slots=2)
    flow.accept()
    flow.accept()
    assert flow.write(2) == 1
    flow.learn_acknowledgement(2, 0)
    assert flow.acknowledged == 2
    assert not has_credit(flow)
    flow.learn_acknowledgement(2, 1)
    assert flow.acknowledged == 2
    assert flow.accept() == 3
    assert not has_credit(flow)


@pytest.mark.parametrize(
    ("acknowledged", "credit", "fault"),
    [
        (3, 4, Fault.ACKNOWLEDGEMENT),
        (0, 4, Fault.ACKNOWLEDGEMENT),
        (2**64 - 1, 0, Fault.ACKNOWLEDGEMENT),
        (2, 5, Fault.CREDIT),
        (1, 2, Fault.CREDIT),
        (2, 2**32 - 1, Fault.CREDIT),
    ],
)
def test_what_a_peer_cannot_have_received_or_have_room_for(acknowledged: int, credit: int, fault: Fault) -> None:
    flow = open_flow()
    flow.accept()
    flow.accept()
    flow.accept()
    flow.write(2)
    flow.learn_acknowledgement(1, 3)
    with pytest.raises(RemoteProtocolError) as caught:
        flow.learn_acknowledgement(acknowledged, credit)
    assert caught.value.reason == fault


def test_a_gap_a_repetition_and_too_many_are_errors() -> None:
    for first, count, fault in ((2, 1, Fault.SEQUENCE), (0, 1, Fault.SEQUENCE), (1, 5, Fault.CREDIT)):
        with pytest.raises(RemoteProtocolError) as caught:
            open_flow().receive(first, count)
        assert caught.value.reason == fault
    flow = open_flow()
    flow.receive(1, 3)
    with pytest.raises(RemoteProtocolError):
        flow.receive(3, 1)
    flow.receive(4, 1)


def test_room_that_was_not_told_is_not_credit() -> None:
    flow = open_flow(slots=2)
    flow.receive(1, 2)
    flow.release(2)
    with pytest.raises(RemoteProtocolError):
        flow.receive(3, 1)
    assert flow.tell() == (2, 2)
    flow.receive(3, 1)


def test_news_is_what_was_received_and_room_that_matters() -> None:
    flow = open_flow(slots=8)
    assert not has_news(flow)
    flow.receive(1, 4)
    assert has_news(flow)
    flow.tell()
    flow.release(3)
    assert not has_news(flow), "the peer still has half of the slots"
    flow.release(1)
    assert has_news(flow)
    flow.tell()
    flow.receive(5, 8)
    flow.tell()
    flow.release(1)
    assert has_news(flow), "the peer has none left"


def test_room_is_no_news_for_a_peer_that_has_not_opened_the_channel() -> None:
    flow = ChannelFlow(slot_size=16, slots=4, receive_limit=1)
    flow.tell()
    flow.release(3)
    assert not has_news(flow)
    flow.learn_offer(ChannelOffer(16, 4, 4))
    assert has_news(flow)


@given(slots=st.integers(1, 9), steps=st.lists(st.sampled_from(["receive", "release", "tell"]), max_size=60))
@example(slots=8, steps=["receive", "release", *7 * ["receive"]])  # the last one that the peer had room for
def test_room_is_due_when_half_is_free_or_the_peer_has_none(slots: int, steps: list[str]) -> None:
    flow = open_flow(slots=slots)
    for step in steps:
        if step == "tell":
            flow.tell()
        elif step == "receive" and flow.received < flow.told_limit:
            flow.receive(flow.received + 1, 1)
        elif step == "release" and flow.receive_limit < flow.received + slots:
            flow.release(1)
        fresh = flow.receive_limit - flow.told_limit
        due = fresh > 0 and (2 * fresh >= slots or flow.told_limit == flow.received)
        assert (flow.receive_limit >= flow.room_due) == flow.has_room_to_tell == due


def test_what_is_answered_is_no_news_before_half_of_the_senders_slots_wait() -> None:
    flow = open_flow(slots=8, peer_slots=4, answered=True)
    flow.receive(1, 1)
    assert not has_news(flow), "the answer will tell"
    flow.receive(2, 1)
    assert has_news(flow), "the peer has four slots, however many are here"


def test_a_reserved_message_holds_credit_and_is_sequenced_last() -> None:
    flow = open_flow(slots=2, peer_slots=2)
    flow.reserve()
    assert flow.accept() == 1
    assert not has_credit(flow)
    with pytest.raises(BusyError):
        flow.reserve()
    with pytest.raises(LocalProtocolError):
        flow.redeem()
    flow.write(1)
    assert flow.redeem() == 2
    assert flow.unsettled == 2
    flow.learn_acknowledgement(2, 0)
    assert flow.acknowledged == 2
    assert flow.unsettled == 0


def test_a_reserved_message_takes_the_place_of_one_and_no_more() -> None:
    flow = open_flow(slots=3, peer_slots=3)
    flow.reserve()
    assert flow.redeem() == 1
    assert [flow.accept(), flow.accept()] == [2, 3]
    assert not has_credit(flow)


def test_writing_more_than_accepted_is_a_bug_here() -> None:
    flow = open_flow()
    flow.accept()
    with pytest.raises(LocalProtocolError):
        flow.write(2)


@given(
    steps=st.lists(st.sampled_from(["send", "reserve", "write", "carry", "consume", "tell"]), max_size=200),
    slots=st.integers(1, 5),
    peer_slots=st.integers(1, 5),
    answered=st.booleans(),
)
def test_two_flows_never_offend_each_other(steps: list[str], slots: int, peer_slots: int, *, answered: bool) -> None:
    """Whatever the timing, the sender stays within credit, and everything is acknowledged in the end.

    Where answers acknowledge and none comes, all but what leaves the sender half of its slots.
    """
    sender = open_flow(slots=slots, peer_slots=peer_slots)
    receiver = open_flow(slots=peer_slots, peer_slots=slots, answered=answered)
    wire: list[tuple[int, int]] = []
    unread = 0
    for step in steps + ["write", "carry", "consume", "tell"] * (slots + peer_slots):
        if step == "send" and sender.has_credit:
            sender.accept()
        elif step == "reserve" and sender.has_credit:
            sender.reserve()
        elif step == "write":
            if count := sender.accepted - sender.written:
                wire.append((sender.write(count), count))
            elif sender.reserved:
                wire.append((sender.redeem(), 1))
        elif step == "carry" and wire:
            first, count = wire.pop(0)
            receiver.receive(first, count)
            unread += count
            assert unread <= peer_slots
        elif step == "consume" and unread:
            unread -= 1
            receiver.release(1)
        elif step == "tell" and receiver.has_news:
            sender.learn_acknowledgement(*receiver.tell())
        assert 0 <= sender.unsettled <= slots
    assert 2 * sender.unsettled < slots if answered else sender.unsettled == 0
    assert sender.has_credit
