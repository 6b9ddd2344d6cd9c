"""Standard error that nobody has to read: whoever writes to it goes on at once, whatever becomes of what was written.

A terminal that was stopped, and a pipe whose reader has stopped, block whoever writes. In a task of the event loop that
would be the end of the heartbeats, or of deadlines and signals. So what a node writes, or a command that is more than
its output, goes through a queue, and a thread of its own waits for room.
``QueueHandler`` of ``logging`` is not enough: its queue is bounded in records only, and when that is full it says so on
standard error; its listener is waited for without a limit; and warnings, tracebacks and last words do not pass it.
"""

import io
import os
import select
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from functools import partial
from typing import TYPE_CHECKING, Final, TextIO

import attrs

from ctlha_trio._errors import NoThreadError
from ctlha_trio.cli._run import EXIT_FAILED, report
from ctlha_trio.seams import start_thread

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

PIECES_MAX: Final = 4096
"""That wait; a piece is a line, or a record of the log with its traceback. In an hour of trouble a node says less."""
BYTES_MAX: Final = 1024 * 1024
"""In them: the memory that a reader who has gone may cost."""
END_S: Final = 1.0
"""For which the end of a process waits for a reader, who takes milliseconds if there is one."""


@attrs.define(eq=False)
class WriteQueue:
    """Bytes on their way to a stream that may block, fail, and recover; any thread may add some.

    What finds no room is lost and counted, and so is all that follows until everything before it was taken: then a line
    tells how much. A stream that fails has taken nothing, and is tried again when there is something new.
    """

    write: Callable[[bytes], int]
    """As ``os.write``. Called by the queue's thread only."""
    _changed: threading.Condition = attrs.field(factory=threading.Condition, init=False)
    _pieces: deque[bytes] = attrs.field(factory=deque, init=False)
    _bytes: int = attrs.field(default=0, init=False)
    _lost_lines: int = attrs.field(default=0, init=False)
    _failed: bool = attrs.field(default=False, init=False)
    """What was tried last."""
    _is_new: bool = attrs.field(default=False, init=False)
    """Something was added since."""
    _ending: bool = attrs.field(default=False, init=False)
    _thread: threading.Thread = attrs.field(init=False)

    def start(self) -> None:
        """The thread. ``NoThreadError`` if none can be had."""
        self._thread = start_thread(self._deliver, name="stderr")

    def put(self, piece: bytes) -> None:
        """Add whole lines, without waiting; they stay together."""
        with self._changed:
            has_room = len(self._pieces) < PIECES_MAX and self._bytes + len(piece) <= BYTES_MAX
            if has_room and not self._lost_lines and not self._ending:
                self._append(piece)
            else:
                self._lost_lines += piece.count(b"\n") or 1
            self._is_new = True
            self._changed.notify_all()

    def wait_taken(self, limit_s: float = END_S) -> None:
        """Wait until everything was taken, or the stream fails, or for as long as that."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_due(), limit_s)

    def end(self, limit_s: float = END_S) -> None:
        """Wait until everything was taken, or the stream fails, or for as long as that. What is added later is lost."""
        with self._changed:
            self._ending = self._is_new = True
            self._changed.notify_all()
        self._thread.join(limit_s)

    def _deliver(self) -> None:
        while piece := self._next():
            try:
                written = self.write(piece)
            except OSError:
                self._fail()
            else:
                self._take(written)

    def _next(self) -> bytes:
        """The piece to be written, once there is one; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ending or self._is_due())
            if not self._is_due():
                return b""
            self._is_new = False
            if not self._pieces:
                told = f"ctlha: {self._lost_lines} lines were lost here: standard error took no more\n"
                self._append(told.encode())
                self._lost_lines = 0
            return self._pieces[0]

    def _is_due(self) -> bool:
        return bool(self._pieces or self._lost_lines) and (self._is_new or not self._failed)

    def _append(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._bytes += len(piece)

    def _fail(self) -> None:
        with self._changed:
            self._failed = True
            self._changed.notify_all()

    def _take(self, written: int) -> None:
        with self._changed:
            self._failed = False
            rest = self._pieces.popleft()[written:]
            if rest:
                self._pieces.appendleft(rest)
            self._bytes -= written
            self._changed.notify_all()


class _QueueWriter(io.BufferedIOBase):
    """The bytes of a text stream, put into a queue."""

    def __init__(self, queue: WriteQueue, *, is_terminal: bool) -> None:
        super().__init__()
        self.queue = queue
        self.name = "<stderr>"
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def writable(self) -> bool:
        return True

    def write(self, content: "ReadableBuffer", /) -> int:
        piece = bytes(content)
        if piece:  # click asks by writing nothing whether this takes bytes
            self.queue.put(piece)
        return len(piece)


@contextmanager
def queued_stderr() -> Iterator[None]:
    """Within, nobody who writes to standard error waits; at the end it is waited for, for a second.

    An error that nobody has caught is told there too, with exit code 1: the interpreter would write to what may block.
    A stream that is none of the system's, as of a program that reads it, is left as it is.
    """
    stream = sys.stderr
    descriptor = _descriptor_of(stream)
    if descriptor is None:
        yield
        return
    queue = WriteQueue(partial(_write, descriptor))
    try:
        queue.start()
    except NoThreadError as error:
        sys.exit(report(error))
    writer = _QueueWriter(queue, is_terminal=stream.isatty())
    lines = io.TextIOWrapper(writer, encoding=stream.encoding, errors=stream.errors, line_buffering=True)
    with redirect_stderr(lines):
        try:
            yield
        except (Exception, BaseExceptionGroup):
            traceback.print_exc()
            sys.exit(EXIT_FAILED)
        finally:
            end_stderr()


def wait_stderr() -> None:
    """Wait, for a second, until what was written to a queued standard error is taken: something else is to follow."""
    if (queue := _queue_of_stderr()) is not None:
        queue.wait_taken()


def end_stderr() -> None:
    """As ``wait_stderr``, for the last time: what is written later is lost."""
    if (queue := _queue_of_stderr()) is not None:
        queue.end()


def _queue_of_stderr() -> WriteQueue | None:
    """With all in it that was written."""
    writer = getattr(sys.stderr, "buffer", None)
    if not isinstance(writer, _QueueWriter):
        return None
    sys.stderr.flush()
    return writer.queue


def _descriptor_of(stream: TextIO | None) -> int | None:
    if stream is None:
        return None
    try:
        return stream.fileno()
    except OSError:
        return None


def _write(descriptor: int, content: bytes) -> int:
    """As ``os.write`` to a descriptor that blocks, also where somebody who shares it has made it one that does not."""
    while True:
        try:
            return os.write(descriptor, content)
        except BlockingIOError:
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()
