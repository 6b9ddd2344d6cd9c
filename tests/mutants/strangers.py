"""The rules for whoever comes to a node's port: bounded in number and time, and none keeps the peer out."""

from ctlha_trio.link import _meeting
from ctlha_trio.seams._waiting_room import WaitingRoom
from ctlha_trio.wire import (
    HEADER_SIZE,
    HELLO_SIZE_MAX,
    Frame,
    SessionCore,
    _codec,
)
from tests.mutants.beneath import mutant
from tests.mutants.trouble import Patch

ROOM = "seams/test_waiting_room"
SESSIONS = "link/test_link_sessions"


@mutant(0, f"{ROOM}::test_another_source_is_next_however_many_came_before", "assert all(", strangers=72)
def takes_all_strangers_for_one(patch: Patch) -> None:
    """So the one that comes oftenest keeps the others out."""
    plain = WaitingRoom.enter
    patch.setattr(WaitingRoom, "enter", lambda room, visitor, _: plain(room, visitor, "anywhere"))


@mutant(0, f"{ROOM}::test_one_source_comes_in_its_order_and_each_has_its_share", 'assert door.begun == crowd("s", 2 *')
def lets_a_stranger_have_all_of_its_time_while_others_wait(patch: Patch) -> None:
    patch.setattr(WaitingRoom, "_hurry", lambda _: None)


@mutant(0, f"{ROOM}::test_the_peer_does_not_give_way_to_those_of_whom_there_are_more", 'assert "peer 0" in')
def has_the_first_give_way_whoever_it_is(patch: Patch) -> None:
    def hurry(room: WaitingRoom[str]) -> None:
        first = room._under_way[0]
        first.scope.deadline = min(first.scope.deadline, first.share_until_s)

    patch.setattr(WaitingRoom, "_hurry", hurry)


@mutant(0, f"{SESSIONS}::test_at_most_eight_strangers_are_listened_to", "with trio.fail_after(0.1)")
def listens_to_any_number_of_strangers(patch: Patch) -> None:
    patch.setattr(_meeting, "IN_HELLO_MAX", 1000)


@mutant(0, f"{SESSIONS}::test_a_slow_hello_ends_after_three_seconds_however_it_trickles", "with pytest.raises((")
def gives_a_hello_its_time_anew_with_each_byte(patch: Patch) -> None:
    """As a limit on each read does, and not one on all of them."""
    patch.setattr(_meeting, "HELLO_TIMEOUT_S", 1000.0)


@mutant(
    0,
    "wire/test_wire_codec::test_the_buffer_before_the_session_holds_one_refusal_with_a_hello_and_no_more",
    "assert len(decoder.space()) ==",
)
def has_no_room_for_a_refusal_with_a_hello(patch: Patch) -> None:
    patch.setattr(_codec, "HELLO_BUFFER_SIZE", HEADER_SIZE + HELLO_SIZE_MAX)


@mutant(
    0,
    f"{SESSIONS}::test_a_frame_that_comes_slowly_is_no_silence_and_one_that_stays_away_is",
    "assert pair.a.losses == []",
)
def hears_nothing_before_a_frame_is_whole(patch: Patch) -> None:
    hear, receive = SessionCore.hear, SessionCore.receive

    def receive_whole(core: SessionCore, frame: Frame, now: float) -> None:
        receive(core, frame, now)
        hear(core, now)

    patch.setattr(SessionCore, "hear", lambda *_: None)
    patch.setattr(SessionCore, "receive", receive_whole)
