"""The link's rules: one source of liveness, a session that both are in, and one process for each identity."""

import trio

from ctlha_trio.link import LossReason, _meeting
from ctlha_trio.link._connection import Connection
from ctlha_trio.link._handshake import Agreed, Handshake
from ctlha_trio.link._meeting import Meeting
from ctlha_trio.link._reading import Reading
from ctlha_trio.link._watchdog import Watchdog
from ctlha_trio.link._writing import FrameWriter
from ctlha_trio.wire import Frame, FrameType, Lateness, SessionCore, Terms, _hello, _session
from tests.mutants.beneath import mutant
from tests.mutants.trouble import Patch

SESSIONS = "link/test_link_sessions"
HEARTBEATS = "link/test_link_heartbeats"
BURSTS = "link/test_link_bursts"
READING = "link/test_link_reading"


@mutant(25, f"{SESSIONS}::test_a_quiet_link_stays", "assert 1190 < statistics.frames_in")
def beats_only_while_it_hears_nothing(patch: Patch) -> None:
    due = SessionCore.take_heartbeat_due

    def take_heartbeat_due(core: SessionCore, now: float) -> bool:
        return due(core, now) and now - core.last_received_s > 0.1

    patch.setattr(SessionCore, "take_heartbeat_due", take_heartbeat_due)


@mutant(25, f"{SESSIONS}::test_silence_is_noticed_under_load", "assert 0.8 <= await until(")
def looks_for_silence_only_while_nothing_is_under_way(patch: Patch) -> None:
    plain = SessionCore.is_silent

    def is_silent(core: SessionCore, now: float, *, planned_s: float) -> bool:
        return not any(flow.unsettled for flow in core._flows.values()) and plain(core, now, planned_s=planned_s)

    patch.setattr(SessionCore, "is_silent", is_silent)
    look_at_each_heartbeat(patch)


def look_at_each_heartbeat(patch: Patch) -> None:
    """And at no other time: whoever has found silence and goes on would look again at once, for ever."""
    patch.setattr(SessionCore, "next_deadline_s", property(lambda core: core.heartbeat_due_s))


@mutant(26, f"{SESSIONS}::test_heartbeats_are_withheld_while_the_disk_path_hangs", "assert 0.8 <= await until(")
def beats_while_the_disk_hangs(patch: Patch) -> None:
    async def run(watchdog: Watchdog) -> str:
        watchdog._alive = lambda: True
        return await plain(watchdog)

    plain = Watchdog.run
    patch.setattr(Watchdog, "run", run)


@mutant(27, f"{SESSIONS}::test_what_a_dead_process_had_sent_is_no_answer", "await confirm(second)")
def takes_any_frame_for_an_answer(patch: Patch) -> None:
    """So there are two sources of liveness, and they disagree on a process that died."""
    receive = SessionCore.receive

    def take(core: SessionCore, frame: Frame, now: float) -> None:
        receive(core, frame, now)
        core.answered_s = now

    patch.setattr(SessionCore, "receive", take)


@mutant(28, f"{SESSIONS}::test_both_lose_a_session_in_which_one_hears_nothing", "assert await until(")
def keeps_the_connection_of_a_session_in_which_it_hears_nothing(patch: Patch) -> None:
    """The other side, which hears, is in it until it is missed itself."""
    plain = Connection.end

    def end(connection: Connection, reason: LossReason, detail: str) -> None:
        if reason is LossReason.SILENT:
            patch.setattr(type(connection.stream), "close", lambda _: None)
        plain(connection, reason, detail)

    patch.setattr(Connection, "end", end)


@mutant(28, f"{SESSIONS}::test_a_hello_that_is_never_confirmed_replaces_nothing", "assert pair.")
def begins_a_session_that_nobody_has_confirmed(patch: Patch) -> None:
    """One side is in a session of which the other does not know."""
    plain = Handshake.hear_confirmation

    async def hear_confirmation(handshake: Handshake, agreed: Agreed) -> None:
        with trio.move_on_after(1.0) as scope:
            await plain(handshake, agreed)
        if scope.cancelled_caught:
            handshake.decoder.admit()

    patch.setattr(Handshake, "hear_confirmation", hear_confirmation)


@mutant(0, f"{SESSIONS}::test_a_goodbye_is_one_whatever_it_is_for", "assert pair.a.events[-1] ==")
def says_goodbye_in_words_that_the_peer_refuses(patch: Patch) -> None:
    patch.setattr(_hello, "printable", lambda text: text.replace("\ud800", "?"))


@mutant(30, f"{SESSIONS}::test_the_confirmation_must_name_the_session", "assert pair.a.link.session is None")
def takes_the_confirmation_of_another_session(patch: Patch) -> None:
    """As an old one that is sent again behind its hello."""

    async def hear_confirmation(handshake: Handshake, _: Agreed) -> None:
        await handshake._receive_answer(FrameType.HELLO_CONFIRM)
        handshake.decoder.admit()

    patch.setattr(Handshake, "hear_confirmation", hear_confirmation)


@mutant(29, f"{SESSIONS}::test_silence_is_noticed_within_a_second", "assert 0.8 <= await until(", cut="both")
def believes_a_connection_that_is_open(patch: Patch) -> None:
    patch.setattr(SessionCore, "is_silent", lambda *_, planned_s: False)
    look_at_each_heartbeat(patch)


@mutant(43, f"{SESSIONS}::test_a_second_process_with_the_peer_s_identity_is_refused_by_name", "assert await until(")
def welcomes_a_copy_of_the_peer(patch: Patch) -> None:
    patch.setattr(Meeting, "_other_process", lambda *_: None)


@mutant(
    43,
    f"{SESSIONS}::test_of_two_processes_that_are_agreed_to_at_once_the_first_that_confirms_stays",
    "assert [event.peer_incarnation",
)
def looks_for_a_copy_only_before_it_agrees(patch: Patch) -> None:
    def begin(meeting: Meeting, handshake: Handshake, agreed: Agreed, terms: Terms) -> Connection:
        return meeting.begin(handshake, agreed, terms)

    patch.setattr(Meeting, "_begin", begin)


@mutant(45, f"{SESSIONS}::test_a_peer_that_refuses_is_not_dialled_all_the_time", "assert 5 <= ")
def dials_again_at_once(patch: Patch) -> None:
    patch.setattr(_meeting, "backoff_s", lambda *_: 0.01)


@mutant(
    0, f"{HEARTBEATS}::test_a_peer_that_stands_still_for_a_moment_is_not_lost_and_says_so", "assert after.peer_late_s"
)
def says_that_each_heartbeat_is_on_time(patch: Patch) -> None:
    plain = SessionCore.heartbeat
    patch.setattr(SessionCore, "heartbeat", lambda core, now, due_s: plain(core, now, due_s=now))


@mutant(
    0, f"{HEARTBEATS}::test_a_peer_that_stands_still_for_a_moment_is_not_lost_and_says_so", "assert after.peer_late_s"
)
def forgets_that_a_heartbeat_was_late_with_the_next(patch: Patch) -> None:
    patch.setattr(Lateness, "most_s", lambda lateness, _: lateness.last_s)


@mutant(
    0, "wire/test_wire_session::test_a_watchdog_that_slept_gives_the_reader_one_grace", "assert not core.is_silent("
)
def reads_its_own_stall_as_the_death_of_the_peer(patch: Patch) -> None:
    patch.setattr(_session, "LATE_S", 1e9)


@mutant(
    0,
    f"{HEARTBEATS}::test_stall_upon_stall_with_nothing_behind_it_ends_in_a_verdict",
    "assert pair.a.link.session is None",
)
def grants_a_grace_for_ever(patch: Patch) -> None:
    plain = SessionCore.is_silent

    def is_silent(core: SessionCore, now: float, *, planned_s: float) -> bool:
        core._is_grace_spent = False
        return plain(core, now, planned_s=planned_s)

    patch.setattr(SessionCore, "is_silent", is_silent)


@mutant(
    0,
    f"{HEARTBEATS}::test_what_comes_in_a_second_stall_is_received_before_the_verdict",
    "await scene.assert_alive()",
)
def believes_a_silence_without_a_look_into_the_socket(patch: Patch) -> None:
    async def hears_nothing(_: Watchdog) -> bool:
        await trio.lowlevel.checkpoint()
        return False

    patch.setattr(Watchdog, "_hears_after_all", hears_nothing)


@mutant(
    0,
    f"{BURSTS}::test_a_burst_waits_until_the_peer_is_told_of_the_channel",
    "assert pair.a.statistics().frames_out == before",
)
def sends_on_a_channel_of_which_the_peer_was_not_told(patch: Patch) -> None:
    patch.setattr(FrameWriter, "is_opening", property(lambda _: False))


@mutant(0, f"{BURSTS}::test_room_is_told_in_the_middle_of_no_frame", "assert set(told) == {0}")
def acknowledges_a_frame_before_it_is_delivered(patch: Patch) -> None:
    """A session that ends at that moment would have reported messages as sent that nobody was given."""
    can_send = vars(Connection)["_can_send"].fget

    def while_taking(connection: Connection) -> bool:
        taking, connection._taking = connection._taking, False
        may = bool(can_send(connection))
        connection._taking = taking
        return may

    patch.setattr(Connection, "_can_send", property(while_taking))


@mutant(0, f"{READING}::test_whoever_waits_receives_in_its_own_turn", "assert session.takers ==")
def leaves_and_nobody_reads_on(patch: Patch) -> None:
    async def stand_aside(_: Reading) -> None:
        await trio.sleep_forever()

    patch.setattr(Reading, "_stand_aside", stand_aside)


@mutant(0, f"{READING}::test_what_a_leader_meets_its_session_raises", "assert session.ended is failure")
def keeps_what_a_leader_has_met(patch: Patch) -> None:
    plain = Reading._end_turn

    def end_turn(reading: Reading) -> None:
        reading._failure = None
        plain(reading)

    patch.setattr(Reading, "_end_turn", end_turn)


@mutant(0, f"{READING}::test_what_a_leader_has_received_is_acknowledged_a_turn_later", "assert session.wakes ==")
def acknowledges_nothing_that_a_leader_has_received(patch: Patch) -> None:
    plain = Reading._end_turn

    def end_turn(reading: Reading) -> None:
        reading._wake_writer = lambda: None
        plain(reading)

    patch.setattr(Reading, "_end_turn", end_turn)


@mutant(0, f"{READING}::test_who_is_told_runs_in_the_context_of_the_session", "assert [where for")
def tells_whoever_it_is_in_the_context_of_the_leader(patch: Patch) -> None:
    patch.setattr(Reading, "_take_for_leader", lambda reading, size_bytes: reading._take(size_bytes))
