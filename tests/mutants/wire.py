"""The rules of frames and hellos: of this session only, in sequence, and between versions that know each other."""

import attrs

from ctlha_trio.link import _handshake, _meeting
from ctlha_trio.link._handshake import Agreed
from ctlha_trio.pair import PairState, _plan
from ctlha_trio.seams._tls_stream import TlsStream
from ctlha_trio.wire import (
    Fault,
    Frame,
    Hello,
    Refusal,
    SessionCore,
    Terms,
    agree_terms,
    judge_hello,
    judge_terms,
    session_id,
)
from ctlha_trio.wire._flow import ChannelFlow
from tests.mutants.beneath import mutant
from tests.mutants.trouble import Patch

SESSION = "wire/test_wire_session"
TERMS = "wire/test_wire_terms"
VERSIONS = "link/test_link_versions"


@mutant(30, f"{SESSION}::test_what_a_session_does_not_allow", "with pytest.raises(", fault=Fault.SESSION)
def accepts_a_frame_of_another_session(patch: Patch) -> None:
    plain = SessionCore.receive

    def receive(core: SessionCore, frame: Frame, now: float) -> None:
        plain(core, attrs.evolve(frame, session=core.session), now)

    patch.setattr(SessionCore, "receive", receive)


@mutant(30, f"{SESSION}::test_the_peers_epoch_rises_with_its_frames", "with pytest.raises(")
def accepts_a_frame_of_an_older_epoch(patch: Patch) -> None:
    plain = SessionCore.receive

    def receive(core: SessionCore, frame: Frame, now: float) -> None:
        plain(core, attrs.evolve(frame, epoch=max(frame.epoch, core.peer_epoch)), now)

    patch.setattr(SessionCore, "receive", receive)


@mutant(0, f"{SESSION}::test_a_heartbeat_answers_one_that_was_written", "with pytest.raises(", echoes=[])
def believes_any_answer_to_a_heartbeat(patch: Patch) -> None:
    plain = SessionCore._take_heartbeat

    def take(core: SessionCore, frame: Frame, now: float) -> None:
        core._first_stamp, core._last_stamp, core._echoed = 0, 1 << 64, 0
        plain(core, frame, now)

    patch.setattr(SessionCore, "_take_heartbeat", take)


@mutant(30, f"{SESSION}::test_what_a_session_does_not_allow", "with pytest.raises(", fault=Fault.SEQUENCE)
def accepts_messages_behind_a_gap(patch: Patch) -> None:
    plain = ChannelFlow.receive
    patch.setattr(ChannelFlow, "receive", lambda flow, _, count: plain(flow, flow.received + 1, count))


@mutant(30, "wire/test_wire_hello::test_a_session_is_made_of_both_halves", "assert one != session_id(")
def names_a_session_by_one_side_only(patch: Patch) -> None:
    """An old hello of that side, sent again, would be in the session that it was in."""

    def one_half(*, dialler_half: int, acceptor_half: int) -> int:
        return dialler_half

    patch.setattr(session_id, "__code__", one_half.__code__)


@mutant(44, "link/test_link_sessions::test_a_version_that_is_unknown_here_is_refused", "assert await refusal(")
def ignores_the_version(patch: Patch) -> None:
    plain = judge_hello

    def judge(own: Hello, theirs: Hello, *, peer: str, resource: str) -> Refusal | None:
        known = attrs.evolve(theirs, version_min=own.version_min, version_max=own.version_max)
        return plain(own, known, peer=peer, resource=resource)

    patch.setattr(_meeting, "judge_hello", judge)


@mutant(44, f"{VERSIONS}::test_a_peer_that_speaks_other_versions_is_known_as_such", "assert session.same_version is")
def takes_every_version_for_its_own(patch: Patch) -> None:
    patch.setattr(Hello, "speaks_own_versions", property(lambda _: True))


@mutant(44, f"{VERSIONS}::test_it_speaks_as_was_recorded_with_a_peer_of_each_version", "assert in_order(", version=1)
def speaks_its_own_newest_version_with_everybody(patch: Patch) -> None:
    patch.setattr(_handshake, "agreed_version", lambda own, _: own.version_max)


@mutant(44, f"{VERSIONS}::test_it_speaks_as_was_recorded_with_a_peer_of_each_version", "assert in_order(", version=1)
def states_terms_to_a_peer_of_the_first_version(patch: Patch) -> None:
    patch.setattr(Agreed, "has_terms", True)


@mutant(44, f"{TERMS}::test_who_demands_what_is_unknown_is_refused", "assert judge_terms(", features=1 << 32)
def accepts_a_peer_that_demands_what_it_does_not_know(patch: Patch) -> None:
    def accept(one: Terms, other: Terms) -> Refusal | None:
        return None

    patch.setattr(judge_terms, "__code__", accept.__code__)


@mutant(44, f"{VERSIONS}::test_no_fragment_is_larger_than_both_sides_take", "assert sizes == ", states=4096)
def keeps_its_own_terms_only(patch: Patch) -> None:
    def own(one: Terms, other: Terms) -> Terms:
        return one

    patch.setattr(agree_terms, "__code__", own.__code__)


@mutant(
    44,
    "pair/test_pair_plan::test_a_peer_that_speaks_other_versions_is_an_obstacle",
    "assert plan_handover(state, same_version=False)",
)
def hands_the_role_to_another_version(patch: Patch) -> None:
    plain = _plan.handover_obstacles

    def obstacles(state: PairState, *, same_version: bool, peer_ready: bool) -> tuple[_plan.Obstacle, ...]:
        return plain(state, peer_ready=peer_ready)

    patch.setattr(_plan, "handover_obstacles", obstacles)


@mutant(
    0,
    "seams/test_tls::test_data_is_not_taken_before_its_records_have_left_and_then_once",
    "assert stream._write([memoryview(words)]) == 0",
)
def takes_for_sent_what_is_only_encrypted(patch: Patch) -> None:
    def write(stream: TlsStream, pieces: list[memoryview]) -> int:
        stream._encrypt(pieces)
        stream._send_encrypted()
        return stream._encrypted_bytes

    patch.setattr(TlsStream, "_write", write)
