"""The rules of transfers: a key dies in time, memory is given back when nobody needs it, an answer has its request."""

import attrs
from crc32c import crc32c

from ctlha_trio.dma import Ring
from ctlha_trio.dma._regions import Region, RegionTable, Rights
from ctlha_trio.ha import _inbox
from ctlha_trio.link import Deadlines, Link, OnDone, Transfer, TransferPlaces
from ctlha_trio.link._answers import Answers
from ctlha_trio.link._bulk import BulkTurns
from ctlha_trio.link._connection import Connection
from ctlha_trio.link._pace import Pace
from ctlha_trio.link._requests import Requests, _Pull, _Push
from ctlha_trio.link._writing import FrameWriter
from ctlha_trio.wire import Bytes, Denial, Fragment, FrameDecoder, Landing, Terms, Verdict, _codec
from tests.mutants.beneath import mutant
from tests.mutants.trouble import Patch

PUSH = "dma/test_dma_push"
TRANSFERS = "dma/test_dma_transfers"
HOSTILE = "dma/test_dma_hostile"
DIRECT = "ha/test_direct_transfers"
REQUESTS = "link/test_link_requests"


@mutant(31, f"{PUSH}::test_a_key_dies_with_its_session", "assert not region.alive")
def keeps_its_keys_in_the_next_session(patch: Patch) -> None:
    patch.setattr(RegionTable, "expire", lambda _: None)


@mutant(0, f"{PUSH}::test_who_waits_to_push_is_told_that_the_session_ended", "assert told == [True]")
def tells_nobody_who_waits_to_push_of_the_end(patch: Patch) -> None:
    patch.setattr(BulkTurns, "lose", lambda bulk: bulk._message_pushes.clear())


@mutant(0, f"{HOSTILE}::test_an_answer_goes_before_the_bulk_data_of_the_same_turn", "assert kinds ==")
def answers_behind_the_bulk_data_of_the_turn(patch: Patch) -> None:
    write, late = FrameWriter.write_verdict, list[Verdict]()
    fragments = BulkTurns.write_next

    def write_next(bulk: BulkTurns, room: int, size_bytes: int) -> int:
        written = fragments(bulk, room, size_bytes)
        while late:
            write(bulk._writer, late.pop(0))
        return written

    patch.setattr(FrameWriter, "write_verdict", lambda _, verdict: late.append(verdict))
    patch.setattr(BulkTurns, "write_next", write_next)


@mutant(
    0, f"{PUSH}::test_a_message_whose_push_is_denied_is_acknowledged_by_nobody", "assert acknowledged <= len(consumer"
)
def acknowledges_what_a_reader_could_not_take_in(patch: Patch) -> None:
    plain = Connection._gather

    def gather(connection: Connection, now: float) -> int:
        connection._taking = False
        return plain(connection, now)

    patch.setattr(Connection, "_gather", gather)


@mutant(31, f"{PUSH}::test_a_key_dies_with_its_epoch", "assert not region.alive")
def keeps_its_keys_in_the_next_epoch(patch: Patch) -> None:
    plain = Link.announce

    def announce(link: Link, *, epoch: int, revision: int) -> None:
        placement, link._placement = link._placement, None
        plain(link, epoch=epoch, revision=revision)
        link._placement = placement

    patch.setattr(Link, "announce", announce)


@mutant(
    31,
    f"{TRANSFERS}::test_a_denied_transfer_has_its_reason_and_harms_nothing",
    "assert pair.a.told ==",
    kind="push",
    case="closed",
)
def keeps_a_key_that_was_closed(patch: Patch) -> None:
    patch.setattr(Region, "close", lambda _: None)


@mutant(
    31,
    f"{TRANSFERS}::test_a_denied_transfer_has_its_reason_and_harms_nothing",
    "assert pair.a.told ==",
    kind="push",
    case="stale-epoch",
)
def takes_a_push_of_an_older_epoch(patch: Patch) -> None:
    plain = RegionTable._admit

    def admit(table: RegionTable, key: bytes, offset: int, span: int, *, right: Rights, epoch: int) -> Region | Denial:
        region = table._regions.get(key)
        return plain(table, key, offset, span, right=right, epoch=region.epoch if region else epoch)

    patch.setattr(RegionTable, "_admit", admit)


@mutant(
    31,
    f"{TRANSFERS}::test_a_key_that_dies_in_the_middle_ends_the_rest",
    "assert pair.a.told ==",
    kind="push",
    how="close",
)
def looks_a_key_up_once_for_each_transfer(patch: Patch) -> None:
    plain = RegionTable._admit
    admitted: dict[bytes, Region] = {}

    def admit(table: RegionTable, key: bytes, offset: int, span: int, *, right: Rights, epoch: int) -> Region | Denial:
        region = admitted.get(key) or plain(table, key, offset, span, right=right, epoch=epoch)
        if isinstance(region, Region):
            admitted[key] = region
        return region

    patch.setattr(RegionTable, "_admit", admit)
    patch.setattr(Region, "release", lambda _: None)


@mutant(
    31,
    f"{REQUESTS}::test_a_denied_push_sends_no_more_and_its_memory_is_given_back_after_the_senders_hands",
    "assert asker.told == []",
)
def gives_memory_back_while_it_is_sent(patch: Patch) -> None:
    plain = Requests._take_push_verdict

    def take(requests: Requests, push: _Push, verdict: Verdict) -> None:
        requests._in_hand.clear()
        plain(requests, push, verdict)

    patch.setattr(Requests, "_take_push_verdict", take)


@mutant(31, "dma/test_dma_ring::test_pieces_are_free_once_those_before_them_are", "assert ring.take(1) is None")
def takes_what_lies_before_a_piece_for_given_back_too(patch: Patch) -> None:
    plain = Ring.give_back

    def give_back(ring: Ring, start: int) -> None:
        for before in [taken.start for taken in ring._taken if taken.start < start]:
            plain(ring, before)
        plain(ring, start)

    patch.setattr(Ring, "give_back", give_back)


@mutant(
    32,
    f"{REQUESTS}::test_an_answer_that_nobody_asked_for",
    "with pytest.raises(",
    answer=Verdict(99, Denial.BUSY),
)
def takes_an_answer_for_that_to_the_oldest_request(patch: Patch) -> None:
    plain = Requests.take_verdict

    def take(requests: Requests, verdict: Verdict) -> None:
        asked = [push.transfer.request for push in requests._pushes]
        plain(requests, attrs.evolve(verdict, request=min(asked, default=verdict.request)))

    patch.setattr(Requests, "take_verdict", take)


@mutant(32, f"{REQUESTS}::test_requests_are_numbered_over_both_kinds", "assert [asker.push().request")
def gives_a_number_to_several_requests(patch: Patch) -> None:
    plain = Requests._number

    def number(
        requests: Requests, size: int, on_done: OnDone, deadline_s: float | None, places: TransferPlaces | None
    ) -> Transfer:
        requests._numbered = 0
        return plain(requests, size, on_done, deadline_s, places)

    patch.setattr(Requests, "_number", number)


@mutant(31, "ha/test_inbox::test_what_was_lent_stays_as_it_is_when_the_ring_is_granted_anew", "assert lent ==")
def lends_out_of_one_ring_for_all_grants(patch: Patch) -> None:
    ring = bytearray(_inbox.RING_BYTES)
    patch.setattr(_inbox, "mmap", lambda *_: ring)


@mutant(31, f"{TRANSFERS}::test_a_key_is_for_as_many_transfers_as_it_was_made_for", "assert told[1:] ==", kind="push")
def does_not_count_the_uses_of_a_key(patch: Patch) -> None:
    patch.setattr(RegionTable, "_use", lambda *_: None)


@mutant(31, f"{TRANSFERS}::test_a_key_is_spent_before_anybody_hears_of_its_last_use", "assert alive ==")
def uses_a_key_up_with_the_transfer_behind_its_last(patch: Patch) -> None:
    plain = RegionTable._use

    def use(table: RegionTable, region: Region) -> None:
        if region.uses_left == 0:
            table.forget(region.key, Denial.USED_KEY)
        else:
            plain(table, region)
            table._regions.setdefault(region.key, region)

    patch.setattr(RegionTable, "_use", use)


@mutant(31, f"{TRANSFERS}::test_a_key_dies_when_its_time_is_over", "assert alive ==", kind="push")
def ignores_that_the_time_of_a_key_is_over(patch: Patch) -> None:
    patch.setattr(Region, "expire_by", lambda *_: None)


@mutant(
    31, f"{HOSTILE}::test_a_key_that_was_used_up_or_is_overdue_is_of_no_use", "assert (verdict.denial", limit="uses"
)
def calls_every_dead_key_an_unknown_one(patch: Patch) -> None:
    plain = RegionTable.forget
    patch.setattr(RegionTable, "forget", lambda table, key, *_: plain(table, key))


@mutant(
    31,
    "wire/test_wire_codec::test_memory_that_is_taken_back_gets_nothing_more_and_the_stream_stays_in_step",
    "with pytest.raises(",
    came=150,
)
def receives_on_into_memory_that_was_taken_back(patch: Patch) -> None:
    patch.setattr(Landing, "release", lambda _: None)


@mutant(31, "wire/test_wire_codec::test_damaged_data_is_noticed_where_it_was_put", "with pytest.raises(")
def believes_data_that_it_has_received_into_its_place(patch: Patch) -> None:
    patch.setattr(_codec, "crc32c", lambda data, value=0: 0 if len(data) == 200 else crc32c(data, value))
    plain = FrameDecoder.place

    def place(decoder: FrameDecoder, landing: Landing | None) -> None:
        plain(decoder, landing)
        decoder._checksum = 0

    patch.setattr(FrameDecoder, "place", place)


@mutant(
    32, f"{HOSTILE}::test_what_comes_of_a_cancelled_pull_is_dropped_and_judged", "assert (bytes(into), len(peer.done))"
)
def takes_what_comes_late_of_a_pull_that_was_cancelled(patch: Patch) -> None:
    plain = Requests._cancel_pull

    def cancel(requests: Requests, pull: _Pull, reason: str) -> None:
        into = pull.into
        plain(requests, pull, reason)
        pull.into = into

    def open_reply(requests: Requests, fragment: Fragment) -> Landing:
        pull = requests._asked_pull(fragment.request)
        return Landing(pull.into[pull.placed : pull.placed + fragment.size])

    patch.setattr(Requests, "_cancel_pull", cancel)
    patch.setattr(Requests, "open_reply", open_reply)


@mutant(32, f"{REQUESTS}::test_a_pull_is_done_with_its_last_byte_or_a_denial", "assert asker.told == []")
def takes_a_pull_for_done_with_its_first_fragment(patch: Patch) -> None:
    plain = Requests.close_reply
    patch.setattr(
        Requests,
        "close_reply",
        lambda requests, fragment, **of: plain(requests, attrs.evolve(fragment, left=fragment.size), **of),
    )


@mutant(0, f"{REQUESTS}::test_what_is_left_undone_is_told", "assert [transfer.left_bytes")
def says_that_nothing_is_left_of_what_has_ended(patch: Patch) -> None:
    plain = Transfer.finish
    patch.setattr(Transfer, "finish", lambda transfer, status, reason, _: plain(transfer, status, reason, 0))


@mutant(
    0,
    f"{TRANSFERS}::test_a_transfer_that_is_not_done_by_its_deadline_is_cancelled_then",
    "assert len(pair.a.done) == count",
    kind="pull",
)
def waits_for_ever_for_a_transfer_that_has_a_deadline(patch: Patch) -> None:
    patch.setattr(Deadlines, "add", lambda *_: None)


@mutant(
    32,
    f"{REQUESTS}::test_a_push_that_is_half_written_is_withdrawn_and_its_answer_is_no_surprise",
    "assert asker.told == []",
    answer=Verdict(1, Denial.WITHDRAWN, 1),
)
def gives_up_a_push_while_its_data_is_sent(patch: Patch) -> None:
    plain = Requests._cancel_push

    def cancel(requests: Requests, push: _Push, reason: str) -> None:
        requests._in_hand.clear()
        plain(requests, push, reason)

    patch.setattr(Requests, "_cancel_push", cancel)


@mutant(0, f"{REQUESTS}::test_little_is_on_its_way_behind_the_oldest_push_that_is_not_answered", "assert [fragment.req")
def writes_on_whatever_is_not_answered(patch: Patch) -> None:
    patch.setattr(Requests, "_written_bytes", property(lambda _: 0, lambda *_: None))


@mutant(0, f"{REQUESTS}::test_little_that_was_asked_for_is_on_its_way", "assert [pull.request")
def asks_for_everything_at_once(patch: Patch) -> None:
    patch.setattr(Requests, "_asked_bytes", property(lambda _: 0, lambda *_: None))


@mutant(
    0,
    f"{REQUESTS}::test_what_comes_of_a_pull_that_was_cancelled_is_on_its_way_no_more",
    "assert [pull.request for pull in asker.requests.take_pulls()] == [3]",
)
def counts_a_pull_that_was_cancelled_for_ever(patch: Patch) -> None:
    plain = Requests.close_reply

    def close(requests: Requests, fragment: Fragment, *, is_whole: bool = True) -> None:
        is_waiting, asked_bytes = requests._pulls[0].transfer.is_waiting, requests._asked_bytes
        plain(requests, fragment, is_whole=is_whole)
        if not is_waiting:
            requests._asked_bytes = asked_bytes

    patch.setattr(Requests, "close_reply", close)


@mutant(
    0,
    f"{TRANSFERS}::test_who_is_told_of_a_push_that_was_just_being_sent_may_resize_its_memory",
    'assert data.endswith(b"more")',
    end="cancelled",
)
def refers_to_what_it_has_sent(patch: Patch) -> None:
    plain, sent = FrameWriter.take, list[Bytes]()

    def take(writer: FrameWriter) -> list[Bytes]:
        pieces = plain(writer)
        sent.extend(pieces)
        return pieces

    patch.setattr(FrameWriter, "take", take)


@mutant(0, f"{TRANSFERS}::test_memory_that_changes_while_it_is_pulled", "assert pair.a.told")
def waits_for_room_with_replies_in_the_memory_of_others(patch: Patch) -> None:
    patch.setattr(Answers, "owes_replies", False)


@mutant(
    0,
    f"{REQUESTS}::test_a_reply_is_copied_for_a_peer_that_would_end_the_session_if_it_changed",
    "assert is_next_reply_copied",
    is_copied=True,
)
def sends_replies_as_they_lie_to_a_peer_that_does_not_take_them(patch: Patch) -> None:
    patch.setattr(Terms, "has", lambda *_: True)


@mutant(0, f"{TRANSFERS}::test_memory_that_is_lent_no_more_is_copied", "assert copied == [False, True]")
def lends_memory_on_that_changed_as_it_was_sent(patch: Patch) -> None:
    patch.setattr(RegionTable, "lend_no_more", lambda *_: None)


@mutant(
    31, f"{HOSTILE}::test_a_reply_that_changed_on_its_way_ends_its_pull_and_not_the_session", "assert [(each.status"
)
def takes_a_reply_that_changed_on_its_way_for_whole(patch: Patch) -> None:
    plain = Requests.close_reply

    def close(requests: Requests, fragment: Fragment, **_: object) -> None:
        plain(requests, fragment)

    patch.setattr(Requests, "close_reply", close)


@mutant(0, f"{TRANSFERS}::test_others_run_after_each_fragment_while_messages_pass", "assert max(steps)")
def takes_no_heed_of_messages(patch: Patch) -> None:
    begin = Pace.begin_turn
    patch.setattr(Pace, "begin_turn", lambda pace, _, now: begin(pace, 0, now))


@mutant(0, f"{TRANSFERS}::test_a_farewell_goes_behind_pushes_that_wait_for_an_answer", "assert memory == data")
def takes_leave_before_pushes_that_wait_for_an_answer(patch: Patch) -> None:
    patch.setattr(Requests, "has_unwritten", False)
