"""What ``replace``, ``resolve`` and ``adopt-arbiter`` plan is what they do, step by step, and what their log says."""

import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from ctlha_trio import store
from ctlha_trio.arbiter import SqliteArbiter
from ctlha_trio.cli import _adopt, _adopt_together
from ctlha_trio.door._decisions import DecisionLog
from ctlha_trio.pair import Copy, Metadata, Record
from ctlha_trio.seams import SwapAnswer
from tests.unit.cli.test_cli_adopt_together import Pair, fresh, keep_arbiter, lose_arbiter, pair
from tests.unit.cli.test_cli_stopped_node import ADOPT, Folder, folder, run, whole

__all__ = ["folder", "fresh", "pair", "whole"]
"""Fixtures."""

LOGGED = "the decision is logged"
ENDED = "how it ended is logged"
WRITTEN = "the record is written"
BOUND = "the copy is bound to it"
OTHERS = "the other node's copy"
Steps = list[tuple[str, str]]
"""What is done, and what is durable then."""


def steps_of(shown: str) -> Steps:
    """Of a dry run."""
    found = re.findall(r"^ ?\d+\. (.*)(?:\n    durable (.*))?", shown, re.MULTILINE)
    assert shown.splitlines()[-1] == "nothing was changed: --dry-run"
    return [(what, durable) for what, durable in found]


def by_the_command(steps: Steps) -> list[str]:
    """What the command itself does: what a person says comes before, and what the nodes do after."""
    names = [what for what, _ in steps if not what.startswith("a person says")]
    return names[: names.index(ENDED) + 1]


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps of commands, in the order in which they were done: each is entered when it is over."""
    found: list[str] = []
    append, cas = DecisionLog.append, SqliteArbiter.cas

    async def watched_log(self: DecisionLog, *, outcome: str, **fields: object) -> None:
        await append(self, outcome=outcome, **fields)
        found.append({"asked": LOGGED, "done": ENDED}[outcome])

    async def watched_cas(self: SqliteArbiter, expected_revision: int, record: Record) -> SwapAnswer:
        answer = await cas(self, expected_revision, record)
        found.append(WRITTEN)
        return answer

    monkeypatch.setattr(DecisionLog, "append", watched_log)
    monkeypatch.setattr(SqliteArbiter, "cas", watched_cas)
    return found


def also(monkeypatch: pytest.MonkeyPatch, done: list[str], module: Any, function: str, step: str) -> None:
    """A function of a command that does a step."""
    plain = getattr(module, function)

    async def watched(*arguments: Any, **named: Any) -> Any:
        result = await plain(*arguments, **named)
        done.append(step)
        return result

    monkeypatch.setattr(module, function, watched)


def test_the_steps_of_a_dry_run_are_read() -> None:
    shown = "x\n 1. one\n    durable here: it\n 2. two\n10. ten\n    durable there\nnothing was changed: --dry-run\n"
    assert steps_of(shown) == [("one", "here: it"), ("two", ""), ("ten", "there")]


# A copy that holds nothing.


@pytest.mark.parametrize("members", [("a",), ("a", "b")])
async def test_what_replace_plans_is_what_it_does(
    folder: Folder, members: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = await folder.set_members(*members)
    steps = steps_of((await run("replace", folder, "b", "--dry-run")).stdout)
    files: list[bool] = []
    append = DecisionLog.append

    async def watched(self: DecisionLog, *, outcome: str, **fields: object) -> None:
        files.append(folder.volume.exists())
        await append(self, outcome=outcome, **fields)

    monkeypatch.setattr(DecisionLog, "append", watched)
    assert (await run("replace", folder, "b")).exit_code == 0
    assert by_the_command(steps) == [LOGGED, "the backing file is made", ENDED]
    assert files == [False, True]
    assert folder.decided() == [("replace", "asked"), ("replace", "done")]
    assert dict(steps)["the backing file is made"] == "on node b: a copy that holds nothing, and says so"
    assert (await folder.metadata()).copy is Copy.FAILED
    await expect_unchanged(folder, record)
    expect_left_to_the_nodes(steps, members)


@pytest.mark.parametrize("members", [("a",), ("a", "b")])
async def test_what_resolve_plans_is_what_it_does(
    whole: Folder, members: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = await whole.set_members(*members)
    diverged = attrs.evolve(await whole.metadata(), lineage="another")
    await whole.write(diverged)
    steps = steps_of((await run("resolve", whole, "--discard", "b", "--dry-run")).stdout)
    copies: list[Copy] = []
    append = DecisionLog.append

    async def watched(self: DecisionLog, *, outcome: str, **fields: object) -> None:
        copies.append((await whole.metadata()).copy)
        await append(self, outcome=outcome, **fields)

    monkeypatch.setattr(DecisionLog, "append", watched)
    assert (await run("resolve", whole, "--discard", "b")).exit_code == 0
    assert by_the_command(steps) == [LOGGED, "the copy is marked", ENDED]
    assert copies == [Copy.MEMBER, Copy.FAILED]
    assert dict(steps)["the copy is marked"] == "on node b: that its copy holds nothing"
    assert [line["copy"]["lineage"] for line in lines_of(whole.decisions)] == ["another", "another"]
    await expect_unchanged(whole, record)
    expect_left_to_the_nodes(steps, members)


async def expect_unchanged(folder: Folder, record: Record) -> None:
    """The log has the record from which the plan begins, and the arbiter has it still."""
    assert (await (await folder.arbiter()).read()).record == record
    for line in lines_of(folder.decisions):
        assert (line["before"]["epoch"], tuple(line["before"]["members"])) == (record.epoch, record.members)
        assert (line["epoch"], "after" in line) == (record.epoch, False)


def expect_left_to_the_nodes(steps: Steps, members: tuple[str, ...]) -> None:
    """What is swapped when node b is started: a node that the record names, or might yet, is first gone on without."""
    swapped = "at the arbiter: the next epoch, primary a, members"
    moves = "goes on alone" if "b" in members else "moves the record, so that no forced swap comes late"
    assert steps[3:] == [
        ("a person starts node b", ""),
        (f"node a {moves}", f"{swapped} a"),
        ("everything is copied from node a", "on node b: first that it is being overwritten"),
        ("the record is swapped", f"{swapped} a b"),
    ]


# Another arbiter.


@pytest.mark.parametrize("lost", [False, True], ids=["went-back", "lost"])
async def test_what_adopting_alone_plans_is_what_it_does(
    whole: Folder, lost: bool, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = attrs.evolve(await whole.metadata(), epoch=7, revision=9, primary="b", members=("b",))
    await whole.write(ahead)
    if lost:
        (whole.path / "arbiter.db").unlink()
    steps = steps_of((await run("adopt-arbiter", whole, "--abandon", "a", "--dry-run")).stdout)
    also(monkeypatch, done, _adopt, "create_record", WRITTEN)
    also(monkeypatch, done, _adopt, "_bind", BOUND)
    assert (await run("adopt-arbiter", whole, *ADOPT)).exit_code == 0
    assert done == by_the_command(steps) == [LOGGED, WRITTEN, BOUND, ENDED]
    arbiter = await whole.arbiter()
    found, metadata = await arbiter.read(), await whole.metadata()
    for line in lines_of(whole.decisions):
        expect_written(steps, line["after"], found.record)
        assert (line["copy"]["epoch"], line["copy"]["lineage"]) == (ahead.epoch, ahead.lineage)
        assert found.record.lineage not in {line["copy"]["lineage"], (line["before"] or {}).get("lineage")}
    assert dict(steps)[BOUND] == f"on node b: epoch {metadata.epoch}, the new lineage, this arbiter"
    bound = metadata.epoch, metadata.lineage, metadata.arbiter, metadata.revision
    assert bound == (found.record.epoch, found.record.lineage, arbiter.identity, found.revision)


@pytest.mark.parametrize("arbiter", [lose_arbiter, keep_arbiter])
async def test_what_adopting_together_plans_is_what_both_do(
    pair: Pair,
    arbiter: Callable[[Pair], Awaitable[None]],
    done: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = {node: await pair.metadata(node) for node in ("a", "b")}
    await arbiter(pair)
    assert await pair.adopt("a") == {}
    shown = capsys.readouterr().out
    steps = steps_of(shown)
    also(monkeypatch, done, _adopt_together, "create_record", WRITTEN)
    watch_binding(monkeypatch, done)
    assert await pair.adopt() == {}
    others, primarys = f"{OTHERS} is bound to it", "the copy of node b is bound to it"
    assert list(dict.fromkeys(what for what, _ in steps)) == [LOGGED, WRITTEN, others, primarys, ENDED]
    # Each node logs it: the one that is bound first may also be the first to have done.
    assert [each for each in done if each not in {LOGGED, ENDED}] == [WRITTEN, others, primarys]
    assert (done[0], done[-1], done.count(LOGGED), done.count(ENDED)) == (LOGGED, ENDED, 2, 2)
    assert done.index(WRITTEN) > max(number for number, each in enumerate(done) if each == LOGGED)
    assert dict(steps)[LOGGED] == dict(steps)[ENDED] == "on both nodes: a line in decisions.jsonl"
    found = await pair.found()
    for node, known in before.items():
        for line in lines_of(pair.path / node / "decisions.jsonl"):
            expect_written(steps, line["after"], found.record)
        kept = attrs.evolve(await pair.metadata(node), arbiter=known.arbiter, revision=known.revision)
        assert kept == known, "the copy is bound, and nothing else of it is changed"


def watch_binding(monkeypatch: pytest.MonkeyPatch, done: list[str]) -> None:
    async def rewrite_metadata(disk: Any, path: str, metadata: Metadata, *, expected: Metadata) -> None:
        await store.rewrite_metadata(disk, path, metadata, expected=expected)
        primary = metadata.node == metadata.primary
        done.append(
            f"the copy of node {metadata.node} is bound to it" if primary else "the other node's copy is bound to it"
        )

    monkeypatch.setattr(_adopt_together, "rewrite_metadata", rewrite_metadata)


def expect_written(steps: Steps, logged: dict[str, Any], record: Record) -> None:
    """The plan, the log and the arbiter name the same."""
    planned = dict(steps)[WRITTEN].removesuffix(", a new lineage")
    members = " ".join(record.members)
    assert planned == f"at the arbiter: epoch {record.epoch}, primary {record.primary}, members {members}"
    found = logged["epoch"], logged["primary"], tuple(logged["members"]), logged["lineage"], logged["proposal"]
    assert found == (record.epoch, record.primary, record.members, record.lineage, record.proposal)
