"""What a handler has not heard of: in order, bounded, and no hint of a message that is gone."""

from collections.abc import Iterator

import trio
from hypothesis import given, strategies as st
from trio.testing import wait_all_tasks_blocked

from ctlha_trio._vocabulary import ctl_ha_event, ctl_ha_status
from ctlha_trio.ha._event_queue import EventQueue

RECV, SENT = ctl_ha_event.CTL_HA_EVT_MSG_RECV, ctl_ha_event.CTL_HA_EVT_MSG_SENT
LOST, DMA = ctl_ha_event.CTL_HA_EVT_DISCONNECT, ctl_ha_event.CTL_HA_EVT_DMA_SENT
SUCCESS, DISCONNECT = ctl_ha_status.CTL_HA_STATUS_SUCCESS, ctl_ha_status.CTL_HA_STATUS_DISCONNECT


def drain(queue: EventQueue) -> Iterator[tuple[ctl_ha_event, int]]:
    while queue.first is not None:
        taken = queue.take()
        yield taken.event, taken.param


def test_events_come_in_their_order_and_equal_ones_share_an_entry() -> None:
    queue = EventQueue()
    queue.add(SENT, SUCCESS, 2)
    queue.add(SENT, SUCCESS)
    queue.add(SENT, DISCONNECT)
    queue.add(RECV, 512, 0)
    queue.add(LOST, 0)
    assert len(queue) == 3
    assert list(drain(queue)) == [(SENT, SUCCESS)] * 3 + [(SENT, DISCONNECT), (LOST, 0)]
    assert len(queue) == 0


def test_any_number_of_losses_in_a_row_needs_one_entry() -> None:
    queue = EventQueue()
    for _ in range(1000):
        queue.add(LOST, 0, callbacks_before=7)
    assert len(queue) == 1
    assert list(drain(queue)) == [(LOST, 0)] * 1000


def test_the_event_of_a_callback_comes_before_the_loss_that_waits_for_it() -> None:
    queue = EventQueue()
    queue.add(LOST, 0, callbacks_before=2)
    queue.add(RECV, 512)
    queue.add(LOST, 0, callbacks_before=5)
    for ordinal in (1, 2, 3, 6):
        queue.add_of_callback(DMA, ordinal, ordinal)
    assert list(drain(queue)) == [(DMA, 1), (DMA, 2), (LOST, 0), (RECV, 512), (DMA, 3), (LOST, 0), (DMA, 6)]


def test_a_message_that_somebody_took_leaves_no_hint() -> None:
    queue = EventQueue()
    queue.add(RECV, 512, 2)
    queue.add(SENT, SUCCESS)
    queue.add(RECV, 512, 1)
    queue.keep_receipts(3)
    assert queue.receipts == 3
    queue.keep_receipts(1)
    assert list(drain(queue)) == [(RECV, 512), (SENT, SUCCESS)]


def test_clear_forgets_the_counts_too() -> None:
    queue = EventQueue()
    queue.add(DMA, SUCCESS, 3)
    queue.add(RECV, 512)
    assert (queue.transfers, queue.receipts) == (3, 1)
    queue.clear()
    assert (len(queue), queue.transfers, queue.receipts, queue.first) == (0, 0, 0, None)


async def test_whoever_waits_is_woken() -> None:
    queue = EventQueue()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.wait)
        await wait_all_tasks_blocked()
        queue.add(SENT, SUCCESS)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from([RECV, SENT, DMA]), st.integers(1, 3)),
        st.tuples(st.just("lose"), st.just(LOST), st.integers(0, 2)),
        st.tuples(st.just("keep"), st.just(RECV), st.integers(0, 3)),
        st.tuples(st.just("take"), st.just(RECV), st.just(0)),
    ),
    max_size=40,
)


@given(STEPS)
def test_counts_and_entries_agree_with_a_plain_list(steps: list[tuple[str, ctl_ha_event, int]]) -> None:
    queue, model = EventQueue(), list[tuple[ctl_ha_event, int]]()
    for what, event, number in steps:
        match what:
            case "add":
                queue.add(event, 0, number)
                model += [(event, 0)] * number
            case "lose":
                queue.add(LOST, 0, callbacks_before=number)
                model.append((LOST, 0))
            case "keep":
                queue.keep_receipts(number)
                while model.count((RECV, 0)) > number:
                    del model[len(model) - 1 - model[::-1].index((RECV, 0))]
            case _ if model:
                taken = queue.take()
                assert (taken.event, taken.param) == model.pop(0)
        assert len(queue) <= len(model)
        assert (queue.receipts, queue.transfers) == (model.count((RECV, 0)), model.count((DMA, 0)))
    assert list(drain(queue)) == model
