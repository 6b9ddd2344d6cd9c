"""All that a node gets from outside, as types. Nothing else is injectable.

Production gives the real forms of this package, a simulation its own. Drivers never call Trio's clock, sleep or
timeouts for protocol time, and never open files or sockets by themselves.
"""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from enum import Enum
from typing import Protocol, runtime_checkable

import attrs
from outcome import Outcome

from ctlha_trio.pair import Record, SwapOutcome

Buffer = bytes | bytearray | memoryview
Entropy = Callable[[int], bytes]
"""Returns that many random bytes, fit for keys."""


class Clock(Protocol):
    """Protocol time of one node, in seconds from an arbitrary zero; never steps back."""

    def now(self) -> float:
        """Seconds."""

    def boottime(self) -> float:
        """Seconds of another zero, which pass while the machine is suspended too, and never run ahead of real time.

        The rates of two nodes' clocks differ by no more than ``CLOCKS_DIFFER``.
        """

    async def sleep_until(self, deadline_s: float) -> None:
        """Return once ``now()`` is ``deadline_s`` or later. Always a checkpoint."""


class DiskFile(Protocol):
    """An open file of fixed size. Every failure is a ``StoreError``, that of a read at one place ``UnreadableError``.

    A write to a file that someone has cut short fails, or leaves it short: it hides nothing of that.

    Each call is a checkpoint.

    A cancelled write may have changed any part of its ranges; the call does not return before it has ended.
    """

    @property
    def size_bytes(self) -> int:
        """Size of the file in bytes when it was opened: what it has to have until it is closed."""

    @property
    def identity(self) -> Hashable:
        """What tells it from another file that is opened by the same path, also once it has failed.

        Once it is closed, and the file gone, one that is made later may come to bear it.
        """

    async def pread(self, offset: int, size: int) -> bytes:
        """Exactly ``size`` bytes from ``offset``."""

    async def pread_all(self, places: Sequence[tuple[int, int]]) -> list[bytes]:
        """``pread`` of each, offset and size: for a disk in threads one way there and back."""

    async def pwrite(self, extents: Sequence[tuple[int, Buffer]]) -> None:
        """Write each buffer whole at its offset, in the order given. Not durable before the next ``flush``."""

    async def flush(self) -> None:
        """Return once everything written before the call is on stable media."""

    async def write_through(self, extents: Sequence[tuple[int, Buffer]]) -> None:
        """``pwrite``, then ``flush``: for a disk in threads one way there and back instead of two."""

    async def actual_bytes(self) -> int:
        """How large it is by now: not ``size_bytes`` any more if someone has cut it short, or made it grow.

        Of a block device ``size_bytes``: what its driver says may be 0 while the device is away.
        ``StoreError`` if that cannot be told; that is no failure of the file.
        """

    async def stray_name(self) -> str | None:
        """None while the path by which it was opened names this file.

        Else it was removed, or another one put in its place: by what path it can be read as long as it is open, empty
        if by none. ``StoreError`` if that cannot be told; that is no failure of the file.
        """

    def unlock(self) -> None:
        """Let another opener have the file, once the calls under way have ended. Every later call is refused.

        Until ``close`` no other file bears its identity, whatever becomes of this one. May be called twice.
        """

    def close(self) -> None:
        """Give the file up. Does not flush. May be called twice."""


@runtime_checkable
class PromptFile(Protocol):
    """A ``DiskFile`` that can also write without a task that waits. Not every one can."""

    def write_through_nowait(
        self, extents: Sequence[tuple[int, Buffer]], on_end: Callable[[Outcome[None]], None]
    ) -> bool:
        """Begin ``write_through`` at once; False, and nothing was begun, if it would have to wait first.

        ``on_end`` is called once, by the loop, with what ``write_through`` comes to. It must not raise. The run must
        not end before. ``StoreError`` if the file is of no use any more.
        """


class Disk(Protocol):
    """Opens files that exist. Creating them is for ``ctlha init``, not for a node."""

    async def open(self, path: str) -> DiskFile:
        """Open for reading and writing, locked against a second opener. ``StoreError`` if that fails."""


class Stream(Protocol):
    """One authenticated connection. One task may send while another receives; ``trio.BusyResourceError`` for a second.

    A call that need not wait is not a checkpoint, except that a stream lets others run after each megabyte at
    the latest, in each direction. Where a call waits, it can be cancelled.
    """

    @property
    def description(self) -> str:
        """The other side, for logs: its address."""

    def send_nowait(self, *pieces: Buffer) -> bool:
        """Send of the pieces what there is room for, without waiting, as if they were one. Not a checkpoint.

        True: all of them. False: the stream keeps a copy of the rest, which ``flush``, or the next ``send_all`` before
        its own, must get out before this is called again; ``trio.BusyResourceError`` otherwise.
        ``trio.BrokenResourceError`` if the connection breaks.
        """

    async def flush(self) -> None:
        """Send what ``send_nowait`` kept. Cancelled: the rest is still kept, and can be flushed again."""

    async def send_all(self, *pieces: Buffer) -> None:
        """Send the pieces, one after the other, as if they were one. ``trio.BrokenResourceError`` if that breaks.

        Cancelled: a part was sent, and nothing can be sent any more. The pieces must stay as they are meanwhile.
        """

    async def receive_into(self, buffer: memoryview) -> int:
        """Wait for at least one byte, fill up to the buffer's size, return the count; 0 at the end of the stream.

        Cancelled: nothing was taken.
        A ``buffer`` that is released meanwhile is not touched any more: ``ValueError`` when bytes come, none is lost.
        """

    def close(self) -> None:
        """Close at once, without waiting or a farewell. May be called twice. Wakes both tasks with an error."""


class Listener(Protocol):
    """A bound address."""

    @property
    def address(self) -> str:
        """Where it listens, with the port that was bound."""

    async def serve(self, handler: Callable[[Stream], Awaitable[None]]) -> None:
        """Accept until cancelled. Each connection that authenticates is given to ``handler`` in a task of its own.

        The handler owns the stream, which is closed when it returns. A stranger costs a bounded amount of memory and
        time and never ends the listener, nor does a handler that raises ``CtlHaError`` or ``trio.BrokenResourceError``.
        """

    def close(self) -> None:
        """Stop listening. May be called twice."""


class Transport(Protocol):
    """Makes authenticated connections between the two nodes."""

    async def dial(self, address: str) -> Stream:
        """Connect and authenticate. ``DisconnectError`` if nobody answers, ``UntrustedPeerError`` on a wrong key."""

    async def listen(self, address: str) -> Listener:
        """Bind. ``OSError`` if the address cannot be had."""


@attrs.frozen
class Versioned:
    """A record with the revision that the arbiter's engine gave it."""

    record: Record
    revision: int


@attrs.frozen
class SwapAnswer:
    """The outcome and, if it was won, the new revision."""

    outcome: SwapOutcome
    revision: int | None = None


class Arbiter(Protocol):
    """The third vote: two calls on one record, linearizable and durable, with a revision that only rises."""

    @property
    def identity(self) -> str:
        """A random id of this arbiter's data, so that another one is noticed."""

    async def read(self) -> Versioned:
        """The record as it is now. ``ArbiterError`` if it cannot be had."""

    async def cas(self, expected_revision: int, record: Record) -> SwapAnswer:
        """Replace the record if its revision still is ``expected_revision``. Never raises for a failing engine."""

    async def probe(self) -> bool:
        """Whether it takes changes: a durable write that changes neither record nor revision was done.

        Asked for only when a swap was not taken. Never raises for a failing engine.
        """


class FenceOutcome(Enum):
    """What is known of a node that was to be fenced. Only CONFIRMED counts."""

    CONFIRMED = "confirmed"
    """It cannot write any more, and the evidence says how that is known."""
    REFUSED = "refused"
    """It was not fenced."""
    UNKNOWN = "unknown"


@attrs.frozen
class FenceAnswer:
    """The outcome, and what it rests on, in one line."""

    outcome: FenceOutcome
    evidence: str


class Fencer(Protocol):
    """Keeps another node from writing, by means that do not need that node: mostly its power."""

    @property
    def description(self) -> str:
        """What would be done, for people."""

    async def fence(self, node: str, resource: str, epoch: int) -> FenceAnswer:
        """Fence ``node`` so that ``epoch`` of ``resource`` can begin without it. Never raises for one that fails.

        Idempotent: asked again for the same, as after a crash of whoever asked, it answers CONFIRMED if the node is
        fenced already. A checkpoint. Cancelled: it was done or not.
        """


@attrs.frozen(kw_only=True)
class Seams:
    """Everything that is injected into one node."""

    clock: Clock
    entropy: Entropy
    disk: Disk
    transport: Transport
    arbiter: Arbiter
    fencer: Fencer | None = None
    """For a component that needs the other node fenced; None if there is no way."""
