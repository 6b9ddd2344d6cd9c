"""The status socket, over real sockets."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ctlha_trio._errors import CtlHaError, DisconnectError, FailedError, InvalidError
from ctlha_trio._vocabulary import ctl_ha_state
from ctlha_trio.door import (
    DECISIONS_FILE,
    STATUS_SOCKET,
    Door,
    Reply,
    _status as status_door,
    force_plan_of,
    force_primary_of,
    status_of,
    switchover_of,
)
from ctlha_trio.door._sockets import BoundSocket
from ctlha_trio.pair import OperationKind, Plan, Record
from ctlha_trio.seams import Buffer

BEFORE = Record(cluster="c", resource="r", epoch=4, lineage="l", primary="b", members=("b",), proposal="p")
AFTER = BEFORE.fork(primary="a", lineage="m", proposal="q")
PLAN = Plan(before=BEFORE, revision=9, after=AFTER, copy_epoch=3)


class Verdict(Enum):
    PROTECTED = "protected"


@attrs.frozen
class Transition:
    at_s: float
    what: str


@attrs.frozen
class Status:
    verdict: Verdict = Verdict.PROTECTED
    state: ctl_ha_state = ctl_ha_state.CTL_HA_STATE_HA
    reasons: tuple[str, ...] = ("no-peer",)
    transitions: tuple[Transition, ...] = (Transition(1.5, "lost"),)


@attrs.define(eq=False)
class TalkingNode:
    decisions: Path
    refusal: CtlHaError | None = None
    switched: int = 0
    forced: int = 0
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
        return Status()

    async def switchover(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.refusal is not None:
            raise self.refusal
        self.switched += 1

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
    door = Door(tmp_path)
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


async def test_status_answers_before_the_node_was_ever_started(served: Served) -> None:
    assert await status_of(served.path) == {
        "verdict": "protected",
        "state": "CTL_HA_STATE_HA",
        "reasons": ["no-peer"],
        "transitions": [{"at_s": 1.5, "what": "lost"}],
    }


async def test_a_switchover_that_succeeds(served: Served) -> None:
    await switchover_of(served.path)
    assert served.node.switched == 1


async def test_a_switchover_that_is_refused_says_why(served: Served) -> None:
    served.node.refusal = FailedError("the peer is away")
    with pytest.raises(FailedError, match="the peer is away"):
        await switchover_of(served.path)


async def test_a_plan_is_shown_and_nothing_is_done(served: Served) -> None:
    plan = await force_plan_of(served.path, "b")
    assert plan["revision"] == 9
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
    assert not served.node.decisions.exists()


async def test_what_cannot_be_logged_is_not_forced(served: Served) -> None:
    served.node.decisions.mkdir()
    with pytest.raises(FailedError, match=DECISIONS_FILE):
        await force_primary_of(served.path, "b", revision=9)
    assert not served.node.forced


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
        b'{"request": "plan-force"}',
        b'{"request": "plan-force", "abandon": 7}',
        b'{"request": "force-primary", "abandon": "b"}',
        b'{"request": "force-primary", "abandon": "b", "revision": "9"}',
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


async def test_another_user_gets_no_answer(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    uid = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    with pytest.raises(DisconnectError):
        await status_of(served.path)


async def test_the_ninth_connection_is_closed(served: Served) -> None:
    async with trio.open_nursery() as nursery:
        streams = [await trio.open_unix_socket(os.fspath(served.path)) for _ in range(8)]
        await wait_all_tasks_blocked()
        with pytest.raises(DisconnectError):
            await status_of(served.path)
        for stream in streams:
            nursery.start_soon(stream.aclose)
    await wait_all_tasks_blocked()
    assert (await status_of(served.path))["verdict"] == "protected"


async def test_no_node_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(DisconnectError, match="no node listens there"):
        await status_of(tmp_path / STATUS_SOCKET)


async def test_a_node_that_accepts_and_says_nothing_is_no_answer(tmp_path: Path) -> None:
    path = tmp_path / STATUS_SOCKET
    bound = BoundSocket.bind(path)
    with pytest.raises(DisconnectError, match=r"no answer within 0.05 s"):
        await status_of(path, timeout_s=0.05)
    bound.close()


@pytest.mark.parametrize("answer", [b"nonsense\n", b"[]\n", b'{"ok": true}\n', b"x" * 300_000, b""])
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
