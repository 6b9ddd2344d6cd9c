"""What a node says of itself in each phase."""

import attrs
import pytest

from ctlha_trio.ha import Reason
from ctlha_trio.ha._status import judge, role_of
from ctlha_trio.pair import MEMBERS, Copy, Metadata, PairState, Phase, Record, boot
from ctlha_trio.pair._state import UNTAKEN_MAX, Resync, SwapAttempt
from ctlha_trio.pair.messages import Standing

METADATA = Metadata(
    cluster="c",
    node="a",
    resource="r",
    lineage="l",
    arbiter="x",
    epoch=1,
    revision=1,
    primary="a",
    members=("a", "b"),
    copy=Copy.MEMBER,
)
RECORD = Record(cluster="c", resource="r", epoch=1, lineage="l", primary="a", members=("a", "b"), proposal="p")
PEER = 7
STOPS = ("store-failed", "copy-failed", "copy-incomplete", "arbiter-went-back", "foreign-record", "foreign-lineage")


def stand(phase: Phase, *, session: int = PEER, arbiter_answers: bool = True, primary: str = "a") -> PairState:
    state, _ = boot(me="a", peer="b", incarnation=3, size_bytes=1000, metadata=METADATA, marked_from=None)
    record = attrs.evolve(RECORD, primary=primary)
    return attrs.evolve(
        state, phase=phase, session=session, partner=session, arbiter_answers=arbiter_answers, record=record
    )


def said(state: PairState) -> tuple[str, list[str]]:
    verdict, reasons = judge(state)
    return verdict, [reason.value for reason in reasons]


CONNECTED = {
    Phase.BOOTING: ("at-risk", ["booting"]),
    Phase.WAITING: ("at-risk", ["waiting-for-peer"]),
    Phase.CLAIMING: ("at-risk", ["claiming"]),
    Phase.SECURING: ("at-risk", ["claiming"]),
    Phase.ALONE: ("degraded", ["peer-outdated"]),
    Phase.ADMITTING: ("degraded", ["peer-outdated"]),
    Phase.MIRRORING: ("protected", []),
    Phase.FOLLOWING: ("protected", []),
    Phase.HANDING_OVER: ("protected", []),
    Phase.SUSPENDED: ("at-risk", ["claiming"]),
    Phase.OUTDATED: ("at-risk", ["outdated"]),
    Phase.RESYNCING: ("at-risk", ["resyncing"]),
    Phase.LEFT: ("stopped", ["leaving"]),
}
ROLES = {
    Phase.BOOTING: "none",
    Phase.WAITING: "none",
    Phase.SECURING: "primary",
    Phase.ALONE: "primary",
    Phase.ADMITTING: "primary",
    Phase.MIRRORING: "primary",
    Phase.HANDING_OVER: "primary",
    Phase.FOLLOWING: "secondary",
    Phase.OUTDATED: "outdated",
    Phase.RESYNCING: "outdated",
    Phase.STOPPED: "none",
    Phase.LEFT: "none",
}


def test_every_phase_has_its_verdict_here() -> None:
    assert set(CONNECTED) == set(Phase) - {Phase.STOPPED}
    assert set(ROLES) == set(Phase) - {Phase.SUSPENDED, Phase.CLAIMING}


@pytest.mark.parametrize(("phase", "expected"), CONNECTED.items())
def test_with_peer_and_arbiter(phase: Phase, expected: tuple[str, list[str]]) -> None:
    assert said(stand(phase)) == expected


@pytest.mark.parametrize("phase", [phase for phase in CONNECTED if phase is not Phase.LEFT])
def test_silent_arbiter_is_always_said_and_never_protected(phase: Phase) -> None:
    verdict, reasons = said(stand(phase, arbiter_answers=False))
    assert verdict == ("degraded" if CONNECTED[phase][0] == "protected" else CONNECTED[phase][0])
    assert reasons == ["arbiter-silent", *CONNECTED[phase][1]], "nobody can start a node whose arbiter's file is gone"


@pytest.mark.parametrize("phase", list(CONNECTED))
def test_an_arbiter_that_is_read_and_takes_no_change_protects_nobody_who_may_need_one(phase: Phase) -> None:
    resync = Resync(cursor=400) if phase in {Phase.ALONE, Phase.ADMITTING} else None
    state = attrs.evolve(stand(phase), resync=resync, untaken=UNTAKEN_MAX)
    wants = MEMBERS | {Phase.ALONE, Phase.ADMITTING, Phase.SUSPENDED, Phase.CLAIMING, Phase.SECURING}
    assert said(state)[0] != "protected"
    assert (said(state)[1][:1] == ["arbiter-refuses"]) is (phase in wants)
    assert "arbiter-refuses" not in said(attrs.evolve(state, untaken=UNTAKEN_MAX - 1))[1]
    assert "arbiter-refuses" not in said(attrs.evolve(state, arbiter_answers=False))[1]


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        (Phase.ALONE, ["peer-lost"]),
        (Phase.ADMITTING, ["peer-lost"]),
        (Phase.SUSPENDED, ["peer-lost", "claiming"]),
        (Phase.CLAIMING, ["peer-lost", "claiming"]),
        (Phase.SECURING, ["peer-lost", "claiming"]),
        (Phase.OUTDATED, ["outdated", "peer-lost"]),
    ],
)
def test_lost_peer_is_said(phase: Phase, expected: list[str]) -> None:
    verdict, reasons = said(stand(phase, session=0))
    assert reasons == expected
    assert verdict == CONNECTED[phase][0]


@pytest.mark.parametrize(("session", "lost"), [(0, ["peer-lost"]), (PEER + 1, [])])
def test_a_handover_whose_target_is_lost_is_no_pair(session: int, lost: list[str]) -> None:
    """Clients are held until the arbiter has said whether the swap was taken, also if the target comes back anew."""
    state = attrs.evolve(stand(Phase.HANDING_OVER, session=session), partner=0)
    assert said(state) == ("at-risk", [*lost, "claiming"])


@pytest.mark.parametrize("phase", [Phase.ADMITTING, Phase.HANDING_OVER])
def test_who_holds_its_clients_for_an_arbiter_that_leaves_a_swap_in_doubt_does_not_say_that_it_serves(
    phase: Phase,
) -> None:
    state = stand(phase, arbiter_answers=False)
    assert state.record is not None
    doubt = SwapAttempt(1, state.record, calling=False, doubtful=True)
    assert said(attrs.evolve(state, swap=doubt)) == ("at-risk", ["arbiter-silent", "claiming"])
    assert said(attrs.evolve(state, swap=attrs.evolve(doubt, doubtful=False))) == said(state)


@pytest.mark.parametrize("why", STOPS)
def test_stopped_says_why(why: str) -> None:
    state = attrs.evolve(stand(Phase.STOPPED), why=why)
    assert said(state) == ("stopped", [why])
    assert role_of(state) == "none"


@pytest.mark.parametrize("why", STOPS)
def test_it_has_stopped_once_its_disk_knows_why(why: str) -> None:
    """Of a disk that has failed the mark, and of that no more than one try."""
    state = attrs.evolve(stand(Phase.STOPPED), why=why, persisting=METADATA)
    assert said(state) == ("stopped" if why == "store-failed" else "at-risk", [why])
    known = attrs.evolve(state, persisting=None)
    assert judge(known, mark_tried=False)[0] == ("at-risk" if why == "store-failed" else "stopped")


@pytest.mark.parametrize("flaw", ["copy-failed", "copy-went-back", "copy-incomplete"])
def test_a_copy_that_the_record_names_and_that_does_not_count_says_why(flaw: str) -> None:
    """Else each of two such nodes would send a person to the other one."""
    state = attrs.evolve(stand(Phase.OUTDATED), why=flaw)
    assert said(state) == ("at-risk", ["outdated", flaw])
    assert said(attrs.evolve(state, session=0)) == ("at-risk", ["outdated", flaw, "peer-lost"])
    assert said(attrs.evolve(state, why="source lost")) == ("at-risk", ["outdated"])


def holding(copy: Copy, phase: Phase = Phase.OUTDATED) -> PairState:
    state = stand(phase)
    return attrs.evolve(state, metadata=attrs.evolve(state.metadata, copy=copy))


@pytest.mark.parametrize("copy", Copy)
def test_a_copy_whose_resync_did_not_end_is_said_to_be_of_no_use_by_itself(copy: Copy) -> None:
    """Whoever looks for a copy to force must not take one for whole that is half overwritten."""
    state, whole = holding(copy), copy in {Copy.MEMBER, Copy.SEALED}
    assert said(state) == ("at-risk", ["outdated"] if whole else ["outdated", "copy-not-whole"])
    assert said(attrs.evolve(state, why="copy-incomplete"))[1] == ["outdated", "copy-incomplete"], "is said once"
    assert said(holding(copy, Phase.RESYNCING))[1] == ["resyncing"]


def test_a_target_whose_source_cannot_copy_all_of_it_says_so() -> None:
    for state, blocked, free in (
        (stand(Phase.RESYNCING), ["resync-blocked"], ["resyncing"]),
        (stand(Phase.OUTDATED), ["outdated"], ["outdated"]),
    ):
        assert [reason.value for reason in judge(state, source_blocked=True)[1]] == blocked
        assert [reason.value for reason in judge(state, source_blocked=False)[1]] == free


def test_no_reason_is_said_twice() -> None:
    assert len({reason.value for reason in Reason}) == len(Reason)


@pytest.mark.parametrize("phase", [Phase.ALONE, Phase.ADMITTING])
def test_source_says_that_it_resyncs(phase: Phase) -> None:
    state = attrs.evolve(stand(phase), resync=Resync(cursor=400))
    assert said(state) == ("degraded", ["resyncing"])


@pytest.mark.parametrize(("phase", "reason"), [(Phase.OUTDATED, "outdated"), (Phase.RESYNCING, "resyncing")])
def test_target_of_a_serving_source_is_degraded(phase: Phase, reason: str) -> None:
    for source, verdict in ((Phase.ALONE, "degraded"), (Phase.ADMITTING, "degraded"), (Phase.CLAIMING, "at-risk")):
        state = attrs.evolve(stand(phase), standing=Standing(epoch=1, revision=1, phase=source, partner=0))
        assert said(state) == (verdict, [reason])


@pytest.mark.parametrize(("phase", "role"), ROLES.items())
def test_role(phase: Phase, role: str) -> None:
    assert role_of(stand(phase)) == role


@pytest.mark.parametrize("phase", [Phase.SUSPENDED, Phase.CLAIMING])
@pytest.mark.parametrize(("primary", "role"), [("a", "primary"), ("b", "secondary")])
def test_role_while_it_is_open_is_that_of_the_record(phase: Phase, primary: str, role: str) -> None:
    assert role_of(stand(phase, primary=primary)) == role
