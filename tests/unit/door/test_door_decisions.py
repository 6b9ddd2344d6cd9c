"""The log of decisions is whole lines, whatever the disk does."""

import errno
import json
import os
import resource
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from ctlha_trio._errors import StoreError
from ctlha_trio.door._decisions import DecisionLog


async def apart(call: Callable[[], Awaitable[object]]) -> None:
    """In a thread that is given up when the time is over: what waits for a pipe cannot be cancelled."""
    await trio.to_thread.run_sync(trio.run, call, abandon_on_cancel=True)


@pytest.mark.parametrize("is_read", [False, True], ids=["nobody", "somebody"])
async def test_a_named_pipe_in_its_place_is_refused_and_waited_for_by_nobody(tmp_path: Path, is_read: bool) -> None:
    log = DecisionLog(tmp_path / "decisions.jsonl")
    os.mkfifo(log.path)
    reader = os.open(log.path, os.O_RDONLY | os.O_NONBLOCK) if is_read else None
    refused = pytest.raises(StoreError, match=r"decisions\.jsonl: is not a regular file")
    try:
        with trio.fail_after(20):
            with refused:
                await apart(partial(log.append, decision="resolve"))
            with refused:
                await apart(partial(log.append_refusal, decision="resolve", why="w", revision=1, epoch=1))
    finally:
        if reader is not None:
            os.close(reader)


@pytest.mark.parametrize("room_bytes", [0, 10])
async def test_a_line_for_which_there_is_no_room_leaves_nothing(tmp_path: Path, room_bytes: int) -> None:
    log = DecisionLog(tmp_path / "decisions.jsonl")
    await log.append(decision="first")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.path.stat().st_size + room_bytes, hard))
    try:
        with pytest.raises(StoreError, match=r"decisions\.jsonl: "):
            await log.append(decision="second")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await log.append(decision="third")
    lines = log.path.read_text().splitlines()
    assert [json.loads(line)["decision"] for line in lines] == ["first", "third"]


async def test_a_line_that_cannot_be_written_takes_no_other_one_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command's line is durable, and it was told so, while one of the node's own does not find room."""
    log, write = DecisionLog(tmp_path / "decisions.jsonl"), os.write
    beside = threading.Thread(target=log._append, args=(b'{"decision": "force-primary"}\n',))

    def write_in_part(descriptor: int, line: bytes) -> int:
        monkeypatch.setattr(os, "write", write)
        write(descriptor, line[:4])
        beside.start()
        beside.join(0.3)
        raise OSError(errno.ENOSPC, "no space left")

    await log.append(decision="first")
    monkeypatch.setattr(os, "write", write_in_part)
    with pytest.raises(StoreError, match="no space left"):
        await log.append(decision="second")
    beside.join()
    lines = log.path.read_text().splitlines()
    assert [json.loads(line)["decision"] for line in lines] == ["first", "force-primary"]


async def test_what_a_power_cut_has_left_of_a_line_spoils_no_other_one(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "decisions.jsonl")
    await log.append(decision="first")
    with log.path.open("a") as file:
        file.write(part := '{"at": "2026')
    await log.append(decision="third")
    await log.append(decision="fourth")
    first, second, *others = log.path.read_text().splitlines()
    assert second == part
    assert [json.loads(line)["decision"] for line in (first, *others)] == ["first", "third", "fourth"]
