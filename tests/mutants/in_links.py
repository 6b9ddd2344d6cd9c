"""Bugs put into the link and its transfers, one at a time, and the rule of ``_link`` that must find each.

``tests/sim/test_link_finds_bugs.py`` runs them.
"""

from collections.abc import Iterable
from typing import Any, Final

import trio

from ctlha_trio._vocabulary import ctl_ha_status
from ctlha_trio.dma._regions import Region, RegionTable, Rights
from ctlha_trio.link import Channel, Deadlines, Transfer
from ctlha_trio.link._bulk import BulkTurns
from ctlha_trio.link._events import LossReason
from ctlha_trio.link._intake import Intake
from ctlha_trio.link._requests import Requests, _Pull
from ctlha_trio.link._writing import FrameWriter
from ctlha_trio.wire import ChannelFlow, Denial, Fragment, Landing, SessionCore
from tests.mutants.dma import gives_up_a_push_while_its_data_is_sent, takes_a_push_of_an_older_epoch
from tests.mutants.in_meetings import (
    dials_only_once,
    forgets_no_dial_that_failed,
    gives_up_for_ever_after_a_dial_that_failed,
    lets_the_end_of_a_replaced_connection_end_the_new_one,
    refuses_whoever_dials_at_the_same_time,
    rests_for_ever,
)
from tests.mutants.link import believes_a_connection_that_is_open
from tests.mutants.link_seeds import LinkBug
from tests.mutants.trouble import Patch

SUCCESS: Final = ctl_ha_status.CTL_HA_STATUS_SUCCESS


# Credits and slots


def takes_each_credit_for_two(patch: Patch) -> None:
    plain = ChannelFlow.learn_acknowledgement

    def learn(flow: ChannelFlow, acknowledged: int, credit: int) -> None:
        plain(flow, acknowledged, credit)
        flow.limit += credit
        flow._reckon()

    patch.setattr(ChannelFlow, "learn_acknowledgement", learn)


def gives_no_credit_back(patch: Patch) -> None:
    patch.setattr(ChannelFlow, "release", lambda *_: None)


def frees_a_slot_before_its_event_is_taken(patch: Patch) -> None:
    patch.setattr(Channel, "_occupied", property(lambda channel: channel._received - channel._consumed))


def sends_beyond_its_own_slots(patch: Patch) -> None:
    def reckon(flow: ChannelFlow) -> None:
        flow.open_until = flow.limit - flow.reserved

    patch.setattr(ChannelFlow, "_reckon", reckon)


def keeps_the_place_of_a_message_that_has_left(patch: Patch) -> None:
    plain = ChannelFlow.redeem

    def redeem(flow: ChannelFlow) -> int:
        sequence = plain(flow)
        flow.reserved += 1
        flow._reckon()
        return sequence

    patch.setattr(ChannelFlow, "redeem", redeem)


def wakes_nobody_who_waits_for_room(patch: Patch) -> None:
    plain = Channel.settle

    def settle(channel: Channel) -> None:
        room, channel._room = channel._room, trio.lowlevel.ParkingLot()
        plain(channel)
        channel._room = room

    patch.setattr(Channel, "settle", settle)


def tells_of_room_before_the_peer_has_opened_the_channel(patch: Patch) -> None:
    def _reckon_room(flow: ChannelFlow) -> None:
        flow.room_due = flow.told_limit + (1 if flow.told_limit == flow.received else (flow.slots + 1) // 2)

    patch.setattr(ChannelFlow, "_reckon_room", _reckon_room)


def lets_a_full_channel_stop_those_behind_it(patch: Patch) -> None:
    plain = FrameWriter.write_control

    def write_control(writer: FrameWriter, channels: Iterable[Channel], now: float) -> None:
        free: list[Channel] = []
        for channel in channels:
            if channel.session_flow.accepted and channel.session_flow.accepted >= channel.session_flow.limit:
                break
            free.append(channel)
        plain(writer, free, now)

    patch.setattr(FrameWriter, "write_control", write_control)


# What becomes of messages


def takes_what_is_written_for_delivered(patch: Patch) -> None:
    plain = Channel.settle

    def settle(channel: Channel) -> None:
        plain(channel)
        if channel._flow is not None:
            channel._report(channel._flow.written, SUCCESS)

    patch.setattr(Channel, "settle", settle)


def counts_on_from_the_last_session(patch: Patch) -> None:
    plain = SessionCore.open_channel
    last: dict[int, int] = {}

    def open_channel(core: SessionCore, number: int, **rest: Any) -> ChannelFlow:
        flow = plain(core, number, **rest)
        flow.written = flow.accepted = flow.acknowledged = last.get(number, 0)
        last[number] = 1
        return flow

    patch.setattr(SessionCore, "open_channel", open_channel)


def sends_again_what_was_lost_with_the_last_session(patch: Patch) -> None:
    plain_lose, plain_join = Channel.lose, Channel.join
    lost: dict[Channel, bool] = {}

    def lose(channel: Channel, reason: LossReason, detail: str) -> None:
        if channel._flow is not None:
            lost[channel] = channel._flow.accepted > channel._flow.acknowledged
        plain_lose(channel, reason, detail)

    def join(channel: Channel, connected: Any, flow: ChannelFlow, **rest: Any) -> None:
        plain_join(channel, connected, flow, **rest)
        flow.accepted += lost.pop(channel, False)

    patch.setattr(Channel, "lose", lose)
    patch.setattr(Channel, "join", join)


def reports_the_last_one_again_at_the_end(patch: Patch) -> None:
    plain = Channel.lose

    def lose(channel: Channel, reason: LossReason, detail: str) -> None:
        channel._settled = max(0, channel._settled - 1)
        plain(channel, reason, detail)

    patch.setattr(Channel, "lose", lose)


def reports_nothing_that_is_lost(patch: Patch) -> None:
    plain = Channel.lose

    def lose(channel: Channel, reason: LossReason, detail: str) -> None:
        if channel._flow is not None:
            channel._settled = channel._flow.acknowledged + channel._flow.unsettled
        plain(channel, reason, detail)

    patch.setattr(Channel, "lose", lose)


def tells_the_wrong_sender(patch: Patch) -> None:
    """Who is told of a message that waits behind one of another sender."""
    plain = Channel._begin_run

    def begin_run(channel: Channel, sequence: int, on_settled: Any) -> None:
        plain(channel, max(1, sequence - 1), on_settled)

    patch.setattr(Channel, "_begin_run", begin_run)


def writes_over_a_message_that_nobody_has_taken(patch: Patch) -> None:
    plain = Channel.deliver

    def deliver(channel: Channel, messages: memoryview, count: int) -> None:
        plain(channel, messages, count)
        if channel._received - channel._consumed == channel.slots:
            channel._consumed += 1

    patch.setattr(Channel, "deliver", deliver)


# What becomes of keys


def keeps_its_keys(patch: Patch) -> None:
    patch.setattr(RegionTable, "expire", lambda _: None)


def honours_a_key_whose_time_is_over(patch: Patch) -> None:
    patch.setattr(Region, "expire_by", lambda *_: None)
    plain = RegionTable._admit

    def admit(table: RegionTable, key: bytes, offset: int, span: int, *, right: Rights, epoch: int) -> Region | Denial:
        region = table._regions.get(key)
        if region is not None:
            region.expires_s = None
        return plain(table, key, offset, span, right=right, epoch=epoch)

    patch.setattr(RegionTable, "_admit", admit)


def counts_no_uses(patch: Patch) -> None:
    patch.setattr(RegionTable, "_use", lambda *_: None)


def counts_a_use_for_two(patch: Patch) -> None:
    plain = RegionTable._use

    def use(table: RegionTable, region: Region) -> None:
        plain(table, region)
        if table.knows(region.key):
            plain(table, region)

    patch.setattr(RegionTable, "_use", use)


def counts_a_use_for_each_fragment(patch: Patch) -> None:
    plain = RegionTable.close

    def close(table: RegionTable, landing: Landing, *, is_last: bool) -> Denial | None:
        return plain(table, landing, is_last=True)

    patch.setattr(RegionTable, "close", close)


def allows_a_byte_beyond_the_range(patch: Patch) -> None:
    plain = RegionTable._admit

    def admit(table: RegionTable, key: bytes, offset: int, span: int, *, right: Rights, epoch: int) -> Region | Denial:
        return plain(table, key, offset, max(1, span - 1), right=right, epoch=epoch)

    patch.setattr(RegionTable, "_admit", admit)


def looks_at_no_rights(patch: Patch) -> None:
    plain = RegionTable._admit

    def admit(table: RegionTable, key: bytes, offset: int, span: int, *, right: Rights, epoch: int) -> Region | Denial:
        region = table._regions.get(key)
        allowed = right if region is None else next(iter(region.rights))
        return plain(table, key, offset, span, right=allowed, epoch=epoch)

    patch.setattr(RegionTable, "_admit", admit)


def receives_on_when_the_key_is_closed(patch: Patch) -> None:
    plain = Region.release

    def release(region: Region) -> None:
        region._landing = None
        plain(region)

    patch.setattr(Region, "release", release)


# What becomes of transfers


def receives_on_when_a_pull_is_taken_back(patch: Patch) -> None:
    patch.setattr(_Pull, "take_back", lambda _: None)


def never_looks_at_deadlines(patch: Patch) -> None:
    async def run(_: Deadlines) -> None:
        await trio.sleep_forever()

    patch.setattr(Deadlines, "run", run)


def tells_of_a_deadline_twice(patch: Patch) -> None:
    plain = Transfer.finish

    def finish(transfer: Transfer, status: ctl_ha_status, reason: str, left_bytes: int) -> None:
        plain(transfer, status, reason, left_bytes)
        if reason == "deadline":
            transfer._on_done(transfer)

    patch.setattr(Transfer, "finish", finish)


def leaves_transfers_open_at_the_end(patch: Patch) -> None:
    patch.setattr(Requests, "lose", lambda *_: None)


def tells_transfers_of_the_end_after_channels(patch: Patch) -> None:
    plain = Requests.lose

    def lose(requests: Requests, reason: str) -> None:
        trio.lowlevel.current_trio_token().run_sync_soon(plain, requests, reason)

    patch.setattr(Requests, "lose", lose)


def counts_what_was_asked_for_as_come(patch: Patch) -> None:
    plain = Transfer.finish

    def finish(transfer: Transfer, status: ctl_ha_status, reason: str, left_bytes: int) -> None:
        plain(transfer, status, reason, left_bytes if status is SUCCESS else (left_bytes + 1) // 2)

    patch.setattr(Transfer, "finish", finish)


def takes_a_push_for_done_when_it_has_left(patch: Patch) -> None:
    plain = Requests.sent

    def sent(requests: Requests) -> None:
        pushes = list(requests._in_hand)
        plain(requests)
        for push in pushes:
            if push.written == push.size and push.transfer.is_waiting:
                requests._end_push(push, SUCCESS, "", 0)

    patch.setattr(Requests, "sent", sent)


def takes_a_pull_for_done_without_its_end(patch: Patch) -> None:
    plain = Requests.close_reply

    def close_reply(requests: Requests, fragment: Fragment, *, is_whole: bool = True) -> None:
        pull = requests._pulls[0]
        if not fragment.is_last and pull.transfer.is_waiting:
            requests._finish(pull.transfer, SUCCESS, "", 0)
        plain(requests, fragment, is_whole=is_whole)

    patch.setattr(Requests, "close_reply", close_reply)


def never_counts_a_transfer_that_was_taken_back_as_over(patch: Patch) -> None:
    plain = Requests._withdraw

    def withdraw(requests: Requests, transfer: Transfer) -> None:
        plain(requests, transfer)
        requests._withdrawals.clear()
        requests._pushes.extend(push for push in list(requests._pushes) if push.transfer is transfer)

    patch.setattr(Requests, "_withdraw", withdraw)


def delivers_a_message_before_its_data(patch: Patch) -> None:
    plain = Intake._close_message_push

    def close(intake: Intake, landing: Landing, *, is_last: bool) -> None:
        if is_last and len(landing.memory):
            landing.memory[-1:] = bytes([landing.memory[-1] ^ 1])
        plain(intake, landing, is_last=is_last)

    patch.setattr(Intake, "_close_message_push", close)


def serves_pushes_only(patch: Patch) -> None:
    plain = BulkTurns._write_reply

    def write_reply(bulk: BulkTurns) -> bool:
        return not bulk._requests._pushes and not bulk._requests._numbered and plain(bulk)

    patch.setattr(BulkTurns, "_write_reply", write_reply)


BUGS: Final = (
    LinkBug(takes_each_credit_for_two, "L2: "),
    LinkBug(gives_no_credit_back, "L15: "),
    LinkBug(frees_a_slot_before_its_event_is_taken, "L2: "),
    LinkBug(sends_beyond_its_own_slots, "L2: "),
    LinkBug(keeps_the_place_of_a_message_that_has_left, "L3: "),
    LinkBug(wakes_nobody_who_waits_for_room, "L15: "),
    LinkBug(tells_of_room_before_the_peer_has_opened_the_channel, "L12: ", 10),
    LinkBug(lets_a_full_channel_stop_those_behind_it, "L15: ", 2),
    LinkBug(takes_what_is_written_for_delivered, "L3: "),
    LinkBug(counts_on_from_the_last_session, "L3: "),
    LinkBug(sends_again_what_was_lost_with_the_last_session, "L12: "),
    LinkBug(reports_the_last_one_again_at_the_end, "L3: "),
    LinkBug(reports_nothing_that_is_lost, "L3: "),
    LinkBug(tells_the_wrong_sender, "L3: ", 2),
    LinkBug(writes_over_a_message_that_nobody_has_taken, "L4: "),
    LinkBug(keeps_its_keys, "L7: "),
    LinkBug(takes_a_push_of_an_older_epoch, "L9: ", 9),
    LinkBug(honours_a_key_whose_time_is_over, "L7: "),
    LinkBug(counts_no_uses, "L7: "),
    LinkBug(counts_a_use_for_two, "L9: "),
    LinkBug(counts_a_use_for_each_fragment, "L9: ", 24),
    LinkBug(allows_a_byte_beyond_the_range, "L12: "),
    LinkBug(looks_at_no_rights, "L9: "),
    LinkBug(receives_on_when_the_key_is_closed, "L16: ", 13),
    LinkBug(receives_on_when_a_pull_is_taken_back, "L16: "),
    LinkBug(never_looks_at_deadlines, "L8: "),
    LinkBug(tells_of_a_deadline_twice, "L8: "),
    LinkBug(leaves_transfers_open_at_the_end, "L8: "),
    LinkBug(tells_transfers_of_the_end_after_channels, "L8: "),
    LinkBug(counts_what_was_asked_for_as_come, "L9: "),
    LinkBug(takes_a_push_for_done_when_it_has_left, "L5: "),
    LinkBug(takes_a_pull_for_done_without_its_end, "L9: "),
    LinkBug(never_counts_a_transfer_that_was_taken_back_as_over, "L12: ", 6),
    LinkBug(delivers_a_message_before_its_data, "L11: "),
    LinkBug(serves_pushes_only, "L15: "),
    LinkBug(gives_up_a_push_while_its_data_is_sent, "L12: ", 3),
    LinkBug(lets_the_end_of_a_replaced_connection_end_the_new_one, "L14: ", 36),
    LinkBug(gives_up_for_ever_after_a_dial_that_failed, "L14: ", 24),
    LinkBug(forgets_no_dial_that_failed, "L14: ", 3),
    LinkBug(refuses_whoever_dials_at_the_same_time, "L14: "),
    LinkBug(rests_for_ever, "L14: ", 24),
    LinkBug(dials_only_once, "L14: "),
    LinkBug(believes_a_connection_that_is_open, "L14: ", 28),
)
