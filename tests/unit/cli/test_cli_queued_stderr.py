"""Standard error that blocks, fails and recovers: nobody waits for it, and what is lost is counted."""

import errno
import io
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from ctlha_trio.cli import _queued_stderr
from ctlha_trio.cli._queued_stderr import PIECES_MAX, WriteQueue, _write, queued_stderr

LONG_S = 30.0


class Reader:
    """Takes what is written, up to so many bytes with a call; or fails; or has the writer wait until it is let on."""

    def __init__(self, *failing: int, at_once: int = 1 << 20) -> None:
        self.failing, self.at_once = [*failing], at_once
        self.taken = b""
        self.is_asked, self.goes_on = threading.Event(), threading.Event()
        self.has_failed, self.has_taken = threading.Event(), threading.Event()
        self.goes_on.set()

    def write(self, content: bytes) -> int:
        self.is_asked.set()
        assert self.goes_on.wait(LONG_S)
        if self.failing:
            number = self.failing.pop(0)
            self.has_failed.set()
            raise OSError(number, os.strerror(number))
        self.taken += content[: self.at_once]
        self.has_taken.set()
        return min(self.at_once, len(content))


def started(reader: Reader) -> WriteQueue:
    queue = WriteQueue(reader.write)
    queue.start()
    return queue


def blocked(reader: Reader) -> WriteQueue:
    """Whose thread waits for the reader to take the line ``first``."""
    reader.goes_on.clear()
    queue = started(reader)
    queue.put(b"first\n")
    assert reader.is_asked.wait(LONG_S)
    return queue


def numbered(count: int) -> list[bytes]:
    return [b"%d\n" % number for number in range(count)]


def told(lines: int) -> bytes:
    return b"ctlha: %d lines were lost here: standard error took no more\n" % lines


@pytest.mark.parametrize("at_once", [1, 3, 1 << 20])
def test_everything_is_written_in_order_before_the_end(at_once: int) -> None:
    reader = Reader(at_once=at_once)
    queue = started(reader)
    for line in numbered(500):
        queue.put(line)
    queue.end(LONG_S)
    assert reader.taken == b"".join(numbered(500))


def test_nobody_waits_for_a_reader_who_takes_nothing_and_the_oldest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_queued_stderr, "PIECES_MAX", 10)
    reader = Reader()
    queue = blocked(reader)
    for line in numbered(9 + 7):
        queue.put(line)
    queue.put(b"a traceback\nof two lines\n")
    reader.goes_on.set()
    queue.end(LONG_S)
    assert reader.taken == b"first\n" + b"".join(numbered(9)) + told(7 + 2)


def test_what_waits_is_bounded_in_bytes_and_a_smaller_line_does_not_overtake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_queued_stderr, "BYTES_MAX", 20)
    reader = Reader()
    queue = blocked(reader)
    queue.put(b"x" * 13 + b"\n")
    queue.put(b"\n")
    queue.put(b"")
    reader.goes_on.set()
    queue.end(LONG_S)
    assert reader.taken == b"first\n" + b"x" * 13 + b"\n" + told(2)


def test_what_was_taken_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_queued_stderr, "BYTES_MAX", 6)
    reader = Reader()
    queue = started(reader)
    for line in numbered(10):
        reader.has_taken.clear()
        queue.put(line)
        assert reader.has_taken.wait(LONG_S)
    queue.end(LONG_S)
    assert reader.taken == b"".join(numbered(10))


def test_the_loss_is_told_as_soon_as_there_is_room_and_later_lines_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_queued_stderr, "PIECES_MAX", 1)
    reader = Reader()
    queue = blocked(reader)
    queue.put(b"lost\n")
    has_told = threading.Event()

    def write(content: bytes) -> int:
        if content == told(1):
            has_told.set()
        return Reader.write(reader, content)

    queue.write = write
    reader.goes_on.set()
    assert has_told.wait(LONG_S), "though nothing more was written"
    monkeypatch.setattr(_queued_stderr, "PIECES_MAX", 10)
    queue.put(b"later\n")
    queue.end(LONG_S)
    assert reader.taken == b"first\n" + told(1) + b"later\n"


def test_a_reader_who_takes_nothing_is_waited_for_no_longer_than_that_at_the_end() -> None:
    reader = Reader()
    queue = blocked(reader)
    queue.end(0.01)
    assert reader.taken == b""
    reader.goes_on.set()
    queue.end(LONG_S)
    assert reader.taken == b"first\n"
    queue.put(b"too late\n")
    assert reader.taken == b"first\n"


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EBADF, errno.EIO, errno.ENOSPC])
def test_a_stream_that_fails_has_taken_nothing_and_is_tried_with_the_next_line(number: int) -> None:
    reader = Reader(number)
    queue = blocked(reader)
    reader.goes_on.set()
    assert reader.has_failed.wait(LONG_S)
    queue.put(b"second\n")
    assert reader.has_taken.wait(LONG_S), "though the end is far"
    queue.end(LONG_S)
    assert reader.taken == b"first\nsecond\n"


def test_a_stream_that_has_failed_is_tried_once_more_at_the_end() -> None:
    reader = Reader(errno.ENOSPC)
    queue = started(reader)
    queue.put(b"last\n")
    assert reader.has_failed.wait(LONG_S)
    queue.end(LONG_S)
    assert reader.taken == b"last\n"


def test_a_stream_that_goes_on_failing_is_tried_once_for_each_line_and_not_waited_for() -> None:
    reader = Reader(*[errno.EPIPE] * 1000)
    queue = started(reader)
    for line in numbered(100):
        queue.put(line)
    queue.end(LONG_S)
    assert not queue._thread.is_alive()
    assert 1 <= 1000 - len(reader.failing) <= 100 + 1


@contextmanager
def full_pipe() -> Iterator[tuple[int, int]]:
    """Both ends; the writing one does not block."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with open(reading, "rb"), open(writing, "wb"):
        os.write(writing, bytes(1 << 20))
        yield reading, writing


def test_a_pipe_that_somebody_has_made_one_that_does_not_block_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    polls, waits = select.poll, threading.Event()

    def poll() -> "select.poll":
        waits.set()
        return polls()

    monkeypatch.setattr(select, "poll", poll)
    with full_pipe() as (reading, writing):
        queue = started(Reader())
        queue.write = partial(_write, writing)
        queue.put(b"a line\n")
        assert waits.wait(LONG_S)
        taken = b""
        while not taken.endswith(b"a line\n"):
            taken += os.read(reading, 1 << 16)
        queue.end(LONG_S)


@pytest.mark.parametrize("stream", [io.StringIO(), io.TextIOWrapper(io.BytesIO()), None], ids=["text", "bytes", "none"])
def test_what_is_no_stream_of_the_system_is_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch, stream: io.TextIOBase | None
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    with queued_stderr():
        assert sys.stderr is stream


PROGRAM = """
import logging, os, sys, warnings
import click
from ctlha_trio.cli._queued_stderr import end_stderr, queued_stderr

with queued_stderr():
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    for number in range({lines}):
        logging.warning("line %d", number)
    click.echo("a last line", err=True)
    sys.stderr.write("and no line")
    print("over", flush=True)
    {end}
"""
ENDS = {
    "returns": ("pass", 0, "a last line\nand no line"),
    "exits": ("sys.exit(3)", 3, "a last line\nand no line"),
    "at once": ("end_stderr(); os._exit(4)", 4, "a last line\nand no line"),
    "raises": ("raise RuntimeError('a bug')", 1, "RuntimeError: a bug"),
    "raises a group": ("raise BaseExceptionGroup('two', [KeyboardInterrupt(), OSError('a fault')])", 1, "a fault"),
    "warns": ("print(file=sys.stderr); warnings.warn('beware')", 0, "UserWarning: beware"),
}


def run(what: str, lines: int, **options: Any) -> "subprocess.CompletedProcess[str]":
    program = [sys.executable, "-c", PROGRAM.format(lines=lines, end=what)]
    return subprocess.run(program, stdout=subprocess.PIPE, text=True, timeout=LONG_S, check=False, **options)


@pytest.mark.parametrize(("end", "encoding"), [*((end, "utf-8") for end in ENDS), ("exits", "ascii")])
def test_the_last_words_are_read_by_whoever_reads(end: str, encoding: str) -> None:
    """In ASCII, click writes to the bytes below the stream."""
    what, code, last = ENDS[end]
    ended = run(what, 1000, stderr=subprocess.PIPE, env=os.environ | {"PYTHONIOENCODING": encoding})
    assert (ended.returncode, ended.stdout) == (code, "over\n")
    lines = ended.stderr.splitlines()
    assert lines[:1000] == [f"line {number}" for number in range(1000)]
    assert last in "\n".join(lines[1000:])


@pytest.mark.parametrize("end", ["exits", "at once", "raises a group"])
def test_a_process_ends_though_nobody_takes_its_last_words(end: str) -> None:
    what, code, _ = ENDS[end]
    with full_pipe() as (_, writing):
        os.set_blocking(writing, True)
        ended = run(what, 2 * PIECES_MAX, stderr=writing)
    assert (ended.returncode, ended.stdout) == (code, "over\n")


def test_a_reader_who_has_gone_is_no_error_of_the_process() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb"):
        ended = run("sys.exit(3)", 2 * PIECES_MAX, stderr=writing)
    assert (ended.returncode, ended.stdout) == (3, "over\n")


def test_a_stream_that_is_closed_is_no_error_of_the_process() -> None:
    ended = run("os.close(2); logging.warning('into nothing')", 1, stderr=subprocess.PIPE)
    assert (ended.returncode, ended.stdout) == (0, "over\n")
