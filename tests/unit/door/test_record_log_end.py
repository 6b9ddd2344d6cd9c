"""The end of a node waits for its log of decisions, but not for a disk that hangs."""

import json
import os
import threading
from pathlib import Path

import pytest
import trio

from ctlha_trio.door._decisions import DecisionLog
from ctlha_trio.door._record_log import END_S, RecordLog
from ctlha_trio.ha import Notice
from ctlha_trio.seams import TrioClock

STOPPED = Notice(what="stop", outcome="done", why="closed", epoch=5, revision=7)


async def test_disk_that_hangs_under_a_line_holds_up_no_end(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    os.mkfifo(path)  # whoever opens it to write waits for a reader
    reader: list[int] = []
    rescue = threading.Timer(5 * END_S, lambda: reader.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK)))
    rescue.start()
    try:
        began_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            log = RecordLog(DecisionLog(path), TrioClock())
            log.notice(STOPPED)
            nursery.start_soon(log.run)
            await trio.sleep(0.1)
            nursery.cancel_scope.cancel()
        assert trio.current_time() - began_s < 3 * END_S
    finally:
        rescue.cancel()
        rescue.join()
        for descriptor in reader or [os.open(path, os.O_RDONLY | os.O_NONBLOCK)]:
            os.close(descriptor)


async def test_line_that_is_being_written_at_the_end_is_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "decisions.jsonl"
    begun, append = threading.Event(), DecisionLog._append

    def append_late(self: DecisionLog, line: bytes) -> None:
        begun.set()
        threading.Event().wait(0.1)
        append(self, line)

    monkeypatch.setattr(DecisionLog, "_append", append_late)
    async with trio.open_nursery() as nursery:
        log = RecordLog(DecisionLog(path), TrioClock())
        log.notice(STOPPED)
        nursery.start_soon(log.run)
        await trio.to_thread.run_sync(begun.wait)
        nursery.cancel_scope.cancel()
    assert [json.loads(line)["decision"] for line in path.read_text().splitlines()] == ["stop"]
