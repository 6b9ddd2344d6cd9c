"""The rules of transfers: a key dies in time, memory is given back when nobody needs it, an answer has its request."""

import attrs

from ctlha_trio.dma import Ring
from ctlha_trio.dma._regions import Region, RegionTable, Rights
from ctlha_trio.ha import _inbox
from ctlha_trio.link import Link, OnDone, Transfer
from ctlha_trio.link._requests import Requests, _Push
from ctlha_trio.wire import Denial, Verdict
from tests.mutants.beneath import mutant
from tests.mutants.trouble import Patch

PUSH = "dma/test_dma_push"
TRANSFERS = "dma/test_dma_transfers"
REQUESTS = "link/test_link_requests"


@mutant(31, f"{PUSH}::test_a_key_dies_with_its_session", "assert not region.alive")
def keeps_its_keys_in_the_next_session(patch: Patch) -> None:
    patch.setattr(RegionTable, "expire", lambda _: None)


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
        requests._in_hand = None
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

    def number(requests: Requests, size: int, on_done: OnDone, deadline_s: float | None) -> Transfer:
        requests._numbered = 0
        return plain(requests, size, on_done, deadline_s)

    patch.setattr(Requests, "_number", number)


@mutant(31, "ha/test_inbox::test_what_was_lent_stays_as_it_is_when_the_ring_is_granted_anew", "assert lent ==")
def lends_out_of_one_ring_for_all_grants(patch: Patch) -> None:
    ring = bytearray(_inbox.RING_BYTES)
    patch.setattr(_inbox, "mmap", lambda *_: ring)
