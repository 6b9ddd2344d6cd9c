"""The rules of what one consumer may take: it leaves the others theirs, and what cannot be is refused to it alone."""

from contextlib import suppress

from ctlha_trio._errors import BusyError
from ctlha_trio.dma import _regions
from ctlha_trio.ha._direct_transfers import DirectTransfers
from ctlha_trio.ha._inbox import Inbox
from ctlha_trio.link import OnDone, Transfer, TransferPlaces, _requests
from ctlha_trio.link._requests import Requests
from ctlha_trio.pair import Grant
from tests.mutants.beneath import mutant
from tests.mutants.trouble import Patch

PUSH = "dma/test_dma_push"
REQUESTS = "link/test_link_requests"
DIRECT = "ha/test_direct_transfers"


@mutant(
    0,
    f"{DIRECT}::test_who_waits_for_room_has_it_once_what_was_given_up_is_answered",
    "with trio.fail_after(",
    kind="push",
)
def frees_a_place_and_tells_nobody(patch: Patch) -> None:
    def give_back(places: TransferPlaces) -> None:
        places.taken -= 1

    patch.setattr(TransferPlaces, "give_back", give_back)


@mutant(
    0,
    f"{DIRECT}::test_who_waits_for_room_is_told_that_the_session_ended",
    "with trio.fail_after(",
    kind="pull",
)
def keeps_the_places_of_a_session_that_was_lost(patch: Patch) -> None:
    plain = Requests.lose

    def lose(requests: Requests, reason: str) -> None:
        with patch.context() as within:
            within.setattr(TransferPlaces, "give_back", lambda _: None)
            plain(requests, reason)

    patch.setattr(Requests, "lose", lose)


@mutant(0, f"{REQUESTS}::test_each_consumer_has_places_of_its_own", "assert [asker.can_push(")
def gives_all_consumers_the_same_places(patch: Patch) -> None:
    plain, shared = Requests._number, TransferPlaces()

    def number(
        requests: Requests, size: int, on_done: OnDone, deadline_s: float | None, _: TransferPlaces | None
    ) -> Transfer:
        return plain(requests, size, on_done, deadline_s, shared)

    patch.setattr(Requests, "_number", number)


@mutant(0, f"{REQUESTS}::test_the_peer_has_only_so_many_to_keep_in_mind", "assert [len(asker.write())")
def asks_for_whatever_there_is(patch: Patch) -> None:
    patch.setattr(_requests, "UNANSWERED_MAX", 1 << 20)


@mutant(0, f"{PUSH}::test_the_pair_s_ring_has_its_place_whatever_consumers_register", "assert len(set(keys)) == 3")
def lets_consumers_have_the_place_of_the_ring(patch: Patch) -> None:
    plain = Inbox.grant

    def grant(inbox: Inbox, epoch: int) -> Grant | None:
        with patch.context() as within, suppress(BusyError):
            within.setattr(_regions, "RESERVED_REGIONS", 0)
            return plain(inbox, epoch)
        return None

    patch.setattr(Inbox, "grant", grant)


@mutant(0, f"{DIRECT}::test_a_transfer_has_no_time_that_cannot_be", "with pytest.raises(", timeout_s=-1.0)
def takes_any_number_for_a_time(patch: Patch) -> None:
    patch.setattr(DirectTransfers, "_deadline_s", lambda transfers, timeout_s: transfers._dma.now() + timeout_s)


@mutant(0, f"{DIRECT}::test_a_key_is_for_a_whole_number_of_transfers", "with pytest.raises(", uses=1.5)
def takes_any_number_of_uses_above_nothing(patch: Patch) -> None:
    patch.setattr(_regions, "_is_count", lambda uses: uses > 0)
