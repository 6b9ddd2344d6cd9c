"""The SQLite arbiter among processes: rivals, and kills at any moment."""

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

import ctlha_trio
from ctlha_trio.arbiter import SqliteArbiter, create_sqlite_arbiter
from ctlha_trio.pair import SwapOutcome
from ctlha_trio.testing._suites.arbiter_suite import sample_record

LAST_REVISION = 60

RIVAL = """
import json, sys, trio
from ctlha_trio._errors import ArbiterError
from ctlha_trio.arbiter import SqliteArbiter
from ctlha_trio.pair import SwapOutcome

async def main(path, name, last_revision):
    arbiter = await SqliteArbiter.open(path, cluster="cluster", resource="volume")
    print("ready", flush=True)
    sys.stdin.readline()
    won, outcomes = [], set()
    while True:
        try:
            found = await arbiter.read()
        except ArbiterError:
            continue
        if found.revision >= last_revision:
            break
        proposal = f"{name}-{found.revision + 1}"
        record = found.record.succeed(primary="a", members=("a",), proposal=proposal)
        answer = await arbiter.cas(found.revision, record)
        outcomes.add(answer.outcome.value)
        if answer.outcome is SwapOutcome.WON:
            won.append(answer.revision)
    print(json.dumps([won, sorted(outcomes)]), flush=True)

trio.run(main, sys.argv[2], sys.argv[1], int(sys.argv[3]))
"""

SWAPPER = """
import sys, trio
from ctlha_trio.arbiter import SqliteArbiter

async def main(path):
    arbiter = await SqliteArbiter.open(path, cluster="cluster", resource="volume")
    while True:
        found = await arbiter.read()
        record = found.record.succeed(primary="a", members=("a",), proposal=str(found.revision + 1))
        answer = await arbiter.cas(found.revision, record)
        print(answer.revision, flush=True)

trio.run(main, sys.argv[1])
"""

HALF_WAY = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE arbiter SET revision = 999")
connection.execute("UPDATE record SET body = 'half'")
connection.execute("CREATE TABLE bulk (content)")
connection.executemany("INSERT INTO bulk VALUES (randomblob(4000))", [()] * 200)
print("spilled", flush=True)
sys.stdin.readline()
"""


@asynccontextmanager
async def started(script: str, *arguments: str) -> AsyncIterator[trio.Process]:
    """A Python process that runs ``script``; dead when the block ends."""
    environment = {**os.environ, "PYTHONPATH": str(Path(ctlha_trio.__file__).parent.parent)}
    process: trio.Process = await trio.lowlevel.open_process(
        [sys.executable, "-c", script, *arguments], stdin=-1, stdout=-1, env=environment
    )
    try:
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                await pipe.aclose()


async def read_lines(process: trio.Process, count: int) -> list[str]:
    assert process.stdout is not None
    received = b""
    while received.count(b"\n") < count:
        piece = await process.stdout.receive_some()
        assert piece, f"the process ended after {received!r}"
        received += piece
    return received.decode().splitlines()


async def kill(process: trio.Process) -> str:
    """Kill it, return the rest of its output."""
    process.kill()
    await process.wait()
    assert process.stdout is not None
    return b"".join([piece async for piece in process.stdout]).decode()


async def let_go(process: trio.Process) -> None:
    assert process.stdin is not None
    await process.stdin.send_all(b"go\n")


async def open_arbiter(path: Path) -> SqliteArbiter:
    return await SqliteArbiter.open(path, cluster="cluster", resource="volume")


async def test_two_processes_never_win_the_same_revision(tmp_path: Path) -> None:
    path = tmp_path / "arbiter.sqlite"
    create_sqlite_arbiter(path, sample_record())
    arguments = str(path), str(LAST_REVISION)
    with trio.fail_after(60):
        async with started(RIVAL, "a", *arguments) as a, started(RIVAL, "b", *arguments) as b:
            for rival in (a, b):
                assert await read_lines(rival, 1) == ["ready"]
            for rival in (a, b):
                await let_go(rival)
            reports = {name: json.loads((await read_lines(rival, 1))[0]) for name, rival in (("a", a), ("b", b))}
        last = await (await open_arbiter(path)).read()
    won = {name: report[0] for name, report in reports.items()}
    assert not set(won["a"]) & set(won["b"])
    if not any("unknown" in report[1] for report in reports.values()):
        assert sorted(won["a"] + won["b"]) == list(range(2, LAST_REVISION + 1))
    assert last.revision == LAST_REVISION
    assert last.record.epoch == 7 + LAST_REVISION - 1
    for name, revisions in won.items():
        if last.revision in revisions:
            assert last.record.proposal == f"{name}-{last.revision}"


async def test_killed_with_half_a_transaction_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "arbiter.sqlite"
    identity = create_sqlite_arbiter(path, sample_record())
    size_bytes = path.stat().st_size
    with trio.fail_after(60):
        async with started(HALF_WAY, str(path)) as process:
            assert await read_lines(process, 1) == ["spilled"]
        assert path.stat().st_size > size_bytes, "nothing reached the file: this proves nothing"
        assert path.with_name(path.name + "-journal").exists()
        arbiter = await open_arbiter(path)
        found = await arbiter.read()
        assert (arbiter.identity, found.revision, found.record) == (identity, 1, sample_record())
        assert (await arbiter.cas(1, sample_record(epoch=8))).outcome is SwapOutcome.WON


@pytest.mark.parametrize("swaps_before_kill", [1, 2, 3, 5, 8])
async def test_killed_among_swaps_loses_none_that_was_answered(tmp_path: Path, swaps_before_kill: int) -> None:
    path = tmp_path / "arbiter.sqlite"
    create_sqlite_arbiter(path, sample_record())
    with trio.fail_after(60):
        async with started(SWAPPER, str(path)) as process:
            lines = await read_lines(process, swaps_before_kill)
            lines += (await kill(process)).splitlines()
        arbiter = await open_arbiter(path)
        found = await arbiter.read()
        answered = max(int(line) for line in lines)
        assert answered <= found.revision <= answered + 1
        assert found.record.proposal == str(found.revision)
        assert (await arbiter.cas(found.revision, sample_record(epoch=8))).outcome is SwapOutcome.WON
