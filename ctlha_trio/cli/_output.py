"""Standard output and standard error that may fail: what a command has done counts more than that it could say so."""

import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any, TextIO

import click

from ctlha_trio.cli._run import EXIT_UNWRITTEN

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Writer(io.BufferedIOBase):
    """The bytes of a standard stream, written without a buffer.

    What a buffer could not get rid of would fail once more when the interpreter ends, and change the exit code.
    """

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self._stream = stream
        self.name = str(getattr(stream, "name", ""))
        self.failure: OSError | None = None
        """The first one."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._stream.fileno())

    def isatty(self) -> bool:
        return bool(self._stream.isatty())

    def write(self, content: "ReadableBuffer", /) -> int:
        """Never raises ``OSError``: the first one is kept, and the next call tries again."""
        left = memoryview(content)
        try:
            while left:
                written = self._stream.write(left)
                if written is None:
                    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
                left = left[written:]
        except OSError as error:
            self.failure = self.failure or error
        return memoryview(content).nbytes


class _Closed(io.RawIOBase):
    """In the place of a standard stream that whoever started the program has closed."""

    def write(self, _content: "ReadableBuffer", /) -> int:
        raise OSError(errno.EBADF, "it is closed")


@contextmanager
def unfailing_output() -> Iterator[None]:
    """Within, writing to the standard streams never fails; whoever leaves with exit code 0 is told what was lost.

    Any other exit code says what matters more. Where standard error is lost too, only the exit code tells of it. A
    stream that is closed is one that cannot be written.
    """
    _take_closed_places()
    with redirect_stdout(_unfailing(sys.stdout)), redirect_stderr(_unfailing(sys.stderr)):
        try:
            yield
        except SystemExit as end:
            failure = output_failure()
            if failure is None:
                raise
            if failure.errno != errno.EPIPE:
                click.echo(f"standard output could not be written: {failure.strerror}", err=True)
            raise SystemExit(end.code or EXIT_UNWRITTEN) from None


def _take_closed_places() -> None:
    """Or a file of the node would become standard output, to whatever else writes to that, in its processes too."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDONLY), True)  # the lowest that is free is this one


def _unfailing(stream: TextIO | None) -> TextIO:
    """What is made of no bytes is left as it is."""
    if stream is None:
        return io.TextIOWrapper(_Writer(_Closed()), encoding="utf-8", errors="replace", write_through=True)
    if not hasattr(stream, "buffer"):
        return stream
    stream.flush()
    raw = getattr(stream.buffer, "raw", stream.buffer)
    return io.TextIOWrapper(_Writer(raw), encoding=stream.encoding, errors=stream.errors, write_through=True)


def output_failure() -> OSError | None:
    """Why something that was written to standard output is lost; None if nothing is."""
    writer = getattr(sys.stdout, "buffer", None)
    return writer.failure if isinstance(writer, _Writer) else None


def is_unread() -> bool:
    """Whether standard output failed, its other end, a pipe or a terminal, is closed, or there is no such output."""
    if sys.stdout is None or output_failure() is not None:
        return True
    try:
        descriptor = sys.stdout.fileno()
    except OSError:
        return False  # it is none of the system's: a program reads
    poll = select.poll()
    poll.register(descriptor, 0)  # for what cannot be left out: errors and a hang-up
    return bool(poll.poll(0))
