"""The status socket, over real sockets."""

import json
import logging
import math
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from ctlha_trio._errors import (
    ConfigError,
    CtlHaError,
    DisconnectError,
    FailedError,
    InvalidError,
    RoleStaysError,
    TurnedAwayError,
    UnknownOutcomeError,
)
from ctlha_trio.door import (
    DECISIONS_FILE,
    STATUS_SOCKET,
    Door,
    Fencing,
    Reply,
    _status as status_door,
    failover_plan_of,
    force_plan_of,
    force_primary_of,
    status_of,
    switchover_of,
    switchover_plan_of,
    verify_of,
)
from ctlha_trio.door._asking import STATUS_S
from ctlha_trio.door._forcing import OWED_FILE
from ctlha_trio.door._record_log import name_of
from ctlha_trio.door._sockets import BoundSocket
from ctlha_trio.ha import Notice, Rehearsal, Status, booting_status
from ctlha_trio.ha._transitions import Transition
from ctlha_trio.pair import FailoverObstacle, FailoverPlan, HandoverPlan, Obstacle, OperationKind, Plan, Record
from ctlha_trio.seams import Buffer, FenceAnswer, FenceOutcome, TrioClock

BEFORE = Record(cluster="c", resource="r", epoch=4, lineage="l", primary="b", members=("b",), proposal="p")
AFTER = BEFORE.fork(primary="a", lineage="m", proposal="q")
PLAN = Plan(before=BEFORE, revision=9, after=AFTER, copy_epoch=3)
READY = HandoverPlan(obstacles=(), steps=(), before=BEFORE, revision=9, after=None)
REFUSED = attrs.evolve(READY, obstacles=(Obstacle.PEER_LOST,))


Follower = Callable[[Record | None, Record, int, str], None]


STATUS = attrs.evolve(
    booting_status("a", ("loop-stalled",)), verdict="protected", transitions=(Transition(1.5, "lost", 4),)
)


@attrs.define(eq=False)
class TalkingNode:
    decisions: Path
    refusal: CtlHaError | None = None
    switched: int = 0
    forced: int = 0
    followers: list[Follower] = attrs.Factory(list)
    revision: int = 9
    notify: Callable[[Notice], None] | None = None
    is_lonely: bool = False
    logged: str = ""
    """What the log of decisions said when it was asked."""

    async def submit(
        self,
        kind: OperationKind,
        *,
        client: int,
        number: int,
        offset: int = 0,
        size: int = 0,
        data: Buffer = b"",
        key: str = "",
    ) -> Reply:
        raise AssertionError("nobody asked for an operation")

    def status(self) -> Status:
        return STATUS

    async def switchover(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.refusal is not None:
            raise self.refusal
        self.switched += 1

    def follow_notices(self, follow: Callable[[Notice], None]) -> None:
        self.notify = follow

    def follow_records(self, follow: Follower) -> None:
        self.followers.append(follow)

    def act_on(self, before: Record | None, after: Record, revision: int, why: str) -> None:
        for follow in self.followers:
            follow(before, after, revision, why)

    def rehearse_failover(self) -> FailoverPlan:
        return FailoverPlan(obstacle=FailoverObstacle.OUTDATED, steps=(), before=BEFORE, revision=9, after=None)

    def rehearse_switchover(self) -> Rehearsal:
        plan = attrs.evolve(REFUSED if self.is_lonely else READY, revision=self.revision)
        return Rehearsal(plan=plan, accepted=not self.is_lonely, pause_s=None)

    @property
    def lineage(self) -> str:
        return BEFORE.lineage

    def verify(self) -> int:
        if self.refusal is not None:
            raise self.refusal
        return 7

    def plan_force(self, abandon: str) -> Plan:
        if abandon != "b":
            raise InvalidError(f"there is no {abandon}")
        return PLAN

    async def force_primary(self, plan: Plan) -> None:
        assert plan is PLAN
        self.logged = self.decisions.read_text()
        await trio.lowlevel.checkpoint()
        if self.refusal is not None:
            raise self.refusal
        self.forced += 1


@attrs.frozen
class Served:
    node: TalkingNode
    path: Path


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    node = TalkingNode(tmp_path / DECISIONS_FILE)
    door = Door(tmp_path, TrioClock())
    component = door.component(node)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(door.run)
            await component.init(component)
            yield Served(node, tmp_path / STATUS_SOCKET)
            nursery.cancel_scope.cancel()


async def converse(path: Path, sent: bytes) -> bytes:
    """Send, end the sending, and return everything that comes back."""
    async with await trio.open_unix_socket(os.fspath(path)) as stream:
        await stream.send_all(sent)
        await stream.send_eof()
        received = b""
        try:
            async for chunk in stream:
                received += chunk
        except trio.BrokenResourceError:
            pass
        return received


@pytest.mark.parametrize("timeout_s", [math.nan, -1.0])
async def test_nobody_is_asked_in_a_time_that_cannot_be(served: Served, timeout_s: float) -> None:
    """Of a change that was not asked for nothing is unknown."""
    for ask in (status_of, switchover_of):
        with pytest.raises(InvalidError):
            await ask(served.path, timeout_s=timeout_s)


async def test_status_answers_before_the_node_was_ever_started(served: Served) -> None:
    status = await status_of(served.path)
    assert status == json.loads(json.dumps(attrs.asdict(STATUS)))
    assert (status["state"], status["reasons"]) == ("CTL_HA_STATE_UNKNOWN", ["booting"])
    assert (status["notes"], status["fence_owed"]) == (["loop-stalled"], None)
    assert status["transitions"] == [{"at_s": 1.5, "what": "lost", "epoch": 4}]


@attrs.frozen
class HangingFencer:
    """Of which nobody ever hears."""

    description: str = "power-off"

    async def fence(self, node: str, resource: str, epoch: int) -> FenceAnswer:
        await trio.sleep_forever()
        raise AssertionError("never")


@pytest.mark.parametrize(
    ("content", "owed"), [(b'{"abandon": "b", "revision": 9, "lineage": "line"}\n', "b"), (b"?", "")]
)
async def test_a_fence_that_is_owed_stands_in_the_status(tmp_path: Path, content: bytes, owed: str) -> None:
    """By what the process before has left; of a file that cannot be read nobody knows which one."""
    (tmp_path / OWED_FILE).write_bytes(content)
    node = TalkingNode(tmp_path / DECISIONS_FILE)
    door = Door(tmp_path, TrioClock(), Fencing(HangingFencer(), TrioClock()))
    component = door.component(node)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(door.run)
            await component.init(component)
            while (status := await status_of(tmp_path / STATUS_SOCKET))["fence_owed"] is None:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    assert (status["fence_owed"], status["notes"]) == (owed, ["loop-stalled", "fence-owed"])


@attrs.frozen
class UnsureFencer:
    """Whose answer is of no use."""

    description: str = "power-off"

    async def fence(self, node: str, resource: str, epoch: int) -> FenceAnswer:
        await trio.lowlevel.checkpoint()
        return FenceAnswer(FenceOutcome.UNKNOWN, "no answer")


async def test_a_fence_is_owed_until_the_node_acts_on_another_record(tmp_path: Path) -> None:
    node = TalkingNode(tmp_path / DECISIONS_FILE)
    door = Door(tmp_path, TrioClock(), Fencing(UnsureFencer(), TrioClock()))
    component = door.component(node)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(door.run)
            await component.init(component)
            with pytest.raises(FailedError, match="no answer"):
                await force_primary_of(tmp_path / STATUS_SOCKET, "b", revision=9, fence=True)
            assert (tmp_path / OWED_FILE).exists()
            node.revision = 10
            node.act_on(BEFORE, BEFORE.succeed(primary="b", members=("a", "b"), proposal="2"), 10, "back")
            while (tmp_path / OWED_FILE).exists():
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()


async def test_a_verification_is_known_by_its_number(served: Served) -> None:
    assert await verify_of(served.path) == 7
    served.node.refusal = FailedError("not the primary")
    with pytest.raises(FailedError, match="not the primary"):
        await verify_of(served.path)


async def test_a_switchover_that_succeeds(served: Served) -> None:
    await switchover_of(served.path)
    assert served.node.switched == 1


async def test_a_switchover_that_is_refused_says_why(served: Served) -> None:
    served.node.refusal = FailedError("the peer is away")
    with pytest.raises(FailedError, match="the peer is away"):
        await switchover_of(served.path)


@pytest.mark.parametrize("causes", [("arbiter-refuses",), ()])
async def test_a_switchover_that_is_given_up_names_its_causes(served: Served, causes: tuple[str, ...]) -> None:
    served.node.refusal = RoleStaysError(causes, "given up")
    with pytest.raises(RoleStaysError, match="given up") as refused:
        await switchover_of(served.path)
    assert refused.value.causes == causes


async def test_a_switchover_of_which_the_node_does_not_know_how_it_ended_says_so(served: Served) -> None:
    served.node.refusal = UnknownOutcomeError("SIGTERM, while the arbiter was asked")
    with pytest.raises(UnknownOutcomeError, match="SIGTERM, while the arbiter was asked"):
        await switchover_of(served.path)
    lines = lines_of(served.node.decisions.read_text())
    assert [line["outcome"] for line in lines] == ["asked", "unknown: SIGTERM, while the arbiter was asked"]


async def test_a_switchover_that_cannot_be_logged_is_not_begun_and_names_that(served: Served) -> None:
    served.node.decisions.mkdir()
    with pytest.raises(RoleStaysError, match=DECISIONS_FILE) as refused:
        await switchover_of(served.path)
    assert refused.value.causes == ("decision-not-logged",)
    assert not served.node.switched


async def test_a_switchover_is_logged_before_and_after(served: Served) -> None:
    await switchover_of(served.path)
    served.node.refusal = FailedError("the peer is away")
    with pytest.raises(FailedError):
        await switchover_of(served.path)
    lines = lines_of(served.node.decisions.read_text())
    assert [line["outcome"] for line in lines] == ["asked", "done", "asked", "failed: the peer is away"]
    assert {(line["decision"], line["epoch"], line["revision"]) for line in lines} == {("switchover", 4, 9)}


async def test_a_command_and_the_record_that_it_led_to_are_two_decisions(served: Served) -> None:
    """Each is done once: the role is handed over by a person, by policy or for a component, always by such a record."""
    await switchover_of(served.path)
    handed = BOTH_B.succeed(primary="a", members=("a", "b"), proposal="2")
    served.node.act_on(BOTH_B, handed, 10, "handed over")
    lines = await wait_lines(served.node.decisions, 3)
    assert [(line["decision"], line["outcome"]) for line in lines] == [
        ("switchover", "asked"),
        ("switchover", "done"),
        ("handover", "done"),
    ]


async def wait_lines(path: Path, count: int) -> list[dict[str, object]]:
    while True:
        lines = lines_of(await trio.Path(path).read_text()) if await trio.Path(path).exists() else []
        if len(lines) >= count:
            return lines
        await trio.lowlevel.checkpoint()


async def test_what_the_node_decides_by_itself_is_logged_with_epoch_and_revision(served: Served) -> None:
    follow = served.node.act_on
    both = BEFORE.succeed(primary="b", members=("a", "b"), proposal="2")
    alone = both.succeed(primary="a", members=("a",), proposal="3")
    for before, after in ((None, BEFORE), (BEFORE, both), (both, alone)):
        follow(before, after, after.epoch + 5, f"why {after.epoch}")
    lines = await wait_lines(served.node.decisions, 3)
    assert [(line["decision"], line["epoch"], line["revision"], line["why"]) for line in lines] == [
        ("found", 4, 9, "why 4"),
        ("admit", 5, 10, "why 5"),
        ("take-over", 6, 11, "why 6"),
    ]
    assert lines[2]["after"] == {
        **attrs.asdict(alone),
        "kind": "mirror",
        "members": ["a"],
        "ancestors": [],
        "unknown": [],
    }


async def test_a_log_that_cannot_be_written_holds_up_nothing(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    served.node.decisions.mkdir()
    follow = served.node.act_on
    follow(None, BEFORE, 9, "booted")
    while "epoch 4 is not in the log of decisions" not in caplog.text:
        await trio.lowlevel.checkpoint()
    served.node.decisions.rmdir()
    follow(None, AFTER, 10, "forced")
    assert (await wait_lines(served.node.decisions, 1))[0]["epoch"] == 5
    assert (await status_of(served.path))["verdict"] == "protected"


ALONE_B = BEFORE.succeed(primary="b", members=("b",), proposal="4")
BOTH_B = BEFORE.succeed(primary="b", members=("a", "b"), proposal="5")


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        (None, BEFORE, "found"),
        (BEFORE, AFTER, "force"),
        (BEFORE, BOTH_B, "admit"),
        (BOTH_B, BOTH_B.succeed(primary="b", members=("b",), proposal="6"), "go-alone"),
        (BOTH_B, BOTH_B.succeed(primary="a", members=("a",), proposal="6"), "take-over"),
        (BOTH_B, BOTH_B.succeed(primary="a", members=("a", "b"), proposal="6"), "handover"),
        (BEFORE, ALONE_B, "go-on"),
    ],
)
def test_each_change_has_a_name(before: Record | None, after: Record, name: str) -> None:
    assert name_of(before, after) == name


async def test_a_rehearsal_is_shown_and_nothing_is_done(served: Served) -> None:
    served.node.is_lonely = True
    rehearsal = await switchover_plan_of(served.path)
    assert (rehearsal["accepted"], rehearsal["pause_s"]) == (False, None)
    plan = rehearsal["plan"]
    assert isinstance(plan, dict)
    assert (plan["obstacles"], plan["steps"], plan["after"], plan["revision"]) == (["peer-lost"], [], None, 9)
    assert not served.node.switched
    assert not served.node.decisions.exists()


async def test_a_failover_is_rehearsed(served: Served) -> None:
    plan = await failover_plan_of(served.path)
    assert (plan["obstacle"], plan["steps"], plan["after"], plan["revision"]) == ("outdated", [], None, 9)
    assert not served.node.decisions.exists()


async def test_a_plan_is_shown_and_nothing_is_done(served: Served) -> None:
    plan = await force_plan_of(served.path, "b")
    assert (plan["revision"], plan["fence_command"]) == (9, "")
    assert plan["before"] == {
        **attrs.asdict(BEFORE),
        "kind": "mirror",
        "members": ["b"],
        "ancestors": [],
        "unknown": [],
    }
    with pytest.raises(FailedError, match="there is no c"):
        await force_plan_of(served.path, "c")
    assert not served.node.forced
    assert not served.node.decisions.exists()


def lines_of(log: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.splitlines()]


async def test_what_is_forced_is_logged_before_and_after(served: Served) -> None:
    await force_primary_of(served.path, "b", revision=9)
    assert served.node.forced == 1
    (asked,) = lines_of(served.node.logged)
    assert datetime.fromisoformat(str(asked.pop("at"))) <= datetime.now(UTC)
    assert asked.pop("before") == (await force_plan_of(served.path, "b"))["before"]
    assert asked.pop("after") == (await force_plan_of(served.path, "b"))["after"]
    assert asked == {
        "uid": os.getuid(),
        "outcome": "asked",
        "decision": "force-primary",
        "abandon": "b",
        "revision": 9,
        "epoch": 4,
        "fence": "none",
    }
    log = served.node.decisions
    assert [line["outcome"] for line in lines_of(log.read_text())] == ["asked", "done"]
    assert log.stat().st_mode & 0o777 == 0o600
    served.node.refusal = FailedError("the arbiter is away")
    with pytest.raises(FailedError, match="the arbiter is away"):
        await force_primary_of(served.path, "b", revision=9)
    outcomes = [line["outcome"] for line in lines_of(log.read_text())]
    assert outcomes == ["asked", "done", "asked", "failed: the arbiter is away"]


async def test_a_record_that_was_not_shown_is_not_forced(served: Served) -> None:
    with pytest.raises(FailedError, match="the record has changed since it was shown"):
        await force_primary_of(served.path, "b", revision=8)
    assert not served.node.forced
    (line,) = await wait_lines(served.node.decisions, 1)
    assert (line["decision"], line["outcome"]) == ("force-primary", "refused")
    assert line["why"] == "the record has changed since it was shown"


async def test_a_command_that_is_refused_each_second_is_one_line(served: Served) -> None:
    served.node.is_lonely = True
    served.node.refusal = FailedError("not the primary of two members")
    for _ in range(20):
        with pytest.raises(FailedError, match="nothing was handed over: peer-lost"):
            await switchover_of(served.path)
        with pytest.raises(FailedError, match="not the primary of two members"):
            await verify_of(served.path)
    assert not served.node.switched
    lines = await wait_lines(served.node.decisions, 2)
    assert [(line["decision"], line["outcome"], line["epoch"], line["revision"], line["why"]) for line in lines] == [
        ("switchover", "refused", 4, 9, "nothing was handed over: peer-lost"),
        ("verify", "refused", 4, 9, "not the primary of two members"),
    ]


async def test_stops_and_refusals_of_the_node_are_logged_to_the_end(tmp_path: Path) -> None:
    """What is still to be written when the node has ended is written, and how often something was refused."""
    node = TalkingNode(tmp_path / DECISIONS_FILE)
    door = Door(tmp_path, TrioClock())
    component = door.component(node)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(door.run)
        assert component.init is not None
        await component.init(component)
        await wait_all_tasks_blocked()
        assert node.notify is not None
        for port in range(1000):
            refused = f"127.0.0.1:{port}: twin"
            node.notify(Notice(what="peer", outcome="refused", why=refused, kind="twin", epoch=4, revision=9))
        node.notify(Notice(what="stop", outcome="asked", why="SIGTERM", epoch=4, revision=9))
        nursery.cancel_scope.cancel()
    lines = lines_of(node.decisions.read_text())
    assert [(line["decision"], line["outcome"], line["why"], line.get("count")) for line in lines] == [
        ("peer", "refused", "127.0.0.1:0: twin", None),
        ("stop", "asked", "SIGTERM", None),
        ("peer", "refused", "127.0.0.1:999: twin", 1000),
    ]


async def test_what_cannot_be_logged_is_not_forced(served: Served) -> None:
    served.node.decisions.mkdir()
    with pytest.raises(FailedError, match=DECISIONS_FILE):
        await force_primary_of(served.path, "b", revision=9)
    assert not served.node.forced


async def ask_for_a_switchover(path: Path) -> None:
    await switchover_of(path, timeout_s=0.1)


async def ask_to_force(path: Path) -> None:
    await force_primary_of(path, "b", revision=9, timeout_s=0.1)


@pytest.mark.parametrize("ask", [ask_for_a_switchover, ask_to_force])
async def test_a_node_that_is_frozen_is_not_asked_for_a_change(
    ask: Callable[[Path], Awaitable[None]], tmp_path: Path, autojump_clock: MockClock
) -> None:
    # It takes connections, as a stopped process does, and reads nothing.
    bound = BoundSocket.bind(tmp_path / STATUS_SOCKET)
    try:
        with pytest.raises(DisconnectError, match=f"no answer within {STATUS_S:g} s"):
            await ask(tmp_path / STATUS_SOCKET)
        assert trio.current_time() < STATUS_S + 1
        async with await bound.listener.accept() as stream:
            assert b"switchover" not in (sent := await stream.receive_some())
            assert b"force" not in sent
    finally:
        bound.close()


@pytest.mark.parametrize("ask", [ask_for_a_switchover, ask_to_force])
async def test_nobody_knows_how_a_change_ended_of_a_node_that_froze_when_it_was_asked(
    ask: Callable[[Path], Awaitable[None]], tmp_path: Path
) -> None:
    bound = BoundSocket.bind(tmp_path / STATUS_SOCKET)

    async def answer_once() -> None:
        async with await bound.listener.accept() as stream:
            await stream.receive_some()
            await stream.send_all(b'{"ok": true, "status": {}}\n')
            await trio.sleep_forever()

    try:
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(answer_once)
                with pytest.raises(UnknownOutcomeError, match=r"no answer within 0\.1 s"):
                    await ask(tmp_path / STATUS_SOCKET)
                nursery.cancel_scope.cancel()
    finally:
        bound.close()


FORCE = b'{"request": "force-primary", "abandon": "b", "revision": 9, "fence": false}'


@pytest.mark.parametrize("request_line", [b'{"request": "switchover"}', FORCE])
async def test_nothing_is_begun_for_whoever_has_left(served: Served, request_line: bytes) -> None:
    """As where a node goes on that was frozen when it was asked."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(os.fspath(served.path))
        client.sendall(request_line + b"\n")
    await wait_all_tasks_blocked()
    assert (await status_of(served.path))["verdict"] == "protected"
    assert (served.node.switched, served.node.forced, served.node.decisions.exists()) == (0, 0, False)


@pytest.mark.parametrize("ask", [ask_for_a_switchover, ask_to_force])
async def test_what_no_node_was_asked_for_is_known_not_to_be_done(
    ask: Callable[[Path], Awaitable[None]], tmp_path: Path
) -> None:
    with pytest.raises(DisconnectError, match="no node listens there"):
        await ask(tmp_path / STATUS_SOCKET)


async def test_several_requests_on_one_connection(served: Served) -> None:
    answers = await converse(served.path, b'{"request": "status"}\n{"request": "switchover"}\n')
    assert [json.loads(line)["ok"] for line in answers.splitlines()] == [True, True]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"status",
        b"[]",
        b"7",
        b'{"request": "reboot"}',
        b'{"request": []}',
        b"\xff\xfe",
        b"[" * 4000,
        b'{"request": "plan-force"}',
        b'{"request": "plan-force", "abandon": 7}',
        b'{"request": "force-primary", "abandon": "b"}',
        b'{"request": "force-primary", "abandon": "b", "revision": "9", "fence": false}',
        b'{"request": "force-primary", "abandon": "b", "revision": 9, "fence": "yes"}',
    ],
)
async def test_anything_else_is_answered_with_what_there_is(served: Served, line: bytes) -> None:
    answer = json.loads(await converse(served.path, line + b"\n"))
    assert answer["ok"] is False
    assert "switchover" in answer["error"]
    assert served.node.switched == 0


async def test_a_line_without_end_is_closed(served: Served) -> None:
    assert await converse(served.path, b"x" * 5000) == b""


async def test_a_line_that_never_ends_is_closed_after_its_time(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_door, "LINE_S", 0.05)
    async with await trio.open_unix_socket(os.fspath(served.path)) as stream:
        await stream.send_all(b'{"request"')
        assert await stream.receive_some() == b""


async def test_another_user_is_told_whose_node_it_is_even_root(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    uid = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    for ask in (status_of, switchover_of, verify_of):
        with pytest.raises(ConfigError, match=r"access is denied: ask as the user whose node it is$"):
            await ask(served.path)
    assert served.node.switched == 0


async def test_the_ninth_who_asks_is_told_why_there_is_no_answer(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    async with trio.open_nursery() as nursery:
        streams = [await trio.open_unix_socket(os.fspath(served.path)) for _ in range(8)]
        await wait_all_tasks_blocked()
        for _ in range(20):
            with pytest.raises(TurnedAwayError, match="8 connections are open already, which is the limit") as raised:
                await status_of(served.path)
            assert raised.value.reason == "too-many-connections"
        with pytest.raises(TurnedAwayError):
            await switchover_of(served.path)
        for stream in streams:
            nursery.start_soon(stream.aclose)
    await wait_all_tasks_blocked()
    assert (await status_of(served.path))["verdict"] == "protected"
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        "closed a connection to the status socket: 8 connections are open already, which is the limit"
    ]


async def test_junk_is_one_line(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(20):
        assert await converse(served.path, b"x" * 5000) == b""
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO] == [
        "closed a connection to the status socket: line too long"
    ]


async def test_no_node_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(DisconnectError, match="no node listens there"):
        await status_of(tmp_path / STATUS_SOCKET)


async def test_a_node_that_accepts_and_says_nothing_is_no_answer(tmp_path: Path) -> None:
    path = tmp_path / STATUS_SOCKET
    bound = BoundSocket.bind(path)
    with pytest.raises(DisconnectError, match=r"no answer within 0.05 s"):
        await status_of(path, timeout_s=0.05)
    bound.close()


@pytest.mark.parametrize(
    "answer", [b"nonsense\n", b"[]\n", b"[" * 2000 + b"\n", b'{"ok": true}\n', b"x" * 300_000, b""]
)
async def test_an_answer_that_is_none(tmp_path: Path, answer: bytes) -> None:
    path = tmp_path / STATUS_SOCKET
    bound = BoundSocket.bind(path)

    async def answer_once() -> None:
        async with await bound.listener.accept() as stream:
            await stream.receive_some()
            with suppress(trio.BrokenResourceError):
                await stream.send_all(answer)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer_once)
            with pytest.raises(DisconnectError):
                await status_of(path)
    bound.close()
